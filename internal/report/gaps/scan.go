// Package gaps finds control gaps (requirements I1 to I5) in the two logs: shared
// machine identities, excess, missing delegation, decisions apart from
// activities, and exceptions that are governed badly. docs/gaps.md describes the
// rules, thresholds.yaml what they are measured by.
//
// A [Scanner] reads both logs once, in their order and within bounded memory, and
// can go on later with what came since. What it finds is a projection: it is
// changed by nobody. What people decide about it, that a gap is accepted or
// mended, is an event of the authority log.
//
// Where a rule needs a fact that no record has, the report says that it is
// unknown.
package gaps

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/replay"
)

// Bounds of what a scanner remembers.
const (
	findingsKept = 5_000
	partiesKept  = 20_000 // identities, credentials, grants: of each
	openKept     = 20_000 // permits of which no end was reported
	dutiesKept   = 20_000 // resources on which conflicting duties were exercised
)

// Scanner finds gaps in two logs. It is for one goroutine at a time.
type Scanner struct {
	authority, decisions replay.Log
	t                    *Thresholds

	st   *authority.State // of the events that were read
	read uint64           // entries of the decision log
	from aver.Time        // of the first of them
	gone uint64           // whose payloads are not there any more
	days []dayStart       // of the decision log, the oldest first

	sightings   *kept[sightingKey, sighting]
	identities  *kept[aver.Ref, identityUse]
	credentials *kept[string, credentialUse]
	grants      *kept[string, grantUse]
	keys        *kept[[2]string, keyUse]
	open        *kept[string, openPermit]
	duties      *kept[aver.Ref, dutyUse]
	excepted    map[aver.Ref][]string // ids of the latest exceptions that were activated, by person
	actions     map[string]bool       // that anybody asked for
	has         facts

	proofs map[string]aver.GapProof // by the digest of what is proposed
}

type sightingKey struct{ rule, kind, id string }

func keyOf(r Rule, subject aver.GapSubject) sightingKey {
	return sightingKey{r.Name, subject.Kind, subject.ID}
}

// facts says of which facts any record has something, for rules that need them.
type facts struct{ workload, session, methods bool }

// actionsKept bounds the names of actions that are remembered.
const actionsKept = 10_000

// New returns a scanner that has read nothing yet.
func New(authorityLog, decisionLog replay.Log, t *Thresholds) *Scanner {
	s := &Scanner{
		authority: authorityLog, decisions: decisionLog, t: t, st: authority.New(),
		sightings:   newKept[sightingKey, sighting](findingsKept),
		identities:  newKept[aver.Ref, identityUse](partiesKept),
		credentials: newKept[string, credentialUse](partiesKept),
		grants:      newKept[string, grantUse](partiesKept),
		keys:        newKept[[2]string, keyUse](partiesKept),
		open:        newKept[string, openPermit](openKept),
		duties:      newKept[aver.Ref, dutyUse](dutiesKept),
		excepted:    map[aver.Ref][]string{}, actions: map[string]bool{}, proofs: map[string]aver.GapProof{},
	}
	s.open.drop = func(_ string, p *openPermit) { s.credentials.at(p.credential).unfollowed++ }
	return s
}

// Find reads both logs to their ends and reports what is found at a time.
func Find(ctx context.Context, authorityLog, decisionLog replay.Log, t *Thresholds, now aver.Time) (*aver.GapReport, error) {
	s := New(authorityLog, decisionLog, t)
	if err := s.Advance(ctx); err != nil {
		return nil, err
	}
	return s.Report(ctx, now)
}

// Advance reads what the logs have beyond what was read before. It can be
// interrupted by ctx, and called again to go on.
func (s *Scanner) Advance(ctx context.Context) error {
	_, err := s.advance(ctx, math.MaxUint64)
	return err
}

// advance reads at most so many entries of the decision log, and tells whether
// that was all there is.
func (s *Scanner) advance(ctx context.Context, most uint64) (all bool, err error) {
	size, _ := s.decisions.Head()
	to := size
	if size-s.read > most {
		to = s.read + most
	}
	for e, err := range s.decisions.Entries(s.read, to) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = s.entry(e)
		}
		if err != nil {
			return false, fmt.Errorf("decision log, entry %d: %w", s.read, err)
		}
		s.read++
	}
	if to < size {
		return false, nil
	}
	events, _ := s.authority.Head()
	return true, s.fold(max(events, s.st.Size()))
}

// fold reads events up to a size of the authority log.
func (s *Scanner) fold(size uint64) error {
	if size <= s.st.Size() {
		return nil
	}
	st, err := authority.Fold(s.st, s.watch(pap.Events(s.authority.Entries(s.st.Size(), size))))
	if err != nil {
		return err
	}
	if st.Size() < size {
		return fmt.Errorf("the authority log has %d events, fewer than the %d that are cited", st.Size(), size)
	}
	s.st = st
	return nil
}

// exceptionsKept bounds the exceptions of one person that are remembered.
const exceptionsKept = 20

// watch notes who makes events, and whose exceptions are activated.
func (s *Scanner) watch(events iter.Seq2[*aver.Event, error]) iter.Seq2[*aver.Event, error] {
	return func(yield func(*aver.Event, error) bool) {
		for e, err := range events {
			if err == nil && e.By.Method == "bearer" {
				s.credentials.at(e.By.Name).use(e.Time)
			}
			if !yield(e, err) {
				return
			}
			if err == nil && e.Type == aver.EventExceptionRequested {
				var x aver.ExceptionRequest
				if e.DecodeData(&x) == nil {
					list := append(s.excepted[x.Subject], x.ID)
					s.excepted[x.Subject] = list[max(0, len(list)-exceptionsKept):]
				}
			}
		}
	}
}

func (s *Scanner) entry(e ledger.Indexed) error {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return err
	}
	if s.from == 0 {
		s.from = leaf.Time
	}
	if n := len(s.days); n == 0 || leaf.Time >= s.days[n-1].at+dayLength {
		s.days = append(s.days, dayStart{leaf.Time, e.Index})
	}
	if e.Erased {
		s.gone++
		return nil
	}
	if leaf.Kind == aver.KindActivity {
		a, err := aver.ParseActivity(e.Payload)
		if err != nil {
			return err
		}
		return s.activity(e.Index, a)
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return err
	}
	disclosures, err := pdp.ParseDisclosures(e.Private)
	if err != nil {
		return err
	}
	req, _, err := pdp.Reopen(r.Request, r.Token, disclosures)
	if err != nil {
		return err
	}
	if err := s.fold(r.Authority.Size); err != nil {
		return err
	}
	s.decision(newDecided(e.Index, r, req))
	return nil
}

// dayStart is the first entry of the decision log that is a day or more after the
// one before.
type dayStart struct {
	at    aver.Time
	index uint64
}

const dayLength = aver.Time(24 * 60 * 60 * 1000)

// indexAt is an entry from which on are all that came at a time or later, and at
// most a day more.
func (s *Scanner) indexAt(at aver.Time) uint64 {
	var index uint64
	for _, d := range s.days {
		if d.at > at {
			break
		}
		index = d.index
	}
	return index
}

// decided is a decision as the rules look at it.
type decided struct {
	*aver.Record
	index   uint64
	req     *aver.Request
	allowed bool
	grants  []string   // of the chain that the request names
	parties []aver.Ref // from the originating user to the actor
	place   place
}

func newDecided(index uint64, r *aver.Record, req *aver.Request) *decided {
	d := &decided{
		Record: r, index: index, req: req, allowed: r.Decision.Outcome.Allowed(), grants: req.Delegation(),
		place: place{at: r.Time, decision: &aver.GapEntry{ID: r.ID, Index: index}},
	}
	add := func(p aver.Ref) {
		if !slices.Contains(d.parties, p) {
			d.parties = append(d.parties, p)
		}
	}
	if user, ok := req.OnBehalfOf(); ok {
		add(user)
	}
	for _, f := range pdp.Frames(&r.Decision) {
		if f.As == aver.FrameDelegator {
			add(f.Entity)
		}
	}
	add(r.Decision.Actor.Ref)
	return d
}

// decision takes in one decision.
func (s *Scanner) decision(d *decided) {
	if d.PEP.Credential == aver.Self {
		s.administration(d)
		return
	}
	if len(s.actions) < actionsKept {
		s.actions[d.req.Action.Name] = true
	}
	s.use(d)
	s.exercised(d)
	s.machines(d)
	s.delegation(d)
	s.exceptions(d)
}

// administration takes in a decision about a change of Aver itself, or about
// access to evidence.
func (s *Scanner) administration(d *decided) {
	if name, ok := valueAt(d.req, "context.authentication.credential"); ok {
		s.credentials.at(name).use(d.Time)
	}
	if !d.allowed {
		s.ownDuty(d)
	}
}

// note takes in that a rule saw something about a subject.
func (s *Scanner) note(r Rule, subject aver.GapSubject, severity aver.Severity, p place, text string, details ...string) *sighting {
	x := s.sightings.at(keyOf(r, subject))
	x.rule, x.subject = r, subject
	x.see(severity, p, text, details...)
	return x
}

// worse is the severity of what was allowed, or of what was only tried.
func (d *decided) worse(allowed, tried aver.Severity) aver.Severity {
	if d.allowed {
		return allowed
	}
	return tried
}
