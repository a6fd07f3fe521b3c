package ledger

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/segment"
)

// frontier is the right edge of an RFC 6962 tree: the roots of its perfect subtrees, largest first. It is all that
// is needed to append to the tree and to know its root.
type frontier struct {
	size  uint64
	nodes []tlog.Hash
}

// append adds leaves.
func (f *frontier) append(hashes []tlog.Hash) {
	for _, h := range hashes {
		for range bits.TrailingZeros64(^f.size) {
			h = tlog.NodeHash(f.nodes[len(f.nodes)-1], h)
			f.nodes = f.nodes[:len(f.nodes)-1]
		}
		f.nodes = append(f.nodes, h)
		f.size++
	}
}

func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		return segment.Root(nil)
	}
	h := f.nodes[len(f.nodes)-1]
	for i := len(f.nodes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.nodes[i], h)
	}
	return h
}

// tileHeight and tileWidth are those of C2SP tlog-tiles: a full tile holds 256 hashes.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// edge holds, for each tile level, the hashes of the incomplete tile at the tree's right edge: level 0 those of
// leaves, level 1 the roots of full level 0 tiles, and so on.
type edge struct {
	size   uint64
	levels [][]tlog.Hash
}

// append adds a leaf. It calls full for each tile that becomes complete, lowest level first; full must not keep hashes.
func (e *edge) append(h tlog.Hash, full func(level int, n uint64, hashes []tlog.Hash)) {
	e.size++
	for level := 0; ; level++ {
		if level == len(e.levels) {
			e.levels = append(e.levels, nil)
		}
		e.levels[level] = append(e.levels[level], h)
		if len(e.levels[level]) < tileWidth {
			return
		}
		full(level, e.size>>(tileHeight*(level+1))-1, e.levels[level])
		h = segment.Root(e.levels[level])
		e.levels[level] = e.levels[level][:0]
	}
}

// clone returns a copy that shares nothing that append changes.
func (e *edge) clone() edge {
	c := edge{size: e.size, levels: make([][]tlog.Hash, len(e.levels))}
	for i, l := range e.levels {
		c.levels[i] = append([]tlog.Hash(nil), l...)
	}
	return c
}

// frontier converts the edge.
func (e *edge) frontier() frontier {
	f := frontier{size: e.size}
	for level := len(e.levels) - 1; level >= 0; level-- {
		rest := e.levels[level]
		for len(rest) > 0 {
			k := 1 << (bits.Len(uint(len(rest))) - 1)
			f.nodes = append(f.nodes, segment.Root(rest[:k]))
			rest = rest[k:]
		}
	}
	return f
}
