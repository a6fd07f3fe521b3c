package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aver-authz/aver/bench/load"
	"github.com/aver-authz/aver/bench/proc"
	"github.com/aver-authz/aver/bench/report"
	"github.com/aver-authz/aver/bench/target"
	"github.com/aver-authz/aver/bench/workload"
)

// scenario is one way of asking.
type scenario struct {
	name        string
	policies    int
	batch       int
	delegated   bool
	connections int
	rate        float64 // open loop, requests/s; 0: closed loop, or a share
	share       float64 // open loop at that share of what the target did in the closed loop on 16 connections
}

func (s scenario) open() bool { return s.rate > 0 || s.share > 0 }

// The scenarios that the figures are made of.
const (
	singleName   = "single-10p-16c"
	openName     = "open-2000-10p"
	delegateName = "delegated-10p-16c"
)

// openConnections is how many requests of an open loop can be on the way at once.
const openConnections = 128

// scenarios are all, in the order of the report. Those with the same number of policies share a server.
func scenarios(quick bool) []scenario {
	var all []scenario
	for _, policies := range []int{10, 100, 1000} {
		for _, connections := range []int{1, 16, 256} {
			all = append(all, scenario{name: fmt.Sprintf("single-%dp-%dc", policies, connections), policies: policies, batch: 1, connections: connections})
		}
		all = append(all,
			scenario{name: fmt.Sprintf("batch20-%dp-16c", policies), policies: policies, batch: workload.Group, connections: 16},
			scenario{name: fmt.Sprintf("delegated-%dp-16c", policies), policies: policies, batch: 1, delegated: true, connections: 16})
	}
	all = append(all, scenario{name: openName, policies: 10, batch: 1, connections: openConnections, rate: 2000})
	for _, percent := range []int{25, 50, 75} {
		all = append(all, scenario{name: fmt.Sprintf("open-%d%%-10p", percent), policies: 10, batch: 1, connections: openConnections, share: float64(percent) / 100})
	}
	if !quick {
		return all
	}
	telling := []string{singleName, openName, delegateName, "batch20-10p-16c", "single-1000p-16c"}
	return slices.DeleteFunc(all, func(s scenario) bool { return !slices.Contains(telling, s.name) })
}

// matches tells whether a name is asked for by one of the patterns of [path.Match]; no pattern asks for everything.
func matches(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, name) // checked by splitPatterns
		return ok
	})
}

func splitPatterns(list string) ([]string, error) {
	var out []string
	for p := range strings.SplitSeq(list, ",") {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", p, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// requestsKept is how many different requests a run sends, in turn. They are made before it.
const requestsKept = 4000

// requests makes the requests of a scenario; ok is false if the target can't be asked that.
func requests(s *target.Server, seed uint64, sc scenario) (list []load.Request, ok bool) {
	return requestsOf(s, workload.Checks(requestsKept, workload.Options{Seed: seed, Policies: sc.policies, Delegated: sc.delegated}), sc.batch)
}

// requestsOf makes requests of so many checks each.
func requestsOf(s *target.Server, checks []workload.Check, batch int) (list []load.Request, ok bool) {
	for part := range slices.Chunk(checks, batch) {
		r, ok := s.Request(part...)
		if !ok {
			return nil, false
		}
		list = append(list, r)
	}
	return list, true
}

// timing is how long things are measured.
type timing struct {
	warmUp, measure time.Duration
}

// measure runs one scenario against a running server.
func measure(ctx context.Context, s *target.Server, list []load.Request, sc scenario, t timing) (report.Run, error) {
	pool, err := load.Open(ctx, s.Address, sc.connections)
	if err != nil {
		return report.Run{}, err
	}
	defer pool.Close()
	// What the server still does behind the answers of the warm-up falls into the measured time, and what it does behind
	// the last of those falls out of it: about the same.
	if warm := pool.Closed(ctx, list, t.warmUp); warm.Answered == 0 {
		return report.Run{}, fmt.Errorf("%s, %s: no request is answered: %w", s.Target.Name, sc.name, warm.Err)
	}
	before, err := s.Usage()
	if err != nil {
		return report.Run{}, err
	}
	ownBefore, err := proc.Of(os.Getpid())
	if err != nil {
		return report.Run{}, err
	}
	var got load.Result
	if sc.open() {
		got = pool.Paced(ctx, list, sc.rate, t.measure)
	} else {
		got = pool.Closed(ctx, list, t.measure)
	}
	after, err := s.Usage()
	if err != nil {
		return report.Run{}, fmt.Errorf("%s, %s: %w", s.Target.Name, sc.name, err)
	}
	own, err := proc.Of(os.Getpid())
	if err != nil {
		return report.Run{}, err
	}
	if err := ctx.Err(); err != nil {
		return report.Run{}, context.Cause(ctx)
	}
	if got.Answered == 0 {
		return report.Run{}, fmt.Errorf("%s, %s: no request is answered: %w", s.Target.Name, sc.name, got.Err)
	}
	if got.Failed > 0 {
		say("  %s: %d of %d requests failed, such as: %v", s.Target.Name, got.Failed, got.Failed+got.Answered, got.Err)
	}
	requests := float64(got.Answered)
	perRequest := func(d time.Duration) float64 { return float64(d.Microseconds()) / requests }
	out := report.Run{
		Target: s.Target.Name, Scenario: sc.name, Policies: sc.policies, Batch: sc.batch, Delegated: sc.delegated,
		Connections: sc.connections, OpenRate: sc.rate,
		RPS: got.Rate(), Decisions: got.Rate() * float64(sc.batch),
		P50: quantile(got, 50), P99: quantile(got, 99), P999: quantile(got, 99.9), Max: float64(got.Latency.Max()),
		CPU: perRequest(after.CPU - before.CPU), Cores: (after.CPU - before.CPU).Seconds() / got.Elapsed.Seconds(),
		GenCPU: perRequest(own.CPU - ownBefore.CPU), PeakRSS: after.PeakRSS, Failed: got.Failed,
	}
	if got.Late != nil {
		out.LateP99 = float64(got.Late.ValueAtQuantile(99))
	}
	return out, nil
}

func quantile(r load.Result, q float64) float64 { return float64(r.Latency.ValueAtQuantile(q)) }

// selfTest asks a target some hundred checks in every way it can be asked, and compares its answers with the rules.
func selfTest(ctx context.Context, s *target.Server, seed uint64, policies, n int) error {
	c, err := load.Dial(ctx, s.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, delegated := range []bool{false, true} {
		for _, batch := range []int{1, workload.Group} {
			checks := workload.Checks(n, workload.Options{Seed: seed + 1, Policies: policies, Delegated: delegated})
			for part := range slices.Chunk(checks, batch) {
				r, ok := s.Request(part...)
				if !ok {
					break
				}
				status, body, err := c.Do(r.Raw)
				if err != nil {
					return fmt.Errorf("%s: %w", s.Target.Name, err)
				}
				if status != 200 {
					return fmt.Errorf("%s answers %d: %.500s", s.Target.Name, status, body)
				}
				answers, err := s.Answers(body)
				if err != nil || len(answers) != len(part) {
					return fmt.Errorf("%s: %d answers to %d checks (%v): %.500s", s.Target.Name, len(answers), len(part), err, body)
				}
				for i, allowed := range answers {
					if allowed != part[i].Allowed() {
						return fmt.Errorf("%s answers %t where the rules say %t: %+v by %+v: %.1000s",
							s.Target.Name, allowed, part[i].Allowed(), part[i], workload.PersonAt(part[i].Who), body)
					}
				}
			}
		}
	}
	return nil
}
