package policy

import (
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

func TestCompilePermitTakesOnePermit(t *testing.T) {
	for _, tc := range []struct{ text, err string }{
		{`permit (principal, action, resource);`, ""},
		{"// why\n@reason(\"ok\") permit (principal, action == Action::\"pay\", resource) when { resource.amount < 5 }; // end\n", ""},
		{``, "expected exactly one permit statement, got 0 statements"},
		{`// nothing`, "got 0 statements"},
		{`permit (principal, action, resource); permit (principal, action, resource);`, "got 2 statements"},
		{`permit (principal, action, resource); x`, "got 2 statements"},
		{`forbid (principal, action, resource);`, "expected a permit statement, got a forbid"},
		{`permit (principal, action, resource)`, `1:37: expected ";", but the text ends`},
		{"permit (principal,\n action resource);", `2:9: expected ",", got "resource"`},
		{`@gate("challenge") permit (principal, action, resource);`, "@gate belongs on a forbid"},
		{`permit (principal, action, resource) when { ` + strings.Repeat("(", 101), "more than 100 brackets"},
		{strings.Repeat(" ", MaxFileBytes+1), "bytes, more than the"},
	} {
		p, err := CompilePermit("grant-1", tc.text)
		switch {
		case err == nil && tc.err == "":
			if p.Rule().ID != "grant-1" {
				t.Errorf("the rule of %q has the id %q", tc.text, p.Rule().ID)
			}
		case err == nil || tc.err == "" || !strings.Contains(err.Error(), tc.err):
			t.Errorf("%.80q: got %v, want %q", tc.text, err, tc.err)
		}
	}
}

func TestPermitAuthorizes(t *testing.T) {
	entities, req := world()
	for text, want := range map[string]string{
		`permit (principal, action == Action::"pay", resource) when { resource.amount > 5 };`: "allow\ng\n",
		`permit (principal, action == Action::"pay", resource) when { resource.amount < 5 };`: "deny\n",
		`permit (principal, action == Action::"view", resource);`:                             "deny\n",
		`permit (principal, action, resource) when { resource.missing };`:                     "deny\ng `invoice::\"i-7\"` does not have the attribute `missing`\n",
	} {
		p, err := CompilePermit("g", text)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(p.Authorize(entities, req)); got != want {
			t.Errorf("%s\ngot %q, want %q", text, got, want)
		}
	}
	p, err := CompilePermit("g", `permit (principal in group::"x", action, resource);`)
	if err != nil {
		t.Fatal(err)
	}
	if p.Authorize(nil, req).Decision != types.Deny {
		t.Error("without entities, bob is in group x")
	}
}

var conditions = []struct{ text, err string }{
	{`true`, ""},
	{`resource.amount < 10 && context.note == "; }"`, ""},
	{"// a comment\nresource.amount < 10 // another", ""},
	{`{a: [1, 2]} == {a: [1, 2]}`, ""},
	{`if context.a then true else false`, ""},
	{``, "1:1: the condition is empty"},
	{`// only a comment`, "1:18: "},
	{`true } permit (principal, action, resource) when { true`, `1:6: "}" closes nothing`},
	{`true }; permit (principal, action, resource) when { true`, `1:6: "}" closes nothing`},
	{`true; false`, "1:5: a condition is one expression, without a semicolon"},
	{`true } when { true`, `1:6: "}" closes nothing`},
	{`(true`, `1:1: nothing closes this bracket`},
	{`[1}`, `1:3: "}" closes nothing`},
	{`"never ends`, "1:1: the string does not end"},
	{`"ends \"`, "1:1: the string does not end"},
	{`"a\\"`, ""},
	{"true &&\n  ", "2:3: "},
	{"true\n  resource", `2:3: expected "}", got "resource"`},
	{`permit (principal, action, resource)`, "1:9: `permit` is not a function"},
	{`resource.amount <`, "1:18: expected an expression, but the condition ends"},
	{`true //} when { false`, ""},
	{`principle.a`, `1:1: expected an expression, got "principle"`},
}

func TestValidateCondition(t *testing.T) {
	for _, tc := range conditions {
		err := ValidateCondition(tc.text)
		if (err == nil) != (tc.err == "") || err != nil && !strings.HasPrefix(err.Error(), tc.err) {
			t.Errorf("%q: got %v, want %q", tc.text, err, tc.err)
		}
	}
}

// FuzzValidateCondition puts what was found valid to its use: it must be one
// condition of one policy, and change nothing else about it.
func FuzzValidateCondition(f *testing.F) {
	for _, tc := range conditions {
		f.Add(tc.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if ValidateCondition(text) != nil {
			return
		}
		doc := "permit (principal == user::\"a\", action, resource) when {\n" + text + "\n};"
		list, err := cedar.NewPolicyListFromBytes("", []byte(doc))
		if err != nil || len(list) != 1 {
			t.Fatalf("%d policies, %v:\n%s", len(list), err, doc)
		}
		if n := len(list[0].AST().Conditions); n != 1 {
			t.Fatalf("%d conditions:\n%s", n, doc)
		}
	})
}
