package ledger_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// TestKilledProcess kills a process that writes a log on the real disk, again and again. What it was told is durable
// must be there, at its index, before anybody repairs anything and after.
func TestKilledProcess(t *testing.T) {
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "key")
	key, err := ledger.LoadOrCreateKey(keyFile, ledgertest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	logDir := filepath.Join(dir, "log")
	o := ledger.Options{Origin: ledgertest.Origin, Verifier: key.Verifier}
	acked := map[uint64]string{}
	rounds := 4
	if long {
		rounds = 50
	}
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMain$")
		cmd.Env = append(os.Environ(), "LEDGER_WRITER="+logDir, "LEDGER_KEY="+keyFile, fmt.Sprint("LEDGER_ROUND=", round))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var index uint64
			var leaf string
			if _, err := fmt.Sscan(lines.Text(), &index, &leaf); err != nil {
				break // the last line may be cut
			}
			acked[index] = leaf
			if n == 150+211*round {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()

		r, err := ledger.OpenReader(logDir, o)
		if err != nil {
			t.Fatal(err)
		}
		for index, leaf := range acked {
			if got, err := r.Leaf(index); err != nil || string(got) != leaf {
				t.Fatalf("round %d: index %d holds %q, acknowledged was %q: %v", round, index, got, leaf, err)
			}
		}
		rep, err := ledger.Verify(t.Context(), logDir, ledger.VerifyOptions{Origin: ledgertest.Origin, Verifier: key.Verifier})
		if err != nil || !rep.OK() {
			t.Fatalf("round %d: %+v, %v", round, rep, err)
		}
	}
	if len(acked) < 100*rounds {
		t.Errorf("only %d entries were acknowledged", len(acked))
	}
}

// TestMain makes the test binary the writer that TestKilledProcess kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEDGER_WRITER"); dir != "" {
		if err := writeForever(dir, os.Getenv("LEDGER_KEY"), os.Getenv("LEDGER_ROUND")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForever appends from several goroutines and prints what was acknowledged.
func writeForever(dir, keyFile, round string) error {
	key, err := ledger.LoadOrCreateKey(keyFile, ledgertest.Origin)
	if err != nil {
		return err
	}
	l, err := ledger.Open(dir, ledger.Options{
		Origin: ledgertest.Origin, Signer: key.Signer, Verifier: key.Verifier, FS: disk.OS{},
		FirstSegment: 256 << 10, MaxSegment: 256 << 10, CheckpointEvery: 10 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for k := range 8 {
		go func() {
			for i := 0; ; i++ {
				leaf := fmt.Sprintf("round-%s-%d-%d", round, k, i)
				r, err := l.Append(context.Background(), ledger.Entry{Leaf: []byte(leaf), Payload: []byte(strings.Repeat("p", 1000))})
				if err != nil {
					failed <- err
					return
				}
				fmt.Printf("%d %s\n", r.Index, leaf)
			}
		}()
	}
	return <-failed
}
