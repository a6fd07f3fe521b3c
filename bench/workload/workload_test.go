package workload

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"go.yaml.in/yaml/v3"
)

// The Cedar rules and the rules in Go, which are the yardstick for all targets, say the same.
func TestCedarAgreesWithTheRules(t *testing.T) {
	const policies = 30
	set := cedar.NewPolicySet()
	for name, text := range Cedar(policies) {
		list, err := cedar.NewPolicyListFromBytes(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != RulesPerKind {
			t.Errorf("%s has %d policies, want %d", name, len(list), RulesPerKind)
		}
		for i, p := range list {
			set.Add(cedar.PolicyID(fmt.Sprintf("%s#%d", name, i)), p)
		}
	}
	seen := map[string]int{}
	for _, c := range Checks(5000, Options{Seed: 1, Policies: policies}) {
		who := PersonAt(c.Who)
		principal, resource := cedar.NewEntityUID("user", cedar.String(who.Login)), cedar.NewEntityUID(cedar.EntityType(KindName(c.Kind)), cedar.String(c.Payment.ID))
		entities := cedar.EntityMap{
			principal: {UID: principal, Parents: groups(who), Attributes: record(t, who.Attributes())},
			resource: {UID: resource, Attributes: record(t, map[string]any{
				"department": c.Payment.Department, "country": c.Payment.Country, "currency": c.Payment.Currency,
				"created_by": c.Payment.CreatedBy, "amount": c.Payment.Amount, "frozen": c.Payment.Frozen,
			})},
		}
		got, diag := cedar.Authorize(set, entities, cedar.Request{Principal: principal, Action: cedar.NewEntityUID("Action", cedar.String(c.Action)), Resource: resource})
		if bool(got) != c.Allowed() || len(diag.Errors) > 0 {
			t.Fatalf("%+v: Cedar says %t (%v), the rules say %t", c, got, diag, c.Allowed())
		}
		seen[fmt.Sprintf("%s %t", c.Action, c.Allowed())]++
	}
	for _, action := range []string{Create, Read, Approve, Cancel, Export} {
		for _, answer := range []string{"true", "false"} {
			if seen[action+" "+answer] == 0 && !(action == Export && answer == "false") { // only auditors ask to export
				t.Errorf("no check was %s %s, so nothing is compared there", action, answer)
			}
		}
	}
}

func groups(p Person) cedar.EntityUIDSet {
	var list []cedar.EntityUID
	for _, g := range p.Groups() {
		list = append(list, cedar.NewEntityUID("group", cedar.String(g)))
	}
	return cedar.NewEntityUIDSet(list...)
}

func record(t *testing.T, v map[string]any) cedar.Record {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var r cedar.Record
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCheckMixIsBalanced(t *testing.T) {
	checks := Checks(10_000, Options{Seed: 7, Policies: 1000})
	allowed, kinds := 0, map[int]bool{}
	for i, c := range checks {
		if c.Allowed() {
			allowed++
		}
		kinds[c.Kind] = true
		if c.Who != checks[i-i%Group].Who {
			t.Fatalf("check %d is asked by somebody else than the rest of its group", i)
		}
	}
	if share := float64(allowed) / float64(len(checks)); share < 0.45 || share > 0.8 {
		t.Errorf("%.0f %% of the checks are allowed", 100*share)
	}
	if len(kinds) != 100 {
		t.Errorf("%d of 100 kinds are asked about", len(kinds))
	}
}

func TestChecksFollowFromTheSeed(t *testing.T) {
	first, again, other := Checks(100, Options{Seed: 3, Policies: 10}), Checks(100, Options{Seed: 3, Policies: 10}), Checks(100, Options{Seed: 4, Policies: 10})
	same := 0
	for i := range first {
		if first[i] != again[i] {
			t.Fatalf("check %d differs between two runs with one seed", i)
		}
		if first[i] == other[i] {
			same++
		}
	}
	if same == len(first) {
		t.Error("another seed gives the same checks")
	}
}

// Every language has all rules of every kind. That they mean the same is tested against the real engines by the
// benchmark itself, before it measures.
func TestAllLanguagesHaveAllRules(t *testing.T) {
	const policies = 20
	rego := Rego(policies)
	cerbos := Cerbos(policies)
	for i := range policies / RulesPerKind {
		var doc struct {
			Policy struct {
				Resource string `yaml:"resource"`
				Rules    []struct {
					Name   string `yaml:"name"`
					Effect string `yaml:"effect"`
				} `yaml:"rules"`
			} `yaml:"resourcePolicy"`
		}
		if err := yaml.Unmarshal([]byte(cerbos[KindName(i)+".yaml"]), &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Policy.Resource != KindName(i) || len(doc.Policy.Rules) != RulesPerKind {
			t.Errorf("Cerbos: %+v", doc)
		}
	}
	for _, r := range rules {
		if n := strings.Count(rego, "# "+r.reason+"\n"); n != 2*len(r.actions) {
			t.Errorf("Rego has %q %d times, want once for each of two kinds and %d actions", r.name, n, len(r.actions))
		}
	}
}
