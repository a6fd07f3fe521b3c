package api

// route is one line of the table.
type route struct {
	pattern string // of [net/http.ServeMux]
	access  access
	handle  func(*API, *call) error
	quiet   bool // logged at debug level when it succeeds
	tiles   bool // may be configured to be public
	stream  bool // takes as long as the caller stays
	brief   bool // waits for nothing but its record, also when the caller has gone

	// evidence is what the caller does with records and events that the route gives by name: it is decided and recorded
	// before the route is called, with all of the URL. See [API.recordEvidenceAccess] for routes with a body.
	evidence evidenceUse
}

// routes is all that is served. GET patterns answer HEAD as well.
var routes = []route{
	{pattern: "POST " + evaluationPath, access: evaluate, handle: (*API).evaluation, quiet: true, brief: true},
	{pattern: "POST " + evaluationsPath, access: evaluate, handle: (*API).evaluations, quiet: true},
	{pattern: "POST " + searchSubjectPath, access: everybody, handle: (*API).searchSubjects},
	{pattern: "POST " + searchResourcePath, access: everybody, handle: (*API).searchResources},
	{pattern: "POST " + searchActionPath, access: everybody, handle: (*API).searchActions},
	{pattern: "GET /.well-known/authzen-configuration", access: public, handle: (*API).metadata},

	{pattern: "GET /healthz", access: public, handle: (*API).healthz},
	{pattern: "GET /readyz", access: public, handle: (*API).readyz},
	{pattern: "GET /metrics", access: public, handle: (*API).metricsPage},
	{pattern: "GET /v1/openapi.yaml", access: public, handle: (*API).openapi},

	{pattern: "GET /v1/policies", access: read, handle: (*API).listPolicies},
	{pattern: "POST /v1/policies", access: admin, handle: (*API).publishPolicy},
	{pattern: "GET /v1/policies/{name}", access: read, handle: (*API).getPolicy},
	{pattern: "GET /v1/policies/{name}/{digest}", access: read, handle: (*API).getPolicyVersion},
	{pattern: "POST /v1/policies/{name}/activate", access: admin, handle: (*API).activatePolicy},
	{pattern: "POST /v1/policies/{name}/retire", access: admin, handle: (*API).retirePolicy},

	{pattern: "GET /v1/identities", access: read, handle: (*API).listIdentities},
	{pattern: "POST /v1/identities", access: admin, handle: (*API).registerIdentity},
	{pattern: "GET /v1/identities/{type}/{id}", access: read, handle: (*API).getIdentity},
	{pattern: "PUT /v1/identities/{type}/{id}", access: admin, handle: (*API).putIdentity},
	{pattern: "POST /v1/identities/{type}/{id}/suspend", access: admin, handle: (*API).suspendIdentity},
	{pattern: "POST /v1/identities/{type}/{id}/resume", access: admin, handle: (*API).resumeIdentity},
	{pattern: "POST /v1/identities/{type}/{id}/retire", access: admin, handle: (*API).retireIdentity},

	{pattern: "GET /v1/entities", access: read, handle: (*API).listEntities},
	{pattern: "GET /v1/entities/{type}/{id}", access: read, handle: (*API).getEntity},
	{pattern: "PUT /v1/entities/{type}/{id}", access: admin, handle: (*API).putEntity},
	{pattern: "DELETE /v1/entities/{type}/{id}", access: admin, handle: (*API).removeEntity},

	{pattern: "GET /v1/grants", access: read, handle: (*API).listGrants},
	{pattern: "POST /v1/grants", access: admin, handle: (*API).issueGrant},
	{pattern: "GET /v1/grants/{id}", access: read, handle: (*API).getGrant},
	{pattern: "POST /v1/grants/{id}/revoke", access: revoke, handle: (*API).revokeGrant},

	{pattern: "GET /v1/credentials", access: read, handle: (*API).listCredentials},
	{pattern: "POST /v1/credentials", access: admin, handle: (*API).issueCredential},
	{pattern: "POST /v1/credentials/{name}/revoke", access: admin, handle: (*API).revokeCredential},

	{pattern: "POST " + accessRequestsPath, access: evaluate, handle: (*API).requestAccess},
	{pattern: "GET " + accessRequestsPath + "/{id}", access: everybody, handle: (*API).getAccessRequest},
	{pattern: "POST " + accessRequestsPath + "/{id}/cancel", access: evaluate, handle: (*API).cancelAccessRequest},
	{pattern: "GET /v1/approvals", access: approvals, handle: (*API).listApprovals},
	{pattern: "GET /v1/approvals/stream", access: approvals, handle: (*API).approvalStream, stream: true},
	{pattern: "GET /v1/approvals/{id}", access: approvals, handle: (*API).getApproval},
	{pattern: "POST /v1/approvals/{id}/approve", access: answer, handle: (*API).approve},
	{pattern: "POST /v1/approvals/{id}/refuse", access: answer, handle: (*API).refuse},

	{pattern: "GET /v1/duties", access: approvals, handle: (*API).listDuties},
	{pattern: "POST /v1/duties", access: answer, handle: (*API).delegateDuty},
	{pattern: "GET /v1/duties/{id}", access: approvals, handle: (*API).getDuty},
	{pattern: "POST /v1/duties/{id}/revoke", access: answer, handle: (*API).revokeDuty},
	{pattern: "GET /v1/webhooks", access: read, handle: (*API).listWebhooks},

	{pattern: "GET /v1/exceptions", access: approvals, handle: (*API).listExceptions},
	{pattern: "POST /v1/exceptions", access: answer, handle: (*API).requestException},
	{pattern: "GET /v1/exceptions/{id}", access: approvals, handle: (*API).getException},
	{pattern: "POST /v1/exceptions/{id}/approve", access: answer, handle: (*API).approveException},
	{pattern: "POST /v1/exceptions/{id}/reject", access: answer, handle: (*API).rejectException},
	{pattern: "POST /v1/exceptions/{id}/activate", access: answer, handle: (*API).activateException},
	{pattern: "POST /v1/exceptions/{id}/close", access: answer, handle: (*API).closeException},
	{pattern: "POST /v1/exceptions/{id}/review", access: answer, handle: (*API).reviewException},

	{pattern: "GET /v1/signals", access: read, handle: (*API).listSignals},
	{pattern: "POST /v1/signals", access: tell, handle: (*API).receiveSignal},
	{pattern: "POST " + signalsSSFPath, access: public, handle: (*API).receiveEventToken},

	{pattern: "GET /v1/reviews", access: approvals, handle: (*API).listReviews},
	{pattern: "POST /v1/reviews", access: admin, handle: (*API).openReview},
	{pattern: "GET /v1/reviews/due", access: approvals, handle: (*API).listReviewsDue},
	{pattern: "GET /v1/reviews/{id}", access: approvals, handle: (*API).getReview},
	{pattern: "GET /v1/reviews/{id}/rows", access: approvals, handle: (*API).listReviewRows},
	{pattern: "GET /v1/reviews/{id}/rows/{row}", access: approvals, handle: (*API).getReviewRow},
	{pattern: "POST /v1/reviews/{id}/rows/{row}/decide", access: answer, handle: (*API).decideReviewRow},
	{pattern: "POST /v1/reviews/{id}/rows/{row}/remediate", access: answer, handle: (*API).remediateReviewRow},
	{pattern: "POST /v1/reviews/{id}/acknowledge", access: answer, handle: (*API).acknowledgeReview},
	{pattern: "POST /v1/reviews/{id}/close", access: answer, handle: (*API).closeReview},
	{pattern: "POST /v1/policies/{name}/review", access: answer, handle: (*API).reviewPolicy},
	{pattern: "POST /v1/identities/{type}/{id}/review", access: answer, handle: (*API).reviewIdentity},

	{pattern: "GET /v1/retention", access: approvals, handle: (*API).listRetention},
	{pattern: "PUT /v1/retention/{class}", access: admin, handle: (*API).setRetention},
	{pattern: "POST /v1/retention/{class}/approve", access: answer, handle: (*API).approveRetention},
	{pattern: "POST /v1/retention/run", access: admin, handle: (*API).runRetention},
	{pattern: "GET /v1/holds", access: approvals, handle: (*API).listHolds},
	{pattern: "POST /v1/holds", access: admin, handle: (*API).placeHold},
	{pattern: "POST /v1/holds/{id}/release", access: admin, handle: (*API).releaseHold},
	{pattern: "GET /v1/erasures", access: approvals, handle: (*API).listErasures},
	{pattern: "POST /v1/erasures", access: admin, handle: (*API).requestErasure},
	{pattern: "POST /v1/erasures/{id}/approve", access: answer, handle: (*API).approveErasure},
	{pattern: "POST /v1/erasures/{id}/refuse", access: answer, handle: (*API).refuseErasure},
	{pattern: "GET /v1/erased", access: approvals, handle: (*API).listErased},

	{pattern: "GET /v1/decisions", access: read, handle: (*API).decisions, evidence: readsEvidence},
	{pattern: "GET /v1/decisions/count", access: read, handle: (*API).countDecisions, evidence: readsEvidence},
	{pattern: "GET /v1/trail", access: read, handle: (*API).trail, evidence: readsEvidence},
	{pattern: "GET /v1/index", access: read, handle: (*API).indexStatus},
	{pattern: "GET /v1/searches", access: read, handle: (*API).listSearches},
	{pattern: "GET /v1/searches/{name}", access: read, handle: (*API).getSearch},
	{pattern: "PUT /v1/searches/{name}", access: read, handle: (*API).putSearch},
	{pattern: "DELETE /v1/searches/{name}", access: read, handle: (*API).deleteSearch},
	{pattern: "GET /v1/decisions/{id}", access: read, handle: (*API).getDecision, evidence: readsEvidence},
	{pattern: "GET /v1/decisions/{id}/proof", access: read, handle: (*API).proveDecision},
	{pattern: "GET /v1/decisions/{id}/why", access: read, handle: (*API).explainDecision, evidence: readsEvidence},
	{pattern: "GET /v1/decisions/{id}/activities", access: read, handle: (*API).listActivities, evidence: readsEvidence},
	{pattern: "POST /v1/activities", access: evaluate, handle: (*API).reportActivity, quiet: true},
	{pattern: withdrawalsRoute, access: evaluate, handle: (*API).withdrawals, stream: true},
	{pattern: "POST /v1/pep/heartbeat", access: evaluate, handle: (*API).heartbeat, quiet: true},
	{pattern: "GET /v1/reconciliation", access: read, handle: (*API).reconciliation},

	{pattern: "GET /v1/gaps", access: read, handle: (*API).listGaps, evidence: readsEvidence},
	{pattern: "POST /v1/gaps/{id}/accept", access: answer, handle: (*API).acceptGap},
	{pattern: "POST /v1/gaps/{id}/close", access: answer, handle: (*API).closeGap},
	{pattern: "GET /v1/reports/{kind}", access: read, handle: (*API).getReport, evidence: readsEvidence},

	{pattern: "GET /v1/exports", access: read, handle: (*API).export, evidence: exportsEvidence, stream: true},
	{pattern: "GET /v1/populations", access: read, handle: (*API).listPopulations},
	{pattern: "POST /v1/packs", access: read, handle: (*API).makePack, stream: true},

	{pattern: "POST /v1/populations", access: read, handle: (*API).fixPopulation, stream: true},
	{pattern: "GET /v1/populations/{id}", access: read, handle: (*API).getPopulation},
	{pattern: "POST /v1/populations/{id}/sample", access: read, handle: (*API).drawSample, stream: true},

	{pattern: "GET /v1/events", access: read, handle: (*API).listEvents, evidence: readsEvidence},
	{pattern: "GET /v1/events/{index}", access: read, handle: (*API).getEvent, evidence: readsEvidence},
	{pattern: "GET /v1/events/{index}/proof", access: read, handle: (*API).proveEvent},

	{pattern: "GET /v1/log", access: read, handle: (*API).logs},
	{pattern: "GET /v1/log/witnesses", access: read, handle: (*API).logWitnesses},
	{pattern: "GET /v1/log/{log}/entries", access: read, handle: (*API).logEntries, evidence: readsEvidence},
	{pattern: "GET /v1/log/{log}/entries/{index}", access: read, handle: (*API).logEntry, evidence: readsEvidence},
	{pattern: "GET /v1/log/{log}/consistency", access: read, handle: (*API).consistency},

	{pattern: "GET /log/authority/", access: everybody, handle: (*API).authorityTiles, tiles: true},
	{pattern: "GET /log/decisions/", access: everybody, handle: (*API).decisionTiles, tiles: true},
}
