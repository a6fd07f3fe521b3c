// Package target starts the PDPs that the benchmark compares, each in a process and a directory of its own, and knows how
// each is asked.
package target

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aver-authz/aver/bench/load"
	"github.com/aver-authz/aver/bench/proc"
	"github.com/aver-authz/aver/bench/workload"
)

// Target is a PDP in one mode that can be started.
type Target struct {
	Name    string
	Record  string // what becomes of the record of a decision, in a few words
	Keeps   bool   // it keeps records at all
	Version string
	start   func(ctx context.Context, dir string, o Options) (*Server, error)
}

// Options say what a server is to be prepared with.
type Options struct {
	Policies int
	// Chains is how many people are registered, each with a chain of two grants to an agent. Only Aver has use for other
	// numbers than [workload.People].
	Chains int
}

// Start starts the target in a directory, which is made, and returns once it answers. It is killed when ctx ends.
func (t Target) Start(ctx context.Context, dir string, o Options) (*Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := t.start(ctx, dir, o)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", t.Name, err)
	}
	s.Target = t
	return s, nil
}

// Server is a running target.
type Server struct {
	Target  Target
	Address string // host:port
	Dir     string
	// LogDir is the directory in which the records lie on this machine's disk; "" if nowhere.
	LogDir string
	dialect
	header []string
	*process
	// kept lists the ids of the decisions that the log still has after the server died.
	kept func(ctx context.Context) (map[string]bool, error)
	sink *sink
}

// dialect is how a target is asked.
type dialect interface {
	// request returns the path and the body that ask for one check, or for several at once. ok is false if the target
	// can't be asked that.
	request(checks []workload.Check) (path string, body []byte, ok bool)
	// answers reads the decisions, in the order of the checks.
	answers(body []byte) ([]bool, error)
	// sign returns what the answer to one check must contain.
	sign(workload.Check) []byte
	// id returns the id of the decision's record, "" if there is none.
	id(body []byte) string
}

// Request makes a request that asks for all checks at once. ok is false if the target can't be asked that.
func (s *Server) Request(checks ...workload.Check) (r load.Request, ok bool) {
	path, body, ok := s.request(checks)
	if !ok {
		return r, false
	}
	r = load.NewRequest(s.Address, path, s.header, body)
	if len(checks) == 1 {
		r.Want = s.sign(checks[0])
	}
	return r, true
}

// Answers reads the decisions of an answer, in the order of the checks.
func (s *Server) Answers(body []byte) ([]bool, error) { return s.answers(body) }

// ID returns the id of the record of a single check's answer, "" if there is none.
func (s *Server) ID(body []byte) string { return s.id(body) }

// Kept lists the ids of the decisions that the log has, after the server was killed.
func (s *Server) Kept(ctx context.Context) (map[string]bool, error) { return s.kept(ctx) }

// LogUse is what the records take, on the disk or where they were sent to.
func (s *Server) LogUse() (proc.DiskUse, error) {
	if s.sink != nil {
		n := s.sink.size()
		return proc.DiskUse{Bytes: n, Allocated: n}, nil
	}
	if s.LogDir == "" {
		return proc.DiskUse{}, nil
	}
	return proc.DiskUseOf(s.LogDir)
}

// process is the operating system's side of a server.
type process struct {
	cmd    *exec.Cmd
	stderr string // file
	err    error
	ended  chan struct{}
}

// launch starts a program whose output goes to files in dir.
func launch(ctx context.Context, dir, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, program, args...), stderr: filepath.Join(dir, "stderr.log"), ended: make(chan struct{})}
	for name, to := range map[string]*io.Writer{"stdout.log": &p.cmd.Stdout, "stderr.log": &p.cmd.Stderr} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		*to = f
	}
	// Ctrl-C is for the benchmark, which then stops its servers.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// PID is the id of the process.
func (p *process) PID() int { return p.cmd.Process.Pid }

// Usage is what the process has used so far.
func (p *process) Usage() (proc.Usage, error) { return proc.Of(p.PID()) }

// Kill is kill -9.
func (p *process) Kill() {
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.ended
}

// Stop ends the process as an operator would, and waits until it has ended.
func (p *process) Stop() error {
	select {
	case <-p.ended:
		return fmt.Errorf("it ended by itself: %w\n%s", p.err, p.said())
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil // some exit with another status than 0 when they are told to
	case <-time.After(2 * time.Minute):
		p.Kill()
		return fmt.Errorf("it did not stop within two minutes\n%s", p.said())
	}
}

// said is the end of what the process wrote to its standard error.
func (p *process) said() string {
	text, err := os.ReadFile(p.stderr)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// ready waits until a URL answers with status 200.
func (p *process) ready(ctx context.Context, url string) error {
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %w\n%s", p.err, p.said())
		case <-ctx.Done():
			p.Kill()
			return ctx.Err()
		default:
		}
		resp, err := client.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) {
			p.Kill()
			return fmt.Errorf("%s does not answer\n%s", url, p.said())
		}
		time.Sleep(2 * time.Millisecond) // between looks whether the server is ready
	}
}

// announced waits until the standard output holds what read can read.
func (p *process) announced(ctx context.Context, read func(text []byte) error) error {
	file := filepath.Join(filepath.Dir(p.stderr), "stdout.log")
	deadline := time.Now().Add(10 * time.Minute) // a start may have much to recover
	for {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		wrong := read(text)
		if wrong == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %w\n%s", p.err, p.said())
		case <-ctx.Done():
			p.Kill()
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.Kill()
			return fmt.Errorf("it does not say where it listens: %w\n%s", wrong, p.said())
		}
	}
}

// freeAddress finds an address that nobody listens on, for programs that can't find one themselves.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func writeFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
