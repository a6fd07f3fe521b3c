package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/aver-authz/aver/internal/ledger/segment"
)

// Edit tells what is to be left of an entry: of its private part, or, with erase, nothing but the leaf. It must give the
// same answer whenever it is asked about the same entry.
type Edit func(Indexed) (private []byte, erase bool)

// Erase takes what edit says out of the entries from (included) to to (excluded), all of which must be committed. Leaves
// stay, and with them every hash, tile and proof. When it returns nil, nothing that was taken out lies in a file of the
// log any more; an interrupted one can be done again, and each segment of it was done as a whole or not at all.
//
// Segments are rewritten one after the other, behind the answers. Whoever calls it has recorded first, elsewhere, that
// they do.
func (l *Log) Erase(ctx context.Context, from, to uint64, edit Edit) error {
	if size, _ := l.Head(); to > size {
		return fmt.Errorf("erase up to entry %d of %d: %w", to, size, ErrNotFound)
	}
	if from >= to {
		return nil
	}
	if err := l.endSegment(ctx, to); err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	if err := l.sealAll(); err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	if !l.secured.Load() {
		return fmt.Errorf("erase: %w", errors.Join(ErrUnavailable, l.Health()))
	}
	l.sealing.Lock()
	defer l.sealing.Unlock()
	within := func(i uint64, e Entry) ([]byte, bool) {
		if i < from || i >= to {
			return e.Private, false
		}
		return edit(Indexed{Index: i, Entry: e})
	}
	for _, s := range *l.segs.Load() {
		if end, _ := s.bounds(); end <= from || s.Base >= to {
			continue
		}
		if s.sealed == nil {
			return fmt.Errorf("erase: %s is not sealed", s.name)
		}
		if err := l.rewrite(ctx, s, within); err != nil {
			return fmt.Errorf("erase: %w", err)
		}
	}
	if err := l.removeLeft(); err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	return nil
}

// removeLeft removes earlier forms of sealed segments, and what was written aside, that an attempt which failed has left.
func (l *Log) removeLeft() error {
	forms := map[uint64]int{}
	for _, s := range *l.segs.Load() {
		if _, form, ok := parseSegmentName(path.Base(s.name)); ok && s.sealed != nil {
			forms[s.Seq] = form
		}
	}
	infos, err := l.fs.ReadDir(l.path(segmentsDir))
	if err != nil {
		return err
	}
	for _, info := range infos {
		seq, form, ok := parseSegmentName(info.Name)
		if latest, sealed := forms[seq]; ok && sealed && form < latest {
			if err := l.fs.Remove(l.path(segmentsDir + "/" + info.Name)); err != nil {
				return err
			}
		}
	}
	if infos, err = l.fs.ReadDir(l.path(tmpDir)); err != nil {
		return err
	}
	for _, info := range infos {
		if path.Ext(info.Name) == sealedSuffix {
			if err := l.fs.Remove(l.path(tmpDir + "/" + info.Name)); err != nil {
				return err
			}
		}
	}
	return errors.Join(l.fs.SyncDir(l.path(segmentsDir)), l.fs.SyncDir(l.path(tmpDir)))
}

// rewrite puts a sealed segment without what edit takes away in its place, if it takes anything away. Interrupted
// anywhere it can be done again: until the rename the old one counts, from then on the new one, and the next start removes
// the other.
func (l *Log) rewrite(ctx context.Context, s *seg, edit func(uint64, Entry) ([]byte, bool)) error {
	changes := false
	pacer := l.pace()
	pace := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return pacer.rest()
	}
	for e, err := range l.Entries(s.Base, s.end) {
		if err != nil {
			return err
		}
		if !e.Erased {
			private, erase := edit(e.Index, e.Entry)
			if changes = erase || !bytes.Equal(private, e.Private); changes {
				break
			}
		}
		if e.Index%128 == 127 {
			if err := pace(); err != nil {
				return err
			}
		}
	}
	if !changes {
		return nil
	}
	_, form, ok := parseSegmentName(path.Base(s.name))
	if !ok {
		return fmt.Errorf("%s is no segment", s.name)
	}
	name := sealedName(s.Seq, form+1)
	tmp := l.path(tmpDir + "/" + path.Base(name))
	sealed, err := l.writeRewritten(s, tmp, edit, pace)
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
	l.cache.drop(s.name)
	if err := l.fs.Remove(l.path(s.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeRewritten writes a segment without what edit takes away to the file tmp, and reads it back.
func (l *Log) writeRewritten(s *seg, tmp string, edit func(uint64, Entry) ([]byte, bool), pace func() error) (*segment.Sealed, error) {
	in, err := l.fs.Open(l.path(s.name))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err := s.sealed.Check(in); err != nil { // so that no damage is copied
		return nil, corrupt(s.name, err)
	}
	out, err := l.createAside(tmp)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	if err := s.sealed.Rewrite(in, out, edit, pace); err != nil {
		return nil, corrupt(s.name, err)
	}
	return l.readBack(tmp, out)
}

// endSegment sees to it that the entries before index to are in segments that are written no more.
func (l *Log) endSegment(ctx context.Context, to uint64) error {
	for {
		segs := *l.segs.Load()
		if len(segs) == 0 || segs[len(segs)-1].Base >= to || segs[len(segs)-1].sealed != nil {
			return nil
		}
		rolled := make(chan struct{})
		q := &l.queue
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return ErrClosed
		}
		q.rolls = append(q.rolls, rolled)
		q.work.Signal()
		q.mu.Unlock()
		select {
		case <-rolled:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.closing:
			return ErrClosed
		}
		if err := l.queue.failure(); err != nil {
			return err
		}
	}
}

// endSegments begins a new segment for those who wait for one, and reports whether anybody did. It belongs to the
// committer.
func (l *Log) endSegments() bool {
	q := &l.queue
	q.mu.Lock()
	rolls := q.rolls
	q.rolls = nil
	q.mu.Unlock()
	if len(rolls) == 0 {
		return false
	}
	if l.active == nil || l.active.off > segment.RawHeaderSize {
		if err := l.roll(0); err != nil {
			l.fail(nil, err)
		}
	}
	for _, rolled := range rolls {
		close(rolled)
	}
	return true
}
