package gaps

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// reporter makes one report of what a scanner has read.
type reporter struct {
	*Scanner
	now      aver.Time
	found    map[sightingKey]*sighting
	unknowns []aver.GapUnknown
	people   map[string]*authority.Identity // by id, where it is that of one person
}

// Report says what is found in what was read, at a time. It can take a while: the
// past is decided again with each new proposal.
func (s *Scanner) Report(ctx context.Context, now aver.Time) (*aver.GapReport, error) {
	r := &reporter{Scanner: s, now: now, found: map[sightingKey]*sighting{}, people: people(s.st)}
	s.sightings.each(func(k sightingKey, x *sighting) { r.found[k] = x.clone() })
	r.standingMachines()
	r.standingExcess()
	r.standingDelegation()
	r.standingActivities()
	r.standingExceptions()
	r.settle()
	r.forgotten()
	if s.gone > 0 {
		for _, gap := range aver.Gaps() {
			r.unknowns = append(r.unknowns, aver.GapUnknown{Gap: gap, Text: "The payloads of some entries are gone, by expiry or erasure, so what they would show is not known."})
		}
	}
	if err := r.prove(ctx); err != nil {
		return nil, err
	}
	out := &aver.GapReport{
		AsOf: now, Authority: s.st.Size(), Decisions: s.read, From: s.from, Thresholds: s.t.Digest(),
		Findings: []aver.GapFinding{}, Unknown: r.unknowns,
	}
	if out.Unknown == nil {
		out.Unknown = []aver.GapUnknown{}
	}
	for _, x := range r.found {
		out.Findings = append(out.Findings, r.finding(x))
	}
	slices.SortFunc(out.Findings, func(a, b aver.GapFinding) int {
		return cmp.Or(cmp.Compare(a.Gap, b.Gap), b.Severity.Compare(a.Severity), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Subject.ID, b.Subject.ID))
	})
	return out, nil
}

// forgotten says what was let go of, there being too much to remember.
func (r *reporter) forgotten() {
	tell := func(n uint64, rule Rule, text string) {
		if n > 0 {
			r.unknown(rule, fmt.Sprintf(text, n))
		}
	}
	tell(r.identities.dropped, idleIdentity, "What %d identities did was let go of, there being too many: which are idle or shared is not known.")
	tell(r.credentials.dropped, sharedCredential, "What %d credentials did was let go of, there being too many: which are shared, silent or unused is not known.")
	tell(r.grants.dropped, idleGrant, "The use of %d grants was let go of, there being too many: which give too much is not known.")
	tell(r.keys.dropped, noRotation, "%d keys of issuers were let go of, there being too many.")
	tell(r.duties.dropped, conflictingUsed, "%d resources were let go of, there being too many: duties that were exercised on them may have conflicted.")
	if n := r.sightings.dropped; n > 0 {
		for _, gap := range aver.Gaps() {
			r.unknowns = append(r.unknowns, aver.GapUnknown{Gap: gap, Text: fmt.Sprintf("%d findings were let go of, there being too many.", n)})
		}
	}
}

func people(st *authority.State) map[string]*authority.Identity {
	out := map[string]*authority.Identity{}
	for _, i := range st.Identities() {
		if i.Kind != aver.HumanUser {
			continue
		}
		if _, twice := out[i.ID]; twice {
			out[i.ID] = nil
			continue
		}
		out[i.ID] = i
	}
	return out
}

// holds takes in what holds at the moment, since a time.
func (r *reporter) holds(rule Rule, subject aver.GapSubject, severity aver.Severity, since aver.Time, events []uint64, text string, details ...string) *sighting {
	x := r.sighting(rule, subject)
	x.see(severity, place{at: since, events: events}, text, details...)
	x.last = max(x.last, r.now)
	return x
}

// sighting returns what was seen of a rule and subject, nothing yet if that is new.
func (r *reporter) sighting(rule Rule, subject aver.GapSubject) *sighting {
	key := keyOf(rule, subject)
	if r.found[key] == nil {
		r.found[key] = &sighting{rule: rule, subject: subject}
	}
	return r.found[key]
}

func (r *reporter) unknown(rule Rule, text string) {
	r.unknowns = append(r.unknowns, aver.GapUnknown{Gap: rule.Gap, Rule: rule.Name, Text: text})
}

// settle drops what is no finding after all: attempts too few to matter.
func (r *reporter) settle() {
	for key, x := range r.found {
		few := x.rule.Name == beyondGrant.Name && x.severity == aver.SeverityLow && x.count < r.t.Delegation.BeyondAttempts ||
			x.rule.Name == outOfScope.Name && x.severity == aver.SeverityMedium && x.count < r.t.Exceptions.OutsideAttempts
		if few {
			delete(r.found, key)
		}
	}
}

func (r *reporter) finding(x *sighting) aver.GapFinding {
	f := aver.GapFinding{
		ID: ID(x.rule, x.subject), Gap: x.rule.Gap, Rule: x.rule.Name, Severity: x.severity, Subject: x.subject, Text: x.text,
		Details: x.details, Count: x.count, FirstSeen: x.first, LastSeen: x.last, Evidence: x.evidence, State: aver.GapOpen, Proposal: x.proposal,
	}
	f.Owner = r.owner(x.subject)
	if f.Owner == "" {
		f.Unknown = append(f.Unknown, "who answers for it")
	}
	slices.SortFunc(f.Evidence.Decisions, func(a, b aver.GapEntry) int { return cmp.Compare(a.Index, b.Index) })
	slices.SortFunc(f.Evidence.Activities, func(a, b aver.GapEntry) int { return cmp.Compare(a.Index, b.Index) })
	slices.Sort(f.Evidence.Events)
	answer, ok := r.st.Gap(f.ID)
	if !ok {
		return f
	}
	f.Answer = &aver.GapAnswer{
		State: aver.GapClosed, By: answer.By.Principal().String(), Reason: answer.Reason, Time: answer.Time, Until: answer.Until, Event: answer.Event,
	}
	if !answer.Closed() {
		f.Answer.State = aver.GapAccepted
	}
	switch {
	case answer.Accepted(r.now):
		f.State = aver.GapAccepted
	case answer.Closed() && f.LastSeen <= answer.Time:
		f.State = aver.GapClosed
	}
	return f
}

// owner is who answers for a subject, as far as it is known.
func (r *reporter) owner(s aver.GapSubject) string {
	switch s.Kind {
	case "identity", "exception":
		if i, ok := r.st.Identity(s.Ref); ok {
			return cmp.Or(i.Owner, i.Ref.String())
		}
	case "grant":
		if g, ok := r.st.Grant(s.ID); ok {
			return g.From.String()
		}
	case "credential":
		if c, ok := r.st.CredentialNamed(s.ID); ok {
			if c.Subject != nil {
				return c.Subject.String()
			}
			return c.By.Principal().String()
		}
	}
	return ""
}
