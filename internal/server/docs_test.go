package server_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/server"
)

// Every command of docs/api.md works, in the order of the page, on a new server.
func TestDocs(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "jq", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the examples of docs/api.md need %s, which is not installed", tool)
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	script := "set -euo pipefail\n"
	blocks := 0
	for rest := string(text); ; blocks++ {
		_, after, found := strings.Cut(rest, "\n```sh\n")
		if !found {
			break
		}
		block, next, _ := strings.Cut(after, "\n```")
		script += block + "\n"
		rest = next
	}
	if blocks < 8 {
		t.Fatalf("%d blocks of commands; has the page another form now?", blocks)
	}
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, server.Config{DataDir: dir, Listen: "127.0.0.1:0"})
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(ctx, l) }()
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(os.Environ(), "AVER_SERVER=http://"+l.Addr().String(), "AVER_TOKEN="+adminToken(t, dir))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	stop()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	for _, want := range []string{"[true,true,false]", "c2sp.org/tlog-proof@v1", "ai_agent paybot active"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands did not print %s:\n%s", want, out)
		}
	}
}
