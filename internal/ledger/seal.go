package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/segment"
)

func (l *Log) kickSealer() {
	select {
	case l.sealKick <- struct{}{}:
	default:
	}
}

// sealLoop seals segments that are written no more, until the log is closed.
func (l *Log) sealLoop() {
	defer close(l.sealed)
	var retry <-chan time.Time
	for {
		select {
		case <-l.closing:
			return
		case <-l.sealKick:
		case <-retry:
		}
		retry = nil
		if err := l.sealAll(); err != nil && !errors.Is(err, ErrClosed) {
			l.log.Error("A segment could not be sealed; trying again.", "origin", l.origin, "error", err)
			retry = time.After(10 * l.o.RetryEvery)
		}
	}
}

// sealAll seals all raw segments but the last, which may be active, in order.
func (l *Log) sealAll() error {
	l.sealing.Lock()
	defer l.sealing.Unlock()
	segs := *l.segs.Load()
	for _, s := range segs[:max(len(segs)-1, 0)] {
		if s.sealed == nil {
			if err := l.seal(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// secure makes durable, by sealing it, the last raw segment that was found at the start. Until then it is not certain
// that its last group is on the disk: if the process that wrote it was killed after a sync had failed, it may exist in
// memory only. Those before it were followed by another segment, thus acknowledged up to there; they can wait, unless
// one holds more than was acknowledged, or the header that cuts it off belongs to a segment without entries. It does
// nothing once it has succeeded.
func (l *Log) secure() error {
	if l.secured.Load() {
		return nil
	}
	segs := *l.segs.Load()
	for i, s := range segs {
		if s.sealed != nil || !s.dirty && i < len(segs)-1 && len(l.void) == 0 {
			continue
		}
		if err := l.seal(s); err != nil {
			return fmt.Errorf("securing the log's end: %w", err)
		}
	}
	// Only now: such a segment's header may be all that cuts off the end of the one before it.
	for _, name := range l.void {
		if err := l.fs.Remove(l.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("securing the log's end: %w", err)
		}
	}
	l.secured.Store(true)
	return nil
}

// seal writes the sealed form of a raw segment, checks it, puts it into place and removes the raw one. Interrupted
// anywhere, it can be done again: until the rename the raw one counts, from then on the sealed one.
func (l *Log) seal(s *seg) error {
	end, last := s.bounds()
	if end == s.Base {
		return l.removeSegment(s)
	}
	name := segmentName(s.Seq, sealedSuffix)
	tmp := l.path(tmpDir + "/" + path.Base(name))
	sealed, err := l.writeSealed(s, end, tmp)
	if err == nil && sealed.Last != last {
		err = fmt.Errorf("%s: sealed with another last link", s.name)
	}
	if err == nil {
		err = l.fs.Rename(tmp, l.path(name))
	}
	if err != nil {
		_ = l.fs.Remove(tmp) // the next start clears the directory
		return err
	}
	if err := l.fs.SyncDir(l.path(segmentsDir)); err != nil {
		return err
	}
	l.replace(s, newSealed(name, sealed))
	return l.fs.Remove(l.path(s.name))
}

// removeSegment removes a raw segment without entries.
func (l *Log) removeSegment(s *seg) error {
	for {
		old := l.segs.Load()
		segs := make([]*seg, 0, len(*old))
		for _, other := range *old {
			if other != s {
				segs = append(segs, other)
			}
		}
		if l.segs.CompareAndSwap(old, &segs) {
			break
		}
	}
	return l.fs.Remove(l.path(s.name))
}

func (l *Log) writeSealed(s *seg, end uint64, tmp string) (*segment.Sealed, error) {
	in, err := l.fs.Open(l.path(s.name))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := l.createAside(tmp)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	if err := l.copySealed(s, end, in, out); err != nil {
		return nil, err
	}
	return l.readBack(tmp, out)
}

// createAside creates a file that gets its name later.
func (l *Log) createAside(tmp string) (disk.File, error) {
	out, err := l.fs.Create(tmp)
	if errors.Is(err, fs.ErrExist) { // left over from an attempt that failed and could not clean up
		if err = l.fs.Remove(tmp); err == nil {
			out, err = l.fs.Create(tmp)
		}
	}
	return out, err
}

// readBack syncs a sealed segment and checks it, before the one that it stands for goes.
func (l *Log) readBack(tmp string, out disk.File) (*segment.Sealed, error) {
	if err := out.Sync(); err != nil {
		return nil, err
	}
	size, err := out.Size()
	if err != nil {
		return nil, err
	}
	sealed, err := segment.OpenSealed(out, size)
	if err == nil {
		err = sealed.Check(out)
	}
	if err != nil {
		return nil, corrupt(tmp, err)
	}
	return sealed, nil
}

// copySealed reads the groups of a raw segment up to the index end and writes them to the sealed one.
func (l *Log) copySealed(s *seg, end uint64, in, out disk.File) error {
	size, err := in.Size()
	if err != nil {
		return err
	}
	_, last := s.bounds()
	w, err := segment.NewSealer(out, s.Header, end-s.Base, last)
	if err != nil {
		return err
	}
	scan := segment.NewScanner(in, size, segment.RawHeaderSize, s.Base, s.Prev)
	scan.Reuse()
	pacer := l.pace()
	for scan.Index() < end {
		if !scan.Next() {
			if scan.Err() != nil {
				return corrupt(s.name, scan.Err())
			}
			_, reason := scan.Ending()
			return &CorruptError{File: s.name, Offset: scan.Offset(), Index: scan.Index(), Reason: "committed entries are gone: " + reason}
		}
		entries, err := segment.Records(scan.Content(), scan.Group().Count)
		if err != nil {
			return &CorruptError{File: s.name, Offset: scan.Offset(), Index: scan.Index(), Reason: err.Error()}
		}
		for _, e := range entries {
			if err := w.Add(e); err != nil {
				return err
			}
		}
		w.EndGroup(scan.Group().Count)
		if err := pacer.rest(); err != nil {
			return err
		}
	}
	return w.Finish()
}

// maxUnsealed is how many segments may wait for the sealer before it hurries.
const maxUnsealed = 16

// pacer lets those go first who wait for an answer: whoever works in the background calls rest after each small piece.
type pacer struct {
	l     *Log
	begun time.Time // to work
	size  uint64    // of the log when it was last found to grow
	grew  time.Time
}

// pace begins to work in the background.
func (l *Log) pace() *pacer { return &pacer{l: l, begun: time.Now(), size: l.head.Load().size} }

const (
	workAtOnce = 200 * time.Microsecond // how long is worked without a rest
	restTimes  = 4                      // how often as long the rest is
	busyFor    = 20 * time.Millisecond  // how long nothing is committed until nobody is waited for
)

// rest rests after some work, if entries are being committed and not too many segments wait for the sealer. It
// returns ErrClosed if the log is being closed.
func (p *pacer) rest() error {
	select {
	case <-p.l.closing:
		return ErrClosed
	default:
	}
	now := time.Now()
	worked := now.Sub(p.begun)
	if worked < workAtOnce {
		return nil
	}
	if size := p.l.head.Load().size; size != p.size {
		p.size, p.grew = size, now
	}
	if now.Sub(p.grew) < busyFor && p.l.unsealed() <= maxUnsealed {
		select {
		case <-p.l.closing:
			return ErrClosed
		case <-time.After(restTimes * min(worked, 20*workAtOnce)):
		}
	}
	p.begun = time.Now()
	return nil
}

// unsealed is how many segments are not sealed.
func (l *Log) unsealed() int {
	n := 0
	for _, s := range *l.segs.Load() {
		if s.sealed == nil {
			n++
		}
	}
	return n
}
