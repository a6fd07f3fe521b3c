package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aver-authz/aver/bench/proc"
)

// Profile is where the CPU time of a server went while it was asked in a closed loop.
type Profile struct {
	Command  string       `json:"command"`
	Version  string       `json:"version"`
	Time     time.Time    `json:"time"`
	Machine  proc.Machine `json:"machine"`
	Scenario string       `json:"scenario"`
	RPS      float64      `json:"rps"` // beside the generator, which is in the same process
	Seconds  float64      `json:"seconds"`
	Stages   []Stage      `json:"stages"` // the largest first
}

// Stage is a part of what a request costs.
type Stage struct {
	Name string  `json:"name"`
	CPU  float64 `json:"cpu_us_per_req"`
}

// stages sort the stacks of a profile: the first of which a part stands in some frame.
var stages = []struct {
	name string
	any  []string
}{
	{"the load generator", []string{"bench/load."}},
	{"signing for commit groups", []string{"(*Log).commit.func1"}},
	{"commit groups: assembling, writing, fdatasync", []string{"(*Log).commitLoop"}},
	{"sealing segments: compressing", []string{"(*Log).sealLoop"}},
	{"preparing segments: writing zeros ahead", []string{"(*Log).prepare"}},
	{"tiles, checkpoints", []string{"(*Log).projectLoop"}},
	{"the search index", []string{"internal/index."}},
	{"open authorizations", []string{"internal/activity."}},
	{"collecting garbage", []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge"}},
	{"reading strict JSON, the request", []string{"(*API).readBody", "aver.ReadRequest"}},
	{"evaluating policies", []string{"policy.(*Set)", "policy.(*Permit)"}},
	{"deciding besides: chain, context, gates", []string{"pdp.Decide", "pdp.NewQuery"}},
	{"making the record: minimising, encoding, hashing", []string{"pdp.NewRecord", "pdp.(*encoder)", "pdp.evaluationID"}},
	{"waiting for the commit, the receipt", []string{"pdp.(*Pending).Wait", "(*Log).enqueue"}},
	{"writing the answer's JSON", []string{"(*Answer).JSON"}},
	{"the rest of the API: authentication, metrics, headers", []string{"internal/api.(*API).run"}},
	{"net/http: connections, requests, responses", []string{"net/http."}},
	{"Go's scheduler", []string{"runtime.schedule", "runtime.mcall", "runtime.park_m", "runtime.mstart"}},
}

// ReadStages adds up the traces that `go tool pprof -traces` prints, for a number of requests.
func ReadStages(traces io.Reader, requests float64) ([]Stage, error) {
	sums := map[string]time.Duration{}
	var took time.Duration
	var stack []string
	end := func() {
		if took > 0 {
			sums[stageOf(stack)] += took
		}
		took, stack = 0, nil
	}
	lines := bufio.NewScanner(traces)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "-----------+") {
			end()
			continue
		}
		first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if d, err := time.ParseDuration(first); err == nil && took == 0 {
			took, stack = d, append(stack, strings.TrimSpace(rest))
		} else if took > 0 {
			stack = append(stack, strings.TrimSpace(line))
		}
	}
	end()
	var out []Stage
	for name, sum := range sums {
		out = append(out, Stage{name, float64(sum.Microseconds()) / requests})
	}
	slices.SortFunc(out, func(a, b Stage) int { return cmp.Or(cmp.Compare(b.CPU, a.CPU), cmp.Compare(a.Name, b.Name)) })
	return out, lines.Err()
}

func stageOf(stack []string) string {
	for _, s := range stages {
		for _, part := range s.any {
			if slices.ContainsFunc(stack, func(frame string) bool { return strings.Contains(frame, part) }) {
				return s.name
			}
		}
	}
	return "other"
}

// Markdown writes the profile for people.
func (p *Profile) Markdown(w io.Writer) {
	heading(w, p.Command, p.Version, p.Time, p.Machine)
	var all float64
	for _, s := range p.Stages {
		all += s.CPU
	}
	fmt.Fprintf(w, "%s, %s requests/s for %s, the generator in the same process.\n\n", p.Scenario, thousands(p.RPS), duration(p.Seconds))
	t := table{{"what the processor did", "us/request", "share"}}
	for _, s := range p.Stages {
		t = append(t, []string{s.Name, fmt.Sprintf("%.1f", s.CPU), fmt.Sprintf("%.1f %%", 100*s.CPU/all)})
	}
	t = append(t, []string{"all", fmt.Sprintf("%.1f", all), "100.0 %"})
	t.write(w)
}
