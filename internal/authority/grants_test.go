package authority_test

import (
	"os"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
	"pgregory.net/rapid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

var oneDoc = []aver.ResourceScope{{Type: "doc", ID: "1"}}

// A second implementation must make the same Cedar text, so these stand in docs/formats-authority.md too.
var grantPolicies = map[string]struct {
	to        aver.Ref
	actions   []string
	resources []aver.ResourceScope
	condition string
	want      string
}{
	"one of each": {ref("user:b"), []string{"read"}, oneDoc, "",
		`permit (principal == user::"b", action == Action::"read", resource == doc::"1");`},
	"several actions": {ref("user:b"), []string{"read", "write"}, oneDoc, "",
		`permit (principal == user::"b", action in [Action::"read", Action::"write"], resource == doc::"1");`},
	"any action": {ref("user:b"), []string{"read", "*"}, oneDoc, "",
		`permit (principal == user::"b", action, resource == doc::"1");`},
	"beginnings of actions": {ref("user:b"), []string{"payment.*", "read"}, oneDoc, "",
		"permit (principal == user::\"b\", action, resource == doc::\"1\")\nwhen {\ncontext.aver.action.name like \"payment.*\" || context.aver.action.name == \"read\"\n};"},
	"a type": {ref("user:b"), []string{"read"}, []aver.ResourceScope{{Type: "doc"}}, "",
		`permit (principal == user::"b", action == Action::"read", resource is doc);`},
	"several resources": {ref("user:b"), []string{"read"}, []aver.ResourceScope{{Type: "doc", ID: "1"}, {Type: "Bank::account"}}, "",
		"permit (principal == user::\"b\", action == Action::\"read\", resource)\nwhen {\nresource == doc::\"1\" || resource is Bank::account\n};"},
	"any resource": {ref("user:b"), []string{"read"}, []aver.ResourceScope{{Type: "doc", ID: "1"}, {Type: "*"}}, "",
		`permit (principal == user::"b", action == Action::"read", resource);`},
	"everything": {ref("user:b"), []string{"*"}, []aver.ResourceScope{{Type: "*"}}, "",
		`permit (principal == user::"b", action, resource);`},
	"condition": {ref("user:b"), []string{"*"}, []aver.ResourceScope{{Type: "*"}}, "resource.amount < 100 // cents",
		"permit (principal == user::\"b\", action, resource)\nwhen {\nresource.amount < 100 // cents\n};"},
	"all clauses, in order": {ref("user:b"), []string{"a*"}, []aver.ResourceScope{{Type: "doc"}, {Type: "file"}}, "true",
		"permit (principal == user::\"b\", action, resource)\nwhen {\ncontext.aver.action.name like \"a*\"\n}\nwhen {\nresource is doc || resource is file\n}\nwhen {\ntrue\n};"},
	"escapes": {aver.Ref{Type: "user", ID: "\"\\\n\x7f*å\u2028"}, []string{`a"b*`, "x*"}, oneDoc, "",
		"permit (principal == user::\"\\\"\\\\\\u{a}\\u{7f}*å\u2028\", action, resource == doc::\"1\")\nwhen {\ncontext.aver.action.name like \"a\\\"b*\" || context.aver.action.name like \"x*\"\n};"},
}

func TestGrantPolicy(t *testing.T) {
	for name, test := range grantPolicies {
		t.Run(name, func(t *testing.T) {
			g := aver.Grant{ID: "g", From: ref("user:a"), To: test.to, Actions: test.actions, Resources: test.resources, Condition: test.condition}
			if got := authority.GrantPolicy(&g); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			after(t, change{aver.EventGrantIssued, g}) // it compiles
		})
	}
}

// The permit allows what the grant says, no more and no less, whatever characters stand in names.
func TestPermitMeansWhatTheGrantSays(t *testing.T) {
	word := rapid.StringOfN(rapid.SampledFrom([]rune("ab.\"\\\n*å{}")), 1, 3, -1)
	rapid.Check(t, func(t *rapid.T) {
		g := aver.Grant{ID: "g", From: ref("owner:a"), To: aver.Ref{Type: "user", ID: word.Draw(t, "to")}}
		for range rapid.IntRange(1, 3).Draw(t, "actions") {
			a := strings.ReplaceAll(word.Draw(t, "action"), "*", "")
			if rapid.Bool().Draw(t, "pattern") || a == "" {
				a += "*"
			}
			g.Actions = append(g.Actions, a)
		}
		for range rapid.IntRange(1, 3).Draw(t, "resources") {
			r := aver.ResourceScope{Type: rapid.SampledFrom([]string{"doc", "A::doc", "context", "*"}).Draw(t, "type")}
			if r.Type != "*" && rapid.Bool().Draw(t, "one") {
				r.ID = word.Draw(t, "id")
			}
			g.Resources = append(g.Resources, r)
		}
		s, err := authority.New().Apply(eventAt(0, change{aver.EventGrantIssued, g}))
		if err != nil {
			t.Fatal(err)
		}
		issued, _ := s.Grant("g")

		// Half of what is asked is taken from the grant, so that it is often allowed.
		principal, action := g.To, word.Draw(t, "asked action")
		resource := aver.Ref{Type: rapid.SampledFrom([]string{"doc", "A::doc", "context", "other"}).Draw(t, "asked type"), ID: word.Draw(t, "asked id")}
		if rapid.Bool().Draw(t, "known action") {
			a, pattern := strings.CutSuffix(g.Actions[0], "*")
			if action = a; pattern && rapid.Bool().Draw(t, "longer") {
				action += word.Draw(t, "rest")
			}
		}
		if r := g.Resources[0]; r.ID != "" && rapid.Bool().Draw(t, "known resource") {
			resource = aver.Ref{Type: r.Type, ID: r.ID}
		}
		if rapid.IntRange(0, 9).Draw(t, "principal") == 0 {
			principal.ID += "x"
		}

		want := principal == g.To && anyOf(g.Actions, func(a string) bool {
			begin, pattern := strings.CutSuffix(a, "*")
			return action == a || pattern && strings.HasPrefix(action, begin)
		}) && anyOf(g.Resources, func(r aver.ResourceScope) bool {
			return r.Type == "*" || r.Type == resource.Type && (r.ID == "" || r.ID == resource.ID)
		})
		got := issued.Permit.Authorize(nil, types.Request{
			Principal: types.NewEntityUID(types.EntityType(principal.Type), types.String(principal.ID)),
			Action:    types.NewEntityUID("Action", types.String(action)),
			Resource:  types.NewEntityUID(types.EntityType(resource.Type), types.String(resource.ID)),
			Context: types.NewRecord(types.RecordMap{"aver": types.NewRecord(types.RecordMap{
				"action": types.NewRecord(types.RecordMap{"name": types.String(action)})})}),
		})
		if len(got.Errors) > 0 {
			t.Fatalf("%s\nfails: %v", authority.GrantPolicy(&g), got.Errors)
		}
		if bool(got.Decision) != want {
			t.Fatalf("%s\nallows %v %q %v: %v, want %v", authority.GrantPolicy(&g), principal, action, resource, got.Decision, want)
		}
	})
}

func anyOf[T any](list []T, holds func(T) bool) bool {
	for _, v := range list {
		if holds(v) {
			return true
		}
	}
	return false
}

// docs/formats-authority.md is what a second implementation is written from.
func TestFormatsAreDescribed(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats-authority.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	for name, test := range grantPolicies {
		if name != "escapes" && !strings.Contains(doc, "\n"+test.want+"\n") {
			t.Errorf("the example %q is not in it:\n%s", name, test.want)
		}
	}
	for _, c := range life() {
		if !strings.Contains(doc, "| `"+string(c.typ)+"` |") {
			t.Errorf("event type %s is not in it", c.typ)
		}
	}
}
