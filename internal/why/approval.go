package why

import "github.com/aver-authz/aver"

// Approval is the approval that a request cited, and who answered it (E4).
type Approval struct {
	ID         string    `json:"id"`
	Evaluation string    `json:"evaluation_id,omitempty"` // the decision that asked for it; "" if the approval is unknown
	Requested  *Event    `json:"requested,omitempty"`
	Votes      []Vote    `json:"votes,omitempty"`
	Ended      *Event    `json:"ended,omitempty"` // what refused or cancelled it
	Until      aver.Time `json:"until,omitzero"`  // until when it was good
}

// Vote is what an approver answered.
type Vote struct {
	Approver Party `json:"approver"`
	// OnBehalfOf is whose duty the approver did, and Delegated the event that let
	// them; nil: they answered in their own right.
	OnBehalfOf *Party `json:"on_behalf_of,omitempty"`
	Delegated  *Event `json:"delegated,omitempty"`
	Refused    bool   `json:"refused,omitempty"`
	Seen       string `json:"seen"` // digest of what they were shown
	In         *Event `json:"in"`
}

// cited tells what the request referred to: an approval, and the decision whose
// challenge it says to have met.
func (x *explainer) cited() {
	x.exceptions()
	x.out.Challenge = x.request.Challenged()
	id := x.request.Approval()
	if id == "" {
		return
	}
	out := &Approval{ID: id}
	x.out.Approval = out
	a, ok := x.st.Approval(id)
	if !ok {
		return
	}
	out.Evaluation, out.Requested, out.Until = a.Evaluation, eventOf(a.Mark), a.Until
	for _, v := range a.Votes {
		vote := Vote{Approver: x.party(v.Approver), Refused: v.Refused, Seen: v.Seen, In: eventOf(v.Mark)}
		if duty, ok := x.st.Duty(v.Duty); ok {
			from := x.party(v.OnBehalfOf)
			vote.OnBehalfOf, vote.Delegated = &from, eventOf(duty.Mark)
		}
		out.Votes = append(out.Votes, vote)
	}
	if a.Ended != nil {
		out.Ended = eventOf(*a.Ended)
	}
}

func (p page) cited(e *Explanation) {
	for _, ex := range e.Exceptions {
		p.exception(ex)
	}
	if e.Challenge != "" {
		p.line(2, "The caller says that it has met what decision %s asked for.", e.Challenge)
	}
	a := e.Approval
	if a == nil {
		return
	}
	p.WriteString("\n")
	if a.Requested == nil {
		p.line(2, "It cites approval %s, which nobody asked for.", a.ID)
		return
	}
	p.line(2, "It cites approval %s, asked for after decision %s", a.ID, a.Evaluation)
	p.line(5, "requested in %s", a.Requested)
	for _, v := range a.Votes {
		did := "approved"
		if v.Refused {
			did = "refused"
		}
		if v.OnBehalfOf != nil {
			p.line(5, "%s %s it on behalf of %s in %s", v.Approver.Ref, did, v.OnBehalfOf.Ref, v.In)
			p.line(7, "who delegated that duty in %s", v.Delegated)
		} else {
			p.line(5, "%s %s it in %s", v.Approver.Ref, did, v.In)
		}
		p.line(7, "what was shown has the digest %s", v.Seen)
	}
	if a.Ended != nil && (len(a.Votes) == 0 || !a.Votes[len(a.Votes)-1].Refused) {
		p.line(5, "cancelled in %s", a.Ended)
	}
	if a.Until != 0 {
		p.line(5, "good until %s", at(a.Until))
	}
}
