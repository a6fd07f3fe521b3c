package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) grant() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "grant",
		Short: "Issue and revoke grants, by which one party lets another act for it",
		Long: `A grant is one act of delegation. It lets TO do some of what FROM may do, and never more: a request made
under it is allowed only while FROM, too, may do what is asked. A chain is a list of grants from the
originating user to the acting party.`,
		Example: `  aver grant issue --from user:ann --to ai_agent:payables --action "payment.*" --resource account \
      --expires 8h --sum resource.amount=5000 --purpose "this month's invoices"
  aver grant revoke g-7k2f --reason "INC-12"`,
	}, c.grantIssue(), c.grantRevoke(), c.grantList(), c.grantShow())
}

// grantFlags are a grant as it is written on the command line.
type grantFlags struct {
	id, from, to, parent, condition, purpose, notBefore, expires string
	actions, resources, sums, revokers                           []string
	depth                                                        int
	uses                                                         int64
}

func (f *grantFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.id, "id", "", "`ID` of the grant; default: one is made")
	fl.StringVar(&f.from, "from", "", "who delegates, as `TYPE:ID`")
	fl.StringVar(&f.to, "to", "", "who may act, as `TYPE:ID`")
	fl.StringVar(&f.parent, "parent", "", "`ID` of the grant under which this one delegates further")
	fl.StringArrayVar(&f.actions, "action", nil, "`NAME` of an action, \"payment.*\" for all with that beginning, \"*\" for any; repeat for more")
	fl.StringArrayVar(&f.resources, "resource", nil, "`TYPE`, one resource as TYPE:ID, or \"*\" for any; repeat for more")
	fl.StringVar(&f.condition, "condition", "", "a Cedar `EXPRESSION` that must hold, such as 'resource.amount < 1000'")
	fl.StringVar(&f.purpose, "purpose", "", "what it is for (`TEXT`), in plain words")
	fl.StringVar(&f.notBefore, "not-before", "", "`TIME` when it begins, as RFC 3339 or from now on (1h)")
	fl.StringVar(&f.expires, "expires", "", "`TIME` when it ends, as RFC 3339 or from now on (8h)")
	fl.IntVar(&f.depth, "depth", 0, "how many (`N`) further hops may follow; 0: it may not be delegated on")
	fl.Int64Var(&f.uses, "uses", 0, "how many (`N`) requests it allows; 0: not limited")
	fl.StringArrayVar(&f.sums, "sum", nil, "`ATTRIBUTE=MAXIMUM` of the sum over all requests, such as resource.amount=5000; repeat for more")
	fl.StringArrayVar(&f.revokers, "revocable-by", nil, "who else may revoke it, as `TYPE:ID`; repeat for more")
}

func (f *grantFlags) build() (g aver.Grant, err error) {
	for _, m := range []struct {
		flag string
		set  bool
	}{{"from", f.from != ""}, {"to", f.to != ""}, {"action", len(f.actions) > 0}, {"resource", len(f.resources) > 0}} {
		if !m.set {
			return g, fmt.Errorf("a grant needs --%s; see aver grant issue --help", m.flag)
		}
	}
	g = aver.Grant{ID: f.id, Parent: f.parent, Actions: f.actions, Condition: f.condition, Purpose: f.purpose, Depth: f.depth}
	if g.From, err = parseRef(f.from); err != nil {
		return g, fmt.Errorf("--from: %w", err)
	}
	if g.To, err = parseRef(f.to); err != nil {
		return g, fmt.Errorf("--to: %w", err)
	}
	for _, text := range f.resources {
		scope := aver.ResourceScope{Type: text}
		if ref, err := parseRef(text); err == nil {
			scope = aver.ResourceScope{Type: ref.Type, ID: ref.ID}
		}
		g.Resources = append(g.Resources, scope)
	}
	if g.NotBefore, err = parseWhen(f.notBefore); err != nil {
		return g, fmt.Errorf("--not-before: %w", err)
	}
	if g.Expires, err = parseWhen(f.expires); err != nil {
		return g, fmt.Errorf("--expires: %w", err)
	}
	if g.Revokers, err = parseRefs(f.revokers); err != nil {
		return g, fmt.Errorf("--revocable-by: %w", err)
	}
	if f.uses == 0 && len(f.sums) == 0 {
		return g, nil
	}
	g.Limits = &aver.GrantLimits{Uses: f.uses}
	for _, text := range f.sums {
		attribute, maximum, ok := strings.Cut(text, "=")
		n, err := strconv.ParseInt(maximum, 10, 64)
		if !ok || err != nil {
			return g, fmt.Errorf("--sum: %q is not of the form attribute=maximum, such as resource.amount=5000", text)
		}
		g.Limits.Sums = append(g.Limits.Sums, aver.SumLimit{Attribute: attribute, Max: n})
	}
	return g, nil
}

func (c *cli) grantIssue() *cobra.Command {
	var f grantFlags
	var file string
	cmd := &cobra.Command{
		Use:   "issue --from TYPE:ID --to TYPE:ID --action NAME --resource TYPE[:ID] | --file FILE",
		Short: "Issue a grant",
		Long: `Issues a grant and prints its id, which requests cite in context.delegation. A file holds one, or a list,
as JSON or YAML with the members of the API: id, from, to, parent, actions, resources, condition, purpose,
not_before, expires, depth, limits, revocable_by, in_flight.`,
		Example: `  aver grant issue --from user:ann --to ai_agent:payables --action "payment.*" --resource account --expires 8h
  aver grant issue --from ai_agent:payables --to workload:bank-gateway --parent g-7k2f \
      --action payment.create --resource account:77 --uses 1
  aver grant issue --file grants.yaml`,
		Args: cobra.NoArgs,
	}
	f.add(cmd)
	fileFlag(cmd, &file)
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, _ []string) error {
		var list []aver.Grant
		var err error
		if file != "" {
			if f.from+f.to+f.id != "" {
				return errors.New("give --file, or the flags that make up a grant, not both")
			}
			list, err = readList[aver.Grant](c, file)
		} else {
			var g aver.Grant
			g, err = f.build()
			list = []aver.Grant{g}
		}
		if err != nil {
			return err
		}
		for _, g := range list {
			made, err := server.IssueGrant(ctx, g, reason)
			if err != nil {
				return err
			}
			var issued aver.Grant
			if err := made.Event.DecodeData(&issued); err != nil {
				return err
			}
			if err := c.printChange(made, "%s: issued, %s to %s", issued.ID, refText(issued.From), refText(issued.To)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *cli) grantRevoke() *cobra.Command {
	return c.changes(&cobra.Command{
		Use:     "revoke ID",
		Short:   "Revoke a grant, and with it all that was delegated under it",
		Example: `  aver grant revoke g-7k2f --reason "INC-12"`,
		Args:    exactly("the ID of a grant"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		made, err := server.RevokeGrant(ctx, args[0], reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: revoked", args[0])
	})
}

func (c *cli) grantList() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "list",
		Short:   "List the grants ever issued",
		Example: "  aver grant list\n  aver grant list --data ./data --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		return printList(c, s.Grants(ctx), "no grant was issued",
			[]string{"ID", "FROM", "TO", "ACTIONS", "RESOURCES", "EXPIRES", "REVOKED"},
			func(g client.Grant) []string {
				var resources []string
				for _, r := range g.Resources {
					resources = append(resources, strings.TrimSuffix(r.Type+":"+r.ID, ":"))
				}
				revoked := "-"
				if g.Revoked != nil {
					revoked = timeText(g.Revoked.Time)
				}
				return []string{g.ID, refText(g.From), refText(g.To), strings.Join(g.Actions, ","), strings.Join(resources, ","), timeText(g.Expires), revoked}
			})
	})
}

func (c *cli) grantShow() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "show ID",
		Short:   "Print a grant, as JSON",
		Example: "  aver grant show g-7k2f",
		Args:    exactly("the ID of a grant"),
	}, func(ctx context.Context, s source, args []string) error {
		g, err := s.Grant(ctx, args[0])
		if err != nil {
			return err
		}
		return c.printJSON(g)
	})
}
