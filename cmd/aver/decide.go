package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
)

// decideFlags are a request as it is written on the command line.
type decideFlags struct {
	subject, action, resource, behalf, approval, context, request string
	subjectProperties, actionProperties                           []string
	resourceProperties, grants, parts, obligations                []string
}

func (c *cli) decide() *cobra.Command {
	var t target
	var f decideFlags
	var check bool
	cmd := &cobra.Command{
		Use:   "decide --subject TYPE:ID --action NAME --resource TYPE:ID",
		Short: "Ask a server for a decision",
		Long: `Asks for one decision, as a policy enforcement point does, and prints the outcome, the reasons, and
what is still to be met. The decision is real: it is recorded, and it counts against the limits of grants.

Properties are name=value; a value that is JSON is taken as such (amount=100), any other as text.

Exit status: 0 there is an answer, a denial is one too; 2 there is none. With --check: 1 unless the answer
allows (permitted, restricted, partially_authorized).`,
		Example: `  aver decide --subject user:ann --action read --resource document:1
  aver decide --subject ai_agent:payables --on-behalf-of user:ann --grant g-1 \
      --action payment.create --resource account:77 --resource-property amount=1200
  aver decide --request request.json --json
  aver decide --check --subject user:ann --action deploy --resource service:web && ./deploy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := c.readRequest(&f)
			if err != nil {
				return err
			}
			server, err := c.connect(&t)
			if err != nil {
				return err
			}
			answer, err := server.Decide(cmd.Context(), req)
			if err != nil {
				return err
			}
			if err := c.printAnswer(answer); err != nil {
				return err
			}
			if check && !answer.Outcome.Allowed() {
				return &wrongError{}
			}
			return nil
		},
	}
	t.serverFlags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.subject, "subject", "", "who acts, as `TYPE:ID`")
	fl.StringVar(&f.action, "action", "", "`NAME` of what is to be done")
	fl.StringVar(&f.resource, "resource", "", "to what, as `TYPE:ID`")
	fl.StringVar(&f.behalf, "on-behalf-of", "", "the originating user, as `TYPE:ID`")
	fl.StringArrayVar(&f.grants, "grant", nil, "`ID` of a grant of the delegation, from the originating user to the subject; repeat in order")
	fl.StringArrayVar(&f.subjectProperties, "subject-property", nil, "`NAME=VALUE`; repeat for more")
	fl.StringArrayVar(&f.actionProperties, "action-property", nil, "`NAME=VALUE`; repeat for more")
	fl.StringArrayVar(&f.resourceProperties, "resource-property", nil, "`NAME=VALUE`; repeat for more")
	fl.StringArrayVar(&f.parts, "part", nil, "`ID` of a part to be decided by itself; repeat for more")
	fl.StringArrayVar(&f.obligations, "obligation", nil, "a `TYPE` of obligation that you can carry out; repeat for more")
	fl.StringVar(&f.approval, "approval", "", "`ID` of the approval that lets it through")
	fl.StringVar(&f.context, "context", "", "the context, as a `JSON` object")
	fl.StringVar(&f.request, "request", "", "`FILE` with the whole AuthZEN request as JSON, - for the standard input")
	fl.BoolVar(&check, "check", false, "exit 1 unless the answer allows")
	return cmd
}

// readRequest makes the request from the flags or reads it from a file.
func (c *cli) readRequest(f *decideFlags) (*aver.Request, error) {
	if f.request == "" {
		return f.build()
	}
	if f.subject+f.action+f.resource+f.behalf+f.approval+f.context != "" {
		return nil, errors.New("give --request, or the flags that make up a request, not both")
	}
	text, err := c.readInput(f.request)
	if err != nil {
		return nil, err
	}
	var req aver.Request
	if err := req.UnmarshalJSON(text); err != nil {
		return nil, fmt.Errorf("%s: %w", f.request, err)
	}
	return &req, nil
}

func (f *decideFlags) build() (*aver.Request, error) {
	for _, m := range []struct{ flag, value string }{{"subject", f.subject}, {"action", f.action}, {"resource", f.resource}} {
		if m.value == "" {
			return nil, fmt.Errorf("a request needs --%s; see aver decide --help", m.flag)
		}
	}
	object := map[string]any{}
	party := func(name, text string, properties []string) error {
		ref, err := parseRef(text)
		if err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
		object[name], err = member(map[string]any{"type": ref.Type, "id": ref.ID}, name, properties)
		return err
	}
	if err := party("subject", f.subject, f.subjectProperties); err != nil {
		return nil, err
	}
	if err := party("resource", f.resource, f.resourceProperties); err != nil {
		return nil, err
	}
	var err error
	if object["action"], err = member(map[string]any{"name": f.action}, "action", f.actionProperties); err != nil {
		return nil, err
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

func member(object map[string]any, name string, pairs []string) (map[string]any, error) {
	properties, err := parseProperties(pairs)
	if err != nil {
		return nil, fmt.Errorf("--%s-property: %w", name, err)
	}
	if properties != nil {
		object["properties"] = properties
	}
	return object, nil
}

func (f *decideFlags) buildContext() (map[string]any, error) {
	context := map[string]any{}
	if f.context != "" {
		v, err := aver.ParseJSON([]byte(f.context), aver.Limits{})
		if err != nil {
			return nil, fmt.Errorf("--context: %w", err)
		}
		object, ok := v.(map[string]any)
		if !ok {
			return nil, errors.New("--context: it must be a JSON object")
		}
		context = object
	}
	set := func(flag, name string, value any) error {
		if _, ok := context[name]; ok {
			return fmt.Errorf("--%s: the context has a member %s already", flag, name)
		}
		context[name] = value
		return nil
	}
	if f.behalf != "" {
		ref, err := parseRef(f.behalf)
		if err != nil {
			return nil, fmt.Errorf("--on-behalf-of: %w", err)
		}
		if err := set("on-behalf-of", "on_behalf_of", map[string]any{"type": ref.Type, "id": ref.ID}); err != nil {
			return nil, err
		}
	}
	if f.approval != "" {
		if err := set("approval", "approval", map[string]any{"id": f.approval}); err != nil {
			return nil, err
		}
	}
	for _, l := range []struct {
		flag, name string
		values     []string
	}{{"grant", "delegation", f.grants}, {"part", "parts", f.parts}, {"obligation", "supported_obligations", f.obligations}} {
		if len(l.values) == 0 {
			continue
		}
		list := make([]any, len(l.values))
		for i, v := range l.values {
			list[i] = v
		}
		if err := set(l.flag, l.name, list); err != nil {
			return nil, err
		}
	}
	return context, nil
}

func (c *cli) printAnswer(a *aver.Answer) error {
	if c.json {
		return c.printJSON(json.RawMessage(a.JSON()))
	}
	c.printf("%s\n", a.Outcome)
	c.printRuling("  ", &a.Ruling)
	for _, p := range a.Parts {
		c.printf("  part %s: %s\n", p.ID, p.Outcome)
		c.printRuling("    ", &p.Ruling)
	}
	c.printf("evaluation %s, entry %d of %s\n", a.EvaluationID, a.Receipt.Index, a.Receipt.Origin)
	return nil
}

func (c *cli) printRuling(indent string, r *aver.Ruling) {
	for _, reason := range r.Reasons {
		c.printf("%sbecause: %s\n", indent, reasonText(reason))
	}
	for _, q := range r.Requirements {
		c.printf("%sneeded: %s\n", indent, requirementText(q))
	}
	for _, o := range r.Obligations {
		c.printf("%sobligation: %s", indent, o.Type)
		if len(o.Properties) > 0 {
			c.printf(" %s", aver.AppendCanonical(nil, map[string]any(o.Properties)))
		}
		c.printf("\n")
	}
}

func reasonText(r aver.Reason) string {
	if r.Text != "" {
		return r.Text
	}
	parts := []string{string(r.Code)}
	for _, p := range []string{r.Policy, r.Grant, r.Detail} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

func requirementText(q aver.Requirement) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if q.Present != "" {
		add("%s", q.Present)
	}
	if len(q.ACRValues) > 0 {
		add("an authentication of %s", strings.Join(q.ACRValues, " or "))
	}
	if len(q.AMRValues) > 0 {
		add("an authentication by %s", strings.Join(q.AMRValues, " or "))
	}
	if q.MaxAge != nil {
		add("an authentication not older than %d s", *q.MaxAge)
	}
	if q.Gate == aver.GateEscalate {
		add("approval by %d of %s", max(q.Approvals, 1), strings.Join(q.Approvers, ", "))
	}
	if len(parts) == 0 {
		add("%s", q.Gate)
	}
	return strings.Join(parts, "; ") + " (" + q.Policy + ")"
}
