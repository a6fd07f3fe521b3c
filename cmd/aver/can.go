package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) can() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "can",
		Short: "Ask who could do what, without deciding anything",
		Long: `Searches for subjects, resources or actions: all for which a decision would allow, with the same policies,
guard rails, delegations and limits. Only what is registered is found. A search is no decision: it leaves
no record, and whoever acts asks for a decision all the same.`,
		Example: `  aver can subjects --type user --action pay --resource invoice:17
  aver can resources --type invoice --subject ai_agent:payables --action pay --grant g-1
  aver can actions --subject user:ann --resource invoice:17`,
	}
	noun(cmd, c.canSubjects(), c.canResources(), c.canActions())
	return cmd
}

func (c *cli) canSubjects() *cobra.Command {
	var f decideFlags
	cmd := &cobra.Command{
		Use:     "subjects --type TYPE --action NAME --resource TYPE:ID",
		Short:   "Find who can do this to a resource",
		Example: "  aver can subjects --type user --action pay --resource invoice:17",
	}
	return c.searches(cmd, &f, "subject", (*client.Client).SearchSubjects)
}

func (c *cli) canResources() *cobra.Command {
	var f decideFlags
	cmd := &cobra.Command{
		Use:   "resources --type TYPE --subject TYPE:ID --action NAME",
		Short: "Find to which resources a subject can do this",
		Example: `  aver can resources --type invoice --subject user:ann --action pay
  aver can resources --type invoice --subject ai_agent:payables --on-behalf-of user:ann --grant g-1 --action pay`,
	}
	return c.searches(cmd, &f, "resource", (*client.Client).SearchResources)
}

func (c *cli) canActions() *cobra.Command {
	var f decideFlags
	cmd := &cobra.Command{
		Use:     "actions --subject TYPE:ID --resource TYPE:ID",
		Short:   "Find what a subject can do to a resource",
		Example: "  aver can actions --subject user:ann --resource invoice:17",
	}
	return c.searches(cmd, &f, "action", (*client.Client).SearchActions)
}

// searches makes cmd search for the open member of the request that the flags make up.
func (c *cli) searches(cmd *cobra.Command, f *decideFlags, open string,
	search func(*client.Client, context.Context, *aver.Request, int) (*client.Found, error),
) *cobra.Command {
	var t target
	var typ string
	var limit int
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 0 {
			return fmt.Errorf("--limit %d: it must be 1 or more, or 0 for all", limit)
		}
		req, err := f.buildOpen(open, typ)
		if err != nil {
			return err
		}
		server, err := c.connect(&t)
		if err != nil {
			return err
		}
		found, err := search(server, cmd.Context(), req, limit)
		if err != nil {
			return err
		}
		return c.printFound(found, open, limit)
	}
	t.serverFlags(cmd)
	fl := cmd.Flags()
	if open != "action" {
		fl.StringVar(&typ, "type", "", "`TYPE` of what to look for")
		fl.StringVar(&f.action, "action", "", "`NAME` of what is to be done")
		fl.StringArrayVar(&f.actionProperties, "action-property", nil, "`NAME=VALUE`; repeat for more")
	}
	if open != "subject" {
		fl.StringVar(&f.subject, "subject", "", "who acts, as `TYPE:ID`")
	}
	if open != "resource" {
		fl.StringVar(&f.resource, "resource", "", "to what, as `TYPE:ID`")
	}
	fl.StringVar(&f.behalf, "on-behalf-of", "", "the originating user, as `TYPE:ID`")
	fl.StringArrayVar(&f.grants, "grant", nil, "`ID` of a grant of the delegation, from the originating user to the subject; repeat in order")
	fl.StringArrayVar(&f.subjectProperties, "subject-property", nil, "`NAME=VALUE`; repeat for more")
	fl.StringArrayVar(&f.resourceProperties, "resource-property", nil, "`NAME=VALUE`; repeat for more")
	fl.StringArrayVar(&f.obligations, "obligation", nil, "a `TYPE` of obligation that would be carried out; repeat for more")
	fl.StringVar(&f.context, "context", "", "the context, as a `JSON` object")
	fl.IntVar(&limit, "limit", 1000, "`NUMBER` of results at most; 0 for all")
	return cmd
}

// buildOpen makes a request with one member open, of which at most the type is known.
func (f *decideFlags) buildOpen(open, typ string) (*aver.Request, error) {
	object := map[string]any{}
	for _, p := range []struct {
		name, text string
		properties []string
	}{{"subject", f.subject, f.subjectProperties}, {"resource", f.resource, f.resourceProperties}} {
		party := map[string]any{"type": typ}
		if p.name != open {
			if p.text == "" {
				return nil, fmt.Errorf("a search for %ss needs --%s", open, p.name)
			}
			ref, err := parseRef(p.text)
			if err != nil {
				return nil, fmt.Errorf("--%s: %w", p.name, err)
			}
			party = map[string]any{"type": ref.Type, "id": ref.ID}
		} else if typ == "" {
			return nil, fmt.Errorf("a search for %ss needs --type", open)
		}
		var err error
		if object[p.name], err = member(party, p.name, p.properties); err != nil {
			return nil, err
		}
	}
	if open != "action" {
		if f.action == "" {
			return nil, fmt.Errorf("a search for %ss needs --action", open)
		}
		var err error
		if object["action"], err = member(map[string]any{"name": f.action}, "action", f.actionProperties); err != nil {
			return nil, err
		}
	}
	context, err := f.buildContext()
	if err != nil {
		return nil, err
	}
	if len(context) > 0 {
		object["context"] = context
	}
	return aver.ParseRequest(object)
}

func (c *cli) printFound(found *client.Found, open string, limit int) error {
	if c.json {
		results := []any{} // in AuthZEN's form
		for _, p := range found.Parties {
			results = append(results, p)
		}
		for _, a := range found.Actions {
			results = append(results, map[string]any{"name": a})
		}
		return c.printJSON(struct {
			Results       []any     `json:"results"`
			More          bool      `json:"more"`
			AuthoritySize uint64    `json:"authority_size"`
			EvaluatedAt   aver.Time `json:"evaluated_at"`
			Unknown       []string  `json:"unknown,omitempty"`
		}{results, found.More, found.AuthoritySize, found.Time, found.Unknown})
	}
	for _, p := range found.Parties {
		c.printf("%s\n", refText(p))
	}
	for _, a := range found.Actions {
		c.printf("%s\n", a)
	}
	switch {
	case len(found.Unknown) > 0:
		fmt.Fprintf(c.err, "nothing is registered about the %s, and no property of it was given, so nothing was looked for\n",
			strings.Join(found.Unknown, " and the "))
	case found.More:
		fmt.Fprintf(c.err, "there are more %ss than %d: give a higher --limit, or 0 for all\n", open, limit)
	case len(found.Parties)+len(found.Actions) == 0:
		fmt.Fprintf(c.err, "no %s\n", open)
	}
	return nil
}
