package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/report/gaps"
)

// Issue 5: the demo's planted gaps are all found, and nothing else is (I1 to I5).
func TestWhatTheDemoPlantsIsFound(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	var out bytes.Buffer
	if _, err := run(t.Context(), Options{Data: data, Exit: true, Out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	logs, err := datadir.OpenReaders(data)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	seen := map[string]bool{}
	for _, later := range []time.Duration{0, 2 * time.Hour} {
		var want, got []string
		for _, p := range planted {
			if p.after <= later {
				want = append(want, p.rule+" "+p.subject)
			}
		}
		report, err := gaps.Find(t.Context(), logs.Authority, logs.Decisions, gaps.Defaults(), aver.TimeOf(time.Now().Add(later)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Findings {
			got = append(got, f.Rule+" "+f.Subject.ID)
			seen[f.Gap] = true
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %s: -planted +found:\n%s", later, diff)
		}
	}
	if len(seen) != len(aver.Gaps()) {
		t.Errorf("the demo shows gaps of %v alone", seen)
	}
}

// docs/demo.md has the same list.
func TestThePageListsWhatIsPlanted(t *testing.T) {
	text, err := os.ReadFile("../../docs/demo.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, p := range planted {
		want = append(want, fmt.Sprintf("| `%s` | `%s` | %s |", p.rule, p.subject, p.by))
	}
	got = append(got, regexp.MustCompile("(?m)^\\| `[a-z-]+` \\| `[^`]+` \\| .* \\|$").FindAllString(string(text), -1)...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-planted +page:\n%s", diff)
	}
}
