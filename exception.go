package aver

import (
	"fmt"
	"slices"
	"strings"
)

// ExceptionKind says what an exception is for.
type ExceptionKind string

// The kinds of exceptions.
const (
	BreakGlass      ExceptionKind = "break_glass"      // an emergency: used at once, approved afterwards
	Override        ExceptionKind = "override"         // a rule is set aside for one purpose
	TemporaryAccess ExceptionKind = "temporary_access" // access that somebody has not otherwise
)

// ExceptionKinds lists all kinds.
func ExceptionKinds() []ExceptionKind {
	return []ExceptionKind{BreakGlass, Override, TemporaryAccess}
}

// ExceptionRequest asks for an exception (H1). Its fields are those without which
// nobody can answer for it (PCI DSS 4.0, 8.2.2): one person, for one purpose, for
// a limited time, who they are being confirmed, and who in the management
// approves. That it is prevented otherwise follows from the policies: a kind of
// exception that no active bundle enables is refused.
type ExceptionRequest struct {
	ID                string          `json:"id"`
	Kind              ExceptionKind   `json:"kind"`
	Subject           Ref             `json:"subject"` // the one person it is for, a registered human user
	Actions           []string        `json:"actions"` // as those of a [Grant]
	Resources         []ResourceScope `json:"resources"`
	Justification     string          `json:"justification"`      // the business need, and the single purpose
	IdentityConfirmed string          `json:"identity_confirmed"` // how it was made sure who the person is
	Approver          Ref             `json:"approver"`           // who in the management approves it
	Duration          int64           `json:"duration"`           // seconds from its activation
}

// ExceptionVote is what the approver of an exception answered.
type ExceptionVote struct {
	ID       string `json:"id"`
	Approver Ref    `json:"approver"`
}

// ExceptionRef names an exception.
type ExceptionRef struct {
	ID string `json:"id"`
}

// Verdict is what a review found.
type Verdict string

// The verdicts of a review.
const (
	Justified   Verdict = "justified"
	Unjustified Verdict = "unjustified"
)

// ExceptionReview is the review of an exception after it was used.
type ExceptionReview struct {
	ID       string  `json:"id"`
	Reviewer Ref     `json:"reviewer"`
	Verdict  Verdict `json:"verdict"`
	FollowUp string  `json:"follow_up,omitempty"` // what is to be done; needed when it was unjustified
}

// Validate checks what can be checked of the request alone. The error is one
// plain sentence.
func (x *ExceptionRequest) Validate() error {
	scope := Grant{
		ID: x.ID, From: Ref{Type: "a", ID: "a"}, To: Ref{Type: "b", ID: "b"}, Actions: x.Actions, Resources: x.Resources,
	}
	if err := scope.Validate(); err != nil {
		return err
	}
	for _, r := range []struct {
		name string
		ref  Ref
	}{{"subject", x.Subject}, {"approver", x.Approver}} {
		if err := r.ref.validate(); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	for _, text := range []struct{ name, value string }{{"justification", x.Justification}, {"identity_confirmed", x.IdentityConfirmed}} {
		if strings.TrimSpace(text.value) == "" {
			return fmt.Errorf("%s: it is missing", text.name)
		}
		if err := validateText(text.name, text.value); err != nil {
			return err
		}
	}
	switch {
	case !slices.Contains(ExceptionKinds(), x.Kind):
		return fmt.Errorf("kind %q is not one of %q", brief(string(x.Kind)), ExceptionKinds())
	case x.Duration < 1:
		return fmt.Errorf("duration: it is missing: for how many seconds is it needed?")
	case x.Approver == x.Subject:
		return fmt.Errorf("approver: %s can't approve their own exception", x.Subject)
	case slices.Contains(x.Actions, "*") && slices.ContainsFunc(x.Resources, func(r ResourceScope) bool { return r.Type == "*" }):
		return fmt.Errorf("an exception for every action on everything has no single purpose: name actions or resources")
	}
	return nil
}
