package demo

import (
	"context"
	"fmt"

	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/verify"
)

// checkEvidence verifies both logs and decides everything again, as aver verify and aver replay do: from the data
// directory, reading only.
func (d *demonstration) checkEvidence(ctx context.Context, seen *tally) error {
	report, err := verify.Run(ctx, verify.Options{Dir: d.o.Data})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for _, log := range report.Logs {
		state := "ok"
		if !log.OK() {
			state = "WRONG"
		}
		d.say("verify %s: %s, %d entries, root %s\n", state, log.Origin, log.Size, log.Root)
		for _, f := range log.Findings {
			d.say("  wrong: %s\n", f)
		}
	}
	logs, err := datadir.OpenReaders(d.o.Data)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	defer logs.Close()
	again, err := replay.Run(ctx, verify.Follow(logs.Authority), logs.Decisions, replay.Options{})
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	state := "ok"
	answered := again.Decisions - again.Administration
	if again.Match != again.Decisions || answered != uint64(seen.decisions) {
		state = "WRONG"
	}
	d.say("replay %s: %d decisions decided again from the logs alone: %d match, %d mismatch, %d undetermined\n",
		state, again.Decisions, again.Match, again.Mismatch, again.Undetermined)
	for _, p := range again.Problems {
		d.say("  %s %s: %v %v\n", p.Verdict, p.ID, p.Difference, p.Missing)
	}
	switch {
	case !report.OK:
		return fmt.Errorf("%w: the logs do not verify", ErrWrong)
	case answered != uint64(seen.decisions):
		return fmt.Errorf("%w: %d decisions were answered, the log has %d", ErrWrong, seen.decisions, answered)
	case state != "ok":
		return fmt.Errorf("%w: %d of %d decisions do not match when they are decided again", ErrWrong, again.Decisions-again.Match, again.Decisions)
	}
	return nil
}
