package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/authority"
)

func (c *cli) signal() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "signal",
		Short: "What watchers of accounts, sessions and devices say",
		Long: `A signal says that something has changed about a party, a session or a device: an account
was disabled, a session was revoked, a device is not compliant. Policies see it as
context.aver.signals, with who vouches for it. Transmitters that are configured send them by
themselves (OpenID SSF); here you tell one by hand, and see which are in force.`,
		Example: `  aver signal send account-disabled --about user:ann --reason "SOC-7"
  aver signal send risk-level-change --about device:laptop-7 --detail current_level=HIGH
  aver signal list --about user:ann`,
	}, c.signalSend(), c.signalList(), c.signalTypes())
}

func (c *cli) signalSend() *cobra.Command {
	var r aver.SignalReport
	var about, at string
	var details []string
	cmd := &cobra.Command{
		Use:   "send EVENT --about TYPE:ID",
		Short: "Tell a signal",
		Long: `EVENT is a type of CAEP or RISC, by its URI or its last part; aver signal types lists them.
What is older than what is known of the same is recorded, and changes nothing.`,
		Example: `  aver signal send session-revoked --about session:9f2c --issuer https://login.example.com
  aver signal send device-compliance-change --about device:laptop-7 --detail current_status=not-compliant
  aver signal send account-enabled --about user:ann --id SOC-7-closed`,
		Args: exactly("the type of the EVENT"),
	}
	fl := cmd.Flags()
	fl.StringVar(&about, "about", "", "whom or what it is about (`TYPE:ID`): a party, session:ID or device:ID")
	fl.StringVar(&r.Issuer, "issuer", "", "of a session: `WHO` issued its id")
	fl.StringArrayVar(&details, "detail", nil, "`NAME=VALUE`: a member of the event, as CAEP and RISC name it; repeat for more")
	fl.StringVar(&at, "at", "", "since when it is so (`TIME`); default: now")
	fl.StringVar(&r.ID, "id", "", "an `ID` of your choice, so that sending it again changes nothing; default: a random one")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) (err error) {
		r.Event = args[0]
		if r.About, err = parseRef(about); err != nil {
			return fmt.Errorf("--about: %w", err)
		}
		for _, text := range details {
			name, value, ok := strings.Cut(text, "=")
			if !ok {
				return fmt.Errorf("--detail %q: write it as NAME=VALUE", text)
			}
			if r.Details == nil {
				r.Details = map[string]any{}
			}
			r.Details[name] = value
		}
		if at != "" {
			if r.At, err = aver.ParseTime(at); err != nil {
				return fmt.Errorf("--at: %w", err)
			}
		}
		told, err := server.TellSignal(ctx, r, reason)
		switch {
		case err != nil:
			return err
		case c.json:
			return c.printJSON(told)
		case told.Repeated:
			c.printf("%s: received before, nothing changes\n", told.ID)
			return nil
		case !told.InForce:
			return c.printChange(told.Change, "%s: received, but something newer is known, so nothing changes", told.ID)
		}
		return c.printChange(told.Change, "%s: in force", told.ID)
	})
}

func (c *cli) signalList() *cobra.Command {
	var about string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the signals in force",
		Example: "  aver signal list\n  aver signal list --about user:ann\n  aver signal list --data ./data --json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&about, "about", "", "only those about one (`TYPE:ID`)")
	return c.reads(cmd, func(ctx context.Context, s source, _ []string) error {
		var ref aver.Ref
		if about != "" {
			var err error
			if ref, err = parseRef(about); err != nil {
				return fmt.Errorf("--about: %w", err)
			}
		}
		return printList(c, s.Signals(ctx, ref), "no signal is in force",
			[]string{"ABOUT", "WHAT", "SINCE", "SOURCE", "EVENT"},
			func(g client.Signal) []string {
				return []string{refText(g.About), signalText(&g), timeText(g.At), g.Source, fmt.Sprint(g.Event)}
			})
	})
}

// signalText says what a signal says: its main value first.
func signalText(g *client.Signal) string {
	var out []string
	for _, name := range aver.SignalValueNames(g.Fact) {
		if value := g.Values[name]; value != "" {
			out = append(out, name+"="+value)
		}
	}
	return g.Member + " " + strings.Join(out, " ")
}

func (c *cli) signalTypes() *cobra.Command {
	return &cobra.Command{
		Use:     "types",
		Short:   "List the types of events that Aver understands",
		Example: "  aver signal types",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			types := aver.SignalTypes()
			slices.SortFunc(types, func(a, b aver.SignalType) int { return strings.Compare(a.Name, b.Name) })
			if c.json {
				return c.printJSON(types)
			}
			rows := make([][]string, len(types))
			for i, t := range types {
				rows[i] = []string{t.Name, string(t.Fact), string(t.About), t.URI}
			}
			return c.table("", []string{"EVENT", "FACT", "ABOUT", "URI"}, rows)
		},
	}
}

// Signals lists the signals in force in a data directory.
func (d *directory) Signals(_ context.Context, about aver.Ref) iter.Seq2[client.Signal, error] {
	list := func(st *authority.State) []*authority.Signal {
		return slices.DeleteFunc(st.Signals(), func(g *authority.Signal) bool { return !about.IsZero() && g.About != about })
	}
	return items(d, list, func(g *authority.Signal) client.Signal {
		return client.Signal{Signal: g.Signal, Mark: client.Mark(g.Mark), Member: g.Member()}
	})
}
