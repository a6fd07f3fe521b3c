package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// eraseSome erases the payloads of the entries 5 to 19 and the private parts of 21 to 29.
func eraseSome(ctx context.Context, l *ledger.Log) error {
	return l.Erase(ctx, 5, 30, func(e ledger.Indexed) ([]byte, bool) {
		switch {
		case e.Index < 20:
			return nil, true
		case e.Index > 20:
			return nil, false
		}
		return e.Private, false
	})
}

// checkErased checks that exactly what eraseSome takes out is gone, or, unless all is true, is still whole.
func checkErased(t *testing.T, l ledgertest.Reading, size int, all bool) {
	t.Helper()
	for e, err := range l.Entries(0, uint64(size)) {
		if err != nil {
			t.Fatal(err)
		}
		i, want := int(e.Index), ledgertest.Large(int(e.Index))
		if !bytes.Equal(e.Leaf, want.Leaf) {
			t.Fatalf("entry %d has another leaf", i)
		}
		gone := want
		switch {
		case i >= 5 && i < 20:
			gone = ledger.Entry{Leaf: want.Leaf, Erased: true}
		case i > 20 && i < 30:
			gone.Private = nil
		}
		if ok := ledgertest.Same(e.Entry, gone) && e.Erased == gone.Erased; !ok && (all || !ledgertest.Same(e.Entry, want) || e.Erased) {
			t.Fatalf("entry %d: payload %d bytes, private part %d, erased %v", i, len(e.Payload), len(e.Private), e.Erased)
		}
	}
}

// eraseWorkload is a log of several segments from which something is erased while it goes on.
func eraseWorkload(fsys *ledgertest.Faulty) {
	l, err := ledger.Open("/log", ledgertest.Options(fsys))
	if err != nil {
		return
	}
	defer l.Close()
	for i := range workloadEntries {
		if _, err := l.Append(context.Background(), ledgertest.Large(i)); err != nil {
			return
		}
	}
	_, _ = l.CheckpointNow(context.Background())
	_ = eraseSome(context.Background(), l)
}

// Bytes that were erased are in no file of the log any more, and every leaf, hash and proof stays (G7, D3).
func TestErase(t *testing.T) {
	mem := ledgertest.NewMem()
	fsys := ledgertest.NewFaulty(mem)
	l := ledgertest.MustOpen(t, ledgertest.Options(fsys), "/log")
	for i := range workloadEntries {
		if _, err := l.Append(t.Context(), ledgertest.Large(i)); err != nil {
			t.Fatal(err)
		}
	}
	before, root := l.Head()
	other, err := ledger.OpenReader("/log", ledgertest.Options(mem))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := eraseSome(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Append(t.Context(), ledgertest.Large(workloadEntries)); err != nil {
		t.Fatal(err)
	}
	if got, err := l.TreeHash(before); err != nil || got != root {
		t.Errorf("the root changed: %v", err)
	}
	if e, err := l.Entry(7); !errors.Is(err, ledger.ErrErased) || !bytes.Equal(e.Leaf, ledgertest.Large(7).Leaf) || e.Payload != nil {
		t.Errorf("entry 7: %d bytes of payload, %v", len(e.Payload), err)
	}
	if leaf, err := l.Leaf(7); err != nil || !bytes.Equal(leaf, ledgertest.Large(7).Leaf) {
		t.Errorf("leaf 7: %v", err)
	}
	checkErased(t, l, workloadEntries, true)
	checkErased(t, other, 25, true) // its files were rewritten behind its back
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := ledgertest.Verify(t, mem, "/log"); !r.OK() || len(r.Notes) > 0 {
		t.Errorf("%+v", r)
	}
	l = ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	checkErased(t, l, workloadEntries, true)
	noLeft(t, mem)
}

// noLeft checks that no earlier form of a rewritten segment is left; what is in the others, checkErased reads.
func noLeft(t *testing.T, mem *ledgertest.Mem) {
	t.Helper()
	seen := map[string]string{}
	for _, name := range mem.Files() {
		seq := ""
		if n, _ := fmt.Sscanf(name, "/log/segments/%10s", &seq); n == 0 {
			continue
		}
		if other, ok := seen[seq]; ok {
			t.Errorf("%s is there beside %s", other, name)
		}
		seen[seq] = name
	}
}

// Whatever fails in the middle of an erasure, and however the process ends: no entry is lost or changed, each is erased or
// whole, and doing it again completes it.
func TestEraseFaults(t *testing.T) {
	plain := ledgertest.NewFaulty(ledgertest.NewMem())
	eraseWorkload(plain)
	n := plain.Count("any")
	from := n * 2 / 3
	for k := from; k <= n; k += stride(n-from, 40) {
		for i, when := range []string{"before", "torn", "after", "killed", "power cut"} {
			mem := ledgertest.NewMem()
			fsys := ledgertest.NewFaulty(mem)
			var after *ledgertest.Mem
			switch when {
			case "killed":
				fsys.Before(k, func() { after = mem.Kill() })
			case "power cut":
				fsys.Before(k, func() { after = mem.PowerLoss(rand.New(rand.NewPCG(uint64(k), uint64(i)))) })
			default:
				if err := fsys.Inject(fmt.Sprintf("any %d %s EIO", k, when)); err != nil {
					t.Fatal(err)
				}
			}
			eraseWorkload(fsys)
			if after == nil {
				after = mem.Kill()
			}
			if r := ledgertest.Verify(t, after, "/log"); !r.OK() {
				t.Errorf("verify before recovery: %+v", r)
			}
			l, err := ledger.Open("/log", ledgertest.Options(after))
			if err != nil {
				t.Fatalf("%s at %d: %v", when, k, err)
			}
			size, _ := l.Head()
			checkErased(t, l, int(size), false)
			if size == workloadEntries {
				if err := eraseSome(t.Context(), l); err != nil {
					t.Error(err)
				}
				checkErased(t, l, int(size), true)
				noLeft(t, after)
			} else if when != "power cut" && when != "killed" && k > n-5 {
				t.Errorf("only %d entries", size)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if r := ledgertest.Verify(t, after, "/log"); !r.OK() || len(r.Notes) > 0 {
				t.Errorf("verify after recovery: %+v", r)
			}
			if t.Failed() {
				t.Fatalf("%s at operation %d, %q", when, k, fsys.Trace()[k-1])
			}
		}
	}
}

// A removal that fails leaves the former file; the next attempt takes it away although there is nothing else to do.
func TestEraseRemovesWhatAFailedAttemptLeft(t *testing.T) {
	mem := ledgertest.NewMem()
	fsys := ledgertest.NewFaulty(mem)
	l := ledgertest.MustOpen(t, ledgertest.Options(fsys), "/log")
	for i := range workloadEntries {
		if _, err := l.Append(t.Context(), ledgertest.Large(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := fsys.Inject("remove of .sealed before EIO"); err != nil {
		t.Fatal(err)
	}
	if err := eraseSome(t.Context(), l); err == nil {
		t.Fatal("the removal did not fail")
	}
	if err := eraseSome(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	checkErased(t, l, workloadEntries, true)
	noLeft(t, mem)
}
