package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/aver-authz/aver/bench/report"
	"github.com/aver-authz/aver/bench/target"
	"github.com/aver-authz/aver/internal/datadir"
)

// checked is what the aver command found about a data directory, and how long it took for it.
type checked struct {
	decisions, events      uint64
	verifyTook, replayTook time.Duration
}

func (c checked) verifyRate() float64 {
	return float64(c.decisions+c.events) / c.verifyTook.Seconds()
}
func (c checked) replayRate() float64 { return float64(c.decisions) / c.replayTook.Seconds() }

// check verifies a data directory and decides all of it again, with the aver command as anybody would. What is wrong
// there is an [errFound].
func check(ctx context.Context, program, data string) (checked, error) {
	var c checked
	var verified struct {
		OK   bool `json:"ok"`
		Logs []struct {
			Size     uint64            `json:"size"`
			Findings []json.RawMessage `json:"findings"`
		} `json:"logs"`
	}
	begin := time.Now()
	if err := averJSON(ctx, program, &verified, "verify", "--json", "--data", data); err != nil {
		return c, err
	}
	c.verifyTook = time.Since(begin)
	if !verified.OK || len(verified.Logs) != 2 {
		return c, fmt.Errorf("%w: aver verify: %+v", errFound, verified)
	}
	c.events, c.decisions = verified.Logs[0].Size, verified.Logs[1].Size
	var replayed struct {
		Decisions    uint64            `json:"decisions"` // those about Aver's own administration included
		Match        uint64            `json:"match"`
		Mismatch     uint64            `json:"mismatch"`
		Undetermined uint64            `json:"undetermined"`
		Problems     []json.RawMessage `json:"problems"`
	}
	begin = time.Now()
	if err := averJSON(ctx, program, &replayed, "replay", "--json", "--data", data); err != nil {
		return c, err
	}
	c.replayTook = time.Since(begin)
	if replayed.Match != replayed.Decisions || replayed.Decisions != c.decisions {
		return c, fmt.Errorf("%w: aver replay: %d decisions in the log, %d replayed, %d match, %d mismatch, %d undetermined: %s",
			errFound, c.decisions, replayed.Decisions, replayed.Match, replayed.Mismatch, replayed.Undetermined, replayed.Problems)
	}
	return c, nil
}

// averJSON runs the aver command. Exit status 1 is no error here: what it found stands in its output.
func averJSON(ctx context.Context, program string, into any, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != 1 {
		return fmt.Errorf("aver %s: %w\n%s", args[0], err, exit.Stderr)
	} else if err != nil && exit == nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("aver %s printed %.200q: %w", args[0], out, err)
	}
	return nil
}

// checkLogs measures verification and replay of a data directory.
func (c *comparison) checkLogs(ctx context.Context, data string) error {
	got, err := check(ctx, target.Program(c.work), data)
	if err != nil {
		return err
	}
	c.inProc().Replay, c.inProc().Verify, c.inProc().ReplayRecords = got.replayRate(), got.verifyRate(), int(got.decisions)
	say("aver verify: %.0f records/s; aver replay: %.0f decisions/s", got.verifyRate(), got.replayRate())
	return nil
}

func (c *comparison) inProc() *report.InProcess {
	if c.report.InProc == nil {
		c.report.InProc = &report.InProcess{}
	}
	return c.report.InProc
}

// entrySizes are the average sizes of leaves and payloads in the decision log, before compression.
func entrySizes(data string) (leaf, payload float64, err error) {
	logs, err := datadir.OpenReaders(data)
	if err != nil {
		return 0, 0, err
	}
	defer logs.Close()
	size, _ := logs.Decisions.Head()
	for e, err := range logs.Decisions.Entries(0, size) {
		if err != nil {
			return 0, 0, err
		}
		leaf += float64(len(e.Leaf))
		payload += float64(len(e.Payload))
	}
	return leaf / float64(size), payload / float64(size), nil
}
