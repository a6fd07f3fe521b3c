// Package report holds what the benchmark found, and writes it as JSON, as tables and as curves. Every figure in the
// project's documents comes from here.
package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/aver-authz/aver/bench/proc"
)

// Report is the result of one run of the comparison.
type Report struct {
	Command  string       `json:"command"`
	Version  string       `json:"version"` // of Aver, by git
	Time     time.Time    `json:"time"`
	Took     float64      `json:"took_seconds"`
	Machine  proc.Machine `json:"machine"`
	Rounds   int          `json:"rounds"` // how often each run was measured; figures are medians
	Skipped  []string     `json:"skipped"`
	Targets  []Target     `json:"targets"`
	Runs     []Run        `json:"runs"`
	Kept     []Kept       `json:"kept"`
	Storage  []Storage    `json:"storage"`
	InProc   *InProcess   `json:"in_process,omitempty"`
	Figures  []Figure     `json:"figures"`
	Warnings []string     `json:"warnings"`
}

// Target is a PDP that was measured.
type Target struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Record  string `json:"record"` // what becomes of the record of a decision
}

// Run is one scenario against one target.
type Run struct {
	Target      string  `json:"target"`
	Scenario    string  `json:"scenario"`
	Policies    int     `json:"policies"`
	Batch       int     `json:"batch"` // checks in one request
	Delegated   bool    `json:"delegated"`
	Connections int     `json:"connections"`
	OpenRate    float64 `json:"open_loop_rate,omitempty"` // requests/s that were due; 0: closed loop

	RPS       float64 `json:"rps"` // requests answered per second
	RPSMin    float64 `json:"rps_min"`
	RPSMax    float64 `json:"rps_max"`
	Decisions float64 `json:"decisions_per_second"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	P999      float64 `json:"p999_us"`
	Max       float64 `json:"max_us"`
	LateP99   float64 `json:"generator_late_p99_us,omitempty"` // by how much the generator was late, open loop
	CPU       float64 `json:"server_cpu_us_per_req"`
	Cores     float64 `json:"server_cores"`             // how many the server kept busy
	GenCPU    float64 `json:"generator_cpu_us_per_req"` // the benchmark's own, log sink included
	PeakRSS   int64   `json:"peak_rss_bytes"`           // of the server since its start
	Failed    uint64  `json:"failed"`                   // requests without the right answer
}

// Median makes one run of several of the same kind: the median of each figure, and the extremes of the rate.
func Median(runs []Run) Run {
	out := runs[0]
	for _, field := range []func(*Run) *float64{
		func(r *Run) *float64 { return &r.RPS }, func(r *Run) *float64 { return &r.Decisions },
		func(r *Run) *float64 { return &r.P50 }, func(r *Run) *float64 { return &r.P99 },
		func(r *Run) *float64 { return &r.P999 }, func(r *Run) *float64 { return &r.Max },
		func(r *Run) *float64 { return &r.LateP99 }, func(r *Run) *float64 { return &r.CPU },
		func(r *Run) *float64 { return &r.Cores }, func(r *Run) *float64 { return &r.GenCPU },
		func(r *Run) *float64 { return &r.OpenRate },
	} {
		values := make([]float64, len(runs))
		for i := range runs {
			values[i] = *field(&runs[i])
		}
		slices.Sort(values)
		*field(&out) = median(values)
	}
	out.RPSMin = slices.MinFunc(runs, func(a, b Run) int { return cmp.Compare(a.RPS, b.RPS) }).RPS
	out.RPSMax = slices.MaxFunc(runs, func(a, b Run) int { return cmp.Compare(a.RPS, b.RPS) }).RPS
	out.Failed = 0
	for _, r := range runs {
		out.PeakRSS = max(out.PeakRSS, r.PeakRSS)
		out.Failed += r.Failed
	}
	return out
}

func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Kept is what a log held after kill -9 under load.
type Kept struct {
	Target   string `json:"target"`
	Answered int    `json:"answered"` // decisions that the generator received
	Missing  int    `json:"missing"`  // of those, not in the log
	Logged   int    `json:"logged"`   // all that are in the log
}

// Storage is what records take once the server has stopped.
type Storage struct {
	Target    string  `json:"target"`
	Scenario  string  `json:"scenario"`
	Decisions int     `json:"decisions"`
	Bytes     float64 `json:"bytes_per_decision"`           // all files of the log
	Allocated float64 `json:"allocated_bytes_per_decision"` // whole blocks of the file system
	Payload   float64 `json:"payload_bytes,omitempty"`      // the record as it is read, before compression
	Leaf      float64 `json:"leaf_bytes,omitempty"`
}

// InProcess are the runs without a network.
type InProcess struct {
	Durable       float64 `json:"durable_decisions_per_second"` // 256 callers
	Bare          float64 `json:"bare_group_commit_per_second"` // the same number of callers, the same bytes
	EntryBytes    float64 `json:"entry_bytes"`
	IndexedNS     float64 `json:"evaluation_indexed_ns"` // at EvalPolicies
	UnindexedNS   float64 `json:"evaluation_unindexed_ns"`
	EvalPolicies  int     `json:"evaluation_policies"`
	Replay        float64 `json:"replay_decisions_per_second"` // the aver command, start included
	Verify        float64 `json:"verify_records_per_second"`
	ReplayRecords int     `json:"replay_records"`
}

// Find returns the run of a target in a scenario.
func (r *Report) Find(target, scenario string) (Run, bool) {
	i := slices.IndexFunc(r.Runs, func(run Run) bool { return run.Target == target && run.Scenario == scenario })
	if i < 0 {
		return Run{}, false
	}
	return r.Runs[i], true
}
