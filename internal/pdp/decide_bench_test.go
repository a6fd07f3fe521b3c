package pdp_test

import (
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

// paymentPolicies are ten of an organisation's policies, of which four can match
// a clerk who creates a payment.
const paymentPolicies = `
@reason("Clerks create payments of their department up to 10,000.")
permit (principal in group::"clerks", action == Action::"create", resource is payment)
when { principal.department == resource.department && resource.amount <= 1000000 };
permit (principal in group::"managers", action == Action::"create", resource is payment)
when { principal.department == resource.department && resource.amount <= 100000000 };
permit (principal in group::"staff", action == Action::"read", resource is payment)
when { principal.department == resource.department };
permit (principal in group::"auditors", action in [Action::"read", Action::"export"], resource is payment);
permit (principal in group::"managers", action == Action::"approve", resource is payment)
when { principal.department == resource.department && resource.created_by != principal.login };
permit (principal, action == Action::"cancel", resource is payment) when { resource.created_by == principal.login };
forbid (principal, action in [Action::"create", Action::"approve"], resource is payment)
when { ["KP", "IR", "SY"].contains(resource.country) };
forbid (principal, action == Action::"create", resource is payment)
when { !["EUR", "USD", "GBP"].contains(resource.currency) };
forbid (principal, action in [Action::"create", Action::"approve", Action::"cancel"], resource is payment)
when { resource.frozen };
forbid (principal, action == Action::"approve", resource is payment) when { resource.amount > 500000000 };
`

// paymentWorld has a clerk, and an agent that creates payments on the clerk's
// behalf by way of another.
func paymentWorld(t testing.TB) *world {
	w := newWorld(t, paymentPolicies)
	w.do(aver.EventIdentityRegistered, aver.Identity{
		Ref: alice, Kind: aver.HumanUser, Properties: aver.Properties{"department": "d-1", "login": "alice", "role": "clerk"},
		Parents: []aver.Ref{{Type: "group", ID: "clerks"}, {Type: "group", ID: "staff"}},
	})
	clerk := aver.Properties{"department": "d-1", "login": "alice"}
	for _, id := range []string{"bot", "sub"} {
		w.do(aver.EventIdentityRegistered, aver.Identity{
			Ref: aver.Ref{Type: "ai_agent", ID: id}, Kind: aver.AIAgent, Owner: "ops", Purpose: "pay", Properties: clerk,
			Parents: []aver.Ref{{Type: "group", ID: "clerks"}},
		})
	}
	w.grant(aver.Grant{ID: "g1", From: alice, To: bot, Depth: 1, Expires: start + 1_000_000_000, Actions: []string{"create*"}})
	w.grant(aver.Grant{ID: "g2", From: bot, To: sub, Parent: "g1", Expires: start + 1_000_000_000, Actions: []string{"create"}})
	return w
}

func createPayment(subject, context string) string {
	return `{"subject":` + subject + `,"action":{"name":"create"},"resource":{"type":"payment","id":"p-1","properties":{"department":"d-1",
		"country":"DE","currency":"EUR","created_by":"bob","amount":5000,"frozen":false}},"context":{"channel":"api"` + context + `}}`
}

// The cost of deciding alone: the request is parsed, the record is not made.
func BenchmarkDecide(b *testing.B) {
	w := paymentWorld(b)
	for name, text := range map[string]string{
		"single":  createPayment(aliceJSON, ""),
		"two-hop": createPayment(subJSON, `,"delegation":["g1","g2"],"on_behalf_of":`+aliceJSON),
		"forbid":  strings.Replace(createPayment(aliceJSON, ""), "EUR", "XAU", 1),
	} {
		req := request(b, text)
		if d := w.decide(text); d.Outcome.Allowed() != (name != "forbid") {
			b.Fatalf("%s: %+v", name, d)
		}
		b.Run(name+"/query", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				pdp.NewQuery(req)
			}
		})
		b.Run(name+"/decide", func(b *testing.B) {
			q := pdp.NewQuery(req)
			b.ReportAllocs()
			for b.Loop() {
				pdp.Decide(w.st, q, start+10_000, nil)
			}
		})
	}
}
