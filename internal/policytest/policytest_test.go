package policytest_test

import (
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/policytest"
)

func load(t *testing.T, name, policies, tests string) *policy.Bundle {
	t.Helper()
	files := map[string][]byte{"main.cedar": []byte(policies)}
	if tests != "" {
		files["tests/main.yaml"] = []byte(tests)
	}
	b, err := policy.Load(files, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const payments = `
@id("staff-pay") @reason("Staff may pay.")
permit (principal, action == Action::"pay", resource is payment)
when { principal in group::"staff" && resource.amount <= 1000 };

@id("agents-pay")
permit (principal is ai_agent, action == Action::"pay", resource is payment);

@id("second-look") @gate("escalate") @approvers("leads")
forbid (principal, action, resource)
when { resource.amount > 500 && context.aver.now >= datetime("2026-01-01T00:00:00Z") };
`

// The bundles that ship with Aver are tested by the tests that ship with them,
// and each of their policies by at least one.
func TestShippedBundles(t *testing.T) {
	for _, b := range []*policy.Bundle{policy.Baseline(), policy.Administration()} {
		for _, r := range policytest.Run(b) {
			if !r.OK {
				t.Error(r)
			}
		}
		named := map[string]bool{}
		for _, tc := range b.Tests() {
			for _, id := range tc.Reasons {
				named[id] = true
			}
		}
		for _, rule := range b.Policies() {
			if !named[rule.ID] {
				t.Errorf("no test of %s names %s", b.Name(), rule.ID)
			}
		}
	}
}

// A case brings its own identities, entities, grants and time, and each of them
// counts.
func TestCasesBringTheirWorld(t *testing.T) {
	b := load(t, "payments", payments, `
- name: a registered person in the group, for a registered amount
  identities:
    - {type: user, id: alice, kind: human_user, parents: [{type: group, id: staff}]}
  entities:
    - {type: payment, id: p-1, properties: {amount: 400}}
  request: {subject: {type: user, id: alice}, action: {name: pay}, resource: {type: payment, id: p-1, properties: {amount: 999999}}}
  expect: {outcome: permitted, reasons: [staff-pay]}

- name: in 2026 more than 500 need a second look
  identities:
    - {type: user, id: alice, kind: human_user, parents: [{type: group, id: staff}]}
  request: {subject: {type: user, id: alice}, action: {name: pay}, resource: {type: payment, id: p-1, properties: {amount: 600}}}
  expect: {outcome: escalated, reasons: [second-look]}

- name: in 2025 they did not
  now: 2025-12-31T23:59:59Z
  identities:
    - {type: user, id: alice, kind: human_user, parents: [{type: group, id: staff}]}
  request: {subject: {type: user, id: alice}, action: {name: pay}, resource: {type: payment, id: p-1, properties: {amount: 600}}}
  expect: {outcome: permitted}

- name: an agent by a grant that stands
  identities:
    - {type: user, id: alice, kind: human_user, parents: [{type: group, id: staff}]}
    - {type: ai_agent, id: bot, kind: ai_agent, owner: ops, purpose: pay}
  grants:
    - {id: g-1, from: {type: user, id: alice}, to: {type: ai_agent, id: bot}, actions: [pay], resources: [{type: payment}], depth: 0, expires: 2026-02-01T00:00:00Z}
  request: {subject: {type: ai_agent, id: bot}, action: {name: pay}, resource: {type: payment, id: p-1, properties: {amount: 10}}, context: {delegation: [g-1]}}
  expect: {outcome: permitted, reasons: [agents-pay]}

- name: an agent by a grant that was revoked
  identities:
    - {type: user, id: alice, kind: human_user, parents: [{type: group, id: staff}]}
    - {type: ai_agent, id: bot, kind: ai_agent, owner: ops, purpose: pay}
  grants:
    - {id: g-1, from: {type: user, id: alice}, to: {type: ai_agent, id: bot}, actions: [pay], resources: [{type: payment}], depth: 0, revoked: true}
  request: {subject: {type: ai_agent, id: bot}, action: {name: pay}, resource: {type: payment, id: p-1, properties: {amount: 10}}, context: {delegation: [g-1]}}
  expect: {outcome: denied}
`)
	results := policytest.Run(b)
	if len(results) != 5 {
		t.Fatalf("%d results", len(results))
	}
	for _, r := range results {
		if !r.OK {
			t.Error(r)
		}
	}
}

// A failure says what was expected, what came, and why it came.
func TestFailuresSayWhy(t *testing.T) {
	b := load(t, "payments", payments, `
- name: wrong outcome
  request: {subject: {type: user, id: alice}, action: {name: pay}, resource: {type: payment, id: p-1, properties: {amount: 10}}}
  expect: {outcome: permitted}
- name: right outcome for another reason
  request: {subject: {type: ai_agent, id: ghost}, action: {name: pay}, resource: {type: payment, id: p-1, properties: {amount: 10}}}
  expect: {outcome: denied, reasons: [staff-pay]}
- name: a machine without an owner
  identities:
    - {type: user, id: alice, kind: human_user}
    - {type: ai_agent, id: bot, kind: ai_agent}
  request: {subject: {type: user, id: alice}, action: {name: pay}, resource: {type: payment, id: p-1}}
  expect: {outcome: denied}
- name: a member that no grant has
  grants: [{id: g, form: x}]
  request: {subject: {type: user, id: alice}, action: {name: pay}, resource: {type: payment, id: p-1}}
  expect: {outcome: denied}
- name: a request that is none
  request: {subject: alice}
  expect: {outcome: denied}
`)
	want := [][]string{
		{"FAIL  tests/main.yaml:2: wrong outcome", "want permitted", "got  denied", "Because: No policy permits it."},
		{"got  denied (baseline/unregistered-machine)", "Not among the reasons: payments/staff-pay", "Because: Software must be registered"},
		{"identities[1]: identity.registered: a machine identity needs an owner"},
		{"grants[0]: ", `unknown field "form"`},
		{"request: /subject: must be an object"},
	}
	results := policytest.Run(b)
	if policytest.Failed(results) != len(want) {
		t.Errorf("%d failed, want %d", policytest.Failed(results), len(want))
	}
	for i, r := range results {
		for _, text := range want[i] {
			if !strings.Contains(r.String(), text) {
				t.Errorf("%s: no %q in\n%s", r.Name, text, r)
			}
		}
	}
}

// Other bundles are active beside the one under test, and one that is called
// baseline stands in for the one that ships with Aver.
func TestOtherBundles(t *testing.T) {
	b := load(t, "payments", payments, `
- name: unregistered
  request: {subject: {type: ai_agent, id: ghost}, action: {name: pay}, resource: {type: payment, id: p-1, properties: {amount: 10}}}
  expect: {outcome: permitted}
`)
	frozen := load(t, "frozen", `@id("all") forbid (principal, action, resource);`, "")
	lax := load(t, "baseline", `permit (principal, action, resource);`, "")
	for _, c := range []struct {
		others []*policy.Bundle
		got    string
	}{
		{nil, "denied (baseline/unregistered-machine)"},
		{[]*policy.Bundle{lax}, "permitted (baseline/main#1, payments/agents-pay)"},
		{[]*policy.Bundle{lax, frozen}, "denied (frozen/all)"},
	} {
		if r := policytest.Run(b, c.others...)[0]; r.Got != c.got {
			t.Errorf("got %s, want %s", r.Got, c.got)
		}
	}
}
