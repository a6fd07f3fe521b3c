package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/verify"
)

func (c *cli) replay() *cobra.Command {
	var data, candidate, frames string
	var o replay.Options
	cmd := &cobra.Command{
		Use:   "replay --data DIR [--policy BUNDLE]",
		Short: "Decide every recorded decision again, from the logs alone",
		Long: `Decides each recorded request again, at the authority state that its record cites, and compares the
bytes. A record gives match, mismatch (with the difference), or undetermined (with what is missing, such
as a withheld value). What is recorded about activities, their continuity and findings, is found out again
in the same way. It reads only, and a server may run meanwhile.

With --policy the past is decided with a candidate bundle, in place of the active one of its name or
beside the others, and the outcomes that would change are listed by pair, with examples.

With --frames every authorization of the decisions is also written to a file, in Cedar's JSON formats, so
that an engine that is not ours can decide them too. docs/formats.md describes it.

Exit status: 0 every decision matches; 1 one does not, or is undetermined and so not shown to be right;
2 it could not be done. With --policy: 0, whatever would change.`,
		Example: `  aver replay --data ./data
  aver replay --data ./data --policy ./payments-next
  aver replay --data ./data --from 1000 --to 2000 --json
  aver replay --data ./data --frames frames.ndjson`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case data == "":
				return errNoData
			case candidate != "" && frames != "":
				return errors.New("frames are those of what was recorded: give --policy or --frames, not both")
			}
			if candidate != "" {
				bundle, err := loadBundle(candidate)
				if err != nil {
					return err
				}
				o.Candidate = bundle
			}
			collectSeldom()
			logs, err := datadir.OpenReaders(data)
			if err != nil {
				return err
			}
			defer logs.Close()
			show, wipe := c.progress("decisions")
			o.Progress = func(done, total uint64) { show("replay", int64(done), int64(total)) }
			authority := verify.Follow(logs.Authority)
			var summary replayed
			summary.Summary, err = replay.Run(cmd.Context(), authority, logs.Decisions, o)
			wipe()
			if err != nil {
				return err
			}
			if frames != "" {
				if summary.Frames, err = exportFrames(cmd.Context(), frames, authority, logs.Decisions, o); err != nil {
					return err
				}
			}
			if c.json {
				err = c.printJSON(summary)
			} else {
				c.printReplayed(summary, o.Candidate)
			}
			if err == nil && o.Candidate == nil && (summary.Match != summary.Decisions || summary.Activities.Match != summary.Activities.Total) {
				err = &wrongError{}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", "", "the data directory `DIR`")
	f.StringVar(&candidate, "policy", "", "folder `DIR` of a candidate bundle: what would have been?")
	f.StringVar(&frames, "frames", "", "`FILE` to write every authorization to, for engines that are not ours")
	f.Uint64Var(&o.From, "from", 0, "first decision, by its `INDEX` in the log")
	f.Uint64Var(&o.To, "to", 0, "`INDEX` of the decision after the last; 0 is the end of the log")
	f.IntVar(&o.Examples, "examples", 5, "how many (`N`) examples of each sort")
	return cmd
}

// replayed is what the command prints.
type replayed struct {
	replay.Summary
	Frames *replay.FrameSummary `json:"exported,omitempty"`
}

func exportFrames(ctx context.Context, file string, authority, decisions replay.Log, o replay.Options) (*replay.FrameSummary, error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	summary, err := replay.ExportFrames(ctx, authority, decisions, f, replay.FrameOptions{From: o.From, To: o.To})
	return &summary, errors.Join(err, f.Close())
}

func (c *cli) printReplayed(s replayed, candidate *policy.Bundle) {
	decided := plural(s.Decisions, "decision", "decisions")
	if candidate != nil {
		c.printf("%s decided again with %s %s: %d as before, %d otherwise, %d undetermined\n",
			decided, candidate.Name(), short(candidate.Digest()), s.Match, s.Mismatch, s.Undetermined)
		for _, f := range s.Flips {
			c.printf("  %s -> %s: %d\n", f.From, f.To, f.Count)
			for _, id := range f.Examples {
				c.printf("    %s\n", id)
			}
		}
	} else {
		c.printf("%s decided again: %d match, %d mismatch, %d undetermined\n", decided, s.Match, s.Mismatch, s.Undetermined)
	}
	if a := s.Activities; a.Total > 0 {
		c.printf("%s followed again: %d match, %d mismatch, %d undetermined\n", plural(a.Total, "activity", "activities"), a.Match, a.Mismatch, a.Undetermined)
		for _, p := range a.Problems {
			c.printf("  %s %s (entry %d)\n", p.Verdict, p.ID, p.Index)
			c.printWhy(p.Difference, p.Missing)
		}
	}
	if s.Frames != nil {
		c.printf("%s exported, %d skipped\n", plural(s.Frames.Frames, "frame", "frames"), s.Frames.Skipped)
	}
	for _, p := range s.Problems {
		if p.Verdict == replay.Mismatch && candidate != nil {
			continue // a flip, listed above
		}
		c.printf("  %s %s (entry %d)\n", p.Verdict, p.ID, p.Index)
		c.printWhy(p.Difference, p.Missing)
	}
}

func (c *cli) printWhy(differences, missing []string) {
	for _, d := range differences {
		c.printf("    %s\n", d)
	}
	for _, m := range missing {
		c.printf("    missing: %s\n", m)
	}
}

// short is the beginning of a digest, enough to tell versions apart.
func short(digest string) string { return fmt.Sprintf("%.12s", digest) }
