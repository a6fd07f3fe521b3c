package index

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
)

// Bounds of what a [Handover] holds. What is not within them is read from the log.
const (
	maxHeld       = 8192     // entries after the last that is indexed
	maxHeldWeight = 16 << 20 // bytes, about
)

// Handover hands decisions to an index as they are recorded, so that it need not read back and parse what its own
// process has just written. It holds a bounded number of them, and may miss any: those the index reads from the log.
// The zero value is ready to use, and takes nothing until an index does.
type Handover struct {
	end atomic.Uint64 // entries from here on are not taken: the index is not there yet, or far behind

	mu     sync.Mutex
	start  uint64 // entries before are not taken any more, see forget
	weight int    // of all that is held
	items  []handed

	held []handed // taken over by the index, not indexed yet; of whoever follows
}

type handed struct {
	record *aver.Record
	ticket *ledger.Ticket
}

// weight is about how many bytes of memory a decision keeps alive.
func (h handed) weight() int {
	r := h.record
	weight := 2<<10 + len(r.Request) + 1<<10*len(r.Decision.Parts) + 256*(len(r.Decision.Frames)+len(r.Decision.Reasons))
	for _, path := range r.Omitted { // the caller chose how long
		weight += 64 + len(path)
	}
	return weight
}

// Add takes over a decision that has its place in the log, durable or not. It does not wait. The record must not be
// changed any more.
func (h *Handover) Add(r *aver.Record, ticket *ledger.Ticket) {
	index := ticket.Index()
	if index >= h.end.Load() {
		return
	}
	if !utf8.ValidString(r.PEP.RequestID) { // the log has other text
		return
	}
	it := handed{r, ticket}
	weight := it.weight()
	h.mu.Lock()
	defer h.mu.Unlock()
	if index < h.start || h.weight+weight > maxHeldWeight {
		return
	}
	h.weight += weight
	h.items = append(h.items, it)
}

// expect says how far the index goes: entries shortly after are of use.
func (h *Handover) expect(next uint64) { h.end.Store(next + maxHeld) }

// stop lets go of everything, and takes nothing until it is told again what to expect.
func (h *Handover) stop() {
	h.end.Store(0)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.weight, h.items, h.held = 0, nil, nil
}

// forget lets go of entries up to an index, and takes none of them any more: they may have been erased, which only the
// log tells.
func (h *Handover) forget(end uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.start = max(h.start, end)
	h.collect()
	h.held = slices.DeleteFunc(h.held, func(it handed) bool {
		if it.ticket.Index() >= end {
			return false
		}
		h.weight -= it.weight()
		return true
	})
}

// collect adds what came in to what is held. The lock is held.
func (h *Handover) collect() {
	h.held = append(h.held, h.items...)
	clear(h.items)
	h.items = h.items[:0]
}

// take returns the records of the entries [from, to), which are committed, as far as they were handed over, by their
// distance from the first; nil where the log has to be read. It lets go of these and all before.
func (h *Handover) take(ctx context.Context, from, to uint64) ([]*aver.Record, error) {
	records := make([]*aver.Record, to-from)
	if h == nil {
		return records, nil
	}
	h.mu.Lock()
	h.collect()
	h.mu.Unlock()
	slices.SortStableFunc(h.held, func(a, b handed) int { return cmp.Compare(a.ticket.Index(), b.ticket.Index()) })
	weight, n := 0, 0
	for _, it := range h.held {
		index := it.ticket.Index()
		if index >= to {
			break
		}
		weight += it.weight()
		n++
		if index < from {
			continue
		}
		// It hardly waits: the entry is committed, or was dropped, and another got its index.
		if _, err := it.ticket.Wait(ctx); err == nil {
			records[index-from] = it.record
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	h.held = slices.Delete(h.held, 0, n)
	h.mu.Lock()
	h.weight -= weight
	h.mu.Unlock()
	return records, nil
}
