package gaps

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/aver-authz/aver"
)

// Rule is one thing that is looked for.
type Rule struct {
	Gap      string        // I1 to I5
	Name     string        // part of the ids of its findings, so it never changes
	Severity aver.Severity // the worst that it finds
	Title    string        // what it finds, in a few words
}

// The rules of I1: shared machine identities.
var (
	sharedCredential = Rule{"I1", "shared-credential", aver.SeverityHigh, "one credential used from several workloads or environments"}
	sharedIdentity   = Rule{"I1", "shared-identity", aver.SeverityHigh, "one machine identity acting from several workloads or environments"}
	overlapping      = Rule{"I1", "overlapping-sessions", aver.SeverityMedium, "sessions of one machine identity that overlap"}
	humanOnMachine   = Rule{"I1", "human-on-machine", aver.SeverityHigh, "a person signing in on a machine identity"}
	noOwner          = Rule{"I1", "no-owner", aver.SeverityHigh, "a machine identity for which nobody answers"}
	noRotation       = Rule{"I1", "no-rotation", aver.SeverityMedium, "a credential or key that is not rotated"}
)

// The rules of I2: excessive permissions.
var (
	unusedScope      = Rule{"I2", "unused-scope", aver.SeverityLow, "a grant that gives more than is used"}
	unusedTools      = Rule{"I2", "unused-tools", aver.SeverityLow, "tools that a machine identity may use and does not"}
	idleGrant        = Rule{"I2", "idle-grant", aver.SeverityHigh, "a grant that nobody uses"}
	idleIdentity     = Rule{"I2", "idle-identity", aver.SeverityHigh, "a machine identity that does nothing"}
	privilegedUnused = Rule{"I2", "privileged-unused", aver.SeverityHigh, "privileged authority that nobody uses"}
	wildcardUnused   = Rule{"I2", "wildcard-unused", aver.SeverityMedium, "a wildcard of which little is used"}
	limitsUnused     = Rule{"I2", "limits-unused", aver.SeverityLow, "limits far above what is used"}
	conflictingHeld  = Rule{"I2", "conflicting-duties", aver.SeverityHigh, "conflicting duties held together, or across chains"}
	conflictingUsed  = Rule{"I2", "duties-exercised", aver.SeverityCritical, "conflicting duties exercised on one resource"}
)

// The rules of I3: missing delegation.
var (
	noChain        = Rule{"I3", "no-chain", aver.SeverityHigh, "an agent that acts on nobody's authority"}
	hopWithout     = Rule{"I3", "hop-without-grant", aver.SeverityCritical, "acting for somebody without a grant that joins the two"}
	expiredGrant   = Rule{"I3", "expired-grant", aver.SeverityCritical, "a grant used after its end, or tried"}
	revokedGrant   = Rule{"I3", "revoked-grant", aver.SeverityCritical, "a grant used after its revocation, or tried"}
	beyondGrant    = Rule{"I3", "beyond-grant", aver.SeverityCritical, "a grant wider than its parent, or requests outside of it"}
	chainTooDeep   = Rule{"I3", "chain-too-deep", aver.SeverityMedium, "a chain longer than it may be"}
	purposeMissing = Rule{"I3", "purpose-missing", aver.SeverityMedium, "a grant that does not say what it is for"}
	endedAuthority = Rule{"I3", "ended-authority", aver.SeverityHigh, "work begun or completed after its authority had ended"}
)

// The rules of I4: decisions apart from activities.
var (
	orphanActivity  = Rule{"I4", "orphan-activity", aver.SeverityCritical, "an activity without a decision"}
	afterDenial     = Rule{"I4", "after-denial", aver.SeverityCritical, "an activity that was not allowed"}
	noOutcome       = Rule{"I4", "no-outcome", aver.SeverityMedium, "permits of which no end was reported"}
	parametersApart = Rule{"I4", "parameters-differ", aver.SeverityHigh, "what was done is not what was decided"}
	reuse           = Rule{"I4", "reuse", aver.SeverityHigh, "one decision used more than once"}
	silentPEP       = Rule{"I4", "silent-pep", aver.SeverityHigh, "an enforcement point that reports nothing, or fell silent"}
	dutyNotReported = Rule{"I4", "obligation-not-reported", aver.SeverityMedium, "obligations that nobody says were carried out"}
)

// The rules of I5: exceptions that are governed badly.
var (
	missingField    = Rule{"I5", "missing-field", aver.SeverityMedium, "an exception without what it needs to be answered for"}
	unapproved      = Rule{"I5", "unapproved", aver.SeverityHigh, "break-glass that nobody answered for"}
	selfApproval    = Rule{"I5", "self-approval", aver.SeverityCritical, "approving or reviewing one's own exception, or trying to"}
	overLong        = Rule{"I5", "over-long", aver.SeverityMedium, "an exception for too long a time"}
	usedAfterExpiry = Rule{"I5", "used-after-expiry", aver.SeverityHigh, "an exception used after its end, or tried"}
	outOfScope      = Rule{"I5", "out-of-scope", aver.SeverityCritical, "requests outside of an exception's scope"}
	reviewOverdue   = Rule{"I5", "review-overdue", aver.SeverityHigh, "an exception whose review is overdue"}
	repeated        = Rule{"I5", "repeated", aver.SeverityMedium, "exceptions of one kind and person, again and again"}
	instantApproval = Rule{"I5", "instant-approval", aver.SeverityMedium, "an exception approved within seconds"}
	renewed         = Rule{"I5", "renewed", aver.SeverityHigh, "exceptions in a row that are standing access"}
)

// Rules lists all rules, by gap.
func Rules() []Rule {
	return []Rule{
		sharedCredential, sharedIdentity, overlapping, humanOnMachine, noOwner, noRotation,
		unusedScope, unusedTools, idleGrant, idleIdentity, privilegedUnused, wildcardUnused, limitsUnused, conflictingHeld, conflictingUsed,
		noChain, hopWithout, expiredGrant, revokedGrant, beyondGrant, chainTooDeep, purposeMissing, endedAuthority,
		orphanActivity, afterDenial, noOutcome, parametersApart, reuse, silentPEP, dutyNotReported,
		missingField, unapproved, selfApproval, overLong, usedAfterExpiry, outOfScope, reviewOverdue, repeated, instantApproval, renewed,
	}
}

// ID is the id of what a rule finds about a subject: the same in every run.
func ID(r Rule, subject aver.GapSubject) string {
	sum := sha256.Sum256([]byte(r.Name + "\n" + subject.Kind + "\n" + subject.ID))
	return r.Gap + "-" + r.Name + "-" + hex.EncodeToString(sum[:6])
}

// The kinds of subjects.

func identitySubject(r aver.Ref) aver.GapSubject {
	return aver.GapSubject{Kind: "identity", ID: r.String(), Ref: r}
}

func credentialSubject(name string) aver.GapSubject {
	return aver.GapSubject{Kind: "credential", ID: name}
}

func grantSubject(id string) aver.GapSubject { return aver.GapSubject{Kind: "grant", ID: id} }

func keySubject(issuer, key string) aver.GapSubject {
	return aver.GapSubject{Kind: "key", ID: issuer + " " + key}
}

func exceptionSubject(id string, of aver.Ref) aver.GapSubject {
	return aver.GapSubject{Kind: "exception", ID: id, Ref: of}
}

// sighting is what was seen of one rule and subject.
type sighting struct {
	rule     Rule
	subject  aver.GapSubject
	severity aver.Severity
	text     string
	details  []string
	count    uint64
	first    aver.Time
	last     aver.Time
	evidence aver.GapEvidence
	proposal *aver.GapProposal
}

// Bounds of what is kept of one finding.
const (
	detailsKept  = 8
	evidenceKept = 10 // of each sort: the first half, and the latest
)

// place is where and when something was seen.
type place struct {
	at       aver.Time
	decision *aver.GapEntry
	activity *aver.GapEntry
	events   []uint64
}

// see takes one more in. The text of the worst, and of those the latest, stays.
func (x *sighting) see(severity aver.Severity, p place, text string, details ...string) {
	if x.count == 0 || p.at < x.first {
		x.first = p.at
	}
	x.last = max(x.last, p.at)
	x.count++
	if severity.Compare(x.severity) >= 0 {
		x.severity, x.text = severity, text
	}
	for _, d := range details {
		if !slices.Contains(x.details, d) && len(x.details) < detailsKept {
			x.details = append(x.details, d)
		}
	}
	if p.decision != nil {
		x.evidence.Decisions = keepSome(x.evidence.Decisions, *p.decision)
	}
	if p.activity != nil {
		x.evidence.Activities = keepSome(x.evidence.Activities, *p.activity)
	}
	for _, e := range p.events {
		x.evidence.Events = keepSome(x.evidence.Events, e)
	}
}

// keepSome appends, and of too many drops one from the middle.
func keepSome[T comparable](list []T, item T) []T {
	if slices.Contains(list, item) {
		return list
	}
	if len(list) == evidenceKept {
		list = slices.Delete(list, evidenceKept/2, evidenceKept/2+1)
	}
	return append(list, item)
}

// clone is a copy that can be seen more of, while the original stays.
func (x *sighting) clone() *sighting {
	c := *x
	c.details = slices.Clone(x.details)
	c.evidence = aver.GapEvidence{
		Decisions: slices.Clone(x.evidence.Decisions), Activities: slices.Clone(x.evidence.Activities), Events: slices.Clone(x.evidence.Events),
	}
	return &c
}
