package activity

import (
	"bytes"
	"fmt"
	"sort"
	"sync"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/pdp"
)

// item is what is needed of a decision to follow it.
type item struct {
	ticket   *ledger.Ticket // nil while the log is read
	durable  bool
	index    uint64
	id       string
	time     aver.Time
	at       uint64 // size of the authority log
	pep      aver.PEP
	allowed  bool
	request  []byte
	token    *aver.Token
	omitted  []string
	decision *aver.Decision
	facts    []aver.Ref // what deciding looked up; not known while the log is read
	timed    bool
}

// newItem is an item that says no more than that the decision was made.
func newItem(r *aver.Record) item {
	return item{id: r.ID, time: r.Time, pep: r.PEP, allowed: r.Decision.Outcome.Allowed()}
}

// take adds what it takes to follow the authorization.
func (it *item) take(r *aver.Record) {
	it.at, it.request, it.token, it.omitted = r.Authority.Size, r.Request, r.Token, r.Omitted
	d := &aver.Decision{Actor: r.Decision.Actor, Counters: r.Decision.Counters}
	d.Outcome = r.Decision.Outcome
	for _, f := range pdp.Frames(&r.Decision) {
		d.Frames = append(d.Frames, aver.Frame{As: f.As, Entity: f.Entity, Grant: f.Grant})
	}
	for _, p := range r.Decision.Parts {
		d.Parts = append(d.Parts, aver.PartDecision{ID: p.ID, Ruling: aver.Ruling{Outcome: p.Outcome, Frames: d.Frames}})
	}
	it.decision = d
}

// input holds decisions on their way from the decision point, so that the point
// never waits.
type input struct {
	wake    chan struct{}
	max     int
	mu      sync.Mutex
	items   []item
	dropped uint64
}

// Recorded takes in a decision that has its place in the log. It is what
// [pdp.Options.Recorded] wants.
func (t *Tracker) Recorded(r *aver.Record, e *pdp.Evidence, ticket *ledger.Ticket) {
	if !r.Decision.Outcome.Allowed() && r.PEP.Instance == "" {
		return
	}
	it := newItem(r)
	it.ticket = ticket
	followed := t.listeners.wants(r.PEP)
	if it.allowed && followed {
		it.take(r)
		it.timed = e.ReadsTime()
		for _, f := range e.Facts() {
			it.facts = append(it.facts, f.Ref)
		}
		it.facts = append(it.facts, e.Watched()...)
	}
	in := &t.input
	in.mu.Lock()
	if len(in.items) < in.max {
		in.items = append(in.items, it)
	} else if it.allowed {
		in.dropped++
	}
	in.mu.Unlock()
	if !followed {
		return // it is taken in with the next tick
	}
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

func (in *input) take() ([]item, uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	items, dropped := in.items, in.dropped
	in.items, in.dropped = nil, 0
	return items, dropped
}

// rebuild reads the end of the decision log, and sets the state that events are
// compared with from now on.
func (t *Tracker) rebuild() error {
	size, _ := t.o.Decisions.Head()
	from, err := t.begin(size)
	if err != nil {
		return err
	}
	t.st = t.o.State()
	t.chains.from, t.gaps.whole = from, from == 0
	var items []item
	oldest := t.st.Size()
	for e, err := range t.o.Decisions.Entries(from, size) {
		if err != nil {
			return err
		}
		it, err := t.read(e)
		if err != nil {
			return fmt.Errorf("decision log, entry %d: %w", e.Index, err)
		}
		if it != nil {
			items = append(items, *it)
			if it.decision != nil && !t.chains.ends(it.id) {
				oldest = min(oldest, it.at)
			}
		}
	}
	// What is open began at an earlier state perhaps; further back than this it is compared from here on only.
	if floor := t.st.Size() - min(t.st.Size(), stepsKept); oldest < floor {
		oldest = floor
	}
	st := t.st
	if oldest < st.Size() {
		if st, err = authority.Fold(authority.New(), pap.Events(t.o.History.log.Entries(0, oldest))); err != nil {
			return err
		}
	}
	t.o.History.Begin(st)
	for i := range items {
		if items[i].decision != nil {
			items[i].at = max(items[i].at, oldest)
		}
		t.add(&items[i])
	}
	now := aver.TimeOf(t.o.Now())
	t.expire(now)
	t.forget(now)
	return nil
}

// begin returns where in the log to begin reading.
func (t *Tracker) begin(size uint64) (uint64, error) {
	from := size - min(size, uint64(t.o.MaxOpen))
	oldest := aver.TimeOf(t.o.Now().Add(-t.o.MaxAge))
	var failed error
	n := sort.Search(int(size-from), func(i int) bool {
		text, err := t.o.Decisions.Leaf(from + uint64(i))
		if err == nil {
			var leaf aver.Leaf
			if leaf, err = aver.ParseLeaf(text); err == nil {
				return leaf.Time >= oldest
			}
		}
		failed = err
		return true
	})
	if failed != nil {
		return 0, failed
	}
	from += uint64(n)
	t.gaps.since = oldest
	if from < size {
		text, err := t.o.Decisions.Leaf(from)
		if err != nil {
			return 0, err
		}
		leaf, err := aver.ParseLeaf(text)
		if err != nil {
			return 0, err
		}
		t.gaps.since = leaf.Time
	} else {
		t.gaps.since = aver.TimeOf(t.o.Now())
	}
	return from, nil
}

// read reads one entry: a decision to follow, or an activity, which is taken in
// at once.
func (t *Tracker) read(e ledger.Indexed) (*item, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return nil, err
	}
	if e.Erased {
		return nil, nil
	}
	if leaf.Kind == aver.KindActivity {
		a, err := aver.ParseActivity(e.Payload)
		if err != nil {
			return nil, err
		}
		t.chains.add(a, e.Index, nil)
		t.gaps.saw(a.PEP, a.Time)
		t.gaps.found(a)
		return nil, nil
	}
	allowed := leaf.Outcome != nil && leaf.Outcome.Allowed()
	// Most records need not be parsed: what they might hold shows in their text.
	if !bytes.Contains(e.Payload, []byte(`"instance":`)) && !bytes.Contains(e.Payload, []byte(`"`+aver.Self+`"`)) {
		if !allowed {
			return nil, nil
		}
		return &item{index: e.Index, id: leaf.ID, time: leaf.Time, allowed: true}, nil
	}
	it, err := readItem(e.Entry, e.Index)
	if err != nil || it == nil || !it.allowed && it.pep.Instance == "" {
		return nil, err
	}
	return it, nil
}

// readItem reads all that is needed of the decision in an entry. It is nil for
// one about the administration of Aver itself, which is no work in flight.
func readItem(e ledger.Entry, index uint64) (*item, error) {
	record, err := aver.ParseRecord(e.Payload)
	if err != nil || record.PEP.Credential == aver.Self {
		return nil, err
	}
	it := newItem(record)
	it.index = index
	if it.allowed {
		it.take(record)
		it.timed = true // what it rests on shows only when it is decided again, so each event is looked at
	}
	return &it, nil
}
