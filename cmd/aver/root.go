package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// The groups of the root's help.
const (
	groupRun   = "run"
	groupAsk   = "ask"
	groupCheck = "check"
	groupAdmin = "admin"
)

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "aver",
		Short: "A runtime authorization service whose every decision is evidence",
		Long: `Aver decides who may do what, and proves it: every decision is durable before it is answered,
is kept in a tamper-evident log, can be explained, and can be decided again from the logs alone.

Commands ask a server (--server URL or AVER_SERVER, with a bearer token from --token-file or
AVER_TOKEN), or read a data directory (--data DIR), whether a server runs on it or not. A server records who
reads evidence; AVER_PURPOSE says what it is wanted for.

Exit status: 0 done; 1 checked and found wrong; 2 could not do it.`,
		Example: `  aver demo                                   see everything work, on a payment company in miniature
  aver serve --data ./data                    run the service
  aver decide --subject user:ann --action read --resource document:1
  aver why 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f
  aver verify --data ./data                   check both logs
  aver replay --data ./data                   decide everything again`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	noun(root)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON, for programs")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run it:"},
		&cobra.Group{ID: groupAsk, Title: "Ask it:"},
		&cobra.Group{ID: groupCheck, Title: "Check its evidence:"},
		&cobra.Group{ID: groupAdmin, Title: "Administer it:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(groupRun, c.serve(), c.demo())
	add(groupAsk, c.decide(), c.can(), c.why(), c.search(), c.trail(), c.saved(), c.activity())
	add(groupCheck, c.verify(), c.replay(), c.sample(), c.export(), c.pack(), c.gaps(), c.reports(), c.log(), c.index())
	add(groupAdmin, c.policy(), c.identity(), c.entity(), c.grant(), c.approval(), c.exception(), c.webhook(), c.review(), c.signal(), c.credential(), c.retention(), c.hold(), c.erase(), c.admin())
	root.AddCommand(c.version())
	return root
}

// noun is a command that only has commands below it.
func noun(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknown(cmd, args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(verbs...)
	return cmd
}

func unknown(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("there is no command %q in %s", name, cmd.CommandPath())
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return errors.New(text + "; see " + cmd.CommandPath() + " --help")
}

// exactly refuses any other number of arguments, and names those that are expected.
func exactly(names ...string) cobra.PositionalArgs { return between(len(names), names...) }

// between takes at least least of the named arguments.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("%s needs %s; see %s --help", cmd.CommandPath(), names[len(args)], cmd.CommandPath())
		case len(args) > len(names):
			return fmt.Errorf("%s does not take %q; see %s --help", cmd.CommandPath(), args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}
