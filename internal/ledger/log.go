package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/segment"
)

// Log is a log open for writing. It is safe for concurrent use.
type Log struct {
	reader
	o    Options
	log  *slog.Logger
	lock io.Closer

	queue queue // entries on their way to the disk

	// Of the committer's goroutine only.
	active *active   // nil while there is none
	link   tlog.Hash // of the last acknowledged group
	front  frontier  // of the committed tree
	seq    uint64    // of the last segment that was begun
	size   int64     // of the next segment, in bytes
	rhythm rhythm
	next   chan preparedAt // the segment being prepared; nil if none is
	hurry  chan struct{}   // closed when that is wanted soon; nil then

	secured       atomic.Bool   // all entries found at the start are known to be durable
	projecting    chan struct{} // holds one token while somebody projects
	proj          projection
	projectedSize atomic.Uint64 // entries that have tiles
	projectKick   chan struct{} // tells that a whole step is due
	recent        recent

	sealing   sync.Mutex // held by whoever seals segments or rewrites sealed ones
	void      []string   // segments without entries found at the start
	sealKick  chan struct{}
	closing   chan struct{} // closed when Close begins
	committed chan struct{} // closed when all is released that was committed
	projected chan struct{}
	sealed    chan struct{}
	closeOnce sync.Once
	closeErr  error
}

func (o Options) withDefaults() (Options, error) {
	if err := checkOrigin(o.Origin); err != nil {
		return o, err
	}
	if o.Verifier == nil || o.Verifier.Name() != o.Origin {
		return o, fmt.Errorf("the log %s needs a verifier key of that name", o.Origin)
	}
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	setDefault(&o.FirstSegment, 1<<20)
	setDefault(&o.MaxSegment, 64<<20)
	o.FirstSegment = max(o.FirstSegment, minSegment)
	o.MaxSegment = max(o.MaxSegment, o.FirstSegment)
	setDefault(&o.CheckpointEvery, time.Second)
	setDefault(&o.MaxLag, 500_000)
	setDefault(&o.MaxQueue, 64<<20)
	setDefault(&o.RetryEvery, time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Open opens the log in dir for writing and creates it if there is none. It cuts off writes that were never
// acknowledged and builds again the tiles and the checkpoint if they are missing. One opener at a time: ErrLocked.
// ErrShorterThanCheckpoint and ErrCorrupt (*CorruptError) mean that the log must not be written. A log whose disk is
// full opens, and is unavailable until there is space.
func Open(dir string, o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Signer == nil || o.Signer.Name() != o.Origin {
		return nil, fmt.Errorf("the log %s needs a signing key of that name", o.Origin)
	}
	for _, d := range []string{dir, path.Join(dir, segmentsDir), path.Join(dir, tmpDir)} {
		if err := o.FS.MkdirAll(d); err != nil {
			return nil, err
		}
	}
	lock, err := o.FS.Lock(path.Join(dir, lockName))
	if errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("%s is open in another process; stop that one first: %w", dir, ErrLocked)
	}
	if err != nil {
		return nil, err
	}
	l := &Log{
		reader:      reader{dir: dir, fs: o.FS, origin: o.Origin},
		o:           o,
		log:         o.Logger,
		lock:        lock,
		size:        o.FirstSegment,
		projecting:  make(chan struct{}, 1),
		projectKick: make(chan struct{}, 1),
		sealKick:    make(chan struct{}, 1),
		closing:     make(chan struct{}),
		committed:   make(chan struct{}),
		projected:   make(chan struct{}),
		sealed:      make(chan struct{}),
	}
	if err := l.open(); err != nil {
		lock.Close()
		return nil, err
	}
	go l.commitLoop()
	go l.projectLoop()
	go l.sealLoop()
	return l, nil
}

// open recovers the state from the disk.
func (l *Log) open() error {
	if err := l.clearTmp(); err != nil {
		return err
	}
	if err := l.syncDirs(); err != nil {
		return err
	}
	found, err := load(l.fs, l.dir, l.origin, nil)
	if err != nil {
		return err
	}
	if found.torn != "" {
		l.log.Warn("A write that was never acknowledged was cut off the log's end.", "origin", l.origin, "at", found.torn)
	}
	l.segs.Store(&found.segs)
	l.link, l.seq, l.void = found.link, found.maxSeq, found.void
	for _, name := range found.stale {
		if err := l.fs.Remove(l.path(name)); err != nil {
			return err
		}
	}

	cp, err := loadCheckpoint(l.fs, l.dir, l.o)
	if err != nil {
		return err
	}
	signed, err := lastSigned(l.o.LastSigned, l.o.Origin, l.o.Verifier)
	if err != nil {
		return err
	}
	if most := max(cp.size, signed.size); most > found.size {
		return &ShorterError{Entries: found.size, Checkpoint: most}
	}
	l.cp.Store(&cp)
	l.head.Store(&head{size: found.size})
	if err := l.restoreProjection(); err != nil {
		return err
	}
	l.front = l.proj.edge.frontier()
	if err := l.extend(&l.front, found.size); err != nil {
		return err
	}
	l.head.Store(&head{size: l.front.size, root: l.front.root()})
	l.queue.init(l.front.size)
	if root, err := l.TreeHash(signed.size); err != nil {
		return err
	} else if root != signed.root {
		return &CorruptError{File: segmentsDir, Offset: -1, Reason: otherHistory(signed.size)}
	}
	if n, err := l.removeBundles(bundleDir); err != nil {
		return err
	} else if n > 0 {
		l.log.Info("Entry bundles that an earlier version stored were removed; they are made from the segments now.",
			"origin", l.origin, "count", n)
	}

	l.tryAgain()
	if !l.secured.Load() {
		return nil
	}
	if err := l.project(); err != nil {
		l.log.Warn("The log's tiles and checkpoint could not be written; trying again.", "origin", l.origin, "error", err)
	}
	return nil
}

// clearTmp removes what an interrupted write has left.
func (l *Log) clearTmp() error {
	infos, err := l.fs.ReadDir(l.path(tmpDir))
	if err != nil {
		return err
	}
	for _, info := range infos {
		if err := l.fs.Remove(l.path(tmpDir + "/" + info.Name)); err != nil {
			return err
		}
	}
	return nil
}

// syncDirs makes the log's own directories durable. On a full disk it may fail, and is done again with the first segment.
func (l *Log) syncDirs() error {
	for _, d := range []string{path.Dir(path.Clean(l.dir)), l.dir} {
		if err := l.fs.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// loadCheckpoint reads the last checkpoint; the zero checkpoint if there is none.
func loadCheckpoint(fsys disk.FS, dir string, o Options) (checkpoint, error) {
	b, err := readFile(fsys, path.Join(dir, checkpointName), maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return checkpoint{root: segment.Root(nil)}, nil
	}
	if err != nil {
		return checkpoint{}, err
	}
	cp, err := parseCheckpoint(b, o.Origin, o.Verifier)
	if err != nil {
		return checkpoint{}, &CorruptError{File: checkpointName, Offset: -1, Reason: err.Error()}
	}
	return cp, nil
}

// extend appends the leaves up to size to a frontier.
func (r *reader) extend(f *frontier, size uint64) error {
	hashes := make([]tlog.Hash, 0, min(size-f.size, 1<<10))
	err := r.leaves(f.size, size, func(_ uint64, leaf []byte) {
		hashes = append(hashes, segment.LeafHash(leaf))
		if len(hashes) == cap(hashes) {
			f.append(hashes)
			hashes = hashes[:0]
		}
	})
	f.append(hashes)
	return err
}

// restoreProjection finds out which tiles are there, builds the missing ones again, and sets l.proj to the checkpoint.
func (l *Log) restoreProjection() error {
	cp := l.cp.Load()
	missing, err := l.checkTileFiles(cp.size)
	if err != nil {
		return err
	}
	e, err := l.edgeAt(cp.size)
	if err == nil && frontierRoot(e) == cp.root {
		l.proj = projection{edge: e, partials: cp.size}
		l.projectedSize.Store(cp.size)
		return l.rebuild(missing)
	}
	// The tiles are unreadable or do not lead to the checkpoint. The segments decide.
	var f frontier
	if err := l.extend(&f, cp.size); err != nil {
		return err
	}
	if f.root() != cp.root {
		return &CorruptError{File: checkpointName, Offset: -1,
			Reason: fmt.Sprintf("the checkpoint was signed for other entries than the first %d in the segments", cp.size)}
	}
	l.log.Warn("The log's tiles are damaged; they are built again from the segments.", "origin", l.origin)
	for l.proj.edge.size < cp.size {
		if err := l.projectTo(min(cp.size, l.proj.edge.size+projectStep), cp.size); err != nil {
			return err
		}
	}
	return nil
}

func frontierRoot(e edge) tlog.Hash {
	f := e.frontier()
	return f.root()
}

// checkTileFiles compares the tile files with those of a tree of that size: it returns the missing ones (or those of a
// wrong length) and removes partial tiles that were superseded.
func (l *Log) checkTileFiles(size uint64) ([]tlog.Tile, error) {
	have := map[string]int64{}
	err := walkFiles(l.fs, l.dir, tileDir, func(name string, size int64) error {
		have[name] = size
		return nil
	})
	if err != nil {
		return nil, err
	}
	var missing []tlog.Tile
	allTiles(size, func(t tlog.Tile) {
		p := tilePath(t)
		n, ok := have[p]
		delete(have, p)
		if !ok || n != int64(t.W)*tlog.HashSize {
			missing = append(missing, t)
		}
	})
	for p := range have {
		if t, ok := parseTilePath(p); !ok || t.L == entriesLevel || t.W == tileWidth {
			// Not ours to remove, or written ahead of a checkpoint that was never published; then it is written again.
			continue
		}
		if err := l.fs.Remove(l.path(p)); err != nil {
			return nil, err
		}
		_ = l.fs.Remove(path.Dir(l.path(p))) // the directory of partial tiles, if that was the last
	}
	return missing, nil
}

// rebuild writes tiles again from the segments.
func (l *Log) rebuild(tiles []tlog.Tile) error {
	if len(tiles) > 0 {
		l.log.Warn("Tiles are missing; they are built again from the segments.", "origin", l.origin, "count", len(tiles))
	}
	for len(tiles) > 0 {
		w := fileBatch{fs: l.fs, dir: l.dir}
		n := min(len(tiles), projectStep/tileWidth)
		for _, t := range tiles[:n] {
			data, err := l.computeTile(t, l.storedTile)
			if err != nil {
				w.discard()
				return err
			}
			w.add(tilePath(t), data)
		}
		if err := w.commit(); err != nil {
			return err
		}
		tiles = tiles[n:]
	}
	return nil
}

// Close commits what waits, publishes a last checkpoint and releases the log. It returns the first error, but always
// closes. Further calls return the same.
func (l *Log) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Log) close() error {
	l.queue.close()
	close(l.closing)
	<-l.committed
	<-l.projected
	<-l.sealed
	err := l.queue.failure()
	if l.secured.Load() {
		_, cpErr := l.CheckpointNow(context.Background())
		err = errors.Join(err, cpErr)
	}
	return errors.Join(err, l.closeSegment(), l.lock.Close())
}
