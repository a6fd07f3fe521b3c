package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) exception() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "exception",
		Short: "Break-glass, overrides and temporary access, and their reviews",
		Long: `An exception lets one person do for a while what the policies do not allow. Its kind must be enabled by a
bundle; it is approved (break-glass afterwards), it ends by itself, and somebody else reviews it then.`,
		Example: `  aver exception request --kind break_glass --subject user:ann --action ledger.repair --resource ledger \
      --justification "INC-7: the ledger is down" --identity-confirmed "call-back" --approver user:lena \
      --duration 1h --activate
  aver exception list
  aver exception review x-7k2f --verdict justified`,
	}, c.exceptionRequest(), c.exceptionList(), c.exceptionShow(),
		c.exceptionAnswer("approve", "Approve, as the person whom your token belongs to", (*client.Client).ApproveException, "approved"),
		c.exceptionAnswer("reject", "Reject, with a reason; an active one ends", (*client.Client).RejectException, "rejected"),
		c.exceptionTurn("activate", "Begin to use it: its time runs from now on", (*client.Client).ActivateException, "active"),
		c.exceptionTurn("close", "End it before its time", (*client.Client).CloseException, "closed"),
		c.exceptionReview())
}

func (c *cli) exceptionRequest() *cobra.Command {
	var x aver.ExceptionRequest
	var kind, subject, approver string
	var resources []string
	var duration time.Duration
	var activate bool
	cmd := &cobra.Command{
		Use:   "request --kind KIND --subject TYPE:ID …",
		Short: "Ask for an exception",
		Example: `  aver exception request --kind temporary_access --subject user:ann --action read --resource record:7 \
      --justification "audit of May" --identity-confirmed "badge" --approver user:lena --duration 8h`,
		Args: cobra.NoArgs,
	}
	fl := cmd.Flags()
	fl.StringVar(&x.ID, "id", "", "an `ID` of your choice; default: a random one")
	fl.StringVar(&kind, "kind", "", "`KIND`: break_glass, override or temporary_access")
	fl.StringVar(&subject, "subject", "", "the one person it is for (`TYPE:ID`)")
	fl.StringArrayVar(&x.Actions, "action", nil, "`NAME` of an action, or a beginning followed by *; repeat for more")
	fl.StringArrayVar(&resources, "resource", nil, "`TYPE` or TYPE:ID; repeat for more")
	fl.StringVar(&x.Justification, "justification", "", "the business need (`TEXT`)")
	fl.StringVar(&x.IdentityConfirmed, "identity-confirmed", "", "how it was made sure who the person is (`TEXT`)")
	fl.StringVar(&approver, "approver", "", "who answers for it in the management (`TYPE:ID`)")
	fl.DurationVar(&duration, "duration", 0, "for how `LONG`, such as 2h")
	fl.BoolVar(&activate, "activate", false, "use break-glass at once")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, _ []string) (err error) {
		x.Kind, x.Duration = aver.ExceptionKind(kind), int64(duration.Seconds())
		if x.Subject, err = parseRef(subject); err != nil {
			return fmt.Errorf("--subject: %w", err)
		}
		if x.Approver, err = parseRef(approver); err != nil {
			return fmt.Errorf("--approver: %w", err)
		}
		for _, text := range resources {
			scope := aver.ResourceScope{Type: text}
			if r, err := parseRef(text); err == nil {
				scope = aver.ResourceScope{Type: r.Type, ID: r.ID}
			}
			x.Resources = append(x.Resources, scope)
		}
		made, err := server.RequestException(ctx, x, activate, reason)
		if err != nil {
			return err
		}
		var named struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(made.Event.Data, &named); err != nil {
			return err
		}
		if activate {
			return c.printChange(made, "%s: active", named.ID)
		}
		return c.printChange(made, "%s: requested", named.ID)
	})
}

func (c *cli) exceptionList() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "list",
		Short:   "List the exceptions, with those whose review is overdue",
		Example: "  aver exception list\n  aver exception list --data ./data --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		return printList(c, s.Exceptions(ctx), "no exception was requested",
			[]string{"ID", "STATE", "KIND", "SUBJECT", "REQUESTED", "UNTIL", "REVIEW DUE"},
			func(x client.Exception) []string {
				return []string{x.ID, x.State, string(x.Kind), refText(x.Subject), timeText(x.Time), timeText(x.Until), timeText(x.ReviewDue)}
			})
	})
}

func (c *cli) exceptionShow() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Print an exception, as JSON",
		Example: "  aver exception show x-7k2f",
		Args:    exactly("the ID of an exception"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := c.connect(&t)
			if err != nil {
				return err
			}
			x, err := server.Exception(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.printJSON(x)
		},
	}
	t.serverFlags(cmd)
	return cmd
}

func (c *cli) exceptionTurn(verb, short string,
	turn func(*client.Client, context.Context, string, string) (*client.Change, error), done string,
) *cobra.Command {
	return c.changes(&cobra.Command{
		Use: verb + " ID", Short: short, Example: "  aver exception " + verb + " x-7k2f", Args: exactly("the ID of an exception"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		made, err := turn(server, ctx, args[0], reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: %s", args[0], done)
	})
}

// asFlag adds the flag for servers that authenticate nobody.
func asFlag(cmd *cobra.Command) func() (*aver.Ref, error) {
	var as string
	cmd.Flags().StringVar(&as, "as", "", "who you are (`TYPE:ID`); needed only where the server authenticates nobody")
	return func() (*aver.Ref, error) {
		if as == "" {
			return nil, nil
		}
		ref, err := parseRef(as)
		if err != nil {
			return nil, fmt.Errorf("--as: %w", err)
		}
		return &ref, nil
	}
}

func (c *cli) exceptionAnswer(verb, short string,
	answer func(*client.Client, context.Context, string, *aver.Ref, string) (*client.Change, error), done string,
) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " ID", Short: short, Args: exactly("the ID of an exception"),
		Example: fmt.Sprintf("  aver exception %s x-7k2f --reason \"looked into it\"", verb),
	}
	as := asFlag(cmd)
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		who, err := as()
		if err != nil {
			return err
		}
		made, err := answer(server, ctx, args[0], who, reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: %s", args[0], done)
	})
}

func (c *cli) exceptionReview() *cobra.Command {
	var verdict, followUp string
	cmd := &cobra.Command{
		Use:   "review ID --verdict VERDICT",
		Short: "Review an exception after its end",
		Example: `  aver exception review x-7k2f --verdict justified
  aver exception review x-7k2f --verdict unjustified --follow-up "train the duty desk"`,
		Args: exactly("the ID of an exception"),
	}
	cmd.Flags().StringVar(&verdict, "verdict", "", "`VERDICT`: justified or unjustified")
	cmd.Flags().StringVar(&followUp, "follow-up", "", "what is to be done (`TEXT`); needed when it was unjustified")
	as := asFlag(cmd)
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		if verdict == "" {
			return errors.New("a review needs a --verdict: justified or unjustified")
		}
		who, err := as()
		if err != nil {
			return err
		}
		made, err := server.ReviewException(ctx, args[0], who, aver.Verdict(verdict), followUp, reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: %s", args[0], verdict)
	})
}
