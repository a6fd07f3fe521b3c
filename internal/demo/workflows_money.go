package demo

import (
	"context"
	"slices"
	"time"

	"github.com/aver-authz/aver"
)

func (s *script) payments() {
	checked := "the payment agent submits a checked invoice over 10,000.00"
	s.expect(aver.Escalated, aver.ReasonEscalate, checked, byPayments, "payment.submit",
		payment("invoice-7781", 1_250_000, "iban", "FR7630006000011234567890189", "country", "FR"),
		login("phr", 120, "hwk"), tool("bank-gateway"))
	s.routine(60, func(pick int) {
		id, small := s.id("pay"), s.between(1_000, 99_900)
		switch {
		case pick < 30:
			s.permit("a clerk submits a small payment", direct(alice), "payment.submit", payment(id, small), login("pwd", s.between(5, 20_000), "pwd"))
		case pick < 50:
			s.permit("the payment agent submits a small payment", byPayments, "payment.submit", payment(id, small), tool("bank-gateway"))
		case pick < 65:
			s.permit("the invoice reader drafts a payment", byInvoices, "payment.create", payment(id, s.between(1_000, 200_000)), tool("erp"))
		case pick < 75:
			s.permit("the orchestrator looks at a payment", byOrchestrator, "payment.read", payment(id, small), tool("erp"))
		case pick < 90:
			s.permit("the payout engine executes a payment", direct(payoutEngine), "payment.execute", payment(id, s.between(1_000, 9_000_000)), tool("bank-gateway"))
		default:
			s.permit("treasury releases a payment", direct(bob), "payment.release",
				payment(id, s.between(100_001, 900_000), "created_by", entityValue(alice)), login("phr", s.between(1, 300), "hwk"))
		}
	})
	s.expect(aver.Escalated, aver.ReasonEscalate, "a clerk submits a large payment", direct(alice), "payment.submit",
		payment(s.id("pay"), 2_400_000), login("phr", 45, "hwk"))
	s.expect(aver.Challenged, aver.ReasonChallenge, "a password is not enough over 1,000.00", direct(alice), "payment.submit",
		payment(s.id("pay"), 250_000), login("pwd", 45, "pwd"))
	s.expect(aver.Challenged, aver.ReasonChallenge, "an agent does not get past what its person would have to prove", byPayments, "payment.submit",
		payment(s.id("pay"), 250_000), login("phr", 900, "hwk"), tool("bank-gateway"))
	s.expect(aver.Restricted, aver.ReasonRestrict, "a first payment is held back by who can", direct(alice), "payment.submit",
		payment(s.id("pay"), 45_000, "known_beneficiary", false), able("delay_payout"))
	s.expect(aver.Denied, aver.ReasonUnsupported, "and refused to who can't hold it back", direct(alice), "payment.submit",
		payment(s.id("pay"), 45_000, "known_beneficiary", false))
	s.expect(aver.PartiallyAuthorized, aver.ReasonPartsDiffer, "a batch of three, one of them under sanctions", byPayments, "payment.submit",
		payment("batch-31", 0), tool("bank-gateway"), inParts(
			part("salary-june", map[string]any{"amount": int64(90_000)}),
			part("office-rent", map[string]any{"amount": int64(64_000)}),
			part("unknown-vendor", map[string]any{"amount": int64(12_000), "country": "SY"})))
	s.expect(aver.PartiallyAuthorized, aver.ReasonPartsDiffer, "a batch of two, one of them to be approved", direct(alice), "payment.submit",
		payment("batch-32", 0), login("phr", 30, "hwk"), inParts(
			part("parts", map[string]any{"amount": int64(90_000)}),
			part("machine", map[string]any{"amount": int64(4_500_000)})))

	denied := func(code aver.ReasonCode, shows string, by chain, action string, resource aver.Party, with ...option) {
		s.expect(aver.Denied, code, shows, by, action, resource, with...)
	}
	denied(aver.ReasonForbidden, "a payment to a country under sanctions", direct(alice), "payment.submit", payment(s.id("pay"), 5_000, "country", "KP"))
	denied(aver.ReasonForbidden, "a payment from a frozen account", direct(alice), "payment.submit",
		payment(s.id("pay"), 5_000, "currency", "GBP", "from", entityValue(aver.Ref{Type: "account", ID: "gbp-legacy"})))
	denied(aver.ReasonForbidden, "an agent over its ceiling", byPayments, "payment.submit", payment(s.id("pay"), 6_000_000),
		login("phr", 20, "hwk"), tool("bank-gateway"))
	denied(aver.ReasonForbidden, "somebody releases what they created", direct(bob), "payment.release",
		payment(s.id("pay"), 60_000, "created_by", entityValue(bob)))
	denied(aver.ReasonForbidden, "an agent uses a tool it is not registered for", byPayments, "payment.submit", payment(s.id("pay"), 5_000), tool("mail"))
	denied(aver.ReasonForbidden, "an agent says whom it acts for and shows no grant", chain{origin: alice, actor: paymentsAgent}, "payment.submit", payment(s.id("pay"), 5_000))
	denied(aver.ReasonForbidden, "an agent that nobody registered", direct(shadowAgent), "payment.submit", payment(s.id("pay"), 5_000))
	denied(aver.ReasonGrantScope, "a currency outside of the grant's condition", byPayments, "payment.submit", payment(s.id("pay"), 5_000, "currency", "JPY"))
	denied(aver.ReasonGrantScope, "an amount outside of the third hop's condition", byInvoices, "payment.create", payment(s.id("pay"), 250_000), tool("erp"))
	denied(aver.ReasonGrantScope, "an action that was not passed on to the third hop", byInvoices, "payment.submit", payment(s.id("pay"), 5_000), tool("erp"))
	denied(aver.ReasonNotPermitted, "a grant of what its giver may not do", notHers, "payment.submit", payment(s.id("pay"), 5_000))
	denied(aver.ReasonChainBroken, "a chain with a hop left out", broken, "payment.create", payment(s.id("pay"), 5_000))
	denied(aver.ReasonChainLoop, "a chain that leads back", looping, "payment.submit", payment(s.id("pay"), 5_000))
	denied(aver.ReasonGrantUnknown, "a grant that was never issued", unknown, "payment.submit", payment(s.id("pay"), 5_000))

	for range 3 {
		s.permit("one of three uses", threeUses, "payment.read", payment(s.id("pay"), 5_000))
	}
	denied(aver.ReasonLimit, "the fourth of three uses", threeUses, "payment.read", payment(s.id("pay"), 5_000))
	s.permit("900.00 of 1,500.00", smallBudget, "payment.submit", payment(s.id("pay"), 90_000))
	denied(aver.ReasonLimit, "700.00 of the 600.00 that are left", smallBudget, "payment.submit", payment(s.id("pay"), 70_000))
	s.permit("the 600.00 that are left", smallBudget, "payment.submit", payment(s.id("pay"), 60_000))

	s.permit("a grant that still stands", revoked, "payment.read", payment(s.id("pay"), 5_000))
	s.do("Bob revokes it", func(ctx context.Context, o *office) error {
		_, err := o.RevokeGrant(ctx, "g-bob-payments", "no longer needed")
		return err
	})
	denied(aver.ReasonGrantRevoked, "the grant after it was revoked", revoked, "payment.read", payment(s.id("pay"), 5_000))

	s.permit("Mallory submits a payment", direct(mallory), "payment.submit", payment(s.id("pay"), 5_000))
	s.do("Mallory is suspended", func(ctx context.Context, o *office) error {
		_, err := o.SuspendIdentity(ctx, mallory, "leaves the company")
		return err
	})
	denied(aver.ReasonForbidden, "Mallory, suspended", direct(mallory), "payment.submit", payment(s.id("pay"), 5_000))

	s.refused("a grant that reaches further than its parent", func(ctx context.Context, o *office) error {
		_, err := o.IssueGrant(ctx, aver.Grant{
			ID: "g-widened", From: orchestrator, To: paymentsAgent, Parent: "g-alice-orchestrator",
			Actions: []string{"payment.submit", "customer.read"}, Resources: []aver.ResourceScope{{Type: "payment"}},
		}, "asks for more")
		return err
	})
	s.refused("a grant that outlives its parent", func(ctx context.Context, o *office) error {
		_, err := o.IssueGrant(ctx, aver.Grant{
			ID: "g-outliving", From: orchestrator, To: paymentsAgent, Parent: "g-alice-orchestrator",
			Actions: []string{"payment.submit"}, Resources: []aver.ResourceScope{{Type: "payment"}},
			Expires: aver.TimeOf(time.Now().AddDate(1, 0, 0)),
		}, "asks for longer")
		return err
	})
	s.refused("a machine that nobody answers for", func(ctx context.Context, o *office) error {
		_, err := o.RegisterIdentity(ctx, aver.Identity{Ref: shadowAgent, Kind: aver.AIAgent, Purpose: "does things"}, "it is there already")
		return err
	})
	s.do("the purpose of the old ledger's batch ends shortly", func(ctx context.Context, o *office) error {
		all := identities(time.Now())
		i := all[slices.IndexFunc(all, func(i aver.Identity) bool { return i.Ref == legacyBatch })]
		i.Expires = o.shortly()
		_, err := o.PutIdentity(ctx, i, "the old ledger is switched off")
		return err
	})
	s.permit("the old ledger's batch prepares a payment", direct(legacyBatch), "payment.create", payment(s.id("pay"), 5_000))
	s.batches++
	s.batch = s.batches
	s.permit("a request in a batch", direct(alice), "payment.read", payment(s.id("pay"), 5_000))
	denied(aver.ReasonInvalid, "another in the same batch that names no resource", direct(alice), "payment.read", aver.Party{})
	s.batch = 0
}

func (s *script) partners() {
	mtls := saying("client_certificate", "dGh1bWJwcmludC1vZi1wYXJ0bmVy")
	own := map[aver.Ref]aver.Party{
		acme: registered("account", "acme-settlement"), globex: registered("account", "globex-payroll"), initech: registered("account", "initech-test"),
	}
	s.routine(40, func(pick int) {
		partner := oneOf(s.rng, acme, globex)
		switch {
		case pick < 60:
			s.permit("a partner pays out", direct(partner), "payout.create", own[partner], saying("amount", s.between(10_000, 25_000_000)), mtls)
		case pick < 80:
			s.permit("a partner reads its balance", direct(partner), "balance.read", own[partner], mtls)
		case pick < 90:
			s.permit("a partner manager reads a balance", direct(grace), "balance.read", own[partner])
		default:
			s.expect(aver.Restricted, aver.ReasonRestrict, "the sandbox sees rounded balances", direct(initech), "balance.read", own[initech], able("round_amounts"))
		}
	})
	s.expect(aver.Escalated, aver.ReasonEscalate, "a payout over 250,000.00", direct(acme), "payout.create", own[acme], saying("amount", int64(31_000_000)), mtls)
	s.expect(aver.Escalated, aver.ReasonEscalate, "a payroll over 250,000.00", direct(globex), "payout.create", own[globex], saying("amount", int64(88_000_000)), mtls)
	s.expect(aver.Challenged, aver.ReasonChallenge, "a payout without the client certificate", direct(acme), "payout.create", own[acme], saying("amount", int64(40_000)))
	s.expect(aver.Denied, aver.ReasonUnsupported, "a gateway that can't round", direct(initech), "balance.read", own[initech])
	s.expect(aver.Denied, aver.ReasonForbidden, "a payout from the sandbox", direct(initech), "payout.create", own[initech], saying("amount", int64(100)), mtls)
	s.expect(aver.Denied, aver.ReasonNotPermitted, "a payout from another partner's account", direct(globex), "payout.create", own[acme], saying("amount", int64(40_000)), mtls)
	s.expect(aver.Denied, aver.ReasonNotPermitted, "the balance of another partner", direct(acme), "balance.read", own[globex], mtls)
	s.expect(aver.Denied, aver.ReasonForbidden, "a partner that nobody registered", direct(aver.Ref{Type: "api_client", ID: "stark-tools"}), "balance.read", own[acme])
}

func (s *script) fraud() {
	score := func(n int64) option { return saying("risk_score", n) }
	amount := func() int64 { return s.between(1_000, 400_000) }
	s.routine(40, func(pick int) {
		customer := oneOf(s.rng, customers...)
		hold := func(by chain, shows string, n int64, with ...option) {
			of := transaction(s.id("tx"), amount(), customer)
			if private(customer) {
				s.expect(aver.Restricted, aver.ReasonRestrict, shows+", of a private client", by, "transaction.hold", of, append(with, score(n), able("notify_adviser"))...)
			} else {
				s.permit(shows, by, "transaction.hold", of, append(with, score(n))...)
			}
		}
		switch {
		case pick < 35:
			hold(direct(fraudScorer), "the scorer holds a transaction", s.between(800, 1000))
		case pick < 55:
			hold(byTriage, "the triage agent holds a transaction", s.between(500, 1000), tool("case-manager"))
		case pick < 75:
			s.permit("an analyst reads a case in the console", byFraudApp, "case.read", registered("fraud_case", oneOf(s.rng, "case-1001", "case-1002")))
		default:
			s.permit("an analyst releases a transaction of low risk", direct(heidi), "transaction.release",
				transaction(s.id("tx"), amount(), customer), score(s.between(0, 699)), onManagedDevice())
		}
	})
	s.permit("an analyst decides a case", byFraudApp, "case.decide", registered("fraud_case", "case-1001"))
	s.expect(aver.Denied, aver.ReasonForbidden, "an analyst decides a case she opened, through the console", byFraudApp, "case.decide", registered("fraud_case", "case-1002"))
	s.expect(aver.Escalated, aver.ReasonEscalate, "a release of high risk", direct(heidi), "transaction.release",
		transaction(s.id("tx"), amount(), "c-2001"), score(810), onManagedDevice())
	s.expect(aver.Escalated, aver.ReasonEscalate, "a release of high risk in the console", byFraudApp, "transaction.release",
		transaction(s.id("tx"), amount(), "c-2002"), score(905), onManagedDevice())
	s.expect(aver.Challenged, aver.ReasonChallenge, "a release from a device of her own", direct(heidi), "transaction.release",
		transaction(s.id("tx"), amount(), "c-2001"), score(200))
	s.expect(aver.Denied, aver.ReasonForbidden, "the release of what is certainly fraud", direct(heidi), "transaction.release",
		transaction(s.id("tx"), amount(), "c-2001"), score(980), onManagedDevice())
	s.expect(aver.Denied, aver.ReasonPolicyError, "a release without the score that policies need", direct(heidi), "transaction.release",
		transaction(s.id("tx"), amount(), "c-2001"), onManagedDevice())
	s.expect(aver.Denied, aver.ReasonNotPermitted, "the scorer holds what is hardly risky", direct(fraudScorer), "transaction.hold",
		transaction(s.id("tx"), amount(), "c-2001"), score(420))
	s.expect(aver.Denied, aver.ReasonGrantScope, "the triage agent holds an amount outside of its grant", byTriage, "transaction.hold",
		transaction(s.id("tx"), 900_000, "c-2001"), score(870), tool("case-manager"))
}

// whatExpired asks again for what was permitted before, after it ended.
func (s *script) whatExpired() {
	s.workflow = workflows[0]
	s.steps = append(s.steps, step{workflow: s.workflow, shows: "the short-lived ones expire", wait: true})
	s.expect(aver.Denied, aver.ReasonForbidden, "the old ledger's batch after its purpose ended", direct(legacyBatch), "payment.create", payment(s.id("pay"), 5_000))
	s.workflow = workflows[1]
	s.expect(aver.Denied, aver.ReasonGrantExpired, "the holiday cover after it ended", shortLived, "customer.read", registered("customer", "c-2001"), tool("crm"))
}
