package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/aver-authz/aver"
)

// Review is an access review and where it stands, without its rows.
type Review struct {
	aver.ReviewOpened
	Mark                    // of the event that opened it
	State    string         `json:"state"` // open, overdue, decided, completed or incomplete
	Progress ReviewProgress `json:"progress"`
	Closed   *ReviewClosing `json:"closed,omitempty"`
}

// ReviewProgress counts the rows of a review.
type ReviewProgress struct {
	Keep          int `json:"keep"`
	Revoke        int `json:"revoke"`
	Modify        int `json:"modify"`
	Undecided     int `json:"undecided"`
	NotCarriedOut int `json:"not_carried_out"`
	Acknowledged  int `json:"acknowledged"`
}

// ReviewClosing is how a review was closed.
type ReviewClosing struct {
	Undecided int `json:"undecided,omitempty"` // rows; more than none: it is incomplete
	Mark
}

// ReviewRow is a row of an access review.
type ReviewRow struct {
	aver.ReviewRow
	Decided      *RowDecision        `json:"decided,omitempty"`
	Replaced     *Mark               `json:"replaced,omitempty"`   // of the event that issued the grant in its place
	Remediated   *Mark               `json:"remediated,omitempty"` // of the event that carried it out
	Acknowledged *RowAcknowledgement `json:"acknowledged,omitempty"`
	Granted      *Grant              `json:"granted,omitempty"`    // the grant as it is now
	Registered   *Identity           `json:"registered,omitempty"` // the identity as it is now
	Changed      bool                `json:"changed,omitempty"`    // since the review was opened
	Owners       []aver.Ref          `json:"owners,omitempty"`
	Parties      []aver.Ref          `json:"parties,omitempty"` // who can't decide it
	Settled      bool                `json:"settled"`
	Seen         string              `json:"seen"`            // digest of granted, registered and changed
	Reach        *Reach              `json:"reach,omitempty"` // of one row only
	LastUse      *LastUse            `json:"last_use,omitempty"`
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

// Reach is what the holder of a grant, or an identity by itself, could do now without an approval or further proof.
type Reach struct {
	Found    []Reachable `json:"found"`
	Complete bool        `json:"complete"` // false: some actions or types were not looked at
	Size     uint64      `json:"authority_size"`
	Time     aver.Time   `json:"evaluated_at"`
}

// Reachable are some of the resources of a type to which something can be done.
type Reachable struct {
	Action    string   `json:"action"`
	Type      string   `json:"type"`
	Resources []string `json:"resources"`
	More      bool     `json:"more,omitempty"`
}

// LastUse is the newest decision that allowed something to somebody, or under a grant.
type LastUse struct {
	EvaluationID string    `json:"evaluation_id,omitempty"` // "": there is none among those that were searched
	Time         aver.Time `json:"time,omitzero"`
	Searched     uint64    `json:"searched"`
}

// ReviewDue is a review that has to be done.
type ReviewDue struct {
	Kind      string          `json:"kind"`  // identity, policy, exception or review
	State     string          `json:"state"` // overdue, due or unscheduled
	Due       aver.Time       `json:"due,omitzero"`
	Identity  *aver.Ref       `json:"identity,omitempty"`
	Policy    *aver.PolicyRef `json:"policy,omitempty"`
	Exception string          `json:"exception,omitempty"`
	Review    string          `json:"review,omitempty"`
	Owner     string          `json:"owner,omitempty"`
	Last      *Mark           `json:"last,omitempty"` // of the last review
}

// Reviews lists the access reviews in the order in which they were opened.
func (c *Client) Reviews(ctx context.Context) iter.Seq2[Review, error] {
	return pages[Review](ctx, c, "/v1/reviews", "reviews", "after", nil)
}

// ReviewsDue lists the reviews that are overdue, those due within some days, and what nobody has scheduled.
func (c *Client) ReviewsDue(ctx context.Context, days int) iter.Seq2[ReviewDue, error] {
	return pages[ReviewDue](ctx, c, "/v1/reviews/due", "reviews", "after", url.Values{"days": {strconv.Itoa(days)}})
}

// Review returns an access review.
func (c *Client) Review(ctx context.Context, id string) (*Review, error) {
	var r Review
	if err := c.get(ctx, at("reviews", id), nil, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// ReviewRows lists the rows of a review.
func (c *Client) ReviewRows(ctx context.Context, id string) iter.Seq2[ReviewRow, error] {
	return pages[ReviewRow](ctx, c, at("reviews", id, "rows"), "rows", "after", nil)
}

// ReviewRow returns a row with what its subject can reach and its last use.
func (c *Client) ReviewRow(ctx context.Context, id string, row int) (*ReviewRow, error) {
	var r ReviewRow
	if err := c.get(ctx, at("reviews", id, "rows", strconv.Itoa(row)), nil, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// OpenReview opens an access review. Size, rows and digest are the server's to fill in, and the id if it is "".
func (c *Client) OpenReview(ctx context.Context, r aver.ReviewOpened, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, "/v1/reviews", struct {
		ID        string           `json:"id,omitempty"`
		Scope     aver.ReviewScope `json:"scope"`
		Reviewers []aver.Ref       `json:"reviewers"`
		Deadline  aver.Time        `json:"deadline"`
		reasonBody
	}{r.ID, r.Scope, r.Reviewers, r.Deadline, reasonBody{reason}})
}

// RowDecided is the answer to a decision about a row.
type RowDecided struct {
	Change
	Remediation   []Change `json:"remediation,omitempty"`     // what carried it out at once
	NotCarriedOut string   `json:"not_carried_out,omitempty"` // why what is to be revoked is not revoked yet
}

// DecideReviewRow decides a row. The reviewer is whom the token belongs to; it is sent only where the server
// authenticates nobody. What is to be revoked is revoked at once.
func (c *Client) DecideReviewRow(ctx context.Context, d aver.ReviewDecided, reviewer *aver.Ref, reason string) (*RowDecided, error) {
	var out RowDecided
	err := c.doJSON(ctx, call{method: http.MethodPost, path: at("reviews", d.ID, "rows", strconv.Itoa(d.Row), "decide"), body: struct {
		Reviewer *aver.Ref           `json:"reviewer,omitempty"`
		Decision aver.ReviewDecision `json:"decision"`
		Change   string              `json:"change,omitempty"`
		Next     aver.Time           `json:"next,omitzero"`
		Seen     string              `json:"seen,omitempty"`
		reasonBody
	}{reviewer, d.Decision, d.Change, d.Next, d.Seen, reasonBody{reason}}}, &out)
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// RemediateReviewRow carries out what was decided about a row, and returns the changes that did. Replacement and identity
// are of what is to be modified, and nil otherwise.
func (c *Client) RemediateReviewRow(ctx context.Context, id string, row int, replacement *aver.Grant, identity *aver.Identity, reason string) ([]Change, error) {
	var out struct {
		Remediation []Change `json:"remediation"`
	}
	err := c.doJSON(ctx, call{method: http.MethodPost, path: at("reviews", id, "rows", strconv.Itoa(row), "remediate"), body: struct {
		Replacement *aver.Grant    `json:"replacement,omitempty"`
		Identity    *aver.Identity `json:"identity,omitempty"`
		reasonBody
	}{replacement, identity, reasonBody{reason}}}, &out)
	return out.Remediation, err
}

// AcknowledgeReview acknowledges rows as their owner: those that are named, or all that are the owner's and decided.
func (c *Client) AcknowledgeReview(ctx context.Context, id string, owner *aver.Ref, rows []int, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("reviews", id, "acknowledge"), struct {
		Owner *aver.Ref `json:"owner,omitempty"`
		Rows  []int     `json:"rows,omitempty"`
		reasonBody
	}{owner, rows, reasonBody{reason}})
}

// CloseReview closes an access review.
func (c *Client) CloseReview(ctx context.Context, id, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("reviews", id, "close"), reasonBody{reason})
}

// recordBody is the review of one thing.
type recordBody struct {
	Digest   string             `json:"digest,omitempty"`
	Reviewer *aver.Ref          `json:"reviewer,omitempty"`
	Verdict  aver.ReviewVerdict `json:"verdict"`
	FollowUp string             `json:"follow_up,omitempty"`
	Next     aver.Time          `json:"next"`
	reasonBody
}

// RecordReview records the review of a version of a policy, the active one if it names no digest, or of an identity. The
// reviewer is whom the token belongs to; reviewer is sent only where the server authenticates nobody.
func (c *Client) RecordReview(ctx context.Context, r aver.ReviewRecorded, reviewer *aver.Ref, reason string) (*Change, error) {
	body := recordBody{Reviewer: reviewer, Verdict: r.Verdict, FollowUp: r.FollowUp, Next: r.Next, reasonBody: reasonBody{reason}}
	if r.Policy != nil {
		body.Digest = r.Policy.Digest
		return c.change(ctx, http.MethodPost, at("policies", r.Policy.Name, "review"), body)
	}
	return c.change(ctx, http.MethodPost, at("identities", r.Identity.Type, r.Identity.ID, "review"), body)
}
