package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// review is an access review as it is shown, without its rows.
type review struct {
	aver.ReviewOpened
	authority.Mark
	State    string                   `json:"state"`
	Progress authority.ReviewProgress `json:"progress"`
	Closed   *authority.ReviewClosing `json:"closed,omitempty"`
}

func (a *API) renderReview(r *authority.Review) review {
	return review{r.ReviewOpened, r.Mark, r.State(a.now()), a.state().ReviewProgress(r, a.now()), r.Closed}
}

// reviewRow is a row as it is shown.
type reviewRow struct {
	*authority.ReviewItem
	rowFacts
	Owners  []aver.Ref `json:"owners,omitempty"`  // who acknowledges it
	Parties []aver.Ref `json:"parties,omitempty"` // who has a stake in it, and can't decide it
	Settled bool       `json:"settled"`           // nothing is left to be carried out
	Seen    string     `json:"seen"`              // digest of the facts, for a decision about them
	Reach   *reach     `json:"reach,omitempty"`
	LastUse *lastUse   `json:"last_use,omitempty"`
}

// rowFacts are what a reviewer decides about.
type rowFacts struct {
	Granted    *authority.Grant    `json:"granted,omitempty"`    // as it is now
	Registered *authority.Identity `json:"registered,omitempty"` // as it is now
	Changed    bool                `json:"changed,omitempty"`    // since the review was opened
}

func (a *API) renderRow(i *authority.ReviewItem) reviewRow {
	st := a.state()
	out := reviewRow{ReviewItem: i, Owners: st.Owners(i), Parties: st.Parties(i), Settled: st.Settled(i, a.now())}
	if i.Identity != nil {
		out.Registered, _ = st.Identity(*i.Identity)
		out.Changed = out.Registered == nil || out.Registered.Event != i.Event
	} else {
		out.Granted, _ = st.Grant(i.Grant)
		out.Changed = out.Granted == nil || out.Granted.Revoked != nil
	}
	text, err := aver.CanonicalJSON(out.rowFacts)
	if err == nil { // what is in the authority has a canonical form
		out.Seen = aver.Digest(text)
	}
	return out
}

func (a *API) listReviews(c *call) error {
	want := c.URL.Query().Get("state")
	var list []*authority.Review
	for _, r := range a.state().Reviews() {
		if want == "" || want == r.State(a.now()) {
			list = append(list, r)
		}
	}
	return writePage(c, "reviews", list, func(r *authority.Review) string { return indexKey(r.Event) }, a.renderReview)
}

// openReview opens an access review. Its rows are fixed at the state that the event follows.
func (a *API) openReview(c *call) error {
	var body struct {
		ID        string           `json:"id,omitempty"`
		Scope     aver.ReviewScope `json:"scope"`
		Reviewers []aver.Ref       `json:"reviewers"`
		Deadline  aver.Time        `json:"deadline"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if body.ID == "" {
		body.ID = randomID("rv-")
	}
	if _, ok := a.state().Review(body.ID); ok {
		return conflict("a review %q was already opened", body.ID)
	}
	made, err := a.o.PAP.OpenReview(c.Context(), c.who(), c.reason(body.Reason),
		aver.ReviewOpened{ID: body.ID, Scope: body.Scope, Reviewers: body.Reviewers, Deadline: body.Deadline})
	out, err := a.changed(c, made, err)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusCreated, out)
}

// reviewOf is the review that the path names.
func (a *API) reviewOf(c *call) (*authority.Review, error) {
	r, ok := a.state().Review(c.PathValue("id"))
	if !ok {
		return nil, notFound("there is no review %q", c.PathValue("id"))
	}
	return r, nil
}

// rowOf is the row that the path names, and its review.
func (a *API) rowOf(c *call) (*authority.Review, *authority.ReviewItem, error) {
	r, err := a.reviewOf(c)
	if err != nil {
		return nil, nil, err
	}
	row, err := strconv.Atoi(c.PathValue("row"))
	i, ok := r.Item(row)
	if err != nil || !ok {
		return nil, nil, notFound("review %q has the rows 1 to %d, and not %q", r.ID, len(r.Items), c.PathValue("row"))
	}
	return r, i, nil
}

func (a *API) getReview(c *call) error {
	r, err := a.reviewOf(c)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, a.renderReview(r))
}

func (a *API) listReviewRows(c *call) error {
	r, err := a.reviewOf(c)
	if err != nil {
		return err
	}
	want := c.URL.Query().Get("decision")
	var list []*authority.ReviewItem
	for _, i := range r.Items {
		decision := "undecided"
		if i.Decided != nil {
			decision = string(i.Decided.Decision)
		}
		if want == "" || want == decision {
			list = append(list, i)
		}
	}
	return writePage(c, "rows", list, func(i *authority.ReviewItem) string { return indexKey(uint64(i.Row)) }, a.renderRow)
}

// getReviewRow shows a row with what its subject can reach, and when it was last used.
func (a *API) getReviewRow(c *call) error {
	_, i, err := a.rowOf(c)
	if err != nil {
		return err
	}
	row := a.renderRow(i)
	if row.Reach, err = a.reach(c.Context(), i); err != nil {
		return err
	}
	if row.LastUse, err = a.findLastUse(c.Context(), i); err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, row)
}

// decided is the answer to a decision about a row.
type decided struct {
	*change
	// Remediation are the changes that carried it out at once.
	Remediation []*change `json:"remediation,omitempty"`
	// NotCarriedOut is why it is not carried out yet though it was to be.
	NotCarriedOut string `json:"not_carried_out,omitempty"`
}

// decideReviewRow decides a row. What is to be revoked is revoked at once.
func (a *API) decideReviewRow(c *call) error {
	r, i, err := a.rowOf(c)
	if err != nil {
		return err
	}
	var body struct {
		Reviewer *aver.Ref           `json:"reviewer,omitempty"`
		Decision aver.ReviewDecision `json:"decision"`
		Change   string              `json:"change,omitempty"`
		Next     aver.Time           `json:"next,omitzero"`
		Seen     string              `json:"seen,omitempty"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	reason := c.reason(body.Reason)
	if strings.TrimSpace(reason) == "" {
		return &aver.RequestError{Pointer: "/reason", Reason: "is required: a decision about a row says why"}
	}
	who, err := c.person(body.Reviewer)
	if err != nil {
		return err
	}
	if err := a.state().MayReview(r, i, who); err != nil {
		a.o.PAP.Attempted(c.Context(), c.who(), aver.EventReviewDecided, aver.ReviewDecided{ID: r.ID, Row: i.Row, Reviewer: who})
		return &problem{Slug: "forbidden", Status: http.StatusForbidden, Detail: err.Error()}
	}
	seen := a.renderRow(i).Seen
	if body.Seen != "" && body.Seen != seen {
		return conflict("what was seen is not what is shown now: look at the row again")
	}
	made, err := a.do(c, reason, aver.EventReviewDecided, aver.ReviewDecided{
		ID: r.ID, Row: i.Row, Reviewer: who, Decision: body.Decision, Change: body.Change, Next: body.Next, Seen: seen,
	})
	if err != nil {
		return err
	}
	out := decided{change: made}
	if body.Decision == aver.ReviewRevoke && !a.settled(r.ID, i.Row) {
		done, err := a.remediate(c, reason, r.ID, revocation(i))
		if err != nil {
			out.NotCarriedOut = a.problemOf(err).Detail
		} else {
			out.Remediation = append(out.Remediation, done)
		}
	}
	return c.writeJSON(http.StatusOK, out)
}

// settled tells whether nothing is left to be carried out for a row as it is now.
func (a *API) settled(review string, row int) bool {
	st := a.state()
	r, ok := st.Review(review)
	if !ok {
		return false
	}
	i, ok := r.Item(row)
	return ok && st.Settled(i, a.now())
}

// remedy is a change that carries out what was decided about a row.
type remedy struct {
	typ  aver.EventType
	data any
}

// remediate makes a change that carries out what a review decided.
func (a *API) remediate(c *call, reason, review string, what remedy) (*change, error) {
	made, err := a.o.PAP.Remediate(c.Context(), c.who(), reason, review, what.typ, what.data)
	return a.changed(c, made, err)
}

// revocation revokes the grant of a row, or suspends its identity.
func revocation(i *authority.ReviewItem) remedy {
	if i.Identity != nil {
		return remedy{aver.EventIdentitySuspended, *i.Identity}
	}
	return remedy{aver.EventGrantRevoked, aver.GrantRef{ID: i.Grant}}
}

// remediateReviewRow carries out what was decided about a row. A grant that is to be modified is replaced by a narrower
// one, and then revoked; an identity that is to be modified is registered anew.
func (a *API) remediateReviewRow(c *call) error {
	r, i, err := a.rowOf(c)
	if err != nil {
		return err
	}
	var body struct {
		Replacement *aver.Grant    `json:"replacement,omitempty"`
		Identity    *aver.Identity `json:"identity,omitempty"`
		withReason
	}
	if err := a.decodeOptional(c, &body); err != nil {
		return err
	}
	reason := c.reason(body.Reason)
	switch {
	case i.Decided == nil:
		return conflict("row %d is not decided yet", i.Row)
	case a.settled(r.ID, i.Row):
		return conflict("nothing is left to be carried out for row %d", i.Row)
	case body.Replacement != nil && (i.Identity != nil || i.Decided.Decision != aver.ReviewModify):
		return &aver.RequestError{Pointer: "/replacement", Reason: "is for a grant that is to be modified"}
	case (body.Identity != nil) != (i.Identity != nil && i.Decided.Decision == aver.ReviewModify):
		return &aver.RequestError{Pointer: "/identity", Reason: "is needed for an identity that is to be modified, and for nothing else"}
	}
	var todo []remedy
	switch {
	case body.Identity != nil:
		if body.Identity.Ref != (aver.Ref{}) && body.Identity.Ref != *i.Identity {
			return &aver.RequestError{Pointer: "/identity/id", Reason: fmt.Sprintf("the row is about %s", *i.Identity)}
		}
		body.Identity.Ref = *i.Identity
		todo = []remedy{{aver.EventIdentityUpdated, *body.Identity}}
	case body.Replacement != nil:
		todo = []remedy{{aver.EventGrantIssued, a.replacement(i, *body.Replacement)}, revocation(i)}
	default:
		todo = []remedy{revocation(i)}
	}
	done := make([]*change, len(todo))
	for n, what := range todo {
		if done[n], err = a.remediate(c, reason, r.ID, what); err != nil {
			return err
		}
	}
	return c.writeJSON(http.StatusOK, map[string]any{"remediation": done})
}

// replacement is a grant in place of that of a row. What the two must have in common need not be sent.
func (a *API) replacement(i *authority.ReviewItem, g aver.Grant) aver.Grant {
	if old, ok := a.state().Grant(i.Grant); ok {
		if g.From.IsZero() && g.To.IsZero() && g.Parent == "" {
			g.From, g.To, g.Parent = old.From, old.To, old.Parent
		}
		if g.Purpose == "" {
			g.Purpose = old.Purpose
		}
		if g.Revokers == nil {
			g.Revokers = old.Revokers
		}
	}
	if g.ID == "" {
		g.ID = randomID("g-")
	}
	return g
}

// acknowledgeReview acknowledges rows as their owner: those that the body names, or all that are theirs and decided.
func (a *API) acknowledgeReview(c *call) error {
	r, err := a.reviewOf(c)
	if err != nil {
		return err
	}
	var body struct {
		Owner *aver.Ref `json:"owner,omitempty"`
		Rows  []int     `json:"rows,omitempty"`
		withReason
	}
	if err := a.decodeOptional(c, &body); err != nil {
		return err
	}
	who, err := c.person(body.Owner)
	if err != nil {
		return err
	}
	if len(body.Rows) == 0 {
		st := a.state()
		for _, i := range r.Items {
			if i.Decided != nil && i.Acknowledged == nil && st.Owns(i, who) {
				body.Rows = append(body.Rows, i.Row)
			}
		}
		if len(body.Rows) == 0 {
			return conflict("no row of review %q is decided, not acknowledged, and for %s to acknowledge", r.ID, who)
		}
	}
	made, err := a.do(c, body.Reason, aver.EventReviewAcknowledged, aver.ReviewAcknowledged{ID: r.ID, Owner: who, Rows: body.Rows})
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

func (a *API) closeReview(c *call) error {
	r, err := a.reviewOf(c)
	if err != nil {
		return err
	}
	return a.doRef(c, aver.EventReviewClosed, aver.ReviewRef{ID: r.ID})
}

// recordBody is the review of a policy or of an identity by itself.
type recordBody struct {
	Reviewer *aver.Ref          `json:"reviewer,omitempty"`
	Verdict  aver.ReviewVerdict `json:"verdict"`
	FollowUp string             `json:"follow_up,omitempty"`
	Next     aver.Time          `json:"next"`
	withReason
}

// record records the review of something.
func (a *API) record(c *call, body *recordBody, policy *aver.PolicyRef, identity *aver.Ref) error {
	who, err := c.person(body.Reviewer)
	if err != nil {
		return err
	}
	made, err := a.do(c, body.Reason, aver.EventReviewRecorded, aver.ReviewRecorded{
		Policy: policy, Identity: identity, Reviewer: who, Verdict: body.Verdict, FollowUp: body.FollowUp, Next: body.Next,
	})
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

// reviewPolicy records the review of a version of a bundle: the active one, unless the body names another.
func (a *API) reviewPolicy(c *call) error {
	var body struct {
		Digest string `json:"digest,omitempty"`
		recordBody
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	name, digest := c.PathValue("name"), body.Digest
	if digest == "" {
		var ok bool
		if digest, _, ok = a.state().Active(name); !ok {
			return notFound("no version of bundle %q is active: name one by its digest", name)
		}
	}
	if _, ok := a.state().Bundle(name, digest); !ok {
		return notFound("bundle %q is not published in the version %s", name, digest)
	}
	return a.record(c, &body.recordBody, &aver.PolicyRef{Name: name, Digest: digest}, nil)
}

// reviewIdentity records the review of an identity.
func (a *API) reviewIdentity(c *call) error {
	var body recordBody
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	ref := c.pathRef()
	if _, ok := a.state().Identity(ref); !ok {
		return notFound("%s is not registered as an identity", ref)
	}
	return a.record(c, &body, nil, &ref)
}

// dueWithin is how far ahead reviews are listed as due, in days.
const dueWithin = 30

// listReviewsDue lists what is overdue, what will be due, and what nobody has scheduled.
func (a *API) listReviewsDue(c *call) error {
	days, err := c.number("days", dueWithin)
	if err != nil || days > 3660 {
		return badParameter("days", "a number of days from 0 to 3660")
	}
	want, kind := c.URL.Query().Get("state"), c.URL.Query().Get("kind")
	now := a.now()
	type due struct {
		authority.Due
		key string
	}
	list := []due{}
	for n, d := range a.state().ReviewsDue(now, now+aver.Time(days*24*60*60*1000)) {
		if (want == "" || want == d.State) && (kind == "" || kind == string(d.Kind)) {
			list = append(list, due{d, indexKey(uint64(n))})
		}
	}
	return writePage(c, "reviews", list, func(d due) string { return d.key }, func(d due) authority.Due { return d.Due })
}

// reviewsDesc describes [dueMetric].
var reviewsDesc = prometheus.NewDesc("aver_reviews_overdue",
	"Reviews that are overdue, by kind: of identities, policies and exceptions, and access reviews that are not closed.", []string{"kind"}, nil)

// dueMetric counts overdue reviews when somebody looks.
type dueMetric struct{ a *API }

// Describe implements [prometheus.Collector].
func (m dueMetric) Describe(out chan<- *prometheus.Desc) { out <- reviewsDesc }

// Collect implements [prometheus.Collector].
func (m dueMetric) Collect(out chan<- prometheus.Metric) {
	now := m.a.now()
	overdue := map[authority.DueKind]int{}
	for _, d := range m.a.state().ReviewsDue(now, now) {
		if d.State == "overdue" {
			overdue[d.Kind]++
		}
	}
	for _, kind := range authority.DueKinds() {
		out <- prometheus.MustNewConstMetric(reviewsDesc, prometheus.GaugeValue, float64(overdue[kind]), string(kind))
	}
}
