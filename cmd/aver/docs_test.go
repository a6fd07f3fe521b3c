package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const docsFile = "../../docs/cli.md"

// docs/cli.md says what --help says: go test ./cmd/aver -update writes it again.
func TestDocs(t *testing.T) {
	var want bytes.Buffer
	writeDocs(&want)
	if *update {
		if err := os.WriteFile(docsFile, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s does not say what --help says; run go test ./cmd/aver -update", docsFile)
	}
}

// Every command teaches itself: it says what it does, and shows it.
func TestEveryCommandHasExamples(t *testing.T) {
	walk((&cli{}).root(), func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.Example == "" && cmd.Name() != "version" {
			t.Errorf("%s: a line on what it does, and an example, are needed", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Long) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 110 {
				t.Errorf("%s: a line of its help has %d characters, too many for a terminal: %s", cmd.CommandPath(), n, line)
			}
		}
	})
}

func walk(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, do)
	}
}

func writeDocs(w io.Writer) {
	root := (&cli{in: strings.NewReader(""), out: io.Discard, err: io.Discard, env: func(string) string { return "" }}).root()
	fmt.Fprintf(w, "# The command line\n\n<!-- Written by go test ./cmd/aver -update from what --help says. -->\n\n%s\n\n", root.Long)
	fmt.Fprintf(w, "```console\n%s\n```\n\nEvery command takes `--json` and `--help`; `aver completion --help` says how to complete commands in a shell.\n", unindent(root.Example))
	walk(root, func(cmd *cobra.Command) {
		if cmd == root {
			return
		}
		cmd.InitDefaultHelpFlag()
		level := strings.Repeat("#", min(strings.Count(cmd.CommandPath(), " ")+1, 3))
		fmt.Fprintf(w, "\n%s %s\n\n%s.\n", level, cmd.CommandPath(), cmd.Short)
		if cmd.Long != "" {
			fmt.Fprintf(w, "\n%s\n", cmd.Long)
		}
		own := 0
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				own++
			}
		})
		if cmd.HasSubCommands() && own == 0 { // it only holds others
			fmt.Fprintf(w, "\n```console\n%s\n```\n", unindent(cmd.Example))
			return
		}
		usage := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		fmt.Fprintf(w, "\n```text\n%s\n\n%s```\n", usage, cmd.LocalNonPersistentFlags().FlagUsages())
		if cmd.Example != "" {
			fmt.Fprintf(w, "\n```console\n%s\n```\n", unindent(cmd.Example))
		}
	})
}

func unindent(example string) string {
	lines := strings.Split(example, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}
