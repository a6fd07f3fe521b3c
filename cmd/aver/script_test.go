package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata and docs/cli.md")

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"aver": main}) }

// TestScripts runs testdata/*.txt, which show each command at work. Besides testscript's own commands they have:
//
//	serve DIR [flag...]      starts aver serve on a free port and sets AVER_SERVER and AVER_TOKEN to reach it
//	halt DIR                 stops that server as SIGTERM does, and waits for its end
//	exits N aver arg...      runs aver, which must end with the exit status N
//	capture NAME REGEXP      sets a variable to the first group of a match in the last standard output
//	flip GLOB OFFSET         changes one byte of the file; a negative offset counts from the end
//	forge DIR                appends a permit that was never decided, as who holds the key of the log could
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[serversKey{}] = servers{}
			env.Setenv("AVER_SERVER", "")
			env.Setenv("AVER_TOKEN", "")
			env.Setenv("GORACE", noSleep)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve": cmdServe, "halt": cmdHalt, "exits": cmdExits, "capture": cmdCapture, "flip": cmdFlip, "forge": cmdForge,
		},
	})
}

// noSleep keeps programs that were built with -race from sleeping for a second when they end, each of some two hundred.
const noSleep = "atexit_sleep_ms=0"

// servers are the running servers of a script, by their data directory; serversKey is where a script keeps them.
type servers map[string]*exec.Cmd

type serversKey struct{}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: serve DIR [flag...]")
	}
	dir := ts.MkAbs(args[0])
	cmd := exec.Command("aver", append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}, args[1:]...)...)
	cmd.Env = append(os.Environ(), "AVER_SERVER=", "AVER_TOKEN=", "GORACE="+noSleep)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	running := ts.Value(serversKey{}).(servers)
	running[dir] = cmd
	ts.Defer(func() { stop(running, dir) })
	line, err := bufio.NewReader(out).ReadString('\n') // it listens when it says so
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "Aver listens on ")
	if err != nil || !ok {
		cmd.Wait()
		delete(running, dir)
		ts.Fatalf("the server did not start: %s%s", line, stderr.String())
	}
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	ts.Check(err)
	ts.Setenv("AVER_SERVER", url)
	ts.Setenv("AVER_TOKEN", strings.TrimSpace(string(token)))
}

func stop(running servers, dir string) error {
	cmd, ok := running[dir]
	if !ok {
		return nil
	}
	delete(running, dir)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}

func cmdHalt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: halt DIR")
	}
	running := ts.Value(serversKey{}).(servers)
	dir := ts.MkAbs(args[0])
	if running[dir] == nil {
		ts.Fatalf("no server runs on %s", args[0])
	}
	ts.Check(stop(running, dir))
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N command [arg...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	match := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(match) < 2 {
		ts.Fatalf("no match of %s in the standard output", args[1])
	}
	ts.Setenv(args[0], match[1])
}

func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip GLOB OFFSET")
	}
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no file matches %s", args[0])
	}
	offset, err := strconv.Atoi(args[1])
	ts.Check(err)
	content, err := os.ReadFile(files[0])
	ts.Check(err)
	if offset < 0 {
		offset += len(content)
	}
	if offset < 0 || offset >= len(content) {
		ts.Fatalf("%s has %d bytes", files[0], len(content))
	}
	content[offset] ^= 1
	ts.Check(os.WriteFile(files[0], content, 0o600))
}

func cmdForge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: forge DIR")
	}
	dir, err := datadir.Open(ts.MkAbs(args[0]), "")
	ts.Check(err)
	defer dir.Close()
	path, key := dir.DecisionLog()
	log, err := ledger.Open(path, ledger.Options{Origin: key.Signer.Name(), Signer: key.Signer, Verifier: key.Verifier})
	ts.Check(err)
	size, _ := log.Head()
	last, err := log.Entry(size - 1)
	ts.Check(err)
	r, err := aver.ParseRecord(last.Payload)
	ts.Check(err)
	id, err := uuid.NewV7()
	ts.Check(err)
	r.ID, r.Decision.Outcome = id.String(), aver.Permitted
	payload := r.AppendCanonical(nil)
	leaf := aver.NewLeaf(r.Kind, r.ID, r.Time, payload)
	leaf.Outcome = &r.Decision.Outcome
	_, err = log.Append(context.Background(), ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
	ts.Check(err)
	ts.Check(log.Close())
}
