// Command bench measures Aver, beside the PDPs that people use today and beside the least that a PDP can do. It builds and
// starts what it measures. docs/performance.md shows what it found, docs/decisions/0006-benchmarks.md says how it measures
// and why that is fair.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aver-authz/aver/bench/report"
)

const usage = `Measures Aver. Run it in the source tree, on a machine that has nothing else to do.

  go run ./bench [flags]           compare Aver with its peers
  go run ./bench growth [flags]    what things cost as the work grows
  go run ./bench soak [flags]      mixed load with changes and kill -9, then check everything
  go run ./bench recover [flags]   start after a crash with many records
  go run ./bench search [flags]    find decisions, and keep the index up
  go run ./bench profile [flags]   where Aver's CPU time goes

Each takes -h.`

func main() { os.Exit(run(os.Args[1:])) }

// errFound says that what was measured is not as it must be: exit status 1.
var errFound = errors.New("the benchmark found something wrong")

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	name := "compare"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	commands := map[string]func(context.Context, []string) error{
		"compare": compare, "growth": growth, "soak": soak, "recover": recovery, "search": search, "profile": profile,
	}
	command, ok := commands[name]
	if !ok {
		fmt.Fprintln(os.Stderr, usage)
		return 2
	}
	switch err := command(ctx, args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFound):
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	}
	return 0
}

// flags makes a flag set with the flags that all commands have.
func flags(name string, common *common) *flag.FlagSet {
	f := flag.NewFlagSet(strings.TrimSpace("bench "+name), flag.ContinueOnError)
	f.BoolVar(&common.json, "json", false, "print one JSON object to the standard output; progress goes to the standard error")
	f.StringVar(&common.out, "out", "", "file with the command's section to be replaced, such as docs/performance.md")
	f.StringVar(&common.work, "work", "", "directory for programs and data directories, on the disk that is to be measured; a temporary one, removed at the end")
	f.Uint64Var(&common.seed, "seed", 1, "seed of all that is random")
	return f
}

// common is what all commands have.
type common struct {
	json    bool
	out     string
	section string // of out
	work    string
	seed    uint64
}

// parse reads a command's arguments. That its section can be written is checked now, and not when all is measured.
func (c *common) parse(f *flag.FlagSet, args []string, section string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s does not take %q", f.Name(), f.Arg(0))
	}
	c.section = section
	if c.out == "" {
		return nil
	}
	return report.CheckSection(c.out, section)
}

// deliver writes a command's result to where it was asked for.
func (c *common) deliver(text string, result any) error {
	if c.out != "" {
		if err := report.WriteSection(c.out, c.section, text); err != nil {
			return err
		}
	}
	if !c.json {
		fmt.Print(text)
		return nil
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(result)
}

// workDir makes the directory to work in; done removes it if it is a temporary one.
func (c *common) workDir() (dir string, done func(), err error) {
	if c.work != "" {
		return c.work, func() {}, os.MkdirAll(c.work, 0o700)
	}
	// Not below /tmp, which is often kept in memory: the user's cache lies on a disk.
	base, err := os.UserCacheDir()
	if err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", nil, err
	}
	if dir, err = os.MkdirTemp(base, "aver-bench-"); err != nil {
		return "", nil, err
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

// say tells the one who waits what is going on.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// commandLine is how this run can be had again. Directories are left out: they say something about this machine only.
func commandLine(args []string) string {
	out := []string{"go run ./bench"}
	for i := 0; i < len(args); i++ {
		flag, _, _ := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if flag == "work" || flag == "out" {
			if !strings.Contains(args[i], "=") {
				i++
			}
			continue
		}
		if flag != "json" {
			out = append(out, args[i])
		}
	}
	return strings.Join(out, " ")
}

// fresh is a directory that is not there yet.
func fresh(work string, parts ...string) (string, error) {
	dir := filepath.Join(append([]string{work}, parts...)...)
	return dir, os.RemoveAll(dir)
}
