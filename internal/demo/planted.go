package demo

import (
	"time"

	"github.com/aver-authz/aver"
)

// plant is a control gap that the demo leaves behind on purpose.
type plant struct {
	rule, subject string        // as aver gaps names them
	by            string        // what plants it
	after         time.Duration // that has to pass before it is one
}

// planted are all of them. aver gaps finds these in what a demo without random requests leaves, and nothing else.
var planted = []plant{
	{"no-owner", shadowAgent.String(), "an agent that nobody registered asks", 0},
	{"no-owner", aver.Ref{Type: "api_client", ID: "stark-tools"}.String(), "a partner that nobody registered asks", 0},

	{"conflicting-duties", orchestrator.String(), "Alice lets it do all of `payment.*`, releasing what it creates included", 0},
	{"conflicting-duties", paymentsAgent.String(), "and so does Judy, who may not pay at all", 0},

	{"hop-without-grant", paymentsAgent.String(), "it names Alice and shows no grant, then one that was never issued", 0},
	{"hop-without-grant", invoiceReader.String(), "it shows a chain with a hop left out", 0},
	{"hop-without-grant", orchestrator.String(), "it shows a chain that leads back to it", 0},
	{"hop-without-grant", researchAgent.String(), "it names Judy and shows no grant", 0},
	{"chain-too-deep", invoiceReader.String(), "it shows a fourth hop", 0},
	{"revoked-grant", "g-bob-payments", "it is shown after Bob revoked it", 0},
	{"expired-grant", "g-holiday-cover", "it is shown after it expired", 0},
	{"no-chain", shadowAgent.String(), "it acts on nobody's authority", 0},
	{"no-chain", supportCopilot.String(), "it acts on nobody's authority", 0},
	{"ended-authority", paymentsAgent.String(), "the scene *lapse*", 0},

	{"orphan-activity", "northwind-gateway", "the scene *orphan*", 0},
	{"no-outcome", "northwind-gateway", "outside of the scenes it never says what became of what it let through; an hour later that is a gap", time.Hour},

	{"review-overdue", "x-night-call", "the scene *overdue*", 0},
	{"instant-approval", "x-night-call", "Dave approves at once", 0},
	{"instant-approval", "x-rollback", "Dave approves at once: nobody wants to wait in a demo", 0},
}
