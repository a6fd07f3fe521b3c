package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// slowSigner signs for a commit group once it is let.
type slowSigner struct {
	note.Signer
	asked chan struct{} // gets one for each group
	let   chan struct{}
}

func (s *slowSigner) Sign(msg []byte) ([]byte, error) {
	if bytes.Contains(msg, []byte("/commit\n")) {
		s.asked <- struct{}{}
		<-s.let
	}
	return s.Signer.Sign(msg)
}

// slowly opens a log whose signatures for groups have to be waited for.
func slowly(t *testing.T, fsys *ledgertest.Faulty) (*ledger.Log, *slowSigner) {
	o := ledgertest.Options(fsys)
	s := &slowSigner{o.Signer, make(chan struct{}, 100), make(chan struct{}, 100)}
	o.Signer = s
	return ledgertest.MustOpen(t, o, "/log"), s
}

func durable(t *testing.T, l *ledger.Log, size uint64) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if n, _ := l.Head(); n == size {
			return
		} else if time.Since(begun) > 10*time.Second {
			t.Fatalf("%d entries are durable, want %d", n, size)
		}
	}
}

// waits tells whether an entry is not released: a wait that has ended already
// would else come to the receipt half of the times.
func waits(ticket *ledger.Ticket) bool {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range 64 {
		if _, err := ticket.Wait(ended); !errors.Is(err, context.Canceled) {
			return false
		}
	}
	return true
}

// A group is released once it is durable and signed, not before; closing the log waits for all.
func TestGroupsAreReleasedSigned(t *testing.T) {
	l, signer := slowly(t, ledgertest.NewFaulty(ledgertest.NewMem()))
	var tickets []*ledger.Ticket
	enqueue := func(i int) {
		ticket, err := l.Enqueue(ledgertest.Entry(i))
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	enqueue(0)
	<-signer.asked
	durable(t, l, 1)
	enqueue(1)
	for _, ticket := range tickets {
		if !waits(ticket) {
			t.Fatalf("entry %d is released before its group, or one before it, is signed", ticket.Index())
		}
	}
	signer.let <- struct{}{}
	if r, err := tickets[0].Wait(t.Context()); err != nil || r.Index != 0 {
		t.Fatalf("entry 0: %+v, %v", r, err)
	}
	<-signer.asked
	durable(t, l, 2)
	enqueue(2)
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	for !errors.Is(enqueueError(l), ledger.ErrClosed) { // closing has begun
		runtime.Gosched()
	}
	if !waits(tickets[1]) {
		t.Fatal("closing released an entry before its group was signed")
	}
	select {
	case err := <-closed:
		t.Fatalf("closed before all was released: %v", err)
	default:
	}
	signer.let <- struct{}{}
	signer.let <- struct{}{}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for _, ticket := range tickets {
		r, err := ticket.Wait(t.Context())
		if err != nil {
			t.Fatalf("entry %d, of a log that is closed: %v", ticket.Index(), err)
		}
		if c, err := r.Committed(); err != nil || ledger.VerifyReceipt(c, ledgertest.Options(nil).Verifier) != nil {
			t.Errorf("receipt of entry %d: %+v, %v", ticket.Index(), c, err)
		}
	}
}

// enqueueError is why nothing can be enqueued; it enqueues nothing, as what it
// asks for is too old.
func enqueueError(l *ledger.Log) error {
	_, err := l.EnqueueIn(^uint64(0), ledgertest.Entry(0))
	return err
}

// The signature is made while the disk is at work. If that fails, the entry gets its error and no receipt, and its index
// is free again, whatever becomes of the signature.
func TestDiskFailsWhileAGroupIsSigned(t *testing.T) {
	fsys := ledgertest.NewFaulty(ledgertest.NewMem())
	l, signer := slowly(t, fsys)
	generation := l.Generation()
	if err := fsys.Inject("sync of 0000000001.raw EIO"); err != nil {
		t.Fatal(err)
	}
	ticket, err := l.Enqueue(ledgertest.Entry(0))
	if err != nil {
		t.Fatal(err)
	}
	<-signer.asked
	if _, err := ticket.Wait(t.Context()); !errors.Is(err, ledger.ErrUnavailable) {
		t.Fatalf("the entry that could not be written: %v", err)
	}
	if l.Generation() == generation {
		t.Error("an entry was dropped, and who derived values from it is not told")
	}
	// Nothing tells when the log can write again, so it is looked at again and again.
	for begun := time.Now(); l.Health() != nil; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal(l.Health())
		}
	}
	signer.let <- struct{}{}
	signer.let <- struct{}{}
	ledgertest.Append(t, l, 0, 1)
	ledgertest.CheckEntries(t, l, 1)
}

// A signature that can't be made is an error of the receipts, and keeps nobody
// waiting.
func TestGroupThatCannotBeSigned(t *testing.T) {
	o := ledgertest.Options(ledgertest.NewMem())
	o.Signer = failingSigner{o.Signer}
	l := ledgertest.MustOpen(t, o, "/log")
	r, err := l.Append(t.Context(), ledgertest.Entry(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Committed(); !errors.Is(err, errNoKey) {
		t.Errorf("the receipt: %v", err)
	}
}

var errNoKey = errors.New("the key is gone")

type failingSigner struct{ note.Signer }

func (failingSigner) Sign([]byte) ([]byte, error) { return nil, errNoKey }

// An entry can be reused as soon as it is enqueued, as decision points do with the
// buffers of theirs.
func TestEntriesAreReused(t *testing.T) {
	l := ledgertest.MustOpen(t, ledgertest.Options(ledgertest.NewMem()), "/log")
	var wg sync.WaitGroup
	var order sync.Mutex // so that entry i has index i
	next := 0
	for range 4 {
		wg.Go(func() {
			var e ledger.Entry
			for {
				order.Lock()
				i := next
				if next++; i >= 400 {
					order.Unlock()
					return
				}
				from := ledgertest.Entry(i)
				e.Leaf, e.Payload, e.Private = append(e.Leaf[:0], from.Leaf...), append(e.Payload[:0], from.Payload...), append(e.Private[:0], from.Private...)
				ticket, err := l.Enqueue(e)
				order.Unlock()
				clear(e.Leaf)
				clear(e.Payload)
				clear(e.Private)
				if err != nil {
					t.Error(err)
					return
				}
				if i%7 == 0 {
					if _, err := ticket.Wait(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	durable(t, l, 400)
	ledgertest.CheckEntries(t, l, 400)
}
