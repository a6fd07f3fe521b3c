package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aver-authz/aver/bench/proc"
	"github.com/aver-authz/aver/bench/report"
	"github.com/aver-authz/aver/bench/target"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/query"
)

// search measures finding decisions: it writes a log of made-up records, and has the index made of it.
func search(ctx context.Context, args []string) error {
	var c common
	f := flags("search", &c)
	records := f.Int("records", 100_000, "decisions in the log; the goal is set for 1000000")
	runs := f.Int("runs", 40, "how often each query is run")
	rate := f.Int("rate", 5000, "records/s while the lag is measured")
	length := f.Duration("for", 10*time.Second, "how long the lag is measured, with the index and without")
	if err := c.parse(f, args, "search"); err != nil {
		return err
	}
	work, done, err := c.workDir()
	if err != nil {
		return err
	}
	defer done()
	s := &searching{records: newRecords(c.seed), runs: *runs}
	s.report = report.Search{Command: commandLine(append([]string{"search"}, args...)), Version: target.SourceVersion(ctx), Time: time.Now(), Records: *records}
	if s.report.Machine, err = proc.ThisMachine(work); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return s.write(ctx, work, *records) },
		func() error { return s.rebuild(ctx, work) },
		func() error { return s.ask(ctx, work) },
		func() error { return s.lag(ctx, work, *rate, *length) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	var text strings.Builder
	s.report.Markdown(&text)
	return c.deliver(text.String(), s.report)
}

// searching is one run of the benchmark.
type searching struct {
	records              *records
	runs                 int
	decisions, authority *ledger.Log
	report               report.Search
}

func openBenchLog(dir, name string) (*ledger.Log, error) {
	origin := "bench.example/" + name
	key, _, err := ledger.NewKey(origin)
	if err != nil {
		return nil, err
	}
	return ledger.Open(filepath.Join(dir, name), ledger.Options{Origin: origin, Signer: key.Signer, Verifier: key.Verifier})
}

// together is how many records are appended before waiting for them.
const together = 2048

func (s *searching) write(ctx context.Context, work string, n int) (err error) {
	dir, err := fresh(work, "search")
	if err != nil {
		return err
	}
	if s.decisions, err = openBenchLog(dir, "decisions"); err != nil {
		return err
	}
	if s.authority, err = openBenchLog(dir, "authority"); err != nil {
		return err
	}
	begin := time.Now()
	for written := 0; written < n; {
		var last *ledger.Ticket
		for range min(together, n-written) {
			if last, err = s.append(); err != nil {
				return err
			}
			written++
		}
		if _, err := last.Wait(ctx); err != nil {
			return err
		}
	}
	size, _ := s.decisions.Head()
	if _, err := s.decisions.CheckpointNow(ctx); err != nil {
		return err
	}
	use, err := proc.DiskUseOf(filepath.Join(dir, "decisions"))
	if err != nil {
		return err
	}
	s.report.Log = float64(use.Allocated) / float64(n)
	say("wrote %d decisions, %d entries with activities, in %s", n, size, time.Since(begin).Round(time.Millisecond))
	return nil
}

// append writes one decision, and for some an activity.
func (s *searching) append() (*ledger.Ticket, error) {
	entry, activity, err := s.records.next()
	if err != nil {
		return nil, err
	}
	ticket, err := s.decisions.Enqueue(entry)
	if err == nil && activity != nil {
		ticket, err = s.decisions.Enqueue(*activity)
	}
	return ticket, err
}

func (s *searching) open(ctx context.Context, work string) (*index.Index, error) {
	return index.Open(ctx, index.Options{Dir: filepath.Join(work, "search", "index"), Decisions: s.decisions, Authority: s.authority})
}

func (s *searching) rebuild(ctx context.Context, work string) error {
	x, err := s.open(ctx, work)
	if err != nil {
		return err
	}
	begin := time.Now()
	err = x.Refresh(ctx, nil)
	took := time.Since(begin).Seconds()
	indexed := x.Indexed()
	if err := errors.Join(err, x.Close()); err != nil {
		return err
	}
	use, err := proc.DiskUseOf(filepath.Join(work, "search", "index"))
	if err != nil {
		return err
	}
	s.report.Rebuild = float64(indexed) / took
	s.report.PerRecord = float64(use.Bytes) / float64(s.report.Records)
	say("indexed %d entries in %.1f s, %d bytes", indexed, took, use.Bytes)
	return nil
}

// ask runs the queries: once after opening the index anew, then again and again.
func (s *searching) ask(ctx context.Context, work string) error {
	var all []time.Duration
	for _, q := range s.records.queries() {
		parsed, err := query.Parse(q.Query)
		if err != nil {
			return err
		}
		x, err := s.open(ctx, work)
		if err != nil {
			return err
		}
		var took []time.Duration
		for range s.runs + 1 {
			begin := time.Now()
			if q.Count {
				counted, err := x.Count(ctx, parsed, index.Page{}, 24*time.Hour)
				if err != nil {
					return err
				}
				q.Found = counted.Count
			} else {
				found, err := x.Search(ctx, parsed, index.Page{Limit: 100})
				if err != nil {
					return err
				}
				q.Found = len(found.Entries)
			}
			took = append(took, time.Since(begin))
		}
		if err := x.Close(); err != nil {
			return err
		}
		q.First = microseconds(took[0])
		took = took[1:]
		if !q.Count {
			all = append(all, took...)
		}
		slices.Sort(took)
		q.P50, q.P95 = microseconds(took[len(took)/2]), microseconds(took[len(took)*95/100])
		s.report.Queries = append(s.report.Queries, q)
		say("  %-90s %7d  p50 %8.0f us  p95 %8.0f us", q.Query, q.Found, q.P50, q.P95)
	}
	slices.Sort(all)
	s.report.P95 = microseconds(all[len(all)*95/100])
	return nil
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// lag writes at a rate, without the index and then with it, and looks how far that is behind.
func (s *searching) lag(ctx context.Context, work string, rate int, length time.Duration) error {
	l := &s.report.Lag
	l.Rate, l.Seconds = rate, length.Seconds()
	without, err := s.pace(ctx, rate, length, func() {})
	if err != nil {
		return err
	}
	x, err := s.open(ctx, work)
	if err != nil {
		return err
	}
	if err := x.Refresh(ctx, nil); err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Run(following)
	}()
	// An entry that is indexed now was there this long ago.
	type mark struct {
		size uint64
		at   time.Time
	}
	var marks []mark
	var behind []time.Duration
	with, err := s.pace(ctx, rate, length, func() {
		size, _ := s.decisions.Head()
		now := time.Now()
		marks = append(marks, mark{size, now})
		indexed := x.Indexed()
		i, _ := slices.BinarySearchFunc(marks, indexed, func(m mark, n uint64) int { return int(int64(m.size) - int64(n)) })
		behind = append(behind, now.Sub(marks[min(i, len(marks)-1)].at))
	})
	stop()
	<-done
	if closing := x.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	slices.Sort(behind)
	ms := func(d time.Duration) float64 { return microseconds(d) / 1000 }
	l.P50, l.P95, l.Max = ms(behind[len(behind)/2]), ms(behind[len(behind)*95/100]), ms(behind[len(behind)-1])
	l.Commit, l.Without = with, without
	say("at %d/s: searchable after %.0f ms (p95 %.0f), durable p99 %.0f us (%.0f without the index)", rate, l.P50, l.P95, l.Commit, l.Without)
	return nil
}

// pace appends at a rate, and returns the 99th percentile of the time until an entry is durable, in microseconds. look is
// called about fifty times a second.
func (s *searching) pace(ctx context.Context, rate int, length time.Duration, look func()) (float64, error) {
	const tick = 2 * time.Millisecond
	durable := make(chan time.Duration, 1<<16)
	failed := make(chan error, 1)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	begin := time.Now()
	sent, waiting := 0, 0
	for n := 0; ; n++ {
		elapsed := time.Since(begin)
		if elapsed >= length {
			break
		}
		for ; sent < int(elapsed.Seconds()*float64(rate)); sent++ {
			start := time.Now()
			ticket, err := s.append()
			if err != nil {
				return 0, err
			}
			if sent%8 != 0 { // of some it is looked at when they are durable
				continue
			}
			waiting++
			go func() {
				if _, err := ticket.Wait(ctx); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
				durable <- time.Since(start)
			}()
		}
		if n%10 == 0 {
			look()
		}
		select {
		case <-ticker.C:
		case err := <-failed:
			return 0, err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	var took []time.Duration
	for range waiting {
		took = append(took, <-durable)
	}
	slices.Sort(took)
	return microseconds(took[len(took)*99/100]), nil
}
