package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
)

// listener reads a stream of events.
type listener struct {
	t      *testing.T
	status int
	events chan heard
	stop   context.CancelFunc
}

type heard struct {
	id, name string
	data     struct {
		Event    uint64
		Approval *struct{ ID, State string }
		Duty     *struct{ ID, State string }
	}
}

func (a *approvals) listen(token, lastEventID string) *listener {
	a.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", a.url+"/v1/approvals/stream", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	l := &listener{t: a.t.(*testing.T), status: resp.StatusCode, events: make(chan heard, 100), stop: stop}
	a.t.Cleanup(stop)
	go func() {
		defer close(l.events)
		defer resp.Body.Close()
		var h heard
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				h.id = value
			case "event":
				h.name = value
			case "data":
				_ = json.Unmarshal([]byte(value), &h.data)
			case "":
				if h.name != "" {
					l.events <- h
				}
				h = heard{}
			}
		}
	}()
	return l
}

func (l *listener) next() heard {
	l.t.Helper()
	select {
	case h, ok := <-l.events:
		if !ok {
			l.t.Fatal("the stream ended")
		}
		return h
	case <-time.After(10 * time.Second):
		l.t.Fatal("nothing came")
		return heard{}
	}
}

// E4: an approver is told of what is theirs to answer, at once, and what they missed when they come back.
func TestApprovalStream(t *testing.T) {
	a := startApprovals(t)
	before := a.asked(500)
	lena, eve := a.listen(a.people["lena"], ""), a.listen(a.people["eve"], "")
	if h := lena.next(); h.name != "approval.requested" || h.data.Approval.ID != before || h.data.Approval.State != "pending" {
		t.Errorf("%+v", h)
	}
	second := a.asked(600)
	h := lena.next()
	if h.name != "approval.requested" || h.data.Approval.ID != second {
		t.Errorf("%+v", h)
	}
	lena.stop()
	a.person("luis", "POST", "/v1/approvals/"+second+"/approve", nil).ok(200)
	a.person("luis", "POST", "/v1/approvals/"+before+"/refuse", map[string]any{"reason": "no"}).ok(200)
	back := a.listen(a.people["lena"], h.id)
	for _, want := range []string{"approval.granted " + second, "approval.refused " + before} {
		if h := back.next(); h.name+" "+h.data.Approval.ID != want {
			t.Errorf("%+v, want %s", h, want)
		}
	}
	// Eve approves nothing, and so hears of nothing, until somebody's duty is hers.
	a.person("luis", "POST", "/v1/duties", map[string]any{"to": party("user:eve"), "expires": aver.TimeOf(time.Now().Add(time.Hour)).String()}).ok(201)
	if h := eve.next(); h.name != "duty.delegated" || h.data.Duty.State != "active" {
		t.Errorf("%+v", h)
	}
	third := a.asked(700)
	if h := eve.next(); h.data.Approval == nil || h.data.Approval.ID != third {
		t.Errorf("%+v", h)
	}
	if l := a.listen(a.tokens[aver.RolePEP], ""); l.status != 403 {
		t.Errorf("a pep listens: %d", l.status)
	}
	if l := a.listen(a.people["lena"], "x"); l.status != 400 {
		t.Errorf("resumes nowhere: %d", l.status)
	}
	a.person("lena", "GET", "/v1/approvals/stream", nil).problem(406, "not-acceptable", "Accept: text/event-stream")
}

// One credential does not take all streams, and a stream that ended gives its place back.
func TestStreamsAreBounded(t *testing.T) {
	a := startApprovals(t)
	var open []*listener
	for range 10 {
		l := a.listen(a.people["lena"], "")
		if l.status != 200 {
			t.Fatal(l.status)
		}
		open = append(open, l)
	}
	header := bearer(a.people["lena"])
	header.Set("Accept", "text/event-stream")
	a.request("GET", "/v1/approvals/stream", nil, header).problem(429, "too-many", "10 streams")
	if l := a.listen(a.people["luis"], ""); l.status != 200 {
		t.Errorf("another credential: %d", l.status)
	}
	open[0].stop()
	// That a stream has ended shows in the server only, behind the caller.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if l := a.listen(a.people["lena"], ""); l.status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place is not given back")
		}
	}
}
