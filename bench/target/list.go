package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// PeersEnv names the directory in which the peers' programs are looked for before PATH.
const PeersEnv = "AVER_BENCH_PEERS"

// The names of the targets.
const (
	Aver       = "aver"
	Null       = "null"
	OPA        = "opa"
	OPAHTTP    = "opa-log-http"
	OPAConsole = "opa-log-console"
	CerbosFile = "cerbos-log-file"
	CerbosDB   = "cerbos-log-local"
)

// Names are all targets, in the order of reports.
var Names = []string{Aver, Null, OPA, OPAHTTP, OPAConsole, CerbosFile, CerbosDB}

// List builds what is ours and looks for the peers. Work is a directory for the programs. What is not there is left out,
// and skipped says so in a line each.
func List(ctx context.Context, work string, names []string) (list []Target, skipped []string, err error) {
	for _, n := range names {
		if !slices.Contains(Names, n) {
			return nil, nil, fmt.Errorf("there is no target %q; there are %s", n, strings.Join(Names, ", "))
		}
	}
	wants := func(prefix string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, prefix) })
	}
	all := map[string]Target{}
	if wants(Aver) {
		t, err := NewAver(ctx, work)
		if err != nil {
			return nil, nil, err
		}
		all[Aver] = t
	}
	if wants(Null) {
		program, err := build(ctx, work, "null", "./bench/null")
		if err != nil {
			return nil, nil, err
		}
		all[Null] = Target{Name: Null, Record: "none: net/http and cedar-go, nothing else",
			start: func(ctx context.Context, dir string, o Options) (*Server, error) {
				return startNull(ctx, program, dir, o)
			}}
	}
	if wants(OPA) {
		if program, v, err := peer(ctx, "opa", "Version:", "version"); err != nil {
			skipped = append(skipped, err.Error())
		} else {
			add := func(name, record string, keeps bool, start func(context.Context, string, string, Options) (*Server, error)) {
				all[name] = Target{Name: name, Record: record, Keeps: keeps, Version: v,
					start: func(ctx context.Context, dir string, o Options) (*Server, error) { return start(ctx, program, dir, o) }}
			}
			add(OPA, "none", false, func(ctx context.Context, program, dir string, o Options) (*Server, error) {
				return startOPA(ctx, program, dir, o, "")
			})
			add(OPAHTTP, "in memory, uploaded after 1 to 2 s", true, startOPAWithHTTPLog)
			add(OPAConsole, "written to a file, never synced", true, startOPAWithConsoleLog)
		}
	}
	if wants("cerbos") {
		if program, v, err := peer(ctx, "cerbos", "Module version:", "--version"); err != nil {
			skipped = append(skipped, err.Error())
		} else {
			add := func(name, record string, start func(context.Context, string, string, Options) (*Server, error)) {
				all[name] = Target{Name: name, Record: record, Keeps: true, Version: v,
					start: func(ctx context.Context, dir string, o Options) (*Server, error) { return start(ctx, program, dir, o) }}
			}
			add(CerbosFile, "written to a file, never synced", startCerbosWithFile)
			add(CerbosDB, "in memory, then in a local key-value store", startCerbosWithStore)
		}
	}
	for _, n := range Names {
		if t, ok := all[n]; ok && slices.Contains(names, n) {
			list = append(list, t)
		}
	}
	return list, skipped, nil
}

// peer finds a program of somebody else's.
func peer(ctx context.Context, name, label string, args ...string) (program, v string, err error) {
	program = filepath.Join(os.Getenv(PeersEnv), name)
	if _, err := os.Stat(program); os.Getenv(PeersEnv) == "" || err != nil {
		if program, err = exec.LookPath(name); err != nil {
			return "", "", fmt.Errorf("%s is not on PATH nor in the directory named by %s, so it is left out; docs/performance.md says how to get it", name, PeersEnv)
		}
	}
	if v, err = version(ctx, program, label, args...); err != nil {
		return "", "", fmt.Errorf("%s is left out: %s does not say its version: %w", name, program, err)
	}
	return program, v, nil
}

// version runs a program and returns the word that follows label in what it says, or else the first word.
func version(ctx context.Context, program, label string, args ...string) (string, error) {
	out, err := output(ctx, program, args...)
	if err != nil {
		return "", err
	}
	if _, after, ok := strings.Cut(out, label); ok {
		out = after
	}
	fields := strings.Fields(strings.ReplaceAll(out, ",", " "))
	if len(fields) == 0 {
		return "", errors.New("it says nothing")
	}
	return fields[0], nil
}

func output(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// build compiles a command of this module as it is released: with no tags and no flags.
func build(ctx context.Context, work, name, pkg string) (string, error) {
	root, err := output(ctx, "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return "", fmt.Errorf("the benchmark builds Aver, so it runs within the source tree: %w", err)
	}
	program := filepath.Join(work, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return program, nil
}
