package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"
)

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxStream))
	if err != nil {
		panic(err) // only wrong options can cause it
	}
	return d
})

// DamageError says where a segment is not what was written.
type DamageError struct {
	Offset int64 // in bytes, -1 if the whole file is meant
	Index  uint64
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("byte %d, entry %d: %s", e.Offset, e.Index, e.Reason)
}

// Sealed is the index of a sealed segment; it holds no file. It is immutable.
type Sealed struct {
	Header
	Count uint64    // entries
	Last  tlog.Hash // link of its last group

	erased  bool // written by [Sealed.Rewrite]
	blocks  []block
	groups  int64 // offset of the list of groups
	ngroups uint32
	footer  int64 // offset of the footer
}

// OpenSealed reads the header, footer and index of a sealed segment and checks their checksums. It does not read the
// entries; see Check. A *DamageError says what is wrong.
func OpenSealed(r io.ReaderAt, size int64) (*Sealed, error) {
	bad := func(off int64, reason string) (*Sealed, error) {
		return nil, &DamageError{Offset: off, Reason: reason}
	}
	if size < sealedHeaderSize+sealedFooterSize {
		return bad(-1, "the file is too short for a sealed segment")
	}
	h, err := readAt(r, 0, sealedHeaderSize)
	if err != nil {
		return nil, err
	}
	magic := string(h[:8])
	if magic != sealedMagic && magic != erasedMagic || binary.BigEndian.Uint32(h[140:]) != crc32.Checksum(h[:140], castagnoli) {
		return bad(0, "the sealed segment's header is damaged")
	}
	s := &Sealed{footer: size - sealedFooterSize, erased: magic == erasedMagic}
	s.Seq = binary.BigEndian.Uint64(h[8:])
	s.Base = binary.BigEndian.Uint64(h[16:])
	s.Count = binary.BigEndian.Uint64(h[24:])
	copy(s.Prev[:], h[32:64])
	copy(s.Last[:], h[64:96])
	copy(s.Origin[:], h[96:128])

	f, err := readAt(r, s.footer, sealedFooterSize)
	if err != nil {
		return nil, err
	}
	start := binary.BigEndian.Uint64(f[0:])
	nblocks := uint64(binary.BigEndian.Uint32(f[8:]))
	ngroups := uint64(binary.BigEndian.Uint32(f[12:]))
	if string(f[56:]) != sealedEnd || start < sealedHeaderSize || start > uint64(s.footer) ||
		nblocks*blockEntrySize+ngroups != uint64(s.footer)-start {
		return bad(s.footer, "the sealed segment's footer is damaged, or the file was cut")
	}
	b, err := readAt(r, int64(start), int(uint64(s.footer)-start))
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(f[20:]) != crc32.Checksum(b, castagnoli) {
		return bad(int64(start), "the sealed segment's index is damaged")
	}
	s.groups = int64(start + nblocks*blockEntrySize)
	s.ngroups = binary.BigEndian.Uint32(f[16:])
	return s, s.parseIndex(b, start, nblocks)
}

func (s *Sealed) parseIndex(b []byte, start, nblocks uint64) error {
	s.blocks = make([]block, nblocks)
	next, off := s.Base, uint64(sealedHeaderSize)
	for i := range s.blocks {
		e := b[i*blockEntrySize:]
		bl := block{first: next, count: binary.BigEndian.Uint32(e)}
		for j := range bl.extents {
			x := e[4+20*j:]
			bl.extents[j] = extent{
				off: binary.BigEndian.Uint64(x), packed: binary.BigEndian.Uint32(x[8:]),
				length: binary.BigEndian.Uint32(x[12:]), sum: binary.BigEndian.Uint32(x[16:]),
			}
			if bl.extents[j].off != off || bl.extents[j].length > maxStream {
				return &DamageError{Offset: int64(start), Index: next, Reason: "the sealed segment's index is inconsistent"}
			}
			off += uint64(bl.extents[j].packed)
		}
		if bl.count == 0 || bl.count > blockRecords {
			return &DamageError{Offset: int64(start), Index: next, Reason: "the sealed segment's index is inconsistent"}
		}
		next += uint64(bl.count)
		s.blocks[i] = bl
	}
	if off != start || next != s.Base+s.Count {
		return &DamageError{Offset: int64(start), Index: s.Base, Reason: "the sealed segment's index does not cover its entries"}
	}
	return nil
}

// Blocks is the number of blocks.
func (s *Sealed) Blocks() int { return len(s.blocks) }

// Block returns which block holds the entry with that index, which must be in the segment.
func (s *Sealed) Block(index uint64) int {
	return sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].first > index }) - 1
}

// First is the index of a block's first entry.
func (s *Sealed) First(block int) uint64 { return s.blocks[block].first }

// Leaves reads a block's entries without payload and private part.
func (s *Sealed) Leaves(r io.ReaderAt, block int) ([]Entry, error) {
	leaves, err := s.stream(r, block, streamLeaf)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(leaves))
	for i := range entries {
		entries[i].Leaf = leaves[i].bytes
	}
	return entries, nil
}

// Entries reads the entries of a block.
func (s *Sealed) Entries(r io.ReaderAt, block int) ([]Entry, error) {
	entries, err := s.Leaves(r, block)
	if err != nil {
		return nil, err
	}
	payloads, err := s.stream(r, block, streamPayload)
	if err != nil {
		return nil, err
	}
	privates, err := s.stream(r, block, streamPrivate)
	if err != nil {
		return nil, err
	}
	for i := range entries {
		entries[i].Payload, entries[i].Private = payloads[i].bytes, privates[i].bytes
		if entries[i].Erased = payloads[i].gone; payloads[i].gone != privates[i].gone {
			return nil, &DamageError{Offset: int64(s.blocks[block].extents[streamPayload].off), Index: s.blocks[block].first + uint64(i),
				Reason: "an entry is erased in part"}
		}
	}
	return entries, nil
}

// part is a part of an entry.
type part struct {
	bytes []byte
	gone  bool
}

func (s *Sealed) stream(r io.ReaderAt, n, stream int) ([]part, error) {
	bl := s.blocks[n]
	x := bl.extents[stream]
	bad := func(reason string) error {
		return &DamageError{Offset: int64(x.off), Index: bl.first, Reason: reason}
	}
	packed, err := readAt(r, int64(x.off), int(x.packed))
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(packed, castagnoli) != x.sum {
		return nil, bad("the block's checksum is wrong")
	}
	b, err := decoder().DecodeAll(packed, make([]byte, 0, x.length))
	if err != nil || len(b) != int(x.length) {
		return nil, bad("the block cannot be unpacked")
	}
	parts := make([]part, bl.count)
	for i := range parts {
		n, k := binary.Uvarint(b)
		if k > 0 && s.erased && stream != streamLeaf {
			if n == 0 {
				parts[i].gone, b = true, b[k:]
				continue
			}
			n--
		}
		if k <= 0 || n > uint64(len(b)-k) {
			return nil, bad("the block's records are cut off")
		}
		parts[i].bytes, b = take(b[k:], uint32(n))
	}
	if len(b) > 0 {
		return nil, bad("bytes after the block's last record")
	}
	return parts, nil
}

// Check reads the whole file and compares it with its SHA-256.
func (s *Sealed) Check(r io.ReaderAt) error {
	h := sha256.New()
	body := s.footer + sealedFooterSize - sha256.Size - int64(len(sealedEnd))
	if _, err := io.CopyBuffer(h, io.NewSectionReader(r, 0, body), make([]byte, 256<<10)); err != nil {
		return err
	}
	want, err := readAt(r, body, sha256.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return &DamageError{Offset: -1, Index: s.Base, Reason: "the sealed segment is not what was written: its SHA-256 differs"}
	}
	return nil
}

// CheckLinks computes the links of its groups from the leaf hashes of all its entries and compares them with the last.
func (s *Sealed) CheckLinks(r io.ReaderAt, hashes []tlog.Hash) error {
	bad := func(reason string) error {
		return &DamageError{Offset: s.groups, Index: s.Base, Reason: reason}
	}
	groups, err := s.groupCounts(r)
	if err != nil {
		return err
	}
	base, link := s.Base, s.Prev
	for _, n := range groups {
		if int(n) > len(hashes) {
			return bad("the list of commit groups does not fit the entries")
		}
		link = Group{Base: base, Count: n, Prev: link, Root: Root(hashes[:n])}.Link()
		base, hashes = base+uint64(n), hashes[n:]
	}
	if len(hashes) > 0 {
		return bad("the list of commit groups does not fit the entries")
	}
	if link != s.Last {
		return bad("the chain of commit groups does not lead to the link in the header")
	}
	return nil
}

// groupCounts reads how many entries each commit group has.
func (s *Sealed) groupCounts(r io.ReaderAt) ([]uint32, error) {
	bad := &DamageError{Offset: s.groups, Index: s.Base, Reason: "the list of commit groups does not fit the entries"}
	b, err := readAt(r, s.groups, int(s.footer-s.groups))
	if err != nil {
		return nil, err
	}
	counts := make([]uint32, 0, min(int(s.ngroups), len(b)))
	for range s.ngroups {
		n, k := binary.Uvarint(b)
		if k <= 0 || n == 0 || n > s.Count {
			return nil, bad
		}
		counts, b = append(counts, uint32(n)), b[k:]
	}
	if len(b) > 0 {
		return nil, bad
	}
	return counts, nil
}

// readAt reads exactly n bytes; the end of the file within them is damage.
func readAt(r io.ReaderAt, off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if m, err := r.ReadAt(b, off); err != nil && !(err == io.EOF && m == n) {
		if err == io.EOF {
			return nil, &DamageError{Offset: off, Reason: "the file ends too early"}
		}
		return nil, err
	}
	return b, nil
}
