package sample_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/report/sample"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func lines(rows []uint64) (out []string) {
	for _, r := range rows {
		out = append(out, strconv.FormatUint(r, 10)+"\n")
	}
	return out
}

var update = flag.Bool("update", false, "rewrite testdata")

// The draw is pinned: another program, or a later version, must draw the same rows.
func TestDrawIsPinned(t *testing.T) {
	rows := make([]uint64, 1000)
	for i := range rows {
		rows[i] = uint64(3 * i)
	}
	p := aver.Population{
		ID: "p", QueryDigest: aver.Digest(nil), To: start, Log: origin, Tree: aver.TreeHead{Root: "FM4m2GWAuxcyJwZuh24FD+fuWgfEW8R4dcuDVdgva64=", Size: 3000},
		End: 3000, Count: 1000, Excluded: aver.Excluded{Activities: 2000}, Rows: aver.Digest([]byte(strings.Join(lines(rows), ""))),
	}
	value := func(i uint64) (string, error) { return []string{"approve", "create", "read"}[min(i/3%10/4, 2)], nil } // 400, 400, 200
	var got []string
	for _, spec := range []sample.Spec{
		{Nonce: "7f3a-91c2", Method: aver.SampleSimple, Size: 5},
		{Nonce: "7f3a-91c3", Method: aver.SampleSimple, Size: 5},
		{Nonce: "7f3a-91c2", Method: aver.SampleInterval, Size: 5},
		{Nonce: "7f3a-91c2", Method: aver.SampleStratified, Strata: "action", Size: 10},
	} {
		d := must(sample.Draw(&p, rows, value, spec))
		got = append(got, fmt.Sprint(d.Method, d.Rows, d.Strata))
		if err := d.Check(&p, rows, value); err != nil {
			t.Error(err)
		}
	}
	file := filepath.Join("testdata", "draws.txt")
	if *update {
		must(0, os.WriteFile(file, []byte(strings.Join(got, "\n")+"\n"), 0o644))
	}
	if want := string(must(os.ReadFile(file))); strings.Join(got, "\n")+"\n" != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// docs/sampling.md has a program of some ten lines that draws the same rows with Python's standard library.
func TestPythonDrawsTheSame(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	page := string(must(os.ReadFile("../../../docs/sampling.md")))
	program := regexp.MustCompile("(?s)```python draw.py\n(.*?)```").FindStringSubmatch(page)
	if program == nil {
		t.Fatal("the page has no program draw.py")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "draw.py")
	must(0, os.WriteFile(script, []byte(program[1]), 0o600))

	log := newLog(t, 10_000, nil)
	d := log.fix(t, "outcome:permitted", 0, 10_000)
	file := filepath.Join(dir, "population.json")
	must(0, os.WriteFile(file, must(json.Marshal(d)), 0o600))
	for _, method := range []aver.SampleMethod{aver.SampleSimple, aver.SampleInterval} {
		ours := must(sample.Draw(&d.Statement, d.Rows, nil, sample.Spec{Nonce: "Prüfung 7", Method: method, Size: 45}))
		out, err := exec.Command(python, script, file, "Prüfung 7", "45", string(method)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var rows []uint64
		for _, text := range strings.Fields(string(out)) {
			rows = append(rows, must(strconv.ParseUint(text, 10, 64)))
		}
		if !slices.Equal(rows, ours.Rows) {
			t.Errorf("%s: Python draws %v, we %v", method, rows, ours.Rows)
		}
	}
}

// What was drawn and set aside stays on the list, and the next row stands in for it.
func TestDiscardedRowsAreReplaced(t *testing.T) {
	log := newLog(t, 100, nil)
	d := log.fix(t, "", 0, 100)
	value := must(sample.ValueOf(log, "outcome"))
	for _, method := range []aver.SampleMethod{aver.SampleSimple, aver.SampleInterval, aver.SampleStratified} {
		spec := sample.Spec{Nonce: "n", Method: method, Size: 10}
		if method == aver.SampleStratified {
			spec.Strata = "outcome"
		}
		before := must(sample.Draw(&d.Statement, d.Rows, value, spec))
		gone := before.Rows[4]
		spec.Discarded = []aver.DiscardedSample{{Index: gone, Why: "the system of record was replaced"}}
		after := must(sample.Draw(&d.Statement, d.Rows, value, spec))
		if slices.Contains(after.Rows, gone) || len(after.Rows) != 10 || len(distinct(after.Rows)) != 10 || after.Discarded[0].Index != gone {
			t.Errorf("%s: %v, without %d %v", method, before.Rows, gone, after.Rows)
		}
		kept := 0
		for _, r := range after.Rows {
			if slices.Contains(before.Rows, r) {
				kept++
			}
		}
		if kept != 9 {
			t.Errorf("%s: %d rows were kept of %v in %v", method, kept, before.Rows, after.Rows)
		}
		spec.Discarded = append(spec.Discarded, aver.DiscardedSample{Index: gone, Why: "again"})
		if _, err := sample.Draw(&d.Statement, d.Rows, value, spec); err == nil || !strings.Contains(err.Error(), "was not drawn") {
			t.Errorf("%s: set aside twice: %v", method, err)
		}
	}
}

func distinct(rows []uint64) []uint64 {
	rows = slices.Sorted(slices.Values(rows))
	return slices.Compact(rows)
}

// Each stratum has its share and none is left out; all rows are drawn if there are no more.
func TestStrata(t *testing.T) {
	log := newLog(t, 700, nil)
	d := log.fix(t, "", 0, 700)
	for _, by := range []string{"outcome", "action"} {
		for _, size := range []int{3, 25, 60, 599, 600, 1000} {
			value := must(sample.ValueOf(log, by))
			drawn := must(sample.Draw(&d.Statement, d.Rows, value, sample.Spec{Nonce: "n", Method: aver.SampleStratified, Strata: by, Size: size}))
			want := min(size, len(d.Rows))
			sum := 0
			for _, s := range drawn.Strata {
				sum += s.Drawn
				share := float64(want) * float64(s.Count) / float64(len(d.Rows))
				if s.Drawn < 1 || s.Drawn > s.Count || float64(s.Drawn) < share-2 || float64(s.Drawn) > share+2 {
					t.Errorf("%s, %d: %+v is far from %f", by, size, s, share)
				}
			}
			if sum != want || len(distinct(drawn.Rows)) != want {
				t.Errorf("%s, %d: %d drawn, want %d", by, size, sum, want)
			}
		}
	}
	_, err := sample.Draw(&d.Statement, d.Rows, must(sample.ValueOf(log, "outcome")), sample.Spec{Nonce: "n", Method: aver.SampleStratified, Strata: "outcome", Size: 2})
	if err == nil || !strings.Contains(err.Error(), "there are 3 strata") {
		t.Errorf("too few: %v", err)
	}
	if byLeaf, byRecord := d.ValueOfLeaf("outcome"), must(sample.ValueOf(log, "outcome")); must(byLeaf(d.Rows[7])) != must(byRecord(d.Rows[7])) {
		t.Error("the leaf says another outcome than the record")
	}
	if _, err := sample.ValueOf(log, "weather"); err == nil {
		t.Error("stratified by the weather")
	}
}

// Another nonce, and another population, give another sample; a changed one is found.
func TestSamplesDependOnNonceAndPopulation(t *testing.T) {
	log := newLog(t, 300, nil)
	d := log.fix(t, "", 0, 300)
	spec := sample.Spec{Nonce: "a", Method: aver.SampleSimple, Size: 25}
	first := must(sample.Draw(&d.Statement, d.Rows, nil, spec))
	spec.Nonce = "b"
	if second := must(sample.Draw(&d.Statement, d.Rows, nil, spec)); slices.Equal(first.Rows, second.Rows) {
		t.Error("the nonce changes nothing")
	}
	other := d.Statement
	other.ID = "q"
	spec.Nonce = "a"
	if second := must(sample.Draw(&other, d.Rows, nil, spec)); slices.Equal(first.Rows, second.Rows) {
		t.Error("the population changes nothing")
	}
	first.Rows[3], first.Rows[4] = first.Rows[4], first.Rows[3]
	if err := first.Check(&d.Statement, d.Rows, nil); err == nil {
		t.Error("rows that were exchanged were not found")
	}
}
