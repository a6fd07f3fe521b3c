package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aver-authz/aver/bench/load"
	"github.com/aver-authz/aver/bench/proc"
	"github.com/aver-authz/aver/bench/report"
	"github.com/aver-authz/aver/bench/target"
	"github.com/aver-authz/aver/bench/workload"
)

// fillBatch is how many checks a request has when a log is only to become longer.
const fillBatch = 100

// fill makes n decisions, in large batches.
func fill(ctx context.Context, s *target.AverServer, seed uint64, o workload.Options, n int) error {
	if n <= 0 {
		return nil
	}
	var list []load.Request
	o.Seed, o.Mixed = seed, true
	for part := range slices.Chunk(workload.Checks(requestsKept, o), fillBatch) {
		r, _ := s.Request(part...)
		list = append(list, r)
	}
	pool, err := load.Open(ctx, s.Address, 8)
	if err != nil {
		return err
	}
	defer pool.Close()
	got := pool.Exactly(ctx, list, (n+fillBatch-1)/fillBatch)
	if got.Failed > 0 || ctx.Err() != nil {
		return fmt.Errorf("fill the log: %d requests failed: %w", got.Failed, got.Err)
	}
	return nil
}

// killUnderLoad kills a server that is answering.
func killUnderLoad(ctx context.Context, s *target.AverServer, seed uint64) error {
	pool, err := load.Open(ctx, s.Address, 16)
	if err != nil {
		return err
	}
	defer pool.Close()
	list, _ := requests(s.Server, seed, scenario{policies: 10, batch: 1})
	timer := time.AfterFunc(500*time.Millisecond, s.Kill)
	defer timer.Stop()
	got := pool.Closed(ctx, list, time.Second)
	s.Kill()
	if got.Answered == 0 {
		return fmt.Errorf("the server answered nothing before it was killed: %w", got.Err)
	}
	return nil
}

// recovery measures starts after a crash with many records.
func recovery(ctx context.Context, args []string) error {
	var c common
	f := flags("recover", &c)
	records := f.Int("records", 1_000_000, "records in the decision log at the crash")
	kills := f.Int("kills", 3, "how often the server is killed and started again")
	if err := c.parse(f, args, "recover"); err != nil {
		return err
	}
	work, done, err := c.workDir()
	if err != nil {
		return err
	}
	defer done()
	t, err := target.NewAver(ctx, work)
	if err != nil {
		return err
	}
	out := report.Recovery{Command: commandLine(append([]string{"recover"}, args...)), Version: t.Version, Time: time.Now()}
	if out.Machine, err = proc.ThisMachine(work); err != nil {
		return err
	}
	dir, err := fresh(work, "recover")
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	program := target.Program(work)
	s, err := target.StartAver(ctx, program, data)
	if err != nil {
		return err
	}
	defer func() { killIf(s) }()
	if err := s.Prepare(ctx, target.Options{Policies: 10, Chains: workload.People}); err != nil {
		return err
	}
	say("filling the log with %d records", *records)
	if err := fill(ctx, s, c.seed, workload.Options{Policies: 10}, *records/2); err != nil {
		return err
	}
	if err := fill(ctx, s, c.seed, workload.Options{Policies: 10, Delegated: true}, *records-*records/2); err != nil {
		return err
	}
	start := func(what string) error {
		if s, err = target.StartAver(ctx, program, data); err != nil {
			return err
		}
		usage, err := s.Usage()
		if err != nil {
			return err
		}
		say("%s: ready after %s, %.0f MB", what, s.Started.Round(time.Millisecond), float64(usage.PeakRSS)/1e6)
		out.Starts = append(out.Starts, report.Start{What: what, Seconds: s.Started.Seconds(), PeakRSS: usage.PeakRSS})
		return selfTest(ctx, s.Server, c.seed, 10, 40)
	}
	for range *kills {
		if err := killUnderLoad(ctx, s, c.seed); err != nil {
			return err
		}
		if err := start("after kill -9 under load"); err != nil {
			return err
		}
	}
	if err := s.Stop(); err != nil {
		return err
	}
	if err := start("after it was stopped"); err != nil {
		return err
	}
	s.Kill()
	if err := os.RemoveAll(filepath.Join(data, "state")); err != nil {
		return err
	}
	if err := start("after kill -9, with all snapshots deleted"); err != nil {
		return err
	}
	s.Kill()
	say("verifying and replaying, as the last kill left it")
	got, err := check(ctx, program, data)
	if err != nil {
		return err
	}
	out.Decisions, out.Verify, out.Replay = got.decisions, got.verifyRate(), got.replayRate()
	if got.decisions < uint64(*records) {
		return fmt.Errorf("%w: %d records were answered, and %d are in the log", errFound, *records, got.decisions)
	}
	var text strings.Builder
	out.Markdown(&text)
	return c.deliver(text.String(), out)
}
