package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func entry(n, size int) Entry {
	e := Entry{Leaf: fmt.Appendf(nil, "leaf %d", n), Payload: bytes.Repeat([]byte{'a' + byte(n%26)}, size)}
	if n%2 == 0 {
		e.Private = []byte("private")
	}
	return e
}

// file is a raw segment in memory.
type file struct{ b []byte }

func (f *file) ReadAt(b []byte, off int64) (int, error) { return bytes.NewReader(f.b).ReadAt(b, off) }
func (f *file) WriteAt(b []byte, off int64) (int, error) {
	if end := int(off) + len(b); end > len(f.b) {
		f.b = append(f.b, make([]byte, end-len(f.b))...)
	}
	return copy(f.b[off:], b), nil
}

const testOrigin = "segment.example"

// raw builds a raw segment of groups with the given numbers of entries, with payloads of some 100 bytes. It returns
// the offsets of the groups and of the end.
func raw(size int, groups ...int) (*file, []int64) {
	f := &file{make([]byte, size)}
	h := Header{Seq: 1, Base: 0, Prev: OriginLink(testOrigin), Origin: OriginDigest(testOrigin), Size: int64(size)}
	copy(f.b, h.Marshal())
	off, index, link := int64(RawHeaderSize), uint64(0), h.Prev
	offsets := []int64{off}
	for _, n := range groups {
		var b Builder
		b.Reset()
		for range n {
			e := entry(int(index)+len(b.Hashes), 100+len(b.Hashes))
			b.Add(e, LeafHash(e.Leaf))
		}
		g, buf := b.Finish(index, link)
		copy(f.b[off:], buf)
		off, index, link = off+g.Len(), index+uint64(n), g.Link()
		offsets = append(offsets, off)
	}
	return f, offsets
}

func scan(f *file) (entries int, ending Ending, s *Scanner) {
	s = NewScanner(f, int64(len(f.b)), RawHeaderSize, 0, OriginLink(testOrigin))
	for s.Next() {
		entries += int(s.Group().Count)
	}
	ending, _ = s.Ending()
	return entries, ending, s
}

// TestTornWrites takes every choice of sectors away from the last group, wherever it lies relative to their borders: no
// such end may be taken for damage, or the log could not be opened after a power cut.
func TestTornWrites(t *testing.T) {
	for shift := range 64 {
		f, _ := raw(RawHeaderSize)
		var before, last Builder
		before.Reset()
		before.Add(entry(0, shift*8+1), tlog.Hash{})
		g, buf := before.Finish(0, OriginLink(testOrigin))
		f.b = append(f.b, buf...)
		last.Reset()
		for i := range 12 {
			last.Add(entry(i, 100), tlog.Hash{})
		}
		_, buf = last.Finish(1, g.Link())
		offsets := []int64{int64(len(f.b)), int64(len(f.b) + len(buf))}
		f.b = append(append(f.b, buf...), make([]byte, 4096)...)
		whole := bytes.Clone(f.b)
		first, end := offsets[0]/sector, (offsets[1]-1)/sector
		for choice := range 1 << (end - first + 1) {
			copy(f.b, whole)
			for s := first; s <= end; s++ {
				if choice>>(s-first)&1 == 0 {
					clear(f.b[max(s*sector, offsets[0]):min((s+1)*sector, offsets[1])])
				}
			}
			entries, ending, s := scan(f)
			switch {
			case choice == 0 && ending == Padding && entries == 1:
			case choice == 1<<(end-first+1)-1 && ending == Padding && entries == 13:
			case (ending == Torn || ending == Stray) && entries == 1:
			default:
				_, reason := s.Ending()
				t.Fatalf("shift %d, sectors %b: %d entries, ending %d %s", shift, choice, entries, ending, reason)
			}
		}
	}
}

// TestTornAtEveryByte cuts the last group at each byte: the entries before it must be found, and none of it.
func TestTornAtEveryByte(t *testing.T) {
	f, offsets := raw(8192, 2, 3, 4)
	whole := bytes.Clone(f.b)
	for cut := offsets[2]; cut < offsets[3]; cut++ {
		copy(f.b, whole)
		clear(f.b[cut:])
		entries, ending, _ := scan(f)
		if cut >= offsets[3]-groupEndSize { // all of it but the mark at the end
			if entries != 9 {
				t.Fatalf("cut at %d: %d entries", cut, entries)
			}
			continue
		}
		if entries != 5 || ending == Damaged {
			t.Fatalf("cut at %d of %d: %d entries, ending %d", cut, offsets[3], entries, ending)
		}
	}
}

// TestFlippedBytes inverts bits of each byte of a raw segment after its header: none may pass, nor look like something
// that a crash leaves.
func TestFlippedBytes(t *testing.T) {
	for _, closed := range []bool{false, true} {
		f, offsets := raw(4096, 2, 1, 3)
		end := offsets[3]
		if closed {
			_, _, s := scan(f)
			copy(f.b[end:], CloseMark(s.Index(), s.Link()))
		}
		for i := RawHeaderSize; i < len(f.b); i++ {
			for _, mask := range []byte{0x01, 0x80, 0xff, byte(1 + i%255)} {
				f.b[i] ^= mask
				_, ending, s := scan(f)
				if ending != Stray && ending != Damaged && len(s.BadMarks()) == 0 {
					t.Fatalf("closed %v: flip %#x at byte %d (groups %v) went unnoticed, ending %d", closed, mask, i, offsets, ending)
				}
				f.b[i] ^= mask
			}
		}
	}
}

func TestHeaderFlips(t *testing.T) {
	f, _ := raw(1024, 1)
	for i := range RawHeaderSize {
		f.b[i] ^= 0x10
		if _, err := ReadHeader(f); !errors.Is(err, ErrHeader) {
			t.Fatalf("flip at byte %d: %v", i, err)
		}
		f.b[i] ^= 0x10
	}
	if _, err := ReadHeader(&file{make([]byte, 1024)}); !errors.Is(err, ErrUnused) {
		t.Errorf("all zero: %v", err)
	}
}

// seal seals a raw segment.
func seal(t testing.TB, f *file) *file {
	t.Helper()
	h, err := ReadHeader(f)
	if err != nil {
		t.Fatal(err)
	}
	n, _, end := scan(f)
	out := &file{}
	w, err := NewSealer(out, h, uint64(n), end.Link())
	if err != nil {
		t.Fatal(err)
	}
	s := NewScanner(f, int64(len(f.b)), RawHeaderSize, h.Base, h.Prev)
	for s.Next() {
		entries, err := Records(s.Content(), s.Group().Count)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := w.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		w.EndGroup(s.Group().Count)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return out
}

// checkSealed runs all checks of a sealed segment and returns its entries.
func checkSealed(b []byte) ([]Entry, error) {
	r := bytes.NewReader(b)
	s, err := OpenSealed(r, int64(len(b)))
	if err != nil {
		return nil, err
	}
	if err := s.Check(r); err != nil {
		return nil, err
	}
	var entries []Entry
	var hashes []tlog.Hash
	for i := range s.Blocks() {
		es, err := s.Entries(r, i)
		if err != nil {
			return nil, err
		}
		entries = append(entries, es...)
		for _, e := range es {
			hashes = append(hashes, LeafHash(e.Leaf))
		}
	}
	return entries, s.CheckLinks(r, hashes)
}

func TestSealedRoundTrip(t *testing.T) {
	f, _ := raw(1<<17, 1, 127, 200, 3)
	sealed := seal(t, f)
	entries, err := checkSealed(sealed.b)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	s := NewScanner(f, int64(len(f.b)), RawHeaderSize, 0, OriginLink(testOrigin))
	for s.Next() {
		want, _ := Records(s.Content(), s.Group().Count)
		for _, w := range want {
			e := entries[i]
			if !bytes.Equal(e.Leaf, w.Leaf) || !bytes.Equal(e.Payload, w.Payload) || !bytes.Equal(e.Private, w.Private) {
				t.Fatalf("entry %d differs", i)
			}
			i++
		}
	}
	if i != 331 || len(entries) != 331 {
		t.Fatalf("%d entries sealed of %d, want 331", len(entries), i)
	}
	rewritten(t, sealed, entries)
	opened, _ := OpenSealed(sealed, int64(len(sealed.b)))
	for i := range uint64(331) {
		b := opened.Block(i)
		if first := opened.First(b); i < first || i >= first+blockRecords {
			t.Fatalf("entry %d is not in block %d, which begins at %d", i, b, first)
		}
	}
}

// rewritten erases every third entry of a segment, and every private part: what is left is as it was, and any flipped byte
// shows.
func rewritten(t *testing.T, sealed *file, entries []Entry) {
	t.Helper()
	s, err := OpenSealed(sealed, int64(len(sealed.b)))
	if err != nil {
		t.Fatal(err)
	}
	out := &file{}
	err = s.Rewrite(sealed, out, func(i uint64, e Entry) ([]byte, bool) { return nil, i%3 == 0 }, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	got, err := checkSealed(out.b)
	if err != nil || len(got) != len(entries) {
		t.Fatalf("%d entries of %d: %v", len(got), len(entries), err)
	}
	for i, e := range got {
		want := Entry{Leaf: entries[i].Leaf, Payload: entries[i].Payload}
		if i%3 == 0 {
			want.Payload, want.Erased = nil, true
		}
		if !bytes.Equal(e.Leaf, want.Leaf) || !bytes.Equal(e.Payload, want.Payload) || e.Private != nil || e.Erased != want.Erased {
			t.Fatalf("entry %d: %+v", i, e)
		}
	}
	for i := 0; i < len(out.b); i += 7 {
		out.b[i] ^= 0x40
		if _, err := checkSealed(out.b); err == nil {
			t.Fatalf("flip at byte %d of %d went unnoticed", i, len(out.b))
		}
		out.b[i] ^= 0x40
	}
}

func TestSealedFlipsAndCuts(t *testing.T) {
	f, _ := raw(1<<17, 1, 127, 200)
	b := seal(t, f).b
	for i := range b {
		b[i] ^= 0x40
		if _, err := checkSealed(b); err == nil {
			t.Fatalf("flip at byte %d of %d went unnoticed", i, len(b))
		}
		b[i] ^= 0x40
	}
	for n := range b {
		if _, err := checkSealed(b[:n]); err == nil {
			t.Fatalf("cut to %d of %d bytes went unnoticed", n, len(b))
		}
	}
	if _, err := checkSealed(append(b, 0)); err == nil {
		t.Error("an added byte went unnoticed")
	}
}

// TestRoot compares with x/mod's tlog.
func TestRoot(t *testing.T) {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = stored[x]
		}
		return out, nil
	})
	var hashes []tlog.Hash
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, read)
		if err != nil {
			t.Fatal(err)
		}
		if got := Root(hashes); got != want {
			t.Fatalf("root of %d leaves is %s, want %s", n, got, want)
		}
		leaf := bytes.Repeat([]byte{byte(n)}, int(n)*3)
		if LeafHash(leaf) != tlog.RecordHash(leaf) {
			t.Fatalf("hash of a leaf of %d bytes differs", len(leaf))
		}
		hashes = append(hashes, LeafHash(leaf))
		more, err := tlog.StoredHashes(n, leaf, read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
	}
}

// FuzzScan feeds the scanner anything; it must end, and what it accepts must be well-formed.
func FuzzScan(f *testing.F) {
	seg, _ := raw(2048, 2, 1)
	f.Add(seg.b)
	f.Add(seg.b[:700])
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		b := bytes.Clone(seg.b)
		b[rnd.IntN(len(b))] ^= byte(1 + rnd.IntN(255))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		seg := &file{b}
		_, _ = ReadHeader(seg)
		s := NewScanner(seg, int64(len(b)), RawHeaderSize, 0, OriginLink(testOrigin))
		for s.Next() {
			entries, err := Records(s.Content(), s.Group().Count)
			if err == nil && len(entries) != int(s.Group().Count) {
				t.Fatalf("%d entries of %d", len(entries), s.Group().Count)
			}
			if s.Offset() > int64(len(b)) {
				t.Fatal("a group beyond the file")
			}
		}
	})
}

// FuzzSealed feeds the sealed parser anything; it must not panic nor allocate without bounds.
func FuzzSealed(f *testing.F) {
	seg, _ := raw(1<<15, 1, 50)
	f.Add(seal(f, seg).b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		s, err := OpenSealed(r, int64(len(b)))
		if err != nil {
			return
		}
		for i := range s.Blocks() {
			if _, err := s.Entries(r, i); err != nil {
				return
			}
		}
	})
}

// FuzzRecords: whatever is split must be what Builder makes of it again.
func FuzzRecords(f *testing.F) {
	var b Builder
	b.Reset()
	b.Add(entry(1, 10), tlog.Hash{})
	b.Add(entry(2, 0), tlog.Hash{})
	f.Add(b.buf[GroupHeaderSize:], uint32(2))
	f.Fuzz(func(t *testing.T, content []byte, count uint32) {
		entries, err := Records(content, count)
		if err != nil {
			return
		}
		var again Builder
		again.Reset()
		for _, e := range entries {
			again.Add(e, tlog.Hash{})
		}
		if !bytes.Equal(again.buf[GroupHeaderSize:], content) {
			t.Fatal("the records encode differently")
		}
	})
}
