package ledger_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// slowSyncs takes as long for a sync as a disk does, so that the committer waits for callers.
type slowSyncs struct{ disk.FS }

type slowFile struct{ disk.File }

func (s slowSyncs) Create(p string) (disk.File, error) {
	f, err := s.FS.Create(p)
	if err != nil {
		return nil, err
	}
	return slowFile{f}, nil
}

func (f slowFile) Sync() error {
	time.Sleep(time.Millisecond) // so that callers gather meanwhile, as on a disk
	return f.File.Sync()
}

// Many callers, each with the next entry at hand once it is answered, while syncs fail, segments end, and the log is
// closed: each entry gets one answer, each that was acknowledged is in the log, once, and its receipt holds.
func TestManyCallersWhateverHappens(t *testing.T) {
	mem := ledgertest.NewMem()
	fsys := ledgertest.NewFaulty(slowSyncs{mem})
	o := ledgertest.Options(fsys)
	l := ledgertest.MustOpen(t, o, "/log")
	const callers, enough = 24, 3000
	var count atomic.Int64 // of entries that were acknowledged
	var acked [callers]map[uint64]int
	var groups atomic.Int64
	var wg sync.WaitGroup
	for c := range callers {
		acked[c] = map[uint64]int{}
		wg.Go(func() {
			for i := c; ; i += callers {
				r, err := l.Append(context.Background(), ledgertest.Entry(i))
				if errors.Is(err, ledger.ErrClosed) {
					return
				}
				if errors.Is(err, ledger.ErrUnavailable) {
					time.Sleep(time.Millisecond) // as a caller does that is told to try again
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				acked[c][r.Index] = i
				if r.Index == r.Group.First {
					groups.Add(1)
				}
				if receipt, err := r.Committed(); err != nil || i%50 == 0 && ledger.VerifyReceipt(receipt, o.Verifier) != nil {
					t.Errorf("receipt of entry %d: %v", r.Index, err)
				}
				switch count.Add(1) {
				case enough / 3, enough / 2:
					if err := fsys.Inject("sync of .raw EIO"); err != nil {
						t.Error(err)
					}
				case enough / 4, 2 * enough / 3:
					nothing := func(e ledger.Indexed) ([]byte, bool) { return e.Private, false }
					err := l.Erase(context.Background(), 0, r.Index, nothing) // ends the segment
					if err != nil && !errors.Is(err, ledger.ErrUnavailable) && !errors.Is(err, ledger.ErrClosed) {
						t.Error(err)
					}
				case enough:
					go l.Close()
				}
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count.Load() / groups.Load(); n < callers/4 {
		t.Errorf("only %d entries share a group, although %d callers come at once", n, callers)
	}
	again := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	all := map[uint64]bool{}
	for _, of := range acked {
		for index, i := range of {
			if all[index] {
				t.Errorf("entry %d was acknowledged twice", index)
			}
			all[index] = true
			if e, err := again.Entry(index); err != nil || !ledgertest.Same(e, ledgertest.Entry(i)) {
				t.Errorf("entry %d: %v, %v", index, e, err)
			}
		}
	}
	if r := ledgertest.Verify(t, mem, "/log"); !r.OK() {
		t.Errorf("%+v", r)
	}
}
