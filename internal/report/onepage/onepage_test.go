package onepage_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/report/onepage"
	"github.com/aver-authz/aver/internal/server"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const start = aver.Time(1_790_000_000_000) // 2026-09-21T14:13:20Z

const policies = `
@id("agents-pay") @reason("Agents pay on behalf of people.")
permit (principal is ai_agent, action in [Action::"payment.read", Action::"payment.create", Action::"payment.approve"], resource is payment) when { context.aver.delegated };
@id("people-pay") permit (principal is user, action in [Action::"payment.read", Action::"payment.create", Action::"payment.approve"], resource is payment);
@id("partners-read") permit (principal is api_client, action == Action::"payment.read", resource is payment);
@id("large") @reason("Large payments are approved.") @gate("escalate") @approvers("leads") @approvals("1")
forbid (principal, action == Action::"payment.create", resource is payment) when { resource has amount && resource.amount > 1000 };
`

const bundleYAML = `
owner: treasury
review: "2027-03-31"
controls: [PCI-DSS 7.2]
`

func ref(typ, id string) aver.Ref { return aver.Ref{Type: typ, ID: id} }

var (
	payer = ref("ai_agent", "payer")
	acme  = ref("api_client", "acme")
	ann   = ref("user", "ann")
)

// firm is a real server on logs in memory, in which a few things have happened.
type firm struct {
	t     testing.TB
	moved atomic.Int64 // milliseconds
	admin *client.Client
	pep   *client.Client
	ids   map[string]string // of decisions, by what they are
}

func newFirm(t testing.TB) *firm {
	t.Helper()
	f := &firm{t: t, ids: map[string]string{}}
	s, err := server.Open(t.Context(), server.Config{
		DataDir: filepath.Join(t.TempDir(), "data"), Origin: "aver.test", FS: ledgertest.NewMem(),
		Now: func() time.Time { return (start + aver.Time(f.moved.Load())).Std() },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		h.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	token, err := os.ReadFile(s.Dir().AdminToken())
	if err != nil {
		t.Fatal(err)
	}
	f.admin = f.connect(h.URL, strings.TrimSpace(string(token)))
	f.happen(h.URL)
	return f
}

func (f *firm) connect(url, token string) *client.Client {
	f.t.Helper()
	c, err := client.New(client.Options{URL: url, Token: token})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *firm) must(_ any, err error) {
	f.t.Helper()
	f.moved.Add(1000)
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *firm) happen(url string) {
	f.t.Helper()
	ctx := f.t.Context()
	f.must(f.admin.Publish(ctx, "payments", map[string]string{"payments.cedar": policies, "bundle.yaml": bundleYAML}, true, "to begin with"))
	f.must(f.admin.RegisterIdentity(ctx, aver.Identity{Ref: ann, Kind: aver.HumanUser, Name: "Ann Ek"}, ""))
	f.must(f.admin.RegisterIdentity(ctx, aver.Identity{Ref: payer, Kind: aver.AIAgent, Owner: "treasury", Purpose: "pays <b>invoices</b>",
		Expires: start + 365*24*60*60*1000, Tools: &[]string{"bank", "erp"}}, ""))
	f.must(f.admin.RegisterIdentity(ctx, aver.Identity{Ref: acme, Kind: aver.APIClient, Owner: "partner-management", Purpose: "reads its invoices",
		ReviewBy: start + 1, Parents: []aver.Ref{ref("group", "partners")}}, ""))
	for _, id := range []string{"p-1", "p-2"} {
		f.must(f.admin.PutEntity(ctx, aver.Entity{Ref: ref("payment", id), Properties: aver.Properties{"amount": int64(200)}}, ""))
	}
	f.must(f.admin.PutEntity(ctx, aver.Entity{Ref: ref("payment", "p-3"), Properties: aver.Properties{"amount": int64(5000)}}, ""))
	f.must(f.admin.IssueGrant(ctx, aver.Grant{ID: "g-ann", From: ann, To: payer, Actions: []string{"payment.read", "payment.create"},
		Resources: []aver.ResourceScope{{Type: "payment"}}, Purpose: "the invoices of September", Expires: start + 30*24*60*60*1000, Limits: &aver.GrantLimits{Uses: 20}}, "asked for by Ann"))
	f.must(f.admin.IssueGrant(ctx, aver.Grant{ID: "g-run", From: ann, To: payer, Actions: []string{"payment.create"}, Resources: []aver.ResourceScope{{Type: "payment"}},
		Purpose: "one run", Expires: start + 24*60*60*1000}, ""))
	token, _, err := f.admin.IssueCredential(ctx, aver.Credential{Name: "gateway", Role: aver.RolePEP}, "")
	if err != nil {
		f.t.Fatal(err)
	}
	f.pep = f.connect(url, token)

	f.ask("paid", payer, "payment.create", "p-1", "g-ann")
	f.report("paid", aver.ActivityStarted)
	f.report("paid", aver.ActivityCompleted)
	f.ask("large", payer, "payment.create", "p-3", "g-ann")
	f.ask("outside", payer, "payment.approve", "p-1", "g-ann")
	f.ask("open", payer, "payment.read", "p-2", "g-ann")
	f.ask("lapsed", payer, "payment.create", "p-2", "g-run")
	f.report("lapsed", aver.ActivityStarted)
	f.must(f.admin.RevokeGrant(ctx, "g-run", "enough"))
	f.report("lapsed", aver.ActivityCompleted)
	f.ask("partner", acme, "payment.read", "p-1")
	f.ask("partner beyond", acme, "payment.create", "p-1")
	f.ask("unknown machine", ref("api_client", "stranger"), "payment.read", "p-1")
	f.moved.Add(2 * 60 * 60 * 1000)
}

func (f *firm) ask(name string, who aver.Ref, action, payment string, grants ...string) {
	f.t.Helper()
	f.moved.Add(1000)
	req := &aver.Request{Subject: aver.Party{Ref: who}, Action: aver.Action{Name: action}, Resource: aver.Party{Ref: ref("payment", payment)}}
	if len(grants) > 0 {
		var list []any
		for _, g := range grants {
			list = append(list, g)
		}
		req.Context = map[string]any{"on_behalf_of": map[string]any{"type": "user", "id": "ann"}, "delegation": list}
	}
	answer, err := f.pep.Decide(f.t.Context(), req)
	if err != nil {
		f.t.Fatal(err)
	}
	f.ids[name] = answer.EvaluationID
}

func (f *firm) report(name string, status aver.ActivityStatus) {
	f.t.Helper()
	f.moved.Add(1000)
	f.must(f.pep.ReportActivity(f.t.Context(), &aver.ActivityReport{EvaluationID: f.ids[name], Status: status}))
}

var (
	uuids  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	hashes = regexp.MustCompile(`[A-Za-z0-9+/]{43}=`)
	tokens = regexp.MustCompile(`\b(version|policies) [0-9A-Za-z_-]{12}\b`)
)

// settled makes what is random the same in every run.
func (f *firm) settled(text string) string {
	names := map[string]string{}
	for name, id := range f.ids {
		names[id] = "<decision " + name + ">"
	}
	others := 0
	text = uuids.ReplaceAllStringFunc(text, func(id string) string {
		if names[id] == "" {
			others++
			names[id] = fmt.Sprintf("<id %d>", others)
		}
		return names[id]
	})
	return tokens.ReplaceAllString(hashes.ReplaceAllString(text, "<hash>"), "$1 <digest>")
}

// Requirements J1 to J4: each page as people read it.
func TestPages(t *testing.T) {
	f := newFirm(t)
	for _, x := range []struct{ file, kind, of string }{
		{"decision-paid", onepage.Decision, f.ids["paid"]},
		{"decision-lapsed", onepage.Decision, f.ids["lapsed"]},
		{"decision-open", onepage.Decision, f.ids["open"]},
		{"decision-denied", onepage.Decision, f.ids["outside"]},
		{"agent", onepage.Agent, "ai_agent:payer"},
		{"workflow", onepage.Workflow, "payment-processing"},
		{"workflow-by-action", onepage.Workflow, "payment"},
		{"partner", onepage.Partner, "partners"},
		{"regulator", onepage.Partner, onepage.All},
	} {
		text, err := f.admin.Report(t.Context(), x.kind, x.of)
		if err != nil {
			t.Errorf("%s: %v", x.file, err)
			continue
		}
		got, file := f.settled(text), filepath.Join("testdata", x.file+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.file, diff)
		}
	}
}

// Whatever is not known is never shown as answered, and every answer that is
// known names entries that are there.
func TestAnswersKnowWhatTheySay(t *testing.T) {
	f := newFirm(t)
	logs, err := f.admin.Logs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range [][2]string{
		{onepage.Decision, f.ids["paid"]}, {onepage.Agent, "ai_agent:payer"}, {onepage.Workflow, "payment-processing"}, {onepage.Partner, "all"},
	} {
		text, err := f.admin.ReportJSON(t.Context(), x[0], x[1])
		if err != nil {
			t.Fatal(err)
		}
		var page onepage.Page
		if err := json.Unmarshal(text, &page); err != nil {
			t.Fatal(err)
		}
		known := 0
		for _, q := range page.Questions {
			known += len(q.Known)
			if len(q.Unknown) > 0 && q.Verdict == onepage.Answered {
				t.Errorf("%s: %q is shown as answered, and not known is: %q", x[0], q.Question, q.Unknown)
			}
			if q.Answer == "" {
				t.Errorf("%s: %q has no answer", x[0], q.Question)
			}
			for _, l := range q.Known {
				size := logs[client.Decisions].Size
				if l.Log == "authority" {
					size = logs[client.Authority].Size
				}
				if l.Index >= size+100 { // the log has grown by the records of reading it
					t.Errorf("%s: %q is known by %+v, which is not there", x[0], q.Question, l)
				}
			}
		}
		if known == 0 {
			t.Errorf("%s: nothing says how anything is known", x[0])
		}
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	f := newFirm(t)
	for _, x := range [][2]string{
		{onepage.Decision, "019a0000-0000-7000-8000-000000000000"}, {onepage.Decision, "nonsense"}, {onepage.Agent, "ai_agent:nobody"}, {onepage.Agent, "payer"},
		{onepage.Workflow, "gardening"}, {onepage.Partner, "nobody"}, {"weather", "today"},
	} {
		_, err := f.admin.Report(t.Context(), x[0], x[1])
		var problem *client.Problem
		if !errors.As(err, &problem) || problem.Status != 404 {
			t.Errorf("%s %s: %v, want a 404", x[0], x[1], err)
		}
	}
}

// The page of HTML runs nothing, fetches nothing, and shows what somebody wrote
// as text.
func TestHTML(t *testing.T) {
	f := newFirm(t)
	page, err := f.admin.ReportHTML(context.Background(), onepage.Agent, "ai_agent:payer")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "javascript:", "http://", "https://", "url(", "@import", "onload=", "<b>", "ZgotmplZ"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if !bytes.Contains(page, []byte("&lt;b&gt;invoices&lt;/b&gt;")) {
		t.Error("the purpose does not stand there as text")
	}
	policy := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindSubmatch(page)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindSubmatch(page)
	if policy == nil || style == nil {
		t.Fatal("no policy or no style")
	}
	said := strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(string(policy[1]))
	sum := sha256.Sum256(style[1])
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	if said != want || said != onepage.ContentSecurityPolicy() {
		t.Errorf("the policy is %q, want %q", said, want)
	}
}

// Each page prints on one sheet, if there is a browser to try it with.
func TestPrintsOnOnePage(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
		}
	}
	if browser == "" || os.Getenv("AVER_LONG") == "" {
		t.Skip("AVER_LONG is not set, or there is no browser")
	}
	f := newFirm(t)
	dir := t.TempDir()
	for kind, of := range map[string]string{
		onepage.Decision: f.ids["lapsed"], onepage.Agent: "ai_agent:payer", onepage.Workflow: "payment-processing", onepage.Partner: onepage.All,
	} {
		page, err := f.admin.ReportHTML(t.Context(), kind, of)
		if err != nil {
			t.Fatal(err)
		}
		html, pdf := filepath.Join(dir, kind+".html"), filepath.Join(dir, kind+".pdf")
		if err := os.WriteFile(html, page, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu",
			"--user-data-dir="+filepath.Join(dir, "profile"), "--print-to-pdf="+pdf, "file://"+html).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		printed, err := os.ReadFile(pdf)
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`/Count (\d+)`).FindSubmatch(printed); m == nil || string(m[1]) != "1" {
			t.Errorf("%s: %q pages", kind, m)
		}
	}
}
