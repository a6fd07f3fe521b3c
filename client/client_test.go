package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver"
)

const (
	permit = `{"decision":true,"context":{"outcome":"permitted","evaluation_id":"019abc00-0000-7000-8000-000000000001",
		"evaluated_at":"2026-11-24T09:00:00.000Z","reasons":[{"code":"permitted","policy":"docs/read"}],
		"receipt":{"origin":"aver.local/1/decisions","index":7,"leaf_hash":"AAAA"}}}`
	deny = `{"decision":false,"context":{"outcome":"denied","evaluation_id":"019abc00-0000-7000-8000-000000000002",
		"evaluated_at":"2026-11-24T09:00:00.000Z","receipt":{"origin":"aver.local/1/decisions","index":8,"leaf_hash":"AAAA"}}}`
)

var request = &aver.Request{
	Subject:  aver.Party{Ref: aver.Ref{Type: "user", ID: "ann"}},
	Action:   aver.Action{Name: "read"},
	Resource: aver.Party{Ref: aver.Ref{Type: "document", ID: "1"}},
}

// serve starts a server that answers with handle, and returns a client of it.
func serve(t *testing.T, o Options, handle http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	o.URL = s.URL
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestDecide(t *testing.T) {
	c := serve(t, Options{Token: "aver_secret"}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := []string{r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.Header.Get("X-Request-ID"), string(body)}
		want := []string{"POST", "/access/v1/evaluation", "Bearer aver_secret", "application/json", "req-1",
			`{"action":{"name":"read"},"resource":{"id":"1","type":"document"},"subject":{"id":"ann","type":"user"}}`}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		answer(200, "application/json", permit)(w, r)
	})
	got, err := c.Decide(WithRequestID(t.Context(), "req-1"), request)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := aver.ParseTime("2026-11-24T09:00:00Z")
	want := &aver.Answer{
		Decision: aver.Decision{Ruling: aver.Ruling{
			Outcome: aver.Permitted,
			Reasons: []aver.Reason{{Code: aver.ReasonPermitted, Policy: "docs/read"}},
		}},
		EvaluationID: "019abc00-0000-7000-8000-000000000001", Time: at,
		Receipt: aver.Receipt{Origin: "aver.local/1/decisions", Index: 7, LeafHash: "AAAA"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// What the server answers is what the client reads, whatever is in it.
func TestDecideReadsEveryAnswer(t *testing.T) {
	want := &aver.Answer{
		Decision: aver.Decision{
			Ruling: aver.Ruling{
				Outcome:      aver.PartiallyAuthorized,
				Reasons:      []aver.Reason{{Code: aver.ReasonPartsDiffer, Text: "some parts are allowed"}},
				Requirements: []aver.Requirement{{Gate: aver.GateEscalate, Policy: "p/x", Approvers: []string{"leads"}, Approvals: 2, Within: 60}},
				Obligations:  []aver.Obligation{{ID: "p/y", Type: "mask", Properties: aver.Properties{"field": "iban"}}},
			},
			Parts: []aver.PartDecision{
				{ID: "a", Ruling: aver.Ruling{Outcome: aver.Permitted}},
				{ID: "b", Ruling: aver.Ruling{Outcome: aver.Denied, Reasons: []aver.Reason{{Code: aver.ReasonForbidden}}}},
			},
		},
		EvaluationID: "019abc00-0000-7000-8000-000000000001", Time: 1,
		Receipt: aver.Receipt{Origin: "o", Index: 1, LeafHash: "h", Commit: &aver.CommitReceipt{Note: "n", Path: []string{"x"}}},
	}
	text := want.JSON()
	got, err := serve(t, Options{}, answer(200, "application/json", string(text))).Decide(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDecideFailsClosed(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(permit, old) {
			t.Fatalf("%q is not in the answer", old)
		}
		return strings.Replace(permit, old, new, 1)
	}
	for name, handle := range map[string]http.HandlerFunc{
		"an empty body":              answer(200, "application/json", ""),
		"half an answer":             answer(200, "application/json", permit[:len(permit)-10]),
		"a page":                     answer(200, "text/html", "<html>welcome</html>"),
		"another PDP's answer":       answer(200, "application/json", `{"decision":true}`),
		"no decision":                answer(200, "application/json", change(`"decision":true,`, ``)),
		"no outcome":                 answer(200, "application/json", change(`"outcome":"permitted",`, ``)),
		"an unknown outcome":         answer(200, "application/json", change(`"permitted"`, `"allowed"`)),
		"an outcome that denies":     answer(200, "application/json", change(`"permitted"`, `"escalated"`)),
		"no evaluation id":           answer(200, "application/json", change(`"evaluation_id":"019abc00-0000-7000-8000-000000000001",`, ``)),
		"no receipt":                 answer(200, "application/json", change(`"leaf_hash":"AAAA"`, `"x":1`)),
		"a part that contradicts":    answer(200, "application/json", change(`"receipt"`, `"parts":[{"id":"a","decision":true,"outcome":"denied"}],"receipt"`)),
		"a mistake of the server":    answer(500, "application/json", permit),
		"a server that can't record": answer(503, "application/json", permit),
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				t.Error("the redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"an answer that breaks off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(permit)+100))
			io.WriteString(w, permit)
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := serve(t, Options{Retries: -1}, handle).Decide(t.Context(), request)
			if err == nil || got != nil {
				t.Errorf("answer %v, error %v", got, err)
			}
		})
	}
}

func TestZeroClientFails(t *testing.T) {
	var zero Client
	if got, err := zero.Decide(t.Context(), request); err == nil || got != nil {
		t.Errorf("answer %v, error %v", got, err)
	}
	var none *Client
	if err := none.Ready(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no URL":           {},
		"no scheme":        {URL: "localhost:8470"},
		"another scheme":   {URL: "file:///etc"},
		"a user in it":     {URL: "https://a:b@example.com"},
		"a query":          {URL: "https://example.com/?a=b"},
		"a token in lines": {URL: "https://example.com", Token: "a\nX-Evil: 1"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestProblem(t *testing.T) {
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		want   Problem
		text   string
	}{
		"of ours": {
			answer(422, "application/problem+json", `{"type":"urn:aver:problem:invalid-bundle","title":"The policy bundle has errors","status":422,
				"detail":"a.cedar:3:7: unexpected token","errors":[{"file":"a.cedar","line":3,"column":7,"message":"unexpected token"}]}`),
			Problem{Type: "urn:aver:problem:invalid-bundle", Title: "The policy bundle has errors", Status: 422,
				Detail: "a.cedar:3:7: unexpected token", Errors: []BundleError{{"a.cedar", 3, 7, "unexpected token"}}},
			"a.cedar:3:7: unexpected token",
		},
		"with a field": {
			answer(400, "application/problem+json", `{"detail":"must be a string","field":"/owner","position":{"line":1,"column":2,"offset":1}}`),
			Problem{Status: 400, Detail: "must be a string", Field: "/owner", Position: &Position{1, 2, 1}},
			"/owner: must be a string",
		},
		"of AuthZEN": {
			answer(400, "application/json", `"/subject/id: is required"`),
			Problem{Status: 400, Detail: "/subject/id: is required"}, "/subject/id: is required",
		},
		"of something between": {
			answer(502, "text/html", `<h1>Bad gateway</h1>`),
			Problem{Status: 502, Detail: "the server answered 502 Bad Gateway"}, "the server answered 502 Bad Gateway",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, Options{}, c.handle).Identity(t.Context(), aver.Ref{Type: "user", ID: "ann"})
			var got *Problem
			if !errors.As(err, &got) {
				t.Fatalf("%T %v is not a Problem", err, err)
			}
			if d := cmp.Diff(c.want, *got); d != "" {
				t.Error(d)
			}
			if got.Error() != c.text {
				t.Errorf("message %q, want %q", got, c.text)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	busy := func(w http.ResponseWriter, retryAfter string) {
		w.Header().Set("Retry-After", retryAfter)
		answer(503, "application/json", `"the log can't be written"`)(w, nil)
	}
	decide := func(c *Client) error { _, err := c.Decide(context.Background(), request); return err }
	suspend := func(c *Client) error {
		_, err := c.SuspendIdentity(context.Background(), aver.Ref{Type: "user", ID: "ann"}, "")
		return err
	}
	for _, test := range []struct {
		name       string
		retries    int
		retryAfter string
		timeout    time.Duration
		do         func(*Client) error
		answers    int // the server is busy for this many requests
		want       int32
		ok         bool
	}{
		{"a decision is asked for again when the server says so", 0, "1", 0, decide, 1, 2, true},
		{"but not for ever", 1, "1", 0, decide, 9, 2, false},
		{"nor beyond the time there is", 0, "60", 0, decide, 9, 1, false},
		{"nor without being told when", 0, "", 0, decide, 9, 1, false},
		{"nor if that is not wanted", -1, "1", 0, decide, 9, 1, false},
		{"a change is never made again", 5, "1", 0, suspend, 9, 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			ids := map[string]bool{}
			c := serve(t, Options{Retries: test.retries, Timeout: test.timeout}, func(w http.ResponseWriter, r *http.Request) {
				ids[r.Header.Get("X-Request-ID")] = true
				if int(requests.Add(1)) <= test.answers {
					busy(w, test.retryAfter)
					return
				}
				answer(200, "application/json", permit)(w, r)
			})
			err := test.do(c)
			if (err == nil) != test.ok || requests.Load() != test.want || len(ids) != 1 {
				t.Errorf("%d requests under %d ids, error %v", requests.Load(), len(ids), err)
			}
			var unavailable *UnavailableError
			if err != nil && !errors.As(err, &unavailable) {
				t.Errorf("%T is no UnavailableError", err)
			}
		})
	}
}

func TestNoServer(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	c, err := New(Options{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Decide(t.Context(), request)
	var unavailable *UnavailableError
	if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "no answer from "+strings.TrimPrefix(s.URL, "http://")) {
		t.Errorf("error %v", err)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	c := serve(t, Options{Timeout: 20 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	if _, err := c.Decide(t.Context(), request); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestDecideBatch(t *testing.T) {
	wrong := strings.Replace(deny, `"context":{`, `"context":{"error":{"status":400,"message":"/subject/id: is required"},`, 1)
	var body string
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		body = string(sent)
		answer(200, "application/json", `{"evaluations":[`+permit+`,`+wrong+`]}`)(w, r)
	})
	got, err := c.DecideBatch(t.Context(), ExecuteAll, request, &aver.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(body, `"options":{"evaluations_semantic":"execute_all"}`) {
		t.Errorf("sent %s", body)
	}
	if got[0].Outcome != aver.Permitted || got[0].Err != nil {
		t.Errorf("first: %v", got[0])
	}
	if got[1].Outcome != aver.Denied || got[1].Err == nil || got[1].Err.Error() != "/subject/id: is required" {
		t.Errorf("second: %v", got[1])
	}
	if _, err := c.DecideBatch(t.Context(), ExecuteAll, request); err == nil {
		t.Error("two answers to one request were taken")
	}
	if _, err := c.DecideBatch(t.Context(), ExecuteAll, request, request, request); err == nil {
		t.Error("two answers to three requests were taken")
	}
	if got, err := c.DecideBatch(t.Context(), DenyOnFirstDeny, request, request, request); err != nil || len(got) != 2 {
		t.Errorf("a batch that stops early: %d answers, error %v", len(got), err)
	}
}

func TestListsFollowPages(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("after") {
		case "":
			answer(200, "application/json", `{"grants":[{"id":"a"},{"id":"b"}],"next":"x"}`)(w, r)
		case "x":
			answer(200, "application/json", `{"grants":[{"id":"c"}],"next":"y"}`)(w, r)
		default:
			answer(404, "application/problem+json", `{"detail":"gone"}`)(w, r)
		}
	})
	var got []string
	var failed error
	for g, err := range c.Grants(t.Context()) {
		if err != nil {
			failed = err
			break
		}
		got = append(got, g.ID)
	}
	if strings.Join(got, "") != "abc" || failed == nil || !strings.Contains(failed.Error(), "gone") {
		t.Errorf("got %v, error %v", got, failed)
	}
}

// Every call reaches the method and path that the API has for it, with its reason.
func TestCalls(t *testing.T) {
	ref := aver.Ref{Type: "App::User", ID: "a/b ü"}
	ctx := t.Context()
	for want, do := range map[string]func(*Client) error{
		`POST /v1/policies {"activate":true,"files":{"a.cedar":""},"name":"n","reason":"r"}`: func(c *Client) error {
			_, err := c.Publish(ctx, "n", map[string]string{"a.cedar": ""}, true, "r")
			return err
		},
		`GET /v1/policies/n/d `: func(c *Client) error { _, err := c.BundleVersion(ctx, "n", "d"); return err },
		`POST /v1/policies/n/activate {"digest":"d","reason":"r"}`:    func(c *Client) error { _, err := c.Activate(ctx, "n", "d", "r"); return err },
		`POST /v1/policies/n/retire {"reason":"r"}`:                   func(c *Client) error { _, err := c.Retire(ctx, "n", "r"); return err },
		`GET /v1/identities/App::User/a%2Fb%20%C3%BC `:                func(c *Client) error { _, err := c.Identity(ctx, ref); return err },
		`POST /v1/identities/App::User/a%2Fb%20%C3%BC/suspend {}`:     func(c *Client) error { _, err := c.SuspendIdentity(ctx, ref, ""); return err },
		`POST /v1/identities/App::User/a%2Fb%20%C3%BC/resume {}`:      func(c *Client) error { _, err := c.ResumeIdentity(ctx, ref, ""); return err },
		`POST /v1/identities/App::User/a%2Fb%20%C3%BC/retire {}`:      func(c *Client) error { _, err := c.RetireIdentity(ctx, ref, ""); return err },
		`GET /v1/entities/App::User/a%2Fb%20%C3%BC `:                  func(c *Client) error { _, err := c.Entity(ctx, ref); return err },
		`DELETE /v1/entities/App::User/a%2Fb%20%C3%BC {"reason":"r"}`: func(c *Client) error { _, err := c.RemoveEntity(ctx, ref, "r"); return err },
		`GET /v1/grants/g-1 `:                                         func(c *Client) error { _, err := c.Grant(ctx, "g-1"); return err },
		`POST /v1/grants/g-1/revoke {"reason":"r"}`:                   func(c *Client) error { _, err := c.RevokeGrant(ctx, "g-1", "r"); return err },
		`POST /v1/credentials {"name":"n","reason":"r","role":"pep"}`: func(c *Client) error {
			_, _, err := c.IssueCredential(ctx, aver.Credential{Name: "n", Role: aver.RolePEP}, "r")
			return err
		},
		`POST /v1/credentials/n/revoke {"reason":"r"}`:   func(c *Client) error { _, err := c.RevokeCredential(ctx, "n", "r"); return err },
		`GET /v1/decisions/e/why `:                       func(c *Client) error { _, err := c.Why(ctx, "e"); return err },
		`GET /v1/decisions/e/proof `:                     func(c *Client) error { _, err := c.DecisionProof(ctx, "e"); return err },
		`GET /v1/events/3/proof `:                        func(c *Client) error { _, err := c.EventProof(ctx, 3); return err },
		`GET /v1/log `:                                   func(c *Client) error { _, err := c.Logs(ctx); return err },
		`GET /v1/log/decisions/entries/3 `:               func(c *Client) error { _, err := c.Entry(ctx, Decisions, 3); return err },
		`GET /v1/log/authority/consistency?new=9&old=3 `: func(c *Client) error { _, err := c.Consistency(ctx, Authority, 3, 9); return err },
		`POST /v1/access-requests {"action":{"name":"pay"},"denial":{"evaluation_id":"e"},"reason":"r","resource":{"id":"b","type":"a"},"subject":{"id":"b","type":"a"}}`: func(c *Client) error {
			party := aver.Party{Ref: aver.Ref{Type: "a", ID: "b"}}
			_, err := c.RequestAccess(ctx, &aver.Request{Subject: party, Action: aver.Action{Name: "pay"}, Resource: party}, "e", "k", "r")
			return err
		},
		`GET /v1/access-requests/ap-1 `:                             func(c *Client) error { _, err := c.AccessRequest(ctx, "ap-1"); return err },
		`POST /v1/access-requests/ap-1/cancel {"reason":"r"}`:       func(c *Client) error { _, err := c.CancelAccessRequest(ctx, "ap-1", "r"); return err },
		`GET /v1/approvals/ap-1 `:                                   func(c *Client) error { _, err := c.Approval(ctx, "ap-1"); return err },
		`POST /v1/approvals/ap-1/approve {"reason":"r","seen":"s"}`: func(c *Client) error { _, err := c.Approve(ctx, "ap-1", nil, "s", "r"); return err },
		`POST /v1/approvals/ap-1/refuse {"approver":{"id":"b","type":"a"},"reason":"r"}`: func(c *Client) error {
			_, err := c.Refuse(ctx, "ap-1", &aver.Ref{Type: "a", ID: "b"}, "", "r")
			return err
		},
		`POST /v1/exceptions {"actions":null,"activate":true,"approver":{"id":"b","type":"a"},"duration":60,"id":"x","identity_confirmed":"i","justification":"j","kind":"break_glass","reason":"r","resources":null,"subject":{"id":"b","type":"a"}}`: func(c *Client) error {
			party := aver.Ref{Type: "a", ID: "b"}
			_, err := c.RequestException(ctx, aver.ExceptionRequest{ID: "x", Kind: aver.BreakGlass, Subject: party, Justification: "j", IdentityConfirmed: "i", Approver: party, Duration: 60}, true, "r")
			return err
		},
		`POST /v1/duties {"expires":"1970-01-01T00:00:00.001Z","reason":"r","to":{"id":"b","type":"a"}}`: func(c *Client) error {
			_, err := c.DelegateDuty(ctx, aver.DutyDelegation{To: aver.Ref{Type: "a", ID: "b"}, Expires: 1}, "r")
			return err
		},
		`POST /v1/duties/d/revoke {"reason":"r"}`: func(c *Client) error { _, err := c.RevokeDuty(ctx, "d", "r"); return err },
		`GET /v1/webhooks `:                       func(c *Client) error { _, err := c.Webhooks(ctx); return err },
		`POST /v1/signals {"about":{"id":"b","type":"a"},"event":"account-disabled","reason":"r"}`: func(c *Client) error {
			_, err := c.TellSignal(ctx, aver.SignalReport{Event: "account-disabled", About: aver.Ref{Type: "a", ID: "b"}}, "r")
			return err
		},
		`GET /v1/exceptions/x `:                         func(c *Client) error { _, err := c.Exception(ctx, "x"); return err },
		`POST /v1/exceptions/x/approve {"reason":"r"}`:  func(c *Client) error { _, err := c.ApproveException(ctx, "x", nil, "r"); return err },
		`POST /v1/exceptions/x/reject {"reason":"r"}`:   func(c *Client) error { _, err := c.RejectException(ctx, "x", nil, "r"); return err },
		`POST /v1/exceptions/x/activate {"reason":"r"}`: func(c *Client) error { _, err := c.ActivateException(ctx, "x", "r"); return err },
		`POST /v1/exceptions/x/close {"reason":"r"}`:    func(c *Client) error { _, err := c.CloseException(ctx, "x", "r"); return err },
		`POST /v1/exceptions/x/review {"follow_up":"f","verdict":"unjustified"}`: func(c *Client) error {
			_, err := c.ReviewException(ctx, "x", nil, aver.Unjustified, "f", "")
			return err
		},
		`GET /v1/gaps `: func(c *Client) error { _, err := c.Gaps(ctx); return err },
		`POST /v1/gaps/I1-x/accept {"reason":"r","until":"2027-01-01T00:00:00.000Z"}`: func(c *Client) error {
			_, err := c.AcceptGap(ctx, "I1-x", 1798761600000, "r")
			return err
		},
		`POST /v1/gaps/I1-x/close {"reason":"r"}`:  func(c *Client) error { _, err := c.CloseGap(ctx, "I1-x", "r"); return err },
		`GET /v1/reports/agent?of=ai_agent%3Abot `: func(c *Client) error { _, err := c.Report(ctx, "agent", "ai_agent:bot"); return err },
		`GET /readyz `: func(c *Client) error { return c.Ready(ctx) },
		`PUT /v1/entities/a/b {"id":"b","reason":"r","type":"a"}`: func(c *Client) error {
			_, err := c.PutEntity(ctx, aver.Entity{Ref: aver.Ref{Type: "a", ID: "b"}}, "r")
			return err
		},
		`POST /v1/identities {"id":"b","kind":"human_user","type":"a"}`: func(c *Client) error {
			_, err := c.RegisterIdentity(ctx, aver.Identity{Ref: aver.Ref{Type: "a", ID: "b"}, Kind: aver.HumanUser}, "")
			return err
		},
		`PUT /v1/identities/a/b {"id":"b","kind":"human_user","type":"a"}`: func(c *Client) error {
			_, err := c.PutIdentity(ctx, aver.Identity{Ref: aver.Ref{Type: "a", ID: "b"}, Kind: aver.HumanUser}, "")
			return err
		},
	} {
		t.Run(want, func(t *testing.T) {
			var got string
			c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if len(body) > 0 {
					v, err := aver.ParseJSON(body, aver.Limits{})
					if err != nil {
						t.Error(err)
					}
					body = aver.AppendCanonical(nil, v)
				}
				got = r.Method + " " + r.URL.RequestURI() + " " + string(body)
				answer(200, "application/json", `{}`)(w, r)
			})
			if err := do(c); err != nil {
				t.Error(err)
			}
			if got != want {
				t.Errorf("sent %s", got)
			}
		})
	}
}

// Leaf and payload come through as the bytes that they are.
func TestEntriesKeepTheirBytes(t *testing.T) {
	payload := `{"a":"<&>\u0001","b":"\u20ac"}`
	c := serve(t, Options{}, answer(200, "application/json", `{"index":3,"leaf":{"x":1},"payload":`+payload+`}`))
	e, err := c.Entry(t.Context(), Decisions, 3)
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Payload) != payload || !json.Valid(e.Leaf) {
		t.Errorf("payload %s", e.Payload)
	}
}

// A client with an instance numbers what a PEP does, and nothing else; an attempt
// that is made again keeps its number.
func TestInstanceNumbersItsRequests(t *testing.T) {
	var seen []string
	fails := 1
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path+" "+r.Header.Get("X-Aver-PEP-Instance")+" "+r.Header.Get("X-Aver-PEP-Sequence"))
		if fails--; fails == 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		switch r.URL.Path {
		case "/v1/activities":
			io.WriteString(w, `{"activity_id":"a","status":"started","receipt":{"leaf_hash":"h"}}`)
		case "/v1/pep/heartbeat":
			var beat aver.Heartbeat
			json.NewDecoder(r.Body).Decode(&beat)
			seen = append(seen, fmt.Sprintf("beat %s %d", beat.Instance, beat.Sequence))
			w.WriteHeader(http.StatusNoContent)
		default:
			io.WriteString(w, `{}`)
		}
	}))
	defer h.Close()
	c, err := New(Options{URL: h.URL, Instance: "till-1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	report := &aver.ActivityReport{EvaluationID: "e", Status: aver.ActivityStarted}
	for range 2 {
		if _, err := c.ReportActivity(ctx, report); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Heartbeat(ctx, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/v1/activities till-1 1", "/v1/activities till-1 1", "/v1/activities till-1 2", "/readyz  ", "/v1/pep/heartbeat  ", "beat till-1 2",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("requests %q, want %q", seen, want)
	}
	if _, err := New(Options{URL: h.URL, Instance: "a b"}); err == nil {
		t.Error("a name with a space was taken")
	}
}

// The caller's token goes beside the request, and never into it.
func TestSubjectToken(t *testing.T) {
	c := serve(t, Options{Token: "aver_secret"}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if got := r.Header.Get("Aver-Subject-Token"); got != "eyJ.secret.x" || strings.Contains(string(body), "eyJ") {
			t.Errorf("header %q, body %s", got, body)
		}
		text := permit
		if strings.HasSuffix(r.URL.Path, "s") {
			text = `{"evaluations":[` + permit + `]}`
		}
		answer(200, "application/json", text)(w, r)
	})
	with := *request
	with.SubjectToken = "eyJ.secret.x"
	if _, err := c.Decide(context.Background(), &with); err != nil {
		t.Error(err)
	}
	if _, err := c.DecideBatch(context.Background(), ExecuteAll, &with); err != nil {
		t.Error(err)
	}
	if _, err := c.DecideBatch(context.Background(), ExecuteAll, &with, request); err == nil {
		t.Error("a batch of two different tokens was sent")
	}
}
