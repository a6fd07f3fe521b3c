package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
)

// Outcome is what the callers of a log were told.
type Outcome struct {
	// Acked :: index -> number of the entry that was acknowledged there.
	Acked map[uint64]int
	// Doubtful are entries that failed, with the log not healthy since: each may or may not be there.
	Doubtful map[int]bool
}

// Workload opens a log, appends entries of about 20 KB so that it goes through several segments, takes checkpoints in
// between, and closes it. Whatever fails, it goes on as a caller would: an entry that failed is given up, the next one
// is tried once the log is healthy. It returns early if the log does not recover.
func Workload(fsys disk.FS, dir string, entries int) Outcome {
	out := Outcome{Acked: map[uint64]int{}, Doubtful: map[int]bool{}}
	l, err := ledger.Open(dir, Options(fsys))
	if err != nil {
		return out
	}
	defer l.Close()
	ctx := context.Background()
	for i := range entries {
		r, err := l.Append(ctx, Large(i))
		if err == nil {
			out.Acked[r.Index] = i
		} else {
			out.Doubtful[i] = true
			if !recovers(l) {
				return out
			}
			out.Doubtful = map[int]bool{} // a healthy log has dropped what failed before
		}
		if i%10 == 9 {
			_, _ = l.CheckpointNow(ctx) // may fail, and is tried again by Close
		}
	}
	return out
}

// recovers waits until the log is healthy again, as long as that makes sense.
func recovers(l *ledger.Log) bool {
	for range 200 {
		err := l.Health()
		if err == nil {
			return true
		}
		if errors.Is(err, ErrDead) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// Large is test entry i with a payload of some 20 KB.
func Large(i int) ledger.Entry { return sized(i, 20_000) }

// CheckOutcome opens the log again, and fails unless everything acknowledged is there, once, at its index, nothing is
// there that was certainly dropped, and Verify finds nothing wrong. It returns the number of entries found.
func CheckOutcome(t testing.TB, fsys disk.FS, dir string, out Outcome) int {
	t.Helper()
	l, err := ledger.Open(dir, Options(fsys))
	if err != nil {
		t.Errorf("open again: %v", err)
		return 0
	}
	if err := checkAcked(l, out); err != nil {
		t.Error(err)
	}
	size, _ := l.Head()
	// It must go on from there.
	r, err := l.Append(context.Background(), Large(1000))
	if err != nil || r.Index != size {
		t.Errorf("append after recovery: index %d of %d, %v", r.Index, size, err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("close after recovery: %v", err)
	}
	if rep := Verify(t, fsys, dir); !rep.OK() || len(rep.Notes) > 0 || rep.Size != size+1 || rep.Checkpoint != size+1 {
		t.Errorf("verify after recovery, %d entries: %+v", size+1, rep)
	}
	return int(size)
}

func checkAcked(l Reading, out Outcome) error {
	size, _ := l.Head()
	for index := range out.Acked {
		if index >= size {
			return fmt.Errorf("acknowledged entry %d is gone; the log holds %d", index, size)
		}
	}
	for e, err := range l.Entries(0, size) {
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		want, acked := out.Acked[e.Index]
		if acked && !Same(e.Entry, Large(want)) {
			return fmt.Errorf("index %d was acknowledged for entry %d and holds another", e.Index, want)
		}
		if !acked && !isDoubtful(e.Entry, out) {
			return fmt.Errorf("index %d holds an entry that was dropped", e.Index)
		}
	}
	return nil
}

func isDoubtful(e ledger.Entry, out Outcome) bool {
	for i := range out.Doubtful {
		if Same(e, Large(i)) {
			return true
		}
	}
	return false
}
