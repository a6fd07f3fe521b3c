package webhook

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/policy"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAAAAA="

var leads = aver.Ref{Type: "user", ID: "lena"}

// office is an authority whose log receivers follow, a clock that tests move, and what is kept of cursors.
type office struct {
	t     *testing.T
	point *pap.Point
	log   *ledger.Log
	who   pap.Administrator
	gate  aver.ApprovalGate

	mu      sync.Mutex
	late    time.Duration
	cursors []byte
}

func newOffice(t *testing.T) *office {
	o := &office{t: t, who: pap.Administrator{By: aver.By{Name: "erp", Method: "none"}}}
	key, err := ledger.LoadOrCreateKey(filepath.Join(t.TempDir(), "key"), "aver.test/authority")
	if err != nil {
		t.Fatal(err)
	}
	if o.log, err = ledger.Open(t.TempDir(), ledger.Options{Origin: "aver.test/authority", Signer: key.Signer, Verifier: key.Verifier, FS: ledgertest.NewMem()}); err != nil {
		t.Fatal(err)
	}
	if o.point, err = pap.Open(t.Context(), o.log, pap.Options{Now: o.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = o.point.Close(), o.log.Close() })
	b, err := policy.Load(map[string][]byte{"p.cedar": []byte(`@id("eyes") @gate("escalate") @approvers("user::\"lena\"") forbid (principal, action, resource);`)}, "pay")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.point.Publish(t.Context(), o.who, "", b); err != nil {
		t.Fatal(err)
	}
	o.do(aver.EventPolicyActivated, aver.PolicyRef{Name: "pay", Digest: b.Digest()})
	o.gate = aver.ApprovalGate{Policy: "pay/eyes", Bundle: b.Digest(), Approvers: []string{leads.String()}, Approvals: 1, Within: 60}
	return o
}

func (o *office) now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Now().Add(o.late)
}

func (o *office) pass(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.late += d
}

func (o *office) do(typ aver.EventType, data any) uint64 {
	o.t.Helper()
	c, err := o.point.Do(o.t.Context(), o.who, "because", typ, data)
	if err != nil {
		o.t.Fatal(err)
	}
	return c.Index
}

// ask asks for an approval.
func (o *office) ask(id string, edit ...func(*aver.ApprovalRequest)) uint64 {
	a := aver.ApprovalRequest{
		ID: id, Evaluation: "e-" + id, Binding: aver.Digest(nil), Request: json.RawMessage(`{"subject":{"id":"secret-person","type":"user"}}`),
		Parties: []aver.Ref{{Type: "user", ID: "secret-person"}}, Gates: []aver.ApprovalGate{o.gate}, Deadline: aver.TimeOf(o.now()) + 60_000,
	}
	for _, f := range edit {
		f(&a)
	}
	return o.do(aver.EventApprovalRequested, a)
}

func (o *office) approve(id string) {
	o.do(aver.EventApprovalGranted, aver.ApprovalVote{ID: id, Approver: leads, Seen: aver.Digest(nil)})
}

func (o *office) refuse(id string) {
	o.do(aver.EventApprovalRefused, aver.ApprovalVote{ID: id, Approver: leads, Seen: aver.Digest(nil)})
}

func (o *office) events(from, to uint64) iter.Seq2[*aver.Event, error] {
	return pap.Events(o.log.Entries(from, to))
}

// open starts sending.
func (o *office) open(config string) *Deliverer {
	o.t.Helper()
	c, err := parseConfig([]byte(config), nil)
	if err != nil {
		o.t.Fatal(err)
	}
	d, err := Open(Options{
		Config: c, Current: o.point.Current, Events: o.events, FirstRetry: time.Millisecond, Now: o.now,
		ExternalURL: "https://pdp.example.com", Registry: prometheus.NewRegistry(),
		Load: func() ([]byte, error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.cursors == nil {
				return nil, fs.ErrNotExist
			}
			return o.cursors, nil
		},
		Save: func(text []byte) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.cursors = slices.Clone(text)
			return nil
		},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = d.Close() })
	return d
}

// delivery is what a receiver got.
type delivery struct {
	id, body string
	header   http.Header
}

// desk is a receiver that answers as it is told to.
type desk struct {
	*httptest.Server
	got    chan delivery
	answer func(n int, d delivery) int // status; n counts all attempts from 1
}

func newDesk(t *testing.T, answer func(n int, d delivery) int) *desk {
	d := &desk{got: make(chan delivery, 1000), answer: answer}
	var mu sync.Mutex
	n := 0
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		x := delivery{r.Header.Get("webhook-id"), string(body), r.Header}
		mu.Lock()
		n++
		at := n
		mu.Unlock()
		status := http.StatusNoContent
		if d.answer != nil {
			status = d.answer(at, x)
		}
		d.got <- x
		w.WriteHeader(status)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *desk) next(t *testing.T) delivery {
	t.Helper()
	select {
	case x := <-d.got:
		return x
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		return delivery{}
	}
}

// types returns the types of so many deliveries.
func (d *desk) types(t *testing.T, n int) string {
	t.Helper()
	var out []string
	for range n {
		var p payload
		if err := json.Unmarshal([]byte(d.next(t).body), &p); err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimSpace(string(p.Type)+" "+p.Data.State))
	}
	return strings.Join(out, ", ")
}

func hook(url, more string) string {
	return fmt.Sprintf("webhooks: [{name: desk, url: %q, secrets: [%q]%s}]", url, secret, more)
}

// settled waits until a receiver is as wanted.
func settled(t *testing.T, d *Deliverer, want func(Status) bool) Status {
	t.Helper()
	// The deliverer works by itself; its state is all that shows.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s := d.Receivers()[0]
		if want(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", s)
		}
	}
}

func TestWebhooksAreSignedAsTheStandardSays(t *testing.T) {
	o := newOffice(t)
	desk := newDesk(t, nil)
	public, private, _ := ed25519.GenerateKey(nil)
	other := "whsk_" + base64.StdEncoding.EncodeToString(private)
	o.open(fmt.Sprintf("webhooks: [{name: desk, url: %q, secrets: [%q, %q]}]", desk.URL, secret, other))
	index := o.ask("ap-1")
	got := desk.next(t)
	content := got.id + "." + got.header.Get("webhook-timestamp") + "." + got.body
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(content))
	signatures := strings.Fields(got.header.Get("webhook-signature"))
	if len(signatures) != 2 || signatures[0] != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		t.Fatalf("%v", signatures)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(signatures[1], "v1a,"))
	if err != nil || !ed25519.Verify(public, []byte(content), raw) {
		t.Errorf("%v", signatures)
	}
	var p payload
	if err := json.Unmarshal([]byte(got.body), &p); err != nil || p.Type != aver.EventApprovalRequested || p.Data.ID != "ap-1" || p.Data.Event != index ||
		p.Data.State != "pending" || p.Data.EvaluationID != "e-ap-1" || !slices.Equal(p.Data.Approvers, []string{leads.String()}) || p.Data.Deadline == 0 {
		t.Errorf("%s", got.body)
	}
	// D2: no values of the request, no reasons, nobody's name but those of the policy.
	if strings.Contains(got.body, "secret-person") || strings.Contains(got.body, "because") {
		t.Errorf("it tells too much: %s", got.body)
	}
}

// The vector of the spec's own libraries.
func TestSignatureVector(t *testing.T) {
	key, err := parseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	sign(h, []signer{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got := h.Get("webhook-signature"); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("%s", got)
	}
}

func TestEverythingIsTold(t *testing.T) {
	o := newOffice(t)
	desk := newDesk(t, nil)
	o.open(hook(desk.URL, ""))
	o.do(aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "user", ID: "kim"}, Kind: aver.HumanUser})
	o.ask("ap-1")
	o.approve("ap-1")
	o.do(aver.EventApprovalCancelled, aver.ApprovalRef{ID: "ap-1"})
	o.ask("ap-2")
	o.refuse("ap-2")
	o.do(aver.EventDutyDelegated, aver.DutyDelegation{ID: "d", From: leads, To: aver.Ref{Type: "user", ID: "kim"}, Expires: aver.TimeOf(o.now()) + 60_000})
	want := "approval.requested pending, approval.granted approved, approval.cancelled cancelled, approval.requested pending, approval.refused denied, duty.delegated"
	if got := desk.types(t, 6); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	o.ask("ap-3")
	desk.next(t)
	o.pass(2 * time.Minute)
	o.do(aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "doc", ID: "1"}}) // wakes it; else it looks at the deadline
	if got := desk.types(t, 1); got != "approval.expired expired" {
		t.Errorf("%s", got)
	}
}

func TestOnlyWhatIsWantedIsTold(t *testing.T) {
	o := newOffice(t)
	desk := newDesk(t, nil)
	o.open(hook(desk.URL, ", events: [approval.refused, 'duty.*']"))
	o.ask("ap-1")
	o.ask("ap-2")
	o.refuse("ap-2")
	if got := desk.types(t, 1); got != "approval.refused denied" {
		t.Errorf("%s", got)
	}
}

// At least once: a message is sent until it is taken, with the same id and body, and in order.
func TestWebhooksAreTriedAgain(t *testing.T) {
	o := newOffice(t)
	desk := newDesk(t, func(n int, _ delivery) int {
		return []int{503, 500, 302, 404, 204}[min(n, 5)-1]
	})
	d := o.open(hook(desk.URL, ""))
	o.ask("ap-1")
	o.ask("ap-2")
	first := desk.next(t)
	for range 4 {
		if again := desk.next(t); again.id != first.id || again.body != first.body {
			t.Errorf("%+v is not %+v again", again, first)
		}
	}
	if second := desk.next(t); !strings.Contains(second.body, "ap-2") {
		t.Errorf("%+v", second)
	}
	s := settled(t, d, func(s Status) bool { return s.Delivered == 2 })
	if s.Failed != 4 || s.Failures != 0 || s.LastError != "" || s.Behind != 0 {
		t.Errorf("%+v", s)
	}
}

// What a receiver refuses for good is given up; one that is gone gets nothing more.
func TestWebhooksThatAreRefused(t *testing.T) {
	o := newOffice(t)
	desk := newDesk(t, func(_ int, d delivery) int {
		switch {
		case strings.Contains(d.body, "ap-1"):
			return 422
		case strings.Contains(d.body, "ap-3"):
			return 410
		}
		return 200
	})
	d := o.open(hook(desk.URL, ""))
	o.ask("ap-1")
	o.ask("ap-2")
	settled(t, d, func(s Status) bool { return s.GivenUp == 1 && s.Delivered == 1 && s.Failed == maxRefused })
	o.ask("ap-3")
	settled(t, d, func(s Status) bool { return s.State == "gone" && s.Behind == 1 })
	o.ask("ap-4")
	if s := d.Receivers()[0]; s.Behind != 2 || s.State != "gone" {
		t.Errorf("%+v", s)
	}
}

// The log is the queue: what was not delivered before a restart is delivered after it, and what was, is not.
func TestCursorsAreKept(t *testing.T) {
	o := newOffice(t)
	up := make(chan struct{})
	desk := newDesk(t, func(_ int, d delivery) int {
		select {
		case <-up:
			return 200
		default:
			return map[bool]int{true: 200, false: 503}[strings.Contains(d.body, "ap-1")]
		}
	})
	o.ask("ap-0") // before anybody was to be told
	d := o.open(hook(desk.URL, ""))
	o.ask("ap-1")
	o.ask("ap-2")
	settled(t, d, func(s Status) bool { return s.State == "retrying" && s.Delivered == 1 })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	o.ask("ap-3")
	close(up)
	d = o.open(hook(desk.URL, ""))
	s := settled(t, d, func(s Status) bool { return s.Delivered == 2 })
	var bodies string
	for len(desk.got) > 0 {
		bodies += (<-desk.got).body
	}
	if s.Behind != 0 || strings.Contains(bodies, "ap-0") || strings.Count(bodies, "ap-1") != 2 /* id and evaluation id */ || !strings.Contains(bodies, "ap-3") {
		t.Errorf("%+v\n%s", s, bodies)
	}
}

func TestMessagesThatAreTooOldAreMissed(t *testing.T) {
	o := newOffice(t)
	desk := newDesk(t, func(int, delivery) int { return 503 })
	d := o.open(hook(desk.URL, ""))
	o.ask("ap-1")
	settled(t, d, func(s Status) bool { return s.Failed > 0 })
	o.pass(maxAge + time.Minute)
	s := settled(t, d, func(s Status) bool { return s.Missed >= 1 && s.Behind == 0 })
	if s.Delivered != 0 {
		t.Errorf("%+v", s)
	}
}

// A receiver that takes a connection and never answers holds up neither changes nor other receivers.
func TestSlowReceiverHoldsUpNobodyElse(t *testing.T) {
	o := newOffice(t)
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(release) })
	quick := newDesk(t, nil)
	d := o.open(fmt.Sprintf("webhooks: [{name: slow, url: %q, secrets: [%q]}, {name: quick, url: %q, secrets: [%[2]q]}]", slow.URL, secret, quick.URL))
	for i := range 20 {
		o.ask(fmt.Sprint("ap-", i))
	}
	for range 20 {
		quick.next(t)
	}
	if s := settled(t, d, func(s Status) bool { return s.State == "sending" }); s.Behind != 20 {
		t.Errorf("%+v", s)
	}
	if err := d.Close(); err != nil { // which does not wait for it either
		t.Error(err)
	}
}

// ARAP Callback: told of the end, at a URL that is allowed, with its state, and without a result.
func TestCallbacks(t *testing.T) {
	o := newOffice(t)
	desk := newDesk(t, nil)
	d := o.open(fmt.Sprintf("callbacks: [{pep: erp, urls: [%q], secrets: [%q]}, {pep: crm, urls: ['https://crm.example.com/x'], secrets: [%[2]q]}]", desk.URL, secret))
	if !d.AllowsCallback("erp", desk.URL) || d.AllowsCallback("crm", desk.URL) || d.AllowsCallback("erp", desk.URL+"/x") || d.AllowsCallback("", desk.URL) {
		t.Error("callbacks are allowed where they should not be, or the other way round")
	}
	call := func(events ...string) func(*aver.ApprovalRequest) {
		return func(a *aver.ApprovalRequest) {
			a.Callback = &aver.ApprovalCallback{Endpoint: desk.URL, State: "run-" + a.ID, Events: events}
		}
	}
	item := func(n, of int) func(*aver.ApprovalRequest) {
		return func(a *aver.ApprovalRequest) { a.Batch = &aver.ApprovalBatch{ID: "ab", Item: n, Of: of} }
	}
	o.ask("ap-0")
	o.approve("ap-0")
	o.ask("ap-1", call())
	o.approve("ap-1")
	want := `{"state":"run-ap-1","task":{"id":"ap-1","status":"approved","status_endpoint":"https://pdp.example.com/v1/access-requests/ap-1"}}`
	if got := desk.next(t); got.body != want || got.header.Get("webhook-signature") == "" {
		t.Errorf("%+v", got)
	}
	o.ask("ap-2", call("approved", "expired"))
	o.refuse("ap-2")
	o.ask("ap-3", call(), item(0, 2))
	o.ask("ap-4", call(), item(1, 2))
	o.approve("ap-3") // one of two: not the end
	o.refuse("ap-4")
	if got := desk.next(t); !strings.Contains(got.body, `"id":"ab","status":"partial"`) {
		t.Errorf("%+v", got)
	}
	o.ask("ap-5", call("expired"))
	o.pass(2 * time.Minute)
	o.ask("ap-6")
	if got := desk.next(t); !strings.Contains(got.body, `"id":"ap-5","status":"expired"`) {
		t.Errorf("%+v", got)
	}
}

func TestConfigThatIsRefused(t *testing.T) {
	good := hook("https://example.com/x", "")
	if _, err := parseConfig([]byte(good), nil); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":         {"webhook: []", "not found"},
		"no name":             {strings.Replace(good, "desk", "", 1), "name"},
		"plain http":          {strings.Replace(good, "https:", "http:", 1), "https is needed"},
		"another scheme":      {strings.Replace(good, "https:", "file:", 1), "https is needed"},
		"credentials in it":   {strings.Replace(good, "https://", "https://u:hunter2@", 1), "not a plain URL"},
		"no host":             {strings.Replace(good, "https://example.com/x", "https:///x", 1), "not a plain URL"},
		"unknown event":       {hook("https://example.com", ", events: [policy.activated]"), "no type that is told of"},
		"no secret":           {`webhooks: [{name: a, url: "https://example.com"}]`, "from 1 to 4"},
		"short secret":        {strings.Replace(good, secret, "whsec_aHVudGVyMg==", 1), "24 to 64"},
		"secret without kind": {strings.Replace(good, secret, "hunter2hunter2hunter2", 1), "neither whsec_"},
		"no key":              {strings.Replace(good, secret, "whsk_AAAA", 1), "Ed25519 private key"},
		"two of a name":       {fmt.Sprintf(`webhooks: [{name: a, url: "https://example.com", secrets: [%q]}, {name: a, url: "https://example.com", secrets: [%[1]q]}]`, secret), "name"},
		"callback without":    {fmt.Sprintf(`callbacks: [{pep: erp, secrets: [%q]}]`, secret), "urls"},
		"both":                {hook("https://example.com", ", secret_file: x"), "not both"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(c.text), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), secret[6:]) {
				t.Errorf("it names a secret: %v", err)
			}
		})
	}
}

func TestConfigFileIsPrivate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "webhooks.yaml")
	text := strings.Replace(hook("https://example.com/x", ", secret_file: key"), fmt.Sprintf("secrets: [%q], ", secret), "", 1)
	for name, content := range map[string]string{"webhooks.yaml": text, "key": secret + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := LoadConfig(file); err != nil || len(c.Webhooks[0].signers) != 1 {
		t.Fatal(err)
	}
	for _, name := range []string{"key", "webhooks.yaml"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadConfig(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever a name resolves to: messages go to no address inside, unless that was allowed (SSRF).
func TestMessagesStayOutside(t *testing.T) {
	for text, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "fe80::1": false,
		"fd00::1": false, "0.0.0.0": false, "::": false, "100.64.0.1": false, "224.0.0.1": false, "255.255.255.255": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "240.0.0.1": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %v", text, got)
		}
	}
	desk := newDesk(t, nil)
	m := &message{id: "msg_1", body: []byte("{}")}
	err := attempt(context.Background(), newClient("https://example.com", false), desk.URL, nil, m, time.Now())
	if err == nil || !strings.Contains(err.Error(), "not public") || len(desk.got) != 0 {
		t.Errorf("%v", err)
	}
	if err := attempt(context.Background(), newClient("https://example.com", true), desk.URL, nil, m, time.Now()); err != nil {
		t.Error(err)
	}
	elsewhere := httptest.NewServer(http.RedirectHandler(desk.URL, http.StatusTemporaryRedirect))
	defer elsewhere.Close()
	if err := attempt(context.Background(), newClient(elsewhere.URL, false), elsewhere.URL, nil, m, time.Now()); err == nil || len(desk.got) != 1 {
		t.Errorf("a redirect was followed: %v", err)
	}
}

// What an operator reads of a failed attempt holds no secret of the URL.
func TestErrorsNameNoSecret(t *testing.T) {
	err := attempt(context.Background(), newClient("https://example.com", true), "http://127.0.0.1:1/x?token=hunter2", nil, &message{id: "m"}, time.Now())
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	if got := redact("https://u:hunter2@example.com/x?token=hunter2#hunter2"); got != "https://example.com/x" {
		t.Error(got)
	}
}

// FuzzConfig: whatever stands in the file, no panic, and what is accepted has a signer and goes over https.
func FuzzConfig(f *testing.F) {
	f.Add(hook("https://example.com/x", ", events: ['approval.*']"))
	f.Add(fmt.Sprintf("callbacks: [{pep: erp, urls: ['https://example.com'], secrets: [%q], allow_private: true}]", secret))
	f.Add("webhooks:\n - {}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig([]byte(text), func(string) ([]byte, error) { return nil, fs.ErrNotExist })
		if err != nil {
			return
		}
		for _, e := range c.Webhooks {
			if len(e.signers) == 0 || !strings.HasPrefix(strings.ToLower(e.URL), "http") {
				t.Errorf("%+v", e)
			}
		}
	})
}
