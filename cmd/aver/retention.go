package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) retention() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "retention",
		Short: "For how long records are kept",
		Long: `Each record of the decision log is of a retention class; without a rule its class is kept for ever. Once
the period of its class is over, a record is erased: its leaf, and with it every proof, stays for ever,
and an event says what went and why. A rule takes two people: one proposes it, another approves it.`,
		Example: `  aver retention set payments --period 7y --action "payment.*" --reason "tax code"
  aver retention approve payments
  aver retention list
  aver retention run`,
	}, c.retentionSet(), c.retentionApprove(), c.retentionList(), c.retentionRun())
}

// parsePeriod reads a period in seconds: as Go writes durations, or in days or years (of 366 days); "forever" is 0.
func parsePeriod(text string) (int64, error) {
	if text == "forever" {
		return 0, nil
	}
	for unit, seconds := range map[string]int64{"d": 86400, "y": 366 * 86400} {
		if digits, ok := strings.CutSuffix(text, unit); ok {
			if n, err := strconv.ParseInt(digits, 10, 32); err == nil && n > 0 {
				return n * seconds, nil
			}
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("%q is no period: such as 90d, 7y, 36h or forever", text)
	}
	return int64(d.Seconds()), nil
}

// periodText is the inverse of parsePeriod, for people.
func periodText(seconds int64) string {
	switch {
	case seconds == 0:
		return "forever"
	case seconds%(366*86400) == 0:
		return fmt.Sprintf("%dy", seconds/(366*86400))
	case seconds%86400 == 0:
		return fmt.Sprintf("%dd", seconds/86400)
	}
	return (time.Duration(seconds) * time.Second).String()
}

func (c *cli) retentionSet() *cobra.Command {
	var r aver.RetentionRule
	var period string
	cmd := &cobra.Command{
		Use:   "set CLASS --period PERIOD --reason TEXT",
		Short: "Propose for how long a class of records is kept",
		Long: `Proposes a rule, which counts once another person has approved it. The classes standard (whatever is of no
other) and administration (decisions about Aver itself) have no actions.`,
		Example: `  aver retention set payments --period 7y --action "payment.*" --reason "tax code"
  aver retention set standard --period 400d --reason "policy SEC-12"`,
		Args: exactly("a CLASS"),
	}
	cmd.Flags().StringVar(&period, "period", "", "`PERIOD` from the time of a record: 90d, 7y (years of 366 days), 36h or forever")
	cmd.Flags().StringArrayVar(&r.Actions, "action", nil, "`NAME` of an action, or a beginning followed by *, whose decisions are of the class from then on; repeat for more")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) (err error) {
		if period == "" {
			return errors.New("--period is needed: for how long is it kept?")
		}
		if r.Period, err = parsePeriod(period); err != nil {
			return fmt.Errorf("--period: %w", err)
		}
		r.Class = args[0]
		made, err := server.SetRetention(ctx, r, reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: proposed, and waits for a second person", r.Class)
	})
}

func (c *cli) retentionApprove() *cobra.Command {
	var event int64
	cmd := &cobra.Command{
		Use:     "approve CLASS",
		Short:   "Approve a proposed rule, as another person",
		Example: "  aver retention list\n  aver retention approve payments --proposed 31",
		Args:    exactly("a CLASS"),
	}
	cmd.Flags().Int64Var(&event, "proposed", -1, "the `EVENT` that proposed what you approve; default: the one that waits now")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		if event < 0 {
			r, err := server.Retention(ctx)
			if err != nil {
				return err
			}
			for _, class := range r.Classes {
				if class.Class == args[0] && class.Proposed != nil {
					event = int64(class.Proposed.Event)
				}
			}
			if event < 0 {
				return fmt.Errorf("no rule for the class %q waits for approval", args[0])
			}
		}
		made, err := server.ApproveRetention(ctx, args[0], uint64(event), reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: in force", args[0])
	})
}

func (c *cli) retentionList() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "list",
		Short:   "List the classes for which there is a rule",
		Example: "  aver retention list\n  aver retention list --data ./data --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		r, err := s.Retention(ctx)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(r)
		}
		var rows [][]string
		row := func(class, state string, v *client.RetentionVersion) {
			if v == nil {
				return
			}
			approved := "-"
			if v.Approved != nil {
				approved = refText(v.Approved.By.Principal())
			}
			rows = append(rows, []string{class, state, periodText(v.Period), strings.Join(v.Actions, " "), refText(v.By.Principal()), approved, v.Reason})
		}
		for _, class := range r.Classes {
			row(class.Class, "in force", class.InForce)
			row(class.Class, "proposed", class.Proposed)
		}
		return c.table("no class has a rule: everything is kept", []string{"CLASS", "STATE", "PERIOD", "ACTIONS", "PROPOSED BY", "APPROVED BY", "REASON"}, rows)
	})
}

func (c *cli) retentionRun() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Erase what is due, now",
		Long: `Erases what is due and not held. The server does so by itself once a day, and soon after something was
approved. It makes way for decisions, so much of it can take longer than a request; then it goes on
behind it.`,
		Example: "  aver retention run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := c.connect(&t)
			if err != nil {
				return err
			}
			s, err := server.RunRetention(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(s)
			}
			if s.Events == nil {
				c.printf("it goes on: aver erase list --erased shows what is done\n")
				return nil
			}
			c.printf("erased: the payloads of %s, disclosures of %s; held: %d\n",
				plural(s.Payloads, "entry", "entries"), plural(s.Disclosures, "entry", "entries"), s.Held)
			return nil
		},
	}
	t.serverFlags(cmd)
	return cmd
}

// scopeFlags choose entries of the decision log.
type scopeFlags struct {
	class, subject, from, until string
	actions, ids                []string
}

func (f *scopeFlags) add(cmd *cobra.Command, subject bool) {
	fl := cmd.Flags()
	fl.StringVar(&f.class, "class", "", "of a retention `CLASS`")
	if subject {
		fl.StringVar(&f.subject, "subject", "", "about somebody or something (`TYPE:ID`): who acts, for whom, on what, or by whose grant")
	}
	fl.StringArrayVar(&f.actions, "action", nil, "about an action (`NAME`, or a beginning followed by *); repeat for more")
	fl.StringVar(&f.from, "from", "", "not before a `TIME` (RFC 3339)")
	fl.StringVar(&f.until, "until", "", "before a `TIME` (RFC 3339)")
	fl.StringArrayVar(&f.ids, "evaluation", nil, "by its evaluation `ID`; repeat for more")
}

func (f *scopeFlags) value() (s aver.EvidenceScope, err error) {
	s.Class, s.Actions, s.IDs = f.class, f.actions, f.ids
	if f.subject != "" {
		if s.Subject, err = parseRef(f.subject); err != nil {
			return s, fmt.Errorf("--subject: %w", err)
		}
	}
	for _, t := range []struct {
		flag, text string
		into       *aver.Time
	}{{"--from", f.from, &s.From}, {"--until", f.until, &s.Until}} {
		if t.text == "" {
			continue
		}
		if *t.into, err = aver.ParseTime(t.text); err != nil {
			return s, fmt.Errorf("%s: %w", t.flag, err)
		}
	}
	return s, nil
}

// scopeText is a scope for people.
func scopeText(s aver.EvidenceScope) string {
	var parts []string
	if s.Class != "" {
		parts = append(parts, "class "+s.Class)
	}
	if !s.Subject.IsZero() {
		parts = append(parts, "about "+refText(s.Subject))
	}
	if len(s.Actions) > 0 {
		parts = append(parts, strings.Join(s.Actions, " "))
	}
	if s.From != 0 {
		parts = append(parts, "from "+timeText(s.From))
	}
	if s.Until != 0 {
		parts = append(parts, "until "+timeText(s.Until))
	}
	if len(s.IDs) > 0 {
		parts = append(parts, plural(uint64(len(s.IDs)), "id", "ids"))
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

func (c *cli) hold() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "hold",
		Short: "Legal holds: records that must not be erased",
		Long: `While a hold covers a record, neither its class's period nor an approved erasure takes it away. Who placed it,
why, and what it covers stand in the authority log.`,
		Example: `  aver hold place --subject user:ann --from 2026-01-01T00:00:00Z --reason "case 2026-118"
  aver hold list
  aver hold release h-7k2f --reason "the case is closed"`,
	}, c.holdPlace(), c.holdRelease(), c.holdList())
}

func (c *cli) holdPlace() *cobra.Command {
	var f scopeFlags
	var id string
	var everything bool
	cmd := &cobra.Command{
		Use:   "place --reason TEXT [--subject TYPE:ID ...]",
		Short: "Keep records from being erased",
		Long:  "Holds the records for which all that is given holds, those that are still to come included.",
		Example: `  aver hold place --subject user:ann --from 2026-01-01T00:00:00Z --until 2026-07-01T00:00:00Z --reason "case 2026-118"
  aver hold place --class payments --reason "audit of the year 2026"
  aver hold place --everything --reason "regulator's letter"`,
		Args: cobra.NoArgs,
	}
	f.add(cmd, true)
	cmd.Flags().StringVar(&id, "id", "", "an `ID` of your choice; default: a random one")
	cmd.Flags().BoolVar(&everything, "everything", false, "hold every record")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, _ []string) error {
		scope, err := f.value()
		if err != nil {
			return err
		}
		if scope.IsZero() != everything {
			return errors.New("say what is to be held: by --class, --subject, --action, --from, --until and --evaluation, or --everything")
		}
		made, err := server.PlaceHold(ctx, aver.LegalHold{ID: id, Scope: scope}, reason)
		if err != nil {
			return err
		}
		return c.printNamed(made, "held")
	})
}

// printNamed prints a change of something that has an id.
func (c *cli) printNamed(made *client.Change, state string) error {
	var named struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(made.Event.Data, &named); err != nil {
		return err
	}
	return c.printChange(made, "%s: %s", named.ID, state)
}

func (c *cli) holdRelease() *cobra.Command {
	return c.changes(&cobra.Command{
		Use: "release ID --reason TEXT", Short: "End a hold", Args: exactly("the ID of a hold"),
		Example: `  aver hold release h-7k2f --reason "the case is closed"`,
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		made, err := server.ReleaseHold(ctx, args[0], reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: released", args[0])
	})
}

func (c *cli) holdList() *cobra.Command {
	return c.reads(&cobra.Command{
		Use: "list", Short: "List the holds, released ones included", Args: cobra.NoArgs,
		Example: "  aver hold list\n  aver hold list --data ./data --json",
	}, func(ctx context.Context, s source, _ []string) error {
		return printList(c, s.Holds(ctx), "nothing is held", []string{"ID", "STATE", "COVERS", "BY", "PLACED", "REASON"}, func(h client.Hold) []string {
			return []string{h.ID, h.State, scopeText(h.Scope), refText(h.By.Principal()), timeText(h.Time), h.Reason}
		})
	})
}

func (c *cli) erase() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "erase",
		Short: "Erase records, or what they disclose about somebody, by two people",
		Long: `Erasing takes two people: one asks for it, another approves it. Then the server erases what is not held,
and says in the authority log what went. The leaves stay, and with them every proof; a record that is
gone is shown as erased, and one whose disclosures are gone as undetermined.`,
		Example: `  aver erase subject customer:c-1024 --reason "GDPR Art. 17, ticket DS-77"
  aver erase request --class payments --until 2020-01-01T00:00:00Z --reason "imported by mistake"
  aver erase approve e-7k2f
  aver erase list`,
	}, c.eraseSubject(), c.eraseRequest(),
		c.eraseAnswer("approve", "Approve an erasure, as another person than asked for it", (*client.Client).ApproveErasure, "approved"),
		c.eraseAnswer("refuse", "Refuse an erasure, or take it back", (*client.Client).RefuseErasure, "refused"),
		c.eraseList())
}

func (c *cli) eraseSubject() *cobra.Command {
	var f scopeFlags
	var id string
	cmd := &cobra.Command{
		Use:   "subject TYPE:ID --reason TEXT",
		Short: "Ask that what records disclose about somebody be erased",
		Long: `Of the records that are about somebody, all values of sensitive attributes go; of the others those that
name them. The records stay, with salted digests in place of the values. The ids of subjects and
resources stand in the records themselves: where these are personal, erase the records (aver erase
request).`,
		Example: `  aver erase subject customer:c-1024 --reason "GDPR Art. 17, ticket DS-77"`,
		Args:    exactly("TYPE:ID"),
	}
	f.add(cmd, false)
	cmd.Flags().StringVar(&id, "id", "", "an `ID` of your choice; default: a random one")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		f.subject = args[0]
		scope, err := f.value()
		if err != nil {
			return err
		}
		made, err := server.RequestErasure(ctx, aver.ErasureRequest{ID: id, Kind: aver.EraseDisclosures, Scope: scope}, reason)
		if err != nil {
			return err
		}
		return c.printNamed(made, "requested, and waits for a second person")
	})
}

func (c *cli) eraseRequest() *cobra.Command {
	var f scopeFlags
	var id string
	cmd := &cobra.Command{
		Use:   "request --reason TEXT [--subject TYPE:ID ...]",
		Short: "Ask that records be erased",
		Long:  "Asks that the records go for which all that is given holds, and that were made before the approval.",
		Example: `  aver erase request --subject customer:c-1024 --reason "GDPR Art. 17, ticket DS-77"
  aver erase request --evaluation 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f --reason "a secret was sent"`,
		Args: cobra.NoArgs,
	}
	f.add(cmd, true)
	cmd.Flags().StringVar(&id, "id", "", "an `ID` of your choice; default: a random one")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, _ []string) error {
		scope, err := f.value()
		if err != nil {
			return err
		}
		made, err := server.RequestErasure(ctx, aver.ErasureRequest{ID: id, Kind: aver.ErasePayloads, Scope: scope}, reason)
		if err != nil {
			return err
		}
		return c.printNamed(made, "requested, and waits for a second person")
	})
}

func (c *cli) eraseAnswer(verb, short string,
	answer func(*client.Client, context.Context, string, string) (*client.Change, error), done string,
) *cobra.Command {
	return c.changes(&cobra.Command{
		Use: verb + " ID", Short: short, Args: exactly("the ID of an erasure"), Example: fmt.Sprintf("  aver erase %s e-7k2f --reason \"looked into it\"", verb),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		made, err := answer(server, ctx, args[0], reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: %s", args[0], done)
	})
}

func (c *cli) eraseList() *cobra.Command {
	var erased bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the requests for erasure, or what was erased", Args: cobra.NoArgs,
		Example: "  aver erase list\n  aver erase list --erased --data ./data",
	}
	cmd.Flags().BoolVar(&erased, "erased", false, "list what was erased, expired records included")
	return c.reads(cmd, func(ctx context.Context, s source, _ []string) error {
		if erased {
			return printList(c, s.Erased(ctx), "nothing was erased", []string{"EVENT", "TIME", "WHAT", "ENTRIES", "WHY", "DONE"}, func(e client.Erased) []string {
				why := "request " + e.Erasure
				if e.Class != "" {
					why = "expired, class " + e.Class
				}
				done := "no"
				if e.Completed != nil {
					done = "yes"
				}
				return []string{strconv.FormatUint(e.Event, 10), timeText(e.Time), string(e.Kind), strconv.FormatUint(e.Count, 10), why, done}
			})
		}
		return printList(c, s.Erasures(ctx), "no erasure was requested", []string{"ID", "STATE", "WHAT", "OF", "REQUESTED BY", "APPROVED BY", "REASON"}, func(e client.Erasure) []string {
			approved := "-"
			if e.Approved != nil {
				approved = refText(e.Approved.By.Principal())
			}
			return []string{e.ID, e.State, string(e.Kind), scopeText(e.Scope), refText(e.By.Principal()), approved, e.Reason}
		})
	})
}
