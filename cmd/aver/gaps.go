package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/report/gaps"
	"github.com/aver-authz/aver/internal/verify"
)

// gapWish is which findings are wanted.
type gapWish struct {
	gap, severity, state, thresholds, failOn string
}

func (w *gapWish) check() error {
	for _, f := range []struct {
		flag, value string
		known       []string
	}{
		{"gap", w.gap, aver.Gaps()}, {"severity", w.severity, words(aver.Severities())},
		{"state", w.state, append(words(aver.GapStates()), "all")}, {"fail-on", w.failOn, words(aver.Severities())},
	} {
		if f.value != "" && !slices.Contains(f.known, f.value) {
			return fmt.Errorf("--%s %q: one of %s", f.flag, f.value, strings.Join(f.known, ", "))
		}
	}
	return nil
}

func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

func (w *gapWish) has(f *aver.GapFinding) bool {
	return (w.gap == "" || w.gap == f.Gap) && (w.severity == "" || f.Severity.Compare(aver.Severity(w.severity)) >= 0) &&
		(w.state == "all" || w.state == string(f.State) || w.state == "" && f.State != aver.GapClosed)
}

func (c *cli) gaps() *cobra.Command {
	var t target
	var wish gapWish
	cmd := &cobra.Command{
		Use:   "gaps",
		Short: "Find control gaps in both logs",
		Long: `Finds control gaps: shared machine identities (I1), excessive permissions (I2), missing delegation (I3),
decisions apart from activities (I4), and exceptions that are governed badly (I5). docs/gaps.md describes
each rule; aver gaps thresholds prints what they are measured by.

A finding is all that one rule found about one subject: how often, when first and last, by which entries
of the logs. It stays open until somebody accepts its risk for a time or closes it, as an event of the
authority log. Later evidence opens a closed one again, and what still holds can't be closed.

Where a grant gives too much, a narrower one is proposed, with what came of deciding the past with it.
What a rule can't tell from this evidence is said: it is unknown, and not in order.

Exit status: 0 done; 1 with --fail-on, an open finding is as bad; 2 it could not be done.`,
		Example: `  aver gaps --data ./data
  aver gaps --server http://127.0.0.1:8470 --gap I3 --severity high
  aver gaps --data ./data --json --fail-on high    in a pipeline
  aver gaps --data ./data --thresholds gaps.yaml --state all
  aver gaps accept I1-no-rotation-0d1e2f3a4b5c --until 2027-06-30T00:00:00Z --reason "the supplier rotates it in June"
  aver gaps close I3-no-chain-5c4b3a2f1e0d --reason "it has a grant now"`,
		Args: cobra.NoArgs,
	}
	t.serverFlags(cmd)
	t.dataFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&wish.gap, "gap", "", "only this `GAP`: I1, I2, I3, I4 or I5")
	f.StringVar(&wish.severity, "severity", "", "only of this `SEVERITY` or worse: low, medium, high or critical")
	f.StringVar(&wish.state, "state", "", "only in this `STATE`: open, accepted, closed or all; default: open and accepted")
	f.StringVar(&wish.thresholds, "thresholds", "", "`FILE` that replaces some of the thresholds (default: DIR/gaps.yaml, if it is there); with --data")
	f.StringVar(&wish.failOn, "fail-on", "", "exit with 1 if an open finding has this `SEVERITY` or a worse one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := wish.check(); err != nil {
			return err
		}
		s, done, err := c.source(&t)
		if err != nil {
			return err
		}
		defer done()
		report, err := readGaps(cmd.Context(), s, wish.thresholds)
		if err != nil {
			return err
		}
		return c.printGaps(report, &wish)
	}
	cmd.AddCommand(c.gapsAccept(), c.gapsClose(), c.gapsThresholds())
	return cmd
}

func readGaps(ctx context.Context, s source, thresholds string) (*aver.GapReport, error) {
	switch s := s.(type) {
	case *directory:
		return s.gaps(ctx, thresholds)
	case *client.Client:
		if thresholds != "" {
			return nil, errors.New("--thresholds: a server has its own (aver serve --thresholds); with --data they can be others")
		}
		return s.Gaps(ctx)
	}
	return nil, fmt.Errorf("control gaps can't be found in %T", s)
}

// gaps finds what both logs hold.
func (d *directory) gaps(ctx context.Context, file string) (*aver.GapReport, error) {
	thresholds, err := gaps.ThresholdsOf(file, d.path)
	if err != nil {
		return nil, err
	}
	return gaps.Find(ctx, verify.Follow(d.logs.Authority), d.logs.Decisions, thresholds, aver.TimeOf(time.Now()))
}

func (c *cli) printGaps(report *aver.GapReport, wish *gapWish) error {
	found := []aver.GapFinding{}
	bad := false
	for i := range report.Findings {
		f := &report.Findings[i]
		if wish.has(f) {
			found = append(found, *f)
		}
		bad = bad || wish.failOn != "" && f.State == aver.GapOpen && f.Severity.Compare(aver.Severity(wish.failOn)) >= 0
	}
	if c.json {
		if err := c.printJSON(found); err != nil {
			return err
		}
		for _, u := range report.Unknown {
			fmt.Fprintln(c.err, strings.Join(strings.Fields("unknown: "+u.Gap+" "+u.Rule+": "+u.Text), " "))
		}
	} else {
		c.writeGaps(report, found)
	}
	if bad {
		return &wrongError{}
	}
	return nil
}

func (c *cli) writeGaps(report *aver.GapReport, found []aver.GapFinding) {
	for _, f := range found {
		c.printf("%s  %-8s  %-8s  %s\n", f.Gap, f.Severity, f.State, f.ID)
		c.printf("    %s\n", f.Text)
		for _, d := range f.Details {
			c.printf("    - %s\n", d)
		}
		seen := fmt.Sprintf("seen %s, first %s, last %s", times(f.Count), f.FirstSeen, f.LastSeen)
		if f.Owner != "" {
			seen += "; owner " + f.Owner
		}
		c.printf("    %s\n", seen)
		if e := evidenceText(f.Evidence); e != "" {
			c.printf("    evidence: %s\n", e)
		}
		if a := f.Answer; a != nil {
			until := ""
			if a.Until != 0 {
				until = " until " + a.Until.String()
			}
			c.printf("    %s by %s%s: %s (event %d)\n", a.State, a.By, until, a.Reason, a.Event)
		}
		if p := f.Proposal; p != nil {
			c.printf("    proposed: %s %s\n", p.Text, proofText(p.Proof))
			if p.Grant != nil {
				if text, err := aver.CanonicalJSON(p.Grant); err == nil {
					c.printf("      %s\n", text)
				}
			}
		}
	}
	for _, u := range report.Unknown {
		c.printf("unknown: %s %s: %s\n", u.Gap, u.Rule, u.Text)
	}
	c.printf("%d of %s found in %s and %s, as of %s\n", len(found), plural(uint64(len(report.Findings)), "control gap", "control gaps"),
		plural(report.Authority, "event", "events"), plural(report.Decisions, "entry", "entries"), report.AsOf)
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// evidenceText names the first entries that show a finding.
func evidenceText(e aver.GapEvidence) string {
	const named = 3
	var out []string
	add := func(what, id string) { out = append(out, strings.TrimSpace(what+" "+id)) }
	for i, d := range e.Decisions {
		if i < named {
			add("decision", d.ID)
		}
	}
	for i, a := range e.Activities {
		if i < named {
			add(fmt.Sprintf("activity (entry %d)", a.Index), a.ID)
		}
	}
	for i, n := range e.Events {
		if i < named {
			add("event", fmt.Sprint(n))
		}
	}
	return strings.Join(out, ", ")
}

func proofText(p aver.GapProof) string {
	switch p.Verdict {
	case aver.ProofNotMade:
		return "The past was not decided again with it."
	case aver.ProofChanges:
		return fmt.Sprintf("Of %d decisions since entry %d that rest on it, some would come out otherwise: %s.", p.Decided, p.From, strings.Join(p.Changed, ", "))
	case aver.ProofUndetermined:
		return fmt.Sprintf("Of %d decisions since entry %d that rest on it, %d could not be decided again.", p.Decided, p.From, p.Undetermined)
	}
	return fmt.Sprintf("Harmless: all of the %d decisions since entry %d that rest on it come out as they did.", p.Decided, p.From)
}

func (c *cli) gapsAccept() *cobra.Command {
	var until string
	cmd := &cobra.Command{
		Use:     "accept ID --until TIME --reason TEXT",
		Short:   "Accept the risk of a gap until a time",
		Example: `  aver gaps accept I1-no-rotation-0d1e2f3a4b5c --until 2027-06-30T00:00:00Z --reason "the supplier rotates it in June"`,
		Args:    exactly("the ID of a finding"),
	}
	cmd.Flags().StringVar(&until, "until", "", "until when (`TIME`, RFC 3339); it can't be accepted for ever")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		end, err := aver.ParseTime(until)
		if err != nil {
			return fmt.Errorf("--until: %w", err)
		}
		made, err := server.AcceptGap(ctx, args[0], end, reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: accepted until %s", args[0], end)
	})
}

func (c *cli) gapsClose() *cobra.Command {
	return c.changes(&cobra.Command{
		Use:     "close ID --reason TEXT",
		Short:   "Say that a gap is mended",
		Example: `  aver gaps close I3-no-chain-5c4b3a2f1e0d --reason "it has a grant now"`,
		Args:    exactly("the ID of a finding"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		made, err := server.CloseGap(ctx, args[0], reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: closed", args[0])
	})
}

func (c *cli) gapsThresholds() *cobra.Command {
	return &cobra.Command{
		Use:     "thresholds",
		Short:   "Print what gaps are measured by, as it ships",
		Example: "  aver gaps thresholds > gaps.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if c.json {
				return errors.New("thresholds are a YAML file with explanations: leave out --json")
			}
			_, err := c.out.Write(gaps.DefaultFile())
			return err
		},
	}
}
