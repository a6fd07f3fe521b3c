package api

import (
	"net/http"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/webhook"
)

// dutyDelegation is a delegation of duty, and where it stands now.
type dutyDelegation struct {
	*authority.Duty
	State string `json:"state"` // pending, active, expired or revoked
}

func (a *API) duty(d *authority.Duty) *dutyDelegation {
	return &dutyDelegation{Duty: d, State: d.State(a.now())}
}

// seesDuty tells whether the caller may see a delegation: an approver sees what they gave and what they were given.
func (c *call) seesDuty(d *authority.Duty) bool {
	who := c.caller.person
	return c.caller.role != aver.RoleApprover || who != nil && (*who == d.From || *who == d.To)
}

func (a *API) listDuties(c *call) error {
	var list []*authority.Duty
	for _, d := range a.state().Duties() {
		if c.seesDuty(d) {
			list = append(list, d)
		}
	}
	key := func(d *authority.Duty) string { return indexKey(d.Event) }
	return writePage(c, "duties", list, key, func(d *authority.Duty) *dutyDelegation { return a.duty(d) })
}

func (a *API) getDuty(c *call) error {
	d, ok := a.state().Duty(c.PathValue("id"))
	if !ok || !c.seesDuty(d) {
		return notFound("there is no delegation of duty %q that is yours to see", c.PathValue("id"))
	}
	return c.writeJSON(http.StatusOK, a.duty(d))
}

// delegateDuty lets somebody do the duty of an approver for a while: the caller's own, unless the body names another.
func (a *API) delegateDuty(c *call) error {
	var body struct {
		aver.DutyDelegation
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	d := body.DutyDelegation
	if d.From.IsZero() && c.caller.person != nil {
		d.From = *c.caller.person
	}
	if d.ID == "" {
		d.ID = randomID("d-")
	}
	if _, ok := a.state().Duty(d.ID); ok {
		return conflict("the id %q was already used", d.ID)
	}
	made, err := a.do(c, body.Reason, aver.EventDutyDelegated, d)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusCreated, made)
}

func (a *API) revokeDuty(c *call) error {
	d, ok := a.state().Duty(c.PathValue("id"))
	if !ok || !c.seesDuty(d) {
		return notFound("there is no delegation of duty %q that is yours to see", c.PathValue("id"))
	}
	return a.doRef(c, aver.EventDutyRevoked, aver.DutyRef{ID: d.ID})
}

// listWebhooks tells how the receivers of webhooks and callbacks are doing.
func (a *API) listWebhooks(c *call) error {
	return c.writeJSON(http.StatusOK, map[string]any{"webhooks": append([]webhook.Status{}, a.o.Webhooks.Receivers()...)})
}
