package main

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"os"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
)

// answers keeps on the disk which answers were received, since there may be many millions: for each the index of its
// record and its id.
type answers struct {
	mu sync.Mutex
	f  *os.File
	w  *bufio.Writer
	n  uint64
}

// received is one answer.
type received struct {
	index uint64
	id    uuid.UUID
}

const receivedSize = 8 + 16

func newAnswers(file string) (*answers, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return &answers{f: f, w: bufio.NewWriter(f)}, nil
}

func (a *answers) close() { a.f.Close() }

func (a *answers) add(index uint64, id string) error {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return err
	}
	var b [receivedSize]byte
	binary.BigEndian.PutUint64(b[:8], index)
	copy(b[8:], parsed[:])
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	_, err = a.w.Write(b[:])
	return err
}

func (a *answers) count() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

// list reads all answers, by index.
func (a *answers) list() ([]received, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.w.Flush(); err != nil {
		return nil, err
	}
	if _, err := a.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	out := make([]received, 0, a.n)
	r := bufio.NewReader(a.f)
	for {
		var b [receivedSize]byte
		if _, err := io.ReadFull(r, b[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		out = append(out, received{binary.BigEndian.Uint64(b[:8]), uuid.UUID(b[8:])})
	}
	slices.SortFunc(out, func(x, y received) int { return cmp.Compare(x.index, y.index) })
	return out, nil
}

// compare counts the answers that do not stand in the log where their receipts say: exactly one record of that id, at
// that index.
func (a *answers) compare(data string) (missing, all int, err error) {
	list, err := a.list()
	if err != nil {
		return 0, 0, err
	}
	logs, err := datadir.OpenReaders(data)
	if err != nil {
		return 0, 0, err
	}
	defer logs.Close()
	size, _ := logs.Decisions.Head()
	ids := func(yield func(received, error) bool) {
		for e, err := range logs.Decisions.Entries(0, size) {
			r := received{index: e.Index}
			var leaf aver.Leaf
			if err == nil {
				leaf, err = aver.ParseLeaf(e.Leaf)
			}
			if err == nil {
				r.id, err = uuid.Parse(leaf.ID)
			}
			if !yield(r, err) {
				return
			}
		}
	}
	missing, err = missingFrom(list, ids)
	return missing, len(list), err
}

// missingFrom counts the answers, sorted by index, that the log does not hold as they say. The log yields what
// stands at each index, in order. An id that stands twice counts as missing where it is second.
func missingFrom(list []received, log iter.Seq2[received, error]) (missing int, err error) {
	seen := make(map[uuid.UUID]bool, len(list))
	at := 0
	for entry, e := range log {
		if e != nil {
			return 0, e
		}
		twice := seen[entry.id]
		seen[entry.id] = true
		held := false // one answer for each index
		for ; at < len(list) && list[at].index <= entry.index; at++ {
			if list[at] != entry || twice || held {
				missing++
			}
			held = true
		}
	}
	return missing + len(list) - at, nil
}
