package aver

import (
	"fmt"
	"strings"
	"testing"
)

func sampleGrant() *Grant {
	return &Grant{
		ID: "g-1", From: Ref{"ann", "user"}, To: Ref{"bot", "ai_agent"},
		Actions: []string{"payment.approve"}, Resources: []ResourceScope{{Type: "payment"}},
	}
}

func TestGrantValidate(t *testing.T) {
	long := strings.Repeat("x", 1025)
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("a%d", i)
	}
	sum := func(attribute string, most int64) func(*Grant) {
		return func(g *Grant) { g.Limits = &GrantLimits{Sums: []SumLimit{{attribute, most}}} }
	}
	for _, c := range []struct {
		name   string
		change func(*Grant)
		want   string // "" where it is valid
	}{
		{"as it is", func(g *Grant) {}, ""},
		{"id with any sign that is allowed", func(g *Grant) { g.ID = "G.1:2_3-4~5@x" }, ""},
		{"longest id", func(g *Grant) { g.ID = long[:128] }, ""},
		{"no id", func(g *Grant) { g.ID = "" }, "a grant's id has 1 to 128 visible ASCII characters"},
		{"id too long", func(g *Grant) { g.ID = long[:129] }, "a grant's id has 1 to 128 visible ASCII characters"},
		{"id with a space", func(g *Grant) { g.ID = "g 1" }, "a grant's id has"},
		{"id with a slash", func(g *Grant) { g.ID = "g/1" }, "a grant's id has"},
		{"id with a quote", func(g *Grant) { g.ID = `g"1` }, "a grant's id has"},
		{"id with a control character", func(g *Grant) { g.ID = "g\x00" }, "a grant's id has"},
		{"id that is not ASCII", func(g *Grant) { g.ID = "grün" }, "a grant's id has"},
		{"id that is not UTF-8", func(g *Grant) { g.ID = "g\xff" }, "a grant's id has"},
		{"parent", func(g *Grant) { g.Parent = "g-0" }, ""},
		{"parent that is no id", func(g *Grant) { g.Parent = "g 0" }, `parent "g 0" is not the id of a grant`},
		{"its own parent", func(g *Grant) { g.Parent = "g-1" }, `"g-1" can't be its own parent`},

		{"from nobody", func(g *Grant) { g.From = Ref{} }, "from: the type is missing"},
		{"from without an id", func(g *Grant) { g.From.ID = "" }, "from: the id is missing"},
		{"to nobody", func(g *Grant) { g.To = Ref{} }, "to: the type is missing"},
		{"to somebody with a long name", func(g *Grant) { g.To.ID = long }, "to: the id is longer than 1024 bytes"},
		{"to somebody with a long type", func(g *Grant) { g.To.Type = long }, "to: the type is longer than 1024 bytes"},
		{"to a name that is not UTF-8", func(g *Grant) { g.To.ID = "\xff" }, "to: the id is not valid UTF-8"},
		{"to oneself", func(g *Grant) { g.To = g.From }, `user::"ann" can't grant to itself`},

		{"no actions", func(g *Grant) { g.Actions = nil }, "actions: name at least one"},
		{"any action", func(g *Grant) { g.Actions = []string{"*"} }, ""},
		{"actions with a beginning", func(g *Grant) { g.Actions = []string{"payment.*", "pay*"} }, ""},
		{"star in the middle", func(g *Grant) { g.Actions = []string{"pay*ment"} }, `action "pay*ment": a name, or a beginning followed by one *`},
		{"star at the beginning", func(g *Grant) { g.Actions = []string{"*.approve"} }, "a beginning followed by one *"},
		{"two stars", func(g *Grant) { g.Actions = []string{"**"} }, "a beginning followed by one *"},
		{"empty action", func(g *Grant) { g.Actions = []string{"read", ""} }, "the name of an action is missing"},
		{"long action", func(g *Grant) { g.Actions = []string{long} }, "the name of an action is longer than 1024 bytes"},
		{"hundred actions", func(g *Grant) { g.Actions = many[:100] }, ""},
		{"too many actions", func(g *Grant) { g.Actions = many }, "more than 100 actions, resources or revokers"},

		{"no resources", func(g *Grant) { g.Resources = nil }, "resources: name at least one"},
		{"any resource", func(g *Grant) { g.Resources = []ResourceScope{{Type: "*"}} }, ""},
		{"one resource", func(g *Grant) { g.Resources = []ResourceScope{{Type: "payment", ID: "*"}} }, ""},
		{"resource without a type", func(g *Grant) { g.Resources = []ResourceScope{{ID: "1"}} }, "the type of a resource is missing"},
		{"one resource of any type", func(g *Grant) { g.Resources = []ResourceScope{{Type: "*", ID: "1"}} }, `resource "*" "1": a type, or a type and an id, or the type "*" alone`},
		{"type that looks like a pattern", func(g *Grant) { g.Resources = []ResourceScope{{Type: "pay*"}} }, `resource "pay*" ""`},
		{"long type", func(g *Grant) { g.Resources = []ResourceScope{{Type: long}} }, "the type of a resource is longer"},
		{"long id", func(g *Grant) { g.Resources = []ResourceScope{{Type: "t", ID: long}} }, "the id of a resource is longer"},
		{"too many resources", func(g *Grant) { g.Resources = make([]ResourceScope, 101) }, "more than 100 actions, resources or revokers"},

		{"revokers", func(g *Grant) { g.Revokers = []Ref{{"risk", "group"}} }, ""},
		{"revoker without a type", func(g *Grant) { g.Revokers = []Ref{{ID: "risk"}} }, "revocable_by: the type is missing"},
		{"too many revokers", func(g *Grant) { g.Revokers = make([]Ref, 101) }, "more than 100 actions, resources or revokers"},
		{"long condition", func(g *Grant) { g.Condition = strings.Repeat("x", 4097) }, "the condition is longer than 4096 bytes"},
		{"condition that is not UTF-8", func(g *Grant) { g.Condition = "\xff" }, "the condition is not valid UTF-8"},
		{"long purpose", func(g *Grant) { g.Purpose = strings.Repeat("x", 4097) }, "the purpose is longer than 4096 bytes"},

		{"deepest", func(g *Grant) { g.Depth = 7 }, ""},
		{"too deep", func(g *Grant) { g.Depth = 8 }, "depth: from 0 (may not be delegated on) to 7"},
		{"negative depth", func(g *Grant) { g.Depth = -1 }, "depth: from 0"},
		{"time window", func(g *Grant) { g.NotBefore, g.Expires = 10, 11 }, ""},
		{"never ends", func(g *Grant) { g.NotBefore = 10 }, ""},
		{"ends as it begins", func(g *Grant) { g.NotBefore, g.Expires = 10, 10 }, "expires: not after not_before"},
		{"ended before 1970", func(g *Grant) { g.Expires = -1 }, "expires: not after not_before"},

		{"limits", func(g *Grant) {
			g.Limits = &GrantLimits{Uses: 1, Sums: []SumLimit{{"resource.amount", 1}, {"context.a.b", MaxInteger}, {"action.n", 1}}}
		}, ""},
		{"no limits in limits", func(g *Grant) { g.Limits = &GrantLimits{} }, ""},
		{"negative uses", func(g *Grant) { g.Limits = &GrantLimits{Uses: -1} }, "limits: uses must be from 1 to 9007199254740991, or 0 for no limit"},
		{"uses beyond JSON", func(g *Grant) { g.Limits = &GrantLimits{Uses: MaxInteger + 1} }, "limits: uses must be from 1"},
		{"sum of zero", sum("resource.amount", 0), "limits: the sum of resource.amount must have a maximum from 1"},
		{"negative sum", sum("resource.amount", -5), "limits: the sum of resource.amount must have a maximum from 1"},
		{"sum beyond JSON", sum("resource.amount", MaxInteger+1), "limits: the sum of resource.amount must have a maximum from 1"},
		{"sum of a subject's attribute", sum("subject.amount", 1), `limits: attribute "subject.amount" must be resource., context. or action. and a name`},
		{"sum of nothing", sum("", 1), `limits: attribute "" must be`},
		{"sum of a whole resource", sum("resource", 1), `limits: attribute "resource" must be`},
		{"sum of no attribute", sum("resource.", 1), `limits: attribute "resource." must be`},
		{"sum of what only begins alike", sum("resources.amount", 1), `limits: attribute "resources.amount" must be`},
		{"sum of a long attribute", sum("resource."+long, 1), "the attribute to sum is longer"},
		{"sum twice", func(g *Grant) { g.Limits = &GrantLimits{Sums: []SumLimit{{"action.n", 1}, {"action.n", 2}}} }, "limits: action.n stands twice"},
		{"too many sums", func(g *Grant) { g.Limits = &GrantLimits{Sums: make([]SumLimit, 101)} }, "limits: more than 100 sums"},
	} {
		g := sampleGrant()
		c.change(g)
		checkError(t, c.name, g.Validate(), c.want)
	}
}

// checkError wants no error, or one that begins with or holds the words.
func checkError(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: refused: %v", name, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want %q", name, err, want)
	case err != nil && (strings.HasSuffix(err.Error(), ".") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 400):
		t.Errorf("%s: not one short sentence without a full stop: %q", name, err)
	}
}

func TestGrantWidens(t *testing.T) {
	parent := &Grant{
		ID: "g-0", From: Ref{"ann", "user"}, To: Ref{"bot", "ai_agent"},
		Actions:   []string{"payment.approve", "invoice.*"},
		Resources: []ResourceScope{{Type: "payment"}, {Type: "account", ID: "1"}, {Type: "account", ID: "2"}},
		NotBefore: 100, Expires: 1000, Depth: 2, Condition: "resource.amount < 10", Limits: &GrantLimits{Uses: 5},
	}
	open := *parent
	open.Actions, open.Resources, open.Expires = []string{"*"}, []ResourceScope{{Type: "*"}}, 0
	actions := func(names ...string) func(*Grant) { return func(g *Grant) { g.Actions = names } }
	resources := func(r ...ResourceScope) func(*Grant) { return func(g *Grant) { g.Resources = r } }
	for _, c := range []struct {
		name   string
		parent *Grant
		change func(*Grant)
		want   string // "" where it does not widen
	}{
		{"the same", parent, func(g *Grant) {}, ""},
		{"by somebody else", parent, func(g *Grant) { g.From = Ref{"eve", "user"} },
			`"g-0" was granted to ai_agent::"bot", so user::"eve" can't delegate under it`},
		{"by one of the same id and another type", parent, func(g *Grant) { g.From.Type = "user" }, `was granted to ai_agent::"bot"`},

		{"one of the actions", parent, actions("payment.approve"), ""},
		{"another action", parent, actions("payment.approve", "payment.cancel"), `action "payment.cancel" is not in "g-0"`},
		{"an action that only begins alike", parent, actions("payment.approve2"), `action "payment.approve2"`},
		{"an action in another case", parent, actions("Payment.approve"), `action "Payment.approve"`},
		{"an action of a wildcard", parent, actions("invoice.read", "invoice."), ""},
		{"what the wildcard begins with, cut", parent, actions("invoice"), `action "invoice"`},
		{"a wildcard over a name", parent, actions("payment.approve*"), `action "payment.approve*"`},
		{"a wildcard over more", parent, actions("payment.*"), `action "payment.*"`},
		{"the same wildcard", parent, actions("invoice.*"), ""},
		{"a narrower wildcard", parent, actions("invoice.read.*"), ""},
		{"a wider wildcard", parent, actions("inv*"), `action "inv*"`},
		{"any action under some", parent, actions("*"), `action "*"`},
		{"any action under any", &open, actions("*", "x*", "y"), ""},

		{"a resource of a type", parent, resources(ResourceScope{Type: "payment", ID: "9"}), ""},
		{"one of the resources", parent, resources(ResourceScope{Type: "account", ID: "2"}), ""},
		{"another resource", parent, resources(ResourceScope{Type: "account", ID: "3"}), `resource "account" "3" is not in "g-0"`},
		{"all of a type under some of it", parent, resources(ResourceScope{Type: "account"}), `resource "account" ""`},
		{"another type", parent, resources(ResourceScope{Type: "ledger"}), `resource "ledger" ""`},
		{"a type that only begins alike", parent, resources(ResourceScope{Type: "payments"}), `resource "payments" ""`},
		{"any type under some", parent, resources(ResourceScope{Type: "*"}), `resource "*" ""`},
		{"any type under any", &open, resources(ResourceScope{Type: "*"}, ResourceScope{Type: "t", ID: "1"}), ""},

		{"earlier end", parent, func(g *Grant) { g.Expires = 999 }, ""},
		{"later end", parent, func(g *Grant) { g.Expires = 1001 }, `it outlives "g-0", which expires 1970-01-01T00:00:01.000Z`},
		{"no end", parent, func(g *Grant) { g.Expires = 0 }, `it outlives "g-0"`},
		{"an end under none", &open, func(g *Grant) { g.Expires = 7 }, ""},
		{"none under none", &open, func(g *Grant) { g.Expires = 0 }, ""},

		{"last hop", parent, func(g *Grant) { g.Depth = 0 }, ""},
		{"as deep as the parent", parent, func(g *Grant) { g.Depth = 2 }, `depth 2: at most 1 is left under "g-0"`},
		{"deeper than the parent", parent, func(g *Grant) { g.Depth = 7 }, "depth 7: at most 1"},
		{"under a last hop", &Grant{ID: "g-0", To: parent.To, Actions: []string{"*"}, Resources: []ResourceScope{{Type: "*"}}},
			func(g *Grant) { g.Depth = 0 }, `"g-0" may not be delegated on (its depth is 0)`},

		// The parent stands before it in the chain, and binds by itself.
		{"earlier beginning", parent, func(g *Grant) { g.NotBefore = 0 }, ""},
		{"no condition", parent, func(g *Grant) { g.Condition = "" }, ""},
		{"higher limits", parent, func(g *Grant) { g.Limits = &GrantLimits{Uses: 1000} }, ""},
	} {
		child := &Grant{
			ID: "g-1", From: parent.To, To: Ref{"helper", "workload"}, Parent: "g-0",
			Actions: parent.Actions, Resources: parent.Resources, Expires: parent.Expires, Depth: 1,
		}
		c.change(child)
		got := child.Widens(c.parent)
		if c.want == "" && got != "" || c.want != "" && !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
