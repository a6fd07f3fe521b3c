package index

import (
	"encoding/binary"
	"math/bits"
)

// blockRows is how many consecutive entries of the log share one posting of a
// term: few enough that the end of the index is cheap to write again.
const blockRows = 4096

// rows is a set of entries of one partition, a bit for each.
type rows []uint64

func newRows(n uint64) rows { return make(rows, n/64) }

func (r rows) set(i uint64) { r[i/64] |= 1 << (i % 64) }

func (r rows) has(i uint64) bool { return r[i/64]&(1<<(i%64)) != 0 }

func (r rows) and(by rows) {
	for i := range r {
		r[i] &= by[i]
	}
}

func (r rows) or(by rows) {
	for i := range r {
		r[i] |= by[i]
	}
}

func (r rows) without(by rows) {
	for i := range r {
		r[i] &^= by[i]
	}
}

func (r rows) empty() bool {
	for _, w := range r {
		if w != 0 {
			return false
		}
	}
	return true
}

func (r rows) count() (n int) {
	for _, w := range r {
		n += bits.OnesCount64(w)
	}
	return n
}

// block is the part of a set that belongs to a block.
func (r rows) block(n uint64) rows { return r[n*blockRows/64 : (n+1)*blockRows/64] }

// each calls yield with every member, from the lowest on, until it returns false.
func (r rows) each(yield func(uint64) bool) {
	for i, w := range r {
		for ; w != 0; w &= w - 1 {
			if !yield(uint64(i*64 + bits.TrailingZeros64(w))) {
				return
			}
		}
	}
}

// down calls yield with every member, from the highest on.
func (r rows) down(yield func(uint64) bool) {
	for i := len(r) - 1; i >= 0; i-- {
		for w := r[i]; w != 0; {
			high := 63 - bits.LeadingZeros64(w)
			if !yield(uint64(i*64 + high)) {
				return
			}
			w &^= 1 << high
		}
	}
}

// setRange sets the members in [from, to).
func (r rows) setRange(from, to uint64) {
	for i := from; i < to; {
		if i%64 == 0 && to-i >= 64 {
			r[i/64] = ^uint64(0)
			i += 64
			continue
		}
		r.set(i)
		i++
	}
}

// A posting is a set of rows of one block as it is stored: up to 255 as numbers
// of 16 bits, more as a bitmap of 512 bytes. Both are little-endian.

const bitmapBytes = blockRows / 8

// encodePosting writes the part of a set that belongs to one block.
func encodePosting(block rows) []byte {
	if n := block.count(); n < bitmapBytes/2 {
		out := make([]byte, 0, 2*n)
		block.each(func(i uint64) bool {
			out = binary.LittleEndian.AppendUint16(out, uint16(i))
			return true
		})
		return out
	}
	out := make([]byte, 0, bitmapBytes)
	for _, w := range block {
		out = binary.LittleEndian.AppendUint64(out, w)
	}
	return out
}

// addPosting adds a stored posting to the part of a set that belongs to its
// block. What is no posting adds nothing and returns false.
func addPosting(block rows, posting []byte) bool {
	if len(posting) == bitmapBytes {
		for i := range block {
			block[i] |= binary.LittleEndian.Uint64(posting[8*i:])
		}
		return true
	}
	if len(posting)%2 != 0 || len(posting) > bitmapBytes {
		return false
	}
	for ; len(posting) > 0; posting = posting[2:] {
		i := binary.LittleEndian.Uint16(posting)
		if i >= blockRows {
			return false
		}
		block.set(uint64(i))
	}
	return true
}

// A list of numbers by row is stored as pairs of varints: the difference to the
// row before, and the value.

type numbered struct {
	row   uint16
	value int64
}

func encodeNumbers(list []numbered) []byte {
	var out []byte
	var last uint16
	for _, n := range list {
		out = binary.AppendUvarint(out, uint64(n.row-last))
		out = binary.AppendVarint(out, n.value)
		last = n.row
	}
	return out
}

// decodeNumbers calls yield with each pair. What is no such list returns false.
func decodeNumbers(list []byte, yield func(row uint64, value int64)) bool {
	var row uint64
	for len(list) > 0 {
		step, n := binary.Uvarint(list)
		if n <= 0 {
			return false
		}
		value, m := binary.Varint(list[n:])
		if row += step; m <= 0 || row >= blockRows {
			return false
		}
		yield(row, value)
		list = list[n+m:]
	}
	return true
}
