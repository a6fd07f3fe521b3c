package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/segment"
)

// maxGroup is the size at which a group takes no more entries, in bytes.
const maxGroup = 4 << 20

// batch is a group in the making: entries in order, waiting for the same sync.
type batch struct {
	segment.Builder
	base   uint64
	hashes []tlog.Hash
	done   chan struct{} // closed once group or err is set
	group  *Group
	err    error
}

// queue holds the entries whose place is fixed and that are not yet durable.
type queue struct {
	mu         sync.Mutex
	work       sync.Cond // the committer waits on it
	batches    []*batch  // in order; the last takes more entries
	free       []*batch  // buffers for reuse
	next       uint64    // index of the next entry
	waiting    int       // entries in all batches
	bytes      int64     // of all batches
	wanted     int       // entries that the committer waits for, see gather; 0 if it does not
	enough     chan struct{}
	closed     bool
	failed     atomic.Pointer[UnavailableError] // nil while the log can write
	generation atomic.Uint64
	rolls      []chan struct{} // of those who wait for a new segment, see [Log.endSegment]
}

func (q *queue) init(next uint64) {
	q.work.L = &q.mu
	q.enough = make(chan struct{}, 1)
	q.next = next
}

// Ticket stands for an entry whose place is fixed and that is not yet durable.
type Ticket struct {
	b *batch
	i int
}

// Index is the index that the entry has if it becomes durable.
func (t *Ticket) Index() uint64 { return t.b.base + uint64(t.i) }

// Wait returns once the entry is durable. An error that is ErrUnavailable means that the entry is in doubt until the
// log is healthy again, and dropped from then on. If ctx ends first, its error is returned and nothing is known.
func (t *Ticket) Wait(ctx context.Context) (Receipt, error) {
	if ctx.Done() == nil {
		<-t.b.done
	} else {
		select {
		case <-t.b.done:
		case <-ctx.Done():
			return Receipt{}, ctx.Err()
		}
	}
	if t.b.err != nil {
		return Receipt{}, t.b.err
	}
	return Receipt{Index: t.Index(), LeafHash: t.b.hashes[t.i], Group: t.b.group}, nil
}

// Enqueue fixes the entry's place in the log and returns without waiting for the disk: entries have the order of the
// calls. The entry may be reused once it returns. It fails at once with ErrUnavailable if the log cannot write,
// ErrTooLarge if the entry is over a limit, ErrClosed after Close.
func (l *Log) Enqueue(e Entry) (*Ticket, error) {
	return l.enqueue(e, nil)
}

// EnqueueIn is Enqueue for who keeps values derived from earlier entries (see [Log.Generation]): it takes the entry only
// if none was dropped since the given generation, and fails with ErrDropped else.
func (l *Log) EnqueueIn(generation uint64, e Entry) (*Ticket, error) {
	return l.enqueue(e, &generation)
}

func (l *Log) enqueue(e Entry, generation *uint64) (*Ticket, error) {
	if len(e.Leaf) > MaxLeaf || len(e.Payload) > MaxPayload || len(e.Private) > MaxPrivate {
		return nil, fmt.Errorf("%w: leaf %d of at most %d bytes, payload %d of %d, private part %d of %d", ErrTooLarge,
			len(e.Leaf), MaxLeaf, len(e.Payload), MaxPayload, len(e.Private), MaxPrivate)
	}
	hash := segment.LeafHash(e.Leaf)
	t := new(Ticket)
	q := &l.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := l.refuse(); err != nil {
		return nil, err
	}
	if generation != nil && *generation != q.generation.Load() {
		return nil, ErrDropped
	}
	b := q.last(segment.RecordLen(e))
	t.b, t.i = b, len(b.Hashes)
	b.Add(e, hash)
	q.next++
	q.bytes += int64(segment.RecordLen(e))
	q.waiting++
	if q.wanted == 0 {
		q.work.Signal()
	} else if q.waiting >= q.wanted {
		q.wanted = 0
		select {
		case q.enough <- struct{}{}:
		default:
		}
	}
	return t, nil
}

// refuse says why no entry can be taken at the moment. The queue's lock is held.
func (l *Log) refuse() error {
	q := &l.queue
	if q.closed {
		return ErrClosed
	}
	if err := q.failed.Load(); err != nil {
		return err
	}
	if q.bytes > l.o.MaxQueue {
		return &UnavailableError{RetryAfter: time.Second, Cause: errors.New("too many entries wait for the disk")}
	}
	return l.lag(q.next)
}

// lag is an error if the tiles are too far behind.
func (l *Log) lag(size uint64) error {
	if size-l.projectedSize.Load() > l.o.MaxLag {
		return &UnavailableError{RetryAfter: l.o.CheckpointEvery, Cause: errors.New("the tiles are too far behind the log")}
	}
	return nil
}

// last returns the batch that takes a record of n bytes. The lock is held.
func (q *queue) last(n int) *batch {
	if k := len(q.batches); k > 0 {
		b := q.batches[k-1]
		if b.Len()+n <= maxGroup {
			return b
		}
	}
	var b *batch
	if k := len(q.free); k > 0 {
		b, q.free = q.free[k-1], q.free[:k-1]
	} else {
		b = new(batch)
	}
	b.Reset()
	b.base, b.done = q.next, make(chan struct{})
	q.batches = append(q.batches, b)
	return b
}

// Append adds an entry and returns once it is durable: Enqueue and Wait.
func (l *Log) Append(ctx context.Context, e Entry) (Receipt, error) {
	t, err := l.Enqueue(e)
	if err != nil {
		return Receipt{}, err
	}
	return t.Wait(ctx)
}

// Health returns nil while entries can be appended, else why not.
func (l *Log) Health() error {
	if err := l.queue.failure(); err != nil {
		return err
	}
	size, _ := l.Head()
	return l.lag(size)
}

// Generation is a number that increases whenever enqueued entries were dropped. Who keeps values derived from entries
// that were enqueued, but not yet durable, must build them again from the log when it changes. It changes before the
// first Wait of the dropped entries returns.
func (l *Log) Generation() uint64 { return l.queue.generation.Load() }

func (q *queue) failure() error {
	if err := q.failed.Load(); err != nil {
		return err
	}
	return nil
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.work.Signal()
	q.mu.Unlock()
}

// take waits for the next batch, and gathers others that the rhythm lets expect; nil if a new segment is wanted, or the
// queue is closed and empty.
func (q *queue) take(r *rhythm) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	begun, waiting := time.Now(), q.waiting
	for len(q.batches) == 0 && len(q.rolls) == 0 && !q.closed {
		q.work.Wait()
	}
	if len(q.rolls) > 0 || len(q.batches) == 0 {
		return nil
	}
	q.gather(r.expect(waiting, time.Since(begun)))
	b := q.batches[0]
	q.batches = q.batches[:copy(q.batches, q.batches[1:])]
	q.waiting -= len(b.Hashes)
	q.bytes -= int64(b.Len())
	if len(q.batches) == 0 {
		q.bytes = 0
	}
	r.took(len(b.Hashes))
	return b
}

// recycle takes the buffer of a batch back that nobody waits for any more. Tickets keep the rest of it.
func (q *queue) recycle(b *batch) {
	reuse := &batch{Builder: b.Builder}
	b.Builder = segment.Builder{}
	q.mu.Lock()
	if len(q.free) < 2 && reuse.Cap() <= 2*maxGroup {
		q.free = append(q.free, reuse)
	}
	q.mu.Unlock()
}

// drop fails everything that waits, b first: none of it will get its index. Entries enqueued from now on are refused
// until restore.
func (q *queue) drop(b *batch, committed uint64, err *UnavailableError) {
	q.mu.Lock()
	q.failed.Store(err)
	dropped := q.batches
	if b != nil {
		dropped = append([]*batch{b}, dropped...)
	}
	q.batches, q.waiting, q.bytes, q.next = nil, 0, 0, committed
	if len(dropped) > 0 {
		q.generation.Add(1)
	}
	q.mu.Unlock()
	for _, b := range dropped {
		b.err = err
		close(b.done)
	}
}

// gather lets those come along who are expected, so that they share a sync and its signature, until so many wait or
// patience ends. The queue's lock is held, and given away meanwhile.
func (q *queue) gather(expected int, patience time.Duration) {
	if q.waiting >= expected || len(q.batches) > 1 {
		return
	}
	select {
	case <-q.enough: // that came too late for the group before
	default:
	}
	q.wanted = expected
	q.mu.Unlock()
	timer := time.NewTimer(patience)
	select {
	case <-q.enough:
	case <-timer.C:
	}
	timer.Stop()
	q.mu.Lock()
	q.wanted = 0
}

// commitLoop writes batch after batch until the log is closed.
func (l *Log) commitLoop() {
	defer close(l.committed)
	for {
		if l.queue.failed.Load() != nil {
			select {
			case <-l.closing:
				return
			case <-time.After(l.o.RetryEvery):
			}
			l.tryAgain()
			continue
		}
		b := l.queue.take(&l.rhythm)
		if b == nil {
			if l.endSegments() {
				continue
			}
			return
		}
		if err := l.commit(b); err != nil {
			l.fail(b, err)
		}
	}
}

// commit makes a batch durable and releases who waits for it. After an error nothing is known about what is on the disk.
func (l *Log) commit(b *batch) error {
	b.hashes = b.Hashes
	if need := int64(b.Len()); l.active == nil || l.active.off+need > l.active.size {
		if err := l.roll(need); err != nil {
			return err
		}
	}
	g, buf := b.Finish(b.base, l.link)
	group := &Group{First: b.base, Root: g.Root, hashes: b.hashes, signer: l.o.Signer}
	signed := make(chan struct{})
	go func() { // while the disk is at work; what is not durable then is not released either
		defer close(signed)
		_, _ = group.Note() // the error is told to who asks for the note
	}()
	off := l.active.off
	if _, err := l.active.file.WriteAt(buf, off); err != nil {
		return err
	}
	begun := time.Now()
	if err := l.active.file.Sync(); err != nil {
		return err
	}
	l.rhythm.synced(time.Since(begun))
	if l.active.off += g.Len(); 2*l.active.off > l.active.size {
		l.hurryUp()
	}
	l.active.seg.add(g, off)
	_, l.link = l.active.seg.bounds()
	l.front.append(b.hashes)
	l.head.Store(&head{size: l.front.size, root: l.front.root()})
	<-signed
	b.group = group
	close(b.done)
	l.recent.add(b.base, b.hashes)
	l.queue.recycle(b)
	if l.front.size-l.projectedSize.Load() >= projectStep {
		select {
		case l.projectKick <- struct{}{}:
		default:
		}
	}
	return nil
}

// fail gives up the active segment, which is never written again, and drops everything that waits.
func (l *Log) fail(b *batch, cause error) {
	l.log.Error("The log cannot write; it refuses entries until it can.", "origin", l.origin, "error", cause)
	l.abandon()
	l.queue.drop(b, l.front.size, &UnavailableError{RetryAfter: l.o.RetryEvery, Cause: cause})
	l.tryAgain()
}

// tryAgain makes the log able to write, if it can: what was found at the start is made durable, and a new segment is
// begun, which cuts off whatever an abandoned one may hold beyond the last acknowledged group.
func (l *Log) tryAgain() {
	err := l.secure()
	if err == nil {
		err = l.roll(0)
	}
	if err != nil {
		l.queue.drop(nil, l.front.size, &UnavailableError{RetryAfter: l.o.RetryEvery, Cause: err})
		return
	}
	if l.queue.failed.Swap(nil) != nil {
		l.log.Info("The log can write again.", "origin", l.origin)
	}
}
