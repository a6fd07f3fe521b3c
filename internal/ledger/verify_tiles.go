package ledger

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"runtime"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/segment"
)

// tileFiles are the tile files on the disk: for each tile the widths that are there.
type tileFiles struct {
	mu     sync.Mutex
	widths map[tilePos][]int
}

type tilePos struct {
	level int
	n     int64
}

// take removes and returns the widths of a tile.
func (t *tileFiles) take(p tilePos) []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.widths[p]
	delete(t.widths, p)
	return w
}

func (v *verifier) listTiles() (*tileFiles, error) {
	tiles := &tileFiles{widths: map[tilePos][]int{}}
	stored := 0 // entry bundles
	err := walkFiles(v.fs, v.dir, tileDir, func(name string, size int64) error {
		t, ok := parseTilePath(name)
		if !ok {
			v.finding(name, -1, 0, "this does not belong to the log")
			return nil
		}
		if t.L == entriesLevel {
			stored++
			return nil
		}
		p := tilePos{t.L, t.N}
		tiles.widths[p] = append(tiles.widths[p], t.W)
		return nil
	})
	if stored > 0 {
		v.note(bundleDir, -1, 0, "entry bundles that an earlier version of Aver has stored (%d) were not checked, since nothing reads "+
			"them; the next start removes them", stored)
	}
	return tiles, err
}

// verifiedTree is the tree as the segments have it. It compares each tile with the files on the way.
type verifiedTree struct {
	v         *verifier
	tiles     *tileFiles
	size      uint64
	link      tlog.Hash
	lastGroup uint64
	broken    bool // some entries are not known, so nothing after them can be compared

	hashes  []tlog.Hash // of the incomplete level 0 tile
	mu      sync.Mutex
	roots   []tlog.Hash            // of the full level 0 tiles
	kept    map[uint64][]tlog.Hash // level 0 tiles whose hashes root needs, by number
	workers sync.WaitGroup
	slots   chan struct{}
}

func newVerifiedTree(v *verifier, tiles *tileFiles) *verifiedTree {
	return &verifiedTree{
		v: v, tiles: tiles, link: segment.OriginLink(v.o.Origin), kept: map[uint64][]tlog.Hash{},
		slots: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
}

// add takes in a segment; they come in order.
func (t *verifiedTree) add(res segmentResult) {
	if res.broken {
		t.broken = true
	}
	if !res.used {
		return
	}
	if res.job.duplicate {
		t.v.note(res.job.name, -1, res.header.Base, "sealing was interrupted before this file was removed; the next start removes it")
		return
	}
	if t.broken {
		return
	}
	if res.header.Base != t.size || res.header.Prev != t.link {
		t.v.finding(res.job.name, 0, t.size, "the segment begins at entry %d and does not continue the one before it: "+
			"a segment is missing or was replaced", res.header.Base)
		t.broken = true
		return
	}
	for _, h := range res.hashes {
		t.hashes = append(t.hashes, h)
		t.size++
		if len(t.hashes) == tileWidth {
			t.complete()
		}
	}
	t.link, t.lastGroup = res.last, res.lastGroup
}

// complete compares the tile that has just become full, in the background.
func (t *verifiedTree) complete() {
	hashes := t.hashes
	t.hashes = nil
	n := t.size/tileWidth - 1
	t.mu.Lock()
	t.roots = append(t.roots, tlog.Hash{})
	t.mu.Unlock()
	t.keep(n, hashes)
	t.slots <- struct{}{}
	t.workers.Go(func() {
		defer func() { <-t.slots }()
		root := segment.Root(hashes)
		t.mu.Lock()
		t.roots[n] = root
		t.mu.Unlock()
		t.compare(0, int64(n), hashes)
	})
}

// keep remembers the hashes of a tile if a root within it may be asked for: that of the checkpoint, or one shortly
// before the end.
func (t *verifiedTree) keep(n uint64, hashes []tlog.Hash) {
	if t.asked(n) || t.v.live {
		t.kept[n] = hashes
	}
	if t.v.live && n >= maxGroupTiles {
		if old := n - maxGroupTiles; !t.asked(old) {
			delete(t.kept, old)
		}
	}
}

// asked tells whether a tile holds the end of a tree that a checkpoint was signed for.
func (t *verifiedTree) asked(n uint64) bool {
	return n == t.v.cp.size/tileWidth || n == t.v.signed.size/tileWidth
}

// maxGroupTiles is how many tiles one group can span at most, a record being 12 bytes at least.
const maxGroupTiles = maxGroup/12/tileWidth + 2

// finish compares what is incomplete at the end, the higher levels, and reports files that nothing accounts for.
func (t *verifiedTree) finish() {
	t.workers.Wait()
	n := t.size / tileWidth
	t.kept[n] = t.hashes
	if t.broken {
		t.v.note(tileDir, -1, t.size, "tiles could not be compared with the segments from entry %d on", t.size)
		return
	}
	if len(t.hashes) > 0 {
		t.compare(0, int64(n), t.hashes)
	}
	hashes := t.roots
	for level := 1; len(hashes) > 0; level++ {
		var above []tlog.Hash
		for n := 0; n*tileWidth < len(hashes); n++ {
			tile := hashes[n*tileWidth : min((n+1)*tileWidth, len(hashes))]
			t.compare(level, int64(n), tile)
			if len(tile) == tileWidth {
				above = append(above, segment.Root(tile))
			}
		}
		hashes = above
	}
	for p, widths := range t.tiles.widths {
		for _, w := range widths {
			tile := tlog.Tile{H: tileHeight, L: p.level, N: p.n, W: w}
			t.v.finding(tilePath(tile), -1, firstIndex(tile), "the tile covers entries that the segments do not hold")
		}
	}
}

// compare checks the files of a tile against what the segments say.
func (t *verifiedTree) compare(level int, n int64, hashes []tlog.Hash) {
	v, data := t.v, joinHashes(hashes)
	need := tileAt(level, n, v.cp.size).W // width that the checkpoint promises
	covered := need == 0
	for _, w := range t.tiles.take(tilePos{level, n}) {
		tile := tlog.Tile{H: tileHeight, L: level, N: n, W: w}
		name := tilePath(tile)
		if w > len(hashes) {
			v.finding(name, -1, firstIndex(tile), "the tile covers entries that the segments do not hold")
			continue
		}
		got, err := readFile(v.fs, path.Join(v.dir, name), maxTile)
		if errors.Is(err, fs.ErrNotExist) && v.live {
			covered = true // superseded since the directory was read
			continue
		}
		if err != nil {
			v.finding(name, -1, firstIndex(tile), "the tile cannot be read: %s", err)
			continue
		}
		want := data[:w*tlog.HashSize]
		covered = covered || w >= need
		if !bytes.Equal(got, want) {
			at := firstDifference(got, want)
			v.finding(name, at, firstIndex(tile), "the tile is not what the segments say")
			continue
		}
		if w != tileWidth && w != need && !v.live {
			v.note(name, -1, firstIndex(tile), "a partial tile without a checkpoint of its size; the next start removes it")
		}
	}
	if !covered {
		tile := tlog.Tile{H: tileHeight, L: level, N: n, W: need}
		v.finding(tilePath(tile), -1, firstIndex(tile), "the tile is missing, although the checkpoint covers it")
	}
}

func firstDifference(a, b []byte) int64 {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int64(i)
		}
	}
	return int64(min(len(a), len(b)))
}

// root is the root of the first size entries; the zero hash if they are not all known.
func (t *verifiedTree) root(size uint64) tlog.Hash {
	n := size / tileWidth
	if size > t.size || n > uint64(len(t.roots)) {
		return tlog.Hash{}
	}
	nodes := append([]tlog.Hash(nil), t.roots[:n]...)
	if w := size % tileWidth; w > 0 {
		kept := t.kept[n]
		if uint64(len(kept)) < w {
			return tlog.Hash{}
		}
		nodes = append(nodes, segment.Root(kept[:w]))
	}
	return segment.Root(nodes)
}
