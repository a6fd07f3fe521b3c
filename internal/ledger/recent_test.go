package ledger

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// What the committer has not handed over (yet, or any more) is read from the segments: a checkpoint may be asked for the
// moment an entry is committed, and must cover it.
func TestRecentReadsWhatIsMissing(t *testing.T) {
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
	hash := func(i uint64) tlog.Hash { return tlog.RecordHash([]byte(leaf(i))) }
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, hashes := l.recent.from(0, entries); len(hashes) == entries {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the groups were not handed over")
		}
	}
	for first := range uint64(entries + 1) {
		for last := first; last <= entries; last++ {
			l.recent.mu.Lock()
			l.recent.base, l.recent.hashes = 0, nil
			l.recent.mu.Unlock()
			for i := first; i < last; i++ {
				l.recent.add(i, []tlog.Hash{hash(i)})
			}
			for from := range uint64(entries + 1) {
				for to := from; to <= entries; to++ {
					next := from
					err := l.leafHashes(from, to, func(got tlog.Hash) {
						if got != hash(next) {
							t.Errorf("groups %d to %d, entries %d to %d: got another hash for entry %d", first, last, from, to, next)
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

// What the projection has covered is forgotten, and if it falls far behind, all that waits is: memory stays bounded.
func TestRecentForgets(t *testing.T) {
	var r recent
	group := func(i uint64) []tlog.Hash { return []tlog.Hash{{byte(i)}, {byte(i), 1}} }
	for i := uint64(10); i < 20; i += 2 {
		r.add(i, group(i))
	}
	r.drop(5)
	r.drop(13)
	if first, hashes := r.from(0, 16); first != 13 || len(hashes) != 3 || hashes[0] != (tlog.Hash{12, 1}) || hashes[2] != (tlog.Hash{14, 1}) {
		t.Errorf("after entries up to 13 were dropped: from %d, %v", first, hashes)
	}
	r.drop(30)
	if first, hashes := r.from(0, 40); first != 40 || len(hashes) > 0 {
		t.Errorf("after all were dropped: from %d, %v", first, hashes)
	}
	r.add(30, make([]tlog.Hash, maxRecent+1))
	r.add(31+maxRecent, group(7))
	if first, hashes := r.from(0, 1<<20); first != 31+maxRecent || len(hashes) != 2 {
		t.Errorf("after too many: from %d, %d hashes", first, len(hashes))
	}
}
