package ledgertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
)

// Origin is the origin of the test logs.
const Origin = "ledgertest.example/log"

var testKey = sync.OnceValue(func() ledger.Key {
	k, _, err := ledger.NewKey(Origin)
	if err != nil {
		panic(err)
	}
	return k
})

// Options are options for a small log on that file system: small segments, no checkpoint before it is asked for.
func Options(fsys disk.FS) ledger.Options {
	k := testKey()
	return ledger.Options{
		Origin: Origin, Signer: k.Signer, Verifier: k.Verifier, FS: fsys,
		FirstSegment: 256 << 10, MaxSegment: 256 << 10, CheckpointEvery: time.Hour, RetryEvery: time.Millisecond,
	}
}

// Entry makes the i'th test entry: the leaf holds the payload's SHA-256, as CheckEntry wants it; each third has a
// private part.
func Entry(i int) ledger.Entry { return sized(i, 20+i%50) }

func sized(i, length int) ledger.Entry {
	payload := fmt.Appendf(nil, `{"n":%d,"text":"%s"}`, i, bytes.Repeat([]byte{'a' + byte(i%26)}, length))
	e := ledger.Entry{Leaf: fmt.Appendf(nil, "leaf %d %x", i, sha256.Sum256(payload)), Payload: payload}
	if i%3 == 0 {
		e.Private = fmt.Appendf(nil, "private %d", i)
	}
	return e
}

// CheckEntry is the ledger.VerifyOptions.CheckEntry of test entries.
func CheckEntry(e ledger.Entry) error {
	if e.Erased {
		return nil
	}
	sum := sha256.Sum256(e.Payload)
	if !bytes.HasSuffix(e.Leaf, []byte(" "+hex.EncodeToString(sum[:]))) {
		return errors.New("the payload is not the one the leaf commits to")
	}
	return nil
}

// Verify runs ledger.Verify on a test log.
func Verify(t testing.TB, fsys disk.FS, dir string) ledger.Report {
	t.Helper()
	r, err := ledger.Verify(t.Context(), dir, ledger.VerifyOptions{
		Origin: Origin, Verifier: testKey().Verifier, FS: fsys,
		CheckEntry: func(e ledger.Indexed) error { return CheckEntry(e.Entry) },
	})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return r
}

// Append appends the entries [from, to) one by one and fails the test if it cannot.
func Append(t testing.TB, l *ledger.Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		r, err := l.Append(context.Background(), Entry(i))
		if err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
		if r.Index != uint64(i) {
			t.Fatalf("entry %d got index %d", i, r.Index)
		}
	}
}

// Same reports whether two entries are equal.
func Same(a, b ledger.Entry) bool {
	return bytes.Equal(a.Leaf, b.Leaf) && bytes.Equal(a.Payload, b.Payload) && bytes.Equal(a.Private, b.Private)
}

// Reading is what Log and Reader have in common.
type Reading interface {
	Head() (uint64, tlog.Hash)
	Entry(uint64) (ledger.Entry, error)
	Entries(from, to uint64) iter.Seq2[ledger.Indexed, error]
	InclusionProof(i, size uint64) (tlog.RecordProof, error)
	ConsistencyProof(older, newer uint64) (tlog.TreeProof, error)
	TreeHash(size uint64) (tlog.Hash, error)
}

// MustOpen opens a test log and closes it at the end of the test.
func MustOpen(t testing.TB, o ledger.Options, dir string) *ledger.Log {
	t.Helper()
	l, err := ledger.Open(dir, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Suite runs what every file system under the ledger must pass. fresh returns one with a directory to use in it.
func Suite(t *testing.T, fresh func(t *testing.T) (fsys disk.FS, dir string)) {
	t.Run("entries come back as they were, in order, after each reopening", func(t *testing.T) {
		fsys, dir := fresh(t)
		n := 0
		for round := range 4 {
			l := MustOpen(t, Options(fsys), dir)
			CheckEntries(t, l, n)
			Append(t, l, n, n+300*round+1)
			n += 300*round + 1
			CheckEntries(t, l, n)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if r := Verify(t, fsys, dir); !r.OK() || len(r.Notes) > 0 || r.Size != uint64(n) || r.Checkpoint != uint64(n) {
				t.Fatalf("after %d entries: %+v", n, r)
			}
		}
	})
	t.Run("proofs of every kind check out", func(t *testing.T) {
		fsys, dir := fresh(t)
		l := MustOpen(t, Options(fsys), dir)
		Append(t, l, 0, 260)
		if _, err := l.CheckpointNow(t.Context()); err != nil {
			t.Fatal(err)
		}
		Append(t, l, 260, 290) // beyond the tiles
		CheckProofs(t, l)
	})
	t.Run("a second opener is refused until the first closes", func(t *testing.T) {
		fsys, dir := fresh(t)
		l := MustOpen(t, Options(fsys), dir)
		if _, err := ledger.Open(dir, Options(fsys)); !errors.Is(err, ledger.ErrLocked) {
			t.Fatalf("second opener: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		MustOpen(t, Options(fsys), dir)
	})
	t.Run("many callers get distinct, dense indexes in the order of Enqueue", func(t *testing.T) {
		fsys, dir := fresh(t)
		l := MustOpen(t, Options(fsys), dir)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				last := int64(-1)
				for range 50 {
					ticket, err := l.Enqueue(Entry(7))
					if err != nil {
						t.Error(err)
						return
					}
					r, err := ticket.Wait(t.Context())
					if err != nil || int64(r.Index) <= last || r.Index != ticket.Index() {
						t.Errorf("index %d after %d, ticket %d: %v", r.Index, last, ticket.Index(), err)
						return
					}
					last = int64(r.Index)
				}
			})
		}
		wg.Wait()
		if size, _ := l.Head(); size != 400 {
			t.Errorf("%d entries, want 400", size)
		}
	})
	t.Run("a reader follows a writer and sees a prefix", func(t *testing.T) {
		fsys, dir := fresh(t)
		l := MustOpen(t, Options(fsys), dir)
		Append(t, l, 0, 10)
		r, err := ledger.OpenReader(dir, Options(fsys))
		if err != nil {
			t.Fatal(err)
		}
		// The last group of a log that is being written may not be acknowledged, so it is not shown.
		CheckEntries(t, r, 9)
		if err := r.Settle(0); err != nil {
			t.Fatal(err)
		}
		CheckEntries(t, r, 9)
		signed := make(chan error, 1)
		go func() {
			_, err := l.CheckpointNow(t.Context())
			signed <- err
		}()
		if err := errors.Join(r.Settle(time.Minute), <-signed); err != nil {
			t.Fatal(err)
		}
		CheckEntries(t, r, 10)
		Append(t, l, 10, 2000) // several segments, sealed behind the reader's back
		CheckEntries(t, r, 10)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := r.Refresh(); err != nil {
			t.Fatal(err)
		}
		CheckEntries(t, r, 2000)
	})
}

// CheckEntries fails unless the log holds exactly the entries [0, n), by whichever way they are read.
func CheckEntries(t testing.TB, l Reading, n int) {
	t.Helper()
	if size, _ := l.Head(); size != uint64(n) {
		t.Fatalf("the log holds %d entries, want %d", size, n)
	}
	next := 0
	for e, err := range l.Entries(0, uint64(n)) {
		if err != nil {
			t.Fatalf("entry %d: %v", e.Index, err)
		}
		if e.Index != uint64(next) || !Same(e.Entry, Entry(next)) {
			t.Fatalf("entry %d is not what was appended", next)
		}
		next++
	}
	if next != n {
		t.Fatalf("%d entries came, want %d", next, n)
	}
	for _, i := range []int{0, n / 3, n / 2, n - 1} {
		if n == 0 {
			break
		}
		if e, err := l.Entry(uint64(i)); err != nil || !Same(e, Entry(i)) {
			t.Fatalf("entry %d of %d: %v", i, n, err)
		}
	}
	if _, err := l.Entry(uint64(n)); !errors.Is(err, ledger.ErrNotFound) {
		t.Fatalf("the entry after the last: %v", err)
	}
}

// CheckProofs checks inclusion and consistency proofs with x/mod's tlog, for many sizes.
func CheckProofs(t testing.TB, l Reading) {
	t.Helper()
	size, head := l.Head()
	if h, err := l.TreeHash(size); err != nil || h != head {
		t.Fatalf("tree hash of the head: %v, %v", h, err)
	}
	for n := uint64(1); n <= size; n += 1 + n/7 {
		root, err := l.TreeHash(n)
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(0); i < n; i += 1 + n/5 {
			p, err := l.InclusionProof(i, n)
			if err != nil {
				t.Fatalf("inclusion of %d in %d: %v", i, n, err)
			}
			if err := tlog.CheckRecord(p, int64(n), root, int64(i), tlog.RecordHash(Entry(int(i)).Leaf)); err != nil {
				t.Fatalf("inclusion of %d in %d: %v", i, n, err)
			}
		}
		p, err := l.ConsistencyProof(n, size)
		if err != nil {
			t.Fatalf("consistency of %d with %d: %v", n, size, err)
		}
		if err := tlog.CheckTree(p, int64(size), head, int64(n), root); err != nil {
			t.Fatalf("consistency of %d with %d: %v", n, size, err)
		}
	}
	if _, err := l.TreeHash(size + 1); !errors.Is(err, ledger.ErrNotFound) {
		t.Fatalf("a tree larger than the log: %v", err)
	}
}
