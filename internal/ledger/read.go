package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"sort"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/segment"
)

// reader is what Log and Reader share: everything that reads. Safe for concurrent use.
type reader struct {
	dir    string
	fs     disk.FS
	origin string
	segs   atomic.Pointer[[]*seg] // with entries, in order; replaced as a whole
	head   atomic.Pointer[head]
	cp     atomic.Pointer[checkpoint]
	cache  cache
}

// head is the end of the committed log.
type head struct {
	size uint64
	root tlog.Hash
}

func (r *reader) path(name string) string { return path.Join(r.dir, name) }

// Head returns the number of committed entries and the root of their tree. It takes no lock and does no I/O.
func (r *reader) Head() (size uint64, root tlog.Hash) {
	h := r.head.Load()
	return h.size, h.root
}

// Checkpoint returns the last signed checkpoint, a C2SP signed note; nil if there is none yet. Don't change it.
func (r *reader) Checkpoint() []byte { return r.cp.Load().note }

// Origin is the log's origin.
func (r *reader) Origin() string { return r.origin }

// Entry returns the entry with that index; ErrNotFound if it is not committed. Don't change it. With ErrErased, which
// says that payload and private part were taken out of the log, comes the entry with its leaf.
func (r *reader) Entry(i uint64) (Entry, error) {
	if i >= r.head.Load().size {
		return Entry{}, fmt.Errorf("entry %d: %w", i, ErrNotFound)
	}
	var e Entry
	err := r.withSegment(i, func(s *seg) error {
		b, err := r.block(s, i)
		if err == nil {
			e = b.entries[i-b.first]
		}
		return err
	})
	if err == nil && e.Erased {
		err = fmt.Errorf("entry %d: %w", i, ErrErased)
	}
	return e, err
}

// Leaf returns the leaf of the entry with that index; ErrNotFound if it is not committed. Don't change it.
func (r *reader) Leaf(i uint64) ([]byte, error) {
	e, err := r.Entry(i)
	if errors.Is(err, ErrErased) {
		err = nil
	}
	return e.Leaf, err
}

// Entries yields the entries from (included) to to (excluded), in order; the slices stay valid and must not be
// changed. Of those that were erased it yields the leaf: see Entry.Erased. It fails with ErrNotFound at the first entry
// that is not committed. After an error it ends.
func (r *reader) Entries(from, to uint64) iter.Seq2[Indexed, error] {
	return r.entries(from, to, false)
}

// Leaves is [reader.Entries] for who needs the leaves only: payloads and private parts may be left out.
func (r *reader) Leaves(from, to uint64) iter.Seq2[Indexed, error] { return r.entries(from, to, true) }

func (r *reader) entries(from, to uint64, leavesOnly bool) iter.Seq2[Indexed, error] {
	return func(yield func(Indexed, error) bool) {
		size := r.head.Load().size
		next := from
		err := r.blocks(from, min(to, size), leavesOnly, func(b entryBlock) bool {
			for k, e := range b.entries {
				next = b.first + uint64(k) + 1
				if !yield(Indexed{Index: next - 1, Entry: e}, nil) {
					return false
				}
			}
			return true
		})
		if err == nil && to > size && next >= size {
			err = fmt.Errorf("entry %d: %w", max(next, size), ErrNotFound)
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(Indexed{Index: next}, err)
		}
	}
}

// errStop ends blocks because the receiver wants no more.
var errStop = errors.New("stop")

// leaves calls yield for each leaf in [from, to), which must be committed.
func (r *reader) leaves(from, to uint64, yield func(i uint64, leaf []byte)) error {
	return r.blocks(from, to, true, func(b entryBlock) bool {
		for k, e := range b.entries {
			yield(b.first+uint64(k), e.Leaf)
		}
		return true
	})
}

// entryBlock is a run of entries that are read together.
type entryBlock struct {
	first   uint64
	entries []Entry
}

// cut keeps the entries in [from, to).
func (b entryBlock) cut(from, to uint64) entryBlock {
	if end := b.first + uint64(len(b.entries)); end > to {
		b.entries = b.entries[:to-b.first]
	}
	if b.first < from {
		b.entries = b.entries[from-b.first:]
		b.first = from
	}
	return b
}

// blocks streams the entries [from, to), block by block; with leavesOnly, payloads may be left out. It returns errStop
// if yield returns false.
func (r *reader) blocks(from, to uint64, leavesOnly bool, yield func(entryBlock) bool) error {
	for from < to {
		err := r.withSegment(from, func(s *seg) error {
			f, err := r.fs.Open(r.path(s.name))
			if err != nil {
				return err
			}
			defer f.Close()
			each := func(b entryBlock) bool {
				b = b.cut(from, to)
				from += uint64(len(b.entries))
				return yield(b)
			}
			if s.sealed != nil {
				return sealedBlocks(s, f, from, to, leavesOnly, each)
			}
			return rawBlocks(s, f, from, to, each)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func sealedBlocks(s *seg, f disk.File, from, to uint64, leavesOnly bool, yield func(entryBlock) bool) error {
	for n := s.sealed.Block(from); n < s.sealed.Blocks() && s.sealed.First(n) < to; n++ {
		var entries []Entry
		var err error
		if leavesOnly {
			entries, err = s.sealed.Leaves(f, n)
		} else {
			entries, err = s.sealed.Entries(f, n)
		}
		if err != nil {
			return corrupt(s.name, err)
		}
		if !yield(entryBlock{first: s.sealed.First(n), entries: entries}) {
			return errStop
		}
	}
	return nil
}

func rawBlocks(s *seg, f disk.File, from, to uint64, yield func(entryBlock) bool) error {
	end, _ := s.bounds()
	to = min(to, end)
	size, err := f.Size()
	if err != nil {
		return err
	}
	scan := segment.ResumeScanner(f, size, s.group(from).off)
	for from < to && scan.Next() {
		g := scan.Group()
		entries, err := segment.Records(scan.Content(), g.Count)
		if err != nil {
			return &CorruptError{File: s.name, Offset: scan.Offset(), Index: g.Base, Reason: err.Error()}
		}
		from = g.Base + uint64(g.Count)
		if !yield(entryBlock{first: g.Base, entries: entries}) {
			return errStop
		}
	}
	if from < to {
		if scan.Err() != nil {
			return corrupt(s.name, scan.Err())
		}
		_, reason := scan.Ending()
		if reason == "" {
			reason = "committed entries are gone"
		}
		return &CorruptError{File: s.name, Offset: scan.Offset(), Index: from, Reason: reason}
	}
	return nil
}

// block reads the block or group that holds an entry, through the cache.
func (r *reader) block(s *seg, i uint64) (entryBlock, error) {
	key := cacheKey{name: s.name}
	if s.sealed != nil {
		key.first = s.sealed.First(s.sealed.Block(i))
	} else {
		key.first = s.group(i).base
	}
	if b, ok := r.cache.get(key); ok {
		return b, nil
	}
	f, err := r.fs.Open(r.path(s.name))
	if err != nil {
		return entryBlock{}, err
	}
	defer f.Close()
	var b entryBlock
	first := func(got entryBlock) bool { b = got; return false }
	if s.sealed != nil {
		err = sealedBlocks(s, f, i, i+1, false, first)
	} else {
		err = rawBlocks(s, f, i, i+1, first)
	}
	if err != nil && !errors.Is(err, errStop) {
		return entryBlock{}, err
	}
	r.cache.put(key, b)
	return b, nil
}

// withSegment calls do with the segment that holds an entry; again, if the segment's file is gone because it has been
// sealed meanwhile, or rewritten without what was erased.
func (r *reader) withSegment(i uint64, do func(*seg) error) error {
	for attempt := 0; ; attempt++ {
		s := r.find(i)
		if s == nil {
			return fmt.Errorf("entry %d: %w", i, ErrNotFound)
		}
		err := do(s)
		if !errors.Is(err, fs.ErrNotExist) || attempt > 10 {
			return err
		}
		if err := r.resealed(s); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

func (r *reader) find(i uint64) *seg {
	segs := *r.segs.Load()
	n := sort.Search(len(segs), func(n int) bool { return segs[n].Base > i }) - 1
	if n < 0 {
		return nil
	}
	if end, _ := segs[n].bounds(); i >= end {
		return nil
	}
	return segs[n]
}

// resealed puts the latest form of a segment in its place.
func (r *reader) resealed(s *seg) error {
	name, err := latestForm(r.fs, r.dir, s.Seq)
	if errors.Is(err, fs.ErrNotExist) {
		return &CorruptError{File: s.name, Offset: -1, Index: s.Base, Reason: "the segment's file is gone"}
	}
	if err != nil {
		return err
	}
	f, err := r.fs.Open(r.path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	sealed, err := segment.OpenSealed(f, size)
	if err != nil {
		return corrupt(name, err)
	}
	r.replace(s, newSealed(name, sealed))
	return nil
}

// replace swaps one segment of the table; s may have been swapped already.
func (r *reader) replace(s, by *seg) {
	for {
		old := r.segs.Load()
		segs := append([]*seg(nil), *old...)
		for i := range segs {
			if segs[i] == s {
				segs[i] = by
			}
		}
		if r.segs.CompareAndSwap(old, &segs) {
			return
		}
	}
}
