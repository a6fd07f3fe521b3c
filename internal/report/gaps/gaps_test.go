package gaps_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/report/gaps"
)

// In a company in which all is well nothing is found, and nothing is unknown.
func TestNothingIsFoundWhereAllIsWell(t *testing.T) {
	report := scene(t).found(gaps.Defaults())
	if diff := cmp.Diff([]string{}, names(report)); diff != "" {
		t.Errorf("found:\n%s", diff)
	}
	if len(report.Unknown) > 0 {
		t.Errorf("unknown: %+v", report.Unknown)
	}
}

// A data directory in which gaps of every kind were planted: all of them are
// found, and nothing else.
func TestAllThatWasPlantedIsFound(t *testing.T) {
	s := newStory(t, nil)
	company(s)
	var planted []func(*story)
	var want []string
	for n, x := range scenarios() {
		planted = append(planted, x.gap)
		want = append(want, x.found(n)...)
	}
	tellOf(s, planted...)
	path := s.dir.Path()
	s.close()

	logs, err := datadir.OpenReaders(path)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	report, err := gaps.Find(t.Context(), logs.Authority, logs.Decisions, gaps.Defaults(), start+end*day)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(slices.Compact(want), names(report)); diff != "" {
		t.Errorf("planted and found (-planted +found):\n%s", diff)
	}
	seen := map[string]bool{}
	for _, f := range report.Findings {
		if seen[f.ID] {
			t.Errorf("two findings are called %s", f.ID)
		}
		seen[f.ID] = true
	}
}
