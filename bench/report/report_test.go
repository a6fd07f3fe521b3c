package report

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver/bench/proc"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
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
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

var (
	at      = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	machine = proc.Machine{CPU: "Some CPU", Cores: 2, Memory: 8e9, Kernel: "Linux 6.18", FileSystem: "ext4", Device: "/dev/vda", Go: "go1.26", Load: 0.1}
	names   = Names{
		Aver: "aver", Null: "null", OPA: "opa", OPALogs: []string{"opa-log-http", "opa-log-console"}, CerbosLogs: []string{"cerbos-log-file"},
		Single: "single", Open: "open", Delegate: "delegated",
	}
)

func sample() *Report {
	run := func(target, scenario string, rps, p99, cpu float64) Run {
		return Run{Target: target, Scenario: scenario, Policies: 1000, Batch: 1, Connections: 16, RPS: rps, RPSMin: rps - 100, RPSMax: rps + 100,
			Decisions: rps, P50: p99 / 10, P99: p99, P999: 3 * p99, CPU: cpu, PeakRSS: 50e6}
	}
	r := &Report{
		Command: "go run ./bench", Version: "abc123", Time: at, Took: 95, Machine: machine, Rounds: 3,
		Warnings: []string{"The machine was busy."}, Skipped: []string{"cerbos is not there."},
		Targets: []Target{{"aver", "abc123", "complete"}, {"null", "", "none"}},
		Runs: []Run{
			run("aver", "single", 15000, 2500, 60), run("null", "single", 28000, 5000, 39.4), run("opa", "single", 10000, 9000, 150),
			run("opa-log-http", "single", 5000, 30000, 240), run("opa-log-console", "single", 6500, 14000, 250),
			run("cerbos-log-file", "single", 3700, 11000, 500),
			run("aver", "open", 2000, 900, 70), run("opa-log-http", "open", 2000, 3000, 260), run("opa-log-console", "open", 2000, 850, 255),
		},
		Kept:    []Kept{{"aver", 12345, 0, 12360}, {"opa-log-http", 7490, 2151, 5339}},
		Storage: []Storage{{"aver", "single", 100_000, 310.4, 320, 901, 190}, {"aver", "delegated", 100_000, 351, 370, 1001, 190}},
		InProc: &InProcess{Durable: 80_000, Bare: 200_000, EntryBytes: 1234, IndexedNS: 4300, UnindexedNS: 1_458_000, EvalPolicies: 1000,
			Replay: 80_000, Verify: 120_000, ReplayRecords: 100_000},
	}
	r.Runs[0].Failed = 3
	for i := 6; i < 9; i++ {
		r.Runs[i].OpenRate, r.Runs[i].Connections = 2000, 128
	}
	r.Judge(names)
	return r
}

func TestReport(t *testing.T) {
	var b strings.Builder
	sample().Markdown(&b, "aver")
	golden(t, "compare.md", b.String())
}

// Each figure is measured against the peer that does best, and against its bound from the right side.
func TestFigures(t *testing.T) {
	got := map[string]Figure{}
	for _, f := range sample().Figures {
		got[f.What] = f
	}
	for what, want := range map[string]struct {
		value   float64
		reached bool
	}{
		"durable decisions/s over HTTP against OPA with its decision log on (opa-log-console)":      {15000.0 / 6500, false},
		"the same against Cerbos with audit on (cerbos-log-file)":                                   {15000.0 / 3700, true},
		"the same against OPA with no log at all":                                                   {1.5, true},
		"server CPU per request against OPA with log (opa-log-http)":                                {0.25, true},
		"server CPU per request against Cerbos with audit (cerbos-log-file)":                        {0.12, true},
		"server CPU per request against net/http and cedar-go with no log":                          {60 / 39.4, true},
		"p99 at 2,000 requests/s against OPA with log (opa-log-console)":                            {900.0 / 850, false},
		"durable decisions/s in process, of what a bare group-commit file does with the same bytes": {40, true},
		"evaluation at 1000 policies against cedar-go without an index":                             {1_458_000.0 / 4300, true},
		"replay, decisions/s against the rate at which the server decides over HTTP":                {80_000.0 / 15_000, true},
		"payload of a decision with a two-hop chain, before compression":                            {1001, false},
		"bytes on the disk per decision, leaves and tiles included, sealed (single)":                {310.4, true},
		"bytes on the disk per decision, leaves and tiles included, sealed (delegated)":             {351, false},
		"answers that were received and are missing from the log, of 12345 before kill -9":          {0, true},
	} {
		f, ok := got[what]
		if !ok || math.Abs(f.Value-want.value) > 1e-9*want.value || f.Reached != want.reached {
			t.Errorf("%s: got %+v (there: %t), want %v, reached %t", what, f, ok, want.value, want.reached)
		}
		delete(got, what)
	}
	for what := range got {
		t.Errorf("a figure that nobody asked for: %s", what)
	}
}

// What was not measured makes no figure; above all, none that is reached.
func TestFiguresOfNothing(t *testing.T) {
	r := &Report{Runs: []Run{{Target: "aver", Scenario: "single", RPS: 1}}, InProc: &InProcess{}}
	if r.Judge(names); len(r.Figures) > 0 {
		t.Errorf("%+v", r.Figures)
	}
}

func TestMedian(t *testing.T) {
	got := Median([]Run{
		{Target: "a", RPS: 10, P99: 500, CPU: 7, PeakRSS: 1, Failed: 1},
		{Target: "a", RPS: 30, P99: 100, CPU: 9, PeakRSS: 3},
		{Target: "a", RPS: 20, P99: 300, CPU: 8, PeakRSS: 2, Failed: 2},
	})
	want := Run{Target: "a", RPS: 20, RPSMin: 10, RPSMax: 30, P99: 300, CPU: 8, PeakRSS: 3, Failed: 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Median([]Run{{RPS: 10}, {RPS: 20}}); got.RPS != 15 {
		t.Errorf("of two: %v", got.RPS)
	}
}

func dimension() Dimension {
	d := Dimension{Name: "decisions", Axis: "decisions in the log", Text: "One log that becomes longer."}
	for i, n := range []float64{1e4, 1e5, 1e6} {
		f := float64(i)
		d.Points = append(d.Points, Point{N: n, RPS: 10_000, P50: 900, P99: 2000 + 500*f, RSS: 50e6 + 20e6*f, Start: 0.05, Restart: 0.1 * n / 1e4,
			Replay: 80_000 / (1 + f), Verify: 100_000, Disk: 300 * n, PerRecord: 300})
	}
	return d
}

func TestGrowth(t *testing.T) {
	g := Growth{Command: "go run ./bench growth", Version: "abc123", Time: at, Machine: machine, Dimensions: []Dimension{dimension()}}
	var b strings.Builder
	g.Markdown(&b, func(d Dimension) string { return "![curves](" + d.Name + ".svg)" })
	golden(t, "growth.md", b.String())
	var svg strings.Builder
	if err := dimension().SVG(&svg); err != nil {
		t.Fatal(err)
	}
	golden(t, "growth.svg", svg.String())
}

func TestShapeOfCurves(t *testing.T) {
	of := func(values ...float64) Dimension {
		d := Dimension{}
		for i, v := range values {
			d.Points = append(d.Points, Point{N: []float64{10, 100, 1000}[i], RPS: v})
		}
		return d
	}
	for want, d := range map[string]Dimension{
		"is flat":                                   of(100, 101, 99),
		"grows slightly: x 1.22":                    of(100, 120, 150),
		"grows more slowly than in proportion":      of(100, 300, 900),
		"grows in proportion":                       of(100, 1000, 10_000),
		"grows faster than in proportion: x 100.00": of(1, 100, 10_000),
		"falls more slowly than in proportion":      of(900, 300, 100),
		"falls in inverse proportion":               of(10_000, 1000, 100),
		"falls faster than in proportion: x 0.01":   of(10_000, 100, 1),
	} {
		if got := curves[0].shape(d); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

func samples(rss, files func(i int) int) []Sample {
	var out []Sample
	for i := range 100 {
		out = append(out, Sample{Seconds: float64(10 * i), RSS: int64(rss(i)), Files: files(i), Answers: uint64(10 * i)})
	}
	return out
}

func constant(v int) func(int) int { return func(int) int { return v } }

func TestFlat(t *testing.T) {
	for name, tc := range map[string]struct {
		samples []Sample
		err     string
	}{
		"flat":                 {samples(constant(60e6), constant(30)), ""},
		"warming up":           {samples(func(i int) int { return min(20+i, 40) * 10e6 }, constant(30)), ""},
		"memory leaks":         {samples(func(i int) int { return (20 + i) * 10e6 }, constant(30)), "memory grew from 590 MB to 1,190 MB"},
		"files leak":           {samples(constant(60e6), func(i int) int { return 30 + i }), "open files grew from 69 to 129"},
		"too short for memory": {samples(func(i int) int { return (20 + i) * 10e6 }, constant(30))[:50], ""},
		"too short to tell":    {samples(constant(1), constant(1))[:3], "too short"},
		"falls after a crash":  {samples(func(i int) int { return 200e6 - i*1e6 }, constant(30)), ""},
	} {
		err := (&Soak{Samples: tc.samples}).Flat()
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.err)
		}
	}
}

func TestSoak(t *testing.T) {
	s := Soak{Command: "go run ./bench soak", Version: "abc123", Time: at, Machine: machine, Seed: 7, OK: true, Kills: 5, SlowestStart: 0.25,
		Changes: map[string]int{"grants revoked": 40, "chains registered": 35}, Answers: 50_000, Decisions: 50_007, Events: 400,
		Samples: samples(constant(60e6), constant(30))}
	var b strings.Builder
	s.Markdown(&b)
	s.OK, s.Missing = false, 2
	s.Markdown(&b)
	golden(t, "soak.md", b.String())
}

func TestRecovery(t *testing.T) {
	r := Recovery{Command: "go run ./bench recover", Version: "abc123", Time: at, Machine: machine, Decisions: 1_000_123, Verify: 120_000, Replay: 70_000,
		Starts: []Start{{"after kill -9 under load", 1.234, 90e6}, {"after it was stopped", 0.05, 60e6}}}
	var b strings.Builder
	r.Markdown(&b)
	golden(t, "recover.md", b.String())
}

// Prose around the markers stays; a document without them is not touched.
func TestWriteSection(t *testing.T) {
	const doc = "# Title\n\n<!-- bench:a -->\nold\n<!-- /bench:a -->\n\nprose\n\n<!-- bench:b -->\n<!-- /bench:b -->\nend\n"
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a": "\nnew\n\n", "b": "more"} {
		if err := CheckSection(file, name); err != nil {
			t.Error(err)
		}
		if err := WriteSection(file, name, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"c", "a -->\nnew"} {
		if err := WriteSection(file, name, "lost"); err == nil {
			t.Errorf("section %q was written", name)
		}
		if err := CheckSection(file, name); err == nil {
			t.Errorf("section %q is said to be there", name)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Title\n\n<!-- bench:a -->\nnew\n<!-- /bench:a -->\n\nprose\n\n<!-- bench:b -->\nmore\n<!-- /bench:b -->\nend\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		thousands(0): "0", thousands(999): "999", thousands(1000): "1,000", thousands(1_234_567.8): "1,234,568", thousands(9.95): "9.9",
		thousands(-1234): "-1,234", thousands(10.4): "10",
		micros(3.14): "3.1 us", micros(999): "999 us", micros(1500): "1.50 ms", micros(2.5e6): "2.50 s",
		ratio(2.5): "2.50 x", ratio(339.07): "339 x", megabytes(51_600_000): "52 MB", duration(95.7): "1m35s",
		short(10): "10", short(1e4): "10k", short(31_245): "31.2k", short(1e6): "1M",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
