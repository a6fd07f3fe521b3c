package ledger_test

import (
	"context"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// fullLog makes a log that has every kind of file: sealed segments, a raw one, full and partial tiles of
// two levels, a checkpoint. If killed, its writer was killed with entries that no checkpoint covers, and with a
// prepared segment.
func fullLog(t testing.TB, killed bool) *ledgertest.Mem {
	t.Helper()
	mem := ledgertest.NewMem()
	l, err := ledger.Open("/log", ledgertest.Options(mem))
	if err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, l, 0, 270)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = ledger.Open("/log", ledgertest.Options(mem)); err != nil { // seals the first segment
		t.Fatal(err)
	}
	ledgertest.Append(t, l, 270, 275)
	if _, err := l.CheckpointNow(context.Background()); err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, l, 275, 280)
	if !killed {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return mem
	}
	t.Cleanup(func() { l.Close() })
	awaitFile(t, mem, "/log/segments/0000000003.raw") // prepared in the background
	return mem.Kill()
}

func awaitFile(t testing.TB, mem *ledgertest.Mem, name string) {
	t.Helper()
	for mem.Read(name) == nil {
		if t.Context().Err() != nil {
			t.Fatalf("%s never came", name)
		}
	}
}

func TestVerifyIntact(t *testing.T) {
	for _, killed := range []bool{false, true} {
		r := ledgertest.Verify(t, fullLog(t, killed), "/log")
		if !r.OK() || len(r.Notes) > 0 || r.Size != 280 {
			t.Errorf("killed %v: %+v", killed, r)
		}
	}
}

// TestFlipAnyByte inverts one byte after the other of each file of a log: Verify must report it and name the file. It
// takes each byte with AVER_LONG=1, else a sample.
func TestFlipAnyByte(t *testing.T) {
	for _, killed := range []bool{false, true} {
		mem := fullLog(t, killed)
		kinds := map[string]int{}
		for _, file := range mem.Files() {
			content := mem.Read(file)
			name := strings.TrimPrefix(file, "/log/")
			kinds[kindOf(name)]++
			used := len(strings.TrimRight(string(content), "\x00"))
			for i := 0; i < len(content); {
				mask := []byte{0x01, 0x80, 0xff, 0x20}[i%4]
				mem.Flip(file, i, mask)
				r := ledgertest.Verify(t, mem, "/log")
				if !names(r, name) {
					t.Fatalf("killed %v: flip %#x at byte %d of %s went unnoticed: %+v", killed, mask, i, name, r)
				}
				mem.Flip(file, i, mask)
				switch {
				case long || i < used+20 && (used < 1000 || i > used-20):
					i++
				case i < used:
					i += 41 // prime, so that all masks and places come up
				default:
					i += 9973
				}
			}
		}
		want := map[string]int{"checkpoint": 1, "sealed": 1, "raw": 1, "tile": 3, "lock": 1}
		if killed {
			want["raw"] = 2
		}
		if fmt.Sprint(kinds) != fmt.Sprint(want) {
			t.Errorf("killed %v: the log had files %v, want %v", killed, kinds, want)
		}
	}
}

func kindOf(name string) string {
	switch {
	case strings.HasPrefix(name, "segments/"):
		return path.Ext(name)[1:]
	}
	kind, _, _ := strings.Cut(name, "/")
	return kind
}

// names reports whether the findings name a file.
func names(r ledger.Report, file string) bool {
	for _, f := range r.Findings {
		if f.File == file {
			return true
		}
	}
	return false
}

func TestFilesMissingCutLongerAndExtra(t *testing.T) {
	for _, killed := range []bool{false, true} {
		intact := fullLog(t, killed)
		for _, file := range intact.Files() {
			name := strings.TrimPrefix(file, "/log/")
			content := intact.Read(file)
			if name != "lock" {
				mem := intact.Kill()
				if err := mem.Remove(file); err != nil {
					t.Fatal(err)
				}
				prepared := strings.Trim(string(content), "\x00") == ""
				// A killed writer's last entries are in no checkpoint and its raw segment might never have been.
				if r := ledgertest.Verify(t, mem, "/log"); r.OK() && !prepared {
					t.Errorf("killed %v: the absence of %s went unnoticed", killed, name)
				}
				mem = intact.Kill()
				mem.Put(file, content[:len(content)-1])
				if r := ledgertest.Verify(t, mem, "/log"); !names(r, name) && !prepared {
					t.Errorf("killed %v: %s cut by a byte went unnoticed: %+v", killed, name, r)
				}
			}
			mem := intact.Kill()
			mem.Put(file, append(content, 'x'))
			if r := ledgertest.Verify(t, mem, "/log"); !names(r, name) {
				t.Errorf("killed %v: a byte more in %s went unnoticed: %+v", killed, name, r)
			}
		}
		for _, name := range []string{"x", "segments/x", "segments/0000000009.txt", "tile/0/x", "tile/0/009", "tile/entries/x", "tile/9/000", "tile/0/001.p/200"} {
			mem := intact.Kill()
			mem.Put("/log/"+name, []byte("x"))
			if r := ledgertest.Verify(t, mem, "/log"); !names(r, name) {
				t.Errorf("killed %v: the file %s went unnoticed: %+v", killed, name, r)
			}
		}
	}
}

// TestVerifyChecksPayloads: an entry whose payload is not the one its leaf commits to was written by the log itself, so
// only CheckEntry can find it.
func TestVerifyChecksPayloads(t *testing.T) {
	mem := ledgertest.NewMem()
	l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	ledgertest.Append(t, l, 0, 3)
	bad := ledgertest.Entry(3)
	bad.Payload = []byte("another")
	if _, err := l.Append(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := ledgertest.Verify(t, mem, "/log")
	if len(r.Findings) != 1 || r.Findings[0].Index != 3 || !strings.Contains(r.Findings[0].What, "payload") {
		t.Errorf("findings: %+v", r.Findings)
	}
}

// TestVerifyAnotherKey: a log under another key than the expected one is not verified.
func TestVerifyAnotherKey(t *testing.T) {
	mem := fullLog(t, false)
	other, _, err := ledger.NewKey(ledgertest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ledger.Verify(t.Context(), "/log", ledger.VerifyOptions{Origin: ledgertest.Origin, Verifier: other.Verifier, FS: mem})
	if err != nil || !names(r, "checkpoint") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestVerifyLive verifies over and over while a writer appends, seals and projects: it must never find anything.
func TestVerifyLive(t *testing.T) {
	mem := ledgertest.NewMem()
	l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 400 {
			e := ledgertest.Entry(i)
			if i%4 == 0 {
				e = ledgertest.Large(i)
			}
			if _, err := l.Append(context.Background(), e); err != nil {
				t.Error(err)
				return
			}
			if i%7 == 0 {
				if _, err := l.CheckpointNow(context.Background()); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	var last uint64
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		r := ledgertest.Verify(t, mem, "/log")
		if !r.OK() {
			t.Fatalf("%+v", r)
		}
		if r.Size < last || r.Size < r.Checkpoint {
			t.Fatalf("size %d after %d, checkpoint %d", r.Size, last, r.Checkpoint)
		}
		last = r.Size
	}
}
