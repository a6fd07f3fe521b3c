package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fenced = regexp.MustCompile("(?ms)^ *```([a-z]*)[^\n]*\n(.*?)^ *```")
	inline = regexp.MustCompile("`(aver [^`]+)`")
	// A command ends where the shell takes over. What stands in quotes is one word.
	shellWord = regexp.MustCompile(`'[^']*'|"(?:[^"\\]|\\.)*"|[|;&<>#()]|[^\s'"|;&<>#()]+`)
)

// Every command that a page names is there, with the flags that it shows: also where no test runs it.
func TestCommandsOnPagesAreThere(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../*.md")
	if err != nil {
		t.Fatal(err)
	}
	root := (&cli{in: strings.NewReader(""), out: io.Discard, err: io.Discard, env: func(string) string { return "" }}).root()
	seen := 0
	for _, page := range append(pages, more...) {
		if page == docsFile { // written from what --help says
			continue
		}
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "\\\n", " ")
		var commands []string
		for _, block := range fenced.FindAllStringSubmatch(text, -1) {
			if block[1] != "sh" && block[1] != "console" {
				continue
			}
			for line := range strings.Lines(block[2]) {
				line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
				for strings.Contains(line, "=\"$(aver ") || strings.Contains(line, "=$(aver ") { // X="$(aver …)"
					_, line, _ = strings.Cut(line, "$(")
				}
				for _, part := range strings.Split(line, "$(") {
					if strings.HasPrefix(part, "aver ") {
						commands = append(commands, part)
					}
				}
			}
		}
		for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			commands = append(commands, m[1])
		}
		for _, command := range commands {
			words := shellWord.FindAllString(command, -1)[1:]
			for i, w := range words {
				if len(w) == 1 && strings.ContainsAny(w, "|;&<>#()") {
					words = words[:i]
					break
				}
			}
			if len(words) == 0 || strings.HasPrefix(words[0], "…") {
				continue
			}
			seen++
			cmd, rest, err := root.Find(words)
			if err != nil || cmd == root && !strings.HasPrefix(words[0], "-") || cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
				t.Errorf("%s: there is no such command: %s", page, command)
				continue
			}
			cmd.InitDefaultHelpFlag()
			for _, w := range rest {
				if !strings.HasPrefix(w, "-") || w == "-" || w == "--" {
					continue
				}
				name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
				if cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil && (len(name) != 1 || cmd.Flags().ShorthandLookup(name) == nil) {
					t.Errorf("%s: %s has no flag %s: %s", page, cmd.CommandPath(), w, command)
				}
			}
		}
	}
	if seen < 150 {
		t.Errorf("%d commands were found", seen)
	}
}
