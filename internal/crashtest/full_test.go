package crashtest

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// G1: with the disk full no request is answered with a decision: 503, and
// readiness down. After space returns the service goes on by itself, and
// nothing that anybody was told is missing.
func TestFullDisk(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=12m,mode=0700"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI must be able to mount a small file system: %v", err)
		}
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(mount, syscall.MNT_DETACH) })
	dir := filepath.Join(mount, "data")
	p := start(t, dir)
	setUp(t, p)
	client := &http.Client{Timeout: 20 * time.Second}
	var answers []*told
	collect := func(n int) (refused int) {
		for i := range n {
			answer, status, err := ask(p, client, i)
			switch {
			case err != nil:
				t.Fatalf("%v\n%s", err, p.err)
			case answer != nil:
				answers = append(answers, answer)
			case status == http.StatusServiceUnavailable:
				refused++
			default:
				t.Fatalf("status %d", status)
			}
		}
		return refused
	}
	if refused := collect(200); refused > 0 {
		t.Fatalf("%d of 200 refused while there is space", refused)
	}

	// Something else eats the disk, again whenever a byte comes free.
	ballast := filepath.Join(mount, "ballast")
	fill := func() {
		f, err := os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for block := make([]byte, 64<<10); len(block) > 0; {
			if n, err := f.Write(block); err != nil || n < len(block) {
				block = block[:len(block)/2]
			}
		}
	}
	fill()
	deadline := time.Now().Add(60 * time.Second)
	for collect(50) < 50 {
		if time.Now().After(deadline) {
			t.Fatal("the disk is full, and decisions are still answered")
		}
		fill()
	}
	resp, err := client.Get(p.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readiness says %d on a full disk", resp.StatusCode)
	}
	told := len(answers)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	deadline = time.Now().Add(60 * time.Second)
	for {
		answer, _, err := ask(p, client, 1)
		if err != nil {
			t.Fatal(err)
		}
		if answer != nil {
			answers = append(answers, answer)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("space is back, and the service does not go on\n%s", p.err)
		}
		time.Sleep(20 * time.Millisecond) // the ledger tries again about once a second
	}
	if refused := collect(100); refused > 0 {
		t.Errorf("%d of 100 refused after space came back", refused)
	}
	t.Logf("%d answers before and while the disk filled up, %d after", told, len(answers)-told)
	p.stop(t)
	check(t, dir, answers)
}
