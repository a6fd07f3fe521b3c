package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/segment"
)

// Names in a log's directory.
const (
	segmentsDir    = "segments"
	tileDir        = "tile"
	tmpDir         = "tmp"
	checkpointName = "checkpoint"
	lockName       = "lock"

	rawSuffix    = ".raw"
	sealedSuffix = ".sealed"
)

func segmentName(seq uint64, suffix string) string {
	return fmt.Sprintf("%s/%010d%s", segmentsDir, seq, suffix)
}

// rawForm is the form of a segment being written. A sealed one has the form 0, and n once it was rewritten n times, each
// time without something that was erased. Of two forms of a segment the higher one counts.
const rawForm = -1

// sealedName is the file of a sealed segment.
func sealedName(seq uint64, form int) string {
	if form == 0 {
		return segmentName(seq, sealedSuffix)
	}
	return segmentName(seq, fmt.Sprintf(".e%d%s", form, sealedSuffix))
}

// parseSegmentName reads the name of a segment's file, without the directory.
func parseSegmentName(name string) (seq uint64, form int, ok bool) {
	digits, rest, _ := strings.Cut(name, ".")
	seq, err := strconv.ParseUint(digits, 10, 62)
	if err != nil || seq == 0 {
		return 0, 0, false
	}
	if "."+rest == rawSuffix {
		return seq, rawForm, segmentName(seq, rawSuffix) == segmentsDir+"/"+name
	}
	if n, ok := strings.CutPrefix(strings.TrimSuffix("."+rest, sealedSuffix), ".e"); ok {
		if form, err = strconv.Atoi(n); err != nil || form < 1 {
			return 0, 0, false
		}
	}
	return seq, form, sealedName(seq, form) == segmentsDir+"/"+name
}

// latestForm is the file of a segment's latest sealed form; fs.ErrNotExist if it has none.
func latestForm(fsys disk.FS, dir string, seq uint64) (string, error) {
	infos, err := fsys.ReadDir(path.Join(dir, segmentsDir))
	if err != nil {
		return "", err
	}
	latest := rawForm
	for _, info := range infos {
		if n, form, ok := parseSegmentName(info.Name); ok && n == seq {
			latest = max(latest, form)
		}
	}
	if latest == rawForm {
		return "", &fs.PathError{Op: "open", Path: segmentName(seq, sealedSuffix), Err: fs.ErrNotExist}
	}
	return sealedName(seq, latest), nil
}

// seg is a segment that holds entries.
type seg struct {
	segment.Header
	name   string          // relative to the log's directory
	sealed *segment.Sealed // nil for a raw one
	// dirty: a raw one that holds more than was acknowledged; the next segment cuts it off.
	dirty bool

	// Of a raw one; the committer appends while others read.
	mu     sync.RWMutex
	groups []groupRef
	end    uint64    // index after the last entry
	last   tlog.Hash // link of the last group
}

// groupRef is where a group of a raw segment begins.
type groupRef struct {
	base uint64
	off  int64
}

func newSealed(name string, s *segment.Sealed) *seg {
	return &seg{Header: s.Header, name: name, sealed: s, end: s.Base + s.Count, last: s.Last}
}

// add records a group that has become durable.
func (s *seg) add(g segment.Group, off int64) {
	s.mu.Lock()
	s.groups = append(s.groups, groupRef{base: g.Base, off: off})
	s.end = g.Base + uint64(g.Count)
	s.last = g.Link()
	s.mu.Unlock()
}

// bounds returns the index after the last entry and the last link.
func (s *seg) bounds() (end uint64, last tlog.Hash) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.end, s.last
}

// group finds the group of a raw segment that holds an entry.
func (s *seg) group(index uint64) groupRef {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := sort.Search(len(s.groups), func(i int) bool { return s.groups[i].base > index })
	return s.groups[i-1]
}

// loaded is what the segments directory holds.
type loaded struct {
	segs []*seg // with entries, in order
	size uint64 // entries
	link tlog.Hash
	// lastGroup is the index of the first entry of the last group if nothing shows that it was acknowledged:
	// it is the last of the last raw segment, which was not closed cleanly. Else it is size.
	lastGroup uint64
	stale     []string // raw segments that were never in use, or whose sealed form is there
	void      []string // raw segments in use, but without entries
	maxSeq    uint64
	torn      string // if bytes were cut off the end: which file and why
}

// item is one segment file before its content is looked at.
type item struct {
	seq    uint64
	form   int
	name   string
	sealed *segment.Sealed
	header segment.Header
	unused bool  // a raw one whose header is all zero
	size   int64 // of the file
}

// load reads the segments directory. Raw segments are scanned, sealed ones opened. known holds sealed segments opened
// before, by name; it may be nil. It returns *CorruptError where the segments do not fit together.
func load(fsys disk.FS, dir, origin string, known map[string]*seg) (*loaded, error) {
	for attempt := 0; ; attempt++ {
		l, err := loadOnce(fsys, dir, origin, known)
		// While another process writes, a raw segment can be sealed and removed at any moment: look again.
		if errors.Is(err, fs.ErrNotExist) && attempt < 20 {
			continue
		}
		return l, err
	}
}

func loadOnce(fsys disk.FS, dir, origin string, known map[string]*seg) (*loaded, error) {
	l := &loaded{link: segment.OriginLink(origin)}
	items, err := l.list(fsys, dir, origin, known)
	if err != nil {
		return nil, err
	}
	for i, it := range items {
		if it.unused {
			l.stale = append(l.stale, it.name)
			continue
		}
		if it.header.Base != l.size || it.header.Prev != l.link {
			return nil, &CorruptError{File: it.name, Offset: 0, Index: l.size,
				Reason: fmt.Sprintf("the segment begins at entry %d and does not continue the one before it: "+
					"a segment is missing or was replaced", it.header.Base)}
		}
		if it.sealed != nil {
			s := known[it.name]
			if s == nil {
				s = newSealed(it.name, it.sealed)
			}
			l.push(s)
			continue
		}
		if err := l.scan(fsys, dir, it, items[i+1:]); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *loaded) push(s *seg) {
	l.segs = append(l.segs, s)
	l.size, l.link = s.end, s.last
	l.lastGroup = l.size
}

// list finds the segment files and reads their headers.
func (l *loaded) list(fsys disk.FS, dir, origin string, known map[string]*seg) ([]item, error) {
	infos, err := fsys.ReadDir(path.Join(dir, segmentsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	bySeq := map[uint64]item{}
	for _, info := range infos {
		seq, form, ok := parseSegmentName(info.Name)
		if !ok || info.Dir {
			continue
		}
		l.maxSeq = max(l.maxSeq, seq)
		other, both := bySeq[seq]
		it := item{seq: seq, form: form, name: segmentsDir + "/" + info.Name}
		// A segment is there twice if sealing or erasing was interrupted before the earlier form was removed; the later
		// one is complete.
		switch {
		case both && form < other.form:
			l.stale = append(l.stale, it.name)
			continue
		case both:
			l.stale = append(l.stale, other.name)
		}
		bySeq[seq] = it
	}
	items := make([]item, 0, len(bySeq))
	for _, it := range bySeq {
		items = append(items, it)
	}
	sort.Slice(items, func(i, j int) bool { return items[i].seq < items[j].seq })
	for i := range items {
		if err := items[i].open(fsys, dir, origin, known); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func (it *item) open(fsys disk.FS, dir, origin string, known map[string]*seg) error {
	if s := known[it.name]; s != nil {
		it.sealed, it.header = s.sealed, s.Header
		return nil
	}
	f, err := fsys.Open(path.Join(dir, it.name))
	if err != nil {
		return err
	}
	defer f.Close()
	if it.size, err = f.Size(); err != nil {
		return err
	}
	if path.Ext(it.name) == sealedSuffix {
		if it.sealed, err = segment.OpenSealed(f, it.size); err == nil {
			it.header = it.sealed.Header
		}
	} else {
		it.header, err = segment.ReadHeader(f)
		if errors.Is(err, segment.ErrUnused) {
			it.unused, err = true, nil
			return nil
		}
		if errors.Is(err, segment.ErrHeader) {
			err = &segment.DamageError{Offset: 0, Reason: err.Error()}
		}
	}
	if err != nil {
		return corrupt(it.name, err)
	}
	if it.header.Origin != segment.OriginDigest(origin) || it.header.Seq != it.seq {
		return &CorruptError{File: it.name, Offset: 0, Index: it.header.Base,
			Reason: fmt.Sprintf("the segment is not number %d of the log %s", it.seq, origin)}
	}
	return nil
}

// scan reads the groups of a raw segment up to where the next segment continues, or to the end if there is none.
func (l *loaded) scan(fsys disk.FS, dir string, it item, later []item) error {
	f, err := fsys.Open(path.Join(dir, it.name))
	if err != nil {
		return err
	}
	defer f.Close()
	s := &seg{Header: it.header, name: it.name, end: l.size, last: l.link}
	next := nextHeader(later)
	scan := segment.NewScanner(f, it.size, segment.RawHeaderSize, l.size, l.link)
	scan.Reuse()
	lastGroup := l.size
	for {
		if next != nil && scan.Index() == next.Base && scan.Link() == next.Prev {
			zero, _, err := segment.ZeroFrom(f, it.size, scan.Offset())
			if err != nil {
				return corrupt(it.name, err)
			}
			s.dirty = !zero
			break
		}
		off := scan.Offset()
		if scan.Next() {
			lastGroup = scan.Group().Base
			s.add(scan.Group(), off)
			continue
		}
		if scan.Err() != nil {
			return corrupt(it.name, scan.Err())
		}
		ending, reason := scan.Ending()
		switch {
		case ending == segment.Damaged:
		case next != nil:
			reason = fmt.Sprintf("the segment ends before entry %d, where the next one begins", next.Base)
		case ending != segment.Closed && it.size < it.header.Size:
			off, reason = it.size, fmt.Sprintf("the file was cut: it should be %d bytes long", it.header.Size)
		default:
			if ending == segment.Closed {
				lastGroup = scan.Index()
			}
			if ending == segment.Torn || ending == segment.Stray {
				l.torn = fmt.Sprintf("%s at byte %d: %s", it.name, off, reason)
			}
			reason = ""
		}
		if reason != "" {
			return &CorruptError{File: it.name, Offset: off, Index: scan.Index(), Reason: reason}
		}
		break
	}
	if s.end == s.Base {
		l.void = append(l.void, it.name)
		return nil
	}
	l.push(s)
	if next == nil {
		l.lastGroup = lastGroup
	}
	return nil
}

// nextHeader is the header of the first segment that was put to use.
func nextHeader(items []item) *segment.Header {
	for i := range items {
		if !items[i].unused {
			return &items[i].header
		}
	}
	return nil
}

// corrupt turns a segment's damage into a *CorruptError; other errors it passes on with the file's name.
func corrupt(name string, err error) error {
	var d *segment.DamageError
	if errors.As(err, &d) {
		return &CorruptError{File: name, Offset: d.Offset, Index: d.Index, Reason: d.Reason}
	}
	return fmt.Errorf("%s: %w", name, err)
}
