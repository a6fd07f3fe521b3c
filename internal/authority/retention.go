package authority

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

// RetentionClass is how long the payloads of a class of entries are kept. It is replaced, never changed.
type RetentionClass struct {
	Name     string            `json:"class"`
	InForce  *RetentionVersion `json:"in_force,omitempty"` // nil until a rule was approved: then everything is kept
	Proposed *RetentionVersion `json:"proposed,omitempty"` // nil if none waits for a second person
}

// RetentionVersion is a rule with who proposed it, and who approved it.
type RetentionVersion struct {
	aver.RetentionRule
	Mark
	Approved *Mark `json:"approved,omitempty"`
}

// Hold is a legal hold. It is replaced, never changed.
type Hold struct {
	aver.LegalHold
	Mark
	Released *Mark `json:"released,omitempty"`
}

// Erasure is a request for erasure and what became of it. It is replaced, never changed.
type Erasure struct {
	aver.ErasureRequest
	Mark
	Approved *Mark `json:"approved,omitempty"`
	Refused  *Mark `json:"refused,omitempty"`
	// Completed: all that it covers was erased.
	Completed *Mark `json:"completed,omitempty"`
}

// State is where the request stands: requested, approved, refused or completed.
func (e *Erasure) State() string {
	switch {
	case e.Completed != nil:
		return "completed"
	case e.Approved != nil:
		return "approved"
	case e.Refused != nil:
		return "refused"
	}
	return "requested"
}

// Erased is evidence that was erased, by the event that says so. It is replaced, never changed.
type Erased struct {
	aver.ErasedEvidence
	Kind aver.ErasureKind `json:"kind"`
	Mark
	Completed *Mark `json:"completed,omitempty"` // nil while some of it may still be there
}

// Why is why it went, in plain words: by which class or which request, and the reasons given for that.
func (e *Erased) Why() string {
	if e.Class != "" {
		return fmt.Sprintf("expired: the period of the class %s was over (event %d, %s)", e.Class, e.Event, e.Time)
	}
	return fmt.Sprintf("erased: request %s, %s (event %d, %s)", e.Erasure, e.Reason, e.Event, e.Time)
}

// retention is what the state knows about the keeping of evidence.
type retention struct {
	classes  table[string, *RetentionClass]
	assigned []*RetentionVersion // in force and with actions, in the order in which they are asked
	holds    table[string, *Hold]
	erasures table[string, *Erasure]
	erased   table[string, *Erased]
	payloads []erasedSpan // ascending, apart from each other
	partly   []erasedSpan // disclosures, ascending; they may overlap
	counters table[string, aver.Counter]
	lastHold uint64 // size of the authority log right after a hold was last placed
}

type erasedSpan struct {
	from, end uint64
	id        string
}

func (r *retention) freeze() {
	r.classes.freeze()
	r.holds.freeze()
	r.erasures.freeze()
	r.erased.freeze()
	r.counters.freeze()
}

// RetentionClasses lists the classes for which there is a rule, by name.
func (s *State) RetentionClasses() []*RetentionClass {
	all := s.retention.classes.values()
	slices.SortFunc(all, func(a, b *RetentionClass) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// RetentionClass returns what is known of a class, if there is a rule for it.
func (s *State) RetentionClass(name string) (*RetentionClass, bool) {
	return s.retention.classes.get(name)
}

// RetentionPeriod is for how many seconds payloads of a class are kept; 0 is for ever.
func (s *State) RetentionPeriod(class string) int64 {
	if c, ok := s.retention.classes.get(class); ok && c.InForce != nil {
		return c.InForce.Period
	}
	return 0
}

// RetentionClassOf is the class of a decision about an action, as its leaf has it: of those whose actions cover it the one
// that keeps it longest, and of several of these the first by name; "" for the standard class.
func (s *State) RetentionClassOf(action string) string {
	for _, v := range s.retention.assigned {
		if aver.Covers(v.Actions, action) {
			return v.Class
		}
	}
	return ""
}

// Holds lists all holds, in the order in which they were placed.
func (s *State) Holds() []*Hold {
	all := s.retention.holds.values()
	slices.SortFunc(all, func(a, b *Hold) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

// Hold returns a hold, released or not.
func (s *State) Hold(id string) (*Hold, bool) { return s.retention.holds.get(id) }

// Erasures lists all requests for erasure, in the order in which they were made.
func (s *State) Erasures() []*Erasure {
	all := s.retention.erasures.values()
	slices.SortFunc(all, func(a, b *Erasure) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

// Erasure returns a request for erasure.
func (s *State) Erasure(id string) (*Erasure, bool) { return s.retention.erasures.get(id) }

// ErasedEvidence lists all that was erased, in the order of the events.
func (s *State) ErasedEvidence() []*Erased {
	all := s.retention.erased.values()
	slices.SortFunc(all, func(a, b *Erased) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

// PayloadErased tells whether the payload of an entry of the decision log was erased, and why. From the event on it counts
// as gone, though its bytes may lie there until the event's [Erased.Completed].
func (s *State) PayloadErased(index uint64) (*Erased, bool) {
	spans := s.retention.payloads
	n, found := slices.BinarySearchFunc(spans, index, func(a erasedSpan, index uint64) int { return cmp.Compare(a.from, index) })
	if !found {
		n--
	}
	if n < 0 || index >= spans[n].end {
		return nil, false
	}
	return s.retention.erased.get(spans[n].id)
}

// DisclosuresErased lists by what disclosures of an entry of the decision log were erased, though its payload is there.
func (s *State) DisclosuresErased(index uint64) []*Erased {
	var out []*Erased
	for _, span := range s.retention.partly {
		if span.from > index {
			break
		}
		if index < span.end {
			e, _ := s.retention.erased.get(span.id)
			out = append(out, e)
		}
	}
	return out
}

// ErasedCounters are how much of limits was used as of records whose payloads were erased, the last of each limit.
func (s *State) ErasedCounters() []aver.Counter {
	all := s.retention.counters.values()
	slices.SortFunc(all, func(a, b aver.Counter) int { return strings.Compare(counterKey(a), counterKey(b)) })
	return all
}

func counterKey(c aver.Counter) string { return c.Grant + "\x00" + c.Name }

// needsReason refuses what nobody gave a reason for.
func needsReason(m Mark, why string) error {
	if strings.TrimSpace(m.Reason) == "" {
		return fmt.Errorf("a reason is needed: %s", why)
	}
	return nil
}

// person is whom a change was made by. What takes two people takes two of whom it is known who they are.
func (s *State) person(m Mark) (aver.Ref, error) {
	if m.By.Subject.IsZero() {
		return aver.Ref{}, fmt.Errorf("%s is no person: two people are needed for this, so use a credential that belongs to one of them", m.By.Name)
	}
	return m.By.Subject, s.asPerson(m.By.Subject, m)
}

// secondPerson checks that a change is made by another person than an earlier one.
func (s *State) secondPerson(first, m Mark) error {
	who, err := s.person(m)
	switch {
	case err != nil:
	case who == first.By.Subject:
		err = fmt.Errorf("%s asked for it, so somebody else has to approve it", who)
	case s.madeBy(m.By, first.By.Subject):
		err = fmt.Errorf("%s asked for it, and made the credential %q, or the one that made it: approve it with one that somebody else made", first.By.Subject, m.By.Name)
	}
	return err
}

// maxMakers bounds how far back the makers of credentials are looked for.
const maxMakers = 100

// madeBy tells whether somebody made a credential, or the one that it was made with, and so on: who makes a credential
// sees its token, and may act as whomever it belongs to.
func (s *State) madeBy(by aver.By, who aver.Ref) bool {
	for range maxMakers {
		c, ok := s.credentialNames.get(by.Name)
		if !ok || by.Method != "bearer" {
			return false
		}
		if by = c.By; by.Subject == who {
			return true
		}
	}
	return true
}

func (s *State) retentionSet(r *aver.RetentionRule, m Mark) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := needsReason(m, "why is this class kept for so long?"); err != nil {
		return err
	}
	if _, err := s.person(m); err != nil {
		return err
	}
	next := &RetentionClass{Name: r.Class}
	if c, ok := s.retention.classes.get(r.Class); ok {
		next.InForce = c.InForce
	}
	next.Proposed = &RetentionVersion{RetentionRule: *r, Mark: m}
	s.retention.classes.put(r.Class, next)
	return nil
}

func (s *State) retentionApproved(a *aver.RetentionApproval, m Mark) error {
	c, ok := s.retention.classes.get(a.Class)
	switch {
	case !ok || c.Proposed == nil:
		return fmt.Errorf("no rule for the class %q waits for approval", a.Class)
	case c.Proposed.Event != a.Proposed:
		return fmt.Errorf("the rule that was proposed by event %d was replaced by event %d: look at that one", a.Proposed, c.Proposed.Event)
	}
	if err := s.secondPerson(c.Proposed.Mark, m); err != nil {
		return err
	}
	v := *c.Proposed
	v.Approved = &m
	s.setClass(&RetentionClass{Name: c.Name, InForce: &v})
	return nil
}

// setClass puts a class into place, and the order in which classes are asked whether they cover an action.
func (s *State) setClass(c *RetentionClass) {
	s.retention.classes.put(c.Name, c)
	s.retention.assigned = nil
	for _, c := range s.RetentionClasses() {
		if c.InForce != nil && len(c.InForce.Actions) > 0 {
			s.retention.assigned = append(s.retention.assigned, c.InForce)
		}
	}
	slices.SortStableFunc(s.retention.assigned, func(a, b *RetentionVersion) int {
		switch {
		case a.Period == b.Period:
			return 0
		case a.Period == 0:
			return -1
		case b.Period == 0:
			return 1
		}
		return cmp.Compare(b.Period, a.Period)
	})
}

func (s *State) holdPlaced(h *aver.LegalHold, m Mark) error {
	if err := h.Validate(); err != nil {
		return err
	}
	if err := needsReason(m, "what is it held for?"); err != nil {
		return err
	}
	if old, ok := s.retention.holds.get(h.ID); ok {
		return fmt.Errorf("the id %q was already used, by event %d", h.ID, old.Event)
	}
	s.setHold(&Hold{LegalHold: *h, Mark: m})
	return nil
}

func (s *State) holdReleased(r *aver.HoldRef, m Mark) error {
	h, ok := s.retention.holds.get(r.ID)
	switch {
	case !ok:
		return fmt.Errorf("there is no hold %q", r.ID)
	case h.Released != nil:
		return fmt.Errorf("hold %q was released already, by event %d", r.ID, h.Released.Event)
	}
	if err := needsReason(m, "why is it not held any longer?"); err != nil {
		return err
	}
	next := *h
	next.Released = &m
	s.setHold(&next)
	return nil
}

func (s *State) setHold(h *Hold) {
	s.retention.holds.put(h.ID, h)
	s.retention.lastHold = max(s.retention.lastHold, h.Event+1)
}

func (s *State) erasureRequested(r *aver.ErasureRequest, m Mark) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := needsReason(m, "why is it to be erased?"); err != nil {
		return err
	}
	if old, ok := s.retention.erasures.get(r.ID); ok {
		return fmt.Errorf("the id %q was already used, by event %d", r.ID, old.Event)
	}
	if _, err := s.person(m); err != nil {
		return err
	}
	s.retention.erasures.put(r.ID, &Erasure{ErasureRequest: *r, Mark: m})
	return nil
}

// pendingErasure returns a request that was not answered.
func (s *State) pendingErasure(id string) (*Erasure, error) {
	e, ok := s.retention.erasures.get(id)
	switch {
	case !ok:
		return nil, fmt.Errorf("there is no request for erasure %q", id)
	case e.Approved != nil:
		return nil, fmt.Errorf("erasure %q was approved already, by event %d", id, e.Approved.Event)
	case e.Refused != nil:
		return nil, fmt.Errorf("erasure %q was refused by event %d", id, e.Refused.Event)
	}
	return e, nil
}

func (s *State) erasureApproved(r *aver.ErasureRef, m Mark) error {
	e, err := s.pendingErasure(r.ID)
	if err == nil {
		err = s.secondPerson(e.Mark, m)
	}
	if err != nil {
		return err
	}
	next := *e
	next.Approved = &m
	s.retention.erasures.put(r.ID, &next)
	return nil
}

func (s *State) erasureRefused(r *aver.ErasureRef, m Mark) error {
	e, err := s.pendingErasure(r.ID)
	if err == nil {
		err = needsReason(m, "why is it not erased?")
	}
	if err != nil {
		return err
	}
	next := *e
	next.Refused = &m
	s.retention.erasures.put(r.ID, &next)
	return nil
}

func (s *State) payloadErased(e *aver.ErasedEvidence, m Mark) error {
	return s.evidenceErased(e, aver.ErasePayloads, m)
}

func (s *State) disclosureErased(e *aver.ErasedEvidence, m Mark) error {
	return s.evidenceErased(e, aver.EraseDisclosures, m)
}

func (s *State) evidenceErased(e *aver.ErasedEvidence, kind aver.ErasureKind, m Mark) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if m.By.Method != aver.MethodInternal {
		return fmt.Errorf("only Aver itself records what it erases, not %s", m.By.Name)
	}
	if old, ok := s.retention.erased.get(e.ID); ok {
		return fmt.Errorf("the id %q was already used, by event %d", e.ID, old.Event)
	}
	if e.Authority > s.size || e.Authority < s.retention.lastHold {
		return fmt.Errorf("it was chosen at %d events, and a hold was placed since", e.Authority)
	}
	if e.Class != "" {
		c, _ := s.retention.classes.get(e.Class)
		if s.RetentionPeriod(e.Class) == 0 || kind != aver.ErasePayloads || e.Authority <= c.InForce.Approved.Event {
			return fmt.Errorf("the class %s is kept for ever, or was when it was chosen", e.Class)
		}
	} else if r, ok := s.retention.erasures.get(e.Erasure); !ok || r.Approved == nil || r.Kind != kind {
		return fmt.Errorf("no such erasure %q was approved", e.Erasure)
	}
	for _, r := range e.Ranges {
		if kind == aver.ErasePayloads && s.overlaps(r) {
			return fmt.Errorf("some of the payloads from %d to %d were erased before", r.From, r.End-1)
		}
	}
	s.setErased(&Erased{ErasedEvidence: *e, Kind: kind, Mark: m})
	return nil
}

// overlaps tells whether a payload in the range was erased.
func (s *State) overlaps(r aver.IndexRange) bool {
	spans := s.retention.payloads
	n, _ := slices.BinarySearchFunc(spans, r.From, func(a erasedSpan, from uint64) int { return cmp.Compare(a.from, from) })
	return n < len(spans) && spans[n].from < r.End || n > 0 && spans[n-1].end > r.From
}

// setErased takes in what was erased; one that is known is replaced.
func (s *State) setErased(e *Erased) {
	_, known := s.retention.erased.get(e.ID)
	s.retention.erased.put(e.ID, e)
	if known {
		return
	}
	spans := &s.retention.payloads
	if e.Kind == aver.EraseDisclosures {
		spans = &s.retention.partly
	}
	next := make([]erasedSpan, 0, len(*spans)+len(e.Ranges))
	next = append(next, *spans...)
	for _, r := range e.Ranges {
		next = append(next, erasedSpan{r.From, r.End, e.ID})
	}
	slices.SortStableFunc(next, func(a, b erasedSpan) int { return cmp.Compare(a.from, b.from) })
	*spans = next
	for _, c := range e.Counters {
		if old, ok := s.retention.counters.get(counterKey(c)); !ok || old.After < c.After {
			s.retention.counters.put(counterKey(c), c)
		}
	}
}

func (s *State) erasureCompleted(r *aver.ErasedRef, m Mark) error {
	if r.Erasure != "" {
		return s.requestCompleted(r, m)
	}
	e, ok := s.retention.erased.get(r.ID)
	switch {
	case !ok:
		return fmt.Errorf("nothing was erased under the id %q", r.ID)
	case e.Completed != nil:
		return fmt.Errorf("the erasure %q was completed already, by event %d", r.ID, e.Completed.Event)
	case m.By.Method != aver.MethodInternal:
		return fmt.Errorf("only Aver itself records what it has erased, not %s", m.By.Name)
	}
	next := *e
	next.Completed = &m
	s.setErased(&next)
	return nil
}

// requestCompleted ends an approved request for erasure: nothing that it covers is left.
func (s *State) requestCompleted(r *aver.ErasedRef, m Mark) error {
	e, ok := s.retention.erasures.get(r.Erasure)
	switch {
	case !ok || e.Approved == nil || e.Completed != nil || r.ID != "":
		return fmt.Errorf("the erasure %q was not approved, or was completed already", r.Erasure)
	case m.By.Method != aver.MethodInternal:
		return fmt.Errorf("only Aver itself records what it has erased, not %s", m.By.Name)
	}
	for _, part := range s.retention.erased.values() {
		if part.Erasure == r.Erasure && part.Completed == nil {
			return fmt.Errorf("some of the erasure %q is not completed, under the id %q", r.Erasure, part.ID)
		}
	}
	next := *e
	next.Completed = &m
	s.retention.erasures.put(r.Erasure, &next)
	return nil
}
