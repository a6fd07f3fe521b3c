package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"
	"time"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/segment"
)

// minSegment is the smallest segment that is made when space is short, in bytes, unless a group needs more.
const minSegment = 256 << 10

// active is the segment being written.
type active struct {
	file disk.File
	seg  *seg
	off  int64 // where the next group goes
	size int64 // of the file
}

// prepared is a preallocated segment file that is not in use.
type prepared struct {
	file disk.File
	seq  uint64
	size int64
}

// preparedAt is the outcome of preparing one.
type preparedAt struct {
	prepared
	err error
}

// roll begins a new segment with room for a group of need bytes. The one before is handed to the sealer. The new
// header is durable when it returns: from then on nothing counts that the old one holds beyond the last acknowledged
// group.
func (l *Log) roll(need int64) error {
	p, err := l.nextSegment(need + segment.RawHeaderSize)
	if err != nil {
		return fmt.Errorf("making a new segment: %w", err)
	}
	l.seq = p.seq
	h := segment.Header{Seq: p.seq, Base: l.front.size, Prev: l.link, Origin: segment.OriginDigest(l.origin), Size: p.size}
	_, err = p.file.WriteAt(h.Marshal(), 0)
	if err == nil {
		err = p.file.Sync()
	}
	if err != nil {
		p.file.Close()
		_ = l.fs.Remove(l.path(segmentName(p.seq, rawSuffix))) // without entries, and harmless if it stays
		return fmt.Errorf("beginning a new segment: %w", err)
	}
	if l.active != nil {
		l.abandon()
	}
	s := &seg{Header: h, name: segmentName(p.seq, rawSuffix), end: h.Base, last: h.Prev}
	l.active = &active{file: p.file, seg: s, off: segment.RawHeaderSize, size: p.size}
	l.append(s)
	l.kickSealer()
	l.prepare()
	return nil
}

// append adds a segment to the table.
func (r *reader) append(s *seg) {
	for {
		old := r.segs.Load()
		segs := append(append([]*seg(nil), *old...), s)
		if r.segs.CompareAndSwap(old, &segs) {
			return
		}
	}
}

// abandon stops writing the active segment. It stays in the table for the sealer.
func (l *Log) abandon() {
	if l.active != nil {
		l.active.file.Close()
		l.active = nil
	}
}

// nextSegment returns a segment of at least need bytes: the prepared one, or a new one.
func (l *Log) nextSegment(need int64) (prepared, error) {
	seq := l.seq + 1
	if l.next != nil {
		l.hurryUp()
		p := <-l.next
		l.next = nil
		if p.err == nil && p.size >= need {
			return p.prepared, nil
		}
		if p.err == nil {
			p.file.Close()
			if err := l.fs.Remove(l.path(segmentName(p.seq, rawSuffix))); err != nil {
				return prepared{}, err
			}
		}
	}
	return l.create(seq, max(l.size, need), need, nil)
}

// prepare starts making the next segment in the background, twice as large as the last.
func (l *Log) prepare() {
	l.size = min(2*l.size, l.o.MaxSegment)
	next, hurry := make(chan preparedAt, 1), make(chan struct{})
	l.next, l.hurry = next, hurry
	go func(seq uint64, size int64) {
		p, err := l.create(seq, size, 0, hurry)
		next <- preparedAt{p, err}
	}(l.seq+1, l.size)
}

// hurryUp tells who makes the next segment that it will be wanted soon.
func (l *Log) hurryUp() {
	if l.hurry != nil {
		close(l.hurry)
		l.hurry = nil
	}
}

// create makes a preallocated segment file of the given size, or, when space is short, of a smaller one that still has
// room for need bytes. It leaves three quarters of what is free to others, the log's own tiles among them, unless need
// or the smallest segment takes more; in advance, that is without need, it does not take that either. It takes its time
// until hurry is closed; a nil hurry is for who waits already.
func (l *Log) create(seq uint64, size, need int64, hurry <-chan struct{}) (prepared, error) {
	least := max(need, minSegment)
	if free, err := l.fs.Free(l.dir); err == nil {
		for size/2 >= least && size > free/4 {
			size /= 2
		}
		if need == 0 && size > free/4 {
			return prepared{}, fmt.Errorf("preparing a segment: %w", syscall.ENOSPC)
		}
	}
	for {
		p, err := l.createSized(seq, size, hurry)
		if err == nil || !errors.Is(err, syscall.ENOSPC) || size/2 < least {
			return p, err
		}
		size /= 2
	}
}

// How many zeros are written and synced at a time, in bytes: for so long groups wait for the disk. Of a segment that is
// wanted soon it is more, since on a disk that is slow to sync each step takes as long.
const (
	prepareStep = 128 << 10
	hurriedStep = 1 << 20
)

func (l *Log) createSized(seq uint64, size int64, hurry <-chan struct{}) (p prepared, err error) {
	name := segmentName(seq, rawSuffix)
	tmp := l.path(tmpDir + "/" + path.Base(name))
	f, err := l.fs.Create(tmp)
	if errors.Is(err, fs.ErrExist) { // left over from an attempt that failed and could not clean up
		if err = l.fs.Remove(tmp); err == nil {
			f, err = l.fs.Create(tmp)
		}
	}
	if err != nil {
		return prepared{}, err
	}
	defer func() {
		if err != nil {
			f.Close()
			_ = l.fs.Remove(tmp) // the next start clears the directory
		}
	}()
	// Real zeros, not a hole: a sync of a group must not have to allocate blocks. Synced in steps with rests in between,
	// so that the disk is not kept from the groups that others wait for.
	zeros := make([]byte, min(hurriedStep, size))
	for off := int64(0); off < size; {
		begun := time.Now()
		step := int64(hurriedStep)
		if hurry != nil {
			step = prepareStep
		}
		n := min(step, size-off)
		if _, err := f.WriteAt(zeros[:n], off); err != nil {
			return prepared{}, err
		}
		if err := f.Sync(); err != nil {
			return prepared{}, err
		}
		if off += n; hurry == nil || off == size {
			continue
		}
		select {
		case <-l.closing:
			return prepared{}, ErrClosed
		case <-hurry:
			hurry = nil
		case <-time.After(restTimes * time.Since(begun)):
		}
	}
	if err := l.fs.Rename(tmp, l.path(name)); err != nil {
		return prepared{}, err
	}
	if err := l.fs.SyncDir(l.path(segmentsDir)); err != nil {
		_ = l.fs.Remove(l.path(name)) // unused, and harmless if it stays
		return prepared{}, err
	}
	return prepared{file: f, seq: seq, size: size}, nil
}

// closeSegment ends the active segment with a close mark, cuts its padding, and removes the prepared one. Everything
// else has ended.
func (l *Log) closeSegment() error {
	var errs []error
	if l.next != nil {
		if p := <-l.next; p.err == nil {
			errs = append(errs, p.file.Close(), l.fs.Remove(l.path(segmentName(p.seq, rawSuffix))))
		}
	}
	if l.active == nil {
		return errors.Join(errs...)
	}
	a := l.active
	if a.off == segment.RawHeaderSize {
		// Nothing was written. What came before is sealed or was closed by the same rule, so nothing needs the header.
		errs = append(errs, a.file.Close(), l.removeIfLast(a))
		return errors.Join(append(errs, l.fs.SyncDir(l.path(segmentsDir)))...)
	}
	mark := segment.CloseMark(l.front.size, l.link)
	if a.off+int64(len(mark)) <= a.size {
		_, err := a.file.WriteAt(mark, a.off)
		if err == nil {
			err = a.file.Sync()
		}
		if err == nil {
			err = a.file.Truncate(a.off + int64(len(mark)))
		}
		if err == nil {
			err = a.file.Sync()
		}
		errs = append(errs, err)
	}
	errs = append(errs, a.file.Close(), l.fs.SyncDir(l.path(segmentsDir)))
	return errors.Join(errs...)
}

// removeIfLast removes an unused active segment, unless one before it is still raw and may hold more than was
// acknowledged, which only this header cuts off.
func (l *Log) removeIfLast(a *active) error {
	for _, s := range *l.segs.Load() {
		if s != a.seg && s.sealed == nil {
			return nil
		}
	}
	return l.fs.Remove(l.path(a.seg.name))
}
