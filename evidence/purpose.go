package evidence

// Purposes are the uses that packs are made for (requirement K1), in the order
// of the requirement. The text stands in the manifest and at the head of the
// page.
var Purposes = []Purpose{
	{"risk-assessment", "Risk assessment: which authority was exercised, by whom, under which policies, and what stood in the way."},
	{"compliance-audit", "Independent compliance audit: decisions to be tested against the policies and controls that governed them, without relying on the audited party."},
	{"customer-assurance", "Customer assurance review: how access to what a customer entrusted was decided, and that the record of it is whole."},
	{"third-party-risk", "Third-party risk assessment: what partners, integrations and machine identities were allowed, on whose authority."},
	{"resilience-test", "Resilience test: that decisions made before, during and after a disruption were recorded, can be proved, and can be decided again."},
	{"incident-investigation", "Incident investigation: what an identity, agent or session was allowed to do and did, in order, and whether its authority held throughout."},
	{"regulatory-examination", "Regulatory examination: decisions with their governing policies, approvals and exceptions, checkable without the operator."},
}

// PurposeByID finds one of [Purposes].
func PurposeByID(id string) (Purpose, bool) {
	for _, p := range Purposes {
		if p.ID == id {
			return p, true
		}
	}
	return Purpose{}, false
}
