package ledger_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// TestFailureDropsWhatWaits: entries behind a failed group get the error too, Generation tells, their indexes go to
// later entries, and the log goes on by itself.
func TestFailureDropsWhatWaits(t *testing.T) {
	fsys := ledgertest.NewFaulty(ledgertest.NewMem())
	l := ledgertest.MustOpen(t, ledgertest.Options(fsys), "/log")
	ledgertest.Append(t, l, 0, 3)
	generation := l.Generation()
	if err := fsys.Inject("write of 0000000001.raw before EIO"); err != nil {
		t.Fatal(err)
	}
	var behind *ledger.Ticket
	fsys.On("write", "0000000001.raw", func() { behind, _ = l.Enqueue(ledgertest.Entry(101)) })
	_, err := l.Append(t.Context(), ledgertest.Entry(100))
	var unavailable *ledger.UnavailableError
	if !errors.As(err, &unavailable) || unavailable.RetryAfter <= 0 || !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("append with a failing disk: %v", err)
	}
	if _, err := behind.Wait(t.Context()); !errors.Is(err, ledger.ErrUnavailable) {
		t.Fatalf("the entry behind: %v", err)
	}
	if l.Generation() == generation {
		t.Error("the generation is the same although entries were dropped")
	}
	awaitHealth(t, l)
	if _, err := l.EnqueueIn(generation, ledgertest.Entry(3)); !errors.Is(err, ledger.ErrDropped) {
		t.Errorf("an entry that builds on dropped ones was taken: %v", err)
	}
	if _, err := l.EnqueueIn(l.Generation(), ledgertest.Entry(3)); err != nil {
		t.Error(err)
	}
	ledgertest.Append(t, l, 4, 6)
	ledgertest.CheckEntries(t, l, 6)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := ledgertest.Verify(t, fsys, "/log"); !r.OK() || r.Size != 6 {
		t.Errorf("%+v", r)
	}
}

func awaitHealth(t *testing.T, l *ledger.Log) {
	t.Helper()
	for l.Health() != nil {
		select {
		case <-t.Context().Done():
			t.Fatal(l.Health())
		case <-time.After(time.Millisecond):
		}
	}
}

// TestFullDisk: with no space left the log takes no entry, says so at once, and goes on by itself once there is space.
func TestFullDisk(t *testing.T) {
	mem := ledgertest.NewMem()
	l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	mem.SetCapacity(mem.Used() + 1000)
	n := 0
	var err error
	for ; err == nil; n++ {
		if n > 100 {
			t.Fatal("the disk never got full")
		}
		_, err = l.Append(t.Context(), ledgertest.Large(n))
	}
	n--
	if !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.Enqueue(ledgertest.Large(n)); !errors.Is(err, ledger.ErrUnavailable) {
			t.Fatalf("enqueue on a full disk: %v", err)
		}
	}
	if l.Health() == nil {
		t.Fatal("healthy on a full disk")
	}
	mem.SetCapacity(0)
	awaitHealth(t, l)
	for ; n < 40; n++ {
		if r, err := l.Append(t.Context(), ledgertest.Large(n)); err != nil || r.Index != uint64(n) {
			t.Fatalf("entry %d after space returned: %+v, %v", n, r, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := ledgertest.Verify(t, mem, "/log"); !r.OK() || r.Size != 40 {
		t.Errorf("%+v", r)
	}
}

// TestOpenOnFullDisk: a log that was killed and whose disk is full opens for reading its entries, and writes once there
// is space.
func TestOpenOnFullDisk(t *testing.T) {
	mem := fullLog(t, true)
	mem.SetCapacity(mem.Used() - 256<<10 + 100) // the prepared segment is removed first
	l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	if !errors.Is(l.Health(), ledger.ErrUnavailable) {
		t.Fatalf("health: %v", l.Health())
	}
	ledgertest.CheckEntries(t, l, 280)
	if _, err := l.CheckpointNow(t.Context()); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("a checkpoint was signed for entries that may not be durable: %v", err)
	}
	mem.SetCapacity(0)
	awaitHealth(t, l)
	ledgertest.Append(t, l, 280, 285)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := ledgertest.Verify(t, mem, "/log"); !r.OK() || r.Size != 285 {
		t.Errorf("%+v", r)
	}
}

// TestSmallDisk: segments get smaller when the disk is small.
func TestSmallDisk(t *testing.T) {
	mem := ledgertest.NewMem()
	mem.SetCapacity(1 << 20)
	o := ledgertest.Options(mem)
	o.FirstSegment, o.MaxSegment = 4<<20, 64<<20
	l := ledgertest.MustOpen(t, o, "/log")
	if err := l.Health(); err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, l, 0, 100)
}

// TestBackPressure: more than MaxQueue bytes or MaxLag entries without tiles are refused before memory grows.
func TestBackPressure(t *testing.T) {
	fsys := ledgertest.NewFaulty(ledgertest.NewMem())
	o := ledgertest.Options(fsys)
	o.MaxQueue, o.MaxLag = 100_000, 12
	l := ledgertest.MustOpen(t, o, "/log")
	var queued int
	var refused error
	var last *ledger.Ticket
	fsys.On("write", "0000000001.raw", func() {
		for ; queued < 100 && refused == nil; queued++ {
			var ticket *ledger.Ticket
			if ticket, refused = l.Enqueue(ledgertest.Large(queued)); refused == nil {
				last = ticket
			}
		}
	})
	if _, err := l.Append(t.Context(), ledgertest.Entry(0)); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(refused, ledger.ErrUnavailable) || queued < 4 || queued > 8 {
		t.Errorf("after %d entries of 20 KB: %v", queued, refused)
	}
	if _, err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := 0; err == nil && i < 30; i++ {
		_, err = l.Append(t.Context(), ledgertest.Entry(i))
	}
	if !errors.Is(err, ledger.ErrUnavailable) || l.Health() == nil {
		t.Errorf("with tiles far behind: %v, health %v", err, l.Health())
	}
	if _, err := l.CheckpointNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), ledgertest.Entry(0)); err != nil {
		t.Errorf("after the tiles caught up: %v", err)
	}
}

// TestDroppedStaysDropped: once the log is healthy again, an entry whose sync failed although it took effect does not
// come back, not even if the power goes that moment.
func TestDroppedStaysDropped(t *testing.T) {
	mem := ledgertest.NewMem()
	fsys := ledgertest.NewFaulty(mem)
	l := ledgertest.MustOpen(t, ledgertest.Options(fsys), "/log")
	ledgertest.Append(t, l, 0, 3)
	if err := fsys.Inject("sync of 0000000001.raw after EIO"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), ledgertest.Entry(3)); !errors.Is(err, ledger.ErrUnavailable) {
		t.Fatal(err)
	}
	awaitHealth(t, l)
	after := mem.PowerLoss(nil)
	ledgertest.CheckEntries(t, ledgertest.MustOpen(t, ledgertest.Options(after), "/log"), 3)
}
