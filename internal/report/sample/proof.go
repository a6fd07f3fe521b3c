package sample

import (
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// RangeProof proves that some leaves are those that stand at a contiguous range of indexes of a tree, so that none was
// left out, added or moved. Nothing of ours is needed to check it: see docs/sampling.md, which does it with the module
// golang.org/x/mod/sumdb/tlog and with Python's standard library.
type RangeProof struct {
	Begin  uint64   `json:"begin"`  // index of the first leaf
	Leaves []string `json:"leaves"` // the very bytes of the log, as text so that nobody reformats them
	// Nodes are the roots of the largest complete subtrees that cover the rest of the tree, from left to right.
	Nodes []Node `json:"nodes,omitempty"`
}

// Node is a hash of the tree: that of the complete subtree over the leaves [N<<Level, (N+1)<<Level).
type Node struct {
	Level int       `json:"level"`
	N     int64     `json:"n"`
	Hash  tlog.Hash `json:"hash"` // standard base64
}

// End is the index after the last leaf.
func (p *RangeProof) End() uint64 { return p.Begin + uint64(len(p.Leaves)) }

// cover lists the largest complete subtrees that make up the leaves [from, to), from left to right.
func cover(from, to uint64) (nodes []Node) {
	for from < to {
		level := bits.TrailingZeros64(from)
		if fit := bits.Len64(to-from) - 1; from == 0 || level > fit {
			level = fit
		}
		nodes = append(nodes, Node{Level: level, N: int64(from >> level)})
		from += 1 << level
	}
	return nodes
}

// prove makes the proof for the leaves [begin, end) of the tree of a size.
func prove(log Log, begin, end, size uint64) (*RangeProof, error) {
	p := &RangeProof{Begin: begin, Leaves: make([]string, 0, end-begin), Nodes: append(cover(0, begin), cover(end, size)...)}
	for e, err := range log.Entries(begin, end) {
		if err != nil {
			return nil, err
		}
		p.Leaves = append(p.Leaves, string(e.Leaf))
	}
	if len(p.Nodes) == 0 {
		return p, nil
	}
	hashes, err := log.Hashes(size)
	if err != nil {
		return nil, err
	}
	indexes := make([]int64, len(p.Nodes))
	for i, n := range p.Nodes {
		indexes[i] = tlog.StoredHashIndex(n.Level, n.N)
	}
	found, err := hashes.ReadHashes(indexes)
	if err != nil {
		return nil, fmt.Errorf("hashes around the leaves %d to %d: %w", begin, end, err)
	}
	for i := range p.Nodes {
		p.Nodes[i].Hash = found[i]
	}
	return p, nil
}

// errRange says that leaves are not those of the tree.
var errRange = errors.New("the leaves are not those of the checkpoint's tree: one was changed, left out, added or moved")

// Check checks that the leaves stand in the tree of that size and root at the indexes from Begin on.
func (p *RangeProof) Check(size uint64, root tlog.Hash) error {
	if p.Begin > size || p.End() > size {
		return fmt.Errorf("the leaves end at %d, the tree at %d", p.End(), size)
	}
	want := append(cover(0, p.Begin), cover(p.End(), size)...)
	if len(want) != len(p.Nodes) {
		return fmt.Errorf("the proof has %d hashes where %d are needed", len(p.Nodes), len(want))
	}
	if size == 0 {
		return nil
	}
	known := map[int64]tlog.Hash{} // by index of the stored hash
	type place struct {
		level int
		n     int64
	}
	var add func(place, tlog.Hash)
	add = func(at place, h tlog.Hash) { // and what follows from it with its sibling
		known[tlog.StoredHashIndex(at.level, at.n)] = h
		sibling, ok := known[tlog.StoredHashIndex(at.level, at.n^1)]
		switch {
		case !ok:
		case at.n&1 == 1:
			add(place{at.level + 1, at.n / 2}, tlog.NodeHash(sibling, h))
		default:
			add(place{at.level + 1, at.n / 2}, tlog.NodeHash(h, sibling))
		}
	}
	for i, n := range p.Nodes {
		if n.Level != want[i].Level || n.N != want[i].N {
			return fmt.Errorf("hash %d of the proof is of another subtree than is needed", i)
		}
		add(place{n.Level, n.N}, n.Hash)
	}
	for i, leaf := range p.Leaves {
		add(place{0, int64(p.Begin) + int64(i)}, tlog.RecordHash([]byte(leaf)))
	}
	got, err := tlog.TreeHash(int64(size), tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			h, ok := known[index]
			if !ok {
				return nil, errRange
			}
			out[i] = h
		}
		return out, nil
	}))
	if err != nil || got != root {
		return errRange
	}
	return nil
}
