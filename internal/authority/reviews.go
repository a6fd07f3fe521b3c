package authority

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

// maxReviewRows bounds what one access review is about.
const maxReviewRows = 10_000

// Review is an access review and what became of it. It is replaced, never changed.
type Review struct {
	aver.ReviewOpened
	Mark                  // of the event that opened it
	Items  []*ReviewItem  `json:"items"`
	Closed *ReviewClosing `json:"closed,omitempty"`
}

// ReviewItem is a row of a review and what was decided about it. It is replaced, never changed.
type ReviewItem struct {
	aver.ReviewRow
	Decided      *RowDecision        `json:"decided,omitempty"`
	Replaced     *Mark               `json:"replaced,omitempty"`   // of the event that issued the grant in its place
	Remediated   *Mark               `json:"remediated,omitempty"` // of the event that carried it out
	Acknowledged *RowAcknowledgement `json:"acknowledged,omitempty"`
}

// RowDecision is what a reviewer decided about a row.
type RowDecision struct {
	aver.ReviewDecided
	Mark
}

// RowAcknowledgement is that of the owner.
type RowAcknowledgement struct {
	Owner aver.Ref `json:"owner"`
	Mark
}

// ReviewClosing is how a review was closed.
type ReviewClosing struct {
	Undecided int `json:"undecided,omitempty"` // rows; more than none: it is incomplete
	Mark
}

// ReviewRecord is the last review of a version of a bundle, or of an identity.
type ReviewRecord struct {
	aver.ReviewRecorded
	Mark
	Review   string    `json:"review,omitempty"`  // the access review that it was part of
	Answered aver.Time `json:"answered,omitzero"` // the time of review that the identity was registered with then
}

// Undecided is how many rows are left to decide.
func (r *Review) Undecided() int {
	n := 0
	for _, i := range r.Items {
		if i.Decided == nil {
			n++
		}
	}
	return n
}

// Overdue tells whether the review is not closed at a time though its deadline has passed.
func (r *Review) Overdue(now aver.Time) bool { return r.Closed == nil && now >= r.Deadline }

// ReviewProgress counts the rows of a review.
type ReviewProgress struct {
	Keep          int `json:"keep"`
	Revoke        int `json:"revoke"`
	Modify        int `json:"modify"`
	Undecided     int `json:"undecided"`
	NotCarriedOut int `json:"not_carried_out"` // decided so that something is to be done, and it is not
	Acknowledged  int `json:"acknowledged"`    // by their owners
}

// ReviewProgress counts what became of the rows of a review.
func (s *State) ReviewProgress(r *Review, now aver.Time) (p ReviewProgress) {
	for _, i := range r.Items {
		switch {
		case i.Decided == nil:
			p.Undecided++
		case i.Decided.Decision == aver.ReviewKeep:
			p.Keep++
		case i.Decided.Decision == aver.ReviewRevoke:
			p.Revoke++
		default:
			p.Modify++
		}
		if !s.Settled(i, now) {
			p.NotCarriedOut++
		}
		if i.Acknowledged != nil {
			p.Acknowledged++
		}
	}
	return p
}

// State is where the review stands at a time: open, overdue, decided (every row is), completed, or incomplete if it was
// closed with rows that nobody decided.
func (r *Review) State(now aver.Time) string {
	switch {
	case r.Closed != nil && r.Closed.Undecided > 0:
		return "incomplete"
	case r.Closed != nil:
		return "completed"
	case r.Overdue(now):
		return "overdue"
	case r.Undecided() == 0:
		return "decided"
	}
	return "open"
}

// Item returns a row.
func (r *Review) Item(row int) (*ReviewItem, bool) {
	if row < 1 || row > len(r.Items) {
		return nil, false
	}
	return r.Items[row-1], true
}

// with returns a copy with some rows replaced.
func (r *Review) with(items ...*ReviewItem) *Review {
	next := *r
	next.Items = slices.Clone(r.Items)
	for _, i := range items {
		next.Items[i.Row-1] = i
	}
	return &next
}

// Review returns an access review, whatever became of it.
func (s *State) Review(id string) (*Review, bool) { return s.reviews.get(id) }

// Reviews lists all access reviews, in the order in which they were opened.
func (s *State) Reviews() []*Review {
	all := s.reviews.values()
	slices.SortFunc(all, func(a, b *Review) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

// PolicyReview returns the last review of a version of a bundle.
func (s *State) PolicyReview(name, digest string) (*ReviewRecord, bool) {
	return s.reviewed.get(policyKey(name, digest))
}

// IdentityReview returns the last review of an identity, by itself or in an access review.
func (s *State) IdentityReview(ref aver.Ref) (*ReviewRecord, bool) {
	return s.reviewed.get(ref.String())
}

// ReviewRecords lists the last reviews of policies and identities, in their order.
func (s *State) ReviewRecords() []*ReviewRecord {
	all := s.reviewed.values()
	slices.SortFunc(all, func(a, b *ReviewRecord) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

func policyKey(name, digest string) string { return name + " " + digest } // no ref holds a space before its quotes

func (s *State) setReviewRecord(r *ReviewRecord) {
	if r.Policy != nil {
		s.reviewed.put(policyKey(r.Policy.Name, r.Policy.Digest), r)
	} else {
		s.reviewed.put(r.Identity.String(), r)
	}
}

// OpenReview completes what opens a review by what is in its scope at this state, as of a time.
func (s *State) OpenReview(r *aver.ReviewOpened, now aver.Time) error {
	rows, err := s.reviewRows(&r.Scope, now)
	if err != nil {
		return err
	}
	r.Size, r.Rows, r.Digest = s.size, len(rows), aver.ReviewDigest(rows)
	return nil
}

// reviewRows lists what is in a scope: machine identities that are not retired, by type and id, then grants that are
// neither revoked nor expired, by id.
func (s *State) reviewRows(scope *aver.ReviewScope, now aver.Time) ([]aver.ReviewRow, error) {
	within := func(i *Identity) bool {
		switch scope.Of {
		case aver.ReviewOfOwner:
			return i.Owner == scope.Owner
		case aver.ReviewOfIdentity:
			return i.Ref == *scope.Identity
		}
		return true
	}
	var rows []aver.ReviewRow
	parties := map[aver.Ref]bool{}
	if scope.Identity != nil {
		parties[*scope.Identity] = true
	}
	for _, i := range s.Identities() {
		if i.Kind.Machine() && i.Status != aver.Retired && within(i) {
			rows = append(rows, aver.ReviewRow{Row: len(rows) + 1, Identity: &i.Ref, Event: i.Event})
			parties[i.Ref] = true
		}
	}
	for _, g := range s.Grants() {
		if g.Stands(now) && (scope.Of == aver.ReviewAll || parties[g.From] || parties[g.To]) {
			rows = append(rows, aver.ReviewRow{Row: len(rows) + 1, Grant: g.ID, Event: g.Event})
		}
	}
	switch {
	case len(rows) == 0:
		return nil, fmt.Errorf("scope: no grant that stands and no machine identity is in it, so there is nothing to review")
	case len(rows) > maxReviewRows:
		return nil, fmt.Errorf("scope: %d rows are in it, and a review has at most %d: review by owner", len(rows), maxReviewRows)
	}
	return rows, nil
}

// Stands tells whether a grant is neither revoked nor over at a time. It may not
// have begun, and what is above it in its chain may not stand.
func (g *Grant) Stands(now aver.Time) bool {
	return g.Revoked == nil && (g.Expires == 0 || now < g.Expires)
}

func (s *State) reviewOpened(r *aver.ReviewOpened, m Mark) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if old, ok := s.reviews.get(r.ID); ok {
		return fmt.Errorf("the id %q was already used, by event %d", r.ID, old.Event)
	}
	if r.Deadline <= m.Time {
		return fmt.Errorf("deadline: %s is over", r.Deadline)
	}
	if r.Size != s.size {
		return fmt.Errorf("size: it is the state after %d events that is reviewed, and there are %d", r.Size, s.size)
	}
	for _, ref := range r.Reviewers {
		if i, ok := s.identities.get(ref); ok && i.Kind.Machine() {
			return fmt.Errorf("reviewers: %s is a machine, and people review", ref)
		}
	}
	rows, err := s.reviewRows(&r.Scope, m.Time)
	if err != nil {
		return err
	}
	if len(rows) != r.Rows || aver.ReviewDigest(rows) != r.Digest {
		return fmt.Errorf("rows and digest: %d rows are in its scope, and their digest is %s", len(rows), aver.ReviewDigest(rows))
	}
	opened := &Review{ReviewOpened: *r, Mark: m}
	for _, row := range rows {
		opened.Items = append(opened.Items, &ReviewItem{ReviewRow: row})
	}
	s.reviews.put(r.ID, opened)
	return nil
}

// reviewsAsPerson checks that somebody is a person who can answer for a review.
func (s *State) reviewsAsPerson(who aver.Ref, m Mark) error {
	i, ok := s.identities.get(who)
	if !ok || i.Kind != aver.HumanUser || i.Status != aver.Active {
		return fmt.Errorf("%s is not an active, registered human user, so nobody in particular would answer for the review", who)
	}
	return s.asPerson(who, m)
}

// Parties are those who have a stake in a row, so that they don't decide it: the identity and who owns it; of a grant
// both sides, whoever issued it, and who owns the identity that holds it.
func (s *State) Parties(i *ReviewItem) []aver.Ref {
	if i.Identity != nil {
		return append([]aver.Ref{*i.Identity}, s.Owners(i)...)
	}
	g, ok := s.grants.get(i.Grant)
	if !ok {
		return nil
	}
	parties := []aver.Ref{g.From, g.To}
	for _, ref := range append([]aver.Ref{g.By.Principal()}, s.Owners(i)...) {
		if !slices.Contains(parties, ref) {
			parties = append(parties, ref)
		}
	}
	return parties
}

// Owners are those who take note of what was decided about a row: whoever owns the identity, or the one that holds the
// grant; a person who holds a grant does so themselves.
func (s *State) Owners(i *ReviewItem) []aver.Ref {
	holder := aver.Ref{}
	if i.Identity != nil {
		holder = *i.Identity
	} else if g, ok := s.grants.get(i.Grant); ok {
		holder = g.To
	}
	known, ok := s.identities.get(holder)
	switch {
	case holder.IsZero():
		return nil
	case !ok || !known.Kind.Machine():
		return []aver.Ref{holder}
	case known.Owner == "":
		return nil
	}
	owner := aver.ApproverRef(known.Owner)
	if owner.Type == "group" && owner.ID == known.Owner {
		// An owner is a name: that of a team, or of a person.
		return []aver.Ref{owner, {Type: "user", ID: known.Owner}}
	}
	return []aver.Ref{owner}
}

// MayReview says why somebody may not decide a row, nil if they may.
func (s *State) MayReview(r *Review, i *ReviewItem, who aver.Ref) error {
	if !slices.ContainsFunc(r.Reviewers, func(ref aver.Ref) bool { return s.isIn(who, ref) }) {
		return fmt.Errorf("%s is none of the reviewers", who)
	}
	for _, party := range s.Parties(i) {
		if s.isIn(who, party) {
			return fmt.Errorf("%s has a stake in row %d, as %s, so somebody else has to review it", who, i.Row, party)
		}
	}
	return nil
}

func (s *State) reviewDecided(d *aver.ReviewDecided, m Mark) error {
	if err := d.Validate(); err != nil {
		return err
	}
	r, ok := s.reviews.get(d.ID)
	switch {
	case !ok:
		return fmt.Errorf("there is no review %q", d.ID)
	case r.Closed != nil:
		return fmt.Errorf("review %q was closed by event %d", d.ID, r.Closed.Event)
	case m.Time >= r.Deadline:
		return fmt.Errorf("the deadline of review %q, %s, is over: close it, and open another one", d.ID, r.Deadline)
	}
	i, ok := r.Item(d.Row)
	switch {
	case !ok:
		return fmt.Errorf("review %q has the rows 1 to %d, and not %d", d.ID, len(r.Items), d.Row)
	case i.Decided != nil:
		return fmt.Errorf("row %d was decided already, by event %d", d.Row, i.Decided.Event)
	case strings.TrimSpace(m.Reason) == "":
		return fmt.Errorf("a decision about a row needs a reason")
	}
	if err := s.MayReview(r, i, d.Reviewer); err != nil {
		return err
	}
	if err := s.reviewsAsPerson(d.Reviewer, m); err != nil {
		return err
	}
	stays := i.Identity != nil && d.Decision != aver.ReviewRevoke
	switch {
	case stays && d.Next <= m.Time:
		return fmt.Errorf("next: when is the identity next to be reviewed? It must be after now")
	case !stays && d.Next != 0:
		return fmt.Errorf("next: only an identity that stays has a next review")
	}
	next := *i
	next.Decided = &RowDecision{*d, m}
	s.reviews.put(r.ID, r.with(&next))
	if stays {
		s.recordRow(r.ID, i, d, m)
	}
	return nil
}

// recordRow makes the decision about an identity its last review.
func (s *State) recordRow(review string, i *ReviewItem, d *aver.ReviewDecided, m Mark) {
	record := &ReviewRecord{Mark: m, Review: review, ReviewRecorded: aver.ReviewRecorded{
		Identity: i.Identity, Reviewer: d.Reviewer, Verdict: aver.ReviewCurrent, FollowUp: d.Change, Next: d.Next,
	}}
	if d.Decision == aver.ReviewModify {
		record.Verdict = aver.ReviewOutdated
	}
	if known, ok := s.identities.get(*i.Identity); ok {
		record.Answered = known.ReviewBy
	}
	s.setReviewRecord(record)
}

func (s *State) reviewAcknowledged(a *aver.ReviewAcknowledged, m Mark) error {
	r, ok := s.reviews.get(a.ID)
	switch {
	case !ok:
		return fmt.Errorf("there is no review %q", a.ID)
	case len(a.Rows) == 0 || len(a.Rows) > len(r.Items) || !slices.IsSorted(a.Rows):
		return fmt.Errorf("rows: the numbers of rows, ascending")
	}
	var items []*ReviewItem
	for n, row := range a.Rows {
		i, ok := r.Item(row)
		switch {
		case !ok || n > 0 && row == a.Rows[n-1]:
			return fmt.Errorf("rows: %d is not a row of review %q, or stands twice", row, a.ID)
		case i.Decided == nil:
			return fmt.Errorf("row %d is not decided yet", row)
		case i.Acknowledged != nil:
			return fmt.Errorf("row %d was acknowledged already, by event %d", row, i.Acknowledged.Event)
		case !s.Owns(i, a.Owner):
			return fmt.Errorf("row %d is not for %s to acknowledge, but for its owner", row, a.Owner)
		}
		next := *i
		next.Acknowledged = &RowAcknowledgement{a.Owner, m}
		items = append(items, &next)
	}
	if err := s.asPerson(a.Owner, m); err != nil {
		return err
	}
	s.reviews.put(r.ID, r.with(items...))
	return nil
}

// Owns tells whether a row is for somebody to acknowledge.
func (s *State) Owns(i *ReviewItem, who aver.Ref) bool {
	return slices.ContainsFunc(s.Owners(i), func(owner aver.Ref) bool { return s.isIn(who, owner) })
}

// Settled tells whether nothing is left to be carried out for a row: it stays, or it was carried out, or what it is
// about has ended by itself.
func (s *State) Settled(i *ReviewItem, now aver.Time) bool {
	if i.Decided == nil || i.Decided.Decision == aver.ReviewKeep || i.Remediated != nil {
		return true
	}
	if i.Identity != nil {
		known, ok := s.identities.get(*i.Identity)
		return !ok || known.Status == aver.Retired
	}
	g, ok := s.grants.get(i.Grant)
	return !ok || !g.Stands(now)
}

func (s *State) reviewClosed(ref *aver.ReviewRef, m Mark) error {
	r, ok := s.reviews.get(ref.ID)
	switch {
	case !ok:
		return fmt.Errorf("there is no review %q", ref.ID)
	case r.Closed != nil:
		return fmt.Errorf("review %q was closed already, by event %d", ref.ID, r.Closed.Event)
	}
	left := r.Undecided()
	switch {
	case left > 0 && m.Time < r.Deadline:
		return fmt.Errorf("%d rows are not decided yet, and there is time until %s", left, r.Deadline)
	case left > 0 && strings.TrimSpace(m.Reason) == "":
		return fmt.Errorf("%d rows were not decided: closing an incomplete review needs a reason", left)
	}
	for _, i := range r.Items {
		if !s.Settled(i, m.Time) {
			return fmt.Errorf("row %d was decided %q, and that is not carried out yet", i.Row, i.Decided.Decision)
		}
	}
	next := *r
	next.Closed = &ReviewClosing{left, m}
	s.reviews.put(r.ID, &next)
	return nil
}

func (s *State) reviewRecorded(r *aver.ReviewRecorded, m Mark) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if r.Next <= m.Time {
		return fmt.Errorf("next: %s is over", r.Next)
	}
	record := &ReviewRecord{ReviewRecorded: *r, Mark: m}
	if r.Policy != nil {
		v, ok := s.Bundle(r.Policy.Name, r.Policy.Digest)
		switch {
		case !ok:
			return fmt.Errorf("bundle %q is not published in the version %s", r.Policy.Name, r.Policy.Digest)
		case v.By.Principal() == r.Reviewer:
			return fmt.Errorf("%s published this version, so somebody else has to review it", r.Reviewer)
		}
	} else {
		i, err := s.livingIdentity(*r.Identity)
		if err != nil {
			return err
		}
		for _, party := range s.Parties(&ReviewItem{ReviewRow: aver.ReviewRow{Identity: r.Identity}}) {
			if s.isIn(r.Reviewer, party) {
				return fmt.Errorf("%s has a stake in %s, as %s, so somebody else has to review it", r.Reviewer, r.Identity, party)
			}
		}
		record.Answered = i.ReviewBy
	}
	if err := s.reviewsAsPerson(r.Reviewer, m); err != nil {
		return err
	}
	s.setReviewRecord(record)
	return nil
}
