package demo

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The main test of the whole: server, logs, policies, delegation, evidence.
func TestDemoFromAnEmptyDirectoryToAReplay(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	data := filepath.Join(t.TempDir(), "data")
	seen, err := run(t.Context(), Options{Data: data, Exit: true, Requests: 300, Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, o := range aver.Outcomes() {
		if !slices.Contains(seen.outcomes, o) {
			t.Errorf("no request was %s", o)
		}
	}
	for _, w := range workflows {
		if len(seen.byOutcome[w]) < 3 {
			t.Errorf("%s shows only %v", w, seen.byOutcome[w])
		}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{"verify ok: ", "verify ok: ", "replay ok: "} {
		if got := lines[len(lines)-3+i]; !strings.HasPrefix(got, want) {
			t.Errorf("one of the last lines is %q, want %q…", got, want)
		}
	}
	if !strings.Contains(out.String(), seen.escalated) || !strings.Contains(out.String(), seen.denied) {
		t.Error("the output should name the decisions that it explains and that it suggests to look at")
	}
	readmeShowsTheSecondAct(t, out.String())
	var table bytes.Buffer
	seen.writeTable(&table)
	golden(t, "table.txt", table.Bytes())

	_, err = run(t.Context(), Options{Data: data, Exit: true})
	if err == nil || errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "aver serve --data "+data) {
		t.Errorf("a second run on the same directory should be refused with what to do instead, got %v", err)
	}
}

// readmeShowsTheSecondAct holds what README.md shows of the demo to what the demo prints.
func readmeShowsTheSecondAct(t *testing.T, out string) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	latency := regexp.MustCompile(`after \d+ ms`)
	_, shown, _ := strings.Cut(latency.ReplaceAllString(string(page), "after ~ ms"), "What happened afterwards:\n")
	shown, _, _ = strings.Cut(shown, "\n…")
	if n := strings.Count(shown, "\n") + 1; n != len(scenes) {
		t.Errorf("README.md shows %d scenes of %d", n, len(scenes))
	}
	for line := range strings.Lines(shown) {
		if !strings.Contains(latency.ReplaceAllString(out, "after ~ ms"), strings.TrimSuffix(line, "\n")+"\n") {
			t.Errorf("README.md shows a line that the demo does not print: %s", line)
		}
	}
}

// interrupter ends a demo that says that it is serving.
type interrupter struct {
	bytes.Buffer
	interrupt func()
}

func (w *interrupter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("serving until interrupted")) {
		w.interrupt()
	}
	return w.Buffer.Write(p)
}

func TestDemoChecksTheLogsOfARunningServerAndServesUntilInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out := &interrupter{interrupt: cancel}
	seen, err := run(ctx, Options{Data: t.TempDir(), Seed: 2, Out: out})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if ctx.Err() == nil {
		t.Error("the demo ended by itself")
	}
	if !regexp.MustCompile(`replay ok: (\d+) decisions decided again from the logs alone: \d+ match, 0 mismatch, 0 undetermined`).MatchString(out.String()) || seen.decisions == 0 {
		t.Errorf("the replay of a running server is missing:\n%s", out.String())
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant (rewrite with -update)\n%s", name, got, want)
	}
}

func TestSameSeedSameScript(t *testing.T) {
	a, b, other := newScript(7), newScript(7), newScript(8)
	differ := 0
	for i, s := range a.steps {
		if s.workflow != b.steps[i].workflow || s.want != b.steps[i].want || (s.request == nil) != (b.steps[i].request == nil) {
			t.Fatalf("step %d (%s) differs for the same seed", i, s.shows)
		}
		if s.request == nil {
			continue
		}
		if s.request.Digest() != b.steps[i].request.Digest() {
			t.Fatalf("step %d (%s): the request differs for the same seed", i, s.shows)
		}
		if i >= len(other.steps) || other.steps[i].request == nil || s.request.Digest() != other.steps[i].request.Digest() {
			differ++
		}
	}
	if differ == 0 {
		t.Error("another seed gives the same requests")
	}
}

func TestUnexpectedOutcomesAreTold(t *testing.T) {
	s := newScript(1)
	seen := &tally{byOutcome: map[string]map[aver.Outcome]int{}}
	right := &aver.Answer{EvaluationID: "right"}
	right.Outcome, right.Reasons = aver.Escalated, []aver.Reason{{Code: aver.ReasonEscalate}}
	seen.note(&s.steps[0], right)
	if err := seen.wrong(); err != nil {
		t.Fatalf("what was expected is told as wrong: %v", err)
	}
	other := *right
	other.EvaluationID, other.Outcome = "other-outcome", aver.Permitted
	seen.note(&s.steps[0], &other)
	other = *right
	other.EvaluationID, other.Reasons = "other-reason", []aver.Reason{{Code: aver.ReasonChallenge}}
	seen.note(&s.steps[0], &other)
	err := seen.wrong()
	if !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "other-outcome") || !strings.Contains(err.Error(), "other-reason") {
		t.Errorf("a wrong outcome and a wrong reason should both be told, got %v", err)
	}
}

func TestRandomRequestsAreValidAndFollowFromTheSeed(t *testing.T) {
	a, b := Random(3, 2000), Random(3, 2000)
	actors := map[aver.Ref]bool{}
	digests := map[string]bool{}
	for i, r := range a {
		if r.Digest() != b[i].Digest() {
			t.Fatalf("request %d differs for the same seed", i)
		}
		digests[r.Digest()] = true
		actors[r.Subject.Ref] = true
		parsed, err := aver.ParseRequest(r.JSON())
		if err == nil {
			err = parsed.Validate()
		}
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if len(digests) < 1500 || len(actors) < 30 {
		t.Errorf("%d different requests of %d actors: that is hardly random", len(digests), len(actors))
	}
	if Random(4, 1)[0].Digest() == a[0].Digest() {
		t.Error("another seed gives the same request")
	}
}
