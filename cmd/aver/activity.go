package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) activity() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "activity",
		Short: "Report what became of a decision, and see what was reported",
		Long: `What a decision allowed is reported when it starts and when it ends. At the end the answer says whether
the authorization held until then, or lapsed: by which event, when, and for how long the run went on.
docs/activities.md is the guide.`,
		Example: `  aver activity report 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f started
  aver activity list 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f
  aver activity watch
  aver activity reconcile`,
	}, c.activityReport(), c.activityList(), c.activityWatch(), c.activityReconcile())
}

// asks makes cmd a command that talks to a server.
func (c *cli) asks(cmd *cobra.Command, do func(cmd *cobra.Command, server *client.Client, args []string) error) *cobra.Command {
	var t target
	t.serverFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		server, err := c.connect(&t)
		if err != nil {
			return err
		}
		return do(cmd, server, args)
	}
	return cmd
}

func (c *cli) activityReport() *cobra.Command {
	var r aver.ActivityReport
	var request, when string
	cmd := &cobra.Command{
		Use:   "report EVALUATION_ID STATUS",
		Short: "Report that it started, completed, failed or was cancelled",
		Long: `Reports an activity, as a policy enforcement point does. Exit status: 0 it is recorded, and nothing is wrong
about it; 1 it is recorded, and something is: the authorization lapsed, or there are findings; 2 it could
not be done.`,
		Example: `  aver activity report 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f started
  aver activity report 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f completed --result paid --request request.json`,
		Args: exactly("an EVALUATION_ID", "a STATUS"),
	}
	f := cmd.Flags()
	f.StringVar(&request, "request", "", "`FILE` with the AuthZEN request as it was carried out, - for the standard input")
	f.StringVar(&r.Parameters, "digest", "", "the `DIGEST` of that request, in place of it")
	f.StringVar(&r.Result, "result", "", "a short `TEXT` or code, without personal data")
	f.StringArrayVar(&r.Obligations, "obligation", nil, "`ID` of an obligation that was carried out; may be repeated")
	f.StringVar(&when, "at", "", "`TIME` at which it happened (RFC 3339); default: now")
	f.StringVar(&r.TraceParent, "traceparent", "", "W3C trace `CONTEXT`")
	f.StringVar(&r.Key, "key", "", "a `KEY` of yours: the same key names the same report")
	return c.asks(cmd, func(cmd *cobra.Command, server *client.Client, args []string) error {
		r.EvaluationID, r.Status = args[0], aver.ActivityStatus(args[1])
		if when != "" {
			var err error
			if r.EventTime, err = aver.ParseTime(when); err != nil {
				return fmt.Errorf("--at: %w", err)
			}
		}
		if request != "" {
			req, err := c.readRequest(&decideFlags{request: request})
			if err != nil {
				return err
			}
			if r.Request, err = json.Marshal(req); err != nil {
				return err
			}
		}
		answer, err := server.ReportActivity(cmd.Context(), &r)
		if err != nil {
			return err
		}
		if c.json {
			err = c.printJSON(answer)
		} else {
			c.printActivity(answer)
		}
		if err == nil && (answer.Continuity == aver.Lapsed || answer.Continuity == aver.ContinuityUnknown || len(answer.Findings) > 0) {
			err = &wrongError{}
		}
		return err
	})
}

func (c *cli) printActivity(a *aver.ActivityAnswer) {
	again := ""
	if a.Repeated {
		again = ", which was recorded before"
	}
	c.printf("%s: activity %s%s\n", a.Status, a.ID, again)
	if a.Continuity != "" {
		c.printf("continuity: %s\n", a.Continuity)
	}
	if d := a.Details; d != nil && d.Lapse != nil {
		c.printf("  %s\n", lapseText(d.Lapse))
		if d.Lapse.RanOn > 0 {
			c.printf("  it went on for %s\n", time.Duration(d.Lapse.RanOn)*time.Millisecond)
		}
	} else if d != nil {
		for _, g := range d.Completing {
			c.printf("  grant %s was revoked, and lets work under way complete\n", g)
		}
		for _, m := range d.Missing {
			c.printf("  missing: %s\n", m)
		}
	}
	for _, f := range a.Findings {
		c.printf("finding: %s\n", strings.TrimSpace(string(f.Code)+" "+f.Detail))
	}
}

// lapseText says in a line what ended an authorization.
func lapseText(l *aver.Lapse) string {
	text := fmt.Sprintf("%s, it would be %s", timeText(l.At), l.Outcome)
	switch {
	case l.Event != nil:
		text = fmt.Sprintf("%s by event %d (%s): since then it would be %s", timeText(l.At), *l.Event, l.Type, l.Outcome)
	case l.Grant != "":
		text = fmt.Sprintf("%s as grant %s expired: since then it would be %s", timeText(l.At), l.Grant, l.Outcome)
	case l.Exception != "":
		text = fmt.Sprintf("%s as exception %s ended: since then it would be %s", timeText(l.At), l.Exception, l.Outcome)
	case l.Party != nil:
		text = fmt.Sprintf("%s as the registration of %s expired: since then it would be %s", timeText(l.At), l.Party, l.Outcome)
	}
	return text
}

func (c *cli) activityList() *cobra.Command {
	return c.asks(&cobra.Command{
		Use:     "list EVALUATION_ID",
		Short:   "List what was reported about a decision, oldest first",
		Example: "  aver activity list 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f",
		Args:    exactly("an EVALUATION_ID"),
	}, func(cmd *cobra.Command, server *client.Client, args []string) error {
		list, err := server.Activities(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(append([]*aver.Activity{}, list...))
		}
		rows := make([][]string, len(list))
		for i, a := range list {
			codes := make([]string, len(a.Findings))
			for n, f := range a.Findings {
				codes[n] = string(f.Code)
			}
			continuity := ""
			if a.Continuity != nil {
				continuity = string(a.Continuity.State)
			}
			rows[i] = []string{timeText(a.Happened()), string(a.Status), continuity, a.PEP.Credential, strings.Join(codes, " ")}
		}
		return c.table("nothing was reported", []string{"HAPPENED", "STATUS", "CONTINUITY", "BY", "FINDINGS"}, rows)
	})
}

func (c *cli) activityWatch() *cobra.Command {
	var after string
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print which of your open authorizations end, as they end",
		Long: `Prints a line for each decision that your token asked for, that allowed something, of whose use no end was
reported, and that would not be allowed any more; first what has ended already. It runs until it is stopped.`,
		Example: "  aver activity watch\n  aver activity watch --json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&after, "after", "", "the `CURSOR` of the last one that is known")
	return c.asks(cmd, func(cmd *cobra.Command, server *client.Client, _ []string) error {
		for w, err := range server.Withdrawals(cmd.Context(), after) {
			if err != nil {
				return err
			}
			if !c.json {
				c.printf("%s ended %s\n", w.EvaluationID, lapseText(&w.Lapse))
				continue
			}
			line, err := json.Marshal(w)
			if err != nil {
				return err
			}
			c.printf("%s\n", line)
		}
		return nil
	})
}

func (c *cli) activityReconcile() *cobra.Command {
	var older time.Duration
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Say what is missing between decisions and activities",
		Long: `Counts permits without a reported outcome, activities without a decision, and what numbered requests of
policy enforcement points never arrived, as far as the server remembers.`,
		Example: "  aver activity reconcile --older-than 1h",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().DurationVar(&older, "older-than", 10*time.Minute, "count permits without outcome that are older (`DURATION`)")
	return c.asks(cmd, func(cmd *cobra.Command, server *client.Client, _ []string) error {
		r, err := server.Reconciliation(cmd.Context(), older)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(r)
		}
		c.printf("since %s\n", timeText(r.Since))
		c.printf("open authorizations: %d, of which %d are known to have ended and %d are without an outcome for more than %s\n",
			r.Open, r.Withdrawn, r.WithoutOutcome, older)
		c.printf("activities without a decision: %d\n", r.Orphans)
		for _, code := range aver.FindingCodes() {
			if n := r.Findings[code]; n > 0 && code != aver.FindingNoDecision {
				c.printf("finding %s: %d\n", code, n)
			}
		}
		if r.Dropped > 0 {
			c.printf("not followed, there being too many: %d\n", r.Dropped)
		}
		for _, i := range r.Instances {
			silent := ""
			if i.Silent {
				silent = ", silent since " + timeText(i.LastSeen)
			}
			c.printf("%s of %s: numbers %d to %d, %d missing%s\n", i.Instance, i.Credential, i.First, i.Last, i.Missing, silent)
		}
		return nil
	})
}
