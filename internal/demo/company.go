package demo

import (
	"time"

	"github.com/aver-authz/aver"
)

// The people and machines of Northwind Pay.
var (
	alice   = aver.Ref{Type: "user", ID: "alice"}   // accounts payable
	bob     = aver.Ref{Type: "user", ID: "bob"}     // treasury
	carol   = aver.Ref{Type: "user", ID: "carol"}   // customer support
	dave    = aver.Ref{Type: "user", ID: "dave"}    // platform engineer
	erin    = aver.Ref{Type: "user", ID: "erin"}    // platform engineer on call
	frank   = aver.Ref{Type: "user", ID: "frank"}   // identity administrator
	grace   = aver.Ref{Type: "user", ID: "grace"}   // partner manager
	heidi   = aver.Ref{Type: "user", ID: "heidi"}   // fraud analyst
	ivan    = aver.Ref{Type: "user", ID: "ivan"}    // security engineer
	judy    = aver.Ref{Type: "user", ID: "judy"}    // analyst
	kim     = aver.Ref{Type: "user", ID: "kim"}     // marketing
	mallory = aver.Ref{Type: "user", ID: "mallory"} // accounts payable, until the demo suspends her

	payoutEngine = aver.Ref{Type: "service_account", ID: "payout-engine"}
	crmSync      = aver.Ref{Type: "service_account", ID: "crm-sync"}
	legacyBatch  = aver.Ref{Type: "service_account", ID: "legacy-batch"}

	identityConsole = aver.Ref{Type: "application", ID: "identity-console"}
	fraudConsole    = aver.Ref{Type: "application", ID: "fraud-console"}

	deployer      = aver.Ref{Type: "workload", ID: "deployer"}
	secretRotator = aver.Ref{Type: "workload", ID: "secret-rotator"}
	siem          = aver.Ref{Type: "workload", ID: "siem"}
	fraudScorer   = aver.Ref{Type: "workload", ID: "fraud-scorer"}

	acme     = aver.Ref{Type: "api_client", ID: "acme-marketplace"}
	globex   = aver.Ref{Type: "api_client", ID: "globex-payroll"}
	initech  = aver.Ref{Type: "api_client", ID: "initech-sandbox"}
	hooli    = aver.Ref{Type: "api_client", ID: "hooli-crm"}
	umbrella = aver.Ref{Type: "api_client", ID: "umbrella-analytics"}

	orchestrator   = aver.Ref{Type: "ai_agent", ID: "orchestrator"}
	paymentsAgent  = aver.Ref{Type: "ai_agent", ID: "payments-agent"}
	invoiceReader  = aver.Ref{Type: "ai_agent", ID: "invoice-reader"}
	supportCopilot = aver.Ref{Type: "ai_agent", ID: "support-copilot"}
	remediator     = aver.Ref{Type: "ai_agent", ID: "cloud-remediator"}
	researchAgent  = aver.Ref{Type: "ai_agent", ID: "research-agent"}
	webReader      = aver.Ref{Type: "ai_agent", ID: "web-reader"}
	socAgent       = aver.Ref{Type: "ai_agent", ID: "soc-agent"}
	triageAgent    = aver.Ref{Type: "ai_agent", ID: "fraud-triage"}

	shadowAgent = aver.Ref{Type: "ai_agent", ID: "shadow-bot"} // nobody registered it
)

func group(id string) aver.Ref { return aver.Ref{Type: "group", ID: id} }

// entityValue is a reference to an entity within properties, as Cedar's JSON writes it.
func entityValue(r aver.Ref) map[string]any {
	return map[string]any{"__entity": map[string]any{"type": r.Type, "id": r.ID}}
}

// extension is a value of one of Cedar's extension types: datetime, ip.
func extension(fn, arg string) map[string]any {
	return map[string]any{"__extn": map[string]any{"fn": fn, "arg": arg}}
}

func in(groups ...string) []aver.Ref {
	var parents []aver.Ref
	for _, g := range groups {
		parents = append(parents, group(g))
	}
	return parents
}

// identities are all who are registered. Dates are counted from now.
func identities(now time.Time) []aver.Identity {
	days := func(n int) aver.Time { return aver.TimeOf(now.AddDate(0, 0, n)) }
	person := func(r aver.Ref, name string, groups ...string) aver.Identity {
		return aver.Identity{Ref: r, Kind: aver.HumanUser, Name: name, Owner: "people-operations", ReviewBy: days(180), Parents: in(groups...)}
	}
	machine := func(r aver.Ref, owner, purpose string, tools []string, groups ...string) aver.Identity {
		i := aver.Identity{
			Ref: r, Kind: aver.KindOfType(r.Type), Owner: owner, Purpose: purpose,
			Expires: days(365), ReviewBy: days(90), Parents: in(groups...),
		}
		if tools != nil {
			i.Tools = &tools
		}
		return i
	}
	partner := func(r aver.Ref, purpose string, properties aver.Properties, groups ...string) aver.Identity {
		i := machine(r, "partner-management", purpose, nil, groups...)
		i.Properties = properties
		return i
	}
	assessed := func(days int) aver.Properties {
		return aver.Properties{"assessed_until": extension("datetime", now.AddDate(0, 0, days).UTC().Format(time.DateOnly))}
	}
	return []aver.Identity{
		person(alice, "Alice Moreau", "accounts-payable"),
		person(bob, "Bob Tanaka", "treasury", "treasury-leads"),
		person(carol, "Carol Nguyen", "customer-support"),
		person(dave, "Dave Okafor", "platform-engineers", "platform-leads"),
		person(erin, "Erin Fischer", "platform-engineers", "on-call"),
		person(frank, "Frank Silva", "identity-admins"),
		person(grace, "Grace Lindqvist", "partner-managers"),
		person(heidi, "Heidi Rossi", "fraud-analysts"),
		person(ivan, "Ivan Petrov", "security-engineers", "security-leads"),
		person(judy, "Judy Kim", "analysts"),
		person(kim, "Kim Larsen", "marketing"),
		person(mallory, "Mallory Keane", "accounts-payable"),

		machine(payoutEngine, "treasury", "executes released payments at the bank", []string{"bank-gateway"}),
		machine(crmSync, "customer-support", "copies customers' records into the CRM", nil),
		machine(legacyBatch, "finance-systems", "prepares the payments of the old ledger until it is switched off", nil, "accounts-payable"),

		machine(identityConsole, "security", "lets identity administrators assign roles", nil),
		machine(fraudConsole, "fraud-operations", "lets fraud analysts decide cases", nil),

		machine(deployer, "platform", "deploys what the pipeline built", nil),
		machine(secretRotator, "security", "rotates secrets on schedule", nil),
		machine(siem, "security", "collects and correlates security events", nil),
		machine(fraudScorer, "fraud-operations", "scores transactions and holds those of high risk", nil),

		partner(acme, "pays out the sellers of a marketplace", nil, "partners"),
		partner(globex, "pays salaries", nil, "partners"),
		partner(initech, "tries out the partner API", aver.Properties{"tier": "sandbox"}, "partners"),
		partner(hooli, "keeps our sales contacts", assessed(200), "vendors"),
		partner(umbrella, "reports how the product is used", assessed(-30), "vendors"),

		machine(orchestrator, "ai-platform", "splits what a person asks for among other agents",
			[]string{"bank-gateway", "erp", "mail", "vector-store", "web-search"}, "payment-agents", "workflow-agents"),
		machine(paymentsAgent, "finance-systems", "prepares and submits payments", []string{"bank-gateway", "erp"}, "payment-agents"),
		machine(invoiceReader, "finance-systems", "reads invoices and drafts payments from them", []string{"erp"}, "payment-agents"),
		machine(supportCopilot, "customer-support", "looks things up for people in support", []string{"crm"}, "support-agents"),
		machine(remediator, "platform", "restarts services that hang", []string{"kubernetes"}, "cloud-agents"),
		machine(researchAgent, "ai-platform", "gathers and summarises documents", []string{"vector-store", "web-search"}, "workflow-agents"),
		machine(webReader, "ai-platform", "reads pages of the web", []string{"web-search"}, "workflow-agents"),
		machine(socAgent, "security", "sorts alerts for the engineer on duty", []string{"siem"}, "security-agents"),
		machine(triageAgent, "fraud-operations", "sorts fraud cases for the analyst on duty", []string{"case-manager"}, "fraud-agents"),
	}
}

// entities are the registered facts about everything that does not act.
func entities() []aver.Entity {
	list := []aver.Entity{{Ref: group("staff")}}
	for _, team := range []string{
		"accounts-payable", "analysts", "customer-support", "fraud-analysts", "identity-admins", "marketing",
		"on-call", "partner-managers", "platform-engineers", "security-engineers", "treasury",
	} {
		list = append(list, aver.Entity{Ref: group(team), Parents: in("staff")})
	}
	for _, lead := range []struct{ leads, of string }{
		{"fraud-leads", "fraud-analysts"}, {"platform-leads", "platform-engineers"}, {"security-leads", "security-engineers"},
		{"treasury-leads", "treasury"}, {"ai-oversight", "staff"}, {"data-protection", "staff"}, {"third-party-risk", "staff"},
	} {
		list = append(list, aver.Entity{Ref: group(lead.leads), Parents: in(lead.of)})
	}
	for _, software := range []string{
		"cloud-agents", "fraud-agents", "partners", "payment-agents", "security-agents", "support-agents", "vendors", "workflow-agents",
	} {
		list = append(list, aver.Entity{Ref: group(software)})
	}
	put := func(typ, id string, p aver.Properties, parents ...aver.Ref) {
		list = append(list, aver.Entity{Ref: aver.Ref{Type: typ, ID: id}, Properties: p, Parents: parents})
	}
	account := func(id, status, currency string, partner aver.Ref) {
		p := aver.Properties{"status": status, "currency": currency}
		if !partner.IsZero() {
			p["partner"] = entityValue(partner)
		}
		put("account", id, p)
	}
	account("eur-operating", "open", "EUR", aver.Ref{})
	account("usd-operating", "open", "USD", aver.Ref{})
	account("gbp-legacy", "frozen", "GBP", aver.Ref{})
	account("acme-settlement", "open", "EUR", acme)
	account("globex-payroll", "open", "USD", globex)
	account("initech-test", "open", "EUR", initech)

	production, staging := aver.Ref{Type: "environment", ID: "production"}, aver.Ref{Type: "environment", ID: "staging"}
	put("service", "payments-api", nil, production)
	put("service", "ledger", nil, production)
	put("service", "payments-api-staging", nil, staging)
	put("service", "ledger-staging", nil, staging)

	put("role", "domain-admin", aver.Properties{"privileged": true})
	put("role", "database-owner", aver.Properties{"privileged": true})
	put("role", "report-viewer", aver.Properties{"privileged": false})
	put("secret", "ledger-database", aver.Properties{"rotates": true})
	put("secret", "card-vault", aver.Properties{"rotates": true})
	put("secret", "root-ca", aver.Properties{"rotates": false})

	for i, id := range customers {
		tier := "standard"
		if i%4 == 3 {
			tier = "private"
		}
		put("customer", id, aver.Properties{"tier": tier, "consent": i%3 != 2})
	}
	put("connector", "hooli-contacts", aver.Properties{"vendor": entityValue(hooli), "data": "personal"})
	put("connector", "hooli-statistics", aver.Properties{"vendor": entityValue(hooli), "data": "aggregate"})
	put("connector", "umbrella-usage", aver.Properties{"vendor": entityValue(umbrella), "data": "aggregate"})

	put("tool", "web-search", aver.Properties{"side_effects": false})
	put("tool", "vector-store", aver.Properties{"side_effects": false})
	put("tool", "mail", aver.Properties{"side_effects": true})
	put("channel", "finance-team", aver.Properties{"external": false})
	put("channel", "press", aver.Properties{"external": true})

	put("security_setting", "edge-firewall", aver.Properties{"scope": "network"})
	put("security_setting", "alert-4711", aver.Properties{"scope": "alerts"})
	put("security_setting", "audit-trail", aver.Properties{"scope": "audit"})

	put("fraud_case", "case-1001", aver.Properties{"opened_by": entityValue(carol)})
	put("fraud_case", "case-1002", aver.Properties{"opened_by": entityValue(heidi)})
	return list
}

// customers are registered; every fourth is a private client, every third did not agree to be contacted.
var customers = []string{"c-2001", "c-2002", "c-2003", "c-2004", "c-2005", "c-2006", "c-2007", "c-2008"}
