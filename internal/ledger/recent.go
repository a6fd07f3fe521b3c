package ledger

import (
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/segment"
)

// recent hands leaf hashes from the committer to the projection, so that it need not read the leaves from the disk again.
// It is a short cut only: what is not here is read from the segments.
type recent struct {
	mu     sync.Mutex
	base   uint64      // index of the first entry
	hashes []tlog.Hash // of its leaf and those after it
}

// maxRecent bounds the memory, in hashes of 32 bytes.
const maxRecent = 1 << 18

// add takes the hashes of a commit group that begins at an index.
func (r *recent) add(base uint64, hashes []tlog.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.hashes) > maxRecent {
		r.hashes = nil // the projection is far behind, and has to read
	}
	if len(r.hashes) == 0 {
		r.base = base
	}
	r.hashes = append(r.hashes, hashes...)
}

// drop forgets what lies before an index.
func (r *recent) drop(index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if index > r.base {
		n := min(index-r.base, uint64(len(r.hashes)))
		r.base += n
		r.hashes = r.hashes[:copy(r.hashes, r.hashes[n:])]
	}
}

// from returns the hashes of the entries [from, to) that are here, and the index of the first; to if none is. They are
// valid until the next drop.
func (r *recent) from(from, to uint64) (first uint64, hashes []tlog.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, end := max(from, r.base), min(r.base+uint64(len(r.hashes)), to)
	if first >= end {
		return to, nil
	}
	return first, r.hashes[first-r.base : end-r.base]
}

// leafHashes calls yield for the leaf hash of each entry in [from, to), which must be committed.
func (l *Log) leafHashes(from, to uint64, yield func(tlog.Hash)) error {
	read := func(from, to uint64) error {
		return l.leaves(from, to, func(_ uint64, leaf []byte) { yield(segment.LeafHash(leaf)) })
	}
	first, hashes := l.recent.from(from, to)
	if err := read(from, first); err != nil {
		return err
	}
	for _, h := range hashes {
		yield(h)
	}
	return read(first+uint64(len(hashes)), to) // the last group may be on its way here
}
