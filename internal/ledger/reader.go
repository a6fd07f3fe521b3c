package ledger

import (
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aver-authz/aver/internal/ledger/disk"
)

// Reader reads a log that nobody writes, or that another process writes at the same time. It never writes anything. It
// shows the log as of OpenReader or the last Refresh, always a prefix of what is committed. It is safe for concurrent
// use.
type Reader struct {
	reader
	o       Options
	mu      sync.Mutex    // held by Refresh
	written atomic.Uint64 // entries that were there at the last Refresh, the last group included
}

// OpenReader opens the log in dir for reading. Of the options, it needs Origin and Verifier. Errors: ErrCorrupt,
// ErrShorterThanCheckpoint.
func OpenReader(dir string, o Options) (*Reader, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, err := o.FS.ReadDir(path.Join(dir, segmentsDir)); err != nil {
		return nil, fmt.Errorf("%s holds no log: %w", dir, err)
	}
	r := &Reader{reader: reader{dir: dir, fs: o.FS, origin: o.Origin}, o: o}
	r.segs.Store(new([]*seg))
	r.cp.Store(&checkpoint{})
	r.head.Store(&head{})
	if err := r.Refresh(); err != nil {
		return nil, err
	}
	return r, nil
}

// Close ends the use of the reader. It holds nothing open; it is there so that Reader and Log can be used alike.
func (r *Reader) Close() error { return nil }

// settleEvery is how often [Reader.Settle] looks again.
const settleEvery = 20 * time.Millisecond

// Settle waits until the reader shows every entry that was written when it was called. While somebody writes the log,
// its last group shows only once a later group or a checkpoint proves that it was acknowledged: so whoever asks for what
// they have just been answered calls Settle first. It gives up after most, which is no error: a write that is never
// acknowledged never shows.
func (r *Reader) Settle(most time.Duration) error {
	want := r.written.Load()
	for deadline := time.Now().Add(most); ; time.Sleep(settleEvery) {
		if size, _ := r.Head(); size >= want || time.Now().After(deadline) {
			return nil
		}
		if err := r.Refresh(); err != nil {
			return err
		}
	}
}

// Refresh takes in what was committed since. After an error the reader shows what it showed before.
func (r *Reader) Refresh() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := map[string]*seg{}
	for _, s := range *r.segs.Load() {
		if s.sealed != nil {
			known[s.name] = s
		}
	}
	v, err := look(r.fs, r.dir, r.o, known)
	if err != nil {
		return err
	}
	// Look at it through a reader of its own first, so that nobody sees a new part with an old one.
	next := reader{dir: r.dir, fs: r.fs, origin: r.origin}
	next.segs.Store(&v.segs)
	next.cp.Store(&v.cp)
	next.head.Store(&head{size: v.size})
	e, err := next.edgeAt(v.cp.size)
	f := frontier{}
	if err == nil && frontierRoot(e) == v.cp.root {
		f = e.frontier()
	} // else the tiles are missing or damaged, and all leaves are read
	if err := next.extend(&f, v.size); err != nil {
		return err
	}
	r.segs.Store(&v.segs)
	r.head.Store(&head{size: f.size, root: f.root()})
	r.cp.Store(&v.cp)
	r.written.Store(v.loaded.size)
	return nil
}

// view is a log as another process may read it.
type view struct {
	*loaded
	cp   checkpoint
	size uint64 // entries that are certainly committed
	live bool   // somebody writes the log
}

// look reads the state of a log that somebody else may be writing.
func look(fsys disk.FS, dir string, o Options, known map[string]*seg) (view, error) {
	var v view
	lock := path.Join(dir, lockName)
	before, err := fsys.Locked(lock)
	if err != nil {
		return view{}, err
	}
	// The checkpoint first: what it covers is in the segments before it is written.
	if v.cp, err = loadCheckpoint(fsys, dir, o); err != nil {
		return view{}, err
	}
	if v.loaded, err = load(fsys, dir, o.Origin, known); err != nil {
		return view{}, err
	}
	after, err := fsys.Locked(lock)
	if err != nil {
		return view{}, err
	}
	v.live = before || after
	v.size = v.loaded.size
	if v.live {
		// The last group may be on its way to the disk. An earlier one was acknowledged before the next was begun.
		v.size = max(v.lastGroup, v.cp.size)
	}
	if v.cp.size > v.loaded.size {
		return view{}, &ShorterError{Entries: v.loaded.size, Checkpoint: v.cp.size}
	}
	return v, nil
}
