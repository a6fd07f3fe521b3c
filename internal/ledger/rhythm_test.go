package ledger

import (
	"testing"
	"time"
)

// Waiting for others must pay for itself: who is alone, or comes seldom, is written at once.
func TestExpectWaitsOnlyWhereASyncIsSaved(t *testing.T) {
	const us = time.Microsecond
	for _, c := range []struct {
		name          string
		sync, pace    time.Duration
		last, waiting int
		idle          time.Duration
		entries       int
		patience      time.Duration
	}{
		{"entries come faster than a sync", 200 * us, 25 * us, 12, 4, 100 * us, 16, 800 * us},
		{"alone", 200 * us, 90 * us, 1, 0, 0, 1, 180 * us},
		{"alone, after a crowd has gone", 200 * us, 25 * us, 12, 4, gatherFor + 1, 0, 0},
		{"seldom", 200 * us, 101 * us, 3, 2, 0, 0, 0},
		{"a crowd", 200 * us, us, 1000, 0, 0, gatherMost, 512 * us},
		{"a slow disk", 9000 * us, 800 * us, 40, 10, 0, 50, gatherFor},
	} {
		r := rhythm{sync: c.sync, pace: c.pace, last: c.last}
		if entries, patience := r.expect(c.waiting, c.idle); entries != c.entries || patience != c.patience {
			t.Errorf("%s: waits for %d entries and at most %v, want %d and %v", c.name, entries, patience, c.entries, c.patience)
		}
	}
}

func TestExpectedEntriesShareAGroup(t *testing.T) {
	l := &Log{o: Options{MaxQueue: 1 << 20, MaxLag: 1 << 20}}
	q := &l.queue
	q.init(0)
	enqueue := func() {
		if _, err := l.Enqueue(Entry{Leaf: []byte("leaf"), Payload: []byte("payload")}); err != nil {
			t.Error(err)
		}
	}
	gathered := func(expected int, patience time.Duration) int {
		q.mu.Lock()
		q.gather(expected, patience)
		q.mu.Unlock()
		return len(q.take(&rhythm{}).Hashes)
	}
	enqueue()
	go func() {
		enqueue()
		enqueue()
	}()
	if n := gathered(3, time.Hour); n != 3 {
		t.Errorf("a group of %d entries, expected 3", n)
	}
	// Nobody else comes: it goes on without them, and a wish that is met too late is no wish of the next.
	enqueue()
	q.enough <- struct{}{}
	if n := gathered(2, time.Millisecond); n != 1 {
		t.Errorf("a group of %d entries, want 1", n)
	}
	if q.waiting != 0 || q.bytes != 0 {
		t.Errorf("%d entries with %d bytes are left in an empty queue", q.waiting, q.bytes)
	}
	// What is there is enough.
	enqueue()
	enqueue()
	if n := gathered(2, time.Hour); n != 2 {
		t.Errorf("a group of %d entries, want 2", n)
	}
}
