package demo

import (
	"time"

	"github.com/aver-authz/aver"
)

// chain is a way in which authority reached a machine: the ids of its grants, from the originating user on.
type chain struct {
	origin aver.Ref
	grants []string
	actor  aver.Ref
}

// The chains that the company works with, one to three hops long.
var (
	byOrchestrator = chain{alice, []string{"g-alice-orchestrator"}, orchestrator}
	byPayments     = chain{alice, []string{"g-alice-orchestrator", "g-orchestrator-payments"}, paymentsAgent}
	byInvoices     = chain{alice, []string{"g-alice-orchestrator", "g-orchestrator-payments", "g-payments-invoices"}, invoiceReader}
	byCopilot      = chain{carol, []string{"g-carol-copilot"}, supportCopilot}
	byRemediator   = chain{erin, []string{"g-erin-remediator"}, remediator}
	byIdentityApp  = chain{frank, []string{"g-frank-console"}, identityConsole}
	byFraudApp     = chain{heidi, []string{"g-heidi-console"}, fraudConsole}
	byTriage       = chain{heidi, []string{"g-heidi-triage"}, triageAgent}
	bySOC          = chain{ivan, []string{"g-ivan-soc"}, socAgent}
	byAssistant    = chain{judy, []string{"g-judy-orchestrator"}, orchestrator}
	byResearch     = chain{judy, []string{"g-judy-orchestrator", "g-orchestrator-research"}, researchAgent}
	byWebReader    = chain{judy, []string{"g-judy-orchestrator", "g-orchestrator-research", "g-research-web"}, webReader}
)

// The chains that something is wrong with, or will be.
var (
	threeUses   = chain{alice, []string{"g-three-uses"}, paymentsAgent}
	smallBudget = chain{alice, []string{"g-small-budget"}, paymentsAgent}
	notHers     = chain{judy, []string{"g-judy-payments"}, paymentsAgent} // Judy may not pay
	broken      = chain{alice, []string{"g-alice-orchestrator", "g-payments-invoices"}, invoiceReader}
	looping     = chain{alice, []string{"g-alice-orchestrator", "g-orchestrator-payments", "g-payments-back"}, orchestrator}
	tooLong     = chain{judy, []string{"g-judy-orchestrator", "g-orchestrator-research", "g-research-web", "g-web-invoices"}, invoiceReader}
	unknown     = chain{alice, []string{"g-never-issued"}, paymentsAgent}
	revoked     = chain{bob, []string{"g-bob-payments"}, paymentsAgent}
	shortLived  = chain{carol, []string{"g-holiday-cover"}, supportCopilot}
)

// grants are what the chains are made of, delegators before those who delegate on.
func grants(now time.Time) []aver.Grant {
	days := func(n int) aver.Time { return aver.TimeOf(now.AddDate(0, 0, n)) }
	all := func(types ...string) []aver.ResourceScope {
		var scopes []aver.ResourceScope
		for _, t := range types {
			scopes = append(scopes, aver.ResourceScope{Type: t})
		}
		return scopes
	}
	work := []string{"workflow.start", "tool.invoke", "document.read", "message.send"}
	workOn := all("workflow", "tool", "document", "channel")
	return []aver.Grant{
		{
			ID: "g-alice-orchestrator", From: alice, To: orchestrator, Actions: []string{"payment.*"}, Resources: all("payment"),
			Purpose: "pay the invoices that Alice has checked", Expires: days(30), Depth: 2, Revokers: []aver.Ref{bob},
			Limits: &aver.GrantLimits{Sums: []aver.SumLimit{{Attribute: "resource.amount", Max: 50_000_000_000}}},
		}, {
			ID: "g-orchestrator-payments", From: orchestrator, To: paymentsAgent, Parent: "g-alice-orchestrator",
			Actions: []string{"payment.create", "payment.read", "payment.submit"}, Resources: all("payment"),
			Condition: `["EUR", "USD"].contains(resource.currency)`, Purpose: "prepare and submit those payments", Expires: days(14), Depth: 1,
		}, {
			ID: "g-payments-invoices", From: paymentsAgent, To: invoiceReader, Parent: "g-orchestrator-payments",
			Actions: []string{"payment.create", "payment.read"}, Resources: all("payment"),
			Condition: "resource.amount <= 200000", Purpose: "draft payments from invoices", Expires: days(7),
		},
		{
			ID: "g-carol-copilot", From: carol, To: supportCopilot, Actions: []string{"customer.read", "customer.update"},
			Resources: all("customer"), Purpose: "help Carol answer customers", Expires: days(30),
		}, {
			ID: "g-erin-remediator", From: erin, To: remediator, Actions: []string{"service.read", "service.restart"},
			Resources: all("service"), Purpose: "restart what hangs while Erin is on call", Expires: days(7),
			Limits: &aver.GrantLimits{Uses: 100_000},
		}, {
			ID: "g-frank-console", From: frank, To: identityConsole, Actions: []string{"role.*"}, Resources: all("role"),
			Purpose: "Frank's session in the identity console", Expires: days(1),
		}, {
			ID: "g-heidi-console", From: heidi, To: fraudConsole, Actions: []string{"case.*", "transaction.*"},
			Resources: all("fraud_case", "transaction"), Purpose: "Heidi's session in the fraud console", Expires: days(1),
		}, {
			ID: "g-heidi-triage", From: heidi, To: triageAgent, Actions: []string{"case.read", "transaction.hold"},
			Resources: all("fraud_case", "transaction"), Condition: "resource is fraud_case || resource.amount < 500000",
			Purpose: "hold what looks like fraud until Heidi has seen it", Expires: days(7),
		}, {
			ID: "g-ivan-soc", From: ivan, To: socAgent, Actions: []string{"alert.suppress", "events.read"},
			Resources: all("security_setting"), Purpose: "sort alerts on Ivan's shift", Expires: days(1),
		},
		{
			ID: "g-judy-orchestrator", From: judy, To: orchestrator, Actions: work, Resources: workOn,
			Purpose: "prepare the quarterly report", Expires: days(14), Depth: 2,
		}, {
			ID: "g-orchestrator-research", From: orchestrator, To: researchAgent, Parent: "g-judy-orchestrator",
			Actions: []string{"tool.invoke", "document.read"}, Resources: all("tool", "document"),
			Purpose: "find sources for the report", Expires: days(14), Depth: 1,
		}, {
			ID: "g-research-web", From: researchAgent, To: webReader, Parent: "g-orchestrator-research",
			Actions: []string{"tool.invoke", "document.read"}, Resources: []aver.ResourceScope{{Type: "document"}, {Type: "tool", ID: "web-search"}},
			Purpose: "read those on the web", Expires: days(7),
		},

		{
			ID: "g-three-uses", From: alice, To: paymentsAgent, Actions: []string{"payment.read"}, Resources: all("payment"),
			Purpose: "look at three payments", Expires: days(1), Limits: &aver.GrantLimits{Uses: 3},
		}, {
			ID: "g-small-budget", From: alice, To: paymentsAgent, Actions: []string{"payment.submit"}, Resources: all("payment"),
			Purpose: "buy office supplies for 1,500.00", Expires: days(1),
			Limits: &aver.GrantLimits{Sums: []aver.SumLimit{{Attribute: "resource.amount", Max: 150_000}}},
		}, {
			ID: "g-judy-payments", From: judy, To: paymentsAgent, Actions: []string{"payment.*"}, Resources: all("payment"),
			Purpose: "pay, which Judy may not do herself", Expires: days(1),
		}, {
			ID: "g-payments-back", From: paymentsAgent, To: orchestrator, Actions: []string{"payment.submit"}, Resources: all("payment"),
			Purpose: "ask back who asked", Expires: days(1), Depth: 1,
		}, {
			ID: "g-web-invoices", From: webReader, To: invoiceReader, Actions: []string{"document.read"}, Resources: all("document"),
			Purpose: "pass on what may not be passed on", Expires: days(1),
		}, {
			ID: "g-bob-payments", From: bob, To: paymentsAgent, Actions: []string{"payment.read"}, Resources: all("payment"),
			Purpose: "show Bob what is due", Expires: days(30),
		},
	}
}
