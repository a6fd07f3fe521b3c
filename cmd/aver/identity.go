package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) identity() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "identity",
		Short: "Register, suspend and list the parties that can act",
		Long: `An identity is a party that can act: a human user, or software with an owner and a purpose. The baseline
policies refuse software that is not registered, is suspended, or whose purpose has ended.`,
		Example: `  aver identity register ai_agent:payables --kind ai_agent --owner treasury --purpose "pays invoices" \
      --expires 2160h --tool ledger.post --tool bank.transfer
  aver identity suspend ai_agent:payables --reason "INC-12"
  aver identity list`,
	}, c.identityRegister(), c.identityUpdate(),
		c.identityTurn("suspend", "suspended", "Take an identity's permissions away until it is resumed", (*client.Client).SuspendIdentity),
		c.identityTurn("resume", "active again", "End a suspension", (*client.Client).ResumeIdentity),
		c.identityTurn("retire", "retired", "End an identity for good", (*client.Client).RetireIdentity),
		c.identityList(), c.identityShow())
}

// identityFlags are what is registered, as it is written on the command line.
type identityFlags struct {
	kind, name, owner, purpose, expires, reviewBy string
	tools, properties, parents                    []string
	noTools                                       bool
}

func (f *identityFlags) add(cmd *cobra.Command) {
	kinds := oneOf(aver.Kinds()...)
	fl := cmd.Flags()
	fl.StringVar(&f.kind, "kind", "", "`KIND`: "+strings.Join(kinds, ", ")+"; default: the type, if it is one of them")
	fl.StringVar(&f.name, "name", "", "`NAME`, for people")
	fl.StringVar(&f.owner, "owner", "", "`NAME` of who answers for it; needed for software")
	fl.StringVar(&f.purpose, "purpose", "", "what it is for (`TEXT`), in plain words; needed for software")
	fl.StringVar(&f.expires, "expires", "", "`TIME` when its purpose ends, as RFC 3339 or from now on (2160h)")
	fl.StringVar(&f.reviewBy, "review-by", "", "`TIME` when it is next to be reviewed")
	fl.StringArrayVar(&f.tools, "tool", nil, "a tool `NAME` that it may use; repeat for more; without any, all")
	fl.BoolVar(&f.noTools, "no-tools", false, "it may use no tool at all")
	fl.StringArrayVar(&f.properties, "property", nil, "`NAME=VALUE`, an attribute for policies; repeat for more")
	fl.StringArrayVar(&f.parents, "parent", nil, "a group or role that it is in, as `TYPE:ID`; repeat for more")
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp))
}

// apply sets what the flags say, and leaves what they don't mention.
func (f *identityFlags) apply(flags *pflag.FlagSet, i *aver.Identity) (err error) {
	if f.noTools && len(f.tools) > 0 {
		return errors.New("give --tool or --no-tools, not both")
	}
	set := func(name string, do func() error) {
		if err == nil && flags.Changed(name) {
			if err = do(); err != nil {
				err = fmt.Errorf("--%s: %w", name, err)
			}
		}
	}
	text := func(name string, to *string, value string) { set(name, func() error { *to = value; return nil }) }
	when := func(name string, to *aver.Time, value string) {
		set(name, func() (err error) { *to, err = parseWhen(value); return err })
	}
	text("kind", (*string)(&i.Kind), f.kind)
	text("name", &i.Name, f.name)
	text("owner", &i.Owner, f.owner)
	text("purpose", &i.Purpose, f.purpose)
	when("expires", &i.Expires, f.expires)
	when("review-by", &i.ReviewBy, f.reviewBy)
	set("tool", func() error { i.Tools = &f.tools; return nil })
	set("no-tools", func() error { i.Tools = &[]string{}; return nil })
	set("property", func() error {
		properties, err := parseProperties(f.properties)
		i.Properties = properties
		return err
	})
	set("parent", func() (err error) { i.Parents, err = parseRefs(f.parents); return err })
	return err
}

func (c *cli) identityRegister() *cobra.Command {
	var f identityFlags
	var file string
	cmd := &cobra.Command{
		Use:   "register TYPE:ID | --file FILE",
		Short: "Register one identity by flags, or any number from a file",
		Long: `Registers an identity. A file holds one, or a list, as JSON or YAML with the members of the API:
id, type, kind, name, owner, purpose, expires, review_by, tools, properties, parents.`,
		Example: `  aver identity register user:ann --kind human_user --name "Ann Lee" --parent team:treasury
  aver identity register ai_agent:payables --owner treasury --purpose "pays invoices" --expires 2160h
  aver identity register --file identities.yaml`,
		Args: between(0, "a TYPE:ID"),
	}
	f.add(cmd)
	fileFlag(cmd, &file)
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		list, err := readOrBuild(c, args, file, func(ref aver.Ref) (aver.Identity, error) {
			i := aver.Identity{Ref: ref, Kind: aver.KindOfType(ref.Type)}
			err := f.apply(cmd.Flags(), &i)
			if err == nil && i.Kind == aver.KindUnknown {
				err = fmt.Errorf("%s needs a --kind: %s", refText(ref), strings.Join(oneOf(aver.Kinds()...), ", "))
			}
			return i, err
		})
		if err != nil {
			return err
		}
		for _, i := range list {
			made, err := server.RegisterIdentity(ctx, i, reason)
			if err != nil {
				return fmt.Errorf("%s: %w", refText(i.Ref), err)
			}
			if err := c.printChange(made, "%s: registered", refText(i.Ref)); err != nil {
				return err
			}
		}
		return nil
	})
}

func fileFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "file", "", "JSON or YAML `FILE` with one or a list, - for the standard input")
}

// readOrBuild takes what a command is about from a file, or builds it from flags for the entity that its argument names.
func readOrBuild[T any](c *cli, args []string, file string, build func(aver.Ref) (T, error)) ([]T, error) {
	switch {
	case file != "" && len(args) > 0:
		return nil, errors.New("give a TYPE:ID with flags, or --file, not both")
	case file != "":
		return readList[T](c, file)
	case len(args) == 0:
		return nil, errors.New("name one as TYPE:ID, or give --file")
	}
	ref, err := parseRef(args[0])
	if err != nil {
		return nil, err
	}
	item, err := build(ref)
	return []T{item}, err
}

func (c *cli) identityUpdate() *cobra.Command {
	var f identityFlags
	var file string
	cmd := &cobra.Command{
		Use:   "update TYPE:ID | --file FILE",
		Short: "Change what is registered of an identity",
		Long: `Changes what the flags name and leaves the rest as it is. From a file, everything that is registered is
replaced by what the file says. The status stays, see suspend, resume and retire.`,
		Example: `  aver identity update ai_agent:payables --expires 4320h --reason "reviewed, extended"
  aver identity update --file identities.yaml`,
		Args: between(0, "a TYPE:ID"),
	}
	f.add(cmd)
	fileFlag(cmd, &file)
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		list, err := readOrBuild(c, args, file, func(ref aver.Ref) (aver.Identity, error) {
			now, err := server.Identity(ctx, ref)
			if err != nil {
				return aver.Identity{}, err
			}
			return now.Identity, f.apply(cmd.Flags(), &now.Identity)
		})
		if err != nil {
			return err
		}
		for _, i := range list {
			if _, err := server.Identity(ctx, i.Ref); err != nil {
				return err // an update does not register
			}
			made, err := server.PutIdentity(ctx, i, reason)
			if err != nil {
				return fmt.Errorf("%s: %w", refText(i.Ref), err)
			}
			if err := c.printChange(made, "%s: updated", refText(i.Ref)); err != nil {
				return err
			}
		}
		return nil
	})
}

// identityTurn is a command that changes an identity's status.
func (c *cli) identityTurn(verb, done, short string, do func(*client.Client, context.Context, aver.Ref, string) (*client.Change, error)) *cobra.Command {
	return c.changes(&cobra.Command{
		Use:     verb + " TYPE:ID",
		Short:   short,
		Example: fmt.Sprintf("  aver identity %s ai_agent:payables --reason \"INC-12\"", verb),
		Args:    exactly("a TYPE:ID"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		ref, err := parseRef(args[0])
		if err != nil {
			return err
		}
		made, err := do(server, ctx, ref, reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: %s", refText(ref), done)
	})
}

func (c *cli) identityList() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "list",
		Short:   "List the registered identities",
		Example: "  aver identity list\n  aver identity list --data ./data --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		return printList(c, s.Identities(ctx), "nothing is registered",
			[]string{"IDENTITY", "KIND", "STATUS", "OWNER", "EXPIRES", "PURPOSE"},
			func(i client.Identity) []string {
				return []string{refText(i.Ref), string(i.Kind), string(i.Status), i.Owner, timeText(i.Expires), i.Purpose}
			})
	})
}

func (c *cli) identityShow() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "show TYPE:ID",
		Short:   "Print what is registered of an identity, as JSON",
		Example: "  aver identity show ai_agent:payables",
		Args:    exactly("a TYPE:ID"),
	}, func(ctx context.Context, s source, args []string) error {
		ref, err := parseRef(args[0])
		if err != nil {
			return err
		}
		i, err := s.Identity(ctx, ref)
		if err != nil {
			return err
		}
		return c.printJSON(i)
	})
}
