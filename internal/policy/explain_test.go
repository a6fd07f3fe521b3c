package policy

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
)

var (
	bob     = types.NewEntityUID("user", "bob")
	invoice = types.NewEntityUID("invoice", "i-7")
	pay     = types.NewEntityUID("Action", "pay")
	sales   = types.NewEntityUID("group", "sales")
	staff   = types.NewEntityUID("group", "staff")
)

// world is a small set of entities and a request about them.
func world() (types.EntityMap, types.Request) {
	entity := func(uid types.EntityUID, attrs types.RecordMap, parents ...types.EntityUID) types.Entity {
		return types.Entity{UID: uid, Parents: types.NewEntityUIDSet(parents...), Attributes: types.NewRecord(attrs)}
	}
	money, _ := types.ParseDecimal("12.5")
	ip, _ := types.ParseIPAddr("192.168.1.7")
	now, _ := types.ParseDatetime("2026-11-24T09:00:00Z")
	age, _ := types.ParseDuration("1h")
	m := types.EntityMap{}
	for _, e := range []types.Entity{
		entity(bob, types.RecordMap{"department": types.String("sales")}, sales),
		entity(sales, nil, staff),
		entity(staff, nil),
		entity(invoice, types.RecordMap{
			"amount": types.Long(48200), "limit": types.Long(10000), "fee": money,
			"status": types.String("closed"), "frozen": types.False, "owner": bob,
			"tags": types.NewSet(types.String("eu"), types.String("b2b")), "line items": types.Long(3),
		}),
	} {
		m[e.UID] = e
	}
	inv := m[invoice]
	inv.Tags = types.NewRecord(types.RecordMap{"tier": types.String("gold")})
	m[invoice] = inv
	return m, types.Request{Principal: bob, Action: pay, Resource: invoice, Context: types.NewRecord(types.RecordMap{
		"mfa": types.False, "ip": ip, "age": age, "groups": types.NewSet(),
		"aver": types.NewRecord(types.RecordMap{"now": now}),
	})}
}

// TestChangeInPlainWords shows for each kind of expression what would make it
// true, in a permit, and what would make it false, in a forbid. What holds
// already says so by the dash.
func TestChangeInPlainWords(t *testing.T) {
	entities, req := world()
	for _, tc := range []struct{ condition, permit, forbid string }{
		{`resource.amount < 10000`, `resource.amount below 10000 (was 48200)`, `-`},
		{`resource.amount <= 10000`, `resource.amount at most 10000 (was 48200)`, `-`},
		{`resource.amount > 50000`, `resource.amount above 50000 (was 48200)`, `-`},
		{`resource.amount >= 50000`, `resource.amount at least 50000 (was 48200)`, `-`},
		{`10000 > resource.amount`, `resource.amount below 10000 (was 48200)`, `-`},
		{`resource.amount > 10000`, `-`, `resource.amount at most 10000 (was 48200)`},
		{`resource.amount <= resource.limit`, `resource.amount at most resource.limit (was 48200, resource.limit was 10000)`, `-`},
		{`resource.amount + 1 < 5`, `resource.amount + 1 below 5 (was 48201)`, `-`},
		{`resource.missing < 5`, `resource.missing below 5 (was absent)`, `-`},
		{`resource["line items"] > 5`, `resource["line items"] above 5 (was 3)`, `-`},
		{`resource.fee.lessThan(decimal("10.0"))`, `resource.fee below 10.0 (was 12.5)`, `-`},
		{`resource.fee.greaterThanOrEqual(decimal("10.0"))`, `-`, `resource.fee below 10.0 (was 12.5)`},
		{`context.aver.now < datetime("2026-01-01")`, `context.aver.now before 2026-01-01T00:00:00.000Z (was 2026-11-24T09:00:00.000Z)`, `-`},
		{`context.aver.now >= datetime("2026-01-01")`, `-`, `context.aver.now before 2026-01-01T00:00:00.000Z (was 2026-11-24T09:00:00.000Z)`},
		{`context.age <= duration("5m")`, `context.age at most 5m (was 1h)`, `-`},
		{`context.mfa`, `context.mfa true (was false)`, `-`},
		{`context.mfa == true`, `context.mfa true (was false)`, `-`},
		{`context.mfa != false`, `context.mfa true (was false)`, `-`},
		{`!context.mfa`, `-`, `context.mfa true (was false)`},
		{`context.badge`, `context.badge true (was absent)`, `-`},
		{`resource.status == "open"`, `resource.status equal to "open" (was "closed")`, `-`},
		{`"open" == resource.status`, `resource.status equal to "open" (was "closed")`, `-`},
		{`resource.status != "closed"`, `resource.status other than "closed" (was "closed")`, `-`},
		{`resource.owner != principal`, `resource.owner other than principal (was user::"bob")`, `-`},
		{`context has ticket`, `context.ticket present`, `-`},
		{`resource has amount`, `-`, `resource.amount absent`},
		{`principal in group::"treasury"`, `principal in group::"treasury"`, `-`},
		{`principal in group::"staff"`, `-`, `principal not in group::"staff"`},
		{`principal in [group::"a", group::"b"]`, `principal in one of group::"a", group::"b"`, `-`},
		{`principal is robot`, `principal of type robot`, `-`},
		{`principal is user in group::"a"`, `principal of type user in group::"a"`, `-`},
		{`resource.status like "open*"`, `resource.status like "open*" (was "closed")`, `-`},
		{`["open", "new"].contains(resource.status)`, `resource.status one of "new", "open" (was "closed")`, `-`},
		{`resource.tags.contains("us")`, `resource.tags containing "us" (was ["b2b", "eu"])`, `-`},
		{`resource.tags.contains("eu")`, `-`, `resource.tags without "eu" (was ["b2b", "eu"])`},
		{`resource.tags.containsAll(["eu", "us"])`, `resource.tags containing all of ["eu", "us"] (was ["b2b", "eu"])`, `-`},
		{`resource.tags.containsAny(["eu", "us"])`, `-`, `resource.tags containing none of ["eu", "us"] (was ["b2b", "eu"])`},
		{`resource.tags.isEmpty()`, `resource.tags empty (was ["b2b", "eu"])`, `-`},
		{`context.groups.isEmpty()`, `-`, `context.groups not empty (was [])`},
		{`context.ip.isInRange(ip("10.0.0.0/8"))`, `context.ip in the range 10.0.0.0/8 (was 192.168.1.7)`, `-`},
		{`context.ip.isIpv4()`, `-`, `context.ip not an IPv4 address (was 192.168.1.7)`},
		{`context.ip.isLoopback()`, `context.ip a loopback address (was 192.168.1.7)`, `-`},
		{`resource.hasTag("owner")`, `resource with the tag "owner"`, `-`},
		{`resource.getTag("tier") == "silver"`, `resource.getTag("tier") equal to "silver" (was "gold")`, `-`},
		{`if context.mfa then resource.amount < 5 else resource.amount < 3`, `resource.amount below 3 (was 48200)`, `-`},
		{`if context.mfa then true else resource.frozen || context.mfa`, `resource.frozen true (was false), or context.mfa true (was false)`, `-`},
		{`context.mfa || resource.amount < 5`, `context.mfa true (was false), or resource.amount below 5 (was 48200)`, `-`},
		{`context.mfa || resource.amount > 5`, `-`, `resource.amount at most 5 (was 48200)`},
		{`!context.mfa || resource.amount > 5`, `-`, `context.mfa true (was false) and resource.amount at most 5 (was 48200)`},
		{`!(context.mfa || resource.frozen)`, `-`, `context.mfa true (was false) | resource.frozen true (was false)`},
		{`context.mfa && resource.frozen`, `context.mfa true (was false) | resource.frozen true (was false)`, `-`},
		{`context has badge && context.badge == 7`, `context.badge equal to 7 (was absent)`, `-`},
		{`resource.owner.department == "it"`, `resource.owner.department equal to "it" (was "sales")`, `-`},
		{`(resource.amount == 5) == (resource.limit == 5)`, `-`, `resource.amount == 5 other than resource.limit == 5 (was false, resource.limit == 5 was false)`},
		{`principal`, `principal true`, `-`},
	} {
		t.Run(tc.condition, func(t *testing.T) {
			for effect, want := range map[string]string{"permit": tc.permit, "forbid": tc.forbid} {
				b := load(t, effect+" (principal, action, resource) when { "+tc.condition+" };")
				got := strings.Join(Explain(b.rules[0], entities, req).Changes(), " | ")
				if got == "" {
					got = "-"
				}
				if got != want {
					t.Errorf("%s:\n got  %s\n want %s", effect, got, want)
				}
			}
		})
	}
}

func render(e Explanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Policy, e.State)
	if e.Error != "" {
		fmt.Fprintf(&b, ": %s", e.Error)
	}
	b.WriteByte('\n')
	renderClauses(&b, e.Clauses, "  ")
	if changes := e.Changes(); len(changes) > 0 {
		fmt.Fprintf(&b, "  changes: %s\n", strings.Join(changes, " | "))
	}
	return b.String()
}

func renderClauses(b *strings.Builder, clauses []Clause, indent string) {
	for _, c := range clauses {
		fmt.Fprintf(b, "%s%s { %s } %s", indent, c.Kind, c.Text, c.State)
		if c.State != c.Alone {
			fmt.Fprintf(b, ", alone %s", c.Alone)
		}
		if c.Error != "" {
			fmt.Fprintf(b, ": %s", c.Error)
		}
		for i, s := range c.Seen {
			b.WriteString(map[bool]string{true: " [", false: ", "}[i == 0])
			if s.Absent {
				fmt.Fprintf(b, "%s absent", s.Path)
			} else {
				fmt.Fprintf(b, "%s %s", s.Path, s.Value)
			}
		}
		if len(c.Seen) > 0 {
			b.WriteByte(']')
		}
		b.WriteByte('\n')
		for _, alt := range c.Alternatives {
			fmt.Fprintf(b, "%s  either\n", indent)
			renderClauses(b, alt, indent+"    ")
		}
	}
}

// TestExplainGolden explains policies of every shape, and what comes nearest.
func TestExplainGolden(t *testing.T) {
	entities, req := world()
	b := load(t, `
@id("scope")
permit (principal in group::"treasury", action in [Action::"pay", Action::"refund"], resource is invoice)
when { resource.amount < 10000 && context.mfa };

@id("held")
permit (principal == user::"bob", action == Action::"pay", resource)
when { resource has amount && resource.amount < 50000 }
unless { resource.frozen || (context has risk && context.risk > 5) };

@id("errors")
permit (principal, action, resource) when { resource.missing == 1 } when { context.mfa };

@id("alternatives")
forbid (principal, action, resource is invoice)
when { context.mfa || (resource.amount > 10000 && resource.status == "closed") || resource.frozen };

@id("unless-all")
forbid (principal, action, resource)
unless { context.mfa && principal in group::"staff" };

@id("other-resource")
permit (principal, action, resource is document);

@id("other-action")
permit (principal, action == Action::"view", resource);

@id("nearly")
permit (principal is user, action == Action::"pay", resource == invoice::"i-7")
when { !(resource.status == "closed") };
`)
	var out strings.Builder
	for _, r := range b.rules {
		out.WriteString(render(Explain(r, entities, req)))
	}
	out.WriteString("\nnear misses:\n")
	for _, e := range NewSet(b).NearMisses(entities, req) {
		fmt.Fprintf(&out, "%s, %d failing: %s\n", e.Policy, e.Failing(), strings.Join(e.Changes(), " | "))
	}
	golden(t, "testdata/explain.txt", out.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestEachChangeIsEnough applies what an explanation asks for.
func TestEachChangeIsEnough(t *testing.T) {
	entities, req := world()
	b := load(t, `permit (principal, action, resource) when { resource.amount < 10000 && (context.mfa || resource.frozen) };`)
	e := Explain(b.rules[0], entities, req)
	want := []string{
		"resource.amount below 10000 (was 48200)",
		"context.mfa true (was false), or resource.frozen true (was false)",
	}
	if !slices.Equal(e.Changes(), want) {
		t.Fatalf("changes %q, want %q", e.Changes(), want)
	}
	inv := entities[invoice]
	attrs := inv.Attributes.Map()
	attrs["amount"], attrs["frozen"] = types.Long(9999), types.True
	inv.Attributes = types.NewRecord(attrs)
	entities[invoice] = inv
	if e = Explain(b.rules[0], entities, req); e.State != Held || len(e.Changes()) != 0 {
		t.Errorf("after the changes the policy %s, and asks for %q", e.State, e.Changes())
	}
}
