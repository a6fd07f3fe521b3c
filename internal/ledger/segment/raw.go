package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// RawHeaderSize is the length of a raw segment's header, in bytes; the groups follow.
const RawHeaderSize = 128

const rawMagic = "AVERRAW1"

// Header is what a segment, raw or sealed, says of itself.
type Header struct {
	Seq    uint64    // number of the segment, from 1, without gaps
	Base   uint64    // index of its first entry
	Prev   tlog.Hash // link of the last acknowledged group before it
	Origin tlog.Hash // OriginDigest of the log
	Size   int64     // raw: length of the preallocated file in bytes. Sealed: 0
}

// Marshal encodes a raw segment's header.
func (h Header) Marshal() []byte {
	b := make([]byte, RawHeaderSize)
	copy(b, rawMagic)
	binary.BigEndian.PutUint64(b[8:], h.Seq)
	binary.BigEndian.PutUint64(b[16:], h.Base)
	copy(b[24:56], h.Prev[:])
	copy(b[56:88], h.Origin[:])
	binary.BigEndian.PutUint64(b[88:], uint64(h.Size))
	binary.BigEndian.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	return b
}

// Errors of ReadHeader, besides those of reading.
var (
	// ErrUnused: the header is all zero: a prepared segment that was never used.
	ErrUnused = errors.New("unused segment")
	// ErrHeader: the header is damaged.
	ErrHeader = errors.New("the segment's header is damaged")
)

// ReadHeader reads the header of a raw segment.
func ReadHeader(r io.ReaderAt) (Header, error) {
	b := make([]byte, RawHeaderSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		if err == io.EOF {
			return Header{}, ErrHeader
		}
		return Header{}, err
	}
	if allZero(b) {
		return Header{}, ErrUnused
	}
	if string(b[:8]) != rawMagic || binary.BigEndian.Uint32(b[124:]) != crc32.Checksum(b[:124], castagnoli) {
		return Header{}, ErrHeader
	}
	h := Header{
		Seq:  binary.BigEndian.Uint64(b[8:]),
		Base: binary.BigEndian.Uint64(b[16:]),
		Size: int64(binary.BigEndian.Uint64(b[88:])),
	}
	copy(h.Prev[:], b[24:56])
	copy(h.Origin[:], b[56:88])
	if h.Size < RawHeaderSize || h.Base > 1<<62 {
		return Header{}, ErrHeader
	}
	return h, nil
}

// Ending says why a scan of a raw segment stopped.
type Ending int

const (
	// Padding: only zeros follow.
	Padding Ending = iota
	// Closed: a close mark was found, and nothing but zeros follows.
	Closed
	// Torn: the last write did not reach the disk completely, as a crash can leave it: whole sectors are missing.
	// Nothing in it was acknowledged.
	Torn
	// Stray: bytes follow that cannot have been acknowledged, since they are no complete group, and that no crash is
	// expected to leave. A writer may cut them off; a verifier reports them.
	Stray
	// Damaged: a group that was complete once is not what was written.
	Damaged
)

// Scanner walks the groups of a raw segment, checking checksums and links.
type Scanner struct {
	r      io.ReaderAt
	size   int64 // of the file
	off    int64 // of the next group
	index  uint64
	link   tlog.Hash
	window []byte // a piece of the file
	start  int64  // its offset
	reuse  bool   // the window's memory; else contents stay valid

	group   Group
	content []byte
	ending  Ending
	reason  string
	err     error
	done    bool
	// badMarks are the offsets of wrong end marks of groups that are good otherwise.
	badMarks []int64
	resumed  bool // the first group says where the scan begins
}

// NewScanner scans from off (RawHeaderSize for all groups), where the next entry has the given index and the group
// before it the given link. size is the file's length.
func NewScanner(r io.ReaderAt, size, off int64, index uint64, link tlog.Hash) *Scanner {
	return &Scanner{r: r, size: size, off: off, index: index, link: link}
}

// ResumeScanner scans from the group at off, whatever its index and link.
func ResumeScanner(r io.ReaderAt, size, off int64) *Scanner {
	return &Scanner{r: r, size: size, off: off, resumed: true}
}

// Reuse makes the scanner read into the same memory again and again: contents are valid until the next call of Next only.
func (s *Scanner) Reuse() { s.reuse = true }

// Next advances to the next group and reports whether there is one.
func (s *Scanner) Next() bool {
	if s.done {
		return false
	}
	g, sum, ok := s.header()
	if !ok || s.err != nil {
		return false
	}
	if s.resumed {
		s.resumed, s.index, s.link = false, g.Base, g.Prev
	}
	if g.Base != s.index || g.Prev != s.link {
		return s.stop(Damaged, "the group does not continue the one before it")
	}
	if s.off+g.Len() > s.size {
		return s.stop(Damaged, "the file ends within a group")
	}
	b, ok := s.view(s.off, int(g.Len()))
	if !ok {
		return false
	}
	content := b[GroupHeaderSize : len(b)-groupEndSize]
	if mark := b[len(b)-groupEndSize:]; string(mark) != groupEnd {
		s.classifyGroup(b, crc32.Checksum(content, castagnoli) == sum)
		if s.done {
			return false
		}
		s.badMarks = append(s.badMarks, s.off+g.Len()-groupEndSize)
	} else if crc32.Checksum(content, castagnoli) != sum {
		s.classifyGroup(b, false)
		return false
	}
	if g.Count == 0 {
		return s.close(g)
	}
	s.group, s.content = g, content[:len(content):len(content)]
	s.off += g.Len()
	s.index += uint64(g.Count)
	s.link = g.Link()
	return true
}

// Group is the header of the current group.
func (s *Scanner) Group() Group { return s.group }

// Content holds the records of the current group; it stays valid, unless Reuse was called.
func (s *Scanner) Content() []byte { return s.content }

// Offset is where the next group begins, in bytes.
func (s *Scanner) Offset() int64 { return s.off }

// Index is the index of the next entry.
func (s *Scanner) Index() uint64 { return s.index }

// Link is the link of the last group.
func (s *Scanner) Link() tlog.Hash { return s.link }

// BadMarks are the offsets, in bytes, of end marks that are damaged although their group's content is not.
func (s *Scanner) BadMarks() []int64 { return s.badMarks }

// Err is the error of reading the file, if that is what ended the scan.
func (s *Scanner) Err() error { return s.err }

// Ending tells, once Next has returned false and Err is nil, why; the reason is in plain words.
func (s *Scanner) Ending() (Ending, string) { return s.ending, s.reason }

func (s *Scanner) stop(e Ending, reason string) bool {
	s.done, s.ending, s.reason = true, e, reason
	return false
}

func (s *Scanner) fail(err error) {
	s.done, s.err = true, err
}

// header reads the group header at s.off; if there is none, it says why.
func (s *Scanner) header() (g Group, sum uint32, ok bool) {
	n := int(max(min(GroupHeaderSize, s.size-s.off), 0))
	h, ok := s.view(s.off, n)
	if !ok {
		return Group{}, 0, false
	}
	if allZero(h) {
		zero, at := s.zeroFrom(s.off)
		if s.err == nil && zero {
			s.stop(Padding, "")
		} else if s.err == nil {
			s.stop(Stray, fmt.Sprintf("byte %d lies after the last group and is not zero", at))
		}
		return Group{}, 0, false
	}
	g, sum, ok = parseGroupHeader(h)
	if ok {
		return g, sum, true
	}
	border := int(sector - s.off%sector)
	crossing := border < n // part of the header lies in one sector, the rest in the next
	switch zero, _ := s.zeroFrom(s.off + int64(n)); {
	case s.err != nil:
	case crossing && allZero(h[border:]) && string(h[:min(border, 8)]) == groupMagic[:min(border, 8)]:
		s.stop(Torn, "the last group's header was not written completely")
	case zero:
		s.stop(Stray, "the bytes after the last group are not a group")
	case crossing && allZero(h[:border]):
		s.stop(Stray, "the bytes after the last group are not the beginning of a group")
	default:
		s.stop(Damaged, "the group's header is damaged")
	}
	return Group{}, 0, false
}

// sector is the unit that a disk writes completely or not at all, in bytes.
const sector = 512

// classifyGroup decides what the group at s.off is, whose header is good and whose content or end mark is not. It does
// not stop if only the mark is wrong, and not for a write that was torn.
func (s *Scanner) classifyGroup(b []byte, contentGood bool) {
	zero, _ := s.zeroFrom(s.off + int64(len(b)))
	switch {
	case s.err != nil:
	case zero && s.missesSector(b):
		s.stop(Torn, "the last group was not written completely")
	case contentGood:
	case zero && allZero(b[len(b)-groupEndSize:]):
		s.stop(Stray, "the last group's end is missing")
	default:
		s.stop(Damaged, "the group's content is damaged")
	}
}

// missesSector reports whether the part of the group b at s.off that lies in some sector is all zero. No part of a
// complete group is, unless its entries hold so many zeros in a row.
func (s *Scanner) missesSector(b []byte) bool {
	for i := 0; i < len(b); {
		n := min(int(sector-(s.off+int64(i))%sector), len(b)-i)
		if allZero(b[i : i+n]) {
			return true
		}
		i += n
	}
	return false
}

func (s *Scanner) close(g Group) bool {
	s.off += g.Len()
	zero, at := s.zeroFrom(s.off)
	if s.err != nil {
		return false
	}
	if !zero {
		return s.stop(Stray, fmt.Sprintf("byte %d lies after the close mark and is not zero", at))
	}
	return s.stop(Closed, "")
}

// view returns n bytes of the file at off.
func (s *Scanner) view(off int64, n int) ([]byte, bool) {
	if off < s.start || off+int64(n) > s.start+int64(len(s.window)) {
		want := min(int64(max(n, 512<<10)), s.size-off)
		if want < int64(n) {
			s.fail(io.ErrUnexpectedEOF)
			return nil, false
		}
		w := s.window[:0]
		if !s.reuse || int64(cap(w)) < want {
			w = make([]byte, want)
		}
		w = w[:want]
		if m, err := s.r.ReadAt(w, off); err != nil && !(err == io.EOF && m == len(w)) {
			s.fail(err)
			return nil, false
		}
		s.window, s.start = w, off
	}
	return s.window[off-s.start:][:n], true
}

// zeroFrom reports whether all bytes from off to the end are zero, and if not, where the first other one is.
func (s *Scanner) zeroFrom(off int64) (bool, int64) {
	zero, at, err := ZeroFrom(s.r, s.size, off)
	if err != nil {
		s.fail(err)
	}
	return zero, at
}

// ZeroFrom reports whether all bytes of a file from off to its end at size are zero, and if not, where the first
// other one is.
func ZeroFrom(r io.ReaderAt, size, off int64) (zero bool, at int64, err error) {
	buf := make([]byte, min(256<<10, max(size-off, 0)))
	for off < size {
		b := buf[:min(int64(len(buf)), size-off)]
		if n, err := r.ReadAt(b, off); err != nil && !(err == io.EOF && n == len(b)) {
			return false, off, err
		}
		if !allZero(b) {
			for i, c := range b {
				if c != 0 {
					return false, off + int64(i), nil
				}
			}
		}
		off += int64(len(b))
	}
	return true, 0, nil
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
