package ledger

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// What the committer has not handed over (yet, or any more) is read from the segments: a checkpoint may be asked for the
// moment an entry is committed, and must cover it.
func TestRecentLeavesReadsWhatIsMissing(t *testing.T) {
	k, _, err := NewKey("recent.example/log")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.TempDir(), Options{Origin: k.Signer.Name(), Signer: k.Signer, Verifier: k.Verifier, CheckpointEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const entries = 4
	leaf := func(i uint64) string { return fmt.Sprint("leaf ", i) }
	for i := range uint64(entries) {
		if _, err := l.Append(t.Context(), Entry{Leaf: []byte(leaf(i)), Payload: []byte("payload")}); err != nil {
			t.Fatal(err)
		}
	}
	var all []run
	for deadline := time.Now().Add(10 * time.Second); len(all) < entries && time.Now().Before(deadline); {
		all = l.recent.from(0)
	}
	if len(all) != entries {
		t.Fatalf("%d groups were handed over", len(all))
	}
	for first := range entries + 1 {
		for last := first; last <= entries; last++ {
			l.recent.mu.Lock()
			l.recent.runs = all[first:last]
			l.recent.mu.Unlock()
			for from := range uint64(entries + 1) {
				for to := from; to <= entries; to++ {
					next := from
					err := l.recentLeaves(from, to, func(i uint64, hash tlog.Hash, text []byte) {
						if i != next || string(text) != leaf(i) || hash != tlog.RecordHash(text) {
							t.Errorf("groups %d to %d, entries %d to %d: got entry %d, %q, where %d should come", first, last, from, to, i, text, next)
						}
						next++
					})
					if err != nil || next != to {
						t.Errorf("groups %d to %d, entries %d to %d: ended at %d, error %v", first, last, from, to, next, err)
					}
				}
			}
		}
	}
}
