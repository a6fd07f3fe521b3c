package api

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// exception is an exception as it is shown.
type exception struct {
	*authority.Exception
	State     string    `json:"state"`
	ReviewDue aver.Time `json:"review_due,omitzero"` // of one that was activated
}

func (a *API) renderException(x *authority.Exception) exception {
	out := exception{Exception: x, State: x.State(a.now())}
	if x.Activated != nil {
		out.ReviewDue = x.ReviewDue()
	}
	return out
}

func (a *API) listExceptions(c *call) error {
	want := c.URL.Query().Get("state")
	var list []*authority.Exception
	for _, x := range a.state().Exceptions() {
		if want == "" || want == x.State(a.now()) {
			list = append(list, x)
		}
	}
	key := func(x *authority.Exception) string { return indexKey(x.Event) }
	return writePage(c, "exceptions", list, key, a.renderException)
}

func (a *API) getException(c *call) error {
	x, ok := a.state().Exception(c.PathValue("id"))
	if !ok {
		return notFound("there is no exception %q", c.PathValue("id"))
	}
	return c.writeJSON(http.StatusOK, a.renderException(x))
}

// mine refuses whoever is neither the person that an exception is for nor an administrator.
func (c *call) mine(subject aver.Ref) error {
	if c.caller.role == aver.RoleAdmin || c.caller.person != nil && *c.caller.person == subject {
		return nil
	}
	return &problem{Slug: "forbidden", Status: http.StatusForbidden, Detail: "this is for " + subject.String() + " or an administrator to do"}
}

// requestException asks for an exception. Activate uses break-glass at once.
func (a *API) requestException(c *call) error {
	var body struct {
		aver.ExceptionRequest
		Activate bool `json:"activate,omitempty"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if err := c.mine(body.Subject); err != nil {
		return err
	}
	if body.Activate && body.Kind != aver.BreakGlass {
		return &aver.RequestError{Pointer: "/activate", Reason: "is for break_glass only: others are approved first"}
	}
	if body.ID == "" {
		body.ID = randomID("x-")
	}
	if _, ok := a.state().Exception(body.ID); ok {
		return conflict("an exception %q was already requested", body.ID)
	}
	made, err := a.do(c, body.Reason, aver.EventExceptionRequested, body.ExceptionRequest)
	if err != nil {
		return err
	}
	if body.Activate {
		if made, err = a.activateNow(c, body.ID, body.Reason); err != nil {
			return err
		}
	}
	return c.writeJSON(http.StatusCreated, made)
}

// activateNow lets an exception take effect. Break-glass is an alarm: it stands in the log of the server and in a metric.
func (a *API) activateNow(c *call, id, reason string) (*change, error) {
	made, err := a.do(c, reason, aver.EventExceptionActivated, aver.ExceptionRef{ID: id})
	if err != nil {
		return nil, err
	}
	if x, ok := a.state().Exception(id); ok && x.Kind == aver.BreakGlass {
		a.o.Logger.Warn("break-glass was used", "exception", id, "event", made.Index)
	}
	return made, nil
}

// exceptionOf is the exception that the path names.
func (a *API) exceptionOf(c *call) (*authority.Exception, error) {
	x, ok := a.state().Exception(c.PathValue("id"))
	if !ok {
		return nil, notFound("there is no exception %q", c.PathValue("id"))
	}
	return x, nil
}

func (a *API) activateException(c *call) error {
	x, err := a.exceptionOf(c)
	if err == nil {
		err = c.mine(x.Subject)
	}
	var body withReason
	if err == nil {
		err = a.decodeOptional(c, &body)
	}
	if err != nil {
		return err
	}
	made, err := a.activateNow(c, x.ID, body.Reason)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

func (a *API) closeException(c *call) error {
	x, err := a.exceptionOf(c)
	if err == nil {
		err = c.mine(x.Subject)
	}
	if err != nil {
		return err
	}
	return a.doRef(c, aver.EventExceptionClosed, aver.ExceptionRef{ID: x.ID})
}

func (a *API) approveException(c *call) error {
	return a.answerException(c, aver.EventExceptionApproved)
}

func (a *API) rejectException(c *call) error {
	return a.answerException(c, aver.EventExceptionRejected)
}

func (a *API) answerException(c *call, typ aver.EventType) error {
	x, err := a.exceptionOf(c)
	if err != nil {
		return err
	}
	var body struct {
		Approver *aver.Ref `json:"approver,omitempty"`
		withReason
	}
	if err := a.decodeOptional(c, &body); err != nil {
		return err
	}
	who, err := c.person(body.Approver)
	if err != nil {
		return err
	}
	made, err := a.do(c, body.Reason, typ, aver.ExceptionVote{ID: x.ID, Approver: who})
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

func (a *API) reviewException(c *call) error {
	x, err := a.exceptionOf(c)
	if err != nil {
		return err
	}
	var body struct {
		Reviewer *aver.Ref    `json:"reviewer,omitempty"`
		Verdict  aver.Verdict `json:"verdict"`
		FollowUp string       `json:"follow_up,omitempty"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	who, err := c.person(body.Reviewer)
	if err != nil {
		return err
	}
	made, err := a.do(c, body.Reason, aver.EventExceptionReviewed,
		aver.ExceptionReview{ID: x.ID, Reviewer: who, Verdict: body.Verdict, FollowUp: body.FollowUp})
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

// registerExceptions counts exceptions by their state when somebody looks.
func (a *API) registerExceptions() error {
	count := func(name, help string, is func(*authority.Exception, aver.Time) bool) error {
		return a.o.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			n := 0
			for _, x := range a.state().Exceptions() {
				if is(x, a.now()) {
					n++
				}
			}
			return float64(n)
		}))
	}
	if err := count("aver_exceptions_active", "Exceptions that count at the moment.", (*authority.Exception).Active); err != nil {
		return err
	}
	return count("aver_exception_reviews_overdue", "Exceptions whose review is overdue.", (*authority.Exception).Overdue)
}
