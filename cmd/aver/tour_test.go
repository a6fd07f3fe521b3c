package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The pages of a tour are run one after the other in one shell: each goes on where the one before ends.
var tours = [][]string{
	{"README.md", "docs/verifying.md", "docs/operating.md"}, {"docs/activities.md"}, {"docs/exceptions.md"}, {"docs/auditors.md", "docs/incidents.md"},
}

// docBlock is a block of commands (sh) and the output (text) that the page shows below it, if any.
var docBlock = regexp.MustCompile("(?s)```sh\n(.*?)```\n(?:\n```text\n(.*?)```\n)?")

// What the pages tell people to type does what they say: every sh block is run, and what it prints is what the text
// block below it shows. An ellipsis stands for anything; ids, times, keys and hashes may differ.
func TestTour(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "python3", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skipf("the tour needs %s", tool)
		}
	}
	for _, pages := range tours {
		t.Run(filepath.Base(pages[0]), func(t *testing.T) { tour(t, pages) })
	}
}

func tour(t *testing.T, pages []string) {
	dir := t.TempDir()
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(docs, filepath.Join(dir, "docs")); err != nil {
		t.Fatal(err)
	}
	const written = "127.0.0.1:8470"
	address := freeAddress(t)

	type step struct{ page, commands, want, out string }
	var steps []step
	script := "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n"
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range docBlock.FindAllStringSubmatch(string(text), -1) {
			s := step{page, block[1], block[2], filepath.Join(dir, fmt.Sprint("out.", len(steps)))}
			steps = append(steps, s)
			commands := regexp.MustCompile(`(?m)^go build .*$`).ReplaceAllString(s.commands, "") // testscript has built it
			commands = strings.ReplaceAll(commands, written, address)
			commands = strings.ReplaceAll(commands, "aver serve", "aver serve --listen "+address)
			script += fmt.Sprintf("exec >%q 2>&1\n%s", s.out, commands)
			if strings.Contains(commands, "aver serve") {
				script += fmt.Sprintf("for i in $(seq 200); do grep -q 'admin.token' %q && break; sleep 0.05; done\n", s.out)
			}
		}
	}
	if len(steps) < 5 {
		t.Fatalf("%d blocks of commands were found", len(steps))
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-u", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AVER_SERVER=", "AVER_TOKEN=")
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil && len(out) > 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, s := range steps {
		out, err := os.ReadFile(s.out)
		if err != nil {
			t.Fatalf("%s: the shell did not get to\n%s", s.page, s.commands)
		}
		got := strings.NewReplacer(address, written, dir, "/home/you/aver").Replace(string(out))
		if !shows(s.want, got) {
			t.Errorf("%s:\n%s prints\n%s\nbut the page shows\n%s", s.page, s.commands, got, s.want)
		}
	}
}

// varying is what differs from run to run, in the order in which it is masked.
var varying = []*regexp.Regexp{
	regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}`), // evaluation ids
	regexp.MustCompile(`\d{4}-\d\d-\d\d[T ][0-9:.]+`),
	regexp.MustCompile(`\+[0-9a-f]{8}\+A[A-Za-z0-9+/=]+`), // verifier keys
	regexp.MustCompile(`aver\.local/[0-9a-f]{8}`),
	regexp.MustCompile(`[A-Za-z0-9+/_-]{43,}=?`), // hashes
}

// shows reports whether a page shows what a command has printed.
func shows(page, printed string) bool {
	mask := func(s string) string {
		for _, v := range varying {
			s = v.ReplaceAllString(s, "~")
		}
		return strings.TrimSpace(s)
	}
	pattern := regexp.MustCompile(`\n?…\n?`).ReplaceAllString(regexp.QuoteMeta(mask(page)), ".*")
	return regexp.MustCompile(`(?s)\A` + pattern + `\z`).MatchString(mask(printed))
}

func TestShows(t *testing.T) {
	for _, tt := range []struct {
		page, printed string
		want          bool
	}{
		{"", "", true},
		{"", "something", false},
		{"permitted\n", "permitted\n", true},
		{"permitted\n", "denied\n", false},
		{"a\n…\nd\n", "a\nb\nc\nd\n", true},
		{"a\n…\nd\n", "a\nb\nc\n", false},
		{"at 2026-11-24T07:33:49.123Z", "at 2027-01-02T00:00:00.000Z", true},
		{"3 of 4", "3 of 5", false},
	} {
		if got := shows(tt.page, tt.printed); got != tt.want {
			t.Errorf("shows(%q, %q) is %t", tt.page, tt.printed, got)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
