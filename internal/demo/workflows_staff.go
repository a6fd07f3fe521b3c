package demo

import (
	"context"

	"github.com/aver-authz/aver"
)

func (s *script) customerData() {
	s.do("Carol lets the copilot stand in while she is away, shortly", func(ctx context.Context, o *office) error {
		_, err := o.IssueGrant(ctx, aver.Grant{
			ID: shortLived.grants[0], From: carol, To: supportCopilot, Actions: []string{"customer.read"},
			Resources: []aver.ResourceScope{{Type: "customer"}}, Purpose: "answer while Carol is away", Expires: o.shortly(),
		}, "holiday")
		return err
	})
	s.permit("the copilot while it stands in", shortLived, "customer.read", registered("customer", "c-2001"), tool("crm"))
	read := func(by chain, shows, customer string, with ...option) {
		of := registered("customer", customer)
		if private(customer) {
			s.expect(aver.Restricted, aver.ReasonRestrict, shows+", a private client masked", by, "customer.read", of, append(with, able("mask_fields"))...)
		} else {
			s.permit(shows, by, "customer.read", of, with...)
		}
	}
	s.routine(50, func(pick int) {
		customer := oneOf(s.rng, customers...)
		switch {
		case pick < 30:
			read(direct(carol), "support reads a customer", customer)
		case pick < 60:
			read(byCopilot, "the copilot reads a customer", customer, tool("crm"))
		case pick < 75:
			read(direct(crmSync), "the CRM is brought up to date", customer)
		case pick < 85 && consents(customer):
			s.permit("marketing contacts a customer", direct(kim), "customer.contact", registered("customer", customer))
		default:
			s.permit("support updates a customer", direct(carol), "customer.update", registered("customer", customer), onManagedDevice())
		}
	})
	set := thing("dataset", "churn-2026", map[string]any{"subject": "churn"})
	fields := func(names ...string) option { return saying("parts", texts(names...)) }
	s.permit("an export without identifiers", direct(judy), "customer.export", set, onManagedDevice(), fields("country", "segment", "tenure"))
	s.expect(aver.PartiallyAuthorized, aver.ReasonPartsDiffer, "an export with an account number in it", direct(judy), "customer.export", set,
		onManagedDevice(), fields("country", "segment", "iban"))
	s.expect(aver.PartiallyAuthorized, aver.ReasonPartsDiffer, "an export with birthdays in it", direct(judy), "customer.export", set,
		onManagedDevice(), fields("segment", "date_of_birth"))
	s.expect(aver.Denied, aver.ReasonPartsNone, "an export of identifiers alone", direct(judy), "customer.export", set,
		onManagedDevice(), fields("iban", "national_id"))
	s.expect(aver.Challenged, aver.ReasonChallenge, "an export from a device of her own", direct(judy), "customer.export", set)
	s.expect(aver.Challenged, aver.ReasonChallenge, "an update from a device of her own", direct(carol), "customer.update", registered("customer", "c-2001"))
	s.expect(aver.Challenged, aver.ReasonChallenge, "the copilot updates for somebody on such a device", byCopilot, "customer.update",
		registered("customer", "c-2002"), tool("crm"))
	s.expect(aver.Escalated, aver.ReasonEscalate, "a customer asks to be erased", direct(carol), "customer.erase", registered("customer", "c-2005"), onManagedDevice())
	s.expect(aver.Denied, aver.ReasonUnsupported, "a private client for a caller that can't mask", direct(carol), "customer.read", registered("customer", "c-2004"))
	s.expect(aver.Denied, aver.ReasonForbidden, "marketing to somebody who did not agree", direct(kim), "customer.contact", registered("customer", "c-2003"))
	s.expect(aver.Denied, aver.ReasonForbidden, "the caller says the customer agreed; what is registered counts", direct(kim), "customer.contact",
		thing("customer", "c-2006", map[string]any{"consent": true}))
	s.expect(aver.Denied, aver.ReasonNotPermitted, "an engineer reads a customer", direct(dave), "customer.read", registered("customer", "c-2001"))
	s.expect(aver.Denied, aver.ReasonNotPermitted, "the copilot reads for nobody", direct(supportCopilot), "customer.read", registered("customer", "c-2001"), tool("crm"))
	s.expect(aver.Denied, aver.ReasonGrantScope, "the copilot erases a customer", byCopilot, "customer.erase", registered("customer", "c-2001"), tool("crm"), onManagedDevice())
	s.do("the copilot is suspended", func(ctx context.Context, o *office) error {
		_, err := o.SuspendIdentity(ctx, supportCopilot, "answers strangely")
		return err
	})
	s.expect(aver.Denied, aver.ReasonForbidden, "the copilot, suspended", byCopilot, "customer.read", registered("customer", "c-2001"), tool("crm"))
	s.do("the copilot is resumed", func(ctx context.Context, o *office) error {
		_, err := o.ResumeIdentity(ctx, supportCopilot, "it was a fault of the data")
		return err
	})
	s.permit("the copilot, resumed", byCopilot, "customer.read", registered("customer", "c-2001"), tool("crm"))
}

func (s *script) cloud() {
	api, ledger := registered("service", "payments-api"), registered("service", "ledger")
	change := func() option { return saying("change", s.id("CHG")) }
	s.routine(40, func(pick int) {
		service := oneOf(s.rng, api, ledger)
		switch {
		case pick < 35:
			s.permit("an engineer works in staging", direct(dave), oneOf(s.rng, "service.deploy", "service.restart", "service.read"),
				registered("service", oneOf(s.rng, "payments-api-staging", "ledger-staging")))
		case pick < 50:
			s.permit("an engineer reads production", direct(dave), "service.read", service)
		case pick < 75:
			s.permit("the deployer deploys an approved change", direct(deployer), "service.deploy", service, change())
		case pick < 95:
			s.permit("the remediation agent restarts a service", byRemediator, "service.restart", service, tool("kubernetes"))
		default:
			s.permit("who is on call restarts a service", direct(erin), "service.restart", service)
		}
	})
	s.expect(aver.Challenged, aver.ReasonChallenge, "a deployment without an approved change", direct(deployer), "service.deploy", api)
	s.expect(aver.Challenged, aver.ReasonChallenge, "and by hand", direct(erin), "service.deploy", ledger)
	s.expect(aver.Escalated, aver.ReasonEscalate, "a deletion in production", direct(erin), "service.delete", ledger)
	s.expect(aver.Restricted, aver.ReasonRestrict, "a shell in production, recorded", direct(erin), "service.shell", ledger, able("record_session"))
	s.expect(aver.Denied, aver.ReasonUnsupported, "a shell that can't be recorded", direct(erin), "service.shell", ledger)
	s.expect(aver.Denied, aver.ReasonForbidden, "a deployment during the freeze", direct(deployer), "service.deploy", api, change(), saying("change_freeze", true))
	s.expect(aver.Denied, aver.ReasonForbidden, "a deletion during the freeze", direct(erin), "service.delete", ledger, saying("change_freeze", true))
	s.expect(aver.Denied, aver.ReasonNotPermitted, "an engineer who is not on call restarts production", direct(dave), "service.restart", api)
	s.expect(aver.Denied, aver.ReasonNotPermitted, "the deployer deletes", direct(deployer), "service.delete", ledger)
	s.expect(aver.Denied, aver.ReasonGrantScope, "the remediation agent deletes", byRemediator, "service.delete", api, tool("kubernetes"))
	s.expect(aver.Denied, aver.ReasonForbidden, "the remediation agent with another tool", byRemediator, "service.restart", api, tool("terraform"))
}

func (s *script) privileged() {
	viewer, admin := registered("role", "report-viewer"), registered("role", "domain-admin")
	to := func(r aver.Ref) option { return saying("assignee", entityValue(r)) }
	hardware := func() option { return login("phrh", s.between(1, 600), "hwk", "pin") }
	s.routine(30, func(pick int) {
		colleague := oneOf(s.rng, alice, carol, dave, heidi, judy, kim)
		switch {
		case pick < 20:
			s.permit("an administrator assigns a role", direct(frank), "role.assign", viewer, to(colleague))
		case pick < 45:
			s.permit("an administrator assigns a role in the console", byIdentityApp, "role.assign", viewer, to(colleague))
		case pick < 55:
			s.permit("an administrator removes a role in the console", byIdentityApp, "role.remove", oneOf(s.rng, viewer, admin), to(colleague))
		case pick < 85:
			s.permit("a secret is rotated on schedule", direct(secretRotator), "secret.rotate", registered("secret", oneOf(s.rng, "ledger-database", "card-vault")))
		case pick < 95:
			s.expect(aver.Restricted, aver.ReasonRestrict, "who is on call activates a role for an hour", direct(erin), "role.activate",
				registered("role", "database-owner"), hardware(), able("limit_session"))
		default:
			s.permit("a security engineer reads a secret", direct(ivan), "secret.read", registered("secret", "root-ca"))
		}
	})
	s.expect(aver.Escalated, aver.ReasonEscalate, "a privileged role is assigned", direct(frank), "role.assign", admin, to(dave), hardware())
	s.expect(aver.Escalated, aver.ReasonEscalate, "and in the console", byIdentityApp, "role.assign", registered("role", "database-owner"), to(erin), hardware())
	s.expect(aver.Challenged, aver.ReasonChallenge, "a privileged role with a password", direct(frank), "role.assign", admin, to(dave), login("pwd", 30, "pwd"))
	s.expect(aver.Challenged, aver.ReasonChallenge, "a role is activated an hour after the login", direct(erin), "role.activate",
		registered("role", "database-owner"), login("phrh", 3600, "hwk"), able("limit_session"))
	s.expect(aver.Denied, aver.ReasonUnsupported, "a session that can't be limited", direct(erin), "role.activate", registered("role", "database-owner"), hardware())
	s.expect(aver.Denied, aver.ReasonForbidden, "an administrator gives himself a role, through the console", byIdentityApp, "role.assign", viewer, to(frank))
	s.expect(aver.Denied, aver.ReasonForbidden, "an agent asks for a secret", byAssistant, "secret.read", registered("secret", "card-vault"))
	s.expect(aver.Denied, aver.ReasonNotPermitted, "an engineer assigns a role", direct(dave), "role.assign", viewer, to(judy))
	s.expect(aver.Denied, aver.ReasonNotPermitted, "the rotator rotates what does not rotate", direct(secretRotator), "secret.rotate", registered("secret", "root-ca"))
	s.expect(aver.Denied, aver.ReasonNotPermitted, "the console acts by itself", direct(identityConsole), "role.assign", viewer, to(dave))
	s.expect(aver.Denied, aver.ReasonPolicyError, "nobody says to whom a role is to be assigned", direct(frank), "role.assign", viewer)
}
