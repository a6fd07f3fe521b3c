package main

import (
	"context"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/aver-authz/aver/bench/report"
)

func TestAnswersAreComparedWithTheLog(t *testing.T) {
	ids := make([]uuid.UUID, 6)
	for i := range ids {
		ids[i] = uuid.New()
	}
	log := func(of ...uuid.UUID) iter.Seq2[received, error] {
		return func(yield func(received, error) bool) {
			for i, id := range of {
				if !yield(received{uint64(i), id}, nil) {
					return
				}
			}
		}
	}
	for name, tc := range map[string]struct {
		answers []received
		log     iter.Seq2[received, error]
		missing int
	}{
		"all there":                    {[]received{{0, ids[0]}, {1, ids[1]}, {2, ids[2]}}, log(ids[:3]...), 0},
		"records without an answer":    {[]received{{1, ids[1]}, {3, ids[3]}}, log(ids...), 0},
		"the log ends too early":       {[]received{{0, ids[0]}, {1, ids[1]}, {2, ids[2]}}, log(ids[0]), 2},
		"another record stands there":  {[]received{{0, ids[0]}, {1, ids[5]}}, log(ids[:2]...), 1},
		"it stands there twice":        {[]received{{0, ids[0]}, {1, ids[0]}}, log(ids[0], ids[0]), 1},
		"two answers claim one record": {[]received{{0, ids[0]}, {0, ids[0]}}, log(ids[0]), 1},
		"answers, and an empty log":    {[]received{{0, ids[0]}}, log(), 1},
		"no answers":                   {nil, log(ids...), 0},
	} {
		if got, err := missingFrom(tc.answers, tc.log); err != nil || got != tc.missing {
			t.Errorf("%s: %d missing, %v; want %d", name, got, err, tc.missing)
		}
	}
}

func TestAnswersAreKeptOnTheDisk(t *testing.T) {
	a, err := newAnswers(filepath.Join(t.TempDir(), "answers"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	var want []received
	for i := range 1000 {
		r := received{uint64(i), uuid.New()}
		want = append(want, r)
	}
	for _, i := range []int{1, 0} { // not in order
		for j := i; j < len(want); j += 2 {
			if err := a.add(want[j].index, want[j].id.String()); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := a.list()
	if err != nil || !slices.Equal(got, want) || a.count() != 1000 {
		t.Errorf("%d answers came back, %d counted, %v", len(got), a.count(), err)
	}
	if err := a.add(0, "no id"); err == nil {
		t.Error("an answer without an id was taken")
	}
}

func TestScenariosAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios(false) {
		if seen[s.name] {
			t.Errorf("there are two scenarios %s", s.name)
		}
		seen[s.name] = true
	}
	quick := scenarios(true)
	if len(quick) < 3 || len(quick) >= len(seen) {
		t.Errorf("%d of %d scenarios are quick", len(quick), len(seen))
	}
	for _, name := range []string{singleName, openName, delegateName} { // the figures are made of these
		if !slices.ContainsFunc(quick, func(s scenario) bool { return s.name == name }) {
			t.Errorf("the quick run lacks %s", name)
		}
	}
}

func TestPatternsChooseScenarios(t *testing.T) {
	patterns, err := splitPatterns(" single-10p-*, kept ,")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"single-10p-16c": true, "single-100p-16c": false, "kept": true, "storage": false} {
		if got := matches(patterns, name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if !matches(nil, "anything") {
		t.Error("without patterns something is left out")
	}
	if _, err := splitPatterns("[a"); err == nil {
		t.Error("a broken pattern was taken")
	}
}

func TestCommandLineSaysNothingAboutTheMachine(t *testing.T) {
	got := commandLine([]string{"--quick", "--json", "--out", "docs/performance.md", "--work=/somewhere", "-seed", "3"})
	if got != "go run ./bench --quick -seed 3" {
		t.Error(got)
	}
}

// The yardstick must do what it is compared with: every entry that is acknowledged is in the file.
func TestBareCommitsWriteEveryEntry(t *testing.T) {
	b, err := newBare(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	const entries, size = 200, 50
	done := make(chan error)
	for i := range entries {
		go func() { done <- b.commit(slices.Repeat([]byte{byte(1 + i%250)}, size)) }()
	}
	for range entries {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, entries*size)
	if _, err := b.file.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	counts := map[byte]int{}
	for _, c := range got {
		counts[c]++
	}
	for i := range entries {
		if counts[byte(1+i%250)] != size {
			t.Fatalf("entry %d is there %d bytes long, want %d", i, counts[byte(1+i%250)], size)
		}
	}
}

func TestDurableDecisionsAreReal(t *testing.T) {
	rate, size, err := durableDecisions(t.Context(), filepath.Join(t.TempDir(), "data"), 1, 50*time.Millisecond)
	if err != nil || rate <= 0 || size < 300 {
		t.Errorf("%.0f/s of %.0f bytes, %v", rate, size, err)
	}
}

func TestEvaluationsAgree(t *testing.T) {
	c := comparison{report: &report.Report{}, timing: timing{measure: 8 * time.Millisecond}}
	if err := c.evaluation(context.Background(), 100); err != nil {
		t.Fatal(err)
	}
	if p := c.report.InProc; p.IndexedNS <= 0 || p.UnindexedNS <= p.IndexedNS {
		t.Errorf("%+v", p)
	}
}

func TestUnknownCommand(t *testing.T) {
	if status := run([]string{"grow"}); status != 2 {
		t.Errorf("status %d", status)
	}
	if status := run([]string{"--targets", "aver,nobody", "--work", t.TempDir(), "surplus"}); status != 2 {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(usage, "soak") {
		t.Error("the usage lacks a command")
	}
}
