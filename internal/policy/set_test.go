package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

func ids(rules []*Rule) []string {
	var out []string
	for _, r := range rules {
		out = append(out, r.ID)
	}
	return out
}

func TestSetOrdersByBundleFileAndPosition(t *testing.T) {
	bundle := func(name string) *Bundle {
		b, err := Load(map[string][]byte{
			"z.cedar": []byte(`@id("third") permit (principal, action, resource);`),
			"a.cedar": []byte(`@id("second") permit (principal, action, resource); @id("first") permit (principal, action, resource);`),
		}, name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	set := NewSet(bundle("b"), bundle("a"))
	want := []string{"a/second", "a/first", "a/third", "b/second", "b/first", "b/third"}
	_, req := world()
	if got := ids(set.Rules()); !slices.Equal(got, want) {
		t.Errorf("rules %q, want %q", got, want)
	}
	if got := ids(set.Authorize(nil, req).Reasons); !slices.Equal(got, want) {
		t.Errorf("reasons %q, want %q", got, want)
	}
	if got := set.Bundles(); got[0].Name() != "a" || got[1].Name() != "b" {
		t.Errorf("the bundles are not in the order of their names")
	}
	if r, ok := set.Rule("b/first"); !ok || r.Bundle != "b" {
		t.Errorf("b/first was not found")
	}
	if _, ok := set.Rule("b/fourth"); ok {
		t.Errorf("b/fourth was found")
	}
}

func TestGatesAreSetApart(t *testing.T) {
	set := NewSet(load(t, `
@id("pay") permit (principal, action, resource);
@id("four-eyes") @gate("escalate") @approvers("leads") forbid (principal, action, resource) when { resource.amount > 10 };
@id("unmet") @gate("escalate") @approvers("leads") forbid (principal, action, resource) when { resource.amount < 10 };
@id("broken") @gate("escalate") @approvers("leads") forbid (principal, action, resource) when { resource.missing };
`))
	entities, req := world()
	got := set.Authorize(entities, req)
	if got.Decision != types.Allow || !slices.Equal(ids(got.Candidates), []string{"test/pay"}) {
		t.Errorf("ordinary policies: %s, candidates %q", show(got), ids(got.Candidates))
	}
	gates := set.Gates(entities, req)
	want := "deny\ntest/four-eyes\ntest/broken `invoice::\"i-7\"` does not have the attribute `missing`\n"
	if show(gates) != want {
		t.Errorf("gates: %s, want %s", show(gates), want)
	}
	if got, want := fmt.Sprint(gates.Reads().Paths()), "[resource.amount resource.missing]"; got != want {
		t.Errorf("the gates read %s, want %s", got, want)
	}
	if len(set.Ordinary()) != 1 || len(set.GateRules()) != 3 {
		t.Error("the rules are not split into ordinary ones and gates")
	}
}

func TestZeroSetDenies(t *testing.T) {
	_, req := world()
	var zero Set
	got := zero.Authorize(nil, req)
	if got.Decision != types.Deny || len(got.Candidates) != 0 || len(got.Reads().Paths()) != 0 {
		t.Errorf("the zero Set: %s", show(got))
	}
	if len(zero.NearMisses(nil, req)) != 0 || (Result{}).Reads().Contains("resource.amount") {
		t.Error("the zero Set has something to say")
	}
}

// TestCandidatesAreFew protects what the index is for: policies that cannot
// match are not evaluated.
func TestCandidatesAreFew(t *testing.T) {
	entities, req := world()
	action := func(id string) types.EntityUID { return types.NewEntityUID("Action", types.String(id)) }
	entities[pay] = types.Entity{UID: pay, Parents: types.NewEntityUIDSet(action("write"))}
	set := NewSet(load(t, `
@id("any") permit (principal, action, resource);
@id("bob") permit (principal == user::"bob", action == Action::"pay", resource == invoice::"i-7");
@id("alice") permit (principal == user::"alice", action, resource);
@id("staff") permit (principal in group::"staff", action in Action::"write", resource is invoice);
@id("staff-users") permit (principal is user in group::"staff", action in [Action::"pay", Action::"write"], resource is invoice in group::"x");
@id("others") permit (principal in group::"others", action, resource);
@id("users") permit (principal is user, action, resource);
@id("robots") permit (principal is robot, action, resource);
@id("view") permit (principal, action == Action::"view", resource);
@id("exactly-write") permit (principal, action == Action::"write", resource);
@id("exactly-staff") permit (principal == group::"staff", action, resource);
@id("documents") permit (principal, action, resource is document);
`))
	want := []string{"test/any", "test/bob", "test/staff", "test/staff-users", "test/users"}
	if got := ids(set.Authorize(entities, req).Candidates); !slices.Equal(got, want) {
		t.Errorf("candidates %q, want %q", got, want)
	}
}

func TestAncestorsOfDeepAndCyclicGroups(t *testing.T) {
	group := func(i int) types.EntityUID { return types.NewEntityUID("group", types.String(fmt.Sprint(i))) }
	m := types.EntityMap{}
	for i := range 50 {
		m[group(i)] = types.Entity{UID: group(i), Parents: types.NewEntityUIDSet(group((i+1)%50), group((i+7)%50))}
	}
	got := ancestors([]types.EntityUID{group(3)}, m)
	if len(got) != 50 {
		t.Errorf("%d ancestors, want all 50 of the circle, each once", len(got))
	}
	set := NewSet(load(t, `permit (principal in group::"2", action, resource);`))
	if set.Authorize(m, types.Request{Principal: group(3)}).Decision != types.Allow {
		t.Error("the long way round is not found")
	}
}

// TestGroupsOfCandidatesAreBounded asks in more ways than an index remembers.
func TestGroupsOfCandidatesAreBounded(t *testing.T) {
	var text strings.Builder
	for i := range 13 {
		fmt.Fprintf(&text, "permit (principal in group::\"%d\", action, resource);\n", i)
	}
	set := NewSet(load(t, text.String()))
	for pattern := range 1 << 13 {
		var parents []types.EntityUID
		for i := range 13 {
			if pattern>>i&1 == 1 {
				parents = append(parents, types.NewEntityUID("group", types.String(fmt.Sprint(i))))
			}
		}
		m := types.EntityMap{bob: {UID: bob, Parents: types.NewEntityUIDSet(parents...)}}
		if got := len(set.Authorize(m, types.Request{Principal: bob}).Candidates); got != len(parents) {
			t.Fatalf("%d candidates for %d groups", got, len(parents))
		}
	}
	if n := len(set.ordinary.cache.groups); n > maxGroups {
		t.Errorf("the index remembers %d groups, more than %d", n, maxGroups)
	}
}

// paymentsBundle is n policies of the kind that organisations write: most are
// about other actions, resources and groups than any one request is.
func paymentsBundle(tb testing.TB, n int) *Bundle {
	var text strings.Builder
	for i := range n {
		switch i % 5 {
		case 0:
			fmt.Fprintf(&text, `permit (principal in group::"g%d", action == Action::"a%d", resource is t%d) when { resource.amount < %d };`, i%97, i%23, i%7, 1000*i)
		case 1:
			fmt.Fprintf(&text, `forbid (principal, action == Action::"a%d", resource is t%d) when { resource has frozen && resource.frozen };`, i%23, i%7)
		case 2:
			fmt.Fprintf(&text, `permit (principal == user::"u%d", action in [Action::"a%d", Action::"b%d"], resource) unless { context.risk > 5 };`, i, i%23, i%23)
		case 3:
			fmt.Fprintf(&text, `permit (principal is user in group::"g%d", action, resource == t%d::"r%d");`, i%97, i%7, i)
		case 4:
			fmt.Fprintf(&text, `forbid (principal is robot, action == Action::"a%d", resource is t%d) unless { context.supervised };`, i%23, i%7)
		}
		text.WriteByte('\n')
	}
	b, err := Load(map[string][]byte{"payments.cedar": []byte(text.String())}, "payments")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func paymentsRequest() (types.EntityMap, types.Request) {
	user, resource := types.NewEntityUID("user", "u1"), types.NewEntityUID("t0", "r1")
	g0, all := types.NewEntityUID("group", "g0"), types.NewEntityUID("group", "all")
	m := types.EntityMap{
		user:     {UID: user, Parents: types.NewEntityUIDSet(g0, types.NewEntityUID("group", "g12"))},
		g0:       {UID: g0, Parents: types.NewEntityUIDSet(all)},
		resource: {UID: resource, Attributes: types.NewRecord(types.RecordMap{"amount": types.Long(500)})},
	}
	return m, types.Request{
		Principal: user, Action: types.NewEntityUID("Action", "a0"), Resource: resource,
		Context: types.NewRecord(types.RecordMap{"risk": types.Long(1), "supervised": types.True}),
	}
}

func BenchmarkAuthorize(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		bundle := paymentsBundle(b, n)
		set := NewSet(bundle)
		reference := cedar.PolicyMap{}
		for _, r := range bundle.rules {
			reference[types.PolicyID(r.ID)] = r.policy
		}
		entities, req := paymentsRequest()
		b.Run(fmt.Sprintf("indexed/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.Authorize(entities, req)
			}
		})
		b.Run(fmt.Sprintf("cedar-go/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				cedar.Authorize(reference, entities, req)
			}
		})
	}
}

func BenchmarkReads(b *testing.B) {
	set := NewSet(paymentsBundle(b, 1000))
	entities, req := paymentsRequest()
	b.ReportAllocs()
	for b.Loop() {
		set.Authorize(entities, req).Reads()
	}
}

func BenchmarkRecorder(b *testing.B) {
	set := NewSet(paymentsBundle(b, 1000))
	entities, req := paymentsRequest()
	recorder := NewRecorder(nil)
	b.ReportAllocs()
	for b.Loop() {
		recorder.Reset(entities)
		set.Authorize(recorder, req)
		recorder.Reads()
	}
}

func BenchmarkExplain(b *testing.B) {
	bundle := load(b, `permit (principal in group::"g0", action, resource) when { resource.amount < 5 && context.risk < 3 };`)
	entities, req := paymentsRequest()
	b.ReportAllocs()
	for b.Loop() {
		Explain(bundle.rules[0], entities, req)
	}
}
