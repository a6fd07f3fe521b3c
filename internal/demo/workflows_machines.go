package demo

import "github.com/aver-authz/aver"

func (s *script) thirdParties() {
	contacts, statistics := registered("connector", "hooli-contacts"), registered("connector", "hooli-statistics")
	exchange := func(region string, records int64, signed bool, with ...option) []option {
		return append(with, saying("region", region), saying("records", records), saying("signed", signed))
	}
	s.routine(30, func(pick int) {
		switch {
		case pick < 45:
			s.permit("a vendor pushes", direct(hooli), "connector.push", oneOf(s.rng, contacts, statistics), exchange("eu", s.between(1, 2_000), true)...)
		case pick < 80:
			s.permit("a vendor pulls statistics", direct(hooli), "connector.pull", statistics, exchange("eu", s.between(1, 10_000), true)...)
		default:
			s.expect(aver.Restricted, aver.ReasonRestrict, "a vendor pulls contacts under pseudonyms", direct(hooli), "connector.pull", contacts,
				exchange("eu", s.between(1, 10_000), true, able("pseudonymise"))...)
		}
	})
	s.expect(aver.PartiallyAuthorized, aver.ReasonPartsDiffer, "three records, one without consent", direct(hooli), "connector.pull", contacts,
		exchange("eu", 3, true, able("pseudonymise"), inParts(
			part("c-2001", map[string]any{"consent": true}),
			part("c-2002", map[string]any{"consent": true}),
			part("c-2003", map[string]any{"consent": false})))...)
	s.expect(aver.Challenged, aver.ReasonChallenge, "a push without a signature", direct(hooli), "connector.push", statistics, exchange("eu", 20, false)...)
	s.expect(aver.Escalated, aver.ReasonEscalate, "everything at once", direct(hooli), "connector.pull", statistics, exchange("eu", 180_000, true)...)
	s.expect(aver.Denied, aver.ReasonForbidden, "to a data centre elsewhere", direct(hooli), "connector.pull", statistics, exchange("us", 20, true)...)
	s.expect(aver.Denied, aver.ReasonForbidden, "a vendor whose assessment has lapsed", direct(umbrella), "connector.pull",
		registered("connector", "umbrella-usage"), exchange("eu", 20, true)...)
	s.expect(aver.Denied, aver.ReasonNotPermitted, "the connector of another vendor", direct(hooli), "connector.pull",
		registered("connector", "umbrella-usage"), exchange("eu", 20, true)...)
	s.expect(aver.Denied, aver.ReasonUnsupported, "contacts for a caller that can't pseudonymise", direct(hooli), "connector.pull", contacts, exchange("eu", 20, true)...)
	s.expect(aver.Denied, aver.ReasonPolicyError, "nobody says where the data goes", direct(hooli), "connector.pull", statistics,
		saying("records", int64(20)), saying("signed", true))
}

func (s *script) ai() {
	document := func(classification string) aver.Party {
		return thing("document", s.id("doc"), map[string]any{"classification": classification})
	}
	report := registered("workflow", "quarterly-report")
	search, store := registered("tool", "web-search"), registered("tool", "vector-store")
	s.routine(50, func(pick int) {
		switch {
		case pick < 15:
			s.permit("somebody starts a workflow", direct(judy), "workflow.start", report, login("pwd", s.between(1, 3600), "pwd"))
		case pick < 30:
			s.permit("the orchestrator looks something up", byAssistant, "tool.invoke", oneOf(s.rng, search, store))
		case pick < 55:
			s.permit("the research agent searches, two hops away", byResearch, "tool.invoke", oneOf(s.rng, search, store))
		case pick < 75:
			s.permit("the web reader searches, three hops away", byWebReader, "tool.invoke", search, saying("untrusted_content", true))
		case pick < 95:
			s.permit("the research agent reads a document", byResearch, "document.read", document(oneOf(s.rng, "public", "internal")))
		default:
			s.permit("the orchestrator writes to colleagues", byAssistant, "message.send", registered("channel", "finance-team"), tool("mail"))
		}
	})
	s.expect(aver.Challenged, aver.ReasonChallenge, "a workflow two hours after the login", direct(judy), "workflow.start", report, login("pwd", 7200, "pwd"))
	s.expect(aver.Challenged, aver.ReasonChallenge, "and by the orchestrator for her", byAssistant, "workflow.start", report, login("pwd", 7200, "pwd"))
	s.expect(aver.Escalated, aver.ReasonEscalate, "an agent writes to the press", byAssistant, "message.send", registered("channel", "press"), tool("mail"))
	s.expect(aver.Restricted, aver.ReasonRestrict, "a confidential document that the model does not keep", byResearch, "document.read", document("confidential"), able("no_retention"))
	s.expect(aver.Denied, aver.ReasonUnsupported, "one that it would keep", byResearch, "document.read", document("confidential"))
	s.expect(aver.PartiallyAuthorized, aver.ReasonPartsDiffer, "a paper with a secret chapter", byResearch, "document.read", registered("document", "board-paper"), inParts(
		part("summary", map[string]any{"classification": "internal"}),
		part("salaries", map[string]any{"classification": "secret"})))
	s.expect(aver.Denied, aver.ReasonForbidden, "a secret document", byResearch, "document.read", document("secret"))
	s.expect(aver.Denied, aver.ReasonForbidden, "mail, after untrusted content was read", byAssistant, "tool.invoke", registered("tool", "mail"), saying("untrusted_content", true))
	s.expect(aver.Denied, aver.ReasonForbidden, "a tool that the research agent is not registered for", byResearch, "tool.invoke", registered("tool", "mail"))
	s.expect(aver.Denied, aver.ReasonGrantScope, "a tool that was not passed on", byWebReader, "tool.invoke", store)
	s.expect(aver.Denied, aver.ReasonChainTooLong, "a fourth hop", tooLong, "document.read", document("internal"))
	s.expect(aver.Denied, aver.ReasonForbidden, "an agent names a person and shows no grant", chain{origin: judy, actor: researchAgent}, "document.read", document("internal"))
	s.expect(aver.Denied, aver.ReasonForbidden, "an agent that nobody registered", direct(shadowAgent), "tool.invoke", search)
}

func (s *script) security() {
	firewall, alert := registered("security_setting", "edge-firewall"), registered("security_setting", "alert-4711")
	from := func(address string) option { return saying("address", extension("ip", address)) }
	opening := func(network string) option { return saying("source", extension("ip", network)) }
	s.routine(30, func(pick int) {
		switch {
		case pick < 50:
			s.permit("the monitoring reads events", direct(siem), "events.read", oneOf(s.rng, firewall, alert))
		case pick < 75:
			s.permit("the SOC agent reads events", bySOC, "events.read", alert, tool("siem"))
		case pick < 85:
			s.permit("an engineer opens a port to a network of ours", direct(ivan), "firewall.update", firewall,
				from("10.20.0.7"), opening("10.20.0.0/16"), login("phr", s.between(1, 300), "hwk"))
		default:
			s.expect(aver.Restricted, aver.ReasonRestrict, "the SOC agent suppresses an alert for a while", bySOC, "alert.suppress", alert,
				from("10.20.0.9"), tool("siem"), able("expire"))
		}
	})
	s.expect(aver.Challenged, aver.ReasonChallenge, "from a hotel", direct(ivan), "firewall.update", firewall,
		from("203.0.113.9"), opening("10.20.0.0/16"), login("phr", 30, "hwk"))
	s.expect(aver.Challenged, aver.ReasonChallenge, "an hour after the login", direct(ivan), "firewall.update", firewall,
		from("10.20.0.7"), opening("10.20.0.0/16"), login("phr", 3600, "hwk"))
	s.expect(aver.Escalated, aver.ReasonEscalate, "a port for everybody", direct(ivan), "firewall.update", firewall,
		from("10.20.0.7"), opening("0.0.0.0/0"), login("phr", 30, "hwk"))
	s.expect(aver.Denied, aver.ReasonForbidden, "the audit trail is to be turned off", direct(ivan), "audit.disable", registered("security_setting", "audit-trail"), from("10.20.0.7"))
	s.expect(aver.Denied, aver.ReasonUnsupported, "an alert that would never come back", bySOC, "alert.suppress", alert, from("10.20.0.9"), tool("siem"))
	s.expect(aver.Denied, aver.ReasonGrantScope, "the SOC agent changes the firewall", bySOC, "firewall.update", firewall, from("10.20.0.9"), tool("siem"))
	s.expect(aver.Denied, aver.ReasonNotPermitted, "a platform engineer changes the firewall", direct(dave), "firewall.update", firewall, from("10.20.0.8"))
	s.expect(aver.Denied, aver.ReasonPolicyError, "nobody says where the request comes from", direct(ivan), "firewall.update", firewall, login("phr", 30, "hwk"))
}
