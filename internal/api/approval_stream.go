package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

const (
	approvalStreamsEach = 10     // of one credential
	maxResume           = 10_000 // events that a stream goes back; from further back it begins with what is pending
	streamedAtOnce      = 256    // events that are looked at for one write
)

// approvalEvent is what the stream of approvals tells.
type approvalEvent struct {
	Event    uint64          `json:"event"` // index in the authority log, the id to resume at
	Type     aver.EventType  `json:"type"`
	Time     aver.Time       `json:"time"`
	Approval *approval       `json:"approval,omitempty"` // as it is now
	Duty     *dutyDelegation `json:"duty,omitempty"`
}

// approvalStream tells approvers of requests for approval as they come, are answered and taken back, and of duties that
// are delegated to or by them. It begins behind Last-Event-ID; without one, with what is pending.
func (a *API) approvalStream(c *call) error {
	if !strings.Contains(c.Header.Get("Accept"), "text/event-stream") {
		return &problem{Slug: "not-acceptable", Status: http.StatusNotAcceptable, Detail: "this is a stream of events: ask for it with Accept: text/event-stream"}
	}
	leave, err := a.streams.enter(c.caller.name, approvalStreamsEach)
	if err != nil {
		return err
	}
	defer leave()
	if err := a.readApprovals(c); err != nil {
		return err
	}
	cur := a.o.PAP.Current()
	next, resumed, err := resumeAt(c, cur.Head.Size)
	if err != nil {
		return err
	}
	first := !resumed
	return a.stream(c, func() (string, bool, <-chan struct{}, error) {
		var out strings.Builder
		if first {
			first = false
			if err := a.pendingEvents(c, &out, cur.State); err != nil {
				return "", false, nil, err
			}
			return out.String(), false, cur.Replaced(), nil
		}
		cur = a.o.PAP.Current()
		to := min(cur.Head.Size, next+streamedAtOnce)
		for ; next < to; next++ {
			if err := a.approvalEvent(c, &out, next); err != nil {
				return "", false, nil, err
			}
		}
		return out.String(), next < cur.Head.Size, cur.Replaced(), nil
	})
}

// resumeAt is the event that a stream begins at, and whether the caller named the one before.
func resumeAt(c *call, size uint64) (next uint64, resumed bool, err error) {
	last := c.Header.Get("Last-Event-ID")
	if last == "" {
		last = c.URL.Query().Get("after")
	}
	if last == "" {
		return size, false, nil
	}
	after, err := strconv.ParseUint(last, 10, 53)
	switch {
	case err != nil:
		return 0, false, badParameter("after", "the index of an event of the authority log")
	case after >= size || size-after > maxResume:
		return size, false, nil
	}
	return after + 1, true, nil
}

// pendingEvents writes what the caller can answer.
func (a *API) pendingEvents(c *call, out *strings.Builder, st *authority.State) error {
	for _, p := range st.Approvals() {
		if p.State(a.now()) != "pending" || !a.sees(c, p) {
			continue
		}
		err := writeEvent(out, approvalEvent{Event: p.Event, Type: aver.EventApprovalRequested, Time: p.Time, Approval: &approval{Approval: p, State: p.State(a.now())}})
		if err != nil {
			return err
		}
	}
	return nil
}

// approvalEvent writes an event of the authority log, if it is one for the caller.
func (a *API) approvalEvent(c *call, out *strings.Builder, index uint64) error {
	leaf, payload, err := a.o.Authority.Entry(index)
	if err != nil {
		return err
	}
	e, err := authority.ParseEntry(leaf, payload)
	if err != nil {
		return err
	}
	var named aver.ApprovalRef
	told := approvalEvent{Event: index, Type: e.Type, Time: e.Time}
	switch e.Type {
	case aver.EventApprovalRequested, aver.EventApprovalGranted, aver.EventApprovalRefused, aver.EventApprovalCancelled:
		if err := json.Unmarshal(e.Data, &named); err != nil {
			return err
		}
		p, ok := a.state().Approval(named.ID)
		if !ok || !a.sees(c, p) {
			return nil
		}
		told.Approval = &approval{Approval: p, State: p.State(a.now())}
	case aver.EventDutyDelegated, aver.EventDutyRevoked:
		if err := json.Unmarshal(e.Data, &named); err != nil {
			return err
		}
		d, ok := a.state().Duty(named.ID)
		if !ok || !c.seesDuty(d) {
			return nil
		}
		told.Duty = a.duty(d)
	default:
		return nil
	}
	return writeEvent(out, told)
}

func writeEvent(out *strings.Builder, e approvalEvent) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "id: %d\nevent: %s\ndata: %s\n\n", e.Event, e.Type, data)
	return nil
}
