package aver

import (
	"fmt"
	"slices"
	"strings"
)

// ReviewExtent says how much of the authority an access review is about.
type ReviewExtent string

// The extents of access reviews.
const (
	ReviewAll        ReviewExtent = "all"      // every grant that stands and every machine identity that is not retired
	ReviewOfOwner    ReviewExtent = "owner"    // the machine identities of one owner, and the grants from and to them
	ReviewOfIdentity ReviewExtent = "identity" // one party, and the grants from and to it
)

// ReviewScope is what an access review is about.
type ReviewScope struct {
	Of       ReviewExtent `json:"of"`
	Owner    string       `json:"owner,omitempty"`    // of [ReviewOfOwner], as [Identity] has it
	Identity *Ref         `json:"identity,omitempty"` // of [ReviewOfIdentity]
}

// ReviewOpened opens an access review: a look at what somebody holds, by others,
// who decide about each row until a deadline (A4, I2).
type ReviewOpened struct {
	ID        string      `json:"id"`
	Scope     ReviewScope `json:"scope"`
	Reviewers []Ref       `json:"reviewers"` // people, or groups of people
	Deadline  Time        `json:"deadline"`
	// Size is the size of the authority log whose state is reviewed: that before
	// this event. Rows and Digest commit to what there was, [ReviewDigest].
	Size   uint64 `json:"size"`
	Rows   int    `json:"rows"`
	Digest string `json:"digest"`
}

// ReviewRow is one grant, or one machine identity, under review. Event is the
// index of the event by which it was as it was when the review was opened.
type ReviewRow struct {
	Row      int    `json:"row"` // from 1
	Grant    string `json:"grant,omitempty"`
	Identity *Ref   `json:"identity,omitempty"`
	Event    uint64 `json:"event"`
}

// ReviewDigest commits to the rows of a review: [Digest] of their canonical JSON.
func ReviewDigest(rows []ReviewRow) string {
	text, err := CanonicalJSON(rows)
	if err != nil {
		panic(err) // ids of what is in the authority have a canonical form
	}
	return Digest(text)
}

// ReviewRef names a review.
type ReviewRef struct {
	ID string `json:"id"`
}

// ReviewDecision is what a reviewer decided about a row.
type ReviewDecision string

// The decisions about a row.
const (
	ReviewKeep   ReviewDecision = "keep"
	ReviewRevoke ReviewDecision = "revoke" // the grant is to be revoked, the identity suspended
	ReviewModify ReviewDecision = "modify" // it is to be replaced by something narrower
)

// ReviewDecisions lists all decisions.
func ReviewDecisions() []ReviewDecision {
	return []ReviewDecision{ReviewKeep, ReviewRevoke, ReviewModify}
}

// ReviewDecided is the decision about one row. Its reason is that of the event.
type ReviewDecided struct {
	ID       string         `json:"id"`
	Row      int            `json:"row"`
	Reviewer Ref            `json:"reviewer"`
	Decision ReviewDecision `json:"decision"`
	Change   string         `json:"change,omitempty"` // of [ReviewModify]: what is to become of it
	Next     Time           `json:"next,omitzero"`    // of an identity: when it is next to be reviewed
	Seen     string         `json:"seen,omitempty"`   // digest of what the reviewer was shown
}

// ReviewAcknowledged says that the owner of rows has taken note of what was
// decided about them.
type ReviewAcknowledged struct {
	ID    string `json:"id"`
	Owner Ref    `json:"owner"`
	Rows  []int  `json:"rows"` // ascending
}

// ReviewVerdict is what the review of a policy or of one identity found.
type ReviewVerdict string

// The verdicts: does it reflect what is expected today?
const (
	ReviewCurrent  ReviewVerdict = "current"
	ReviewOutdated ReviewVerdict = "outdated"
)

// ReviewRecorded is the review of one version of a bundle (E5), or of one
// identity (A4).
type ReviewRecorded struct {
	Policy   *PolicyRef    `json:"policy,omitempty"` // one of the two is set
	Identity *Ref          `json:"identity,omitempty"`
	Reviewer Ref           `json:"reviewer"`
	Verdict  ReviewVerdict `json:"verdict"`
	FollowUp string        `json:"follow_up,omitempty"` // what is to be done; needed when it is outdated
	Next     Time          `json:"next"`                // when it is next to be reviewed
}

const maxReviewers = 100

// Validate checks what can be checked of a scope alone. The error is one plain
// sentence.
func (s *ReviewScope) Validate() error {
	switch {
	case s.Of != ReviewAll && s.Of != ReviewOfOwner && s.Of != ReviewOfIdentity:
		return fmt.Errorf("scope: of %q is none of %q, %q and %q", brief(string(s.Of)), ReviewAll, ReviewOfOwner, ReviewOfIdentity)
	case (s.Of == ReviewOfOwner) != (s.Owner != ""), (s.Of == ReviewOfIdentity) != (s.Identity != nil):
		return fmt.Errorf("scope: of %q has an owner, of %q an identity, and nothing else has", ReviewOfOwner, ReviewOfIdentity)
	}
	if s.Identity != nil {
		if err := s.Identity.validate(); err != nil {
			return fmt.Errorf("scope: identity: %w", err)
		}
	}
	return validateText("owner", s.Owner)
}

// Validate checks what can be checked of an opening alone. The error is one
// plain sentence.
func (r *ReviewOpened) Validate() error {
	if err := r.Scope.Validate(); err != nil {
		return err
	}
	switch {
	case !isGrantID(r.ID) || r.ID == "due":
		return fmt.Errorf("id %q: a review's id has 1 to %d visible ASCII characters, without slashes or quotes, and is not \"due\"", brief(r.ID), maxGrantID)
	case len(r.Reviewers) == 0 || len(r.Reviewers) > maxReviewers:
		return fmt.Errorf("reviewers: from 1 to %d", maxReviewers)
	case r.Deadline <= 0:
		return fmt.Errorf("deadline: it is missing: until when is everything to be decided?")
	}
	for i, ref := range r.Reviewers {
		if err := ref.validate(); err != nil {
			return fmt.Errorf("reviewers: %w", err)
		}
		if slices.Contains(r.Reviewers[:i], ref) {
			return fmt.Errorf("reviewers: %s stands twice", ref)
		}
	}
	return nil
}

// Validate checks what can be checked of a decision alone. The error is one
// plain sentence.
func (d *ReviewDecided) Validate() error {
	if err := d.Reviewer.validate(); err != nil {
		return fmt.Errorf("reviewer: %w", err)
	}
	switch {
	case !slices.Contains(ReviewDecisions(), d.Decision):
		return fmt.Errorf("decision %q is not one of %q", brief(string(d.Decision)), ReviewDecisions())
	case (d.Decision == ReviewModify) != (strings.TrimSpace(d.Change) != ""):
		return fmt.Errorf("change: %q says what is to become of it, and nothing else does", ReviewModify)
	case d.Seen != "" && !isDigest(d.Seen):
		return fmt.Errorf("seen: not a SHA-256 in base64url")
	}
	return validateText("change", d.Change)
}

// Validate checks what can be checked of a review alone. The error is one plain
// sentence.
func (r *ReviewRecorded) Validate() error {
	if err := r.Reviewer.validate(); err != nil {
		return fmt.Errorf("reviewer: %w", err)
	}
	switch {
	case (r.Policy == nil) == (r.Identity == nil):
		return fmt.Errorf("either a version of a policy or an identity is reviewed")
	case r.Verdict != ReviewCurrent && r.Verdict != ReviewOutdated:
		return fmt.Errorf("verdict %q is not one of %q and %q", brief(string(r.Verdict)), ReviewCurrent, ReviewOutdated)
	case r.Verdict == ReviewOutdated && strings.TrimSpace(r.FollowUp) == "":
		return fmt.Errorf("follow_up: what is to be done about what is outdated?")
	case r.Next <= 0:
		return fmt.Errorf("next: it is missing: when is the next review?")
	}
	if r.Identity != nil {
		if err := r.Identity.validate(); err != nil {
			return fmt.Errorf("identity: %w", err)
		}
	}
	return validateText("follow_up", r.FollowUp)
}
