package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/aver-authz/aver/bench/load"
	"github.com/aver-authz/aver/bench/proc"
	"github.com/aver-authz/aver/bench/report"
	"github.com/aver-authz/aver/bench/target"
	"github.com/aver-authz/aver/bench/workload"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/server"
	"github.com/aver-authz/aver/internal/verify"
)

// profile runs the server in this process, with the load generator beside it, or a replay, and writes where the CPU time
// goes. It is not for measuring: the released binary has no profiler in it.
func profile(ctx context.Context, args []string) error {
	var c common
	var t timing
	f := flags("profile", &c)
	name := f.String("scenario", singleName, "what is asked, in a closed loop")
	again := f.String("replay", "", "profile the replay of this data directory instead")
	file := f.String("cpu", filepath.Join(os.TempDir(), "aver-cpu.pprof"), "file for the profile")
	f.DurationVar(&t.measure, "for", 10*time.Second, "how long")
	if err := c.parse(f, args, "profile"); err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(800) // about as aver serve does
	}
	out, err := os.Create(*file)
	if err != nil {
		return err
	}
	defer out.Close()
	if *again == "" {
		return c.profileServer(ctx, *name, args, t, out)
	}
	if err := profileReplay(ctx, *again, out); err != nil {
		return err
	}
	top, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-cum", "-nodecount=70", *file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go tool pprof: %w\n%s", err, top)
	}
	_, err = os.Stdout.Write(top)
	return err
}

// profileReplay decides all of a data directory again.
func profileReplay(ctx context.Context, data string, out io.Writer) error {
	logs, err := datadir.OpenReaders(data)
	if err != nil {
		return err
	}
	defer logs.Close()
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	begin := time.Now()
	got, err := replay.Run(ctx, verify.Follow(logs.Authority), logs.Decisions, replay.Options{})
	if err == nil {
		say("%.0f decisions/s; %d of %d match", float64(got.Decisions)/time.Since(begin).Seconds(), got.Match, got.Decisions)
	}
	return err
}

// profileServer asks a server in this process, and says what each stage of a request takes.
func (c *common) profileServer(ctx context.Context, name string, args []string, t timing, out *os.File) error {
	all := scenarios(false)
	i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name && !s.open() })
	if i < 0 {
		return fmt.Errorf("there is no closed-loop scenario %q", name)
	}
	sc := all[i]
	work, done, err := c.workDir()
	if err != nil {
		return err
	}
	defer done()
	dir, err := fresh(work, "profile")
	if err != nil {
		return err
	}
	s, stop, err := embedded(ctx, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer stop()
	if err := s.Prepare(ctx, target.Options{Policies: sc.policies, Chains: workload.People}); err != nil {
		return err
	}
	list, _ := requests(s.Server, c.seed, sc)
	pool, err := load.Open(ctx, s.Address, sc.connections)
	if err != nil {
		return err
	}
	defer pool.Close()
	pool.Closed(ctx, list, t.measure/5)
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	got := pool.Closed(ctx, list, t.measure)
	pprof.StopCPUProfile()
	say("%.0f requests/s beside the generator; %d failed", got.Rate(), got.Failed)
	p := report.Profile{
		Command: commandLine(append([]string{"profile"}, args...)), Version: target.SourceVersion(ctx), Time: time.Now(),
		Scenario: sc.name, RPS: got.Rate(), Seconds: t.measure.Seconds(),
	}
	if p.Machine, err = proc.ThisMachine(work); err != nil {
		return err
	}
	traces, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", out.Name()).Output()
	if err != nil {
		return fmt.Errorf("go tool pprof: %w", err)
	}
	if p.Stages, err = report.ReadStages(bytes.NewReader(traces), got.Rate()*t.measure.Seconds()); err != nil {
		return err
	}
	var text strings.Builder
	p.Markdown(&text)
	return c.deliver(text.String(), &p)
}

// embedded starts Aver in this process, with the settings of aver serve.
func embedded(ctx context.Context, data string) (s *target.AverServer, stop func(), err error) {
	logger, err := server.NewLogger(io.Discard, "info", "text")
	if err != nil {
		return nil, nil, err
	}
	srv, err := server.Open(ctx, server.Config{DataDir: data, Listen: "127.0.0.1:0", Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	l, err := srv.Listen()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()
	stop = func() {
		cancel()
		if err := <-served; err != nil {
			say("stop: %v", err)
		}
	}
	s, err = target.Attach(l.Addr().String(), data)
	return s, stop, err
}
