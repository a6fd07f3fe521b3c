package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) entity() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "entity",
		Short: "Register facts about resources, groups and customers",
		Long: `An entity is a registered fact about something that does not act by itself. Its properties override what
a request claims about it, and its parents say which groups it is in.`,
		Example: `  aver entity put account:77 --property classification=restricted --parent region:eu
  aver entity list`,
	}, c.entityPut(), c.entityRemove(), c.entityList(), c.entityShow())
}

func (c *cli) entityPut() *cobra.Command {
	var file string
	var properties, parents []string
	cmd := &cobra.Command{
		Use:   "put TYPE:ID | --file FILE",
		Short: "Register a fact, or replace what is registered",
		Long: `Registers what is known of one entity, in place of what was known before. A file holds one, or a list, as
JSON or YAML with the members id, type, properties and parents.`,
		Example: `  aver entity put account:77 --property classification=restricted --property limit=10000
  aver entity put team:treasury --parent department:finance
  aver entity put --file entities.yaml`,
		Args: between(0, "a TYPE:ID"),
	}
	cmd.Flags().StringArrayVar(&properties, "property", nil, "`NAME=VALUE`; repeat for more")
	cmd.Flags().StringArrayVar(&parents, "parent", nil, "a group that it is in, as `TYPE:ID`; repeat for more")
	fileFlag(cmd, &file)
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		list, err := readOrBuild(c, args, file, func(ref aver.Ref) (e aver.Entity, err error) {
			e.Ref = ref
			values, err := parseProperties(properties)
			if err != nil {
				return e, fmt.Errorf("--property: %w", err)
			}
			e.Properties = values
			if e.Parents, err = parseRefs(parents); err != nil {
				return e, fmt.Errorf("--parent: %w", err)
			}
			return e, nil
		})
		if err != nil {
			return err
		}
		for _, e := range list {
			made, err := server.PutEntity(ctx, e, reason)
			if err != nil {
				return fmt.Errorf("%s: %w", refText(e.Ref), err)
			}
			if err := c.printChange(made, "%s: put", refText(e.Ref)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *cli) entityRemove() *cobra.Command {
	return c.changes(&cobra.Command{
		Use:     "remove TYPE:ID",
		Short:   "Take a registered fact away",
		Example: `  aver entity remove account:77 --reason "closed"`,
		Args:    exactly("a TYPE:ID"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		ref, err := parseRef(args[0])
		if err != nil {
			return err
		}
		made, err := server.RemoveEntity(ctx, ref, reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: removed", refText(ref))
	})
}

func (c *cli) entityList() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "list",
		Short:   "List the registered entities",
		Example: "  aver entity list\n  aver entity list --data ./data --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		return printList(c, s.Entities(ctx), "nothing is registered",
			[]string{"ENTITY", "PROPERTIES", "EVENT", "BY"},
			func(e client.Entity) []string {
				properties := string(aver.AppendCanonical(nil, map[string]any(e.Properties)))
				return []string{refText(e.Ref), properties, fmt.Sprint(e.Event), e.By.Name}
			})
	})
}

func (c *cli) entityShow() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "show TYPE:ID",
		Short:   "Print what is registered of an entity, as JSON",
		Example: "  aver entity show account:77",
		Args:    exactly("a TYPE:ID"),
	}, func(ctx context.Context, s source, args []string) error {
		ref, err := parseRef(args[0])
		if err != nil {
			return err
		}
		e, err := s.Entity(ctx, ref)
		if err != nil {
			return err
		}
		return c.printJSON(e)
	})
}
