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
		entries       int
		patience      time.Duration
	}{
		{"entries come faster than a sync", 200 * us, 25 * us, 12, 4, 16, 800 * us},
		{"alone", 200 * us, 90 * us, 1, 0, 1, 180 * us},
		{"seldom", 200 * us, 101 * us, 3, 2, 0, 0},
		{"a crowd", 200 * us, us, 1000, 0, gatherMost, 512 * us},
		{"a slow disk", 9000 * us, 800 * us, 40, 10, 50, gatherFor},
	} {
		r := rhythm{sync: c.sync, pace: c.pace}
		if entries, patience := r.expect(c.last, c.waiting); entries != c.entries || patience != c.patience {
			t.Errorf("%s: waits for %d entries and at most %v, want %d and %v", c.name, entries, patience, c.entries, c.patience)
		}
	}
}

func TestExpectedEntriesShareAGroup(t *testing.T) {
	l := &Log{o: Options{MaxQueue: 1 << 20, MaxLag: 1 << 20}}
	l.queue.init(0)
	entry := Entry{Leaf: []byte("leaf"), Payload: []byte("payload")}
	enqueue := func() {
		if _, err := l.Enqueue(entry); err != nil {
			t.Error(err)
		}
	}
	enqueue()
	go func() {
		enqueue()
		enqueue()
	}()
	if b := l.queue.take(3, time.Hour); len(b.Hashes) != 3 {
		t.Errorf("a group of %d entries, expected 3", len(b.Hashes))
	}
	// Nobody else comes: it goes on without them, and a wish that is met too late is no wish of the next.
	enqueue()
	l.queue.enough <- struct{}{}
	if b := l.queue.take(2, time.Millisecond); len(b.Hashes) != 1 {
		t.Errorf("a group of %d entries, want 1", len(b.Hashes))
	}
	if n := l.queue.length(); n != 0 || l.queue.bytes != 0 {
		t.Errorf("%d entries with %d bytes are left in an empty queue", n, l.queue.bytes)
	}
	// What is there is enough.
	enqueue()
	enqueue()
	if b := l.queue.take(2, time.Hour); len(b.Hashes) != 2 {
		t.Errorf("a group of %d entries, want 2", len(b.Hashes))
	}
}
