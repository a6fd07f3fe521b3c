package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A watcher goes on where it was when the connection is lost, and ends when it may not look any more.
func TestWatchApprovalsGoesOn(t *testing.T) {
	var resumed []string
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		resumed = append(resumed, r.Header.Get("Last-Event-ID"))
		if r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("accepts %q", r.Header.Get("Accept"))
		}
		switch len(resumed) {
		case 1:
			fmt.Fprint(w, "retry: 1000\n\n: still here\n\nid: 7\nevent: approval.requested\ndata: {\"event\":7,\"type\":\"approval.requested\",\"time\":\"2026-11-24T07:33:49.123Z\",\"approval\":{\"id\":\"ap-1\",\"state\":\"pending\"}}\n\nid: 8\nda")
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			fmt.Fprint(w, "id: 8\nevent: duty.revoked\ndata: {\"event\":8,\"type\":\"duty.revoked\",\"duty\":{\"id\":\"d\",\"state\":\"revoked\"}}\n\n")
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	var got []string
	var problem *Problem
	for e, err := range c.WatchApprovals(t.Context(), "3") {
		switch {
		case errors.As(err, &problem):
		case err != nil:
			t.Fatal(err)
		case e.Approval != nil:
			got = append(got, e.Approval.ID)
		case e.Duty != nil:
			got = append(got, e.Duty.ID)
		}
	}
	if problem == nil || problem.Status != 401 || strings.Join(got, " ") != "ap-1 d" || strings.Join(resumed, " ") != "3 7 7 8" {
		t.Errorf("%v, told %v, resumed at %v", problem, got, resumed)
	}
}

func TestWatchApprovalsEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	for e, err := range c.WatchApprovals(ctx, "") {
		t.Errorf("%+v, %v", e, err)
	}
}

// An approval that is to be made use of in a way that this client does not know is none.
func TestUnknownCompletionModeIsNoApproval(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"task":{"id":"ap-1","status":"approved","status_endpoint":"x","expires_at":"2026-11-24T07:33:49.123Z"},"result":{"mode":"https://example.com/token","approval":{"id":"ap-1","approved_until":"2026-11-24T07:33:49.123Z"}}}`)
	})
	task, err := c.AccessRequest(t.Context(), "ap-1")
	if err != nil || task.Approval != nil || task.Status != "approved" {
		t.Errorf("%+v, %v", task, err)
	}
}
