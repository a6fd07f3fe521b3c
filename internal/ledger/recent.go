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
	runs := l.recent.from(from)
	start := to
	if len(runs) > 0 {
		start = min(max(runs[0].base, from), to)
	}
	err := l.leaves(from, start, func(i uint64, leaf []byte) { yield(i, segment.LeafHash(leaf), leaf) })
	if err != nil {
		return err
	}
	for _, n := range runs {
		rest := n.leaves
		for k, h := range n.hashes {
			i := n.base + uint64(k)
			if i >= to {
				return nil
			}
			length := 2 + int(binary.BigEndian.Uint16(rest))
			if i >= start {
				yield(i, h, rest[2:length])
			}
			rest = rest[length:]
		}
	}
	return nil
}
