package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aver-authz/aver/bench/load"
	"github.com/aver-authz/aver/bench/proc"
	"github.com/aver-authz/aver/bench/report"
	"github.com/aver-authz/aver/bench/target"
	"github.com/aver-authz/aver/bench/workload"
)

// soaker runs a mixed load for a long while, and lets things happen to it.
type soaker struct {
	common
	length, killEvery, changeEvery time.Duration
	rate                           float64
	connections                    int
	work, dir                      string

	server  atomic.Pointer[target.AverServer] // the one that runs, or ran last
	answers *answers
	chains  atomic.Int64 // registered so far
	report  report.Soak
	counts  sync.Mutex // of report.Changes
	stopped atomic.Bool
}

func soak(ctx context.Context, args []string) error {
	s := &soaker{}
	f := flags("soak", &s.common)
	f.DurationVar(&s.length, "for", time.Minute, "how long; CI takes a minute, a release an hour")
	f.DurationVar(&s.killEvery, "kill-every", 10*time.Second, "how long the server lives before it is killed with -9, on average; 0 never kills it")
	f.DurationVar(&s.changeEvery, "change-every", 500*time.Millisecond, "how often the authority is changed, on average")
	f.Float64Var(&s.rate, "rate", 1000, "requests per second")
	f.IntVar(&s.connections, "connections", 16, "connections")
	if err := s.parse(f, args, "soak"); err != nil {
		return err
	}
	var done func()
	var err error
	if s.work, done, err = s.workDir(); err != nil {
		return err
	}
	defer done()
	t, err := target.NewAver(ctx, s.work)
	if err != nil {
		return err
	}
	s.report = report.Soak{Command: commandLine(append([]string{"soak"}, args...)), Version: t.Version, Time: time.Now(), Seed: s.seed, Changes: map[string]int{}}
	if s.report.Machine, err = proc.ThisMachine(s.work); err != nil {
		return err
	}
	return s.run(ctx)
}

// firstChains is how many chains there are at the beginning; requests are about the latest so many.
const firstChains = 64

func (s *soaker) run(ctx context.Context) error {
	var err error
	if s.dir, err = fresh(s.work, "soak"); err != nil {
		return err
	}
	server, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { s.server.Load().Kill() }()
	if err := server.Prepare(ctx, target.Options{Policies: 100, Chains: firstChains}); err != nil {
		return err
	}
	s.chains.Store(firstChains)
	if s.answers, err = newAnswers(filepath.Join(s.dir, "answers")); err != nil {
		return err
	}
	defer s.answers.close()

	// Load and changes end with time; an error of any ends all of it.
	ending, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(s.length, func() { s.stopped.Store(true); cancel(nil) })
	defer timer.Stop()
	var wg sync.WaitGroup
	task := func(seed uint64, work func(context.Context, *rand.Rand) error) {
		wg.Go(func() {
			if err := work(ending, rand.New(rand.NewPCG(s.seed, seed))); err != nil && ending.Err() == nil {
				cancel(err)
			}
		})
	}
	for i := range s.connections {
		task(uint64(100+i), s.ask)
	}
	task(1, s.change)
	task(2, func(_ context.Context, r *rand.Rand) error { return s.kill(ctx, ending, r) })
	task(3, s.watch)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	if cause := context.Cause(ending); !s.stopped.Load() && cause != nil {
		return cause
	}
	if err := s.server.Load().Stop(); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	return s.finish(ctx)
}

func (s *soaker) start(ctx context.Context) (*target.AverServer, error) {
	server, err := target.StartAver(ctx, target.Program(s.work), filepath.Join(s.dir, "data"))
	if err != nil {
		return nil, err
	}
	s.server.Store(server)
	s.report.SlowestStart = max(s.report.SlowestStart, server.Started.Seconds())
	return server, nil
}

// answer is what is read of one decision.
type answer struct {
	Context struct {
		EvaluationID string `json:"evaluation_id"`
		Receipt      struct {
			Index uint64 `json:"index"`
		} `json:"receipt"`
	} `json:"context"`
}

// ask sends random requests on one connection. A connection that breaks is opened again; a status that nobody should see
// ends the run.
func (s *soaker) ask(ctx context.Context, r *rand.Rand) error {
	every := time.Duration(float64(s.connections) / s.rate * float64(time.Second))
	var conn *load.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for next := time.Now(); ctx.Err() == nil; next = next.Add(every) {
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait) // a constant rate is what is being made
		} else if wait < -time.Second {
			next = time.Now() // after a restart there is nothing to catch up with
		}
		server := s.server.Load()
		if conn == nil {
			var err error
			if conn, err = load.Dial(ctx, server.Address); err != nil {
				conn = nil
				time.Sleep(5 * time.Millisecond) // it is being started again
				continue
			}
		}
		req := s.request(server, r)
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		status, body, err := conn.Do(req)
		if err != nil {
			conn.Close()
			conn = nil
			s.count("requests broken off", 1)
			continue
		}
		switch status {
		case 200:
			if err := s.answered(body); err != nil {
				return err
			}
		case 503:
			s.count("requests refused for the moment (503)", 1)
		default:
			return fmt.Errorf("%w: status %d: %.500s", errFound, status, body)
		}
	}
	return nil
}

// request makes a random request: six in ten single ones, three of agents over two grants, one batch.
func (s *soaker) request(server *target.AverServer, r *rand.Rand) []byte {
	n := 1
	o := workload.Options{Seed: r.Uint64(), Policies: 100}
	switch kind := r.IntN(10); {
	case kind < 3:
		o.Delegated = true
	case kind == 3:
		n = workload.Group
	}
	checks := workload.Checks(n, o)
	if o.Delegated { // of the chains that were registered last
		checks[0].Who = int(s.chains.Load()) - 1 - r.IntN(firstChains)
	}
	req, _ := server.Request(checks...)
	return req.Raw
}

// answered keeps what an answer says about where its record stands.
func (s *soaker) answered(body []byte) error {
	var a struct {
		answer
		Evaluations []answer `json:"evaluations"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("%w: an answer that is no JSON: %w: %.500s", errFound, err, body)
	}
	if a.Evaluations == nil {
		a.Evaluations = []answer{a.answer}
	}
	for _, one := range a.Evaluations {
		if err := s.answers.add(one.Context.Receipt.Index, one.Context.EvaluationID); err != nil {
			return err
		}
	}
	return nil
}

// kill kills the server now and then, and starts it again at once.
func (s *soaker) kill(ctx, ending context.Context, r *rand.Rand) error {
	for s.killEvery > 0 {
		select {
		case <-ending.Done():
			return nil
		case <-time.After(s.killEvery/2 + time.Duration(r.Int64N(int64(s.killEvery)))):
		}
		s.server.Load().Kill()
		server, err := s.start(ctx) // not ending: a server that was killed last is started all the same
		if err != nil {
			return fmt.Errorf("%w: it does not start after kill -9: %w", errFound, err)
		}
		s.report.Kills++
		say("killed, and ready again after %s", server.Started.Round(time.Millisecond))
	}
	return nil
}

// watch samples memory and open files once a second.
func (s *soaker) watch(ctx context.Context, _ *rand.Rand) error {
	begin := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		usage, err := s.server.Load().Usage()
		if err != nil {
			continue // it was killed this instant
		}
		s.report.Samples = append(s.report.Samples, report.Sample{
			Seconds: time.Since(begin).Seconds(), RSS: usage.RSS, Files: usage.Files, Answers: s.answers.count(),
		})
		if n := len(s.report.Samples); n%60 == 0 {
			say("%d answers, %d MB, %d open files", s.answers.count(), usage.RSS/1e6, usage.Files)
		}
	}
}

func (s *soaker) count(what string, n int) {
	s.counts.Lock()
	s.report.Changes[what] += n
	s.counts.Unlock()
}

// finish checks everything: the logs, the decisions, that every answer's record stands once where its receipt says, and
// that memory and files did not grow.
func (s *soaker) finish(ctx context.Context) error {
	say("verifying and replaying")
	data := filepath.Join(s.dir, "data")
	got, err := check(ctx, target.Program(s.work), data)
	s.report.Decisions, s.report.Events = got.decisions, got.events
	wrong := []error{err}
	if err != nil && !errors.Is(err, errFound) {
		return err
	}
	if err == nil {
		s.report.Missing, s.report.Answers, err = s.answers.compare(data)
		if err != nil {
			return err
		}
		if s.report.Missing > 0 {
			wrong = append(wrong, fmt.Errorf("%w: %d of %d answers do not stand in the log where their receipts say", errFound, s.report.Missing, s.report.Answers))
		}
	}
	if err := s.report.Flat(); err != nil {
		wrong = append(wrong, fmt.Errorf("%w: %w", errFound, err))
	}
	err = errors.Join(wrong...)
	s.report.OK = err == nil
	var text strings.Builder
	s.report.Markdown(&text)
	return errors.Join(s.deliver(text.String(), &s.report), err)
}
