package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"
)

// Sizes and limits of sealed segments, in bytes.
const (
	sealedHeaderSize = 144
	sealedFooterSize = 64
	blockEntrySize   = 64

	blockRecords = 128     // records of a block at most
	fullRecords  = 64      // with so many it is full: to pack more at once takes a millisecond and more
	blockBytes   = 1 << 20 // a block that has reached this many uncompressed bytes is full
	// maxStream bounds what one stream of a block can unpack to.
	maxStream = blockBytes + MaxPayload + MaxPrivate + MaxLeaf + blockRecords*binary.MaxVarintLen32
)

const (
	sealedMagic = "AVERSEA1"
	// erasedMagic begins a segment of which something may have been erased: the lengths of payloads and private parts
	// are one more than they are, and 0 stands for a part that is gone.
	erasedMagic = "AVERSEA2"
	sealedEnd   = "AVERSEAE"
)

// The streams of a block. Each part of the records has its own, so that one can be erased without touching the others.
const (
	streamLeaf = iota
	streamPayload
	streamPrivate
	streams
)

// extent is a compressed stream in the file.
type extent struct {
	off    uint64
	packed uint32 // bytes in the file
	length uint32 // bytes once unpacked
	sum    uint32 // CRC-32C of the packed bytes
}

type block struct {
	first   uint64 // index of the first record
	count   uint32
	extents [streams]extent
}

var encoder = sync.OnceValue(func() *zstd.Encoder {
	// One goroutine: sealing is background work and must leave the cores to those who wait for an answer. The fastest level:
	// decision records take the same space within 1 % at the default one, which needs half as much time again.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err) // only wrong options can cause it
	}
	return e
})

// Sealer writes a sealed segment: Add each record, EndGroup after each group, then Finish.
type Sealer struct {
	w      io.WriterAt
	off    int64
	digest hash.Hash
	head   Header
	erased bool // lengths as after [erasedMagic]

	blocks  []block
	count   uint64
	pending block
	raw     [streams][]byte
	packed  []byte
	groups  []byte // uvarints: entries of each group
	ngroups uint32
}

// NewSealer starts a sealed segment on an empty file; h is the header of the raw one.
func NewSealer(w io.WriterAt, h Header, count uint64, last tlog.Hash) (*Sealer, error) {
	return newSealer(w, sealedMagic, h, count, last)
}

func newSealer(w io.WriterAt, magic string, h Header, count uint64, last tlog.Hash) (*Sealer, error) {
	s := &Sealer{w: w, digest: sha256.New(), head: h, erased: magic == erasedMagic}
	b := make([]byte, sealedHeaderSize)
	copy(b, magic)
	binary.BigEndian.PutUint64(b[8:], h.Seq)
	binary.BigEndian.PutUint64(b[16:], h.Base)
	binary.BigEndian.PutUint64(b[24:], count)
	copy(b[32:64], h.Prev[:])
	copy(b[64:96], last[:])
	copy(b[96:128], h.Origin[:])
	binary.BigEndian.PutUint32(b[140:], crc32.Checksum(b[:140], castagnoli))
	return s, s.write(b)
}

func (s *Sealer) write(b []byte) error {
	if _, err := s.w.WriteAt(b, s.off); err != nil {
		return err
	}
	s.digest.Write(b)
	s.off += int64(len(b))
	return nil
}

// Add adds a record.
func (s *Sealer) Add(e Entry) error {
	if s.pending.count == 0 {
		s.pending.first = s.head.Base + s.count
	}
	for i, part := range [streams][]byte{e.Leaf, e.Payload, e.Private} {
		length := uint64(len(part))
		switch {
		case !s.erased || i == streamLeaf:
		case e.Erased:
			length, part = 0, nil
		default:
			length++
		}
		s.raw[i] = binary.AppendUvarint(s.raw[i], length)
		s.raw[i] = append(s.raw[i], part...)
	}
	s.count++
	s.pending.count++
	if s.pending.count == fullRecords || len(s.raw[0])+len(s.raw[1])+len(s.raw[2]) >= blockBytes {
		return s.flush()
	}
	return nil
}

// Rewrite copies the segment from r to the empty file w, without the parts that edit takes away: it is called for each
// entry, in order, and returns what is to be left of the private part, or that payload and private part are to go.
// Leaves stay, and so do all links. pace is called between blocks, and ends the rewriting by an error.
func (s *Sealed) Rewrite(r io.ReaderAt, w io.WriterAt, edit func(index uint64, e Entry) (private []byte, erase bool), pace func() error) error {
	groups, err := s.groupCounts(r)
	if err != nil {
		return err
	}
	out, err := newSealer(w, erasedMagic, s.Header, s.Count, s.Last)
	if err != nil {
		return err
	}
	for n := range s.blocks {
		entries, err := s.Entries(r, n)
		if err != nil {
			return err
		}
		for i, e := range entries {
			if !e.Erased {
				if e.Private, e.Erased = edit(s.First(n)+uint64(i), e); len(e.Private) > MaxPrivate {
					return fmt.Errorf("a private part of %d bytes is too large", len(e.Private))
				}
			}
			if err := out.Add(e); err != nil {
				return err
			}
		}
		if err := pace(); err != nil {
			return err
		}
	}
	for _, n := range groups {
		out.EndGroup(n)
	}
	return out.Finish()
}

// EndGroup records that the entries added since the last call were one commit group.
func (s *Sealer) EndGroup(count uint32) {
	s.groups = binary.AppendUvarint(s.groups, uint64(count))
	s.ngroups++
}

func (s *Sealer) flush() error {
	if s.pending.count == 0 {
		return nil
	}
	for i := range s.raw {
		s.packed = encoder().EncodeAll(s.raw[i], s.packed[:0])
		s.pending.extents[i] = extent{
			off: uint64(s.off), packed: uint32(len(s.packed)), length: uint32(len(s.raw[i])),
			sum: crc32.Checksum(s.packed, castagnoli),
		}
		if err := s.write(s.packed); err != nil {
			return err
		}
		s.raw[i] = s.raw[i][:0]
	}
	s.blocks = append(s.blocks, s.pending)
	s.pending = block{}
	return nil
}

// Finish writes the index and the footer. The file must then be synced and checked before the raw segment goes.
func (s *Sealer) Finish() error {
	if err := s.flush(); err != nil {
		return err
	}
	start := s.off
	var b []byte
	for _, bl := range s.blocks {
		b = binary.BigEndian.AppendUint32(b, bl.count)
		for _, x := range bl.extents {
			b = binary.BigEndian.AppendUint64(b, x.off)
			b = binary.BigEndian.AppendUint32(b, x.packed)
			b = binary.BigEndian.AppendUint32(b, x.length)
			b = binary.BigEndian.AppendUint32(b, x.sum)
		}
	}
	b = append(b, s.groups...)
	if err := s.write(b); err != nil {
		return err
	}
	f := make([]byte, 0, sealedFooterSize)
	f = binary.BigEndian.AppendUint64(f, uint64(start))
	f = binary.BigEndian.AppendUint32(f, uint32(len(s.blocks)))
	f = binary.BigEndian.AppendUint32(f, uint32(len(s.groups)))
	f = binary.BigEndian.AppendUint32(f, s.ngroups)
	f = binary.BigEndian.AppendUint32(f, crc32.Checksum(b, castagnoli))
	if err := s.write(f); err != nil {
		return err
	}
	return s.write(append(s.digest.Sum(nil), sealedEnd...))
}
