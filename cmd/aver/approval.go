package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) approval() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "approval",
		Short: "Ask for approvals, and answer those that were asked for",
		Long: `A decision that is escalated lacks somebody's approval. Who asked for the decision asks for the
approval; the approvers that the policy names answer it, each with a credential that belongs to them
(aver credential issue --subject); then the decision is asked for again, with aver decide --approval ID.
An approval holds for that very request, under that version of the policy, once, for a while. Those whom
the request comes from can't approve it.`,
		Example: `  aver approval list
  aver approval show ap-7k2f
  aver approval approve ap-7k2f --reason "checked with the supplier"
  aver approval delegate user:tom --expires 336h --reason "on leave"`,
	}, c.approvalRequest(), c.approvalList(), c.approvalShow(), c.approvalWatch(),
		c.approvalVote("approve", "Approve, as the person whom your token belongs to", (*client.Client).Approve, "approved"),
		c.approvalVote("refuse", "Refuse, with a reason; that ends the request", (*client.Client).Refuse, "refused"),
		c.approvalDelegate(), c.approvalDelegations(), c.approvalUndelegate())
}

func (c *cli) approvalRequest() *cobra.Command {
	var file, key string
	cmd := &cobra.Command{
		Use:     "request EVALUATION_ID --request FILE",
		Short:   "Ask for the approvals that a decision found missing",
		Example: "  aver approval request 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f --request request.json",
		Args:    exactly("an EVALUATION_ID"),
	}
	cmd.Flags().StringVar(&file, "request", "", "`FILE` with the AuthZEN request as it was decided, - for the standard input")
	cmd.Flags().StringVar(&key, "key", "", "a `KEY` of yours: the same key never asks for another approval")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		if file == "" {
			return errors.New("the request that was decided is needed: --request FILE")
		}
		req, err := c.readRequest(&decideFlags{request: file})
		if err != nil {
			return err
		}
		task, err := server.RequestAccess(ctx, req, args[0], key, reason)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(task)
		}
		c.printf("%s: %s until %s\n", task.ID, task.Status, timeText(task.Expires))
		return nil
	})
}

func (c *cli) approvalList() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the requests for approval; an approver sees their own",
		Example: "  aver approval list --state pending\n  aver approval list --data ./data --json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&state, "state", "", "only those in this `STATE`: pending, approved, denied, expired or cancelled")
	return c.reads(cmd, func(ctx context.Context, s source, _ []string) error {
		if state != "" && !slices.Contains([]string{"pending", "approved", "denied", "expired", "cancelled"}, state) {
			return fmt.Errorf("--state %q: use pending, approved, denied, expired or cancelled", state)
		}
		return printList(c, only(s.Approvals(ctx), func(a client.Approval) bool { return state == "" || a.State == state }), "no approval was asked for",
			[]string{"ID", "STATE", "POLICY", "ASKED", "BY", "DEADLINE", "ANSWERED"},
			func(a client.Approval) []string {
				return []string{a.ID, a.State, a.Gates[0].Policy, timeText(a.Time), a.By.Name, timeText(a.Deadline), fmt.Sprint(len(a.Votes))}
			})
	})
}

func (c *cli) approvalShow() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Print a request for approval with all that an approver decides on, as JSON",
		Example: "  aver approval show ap-7k2f",
		Args:    exactly("the ID of a request for approval"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := c.connect(&t)
			if err != nil {
				return err
			}
			a, err := server.Approval(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.printJSON(a)
		},
	}
	t.serverFlags(cmd)
	return cmd
}

func (c *cli) approvalVote(verb, short string,
	vote func(*client.Client, context.Context, string, *aver.Ref, string, string) (*client.Change, error), done string,
) *cobra.Command {
	var seen string
	cmd := &cobra.Command{
		Use:     verb + " ID",
		Short:   short,
		Example: fmt.Sprintf("  aver approval %s ap-7k2f --reason \"looked into it\"", verb),
		Args:    exactly("the ID of a request for approval"),
	}
	as := asFlag(cmd)
	cmd.Flags().StringVar(&seen, "seen", "", "the `DIGEST` that show printed as seen: refused if something else is shown now")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		approver, err := as()
		if err != nil {
			return err
		}
		made, err := vote(server, ctx, args[0], approver, seen, reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: %s", args[0], done)
	})
}

// only yields the items of a list that are wanted.
func only[T any](list iter.Seq2[T, error], want func(T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for item, err := range list {
			if (err != nil || want(item)) && !yield(item, err) {
				return
			}
		}
	}
}
