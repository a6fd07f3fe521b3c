package report

import "fmt"

// Figure is one of the figures that the project has set itself to reach.
type Figure struct {
	What    string  `json:"what"`
	Value   float64 `json:"value"`
	Goal    float64 `json:"goal"`
	AtMost  bool    `json:"at_most"` // the goal is an upper bound; else a lower one
	Unit    string  `json:"unit"`    // "x", "%", "bytes", or "" for a count
	Reached bool    `json:"reached"`
}

// Names of targets and scenarios that the figures are made of.
type Names struct {
	Aver, Null, OPA        string
	OPALogs, CerbosLogs    []string // all modes with a log; figures are against the fastest of them
	Single, Open, Delegate string   // scenarios
}

// Judge fills in the figures that can be made of what was measured.
func (r *Report) Judge(n Names) {
	r.Figures = nil
	add := func(what, unit string, value, goal float64, atMost bool) {
		reached := value >= goal
		if atMost {
			reached = value <= goal
		}
		r.Figures = append(r.Figures, Figure{what, value, goal, atMost, unit, reached})
	}
	ours, ok := r.Find(n.Aver, n.Single)
	if ok {
		if best, ok := r.best(n.OPALogs, n.Single, fastest); ok {
			add("durable decisions/s over HTTP against OPA with its decision log on ("+best.Target+")", "x", ours.RPS/best.RPS, 2.5, false)
		}
		if best, ok := r.best(n.CerbosLogs, n.Single, fastest); ok {
			add("the same against Cerbos with audit on ("+best.Target+")", "x", ours.RPS/best.RPS, 4, false)
		}
		if opa, ok := r.Find(n.OPA, n.Single); ok {
			add("the same against OPA with no log at all", "x", ours.RPS/opa.RPS, 1.2, false)
		}
		if best, ok := r.best(n.OPALogs, n.Single, cheapest); ok {
			add("server CPU per request against OPA with log ("+best.Target+")", "x", ours.CPU/best.CPU, 1.0/4, true)
		}
		if best, ok := r.best(n.CerbosLogs, n.Single, cheapest); ok {
			add("server CPU per request against Cerbos with audit ("+best.Target+")", "x", ours.CPU/best.CPU, 1.0/7, true)
		}
		if null, ok := r.Find(n.Null, n.Single); ok {
			add("server CPU per request against net/http and cedar-go with no log", "x", ours.CPU/null.CPU, 1.6, true)
		}
	}
	if ours, ok := r.Find(n.Aver, n.Open); ok {
		if best, ok := r.best(n.OPALogs, n.Open, quickest); ok {
			add("p99 at 2,000 requests/s against OPA with log ("+best.Target+")", "x", ours.P99/best.P99, 1, true)
		}
	}
	if p := r.InProc; p != nil {
		if p.Bare > 0 {
			add("durable decisions/s in process, of what a bare group-commit file does with the same bytes", "%", 100*p.Durable/p.Bare, 40, false)
		}
		if p.IndexedNS > 0 {
			add(fmt.Sprintf("evaluation at %d policies against cedar-go without an index", p.EvalPolicies), "x", p.UnindexedNS/p.IndexedNS, 100, false)
		}
		if ok && p.Replay > 0 {
			add("replay, decisions/s against the rate at which the server decides over HTTP", "x", p.Replay/ours.RPS, 5, false)
		}
	}
	for _, s := range r.Storage {
		if s.Target != n.Aver {
			continue
		}
		if s.Scenario == n.Delegate {
			add("payload of a decision with a two-hop chain, before compression", "bytes", s.Payload, 1000, true)
		}
		add("bytes on the disk per decision, leaves and tiles included, sealed ("+s.Scenario+")", "bytes", s.Bytes, 350, true)
	}
	for _, k := range r.Kept {
		if k.Target == n.Aver {
			add(fmt.Sprintf("answers that were received and are missing from the log, of %d before kill -9", k.Answered), "", float64(k.Missing), 0, true)
		}
	}
}

func fastest(a, b Run) bool  { return a.RPS > b.RPS }
func cheapest(a, b Run) bool { return a.CPU < b.CPU }
func quickest(a, b Run) bool { return a.P99 < b.P99 }

// best returns the run of the target that does best: the comparison is with the peer at its best.
func (r *Report) best(targets []string, scenario string, better func(a, b Run) bool) (best Run, found bool) {
	for _, t := range targets {
		if run, ok := r.Find(t, scenario); ok && (!found || better(run, best)) {
			best, found = run, true
		}
	}
	return best, found
}
