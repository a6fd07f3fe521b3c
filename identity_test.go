package aver

import (
	"slices"
	"strings"
	"testing"
)

func TestIdentityValidate(t *testing.T) {
	long := strings.Repeat("x", 4097)
	for _, c := range []struct {
		name   string
		change func(*Identity)
		want   string // "" where it is valid
	}{
		{"as it is", func(i *Identity) {}, ""},
		{"no type", func(i *Identity) { i.Type = "" }, "the type is missing"},
		{"no id", func(i *Identity) { i.ID = "" }, "the id is missing"},
		{"longest id", func(i *Identity) { i.ID = long[:1024] }, ""},
		{"long id", func(i *Identity) { i.ID = long[:1025] }, "the id is longer than 1024 bytes"},
		{"long type", func(i *Identity) { i.Type = long[:1025] }, "the type is longer than 1024 bytes"},
		{"id that is not UTF-8", func(i *Identity) { i.ID = "\xc3" }, "the id is not valid UTF-8"},

		{"no kind", func(i *Identity) { i.Kind = "" }, `kind "" is not one of [human_user service_account application workload api_client ai_agent]`},
		{"unknown kind", func(i *Identity) { i.Kind = KindUnknown }, `kind "unknown" is not one of`},
		{"kind in another case", func(i *Identity) { i.Kind = "AI_Agent" }, `kind "AI_Agent" is not one of`},
		{"kind unlike the type", func(i *Identity) { i.Kind = Workload }, ""},

		{"machine without an owner", func(i *Identity) { i.Owner = "" }, "a machine identity needs an owner"},
		{"machine without a purpose", func(i *Identity) { i.Purpose = "" }, "a machine identity needs a purpose"},
		{"person without either", func(i *Identity) { i.Kind, i.Owner, i.Purpose = HumanUser, "", "" }, ""},
		{"long name", func(i *Identity) { i.Name = long }, "the name is longer than 4096 bytes"},
		{"long owner", func(i *Identity) { i.Owner = long }, "the owner is longer than 4096 bytes"},
		{"long purpose", func(i *Identity) { i.Purpose = long }, "the purpose is longer than 4096 bytes"},
		{"purpose that is not UTF-8", func(i *Identity) { i.Purpose = "a\xffb" }, "the purpose is not valid UTF-8"},

		{"no tools at all", func(i *Identity) { i.Tools = &[]string{} }, ""},
		{"a tool", func(i *Identity) { i.Tools = &[]string{"erp"} }, ""},
		{"a tool without a name", func(i *Identity) { i.Tools = &[]string{"erp", ""} }, "the name of the tool is missing"},
		{"a tool with a long name", func(i *Identity) { i.Tools = &[]string{long} }, "the name of the tool is longer than 1024 bytes"},
		{"too many tools", func(i *Identity) { i.Tools = new([]string); *i.Tools = make([]string, 1001) }, "more than 1000 tools"},

		{"parents", func(i *Identity) { i.Parents = []Ref{{"agents", "group"}, {"bot", "group"}} }, ""},
		{"parent without a type", func(i *Identity) { i.Parents = []Ref{{ID: "agents"}} }, "parent: the type is missing"},
		{"its own parent", func(i *Identity) { i.Parents = []Ref{{"agents", "group"}, i.Ref} }, `ai_agent::"bot" can't be its own parent`},
		{"too many parents", func(i *Identity) { i.Parents = make([]Ref, 1001) }, "more than 1000 parents"},
	} {
		i := &Identity{Ref: Ref{"bot", "ai_agent"}, Kind: AIAgent, Owner: "ann@example.com", Purpose: "Approve invoices"}
		c.change(i)
		checkError(t, c.name, i.Validate(), c.want)
	}
}

func TestEveryMachineNeedsAnOwnerAndAPurpose(t *testing.T) {
	for _, k := range Kinds() {
		i := &Identity{Ref: Ref{"x", "t"}, Kind: k}
		if err := i.Validate(); (err != nil) != k.Machine() {
			t.Errorf("%s: %v", k, err)
		}
		i.Owner, i.Purpose = "ann", "p"
		if err := i.Validate(); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
}

func TestEntityValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		entity Entity
		want   string
	}{
		{"as it is", Entity{Ref: Ref{"1", "account"}, Parents: []Ref{{"2", "account"}}}, ""},
		{"no type", Entity{Ref: Ref{ID: "1"}}, "the type is missing"},
		{"parent without an id", Entity{Ref: Ref{"1", "account"}, Parents: []Ref{{Type: "group"}}}, "parent: the id is missing"},
		{"its own parent", Entity{Ref: Ref{"1", "account"}, Parents: []Ref{{"1", "account"}}}, `account::"1" can't be its own parent`},
		{"too many parents", Entity{Ref: Ref{"1", "account"}, Parents: make([]Ref, 1001)}, "more than 1000 parents"},
	} {
		checkError(t, c.name, c.entity.Validate(), c.want)
	}
}

func TestKinds(t *testing.T) {
	for _, c := range []struct {
		entityType string
		kind       Kind
		machine    bool
	}{
		{"user", HumanUser, false},
		{"human_user", HumanUser, false},
		{"service_account", ServiceAccount, true},
		{"application", Application, true},
		{"workload", Workload, true},
		{"api_client", APIClient, true},
		{"ai_agent", AIAgent, true},
		{"User", KindUnknown, false},
		{"unknown", KindUnknown, false},
		{"", KindUnknown, false},
	} {
		if got := KindOfType(c.entityType); got != c.kind || got.Machine() != c.machine {
			t.Errorf("%q: kind %q, machine %v", c.entityType, got, got.Machine())
		}
		if slices.Contains(Kinds(), c.kind) != (c.kind != KindUnknown) {
			t.Errorf("Kinds() and %q", c.kind)
		}
	}
}

func TestRefString(t *testing.T) {
	for _, c := range []struct {
		ref  Ref
		want string
		zero bool
	}{
		{Ref{"ann", "user"}, `user::"ann"`, false},
		{Ref{`a"b\c` + "\n", "Name::Space"}, `Name::Space::"a\"b\\c\n"`, false},
		{Ref{}, `::""`, true},
	} {
		if got := c.ref.String(); got != c.want || c.ref.IsZero() != c.zero {
			t.Errorf("got %s, zero %v; want %s", got, c.ref.IsZero(), c.want)
		}
	}
}
