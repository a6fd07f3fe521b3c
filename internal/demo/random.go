package demo

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

// randomRow is the table's row of what [Random] made.
const randomRow = "random"

// A seat is somebody who plausibly asks, and for what.
type seat struct {
	who  chain
	does []string
}

func sits(who chain, does ...string) seat { return seat{who, does} }

// A field is what random requests of one workflow are made of.
type field struct {
	workflow string
	cast     []seat
	tools    []string
	able     []string // obligations
	resource func(r *rand.Rand, n int, by chain) aver.Party
	context  func(r *rand.Rand, context map[string]any)
}

// Random makes n requests of the demo's kind: valid, but put together at random, so that they meet every sort of outcome
// and error, and combinations that nobody thought of. They refer to what [Setup] registers. The same seed gives the same
// requests.
func Random(seed int64, n int) []*aver.Request {
	r := rand.New(rand.NewPCG(uint64(seed), 0x72616e646f6d))
	out := make([]*aver.Request, n)
	for i := range out {
		out[i] = fields[r.IntN(len(fields))].request(r, i)
	}
	return out
}

// chance is true in percent of all cases.
func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func (f *field) request(r *rand.Rand, n int) *aver.Request {
	at := oneOf(r, f.cast...)
	by, action := at.who, oneOf(r, at.does...)
	switch {
	case chance(r, 5):
		by = oneOf(r, everyChain...)
	case chance(r, 4): // somebody, with the grants of another
		by.actor = oneOf(r, everyActor...)
	case chance(r, 3): // no proof
		by.grants = nil
	}
	switch {
	case chance(r, 8): // what another in the field does
		action = oneOf(r, oneOf(r, f.cast...).does...)
	case chance(r, 2): // what is done elsewhere
		action = oneOf(r, oneOf(r, fields[r.IntN(len(fields))].cast...).does...)
	}
	out := request(by, action, f.resource(r, n, by))
	out.Context["workflow"] = f.workflow
	if len(f.tools) > 0 && chance(r, 60) {
		tool(oneOf(r, f.tools...))(out)
	}
	if chance(r, 85) {
		login(oneOf(r, "pwd", "phr", "phrh", "phrh"), oneOf(r, int64(5), 60, 120, 299, 300, 301, 900, 3601), oneOf(r, "pwd", "hwk", "hwk"))(out)
	}
	if chance(r, 60) {
		saying("device", map[string]any{"managed": chance(r, 80)})(out)
	}
	if len(f.able) > 0 && chance(r, 85) {
		able(f.able...)(out)
	}
	if f.context != nil {
		f.context(r, out.Context)
	}
	if chance(r, 2) { // what some policy counts on is missing
		for _, name := range []string{"amount", "from", "known_beneficiary", "customer", "classification"} {
			delete(out.Resource.Properties, name)
		}
	}
	return out
}

// some adds each of the members with a chance of nine in ten.
func some(r *rand.Rand, context map[string]any, pairs ...any) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if chance(r, 90) {
			context[pairs[i].(string)] = pairs[i+1]
		}
	}
}

var everyChain = []chain{
	byOrchestrator, byPayments, byInvoices, byCopilot, byRemediator, byIdentityApp, byFraudApp, byTriage, bySOC, byAssistant,
	byResearch, byWebReader, threeUses, smallBudget, notHers, broken, looping, tooLong, unknown, revoked, shortLived,
}

var everyActor = []aver.Ref{
	alice, bob, carol, dave, erin, frank, grace, heidi, ivan, judy, kim, mallory, payoutEngine, crmSync, legacyBatch,
	identityConsole, fraudConsole, deployer, secretRotator, siem, fraudScorer, acme, globex, initech, hooli, umbrella,
	orchestrator, paymentsAgent, invoiceReader, supportCopilot, remediator, researchAgent, webReader, socAgent, triageAgent,
	shadowAgent, {Type: "user", ID: "somebody-unknown"},
}

func pick(typ string, ids ...string) func(*rand.Rand, int, chain) aver.Party {
	return func(r *rand.Rand, _ int, _ chain) aver.Party { return registered(typ, oneOf(r, ids...)) }
}

// amounts lie on both sides of every limit that a policy names.
func amount(r *rand.Rand) int64 {
	return oneOf(r, r.Int64N(100_000), 100_000, 100_001, r.Int64N(1_000_000), 1_000_000, 1_000_001, r.Int64N(6_000_000), 5_000_001)
}

func randomPayment(r *rand.Rand, n int, _ chain) aver.Party {
	p := payment(fmt.Sprintf("random-%d", n), amount(r), "currency", oneOf(r, "EUR", "EUR", "EUR", "USD", "JPY"),
		"country", oneOf(r, "DE", "DE", "FR", "FR", "US", "SG", "SY"), "known_beneficiary", chance(r, 85),
		"from", entityValue(aver.Ref{Type: "account", ID: oneOf(r, "eur-operating", "eur-operating", "eur-operating", "usd-operating", "usd-operating", "gbp-legacy", "no-such-account")}))
	if chance(r, 40) {
		p.Properties["created_by"] = entityValue(oneOf(r, alice, bob, mallory))
	}
	return p
}

// randomParts says, now and then, that a request is for several payments.
func randomParts(r *rand.Rand, context map[string]any) {
	if !chance(r, 12) {
		return
	}
	var parts []map[string]any
	for i := range 1 + r.IntN(4) {
		parts = append(parts, part(fmt.Sprintf("item-%d", i), map[string]any{"amount": amount(r), "country": oneOf(r, "DE", "DE", "SY")}))
	}
	list := make([]any, len(parts))
	for i, p := range parts {
		list[i] = p
	}
	context["parts"] = list
}

var fields = []field{
	{
		workflow: workflows[0],
		cast: []seat{
			sits(direct(alice), "payment.create", "payment.read", "payment.submit", "payment.submit"),
			sits(byPayments, "payment.create", "payment.read", "payment.submit", "payment.submit"),
			sits(byPayments, "payment.submit"),
			sits(byOrchestrator, "payment.create", "payment.read", "payment.submit"),
			sits(byInvoices, "payment.create", "payment.read"),
			sits(direct(bob), "payment.read", "payment.release", "payment.release"),
			sits(direct(payoutEngine), "payment.execute"),
			sits(smallBudget, "payment.create", "payment.submit", "payment.read"),
		},
		tools: []string{"bank-gateway", "bank-gateway", "erp", "erp", "mail"}, able: []string{"delay_payout"},
		resource: randomPayment, context: randomParts,
	}, {
		workflow: workflows[1],
		cast: []seat{
			sits(direct(carol), "customer.read", "customer.read", "customer.update", "customer.erase"),
			sits(byCopilot, "customer.read", "customer.read", "customer.update"),
			sits(direct(crmSync), "customer.read"), sits(direct(kim), "customer.contact"), sits(shortLived, "customer.read"),
		},
		tools: []string{"crm"}, able: []string{"mask_fields"},
		resource: pick("customer", customers...),
	}, {
		workflow: workflows[1],
		cast:     []seat{sits(direct(judy), "customer.export"), sits(direct(judy), "customer.export"), sits(direct(carol), "customer.export")},
		resource: func(r *rand.Rand, _ int, _ chain) aver.Party {
			return thing("dataset", "churn-2026", map[string]any{"subject": oneOf(r, "churn", "usage")})
		},
		context: func(r *rand.Rand, context map[string]any) {
			names := []string{"country", "segment", "iban", "tenure", "national_id"}
			r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			context["parts"] = texts(names[:1+r.IntN(len(names))]...)
		},
	}, {
		workflow: workflows[2],
		cast: []seat{
			sits(direct(dave), "service.read"), sits(direct(deployer), "service.deploy"), sits(byRemediator, "service.read", "service.restart"),
			sits(direct(erin), "service.read", "service.restart", "service.deploy", "service.delete", "service.shell"),
		},
		tools: []string{"kubernetes", "kubernetes", "terraform"}, able: []string{"record_session"},
		resource: pick("service", "payments-api", "payments-api", "ledger", "payments-api-staging", "ledger-staging", "nobody-registered-it"),
		context: func(r *rand.Rand, context map[string]any) {
			some(r, context, "change", "CHG-1", "change_freeze", chance(r, 20))
		},
	}, {
		workflow: workflows[3],
		cast: []seat{
			sits(direct(frank), "role.assign", "role.remove"), sits(byIdentityApp, "role.assign", "role.remove"),
			sits(direct(erin), "role.activate"), sits(direct(dave), "role.activate"),
		},
		able:     []string{"limit_session"},
		resource: pick("role", "report-viewer", "domain-admin", "database-owner"),
		context: func(r *rand.Rand, context map[string]any) {
			some(r, context, "assignee", entityValue(oneOf(r, dave, erin, frank, judy)))
		},
	}, {
		workflow: workflows[3],
		cast:     []seat{sits(direct(secretRotator), "secret.rotate"), sits(direct(ivan), "secret.rotate", "secret.read"), sits(byAssistant, "secret.read")},
		resource: pick("secret", "ledger-database", "card-vault", "root-ca"),
	}, {
		workflow: workflows[4],
		cast: []seat{
			sits(direct(acme), "payout.create", "balance.read"), sits(direct(globex), "payout.create", "balance.read"),
			sits(direct(initech), "payout.create", "balance.read"), sits(direct(grace), "balance.read"),
		},
		able: []string{"round_amounts"},
		resource: func(r *rand.Rand, _ int, by chain) aver.Party {
			own := map[aver.Ref]string{acme: "acme-settlement", globex: "globex-payroll", initech: "initech-test"}[by.actor]
			if own == "" || chance(r, 15) {
				own = oneOf(r, "acme-settlement", "globex-payroll", "initech-test", "gbp-legacy")
			}
			return registered("account", own)
		},
		context: func(r *rand.Rand, context map[string]any) {
			some(r, context, "amount", amount(r)*10, "client_certificate", "dGh1bWJwcmludA")
		},
	}, {
		workflow: workflows[5],
		cast: []seat{
			sits(direct(hooli), "connector.push", "connector.pull"), sits(direct(hooli), "connector.pull"),
			sits(direct(umbrella), "connector.push", "connector.pull"),
		},
		able:     []string{"pseudonymise"},
		resource: pick("connector", "hooli-contacts", "hooli-contacts", "hooli-statistics", "hooli-statistics", "umbrella-usage"),
		context: func(r *rand.Rand, context map[string]any) {
			some(r, context, "region", oneOf(r, "eu", "eu", "eu", "us"), "records", r.Int64N(12_000), "signed", chance(r, 85))
			if chance(r, 20) {
				context["parts"] = []any{part("c-1", map[string]any{"consent": chance(r, 70)}), part("c-2", map[string]any{"consent": chance(r, 70)})}
			}
		},
	}, {
		workflow: workflows[6],
		cast: []seat{
			sits(direct(judy), "tool.invoke"), sits(byAssistant, "tool.invoke"), sits(byResearch, "tool.invoke"),
			sits(byWebReader, "tool.invoke"),
		},
		resource: pick("tool", "web-search", "web-search", "web-search", "vector-store", "mail"),
		context: func(r *rand.Rand, context map[string]any) {
			some(r, context, "untrusted_content", chance(r, 30))
		},
	}, {
		workflow: workflows[6],
		cast: []seat{
			sits(direct(judy), "document.read"), sits(byAssistant, "document.read"), sits(byResearch, "document.read"),
			sits(byWebReader, "document.read"), sits(tooLong, "document.read"),
		},
		able: []string{"no_retention"},
		resource: func(r *rand.Rand, n int, _ chain) aver.Party {
			return thing("document", fmt.Sprintf("random-%d", n), map[string]any{"classification": oneOf(r, "public", "internal", "confidential", "secret")})
		},
	}, {
		workflow: workflows[6],
		cast:     []seat{sits(direct(judy), "workflow.start"), sits(byAssistant, "workflow.start"), sits(direct(orchestrator), "workflow.start")},
		resource: pick("workflow", "quarterly-report", "monthly-close"),
	}, {
		workflow: workflows[6],
		cast:     []seat{sits(direct(judy), "message.send"), sits(byAssistant, "message.send"), sits(byResearch, "message.send")},
		tools:    []string{"mail"},
		resource: pick("channel", "press", "finance-team"),
	}, {
		workflow: workflows[7],
		cast: []seat{
			sits(direct(ivan), "firewall.update", "firewall.update", "alert.suppress", "events.read", "audit.disable"),
			sits(direct(siem), "events.read"), sits(bySOC, "alert.suppress", "events.read"), sits(direct(dave), "events.read"),
		},
		tools: []string{"siem"}, able: []string{"expire"},
		resource: pick("security_setting", "edge-firewall", "alert-4711", "audit-trail"),
		context: func(r *rand.Rand, context map[string]any) {
			some(r, context, "address", extension("ip", oneOf(r, "10.20.0.7", "10.255.0.1", "203.0.113.9")),
				"source", extension("ip", oneOf(r, "10.20.0.0/16", "10.20.0.0/16", "0.0.0.0/0")))
		},
	}, {
		workflow: workflows[8],
		cast: []seat{
			sits(direct(heidi), "transaction.hold", "transaction.release"), sits(byFraudApp, "transaction.hold", "transaction.release"),
			sits(byTriage, "transaction.hold"), sits(direct(fraudScorer), "transaction.hold"),
		},
		tools: []string{"case-manager"}, able: []string{"notify_adviser"},
		resource: func(r *rand.Rand, n int, _ chain) aver.Party {
			return transaction(fmt.Sprintf("random-%d", n), amount(r), oneOf(r, customers...))
		},
		context: func(r *rand.Rand, context map[string]any) {
			some(r, context, "risk_score", r.Int64N(1001))
		},
	}, {
		workflow: workflows[8],
		cast:     []seat{sits(direct(heidi), "case.read", "case.decide"), sits(byFraudApp, "case.read", "case.decide"), sits(byTriage, "case.read")},
		resource: pick("fraud_case", "case-1001", "case-1001", "case-1002", "case-unknown"),
	},
}

// sendRandom sends the random requests that were asked for, in batches.
func (d *demonstration) sendRandom(ctx context.Context, pep *client.Client, seen *tally) error {
	if d.o.Requests <= 0 {
		return nil
	}
	const batch = 250
	d.say("  %d random requests …\n", d.o.Requests)
	counts := map[aver.Outcome]int{}
	seen.byOutcome[randomRow] = counts
	rest := Random(d.o.Seed, d.o.Requests)
	for len(rest) > 0 {
		n := min(batch, len(rest))
		answers, err := pep.DecideBatch(ctx, client.ExecuteAll, rest[:n]...)
		if err != nil {
			return fmt.Errorf("random requests: %w", err)
		}
		for _, a := range answers {
			if a.Err != nil {
				seen.failures = append(seen.failures, fmt.Sprintf("random request %s: %v", a.EvaluationID, a.Err))
			}
			counts[a.Outcome]++
			seen.decisions++
			seen.last = a.EvaluationID
		}
		rest = rest[n:]
	}
	return nil
}
