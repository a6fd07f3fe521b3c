package webhook

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// What time brings, and no event of the log.
const (
	approvalExpired  aver.EventType = "approval.expired"  // the deadline of a request passed without the approvals
	exceptionOverdue aver.EventType = "exception.overdue" // the review of an exception is missing though it was due
)

// Types lists what is told of: events of the authority log, and what time brings.
func Types() []aver.EventType {
	return []aver.EventType{
		aver.EventApprovalRequested, aver.EventApprovalGranted, aver.EventApprovalRefused, aver.EventApprovalCancelled, approvalExpired,
		aver.EventExceptionRequested, aver.EventExceptionApproved, aver.EventExceptionRejected, aver.EventExceptionActivated,
		aver.EventExceptionClosed, aver.EventExceptionReviewed, exceptionOverdue,
		aver.EventDutyDelegated, aver.EventDutyRevoked,
	}
}

// happening is something to tell of: an event of the log, or what time brings.
type happening struct {
	typ   aver.EventType
	at    aver.Time
	index uint64 // of the event; of what time brings: that of the request
	event string // its id; "" of what time brings
	thing string // id of the approval, exception or delegation
	timed bool
}

// message is what is sent. It is the same at each attempt.
type message struct {
	id   string // webhook-id
	url  string
	at   aver.Time // when it happened
	body []byte
}

// id is one and the same for a happening and a receiver, and holds no full stop, which separates what is signed.
func (h *happening) id() string {
	if h.timed {
		return fmt.Sprintf("msg_%s_%d_%d", strings.ReplaceAll(string(h.typ), ".", "_"), h.index, h.at)
	}
	return "msg_" + h.event
}

// ofEvent is what an event tells, nil if it is none to tell of.
func ofEvent(e *aver.Event, index uint64) *happening {
	if !slices.Contains(Types(), e.Type) {
		return nil
	}
	var named struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(e.Data, &named) != nil {
		return nil
	}
	return &happening{typ: e.Type, at: e.Time, index: index, event: e.ID, thing: named.ID}
}

// position is how far a receiver was told of what time brings: in the order of time, then of ids.
type position struct {
	At    aver.Time `json:"at"`
	Thing string    `json:"thing,omitempty"`
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.At, q.At), cmp.Compare(p.Thing, q.Thing))
}

// ofTime lists what time brought after a position and up to now, in order, and when it brings something next; 0: not
// as things stand.
func ofTime(st *authority.State, after position, now aver.Time) (due []happening, next aver.Time) {
	add := func(typ aver.EventType, at aver.Time, m authority.Mark, thing string) {
		switch {
		case at > now:
			if next == 0 || at < next {
				next = at
			}
		case (position{at, thing}).compare(after) > 0:
			due = append(due, happening{typ: typ, at: at, index: m.Event, thing: thing, timed: true})
		}
	}
	for _, a := range st.Approvals() {
		if a.Status == authority.ApprovalPending {
			add(approvalExpired, a.Deadline, a.Mark, a.ID)
		}
	}
	for _, x := range st.Exceptions() {
		if x.Activated != nil && (x.Reviewed == nil || x.Reviewed.Time >= x.ReviewDue()) {
			add(exceptionOverdue, x.ReviewDue(), x.Mark, x.ID)
		}
	}
	slices.SortFunc(due, func(a, b happening) int { return position{a.at, a.thing}.compare(position{b.at, b.thing}) })
	return due, next
}

// payload is the body of a webhook. It holds ids, and what a receiver needs to find the right people; the rest is for
// those who may see it to fetch.
type payload struct {
	Type      aver.EventType `json:"type"`
	Timestamp aver.Time      `json:"timestamp"`
	Data      payloadData    `json:"data"`
}

type payloadData struct {
	Event        uint64    `json:"event"` // index in the authority log; of what time brings: of the request
	ID           string    `json:"id"`    // of the approval, exception or delegation
	State        string    `json:"state,omitempty"`
	EvaluationID string    `json:"evaluation_id,omitempty"` // the decision that escalated
	Policies     []string  `json:"policies,omitempty"`      // that ask for the approval
	Approvers    []string  `json:"approvers,omitempty"`     // as the policies name them
	Deadline     aver.Time `json:"deadline,omitzero"`
	Until        aver.Time `json:"until,omitzero"` // until when what was approved, or an exception, is good
	Kind         string    `json:"kind,omitempty"` // of an exception
	ReviewDue    aver.Time `json:"review_due,omitzero"`
}

// webhook makes the message for an endpoint.
func (e *Endpoint) message(st *authority.State, h *happening) (*message, error) {
	p := payload{Type: h.typ, Timestamp: h.at, Data: payloadData{Event: h.index, ID: h.thing}}
	d := &p.Data
	if a, ok := st.Approval(h.thing); ok && concerns(h.typ, "approval") {
		d.EvaluationID, d.Deadline, d.State = a.Evaluation, a.Deadline, a.AsOf(h.index, h.at)
		if d.State == "approved" {
			d.Until = a.Until
		}
		for _, g := range a.Gates {
			d.Policies = append(d.Policies, g.Policy)
			d.Approvers = append(d.Approvers, g.Approvers...)
		}
		slices.Sort(d.Approvers)
		d.Approvers = slices.Compact(d.Approvers)
	}
	if x, ok := st.Exception(h.thing); ok && concerns(h.typ, "exception") {
		d.Kind = string(x.Kind)
		if x.Activated != nil && h.index >= x.Activated.Event || h.typ == exceptionOverdue {
			d.Until, d.ReviewDue = x.Until, x.ReviewDue()
		}
	}
	if y, ok := st.Duty(h.thing); ok && concerns(h.typ, "duty") {
		d.Until = y.Expires
	}
	body, err := json.Marshal(p)
	return &message{id: h.id(), url: e.URL, at: h.at, body: body}, err
}

func concerns(t aver.EventType, noun string) bool { return matches(noun+".*", t) }

// callbackBody is the notification of ARAP Callback. It carries no result: the task says what an approval is worth.
type callbackBody struct {
	State string       `json:"state,omitempty"`
	Task  callbackTask `json:"task"`
}

type callbackTask struct {
	ID             string `json:"id"`
	Status         string `json:"status"`
	StatusEndpoint string `json:"status_endpoint"`
}

// message makes the notification that a PEP asked for, nil if it is not to be told of this.
func (c *Callback) message(st *authority.State, base string, h *happening) (*message, error) {
	a, ok := st.Approval(h.thing)
	if !ok || !concerns(h.typ, "approval") || h.typ == aver.EventApprovalRequested ||
		a.Callback == nil || a.By.Name != c.PEP || !slices.Contains(c.URLs, a.Callback.Endpoint) {
		return nil, nil
	}
	task, status := a.ID, a.AsOf(h.index, h.at)
	if h.timed {
		status = a.AsOf(st.Size(), h.at)
	}
	if b := a.Batch; b != nil {
		var items []string
		for _, item := range st.ApprovalBatch(b.ID) {
			at := item.AsOf(h.index, h.at)
			if h.timed {
				at = item.AsOf(st.Size(), h.at)
				if item.Deadline == h.at && at == "expired" && item.Batch.Item > b.Item {
					return nil, nil // one message for all that expire together
				}
			}
			items = append(items, at)
		}
		task, status = b.ID, authority.BatchState(items)
	}
	if status == "pending" || len(a.Callback.Events) > 0 && !slices.Contains(a.Callback.Events, status) {
		return nil, nil
	}
	body, err := json.Marshal(callbackBody{State: a.Callback.State, Task: callbackTask{
		ID: task, Status: status, StatusEndpoint: base + TaskPath + url.PathEscape(task),
	}})
	return &message{id: h.id() + "_callback", url: a.Callback.Endpoint, at: h.at, body: body}, err
}

// TaskPath is below the server's URL where the status of a task is found.
const TaskPath = "/v1/access-requests/"
