package ledger_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// preparing opens a log of segments of 4 MiB, and calls do while the first part of its second segment is synced.
func preparing(t *testing.T, mem *ledgertest.Mem, do func(*ledger.Log)) (*ledger.Log, *ledgertest.Faulty) {
	fsys := ledgertest.NewFaulty(mem)
	o := ledgertest.Options(fsys)
	o.FirstSegment, o.MaxSegment = 4<<20, 4<<20
	opened := make(chan *ledger.Log, 1)
	fsys.On("sync", "tmp/0000000002.raw", func() { do(<-opened) })
	l := ledgertest.MustOpen(t, o, "/log")
	opened <- l
	return l, fsys
}

// syncsOf counts the syncs of a file until it gets its name.
func syncsOf(fsys *ledgertest.Faulty, tmp string) (n int) {
	for _, op := range fsys.Trace() {
		if strings.HasPrefix(op, "rename") && strings.Contains(op, tmp) {
			break
		}
		if op == "sync "+tmp {
			n++
		}
	}
	return n
}

// Once half of a segment is full, the next is made without rests and in larger steps: who appends may wait for it soon.
func TestSegmentThatIsWantedSoon(t *testing.T) {
	mem := ledgertest.NewMem()
	_, fsys := preparing(t, mem, func(l *ledger.Log) {
		for i := range 110 { // of 20,000 bytes
			if _, err := l.Append(t.Context(), ledgertest.Large(i)); err != nil {
				t.Error(err)
			}
		}
	})
	awaitFile(t, mem, "/log/segments/0000000002.raw")
	if n := syncsOf(fsys, "/log/tmp/0000000002.raw"); n != 1+4 { // the first of 128 KiB, all others of 1 MiB
		t.Errorf("it was synced %d times, want 5", n)
	}
}

// Closing a log does not wait for a segment that nobody needs any more, and leaves nothing of it.
func TestCloseWhileASegmentIsPrepared(t *testing.T) {
	mem := ledgertest.NewMem()
	closed := make(chan error, 1)
	l, fsys := preparing(t, mem, func(l *ledger.Log) {
		go func() { closed <- l.Close() }()
		for !errors.Is(enqueueError(l), ledger.ErrClosed) { // closing has begun
			runtime.Gosched()
		}
	})
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if n := syncsOf(fsys, "/log/tmp/0000000002.raw"); n > 3 {
		t.Errorf("it was synced %d times although the log was being closed", n)
	}
	if slices.ContainsFunc(mem.Files(), func(f string) bool { return strings.Contains(f, "0000000002") }) {
		t.Errorf("something of it is left: %v", mem.Files())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
