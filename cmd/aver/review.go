package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) review() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "review",
		Short: "Review who holds what, and whether policies are still right",
		Long: `An access review fixes which grants stand and which machine identities there are. Its reviewers decide each
row until a deadline: keep it, revoke it, or modify it. Nobody decides what they have a stake in. What is
revoked is revoked at once; the owners acknowledge; then it is closed. Policies and single identities are
reviewed with aver review record, and aver review due says what is overdue.`,
		Example: `  aver review open --all --reviewer group:reviewers --deadline 336h --reason "half-year review"
  aver review show rv-7k2f
  aver review show rv-7k2f 3
  aver review decide rv-7k2f 3 --decision revoke --reason "not used since March"
  aver review acknowledge rv-7k2f
  aver review close rv-7k2f
  aver review record --policy payments --verdict current --next 4380h
  aver review due`,
	}, c.reviewOpen(), c.reviewList(), c.reviewShow(), c.reviewDecide(), c.reviewRemediate(), c.reviewAcknowledge(), c.reviewClose(),
		c.reviewRecord(), c.reviewDue())
}

func (c *cli) reviewOpen() *cobra.Command {
	var r aver.ReviewOpened
	var all bool
	var identity, deadline string
	var reviewers []string
	cmd := &cobra.Command{
		Use:   "open --all | --owner NAME | --identity TYPE:ID",
		Short: "Open an access review",
		Long: `Opens an access review of the grants that stand and the machine identities that are not retired, as they are
now: all, those of one owner with the grants from and to them, or those of one party.`,
		Example: `  aver review open --all --reviewer group:reviewers --deadline 336h --reason "half-year review"
  aver review open --owner payments --reviewer user:rita --reviewer user:rolf --deadline 2026-12-15T00:00:00Z`,
		Args: cobra.NoArgs,
	}
	fl := cmd.Flags()
	fl.StringVar(&r.ID, "id", "", "an `ID` of your choice; default: a random one")
	fl.BoolVar(&all, "all", false, "review everything")
	fl.StringVar(&r.Scope.Owner, "owner", "", "review the machine identities of the owner of this `NAME`")
	fl.StringVar(&identity, "identity", "", "review what this party holds and has granted, as `TYPE:ID`")
	fl.StringArrayVar(&reviewers, "reviewer", nil, "who decides: a person, or a group of people, as `TYPE:ID`; repeat for more")
	fl.StringVar(&deadline, "deadline", "", "`TIME` until when everything is to be decided, as RFC 3339 or from now on (336h)")
	cmd.MarkFlagsOneRequired("all", "owner", "identity")
	cmd.MarkFlagsMutuallyExclusive("all", "owner", "identity")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, _ []string) (err error) {
		r.Scope.Of = aver.ReviewAll
		if r.Scope.Owner != "" {
			r.Scope.Of = aver.ReviewOfOwner
		}
		if identity != "" {
			ref, err := parseRef(identity)
			if err != nil {
				return fmt.Errorf("--identity: %w", err)
			}
			r.Scope.Of, r.Scope.Identity = aver.ReviewOfIdentity, &ref
		}
		if r.Reviewers, err = parseRefs(reviewers); err != nil {
			return fmt.Errorf("--reviewer: %w", err)
		}
		if r.Deadline, err = parseWhen(deadline); err != nil {
			return fmt.Errorf("--deadline: %w", err)
		}
		made, err := server.OpenReview(ctx, r, reason)
		if err != nil {
			return err
		}
		var opened aver.ReviewOpened
		if err := json.Unmarshal(made.Event.Data, &opened); err != nil {
			return err
		}
		return c.printChange(made, "%s: open, %d rows", opened.ID, opened.Rows)
	})
}

func (c *cli) reviewList() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "list",
		Short:   "List the access reviews",
		Example: "  aver review list\n  aver review list --data ./data --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		return printList(c, s.Reviews(ctx), "no access review was opened",
			[]string{"ID", "STATE", "SCOPE", "ROWS", "UNDECIDED", "NOT CARRIED OUT", "DEADLINE"},
			func(r client.Review) []string {
				return []string{
					r.ID, r.State, reviewScopeText(r.Scope), strconv.Itoa(r.Rows), strconv.Itoa(r.Progress.Undecided),
					strconv.Itoa(r.Progress.NotCarriedOut), timeText(r.Deadline),
				}
			})
	})
}

func reviewScopeText(s aver.ReviewScope) string {
	switch {
	case s.Identity != nil:
		return refText(*s.Identity)
	case s.Owner != "":
		return "owner " + s.Owner
	}
	return "all"
}

func (c *cli) reviewShow() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:   "show ID [ROW]",
		Short: "Print the rows of an access review, or one row with what its subject can reach",
		Example: `  aver review show rv-7k2f
  aver review show rv-7k2f 3
  aver review show rv-7k2f --data ./data --json`,
		Args: between(1, "the ID of a review", "the number of a ROW"),
	}, func(ctx context.Context, s source, args []string) error {
		if len(args) == 2 {
			return c.showRow(ctx, s, args[0], args[1])
		}
		if !c.json {
			r, err := s.Review(ctx, args[0])
			if err != nil {
				return err
			}
			c.printf("%s: %s, %s, until %s\nrows %d at event %d, digest %s\n\n", r.ID, reviewScopeText(r.Scope), r.State, timeText(r.Deadline), r.Rows, r.Size, r.Digest)
		}
		return printList(c, s.ReviewRows(ctx, args[0]), "it has no rows",
			[]string{"ROW", "WHAT", "DECISION", "BY", "CARRIED OUT", "ACKNOWLEDGED", "REASON"},
			func(r client.ReviewRow) []string {
				cells := []string{strconv.Itoa(r.Row), rowText(r.ReviewRow), "-", "-", "-", "-", ""}
				if r.Decided != nil {
					cells[2], cells[3], cells[6] = string(r.Decided.Decision), refText(r.Decided.Reviewer), r.Decided.Reason
					if cells[4] = "no"; r.Settled {
						cells[4] = "yes"
					}
				}
				if r.Acknowledged != nil {
					cells[5] = refText(r.Acknowledged.Owner)
				}
				return cells
			})
	})
}

func rowText(r aver.ReviewRow) string {
	if r.Identity != nil {
		return refText(*r.Identity)
	}
	return "grant " + r.Grant
}

// showRow prints one row, as a server shows it.
func (c *cli) showRow(ctx context.Context, s source, id, text string) error {
	server, ok := s.(*client.Client)
	if !ok {
		return errors.New("what the subject of one row can reach is for a server to say: give --server instead of --data, or no ROW")
	}
	row, err := parseRow(text)
	if err != nil {
		return err
	}
	r, err := server.ReviewRow(ctx, id, row)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(r)
	}
	c.printf("row %d: %s, as of event %d\n", r.Row, rowText(r.ReviewRow), r.Event)
	if r.Changed {
		c.printf("  it changed since the review was opened\n")
	}
	if g := r.Granted; g != nil {
		c.printf("  from %s to %s: %s\n", refText(g.From), refText(g.To), strings.Join(g.Actions, ", "))
	}
	if i := r.Registered; i != nil {
		c.printf("  %s, %s, owner %s: %s\n", i.Kind, i.Status, i.Owner, i.Purpose)
	}
	for _, f := range r.Reach.Found {
		more := ""
		if f.More {
			more = ", …"
		}
		c.printf("  can %s %s: %s%s\n", f.Action, f.Type, strings.Join(f.Resources, ", "), more)
	}
	switch {
	case !r.Reach.Complete:
		c.printf("  not everything was looked at\n")
	case len(r.Reach.Found) == 0:
		c.printf("  can do nothing to what is registered, as of now\n")
	}
	switch u := r.LastUse; {
	case u == nil:
		c.printf("  last use: not known\n")
	case u.EvaluationID == "":
		c.printf("  last use: none among %d entries\n", u.Searched)
	default:
		c.printf("  last use: %s, decision %s\n", timeText(u.Time), u.EvaluationID)
	}
	if d := r.Decided; d != nil {
		c.printf("decided: %s by %s, since %q\n", d.Decision, refText(d.Reviewer), d.Reason)
	}
	return nil
}

func parseRow(text string) (int, error) {
	row, err := strconv.Atoi(text)
	if err != nil || row < 1 {
		return 0, fmt.Errorf("%q is not the number of a row: see aver review show", text)
	}
	return row, nil
}

func (c *cli) reviewDecide() *cobra.Command {
	var decision, change, next string
	cmd := &cobra.Command{
		Use:   "decide ID ROW --decision DECISION --reason TEXT",
		Short: "Decide a row, as the person whom your token belongs to",
		Long: `Decides a row: keep, revoke (the grant is revoked, the identity suspended, at once), or modify (aver review
remediate carries that out). An identity that stays needs the time of its next review.`,
		Example: `  aver review decide rv-7k2f 3 --decision revoke --reason "not used since March"
  aver review decide rv-7k2f 1 --decision keep --next 4380h --reason "still needed"`,
		Args: exactly("the ID of a review", "the number of a ROW"),
	}
	decisions := oneOf(aver.ReviewDecisions()...)
	cmd.Flags().StringVar(&decision, "decision", "", "`DECISION`: "+strings.Join(decisions, ", "))
	cmd.Flags().StringVar(&change, "change", "", "what is to become of it (`TEXT`); with modify")
	cmd.Flags().StringVar(&next, "next", "", "`TIME` of the next review of an identity that stays, as RFC 3339 or from now on (4380h)")
	_ = cmd.RegisterFlagCompletionFunc("decision", cobra.FixedCompletions(decisions, cobra.ShellCompDirectiveNoFileComp))
	as := asFlag(cmd)
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		who, err := as()
		if err != nil {
			return err
		}
		d := aver.ReviewDecided{ID: args[0], Decision: aver.ReviewDecision(decision), Change: change}
		if d.Row, err = parseRow(args[1]); err != nil {
			return err
		}
		if d.Next, err = parseWhen(next); err != nil {
			return fmt.Errorf("--next: %w", err)
		}
		made, err := server.DecideReviewRow(ctx, d, who, reason)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(made)
		}
		c.printf("row %d: %s (event %d)\n", d.Row, decision, made.Index)
		return c.printRemediation(made.Remediation, made.NotCarriedOut)
	})
}

// printRemediation prints what carried a decision out. What was not carried out is an error.
func (c *cli) printRemediation(done []client.Change, why string) error {
	for _, made := range done {
		c.printf("%s (event %d)\n", made.Event.Type, made.Index)
	}
	if why != "" {
		return fmt.Errorf("it is decided, but not carried out: %s; then run aver review remediate", why)
	}
	return nil
}

func (c *cli) reviewRemediate() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "remediate ID ROW",
		Short: "Carry out what was decided about a row",
		Long: `Carries out a decision: revokes the grant, or suspends the identity. A grant that is to be modified can be
replaced by one in a file, which must not exceed it; an identity that is to be modified is registered as the
file says, by an administrator. The file has the members of the API, as JSON or YAML.`,
		Example: `  aver review remediate rv-7k2f 3
  aver review remediate rv-7k2f 3 --file narrower.json`,
		Args: exactly("the ID of a review", "the number of a ROW"),
	}
	cmd.Flags().StringVar(&file, "file", "", "`FILE` with the grant, or the identity, that is to be in its place; - is the standard input")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		row, err := parseRow(args[1])
		if err != nil {
			return err
		}
		var replacement *aver.Grant
		var identity *aver.Identity
		if file != "" {
			r, err := server.ReviewRow(ctx, args[0], row)
			if err != nil {
				return err
			}
			if r.Identity != nil {
				identity, err = one[aver.Identity](c, file)
			} else {
				replacement, err = one[aver.Grant](c, file)
			}
			if err != nil {
				return err
			}
		}
		done, err := server.RemediateReviewRow(ctx, args[0], row, replacement, identity, reason)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(done)
		}
		return c.printRemediation(done, "")
	})
}

// one reads a file that holds one thing.
func one[T any](c *cli, file string) (*T, error) {
	list, err := readList[T](c, file)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%s holds %d of them, and one is needed", file, len(list))
	}
	return &list[0], nil
}

func (c *cli) reviewAcknowledge() *cobra.Command {
	var rows []int
	cmd := &cobra.Command{
		Use:   "acknowledge ID",
		Short: "Take note of what was decided about what you own",
		Example: `  aver review acknowledge rv-7k2f
  aver review acknowledge rv-7k2f --row 1 --row 3`,
		Args: exactly("the ID of a review"),
	}
	cmd.Flags().IntSliceVar(&rows, "row", nil, "`ROW`, ascending; repeat for more; without any, all that are decided and yours")
	as := asFlag(cmd)
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		who, err := as()
		if err != nil {
			return err
		}
		made, err := server.AcknowledgeReview(ctx, args[0], who, rows, reason)
		if err != nil {
			return err
		}
		var noted aver.ReviewAcknowledged
		if err := json.Unmarshal(made.Event.Data, &noted); err != nil {
			return err
		}
		return c.printChange(made, "%s: %d rows acknowledged", args[0], len(noted.Rows))
	})
}

func (c *cli) reviewClose() *cobra.Command {
	return c.changes(&cobra.Command{
		Use:   "close ID",
		Short: "Close an access review",
		Long: `Closes an access review when every row is decided, and carried out. After its deadline it can also be closed
with rows that nobody decided, with a reason; it then stays incomplete.`,
		Example: "  aver review close rv-7k2f",
		Args:    exactly("the ID of a review"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		made, err := server.CloseReview(ctx, args[0], reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: closed", args[0])
	})
}

func (c *cli) reviewRecord() *cobra.Command {
	var r aver.ReviewRecorded
	var policy, digest, identity, verdict, next string
	cmd := &cobra.Command{
		Use:   "record --policy NAME | --identity TYPE:ID",
		Short: "Record that you reviewed a policy, or an identity",
		Example: `  aver review record --policy payments --verdict current --next 4380h
  aver review record --identity ai_agent:payables --verdict outdated --follow-up "drop the export tool" --next 720h`,
		Args: cobra.NoArgs,
	}
	fl := cmd.Flags()
	fl.StringVar(&policy, "policy", "", "the bundle of this `NAME`, in the active version")
	fl.StringVar(&digest, "digest", "", "the version of the bundle with this `DIGEST`")
	fl.StringVar(&identity, "identity", "", "the identity, as `TYPE:ID`")
	fl.StringVar(&verdict, "verdict", "", "`VERDICT`: current or outdated")
	fl.StringVar(&r.FollowUp, "follow-up", "", "what is to be done (`TEXT`); needed when it is outdated")
	fl.StringVar(&next, "next", "", "`TIME` of the next review, as RFC 3339 or from now on (4380h)")
	cmd.MarkFlagsOneRequired("policy", "identity")
	cmd.MarkFlagsMutuallyExclusive("policy", "identity")
	as := asFlag(cmd)
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, _ []string) error {
		who, err := as()
		if err != nil {
			return err
		}
		r.Verdict = aver.ReviewVerdict(verdict)
		if r.Next, err = parseWhen(next); err != nil {
			return fmt.Errorf("--next: %w", err)
		}
		what := policy
		if policy != "" {
			r.Policy = &aver.PolicyRef{Name: policy, Digest: digest}
		} else {
			ref, err := parseRef(identity)
			if err != nil {
				return fmt.Errorf("--identity: %w", err)
			}
			r.Identity, what = &ref, refText(ref)
		}
		made, err := server.RecordReview(ctx, r, who, reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: reviewed, %s, next %s", what, verdict, timeText(r.Next))
	})
}

func (c *cli) reviewDue() *cobra.Command {
	var days int
	var overdue bool
	cmd := c.reads(&cobra.Command{
		Use:   "due",
		Short: "List what has to be reviewed: overdue first",
		Long: `Lists the reviews of identities, policies and exceptions, and the access reviews, that are overdue or will be
due; last, the machine identities and policies of which nothing says when. With --overdue only what is
overdue, and the exit status is 1 if anything is.`,
		Example: "  aver review due\n  aver review due --days 90 --data ./data\n  aver review due --overdue",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		n := 0
		list := func(yield func(client.ReviewDue, error) bool) {
			for d, err := range s.ReviewsDue(ctx, days) {
				if err == nil && overdue && d.State != "overdue" {
					continue
				}
				n++
				if !yield(d, err) {
					return
				}
			}
		}
		err := printList(c, list, "nothing has to be reviewed", []string{"STATE", "DUE", "KIND", "WHAT", "OWNER", "LAST"},
			func(d client.ReviewDue) []string {
				what, last := d.Exception+d.Review, "-"
				if d.Identity != nil {
					what = refText(*d.Identity)
				} else if d.Policy != nil {
					what = d.Policy.Name
				}
				if d.Last != nil {
					last = timeText(d.Last.Time)
				}
				return []string{d.State, timeText(d.Due), d.Kind, what, d.Owner, last}
			})
		if err == nil && overdue && n > 0 {
			return &wrongError{}
		}
		return err
	})
	cmd.Flags().IntVar(&days, "days", 30, "how many `DAYS` ahead")
	cmd.Flags().BoolVar(&overdue, "overdue", false, "only what is overdue; exit status 1 if there is any")
	return cmd
}
