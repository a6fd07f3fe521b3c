package why

import (
	"slices"

	"github.com/aver-authz/aver"
)

// Exception is an exception of the actor's that was asked, since the policies did
// not allow (E3, H1).
type Exception struct {
	aver.ExceptionRequest
	Applied   bool      `json:"applied"` // it lets the request through
	Requested *Event    `json:"requested"`
	Approved  *Event    `json:"approved,omitempty"`
	Activated *Event    `json:"activated"`
	Until     aver.Time `json:"until"`
}

// alone tells of a frame whether it evaluates one permit by itself: that of a
// grant or of an exception.
func alone(f aver.Frame) bool { return f.As == aver.FrameGrant || f.As == aver.FrameException }

// excepted tells whether an exception stood in for the actor's frame.
func (s *scene) excepted() bool {
	return slices.ContainsFunc(s.Reasons, func(r aver.Reason) bool { return r.Code == aver.ReasonException })
}

func (x *explainer) exceptions() {
	for _, s := range x.all {
		for _, f := range s.Frames {
			ex, ok := x.st.Exception(f.Exception)
			if f.As != aver.FrameException || !ok ||
				slices.ContainsFunc(x.out.Exceptions, func(e Exception) bool { return e.ID == ex.ID }) {
				continue
			}
			out := Exception{ExceptionRequest: ex.ExceptionRequest, Requested: eventOf(ex.Mark), Until: ex.Until}
			out.Applied = slices.ContainsFunc(s.Reasons, func(r aver.Reason) bool { return r.Code == aver.ReasonException && r.Detail == ex.ID })
			if ex.Approved != nil {
				out.Approved = eventOf(ex.Approved.Mark)
			}
			if ex.Activated != nil {
				out.Activated = eventOf(*ex.Activated)
			}
			x.out.Exceptions = append(x.out.Exceptions, out)
		}
	}
}

func (p page) exception(e Exception) {
	p.WriteString("\n")
	applied := "was asked, and does not help here"
	if e.Applied {
		applied = "lets it through where the policies do not"
	}
	p.line(2, "Exception %s (%s) %s", e.ID, e.Kind, applied)
	p.line(5, "for %s, to %s on %s", e.Subject.ID, actionWords(e.Actions), either(scopes(e.Resources)))
	p.line(5, "because: %s", e.Justification)
	p.line(5, "who it is was confirmed by: %s", e.IdentityConfirmed)
	p.line(5, "requested in %s", e.Requested)
	if e.Approved != nil {
		p.line(5, "approved in %s", e.Approved)
	} else {
		p.line(5, "not approved yet; %s is to answer for it", e.Approver)
	}
	p.line(5, "active since %s, until %s", e.Activated, at(e.Until))
}

func scopes(resources []aver.ResourceScope) []string {
	var out []string
	for _, r := range resources {
		out = append(out, scopeWords(r))
	}
	return out
}
