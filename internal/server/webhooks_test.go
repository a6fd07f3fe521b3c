package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/server"
)

// A mistake in who is to be told keeps the server from starting, so that nobody waits for messages that never come.
func TestWebhooksThatAreWrongKeepTheServerFromStarting(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no https":             {"webhooks: [{name: a, url: 'http://example.com', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}]", "https is needed"},
		"missing secret":       {"webhooks: [{name: a, url: 'https://example.com', secret_file: nowhere}]", "secret_file"},
		"callbacks from where": {"callbacks: [{pep: erp, urls: ['https://example.com'], secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}]", "--external-url"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "webhooks.yaml"), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := server.Open(t.Context(), server.Config{DataDir: dir})
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// What happened while the receiver was away is told after a restart; a watcher of approvals does not hold up the stop.
func TestWebhooksAfterARestart(t *testing.T) {
	got := make(chan string, 10)
	up := make(chan struct{})
	desk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-up:
			body, _ := io.ReadAll(r.Body)
			got <- string(body)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(desk.Close)
	dir := filepath.Join(t.TempDir(), "data")
	hooks := filepath.Join(t.TempDir(), "hooks.yaml")
	text := fmt.Sprintf("webhooks: [{name: desk, url: %q, secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}]", desk.URL)
	if err := os.WriteFile(hooks, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{DataDir: dir, Webhooks: hooks, StopTimeout: 5 * time.Second}
	s := open(t, cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(ctx, l) }()
	c, err := client.New(client.Options{URL: "http://" + l.Addr().String(), Token: adminToken(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	watching := make(chan struct{})
	go func() {
		for range c.WatchApprovals(ctx, "0") {
			close(watching)
			break
		}
		for range c.WatchApprovals(t.Context(), "") { // stays until the server ends it
			return
		}
	}()
	register := func(id string) {
		t.Helper()
		if _, err := c.RegisterIdentity(t.Context(), aver.Identity{Ref: aver.Ref{Type: "user", ID: id}, Kind: aver.HumanUser}, ""); err != nil {
			t.Fatal(err)
		}
	}
	register("tom")
	if _, err := c.DelegateDuty(t.Context(), aver.DutyDelegation{ID: "d", From: aver.Ref{Type: "user", ID: "lena"}, To: aver.Ref{Type: "user", ID: "tom"}, Expires: aver.TimeOf(time.Now().Add(time.Hour))}, ""); err != nil {
		t.Fatal(err)
	}
	<-watching
	stop()
	if err := <-stopped; err != nil {
		t.Fatalf("a stream held up the stop: %v", err)
	}
	close(up)
	open(t, cfg)
	select {
	case body := <-got:
		if !strings.Contains(body, `"type":"duty.delegated"`) || !strings.Contains(body, `"id":"d"`) {
			t.Errorf("%s", body)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it was never told")
	}
}
