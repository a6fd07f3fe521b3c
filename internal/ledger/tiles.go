package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/segment"
)

// tilePath is the path of a tile in C2SP tlog-tiles, relative to the log: tile/<L>/<N>[.p/<W>], tile/entries/…
func tilePath(t tlog.Tile) string {
	// tlog.Tile.Path is tile/<H>/<L>/<N>[.p/<W>], tile/<H>/data/…
	p := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", tileHeight))
	if rest, ok := strings.CutPrefix(p, "data/"); ok {
		p = "entries/" + rest
	}
	return tileDir + "/" + p
}

// parseTilePath is the inverse of tilePath.
func parseTilePath(p string) (tlog.Tile, bool) {
	rest, ok := strings.CutPrefix(p, tileDir+"/")
	if !ok || len(p) > 100 {
		return tlog.Tile{}, false
	}
	if n, ok := strings.CutPrefix(rest, "entries/"); ok {
		rest = "data/" + n
	} else if strings.HasPrefix(rest, "data/") {
		return tlog.Tile{}, false
	}
	t, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s", tileHeight, rest))
	return t, err == nil && tilePath(t) == p
}

// tileAt describes tile n of a level in a tree of that size; its width is 0 if the tree has no such tile.
func tileAt(level int, n int64, size uint64) tlog.Tile {
	hashes := int64(size >> (tileHeight * max(level, 0)))
	w := int64(0)
	if 0 <= n && n <= hashes/tileWidth {
		w = min(hashes-n*tileWidth, tileWidth)
	}
	return tlog.Tile{H: tileHeight, L: level, N: n, W: int(w)}
}

// allTiles calls yield for each hash tile of a tree of that size, level by level.
func allTiles(size uint64, yield func(tlog.Tile)) {
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		for n := int64(0); ; n++ {
			t := tileAt(level, n, size)
			if t.W == 0 {
				break
			}
			yield(t)
			if t.W < tileWidth {
				break
			}
		}
	}
}

// maxTile is the size of a full hash tile, in bytes.
const maxTile = tileWidth * tlog.HashSize

// tileData returns a tile or entry bundle: a tile from the disk if it is there, else computed from the segments. What is
// on the disk is not checked here; proofs are authenticated against a root, and Verify checks everything.
func (r *reader) tileData(t tlog.Tile) ([]byte, error) {
	if t.L == entriesLevel {
		return r.bundle(t)
	}
	b, err := r.storedTile(t)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	return r.computeTile(t, r.storedTile)
}

// storedTile reads a tile from the disk; a narrower one is the beginning of the one that superseded it.
func (r *reader) storedTile(t tlog.Tile) ([]byte, error) {
	var firstErr error
	for _, size := range []uint64{r.cp.Load().size, r.cp.Load().size} {
		stored := tileAt(t.L, t.N, size)
		if stored.W < t.W {
			return nil, fs.ErrNotExist
		}
		b, err := readFile(r.fs, r.path(tilePath(stored)), maxTile)
		if err != nil {
			// The projection may have replaced the partial tile just now; the second look sees the new checkpoint.
			firstErr = err
			continue
		}
		if len(b) >= t.W*tlog.HashSize {
			return b[:t.W*tlog.HashSize], nil
		}
		return nil, &CorruptError{File: tilePath(stored), Offset: -1, Index: firstIndex(t), Reason: "the tile is too short"}
	}
	return nil, firstErr
}

// firstIndex is the index of the first entry that a tile covers.
func firstIndex(t tlog.Tile) uint64 {
	return uint64(t.N) << (tileHeight * (t.L + 1))
}

// computeTile builds a hash tile from the segments, or from the tiles below it where child has them.
func (r *reader) computeTile(t tlog.Tile, child func(tlog.Tile) ([]byte, error)) ([]byte, error) {
	from := uint64(t.N) * tileWidth
	var data []byte
	if t.L == 0 {
		err := r.leaves(from, from+uint64(t.W), func(_ uint64, leaf []byte) {
			h := segment.LeafHash(leaf)
			data = append(data, h[:]...)
		})
		return data, err
	}
	for k := range t.W {
		below := tlog.Tile{H: tileHeight, L: t.L - 1, N: int64(from) + int64(k), W: tileWidth}
		b, err := child(below)
		if errors.Is(err, fs.ErrNotExist) {
			b, err = r.computeTile(below, child)
		}
		if err != nil {
			return nil, err
		}
		h := segment.Root(splitHashes(b))
		data = append(data, h[:]...)
	}
	return data, nil
}

func splitHashes(b []byte) []tlog.Hash {
	hashes := make([]tlog.Hash, len(b)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], b[i*tlog.HashSize:])
	}
	return hashes
}

func joinHashes(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

// edgeAt reads the right edge of the tree of that size from the tiles.
func (r *reader) edgeAt(size uint64) (edge, error) {
	e := edge{size: size}
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		t := tileAt(level, int64(size>>(tileHeight*(level+1))), size)
		var hashes []tlog.Hash
		if t.W > 0 {
			b, err := r.tileData(t)
			if err != nil {
				return edge{}, err
			}
			hashes = splitHashes(b)
		}
		e.levels = append(e.levels, hashes)
	}
	return e, nil
}

// readFile reads a whole file of at most limit bytes.
func readFile(fsys disk.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s is %d bytes long, more than %d", name, size, limit)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && !(err == io.EOF && n == len(b)) {
		return nil, err
	}
	return b, nil
}

// walkFiles calls yield for each file below dir/name with its path relative to dir and its size.
func walkFiles(fsys disk.FS, dir, name string, yield func(name string, size int64) error) error {
	infos, err := fsys.ReadDir(path.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, info := range infos {
		p := path.Join(name, info.Name)
		if info.Dir {
			err = walkFiles(fsys, dir, p, yield)
		} else {
			err = yield(p, info.Size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
