package pdp_test

import (
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

// twoHops is asked by an agent that pays through a chain of two grants.
var twoHops = pay(subJSON, 50, `"delegation":["g1","g2"],"on_behalf_of":`+aliceJSON)

func chainWorld(t testing.TB) *world {
	w := newWorld(t, payPolicies)
	w.agent("bot", nil)
	w.agent("sub", nil)
	w.grant(aver.Grant{ID: "g1", From: alice, To: bot, Depth: 1, Expires: start + 1_000_000_000, Condition: "resource.amount <= 100"})
	w.grant(aver.Grant{ID: "g2", From: bot, To: sub, Parent: "g1", Expires: start + 1_000_000_000})
	return w
}

// A decision with a chain of two grants takes at most about 1,000 bytes before
// compression.
func TestRecordOfAChainIsSmall(t *testing.T) {
	if size := pdp.DecideAndEncode(t, chainWorld(t).st, request(t, twoHops), start+10_000); size > 1000 {
		t.Errorf("the payload has %d bytes", size)
	}
}

// The cost of one decision with its record, apart from the disk: a person who
// pays, and an agent that pays through a chain of two grants.
func BenchmarkDecideAndRecord(b *testing.B) {
	w := chainWorld(b)
	for name, text := range map[string]string{
		"single":  pay(aliceJSON, 50, `"mfa":true,"ip":"10.1.2.3"`),
		"two-hop": twoHops,
	} {
		b.Run(name, func(b *testing.B) {
			bytes := 0
			b.ReportAllocs()
			for b.Loop() {
				v, err := aver.ParseJSON([]byte(text), aver.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				req, err := aver.ParseRequest(v)
				if err != nil {
					b.Fatal(err)
				}
				bytes = pdp.DecideAndEncode(b, w.st, req, start+10_000)
			}
			b.ReportMetric(float64(bytes), "payload-bytes")
		})
	}
}

// The cost of making the record alone, once it is decided.
func BenchmarkRecord(b *testing.B) {
	sensitive := newWorld(b, "")
	sensitive.bundle("name: test\nsensitive: [context.ip, context.email, resource.iban]\n", `permit (principal, action == Action::"pay", resource) when { resource.amount < 100 && context.ip like "10.*" };`)
	limited := newWorld(b, payPolicies)
	limited.agent("bot", nil)
	limited.grant(aver.Grant{ID: "g1", From: alice, To: bot, Limits: &aver.GrantLimits{Uses: 1000, Sums: []aver.SumLimit{{Attribute: "resource.amount", Max: 1000}}}})
	single := pay(aliceJSON, 50, `"mfa":true,"ip":"10.1.2.3"`)
	for _, c := range []struct {
		name, text string
		w          *world
	}{
		{"single", single, chainWorld(b)},
		{"two-hop", twoHops, chainWorld(b)},
		{"limited", pay(botJSON, 50, `"delegation":["g1"]`), limited},
		{"sensitive", single, sensitive},
	} {
		b.Run(c.name, func(b *testing.B) {
			record := pdp.Recording(b, c.w.st, request(b, c.text), start+10_000)
			b.ReportAllocs()
			for b.Loop() {
				record()
			}
		})
	}
}
