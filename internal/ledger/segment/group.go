package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"golang.org/x/mod/sumdb/tlog"
)

// Sizes of a group's fixed parts, in bytes. A group is a header, the content (its records) and an end mark.
const (
	GroupHeaderSize = 96
	groupEndSize    = 8
	recordHeader    = 12
	// GroupOverhead is what a group costs beyond its content.
	GroupOverhead = GroupHeaderSize + groupEndSize
)

// The marks contain no zero byte, so that a sector which never reached the disk shows.
const (
	groupMagic = "AVGROUP1"
	groupEnd   = "GROUPEND"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Group is the header of a commit group: the entries that were written and synced as one.
type Group struct {
	Base  uint64    // index of the first entry
	Count uint32    // entries; 0 in the close mark that ends a cleanly closed segment
	Size  uint32    // bytes of content
	Prev  tlog.Hash // link of the group before, or of the log's origin
	Root  tlog.Hash // RFC 6962 root of the entries' leaf hashes
}

// Len is the length of the whole group on the disk, in bytes.
func (g Group) Len() int64 { return int64(g.Size) + GroupOverhead }

// Link commits to the group and, through Prev, to all before it. It covers leaves only, so that it can be computed
// again from a sealed segment, payloads erased or not.
func (g Group) Link() tlog.Hash {
	b := make([]byte, 0, 128)
	b = append(b, "aver group v1\n"...)
	b = append(b, g.Prev[:]...)
	b = binary.BigEndian.AppendUint64(b, g.Base)
	b = binary.BigEndian.AppendUint32(b, g.Count)
	b = append(b, g.Root[:]...)
	return sha256.Sum256(b)
}

// OriginLink is the link that the first group of a log names as the one before it.
func OriginLink(origin string) tlog.Hash { return sha256.Sum256([]byte("aver log v1\n" + origin)) }

// OriginDigest is how a segment's header names its log.
func OriginDigest(origin string) tlog.Hash { return sha256.Sum256([]byte(origin)) }

// Builder assembles a group in memory, so that it can be written with one call.
type Builder struct {
	buf    []byte
	Hashes []tlog.Hash // leaf hashes, in order
}

// Reset makes the builder empty again and keeps its buffer. Hashes is given away.
func (b *Builder) Reset() {
	if cap(b.buf) == 0 {
		b.buf = make([]byte, 0, 64<<10)
	}
	b.buf = b.buf[:GroupHeaderSize]
	b.Hashes = make([]tlog.Hash, 0, len(b.Hashes)) // about as many as the last time
}

// Add appends a record. The caller has checked the limits and computed the leaf's hash.
func (b *Builder) Add(e Entry, leafHash tlog.Hash) {
	var h [recordHeader]byte
	binary.BigEndian.PutUint32(h[0:], uint32(len(e.Leaf)))
	binary.BigEndian.PutUint32(h[4:], uint32(len(e.Payload)))
	binary.BigEndian.PutUint32(h[8:], uint32(len(e.Private)))
	b.buf = append(b.buf, h[:]...)
	b.buf = append(b.buf, e.Leaf...)
	b.buf = append(b.buf, e.Payload...)
	b.buf = append(b.buf, e.Private...)
	b.Hashes = append(b.Hashes, leafHash)
}

// Len is the length the group will have on the disk, in bytes.
func (b *Builder) Len() int { return len(b.buf) + groupEndSize }

// Cap is the capacity of its buffer, in bytes.
func (b *Builder) Cap() int { return cap(b.buf) }

// RecordLen is how much an entry adds to a group, in bytes.
func RecordLen(e Entry) int { return recordHeader + len(e.Leaf) + len(e.Payload) + len(e.Private) }

// Finish completes the group and returns its header and its bytes, which are valid until Reset.
func (b *Builder) Finish(base uint64, prev tlog.Hash) (Group, []byte) {
	content := b.buf[GroupHeaderSize:]
	g := Group{Base: base, Count: uint32(len(b.Hashes)), Size: uint32(len(content)), Prev: prev, Root: Root(b.Hashes)}
	g.putHeader(b.buf[:GroupHeaderSize], crc32.Checksum(content, castagnoli))
	b.buf = append(b.buf, groupEnd...)
	return g, b.buf
}

// CloseMark is an empty group: it ends a segment that was closed cleanly and is shorter than its header says.
func CloseMark(base uint64, prev tlog.Hash) []byte {
	var b Builder
	b.Reset()
	_, buf := b.Finish(base, prev)
	return buf
}

func (g Group) putHeader(h []byte, contentSum uint32) {
	copy(h[0:8], groupMagic)
	binary.BigEndian.PutUint32(h[8:], g.Size)
	binary.BigEndian.PutUint32(h[12:], g.Count)
	binary.BigEndian.PutUint64(h[16:], g.Base)
	copy(h[24:56], g.Prev[:])
	copy(h[56:88], g.Root[:])
	binary.BigEndian.PutUint32(h[88:], contentSum)
	binary.BigEndian.PutUint32(h[92:], crc32.Checksum(h[:92], castagnoli))
}

// parseGroupHeader reports ok only for a header whose checksum is right.
func parseGroupHeader(h []byte) (g Group, contentSum uint32, ok bool) {
	if len(h) < GroupHeaderSize || string(h[:8]) != groupMagic ||
		binary.BigEndian.Uint32(h[92:]) != crc32.Checksum(h[:92], castagnoli) {
		return Group{}, 0, false
	}
	g.Size = binary.BigEndian.Uint32(h[8:])
	g.Count = binary.BigEndian.Uint32(h[12:])
	g.Base = binary.BigEndian.Uint64(h[16:])
	copy(g.Prev[:], h[24:56])
	copy(g.Root[:], h[56:88])
	return g, binary.BigEndian.Uint32(h[88:]), true
}

// Records splits a group's content into its entries; they alias it.
func Records(content []byte, count uint32) ([]Entry, error) {
	if uint64(count)*recordHeader > uint64(len(content)) {
		return nil, fmt.Errorf("a group of %d bytes cannot hold %d records", len(content), count)
	}
	entries := make([]Entry, 0, count)
	for range count {
		if len(content) < recordHeader {
			return nil, fmt.Errorf("record %d of %d is cut off", len(entries), count)
		}
		nl := binary.BigEndian.Uint32(content[0:])
		np := binary.BigEndian.Uint32(content[4:])
		ns := binary.BigEndian.Uint32(content[8:])
		content = content[recordHeader:]
		if nl > MaxLeaf || np > MaxPayload || ns > MaxPrivate {
			return nil, fmt.Errorf("record %d of %d is over the limits", len(entries), count)
		}
		if uint64(nl)+uint64(np)+uint64(ns) > uint64(len(content)) {
			return nil, fmt.Errorf("record %d of %d is cut off", len(entries), count)
		}
		var e Entry
		e.Leaf, content = take(content, nl)
		e.Payload, content = take(content, np)
		e.Private, content = take(content, ns)
		entries = append(entries, e)
	}
	if len(content) > 0 {
		return nil, fmt.Errorf("%d bytes after the last record", len(content))
	}
	return entries, nil
}

// take cuts n bytes off b; nothing is nil.
func take(b []byte, n uint32) (part, rest []byte) {
	if n == 0 {
		return nil, b
	}
	return b[:n:n], b[n:]
}

// LeafHash is the RFC 6962 hash of a leaf.
func LeafHash(leaf []byte) tlog.Hash {
	// Most leaves fit a small buffer on the stack; tlog.RecordHash allocates.
	var buf [512]byte
	if len(leaf) < len(buf) {
		n := copy(buf[1:], leaf)
		return sha256.Sum256(buf[:1+n])
	}
	return tlog.RecordHash(leaf)
}

// Root is the RFC 6962 root of the tree of the given leaf hashes.
func Root(hashes []tlog.Hash) tlog.Hash {
	switch len(hashes) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return hashes[0]
	}
	k := 1
	for 2*k < len(hashes) {
		k *= 2
	}
	return tlog.NodeHash(Root(hashes[:k]), Root(hashes[k:]))
}
