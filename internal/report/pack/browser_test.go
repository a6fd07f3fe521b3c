package pack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/report/pack"
)

// browser is a headless one without a network.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// startBrowser starts one, or skips the test; with AVER_BROWSER=required it fails instead.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	if raceDetector {
		t.Skip("there is no race in a browser; .ci/run browser runs this without the detector")
	}
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		if os.Getenv("AVER_BROWSER") == "required" {
			t.Fatal("AVER_BROWSER=required, and there is no Chromium here")
		}
		t.Skip("there is no Chromium here; .ci/run browser installs one")
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"))...) // no network
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", program, err)
	}
	return &browser{t, ctx}
}

// sight is what a page shows.
type sight struct {
	Integrity, Trust, Green, Now string
	Lines                        []evidence.Check // of the checks, as far as the page lists them
	Asked                        []string         // of the network
	Logged                       []string         // exceptions
	Blocked                      []string         // by the policy of the page
	Took                         time.Duration
	Text                         string
}

// watchPolicy notes what the page's policy blocks.
const watchPolicy = `globalThis.blocked = []; document.addEventListener("securitypolicyviolation", (e) => blocked.push(e.violatedDirective + " " + e.blockedURI));`

const readPage = `(() => {
  for (const d of document.querySelectorAll("#checks details")) d.open = true;
  return new Promise((resolve) => setTimeout(() => resolve(JSON.stringify({
    integrity: document.documentElement.dataset.integrity, trust: document.documentElement.dataset.trust, green: document.documentElement.dataset.green,
    now: document.getElementById("now").textContent, blocked, text: document.body.innerText,
    lines: [...document.querySelectorAll("#checks li")].map((li) => ({ check: li.closest("details").dataset.kind, state: li.dataset.state,
      file: li.querySelector("code")?.textContent ?? "", what: li.textContent })),
  })), 50));
})()`

// look opens a page from its file, enters keys, and says what it shows. before runs before the page's own scripts.
func (b *browser) look(content []byte, before string, keys ...string) sight {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "pack.html")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(b.ctx)
	defer cancel()
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var s sight
	var mu sync.Mutex
	err := chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if e.Request.URL != "file://"+file {
				s.Asked = append(s.Asked, e.Request.URL)
			}
		case *runtime.EventExceptionThrown:
			s.Logged = append(s.Logged, e.ExceptionDetails.Text)
		}
	})
	if err == nil {
		_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	}
	if err == nil {
		_, err = chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watchPolicy + before})
	}
	start := time.Now()
	if err == nil {
		err = chromedp.Do(ctx, chromedp.Navigate("file://"+file), chromedp.WaitReady(`html[data-done="yes"]`))
	}
	s.Took = time.Since(start)
	if err == nil && len(keys) > 0 {
		err = chromedp.Do(ctx,
			chromedp.SetValue("#keys", strings.Join(keys, "\n")),
			chromedp.Click("#key-form button"),
			chromedp.WaitReady(`html[data-compared="2"]`),
		)
	}
	var text string
	if err == nil {
		text, err = chromedp.Run(ctx, chromedp.Evaluate[string](readPage, chromedp.EvalAwaitPromise))
	}
	if err != nil {
		b.t.Fatalf("%v %v", err, s.Logged)
	}
	mu.Lock()
	defer mu.Unlock()
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (s *sight) bad() []string {
	var out []string
	for _, l := range s.Lines {
		if l.State != evidence.Passed && l.State != "" && l.Kind != evidence.KindKey {
			out = append(out, fmt.Sprint(l.Kind, " ", l.State, " ", l.What))
		}
	}
	return out
}

// Issue 5, item 6: a pack from the demo opens from file:// without a network, every check passes with the key entered, and
// the Rust engine agrees on every decision (K1, G4).
func TestBrowserVerifiesAndDecidesAgain(t *testing.T) {
	b, c := startBrowser(t), northwind(t)
	content := c.make(t, pack.Request{Form: evidence.FormHTML, WithEngine: true, Purpose: "compliance-audit"})
	p, _ := open(t, content)
	for _, way := range []struct{ name, before string }{
		{"WebCrypto", ""},
		{"noble", `crypto.subtle.importKey = () => Promise.reject(new DOMException("none", "NotSupportedError"))`},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := b.look(content, way.before, c.DecisionsKey)
			if s.Integrity != "consistent" || s.Trust != "established" || s.Green != "yes" {
				t.Errorf("integrity %s, trust %s, green %s: %s", s.Integrity, s.Trust, s.Green, s.Now)
			}
			for _, l := range s.bad() {
				t.Error(l)
			}
			if want := fmt.Sprintf("%d passed", len(p.Statement.Predicate.Decisions)); !strings.Contains(s.Text, "Decided again by Cedar's engine in Rust "+want) {
				t.Errorf("the page does not say that the engine agrees on %s:\n%.2000s", want, s.Text)
			}
			if len(s.Asked)+len(s.Logged)+len(s.Blocked) > 0 {
				t.Errorf("the page asked the network for %v, and had these exceptions and blocks: %v %v", s.Asked, s.Logged, s.Blocked)
			}
			if len(p.Statement.Predicate.Decisions) < leastDecisions || s.Took > 30*time.Second {
				t.Errorf("%d decisions took %s", len(p.Statement.Predicate.Decisions), s.Took)
			}
			t.Logf("%d decisions in %s", len(p.Statement.Predicate.Decisions), s.Took)
		})
	}
	t.Run("no key", func(t *testing.T) {
		if s := b.look(content, ""); s.Integrity != "consistent" || s.Trust != "not_established" || s.Green != "no" {
			t.Errorf("integrity %s, trust %s, green %s", s.Integrity, s.Trust, s.Green)
		}
	})
	t.Run("another key", func(t *testing.T) {
		if s := b.look(content, "", otherKey(t)); s.Trust != "refused" || s.Green != "no" {
			t.Errorf("trust %s, green %s", s.Trust, s.Green)
		}
	})
}

// The page puts back what records leave out as this program does (docs/formats.md).
func TestBrowserPutsBackWhatRecordsLeaveOut(t *testing.T) {
	b, c := startBrowser(t), northwind(t)
	samples, err := filepath.Glob("../../../testdata/record/*.json")
	if err != nil || len(samples) == 0 {
		t.Fatal("no sample records", err)
	}
	var records []string
	for _, name := range samples {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, string(text))
	}
	p, _ := open(t, c.make(t, pack.Request{}))
	for _, d := range p.Statement.Predicate.Decisions {
		text, _ := p.File(evidence.EntryDir(evidence.DecisionLog, d.Index) + "/" + evidence.PayloadFile)
		records = append(records, string(text))
	}
	script, err := os.ReadFile("page/checks.js")
	if err != nil {
		t.Fatal(err)
	}
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf("(() => { %s; return JSON.stringify([%s].map(complete)); })()", script, strings.Join(records, ","))))
	if err != nil {
		t.Fatal(err)
	}
	var got []aver.Decision
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got) != len(records) {
		t.Fatal(len(got), err)
	}
	for i, record := range records {
		want, err := aver.ParseRecord([]byte(record))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Decision, got[i], cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s is put together otherwise (-want +got):\n%s", record, diff)
		}
	}
}

// Whatever byte is changed, the page shows it where aver verify does, and is not green.
func TestBrowserFindsEveryChange(t *testing.T) {
	b, c := startBrowser(t), northwind(t)
	plain := c.make(t, pack.Request{Query: "outcome:escalated"})
	for _, ch := range changes(t, plain) {
		t.Run(ch.name, func(t *testing.T) {
			s := b.look(asPage(t, ch.content, ch.kind == evidence.KindAgain), "", c.DecisionsKey)
			if s.Green != "no" || s.Integrity != "broken" {
				t.Errorf("integrity %s, green %s", s.Integrity, s.Green)
			}
			if !slices.ContainsFunc(s.Lines, func(l evidence.Check) bool {
				return l.Kind == ch.kind && l.State == evidence.Failed && strings.Contains(l.File, ch.file)
			}) {
				t.Errorf("no line of %s says that %s is wrong: %v", ch.kind, ch.file, s.bad())
			}
		})
	}
}

// A pack that is made over under another key is consistent, and never green for the right one.
func TestBrowserIsNotFooledByAnotherKey(t *testing.T) {
	b, c := startBrowser(t), northwind(t)
	content := asPage(t, forged(t, c.make(t, pack.Request{Query: "outcome:escalated"})), false)
	if s := b.look(content, "", c.DecisionsKey); s.Integrity != "consistent" || s.Trust != "refused" || s.Green != "no" {
		t.Errorf("integrity %s, trust %s, green %s: %v", s.Integrity, s.Trust, s.Green, s.bad())
	}
}

// What is withheld is unknown, not passed, and without the engine nothing is said to be decided again.
func TestBrowserShowsUnknownAsUnknown(t *testing.T) {
	b, c := startBrowser(t), northwind(t)
	content := c.make(t, pack.Request{Form: evidence.FormHTML, WithEngine: true, Redact: []string{pack.RedactSensitive}})
	s := b.look(content, "", c.DecisionsKey)
	if s.Integrity != "consistent" || s.Trust != "established" {
		t.Errorf("integrity %s, trust %s", s.Integrity, s.Trust)
	}
	again := 0
	for _, l := range s.Lines {
		if l.Kind == evidence.KindAgain && l.State == evidence.Unknown && strings.Contains(l.What, "undetermined") {
			again++
		}
	}
	if again == 0 {
		t.Error("no decision is undetermined")
	}
	s = b.look(c.make(t, pack.Request{Form: evidence.FormHTML, Query: "outcome:escalated"}), "", c.DecisionsKey)
	if !slices.ContainsFunc(s.Lines, func(l evidence.Check) bool {
		return l.Kind == evidence.KindAgain && l.State == evidence.NotChecked
	}) {
		t.Errorf("a page without the engine should say that nothing was decided again: %v", s.bad())
	}
}
