// Package index finds decisions by what a query says about them. It follows both
// logs and holds nothing that they do not: delete it, and it is built again.
//
// It lies in files of SQLite, each of a fixed number of entries of the decision
// log, so that adding to it touches little, and the index of what is no longer
// kept goes by deleting a file. In each, it is an inverted index: sets of entries
// by value, of which a query is an expression. [query.Query.Match] is what they
// must agree with.
package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
)

// Log is a log to follow.
type Log interface {
	Origin() string
	Head() (size uint64, root tlog.Hash)
	Entries(from, to uint64) iter.Seq2[ledger.Indexed, error]
	Leaf(i uint64) ([]byte, error)
}

// Options configure an [Index]. What has no default beside it is required.
type Options struct {
	Dir                  string // of the index, made if it is not there
	Decisions, Authority Log
	// Partition is how many entries of the decision log one file holds, a multiple
	// of 4,096; 0 means 262,144. An index of another size is built again.
	Partition uint64
	// Handed are decisions that this process records; nil: all are read from the log.
	Handed *Handover
	// ReadOnly opens the index that another process writes.
	ReadOnly bool
	Logger   *slog.Logger // nil discards
}

// ErrClosed: the index was closed.
var ErrClosed = errors.New("the search index is closed")

// ErrLocked: another process writes the index; open it ReadOnly.
var ErrLocked = disk.ErrLocked

// Index is an open index. It is safe for concurrent use; [Index.Refresh] and
// [Index.Run] exclude each other.
type Index struct {
	o    Options
	lock io.Closer

	following sync.Mutex    // held by Refresh
	next      atomic.Uint64 // entries of the decision log that are indexed
	authority atomic.Uint64 // events of the authority log that are
	damage    atomic.Pointer[damagedError]
	wake      chan struct{} // tells Run to look at once
	pace      pace          // of Run

	mu     sync.RWMutex // of the list; held for reading while partitions are used
	parts  []*partition // by first entry
	closed bool

	waiting sync.Mutex
	moved   chan struct{} // closed, and another made, when next moves
}

// Open opens the index, and makes it if there is none. What is damaged, or of
// another version, is thrown away; Refresh builds it again. ErrLocked if another
// process writes it.
func Open(ctx context.Context, o Options) (*Index, error) {
	if o.Partition == 0 {
		o.Partition = 1 << 18
	}
	if o.Partition%blockRows != 0 {
		return nil, fmt.Errorf("index: a partition of %d entries is not a multiple of %d", o.Partition, blockRows)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	x := &Index{o: o, wake: make(chan struct{}, 1), moved: make(chan struct{})}
	if !o.ReadOnly {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
		var err error
		if x.lock, err = (disk.OS{}).Lock(filepath.Join(o.Dir, "lock")); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
		if err := begin(o.Dir, bootID()); err != nil {
			return nil, errors.Join(err, x.Close())
		}
	}
	if err := x.load(ctx); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// partitions lists the first entries of the partitions in a directory.
func partitions(dir string) ([]uint64, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("index: %w", err)
	}
	var out []uint64
	for _, f := range files {
		if first, ok := parseFileName(f.Name()); ok {
			out = append(out, first)
		}
	}
	slices.Sort(out)
	return out, nil
}

// load opens the partitions that are there. From the first one on that can't be
// used, they are dropped, so that what is left is without gaps; older ones may
// have been deleted on purpose.
func (x *Index) load(ctx context.Context) error {
	firsts, err := partitions(x.o.Dir)
	if err != nil {
		return err
	}
	size, _ := x.o.Decisions.Head()
	events, _ := x.o.Authority.Head()
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, first := range firsts {
		p, err := openPartition(ctx, x.o.Dir, first, x.o.Partition, x.o.Decisions.Origin(), false)
		var next, authority uint64
		if err == nil {
			if next, authority, err = p.cursor(ctx); err != nil {
				p.close()
			} else {
				p.closeIdle()
			}
		}
		expected := first
		if n := len(x.parts); n > 0 {
			expected = x.parts[n-1].first + x.o.Partition
		}
		switch {
		case err != nil:
		case first%x.o.Partition != 0 || first != expected || next < first || next > first+x.o.Partition || next > size || authority > events,
			next < first+x.o.Partition && i < len(firsts)-1:
			err = errors.Join(&damagedError{first, errContent}, p.close())
		}
		if err != nil {
			var bad *damagedError
			if !errors.As(err, &bad) {
				return err
			}
			if x.o.ReadOnly {
				return err
			}
			x.o.Logger.Warn("a part of the search index can't be used and is built again", "from_entry", first, "error", err)
			for _, drop := range firsts[i:] {
				if err := removePartition(x.o.Dir, drop); err != nil {
					return fmt.Errorf("index: %w", err)
				}
			}
			break
		}
		p.pace = &x.pace
		x.parts = append(x.parts, p)
	}
	return x.position(ctx)
}

// position reads how far the index goes from its newest partition. The lock is
// held.
func (x *Index) position(ctx context.Context) error {
	if len(x.parts) == 0 {
		x.next.Store(0)
		x.authority.Store(0)
		return nil
	}
	next, authority, err := x.parts[len(x.parts)-1].cursor(ctx)
	if err != nil {
		return err
	}
	x.next.Store(next)
	x.authority.Store(authority)
	return nil
}

// Reload takes in what another process wrote since a ReadOnly index was opened.
func (x *Index) Reload(ctx context.Context) error {
	firsts, err := partitions(x.o.Dir)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	known := map[uint64]bool{}
	for _, p := range x.parts {
		known[p.first] = true
	}
	for _, first := range firsts {
		if known[first] {
			continue
		}
		p, err := openPartition(ctx, x.o.Dir, first, x.o.Partition, x.o.Decisions.Origin(), false)
		if err != nil {
			return err
		}
		p.pace = &x.pace
		x.parts = append(x.parts, p)
	}
	return x.position(ctx)
}

// drop throws away the partitions that hold entries from first on; the next
// refresh builds them again. Following is held.
func (x *Index) drop(ctx context.Context, first uint64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	keep := x.parts[:0:0]
	for _, p := range x.parts {
		if p.first+p.size <= first {
			keep = append(keep, p)
			continue
		}
		errs = append(errs, p.close(), removePartition(x.o.Dir, p.first))
	}
	x.parts = keep
	errs = append(errs, x.position(ctx))
	x.authority.Store(0) // what concerns the dropped entries comes again
	x.damage.Store(nil)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// Status says how far the index goes.
type Status struct {
	Indexed    uint64 `json:"indexed"`    // entries of the decision log
	Log        uint64 `json:"log"`        // entries that are there
	Events     uint64 `json:"events"`     // events of the authority log
	Authority  uint64 `json:"authority"`  // events that are there
	From       uint64 `json:"from"`       // the first entry that is indexed
	Partitions int    `json:"partitions"` // files
	Bytes      int64  `json:"bytes"`      // on the disk
}

// Lag is how many entries are not indexed yet.
func (s Status) Lag() uint64 { return s.Log - min(s.Log, s.Indexed) }

// Status returns how far the index goes.
func (x *Index) Status() Status {
	s := Status{Indexed: x.next.Load(), Events: x.authority.Load()}
	s.Log, _ = x.o.Decisions.Head()
	s.Authority, _ = x.o.Authority.Head()
	x.mu.RLock()
	defer x.mu.RUnlock()
	s.Partitions = len(x.parts)
	if len(x.parts) > 0 {
		s.From = x.parts[0].first
	}
	for _, p := range x.parts {
		for _, name := range []string{p.file, p.file + "-wal"} {
			if info, err := os.Stat(name); err == nil {
				s.Bytes += info.Size()
			}
		}
	}
	return s
}

// Indexed is how many entries of the decision log are indexed.
func (x *Index) Indexed() uint64 { return x.next.Load() }

// move says that entries up to next are indexed.
func (x *Index) move(next uint64) {
	x.next.Store(next)
	x.expect()
	x.waiting.Lock()
	defer x.waiting.Unlock()
	close(x.moved)
	x.moved = make(chan struct{})
}

// expect tells the process what is of use to hand over.
func (x *Index) expect() {
	if x.o.Handed != nil && !x.o.ReadOnly {
		x.o.Handed.expect(x.next.Load())
	}
}

// Await asks [Index.Run] to go on at once, and waits until so many entries are
// indexed, or the context ends.
func (x *Index) Await(ctx context.Context, entries uint64) error {
	x.pace.hurried.Add(1)
	defer x.pace.hurried.Add(-1)
	for {
		x.waiting.Lock()
		moved := x.moved
		x.waiting.Unlock()
		if x.next.Load() >= entries {
			return nil
		}
		select {
		case x.wake <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close closes the index. Run and Refresh have ended by then.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	for _, p := range x.parts {
		errs = append(errs, p.close())
	}
	x.parts, x.closed = nil, true
	if x.o.Handed != nil {
		x.o.Handed.stop()
	}
	if x.lock != nil {
		if errors.Join(errs...) == nil {
			errs = append(errs, end(x.o.Dir))
		}
		errs = append(errs, x.lock.Close())
		x.lock = nil
	}
	return errors.Join(errs...)
}

// Remove deletes the index in a directory that nobody writes. ErrLocked if
// somebody does.
func Remove(dir string) error {
	firsts, err := partitions(dir)
	if err != nil || len(firsts) == 0 {
		return err
	}
	lock, err := (disk.OS{}).Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	errs := []error{}
	for _, first := range firsts {
		errs = append(errs, removePartition(dir, first))
	}
	if err := os.Remove(filepath.Join(dir, markName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, lock.Close())...)
}
