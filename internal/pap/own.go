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

// own tells whether an event answers for what comes from whoever makes it.
func own(at *authority.State, event *aver.Event) bool {
	var ref struct {
		ID string `json:"id"`
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
		return ok && (a.By.Principal() == principal || slices.Contains(a.Parties, principal))
	}
	return false
}
