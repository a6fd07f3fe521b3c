package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) approvalWatch() *cobra.Command {
	var t target
	var after string
	var count int
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Tell of requests for approval as they come and are answered",
		Long: `Tells of requests for approval as they come, are answered and taken back; an approver hears of what is
theirs to answer. It begins with what is pending, and goes on where it was when the connection is lost.`,
		Example: `  aver approval watch --token-file lena.token
  aver approval watch --json --after 214`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := c.connect(&t)
			if err != nil {
				return err
			}
			told := 0
			for e, err := range server.WatchApprovals(cmd.Context(), after) {
				if err != nil {
					return err
				}
				if err := c.printApprovalEvent(&e); err != nil {
					return err
				}
				if told++; told == count {
					return nil
				}
			}
			return cmd.Context().Err()
		},
	}
	t.serverFlags(cmd)
	cmd.Flags().StringVar(&after, "after", "", "begin behind the event of the authority log with this `INDEX`")
	cmd.Flags().IntVar(&count, "count", 0, "end after so `MANY` events; 0: never")
	return cmd
}

func (c *cli) printApprovalEvent(e *client.ApprovalEvent) error {
	if c.json {
		return c.printJSON(e)
	}
	switch {
	case e.Approval != nil:
		a := e.Approval
		c.printf("%s  %-18s  %s  %s, until %s  (%s)\n", timeText(e.Time), e.Type, a.ID, a.State, timeText(a.Deadline), a.Gates[0].Policy)
	case e.Duty != nil:
		d := e.Duty
		c.printf("%s  %-18s  %s  %s does the duty of %s until %s: %s\n", timeText(e.Time), e.Type, d.ID, d.To, d.From, timeText(d.Expires), d.State)
	}
	return nil
}

func (c *cli) approvalDelegate() *cobra.Command {
	var id, from, notBefore, expires string
	cmd := &cobra.Command{
		Use:   "delegate TYPE:ID --expires TIME",
		Short: "Let somebody else answer for you for a while",
		Long: `Lets a registered person answer requests for approval on your behalf, for at most 90 days. They answer as
themselves, and the record says for whom. They can't pass it on, and can't answer what comes from you or
from them.`,
		Example: `  aver approval delegate user:tom --expires 336h --reason "on leave"
  aver approval delegate user:tom --from user:lena --not-before 2026-12-01T00:00:00Z --expires 2026-12-15T00:00:00Z`,
		Args: exactly("who is to answer, as TYPE:ID"),
	}
	fl := cmd.Flags()
	fl.StringVar(&id, "id", "", "an `ID` of your choice; default: a random one")
	fl.StringVar(&from, "from", "", "whose duty it is (`TYPE:ID`); default: yours")
	fl.StringVar(&notBefore, "not-before", "", "`TIME` when it begins, as RFC 3339 or from now on (8h); default: now")
	fl.StringVar(&expires, "expires", "", "`TIME` when it ends, as RFC 3339 or from now on (8h)")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) (err error) {
		d := aver.DutyDelegation{ID: id}
		if expires == "" {
			return errors.New("say until when: --expires TIME")
		}
		for _, f := range []struct {
			name, text string
			into       *aver.Time
		}{{"not-before", notBefore, &d.NotBefore}, {"expires", expires, &d.Expires}} {
			if *f.into, err = parseWhen(f.text); err != nil {
				return fmt.Errorf("--%s: %w", f.name, err)
			}
		}
		if d.To, err = parseRef(args[0]); err != nil {
			return err
		}
		if from != "" {
			if d.From, err = parseRef(from); err != nil {
				return fmt.Errorf("--from: %w", err)
			}
		}
		made, err := server.DelegateDuty(ctx, d, reason)
		if err != nil {
			return err
		}
		if err := made.Event.DecodeData(&d); err != nil {
			return err
		}
		return c.printChange(made, "%s: %s answers for %s until %s", d.ID, d.To, d.From, timeText(d.Expires))
	})
}

func (c *cli) approvalDelegations() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "delegations",
		Short:   "List who answers for whom; an approver sees what they gave and were given",
		Example: "  aver approval delegations\n  aver approval delegations --data ./data --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		return printList(c, s.Duties(ctx), "no duty was delegated",
			[]string{"ID", "STATE", "FROM", "TO", "BEGINS", "ENDS", "BY"},
			func(d client.Duty) []string {
				begins := d.NotBefore
				if begins == 0 {
					begins = d.Time
				}
				return []string{d.ID, d.State, d.From.String(), d.To.String(), timeText(begins), timeText(d.Expires), d.By.Name}
			})
	})
}

func (c *cli) approvalUndelegate() *cobra.Command {
	return c.changes(&cobra.Command{
		Use:     "undelegate ID",
		Short:   "End a delegation of duty before its time; what was answered by it stands",
		Example: `  aver approval undelegate d-7k2f --reason "back"`,
		Args:    exactly("the ID of a delegation"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		made, err := server.RevokeDuty(ctx, args[0], reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: ended", args[0])
	})
}

func (c *cli) webhook() *cobra.Command {
	var t target
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the receivers of webhooks and callbacks, and how they are doing",
		Example: "  aver webhook list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := c.connect(&t)
			if err != nil {
				return err
			}
			all, err := server.Webhooks(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(all)
			}
			var rows [][]string
			for _, w := range all {
				rows = append(rows, []string{w.Kind, w.Name, w.State, fmt.Sprint(w.Behind), fmt.Sprint(w.Delivered), fmt.Sprint(w.Failed),
					fmt.Sprint(w.GivenUp + w.Missed), strings.Join(w.URLs, " "), w.LastError})
			}
			return c.table("nobody is to be told of anything", []string{"KIND", "NAME", "STATE", "BEHIND", "DELIVERED", "FAILED", "LOST", "URL", "ERROR"}, rows)
		},
	}
	t.serverFlags(list)
	return noun(&cobra.Command{
		Use:   "webhook",
		Short: "Who is told of approvals, exceptions and delegated duties",
		Long: `Receivers of webhooks are configured in webhooks.yaml in the data directory, or the file that
aver serve --webhooks names. Each is told in order, at least once; what could not be delivered is tried again
for 72 hours.`,
		Example: "  aver webhook list",
	}, list)
}
