package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/query"
)

const (
	maxBatch  = 8192                   // entries in one transaction
	pollEvery = 300 * time.Millisecond // how often Run looks for more
	retryIn   = 5 * time.Second        // after a failure, how long Run waits

	// While decisions are made, Run works little at a time and rests longer: they need
	// the processors more, and there is the time afterwards to catch up.
	fewEntries = 2048 // in one transaction meanwhile
	restIdle   = 1    // how often as long as it worked it rests when none are made,
	restBusy   = 9    // and when some are
)

// Run follows the logs until the context ends. It does half of what one processor
// could do at most, and a tenth while decisions are made.
func (x *Index) Run(ctx context.Context) {
	size := uint64(0)
	x.expect()
	for ctx.Err() == nil {
		rest, most := time.Duration(restIdle), uint64(maxBatch)
		head, _ := x.o.Decisions.Head()
		if size > 0 && head > size {
			rest, most = restBusy, fewEntries
		}
		size = head
		before := x.next.Load()
		x.pace.set(rest)
		err := x.refresh(ctx, nil, most)
		x.pace.set(0)
		wait := pollEvery
		switch {
		case err != nil && ctx.Err() == nil:
			x.o.Logger.Warn("the search index can't follow the logs at the moment", "error", err)
			wait = retryIn
		case x.next.Load()-before >= most:
			wait = time.Millisecond // it has rested in between
		}
		select {
		case <-ctx.Done():
		case <-x.wake:
		case <-time.After(wait):
		}
	}
}

// pace lets others go first: whoever works calls rest in between.
type pace struct {
	times   atomic.Int64 // how often as long as it worked it rests; 0: never
	begun   atomic.Int64 // to work, in nanoseconds of the clock
	hurried atomic.Int64 // by how many who wait
}

func (p *pace) set(times time.Duration) {
	p.begun.Store(time.Now().UnixNano())
	p.times.Store(int64(times))
}

// workAtOnce is how long is worked without a rest.
const workAtOnce = 200 * time.Microsecond

func (p *pace) rest() {
	times := time.Duration(p.times.Load())
	if times == 0 || p.hurried.Load() > 0 {
		return
	}
	if worked := time.Duration(time.Now().UnixNano() - p.begun.Load()); worked >= workAtOnce {
		time.Sleep(times * min(worked, 20*workAtOnce))
		p.begun.Store(time.Now().UnixNano())
	}
}

// Refresh brings the index up to the ends that the logs had when it was called.
// progress is told of every step, if it is not nil.
func (x *Index) Refresh(ctx context.Context, progress func(Status)) error {
	for {
		if err := x.refresh(ctx, progress, 0); err != nil {
			return err
		}
		if x.damage.Load() == nil {
			return nil
		}
	}
}

// refresh indexes at most that many entries, or all for 0.
func (x *Index) refresh(ctx context.Context, progress func(Status), most uint64) error {
	if x.o.ReadOnly {
		return errors.New("index: it was opened for reading only")
	}
	x.following.Lock()
	defer x.following.Unlock()
	if bad := x.damage.Load(); bad != nil {
		x.o.Logger.Warn("a part of the search index is damaged and is built again", "from_entry", bad.first, "error", bad.cause)
		if err := x.drop(ctx, bad.first); err != nil {
			return err
		}
	}
	// The events first: what they say about decisions then concerns some that are indexed below.
	events, _ := x.o.Authority.Head()
	size, _ := x.o.Decisions.Head()
	if most > 0 {
		size = min(size, x.next.Load()+most)
	}
	for x.next.Load() < size {
		from := x.next.Load()
		to := min(from+maxBatch, size)
		if err := x.decisions(ctx, from, to); err != nil {
			return x.noteDamage(err)
		}
		x.move(to)
		if progress != nil {
			progress(x.Status())
		}
	}
	if head, _ := x.o.Decisions.Head(); most > 0 && size < head { // some of what the events concern may not be indexed yet
		return nil
	}
	return x.noteDamage(x.events(ctx, events))
}

// noteDamage remembers which partition is to be built again.
func (x *Index) noteDamage(err error) error {
	var bad *damagedError
	if errors.As(err, &bad) && !x.o.ReadOnly {
		if old := x.damage.Load(); old == nil || old.first > bad.first {
			x.damage.Store(bad)
		}
	}
	return err
}

// firstOf is the first entry of the partition that an entry belongs to.
func (x *Index) firstOf(entry uint64) uint64 { return entry / x.o.Partition * x.o.Partition }

// partition returns the one that an entry belongs to; nil if it is gone. The list
// is held: by its lock, or by following, without which it does not change.
func (x *Index) partition(entry uint64) *partition {
	for i := len(x.parts) - 1; i >= 0; i-- {
		if p := x.parts[i]; p.first <= entry && entry < p.first+p.size {
			return p
		}
	}
	return nil
}

// decisions indexes the entries [from, to) of the decision log. What concerns
// older partitions is written before the position is, so that after a crash it is
// written again.
func (x *Index) decisions(ctx context.Context, from, to uint64) error {
	handed, err := x.o.Handed.take(ctx, from, to)
	if err != nil {
		return err
	}
	batches := batches{}
	for i := from; i < to; {
		if r := handed[i-from]; r != nil {
			x.pace.rest()
			batches.decided(x, query.FactsOf(i, r))
			i++
			continue
		}
		end := i + gap(handed[i-from:])
		for e, err := range x.o.Decisions.Entries(i, end) {
			if err != nil {
				return fmt.Errorf("index: decision log: %w", err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			x.pace.rest()
			if r := handed[e.Index-from]; r != nil {
				batches.decided(x, query.FactsOf(e.Index, r))
				continue
			}
			facts, l, err := read(e)
			if err != nil {
				x.o.Logger.Warn("an entry can't be read, so that it is searched by its leaf alone", "entry", e.Index, "error", err)
			}
			if facts != nil {
				batches.decided(x, facts)
			}
			if l != nil {
				b := batches.at(x.firstOf(l.decision))
				b.late = append(b.late, *l)
			}
		}
		i = end
	}
	for first := x.firstOf(from); first < to; first += x.o.Partition {
		batches.at(first).next = min(to, first+x.o.Partition)
	}
	return x.write(ctx, batches)
}

// batches are what is added, by the first entries of the partitions.
type batches map[uint64]*batch

func (b batches) at(first uint64) *batch {
	if b[first] == nil {
		b[first] = &batch{}
	}
	return b[first]
}

func (b batches) decided(x *Index, facts *query.Facts) {
	to := b.at(x.firstOf(facts.Index))
	to.decisions = append(to.decisions, facts)
}

// gapEnds is how many entries in a row are there when a gap is over: to read on to the next gap costs less than to begin
// again.
const gapEnds = 64

// gap is how many entries to read from the log at once, of records of which the first is missing: up to the last that
// is, before many that are not.
func gap(records []*aver.Record) uint64 {
	missing := 0
	for i, r := range records {
		if r == nil {
			missing = i
		} else if i-missing >= gapEnds {
			break
		}
	}
	return uint64(missing + 1)
}

// write applies batches, the oldest partition's first.
func (x *Index) write(ctx context.Context, batches batches) error {
	for _, first := range slices.Sorted(maps.Keys(batches)) {
		b := batches[first]
		p := x.partition(first)
		if p == nil {
			if b.next == 0 { // of a partition that is gone
				continue
			}
			var err error
			if p, err = x.add(ctx, first); err != nil {
				return err
			}
			b.authority = x.authority.Load()
		}
		if err := p.apply(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// add makes a new partition. The one before is complete: its writer is closed.
func (x *Index) add(ctx context.Context, first uint64) (*partition, error) {
	// A crash may have left one that nothing was written to.
	if err := removePartition(x.o.Dir, first); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	p, err := openPartition(ctx, x.o.Dir, first, x.o.Partition, x.o.Decisions.Origin(), true)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, old := range x.parts {
		if old.write != nil {
			if err := old.write.close(); err != nil {
				return nil, errors.Join(fmt.Errorf("index: %w", err), p.close())
			}
			old.write = nil
		}
	}
	p.pace = &x.pace
	x.parts = append(x.parts, p)
	return p, nil
}

// read makes facts of a decision, or what an activity adds to one. With an error
// the facts are those of the leaf.
func read(e ledger.Indexed) (*query.Facts, *late, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return nil, nil, err
	}
	switch leaf.Kind {
	case aver.KindDecision:
		if e.Erased {
			return query.FactsOfLeaf(e.Index, leaf), nil, nil
		}
		facts, err := query.ReadFacts(e.Index, e.Payload)
		if err != nil {
			return query.FactsOfLeaf(e.Index, leaf), nil, err
		}
		return facts, nil, nil
	case aver.KindActivity:
		if e.Erased {
			return nil, nil, nil
		}
		a, err := aver.ParseActivity(e.Payload)
		if err != nil || a.Decision == nil || *a.Decision >= e.Index {
			return nil, nil, err
		}
		return nil, &late{decision: *a.Decision, report: e.Index, terms: query.Reported(a)}, nil
	}
	return nil, nil, nil
}

// events indexes what the authority log says about decisions, up to a size.
func (x *Index) events(ctx context.Context, size uint64) error {
	from := x.authority.Load()
	newest := x.partition(x.next.Load() - min(1, x.next.Load()))
	if from >= size || newest == nil {
		return nil
	}
	batches := batches{}
	var erased []aver.IndexRange
	for e, err := range x.o.Authority.Entries(from, size) {
		if err != nil {
			return fmt.Errorf("index: authority log: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		x.pace.rest()
		l, gone, err := x.event(e)
		if err != nil {
			return fmt.Errorf("index: authority log, event %d: %w", e.Index, err)
		}
		erased = append(erased, gone...)
		if l != nil {
			b := batches.at(x.firstOf(l.decision))
			b.late = append(b.late, *l)
		}
	}
	slices.SortFunc(erased, func(a, b aver.IndexRange) int { return cmp.Compare(a.From, b.From) })
	if err := x.forget(ctx, erased); err != nil {
		return err
	}
	// The position comes last.
	position := batches.at(newest.first)
	delete(batches, newest.first)
	position.authority = size
	if err := x.write(ctx, batches); err != nil {
		return err
	}
	if err := newest.apply(ctx, position); err != nil {
		return err
	}
	x.authority.Store(size)
	return nil
}

// event is what an event of the authority log adds to a decision, or what it says
// is erased.
func (x *Index) event(e ledger.Indexed) (*late, []aver.IndexRange, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil || e.Erased {
		return nil, nil, err
	}
	switch aver.EventType(leaf.Type) {
	case aver.EventApprovalRequested:
		var asked aver.ApprovalRequest
		if err := decode(e, &asked); err != nil {
			return nil, nil, err
		}
		decision, err := pdp.Find(x.o.Decisions, x.next.Load(), asked.Evaluation)
		if errors.Is(err, pdp.ErrNotFound) {
			return nil, nil, nil
		}
		return &late{decision: decision, asked: &asked, terms: query.Asked(&asked)}, nil, err
	case aver.EventPayloadErased:
		var erased aver.ErasedEvidence
		if err := decode(e, &erased); err != nil || erased.Log != x.o.Decisions.Origin() {
			return nil, nil, err
		}
		return nil, erased.Ranges, nil
	}
	return nil, nil, nil
}

func decode(e ledger.Indexed, data any) error {
	event, err := aver.ParseEvent(e.Payload)
	if err != nil {
		return err
	}
	return event.DecodeData(data)
}
