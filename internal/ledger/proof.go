package ledger

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/segment"
)

// InclusionProof proves entry i in the tree of the given size, for tlog.CheckRecord. ErrNotFound if there is no such
// tree or entry yet; ErrCorrupt if the tiles do not lead to the root.
func (r *reader) InclusionProof(i, size uint64) (tlog.RecordProof, error) {
	if i >= size {
		return nil, fmt.Errorf("entry %d of a tree of %d entries: %w", i, size, ErrNotFound)
	}
	hr, err := r.hashReader(size)
	if err != nil {
		return nil, err
	}
	p, err := tlog.ProveRecord(int64(size), int64(i), hr)
	return p, proofError(err)
}

// ConsistencyProof proves that the tree of size older is a prefix of the tree of size newer, for tlog.CheckTree. Both
// are at least 1.
func (r *reader) ConsistencyProof(older, newer uint64) (tlog.TreeProof, error) {
	if older < 1 || older > newer {
		return nil, fmt.Errorf("no consistency proof from size %d to size %d: %w", older, newer, ErrNotFound)
	}
	hr, err := r.hashReader(newer)
	if err != nil {
		return nil, err
	}
	p, err := tlog.ProveTree(int64(newer), int64(older), hr)
	return p, proofError(err)
}

// TreeHash returns the root of the tree of the given size; ErrNotFound if the log is shorter.
func (r *reader) TreeHash(size uint64) (tlog.Hash, error) {
	if size == 0 {
		return segment.Root(nil), nil
	}
	hr, err := r.hashReader(size)
	if err != nil {
		return tlog.Hash{}, err
	}
	h, err := tlog.TreeHash(int64(size), hr)
	return h, proofError(err)
}

// Hashes reads the stored hashes (see tlog.StoredHashIndex) of the tree of the given size, each checked against that
// tree's root before it is given out. ErrNotFound if the log is shorter.
func (r *reader) Hashes(size uint64) (tlog.HashReader, error) { return r.hashReader(size) }

// hashReader reads hashes of trees up to that size, authenticated against the checkpoint if it is long enough (all its
// tiles are on the disk), else against the head.
func (r *reader) hashReader(size uint64) (tlog.HashReader, error) {
	anchor := tlog.Tree{}
	if cp := r.cp.Load(); size <= cp.size {
		anchor = tlog.Tree{N: int64(cp.size), Hash: cp.root}
	} else if h := r.head.Load(); size <= h.size {
		anchor = tlog.Tree{N: int64(h.size), Hash: h.root}
	} else {
		return nil, fmt.Errorf("a tree of %d entries: %w", size, ErrNotFound)
	}
	return tlog.TileHashReader(anchor, tileReader{r}), nil
}

// tileReader lets x/mod's tlog read our tiles.
type tileReader struct{ r *reader }

func (t tileReader) Height() int { return tileHeight }

func (t tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		b, err := t.r.tileData(tile)
		if err != nil {
			return nil, err
		}
		data[i] = b
	}
	return data, nil
}

func (t tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// proofError names what tlog's "downloaded inconsistent tile" means here.
func proofError(err error) error {
	if err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "inconsistent tile") {
		return err
	}
	return &CorruptError{File: tileDir, Offset: -1,
		Reason: "a tile does not lead to the log's root; aver verify names it; delete the directory and start again to have it rebuilt"}
}
