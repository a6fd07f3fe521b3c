package ledger

import (
	"encoding/binary"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/segment"
)

// recent hands leaves from the committer to the projection, so that it need not read them from the disk again. It is a
// short cut only: what is not here is read from the segments.
type recent struct {
	mu    sync.Mutex
	runs  []run // in order, without gaps
	bytes int
}

// run is the leaves of a commit group.
type run struct {
	base   uint64
	hashes []tlog.Hash
	leaves []byte // as in an entry bundle
}

func (r run) end() uint64 { return r.base + uint64(len(r.hashes)) }

// maxRecent bounds the memory, in bytes.
const maxRecent = 32 << 20

func (r *recent) add(n run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes > maxRecent {
		r.runs, r.bytes = nil, 0 // the projection is far behind, and has to read
	}
	r.runs = append(r.runs, n)
	r.bytes += len(n.leaves)
}

// drop forgets what lies before an index.
func (r *recent) drop(index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.runs) && r.runs[n].end() <= index {
		r.bytes -= len(r.runs[n].leaves)
		n++
	}
	r.runs = append([]run(nil), r.runs[n:]...)
}

// from returns the runs that hold entries from an index on.
func (r *recent) from(index uint64) []run {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, n := range r.runs {
		if n.end() > index {
			return append([]run(nil), r.runs[i:]...)
		}
	}
	return nil
}

// recentLeaves calls yield for each leaf in [from, to), which must be committed.
func (l *Log) recentLeaves(from, to uint64, yield func(i uint64, hash tlog.Hash, leaf []byte)) error {
	read := func(to uint64) error {
		return l.leaves(from, to, func(i uint64, leaf []byte) { yield(i, segment.LeafHash(leaf), leaf) })
	}
	for _, n := range l.recent.from(from) {
		if n.base >= to {
			break
		}
		if n.base > from {
			if err := read(n.base); err != nil {
				return err
			}
			from = n.base
		}
		rest := n.leaves
		for k, h := range n.hashes {
			i := n.base + uint64(k)
			length := 2 + int(binary.BigEndian.Uint16(rest))
			if from <= i && i < to {
				yield(i, h, rest[2:length])
			}
			rest = rest[length:]
		}
		from = min(n.end(), to)
	}
	return read(to) // the last group may be on its way here
}
