package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aver-authz/aver/bench/proc"
	"github.com/aver-authz/aver/bench/report"
	"github.com/aver-authz/aver/bench/target"
	"github.com/aver-authz/aver/bench/workload"
)

// grower measures Aver at one size after the other.
type grower struct {
	common
	quick  bool
	timing timing
	work   string
	report report.Growth
}

func growth(ctx context.Context, args []string) error {
	var g grower
	f := flags("growth", &g.common)
	f.BoolVar(&g.quick, "quick", false, "up to a hundredth of the sizes, to see whether it works")
	f.DurationVar(&g.timing.measure, "measure", 3*time.Second, "how long the rate is measured at each size")
	most := f.Int("decisions", 1_000_000, "most decisions in the log; 10000000 takes a long while")
	dimensions := f.String("only", "", "which of decisions, policies and identities, separated by commas; all")
	if err := g.parse(f, args, "growth"); err != nil {
		return err
	}
	only, err := splitPatterns(*dimensions)
	if err != nil {
		return err
	}
	g.timing.warmUp = g.timing.measure / 3
	var done func()
	if g.work, done, err = g.workDir(); err != nil {
		return err
	}
	defer done()
	t, err := target.NewAver(ctx, g.work)
	if err != nil {
		return err
	}
	g.report = report.Growth{Command: commandLine(append([]string{"growth"}, args...)), Version: t.Version, Time: time.Now()}
	if g.report.Machine, err = proc.ThisMachine(g.work); err != nil {
		return err
	}
	scale := 1
	if g.quick {
		scale = 100
	}
	for _, d := range []struct {
		name    string
		measure func(context.Context, []int) error
		sizes   []int
	}{
		{"decisions", g.decisions, tenfold(10_000/scale, *most/scale)},
		{"policies", g.policies, tenfold(10, 10_000/min(scale, 10))},
		{"identities", g.identities, tenfold(10, 100_000/scale)},
	} {
		if !matches(only, d.name) {
			continue
		}
		if err := d.measure(ctx, d.sizes); err != nil {
			return err
		}
	}
	return g.publish()
}

// tenfold lists from, ten times from, and so on up to to.
func tenfold(from, to int) []int {
	var out []int
	for n := from; n <= to; n *= 10 {
		out = append(out, n)
	}
	return out
}

// publish writes the section, and the pictures beside it.
func (g *grower) publish() error {
	picture := func(report.Dimension) string { return "" }
	if g.out != "" {
		base := strings.TrimSuffix(g.out, filepath.Ext(g.out))
		for _, d := range g.report.Dimensions {
			var b strings.Builder
			if err := d.SVG(&b); err != nil {
				return err
			}
			if err := os.WriteFile(base+"-"+d.Name+".svg", []byte(b.String()), 0o644); err != nil {
				return err
			}
		}
		picture = func(d report.Dimension) string {
			return fmt.Sprintf("![Curves by %s](%s-%s.svg)", d.Axis, filepath.Base(base), d.Name)
		}
	}
	var text strings.Builder
	g.report.Markdown(&text, picture)
	return g.deliver(text.String(), g.report)
}

func (g *grower) start(ctx context.Context, dir string) (*target.AverServer, error) {
	return target.StartAver(ctx, target.Program(g.work), filepath.Join(dir, "data"))
}

// killIf kills a server if there is one: a start that failed leaves none.
func killIf(s *target.AverServer) {
	if s != nil {
		s.Kill()
	}
}

// decisions grows one log.
func (g *grower) decisions(ctx context.Context, sizes []int) error {
	dir, err := fresh(g.work, "growth")
	if err != nil {
		return err
	}
	s, err := g.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { killIf(s) }()
	if err := s.Prepare(ctx, target.Options{Policies: 10, Chains: workload.People}); err != nil {
		return err
	}
	d := report.Dimension{Name: "decisions", Axis: "decisions in the log", Text: "One log that becomes longer, the decisions of the measurements included; 10 policies, single checks."}
	at := 0
	for _, n := range sizes {
		say("%d decisions", n)
		if err := fill(ctx, s, g.seed, workload.Options{Policies: 10}, n-at); err != nil {
			return err
		}
		var p report.Point
		if p, s, err = g.point(ctx, s, dir, scenario{name: singleName, policies: 10, batch: 1, connections: 16}, workload.People); err != nil {
			return err
		}
		at = int(p.N) // the measurement made more
		d.Points = append(d.Points, p)
	}
	g.report.Dimensions = append(g.report.Dimensions, d)
	return nil
}

// policies measures with more policies on a new log each.
func (g *grower) policies(ctx context.Context, sizes []int) error {
	d := report.Dimension{Name: "policies", Axis: "policies", Text: "A new log for each size, with 10,000 decisions before the measurement; ten policies for each kind of payment, all kinds are asked about."}
	for _, n := range sizes {
		say("%d policies", n)
		p, err := g.small(ctx, target.Options{Policies: n, Chains: workload.People}, scenario{name: singleName, policies: n, batch: 1, connections: 16})
		if err != nil {
			return err
		}
		p.N = float64(n)
		d.Points = append(d.Points, p)
	}
	g.report.Dimensions = append(g.report.Dimensions, d)
	return nil
}

// chainSize is how many identities and grants make one chain.
const chainSize = 5

// identities measures with more identities and grants on a new log each.
func (g *grower) identities(ctx context.Context, sizes []int) error {
	d := report.Dimension{Name: "identities", Axis: "identities and grants", Text: "A new log for each size, with 10,000 decisions before the measurement; three identities and two grants make a chain, and every check is asked at the end of one, all chains in turn."}
	for _, n := range sizes {
		say("%d identities and grants", n)
		p, err := g.small(ctx, target.Options{Policies: 10, Chains: max(n/chainSize, 1)}, scenario{name: delegateName, policies: 10, batch: 1, delegated: true, connections: 16})
		if err != nil {
			return err
		}
		p.N = float64(n)
		d.Points = append(d.Points, p)
	}
	g.report.Dimensions = append(g.report.Dimensions, d)
	return nil
}

// small measures one size on a new log.
func (g *grower) small(ctx context.Context, o target.Options, sc scenario) (report.Point, error) {
	dir, err := fresh(g.work, "growth")
	if err != nil {
		return report.Point{}, err
	}
	s, err := g.start(ctx, dir)
	if err != nil {
		return report.Point{}, err
	}
	defer func() { killIf(s) }()
	if err := s.Prepare(ctx, o); err != nil {
		return report.Point{}, err
	}
	before := 10_000
	if g.quick {
		before /= 10
	}
	if err := fill(ctx, s, g.seed, workload.Options{Policies: sc.policies, Delegated: sc.delegated, People: o.Chains}, before); err != nil {
		return report.Point{}, err
	}
	var p report.Point
	p, s, err = g.point(ctx, s, dir, sc, o.Chains)
	return p, err
}

// point measures a server as it is, stops it and starts it again, kills it and starts it again. It returns the server that
// runs at the end. N of the point is the decisions in the log.
func (g *grower) point(ctx context.Context, s *target.AverServer, dir string, sc scenario, people int) (p report.Point, again *target.AverServer, err error) {
	list, _ := requestsOf(s.Server, workload.Checks(requestsKept, workload.Options{
		Seed: g.seed, Policies: sc.policies, Delegated: sc.delegated, People: people, Mixed: true,
	}), 1)
	run, err := measure(ctx, s.Server, list, sc, g.timing)
	if err != nil {
		return p, s, err
	}
	if run.Failed > 0 {
		return p, s, fmt.Errorf("%w: %d requests failed", errFound, run.Failed)
	}
	usage, err := s.Usage()
	if err != nil {
		return p, s, err
	}
	p = report.Point{RPS: run.RPS, P50: run.P50, P99: run.P99, RSS: float64(usage.RSS)}
	if err := s.Stop(); err != nil {
		return p, s, err
	}
	if s, err = g.start(ctx, dir); err != nil {
		return p, s, err
	}
	p.Start = s.Started.Seconds()
	if err := killUnderLoad(ctx, s, g.seed); err != nil {
		return p, s, err
	}
	if s, err = g.start(ctx, dir); err != nil {
		return p, s, err
	}
	p.Restart = s.Started.Seconds()
	if err := s.Stop(); err != nil {
		return p, s, err
	}
	use, err := proc.DiskUseOf(s.Dir)
	if err != nil {
		return p, s, err
	}
	log, err := proc.DiskUseOf(filepath.Join(s.Dir, "decisions"))
	if err != nil {
		return p, s, err
	}
	got, err := check(ctx, target.Program(g.work), s.Dir)
	if err != nil {
		return p, s, err
	}
	p.N, p.Disk, p.PerRecord = float64(got.decisions), float64(use.Bytes), float64(log.Bytes)/float64(got.decisions)
	p.Replay, p.Verify = got.replayRate(), got.verifyRate()
	say("  %.0f/s, p99 %.0f us, %.0f MB; start %.0f ms, after a crash %.0f ms; replay %.0f/s, verify %.0f/s; %.0f bytes a decision",
		p.RPS, p.P99, p.RSS/1e6, p.Start*1e3, p.Restart*1e3, p.Replay, p.Verify, p.PerRecord)
	s, err = g.start(ctx, dir)
	return p, s, err
}
