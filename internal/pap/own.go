package pap

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// attempted leaves a record of somebody's attempt to answer for what comes from themselves, which the rules of the
// authority refuse before anything is decided: it is asked for all the same, and denied by the administration bundle, so
// that the attempt is evidence (I5). Nothing depends on the answer.
func (p *Point) attempted(ctx context.Context, who Administrator, at *authority.State, event *aver.Event) {
	if p.decisions == nil || !who.Decided() || !own(at, event) {
		return
	}
	resource, err := thing(at, event)
	if err == nil {
		_, err = p.Permit(ctx, who, event.Type.Action(), resource)
	}
	var denied *DeniedError
	if err != nil && !errors.As(err, &denied) {
		p.o.Logger.Warn("an attempt to answer for oneself could not be recorded", "type", string(event.Type), "error", err)
	}
}

// Attempted leaves a record, as [Point.Do] does, of an attempt to answer for oneself that was refused before a change was
// asked for. It makes no change.
func (p *Point) Attempted(ctx context.Context, who Administrator, typ aver.EventType, data any) {
	at := p.Current().State
	if event, err := p.newEvent(who.By, "", typ, data, at); err == nil {
		p.attempted(ctx, who, at, event)
	}
}

// own tells whether an event answers for what comes from whoever makes it, and the administration bundle as shipped
// forbids that.
func own(at *authority.State, event *aver.Event) bool {
	var ref struct {
		ID     string          `json:"id"`
		Row    int             `json:"row"`    // of a review
		Policy *aver.PolicyRef `json:"policy"` // that was reviewed
		Class  string          `json:"class"`  // of retention
	}
	if json.Unmarshal(event.Data, &ref) != nil {
		return false
	}
	principal := event.By.Principal()
	switch event.Type {
	case aver.EventExceptionApproved, aver.EventExceptionReviewed:
		x, ok := at.Exception(ref.ID)
		return ok && x.Subject == principal
	case aver.EventApprovalGranted:
		a, ok := at.Approval(ref.ID)
		return ok && a.From(principal)
	case aver.EventReviewDecided:
		r, ok := at.Review(ref.ID)
		if !ok {
			return false
		}
		i, ok := r.Item(ref.Row)
		return ok && slices.Contains(at.Parties(i), principal)
	case aver.EventReviewRecorded:
		if ref.Policy == nil {
			return false
		}
		v, ok := at.Bundle(ref.Policy.Name, ref.Policy.Digest)
		return ok && v.By.Principal() == principal
	case aver.EventErasureApproved:
		r, ok := at.Erasure(ref.ID)
		return ok && r.By.Principal() == principal
	case aver.EventRetentionApproved:
		c, ok := at.RetentionClass(ref.Class)
		return ok && c.Proposed != nil && c.Proposed.By.Principal() == principal
	}
	return false
}
