package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aver-authz/aver/bench/load"
	"github.com/aver-authz/aver/bench/proc"
	"github.com/aver-authz/aver/bench/report"
	"github.com/aver-authz/aver/bench/target"
	"github.com/aver-authz/aver/bench/workload"
)

// The stages beside the scenarios, named like these for --scenarios.
const (
	keptStage      = "kept"
	storageStage   = "storage"
	inProcessStage = "in-process"
)

// comparison is one run of the comparison.
type comparison struct {
	common
	quick     bool
	rounds    int
	timing    timing
	stored    int // decisions whose size on the disk is measured
	patterns  []string
	scenarios []scenario
	targets   []target.Target
	work      string
	report    *report.Report
	runs      map[[2]string][]report.Run // target, scenario :: one of each round
}

func compare(ctx context.Context, args []string) error {
	c := comparison{runs: map[[2]string][]report.Run{}}
	f := flags("", &c.common)
	f.BoolVar(&c.quick, "quick", false, "about two minutes, with the most telling scenarios only")
	f.IntVar(&c.rounds, "rounds", 0, "how often each run is measured; 1 with --quick, else 3")
	f.DurationVar(&c.timing.measure, "measure", 0, "how long each run is measured; 2s with --quick, else 5s")
	targets := f.String("targets", strings.Join(target.Names, ","), "what to measure, separated by commas")
	patterns := f.String("scenarios", "", "patterns of scenarios, separated by commas, such as single-*,kept; all")
	f.IntVar(&c.stored, "stored", 0, "decisions whose size on the disk is measured; 20000 with --quick, else 100000")
	if err := c.parse(f, args, "compare"); err != nil {
		return err
	}
	var err error
	if c.patterns, err = splitPatterns(*patterns); err != nil {
		return err
	}
	setDefault := func(v *int, quick, full int) {
		if *v == 0 && c.quick {
			*v = quick
		} else if *v == 0 {
			*v = full
		}
	}
	setDefault(&c.rounds, 1, 3)
	setDefault(&c.stored, 20_000, 100_000)
	if c.timing.measure == 0 && c.quick {
		c.timing.measure = 2 * time.Second
	} else if c.timing.measure == 0 {
		c.timing.measure = 5 * time.Second
	}
	c.timing.warmUp = min(c.timing.measure/3, time.Second)
	for _, s := range scenarios(c.quick) {
		if matches(c.patterns, s.name) {
			c.scenarios = append(c.scenarios, s)
		}
	}
	var done func()
	if c.work, done, err = c.workDir(); err != nil {
		return err
	}
	defer done()
	return c.run(ctx, args, strings.Split(*targets, ","))
}

func (c *comparison) run(ctx context.Context, args, names []string) error {
	begin := time.Now()
	machine, err := proc.ThisMachine(c.work)
	if err != nil {
		return err
	}
	c.report = &report.Report{Command: commandLine(args), Version: target.SourceVersion(ctx), Time: begin, Machine: machine, Rounds: c.rounds}
	if machine.Load > float64(machine.Cores)/2 {
		c.report.Warnings = append(c.report.Warnings, fmt.Sprintf(
			"The machine was busy with other things (load %.2f), so these figures say little.", machine.Load))
	}
	say("building")
	if c.targets, c.report.Skipped, err = target.List(ctx, c.work, names); err != nil {
		return err
	}
	for _, line := range slices.Concat(c.report.Warnings, c.report.Skipped) {
		say("%s", line)
	}
	for _, t := range c.targets {
		c.report.Targets = append(c.report.Targets, report.Target{Name: t.Name, Version: t.Version, Record: t.Record})
	}
	for _, stage := range []func(context.Context) error{c.measureAll, c.keep, c.store, c.inProcess} {
		if err := stage(ctx); err != nil {
			return err
		}
	}
	c.report.Took = time.Since(begin).Seconds()
	c.report.Judge(report.Names{
		Aver: target.Aver, Null: target.Null, OPA: target.OPA,
		OPALogs: []string{target.OPAHTTP, target.OPAConsole}, CerbosLogs: []string{target.CerbosFile, target.CerbosDB},
		Single: singleName, Open: openName, Delegate: delegateName,
	})
	return c.publish()
}

// publish writes the report to where it was asked for.
func (c *comparison) publish() error {
	var text strings.Builder
	c.report.Markdown(&text, target.Aver)
	if err := c.deliver(text.String(), c.report); err != nil {
		return err
	}
	for _, k := range c.report.Kept {
		if k.Target == target.Aver && k.Missing > 0 {
			return fmt.Errorf("%w: %d answers are missing from Aver's log", errFound, k.Missing)
		}
	}
	return nil
}

// measureAll runs all scenarios. In each round the targets take turns, so that whatever else happens on the machine
// meets all of them.
func (c *comparison) measureAll(ctx context.Context) error {
	var order [][2]string
	for round := range c.rounds {
		for _, policies := range []int{10, 100, 1000} {
			var list []scenario
			for _, s := range c.scenarios {
				if s.policies == policies {
					list = append(list, s)
				}
			}
			if len(list) == 0 {
				continue
			}
			for _, t := range c.targets {
				say("round %d of %d: %s, %d policies", round+1, c.rounds, t.Name, policies)
				if err := c.measureTarget(ctx, t, policies, list); err != nil {
					return err
				}
			}
		}
	}
	for _, s := range c.scenarios {
		for _, t := range c.targets {
			order = append(order, [2]string{t.Name, s.name})
		}
	}
	for _, key := range order {
		if runs := c.runs[key]; len(runs) > 0 {
			c.report.Runs = append(c.report.Runs, report.Median(runs))
		}
	}
	return nil
}

// measureTarget starts a target on an empty directory and runs the scenarios against it.
func (c *comparison) measureTarget(ctx context.Context, t target.Target, policies int, list []scenario) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.start(ctx, t, policies)
	if err != nil {
		return err
	}
	defer s.Kill()
	if err := selfTest(ctx, s, c.seed, policies, 300); err != nil {
		return err
	}
	closedRate := 0.0
	for _, sc := range list {
		requests, ok := requests(s, c.seed, sc)
		if !ok {
			continue
		}
		if sc.share > 0 {
			if closedRate == 0 {
				continue // the scenario that it is a share of was not asked for
			}
			sc.rate = sc.share * closedRate
		}
		run, err := measure(ctx, s, requests, sc, c.timing)
		if err != nil {
			return err
		}
		say("  %-18s %8.0f/s  p50 %6.0f us  p99 %7.0f us  %5.0f us CPU/request  (generator %.0f us)", sc.name, run.RPS, run.P50, run.P99, run.CPU, run.GenCPU)
		key := [2]string{t.Name, sc.name}
		c.runs[key] = append(c.runs[key], run)
		if sc.connections == 16 && sc.batch == 1 && !sc.delegated {
			closedRate = run.RPS
		}
	}
	return s.Stop()
}

func (c *comparison) start(ctx context.Context, t target.Target, policies int) (*target.Server, error) {
	dir, err := fresh(c.work, "run", t.Name)
	if err != nil {
		return nil, err
	}
	runtime.GC() // the generator's garbage of earlier runs is not this run's
	return t.Start(ctx, dir, target.Options{Policies: policies, Chains: workload.People})
}

// keep kills every target that keeps records in the midst of load, and looks which of the decisions that it had answered
// are in its log.
func (c *comparison) keep(ctx context.Context) error {
	if !matches(c.patterns, keptStage) {
		return nil
	}
	random := rand.New(rand.NewPCG(c.seed, 9))
	for _, t := range c.targets {
		if !t.Keeps {
			continue
		}
		k, err := c.killOne(ctx, t, time.Second+time.Duration(random.IntN(1000))*time.Millisecond)
		if err != nil {
			return err
		}
		say("kill -9 of %s: %d answers received, %d missing from its log", t.Name, k.Answered, k.Missing)
		c.report.Kept = append(c.report.Kept, k)
	}
	return nil
}

func (c *comparison) killOne(ctx context.Context, t target.Target, after time.Duration) (report.Kept, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.start(ctx, t, 10)
	if err != nil {
		return report.Kept{}, err
	}
	defer s.Kill()
	list, _ := requests(s, c.seed, scenario{policies: 10, batch: 1})
	pool, err := load.Open(ctx, s.Address, 16)
	if err != nil {
		return report.Kept{}, err
	}
	defer pool.Close()
	var mu sync.Mutex
	var answered []string
	pool.Each = func(_ int, body []byte) {
		id := s.ID(body)
		mu.Lock()
		answered = append(answered, id)
		mu.Unlock()
	}
	timer := time.AfterFunc(after, s.Kill)
	defer timer.Stop()
	pool.Closed(ctx, list, after+time.Second) // until the connections break
	s.Kill()
	kept, err := s.Kept(ctx)
	if err != nil {
		return report.Kept{}, fmt.Errorf("what the log of %s kept: %w", t.Name, err)
	}
	out := report.Kept{Target: t.Name, Answered: len(answered), Logged: len(kept)}
	for _, id := range answered {
		if id == "" || !kept[id] {
			out.Missing++
		}
	}
	if out.Answered == 0 {
		return out, fmt.Errorf("%s answered nothing before it was killed", t.Name)
	}
	return out, nil
}

// store measures what records take on the disk, and with Aver's how fast they are verified and decided again.
func (c *comparison) store(ctx context.Context) error {
	if !matches(c.patterns, storageStage) {
		return nil
	}
	for _, t := range c.targets {
		if !t.Keeps {
			continue
		}
		for _, sc := range []scenario{
			{name: singleName, policies: 10, batch: 1},
			{name: delegateName, policies: 10, batch: 1, delegated: true},
		} {
			stored, ok, err := c.storeOne(ctx, t, sc)
			if err != nil {
				return err
			}
			if ok {
				say("%s, %s: %.0f bytes a decision", t.Name, sc.name, stored.Bytes)
				c.report.Storage = append(c.report.Storage, stored)
			}
		}
	}
	return nil
}

func (c *comparison) storeOne(ctx context.Context, t target.Target, sc scenario) (out report.Storage, ok bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.start(ctx, t, sc.policies)
	if err != nil {
		return out, false, err
	}
	defer s.Kill()
	list, ok := requests(s, c.seed, sc)
	if !ok {
		return out, false, nil
	}
	pool, err := load.Open(ctx, s.Address, 16)
	if err != nil {
		return out, false, err
	}
	defer pool.Close()
	got := pool.Exactly(ctx, list, c.stored)
	if got.Failed > 0 {
		return out, false, fmt.Errorf("%s: %d requests failed: %w", t.Name, got.Failed, got.Err)
	}
	if err := s.Stop(); err != nil {
		return out, false, err
	}
	if t.Name == target.Aver {
		// A start seals the segment that was being written, which is all the same in a log of many segments.
		again, err := target.StartAver(ctx, target.Program(c.work), s.Dir)
		if err != nil {
			return out, false, err
		}
		if err := again.Stop(); err != nil {
			return out, false, err
		}
	}
	use, err := s.LogUse()
	if err != nil {
		return out, false, err
	}
	n := float64(got.Answered)
	out = report.Storage{Target: t.Name, Scenario: sc.name, Decisions: int(got.Answered), Bytes: float64(use.Bytes) / n, Allocated: float64(use.Allocated) / n}
	if t.Name != target.Aver {
		return out, true, nil
	}
	if out.Leaf, out.Payload, err = entrySizes(s.Dir); err != nil {
		return out, false, err
	}
	if sc.name == singleName {
		return out, true, c.checkLogs(ctx, s.Dir)
	}
	return out, true, nil
}
