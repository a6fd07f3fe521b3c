package retention

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/google/uuid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
)

// batchSize is how many entries are erased by one event, at most.
const batchSize = 200_000

// overlap is how many entries before the end of the last sweep are looked at again: times in the log are not quite in order.
const overlap = 4096

var self = pap.Administrator{By: aver.By{Name: aver.Self, Method: aver.MethodInternal}}

func ignoreErased(err error) error {
	if errors.Is(err, ledger.ErrErased) {
		return nil
	}
	return err
}

// sweep does all that is due.
func (k *Keeper) sweep(ctx context.Context) (Report, error) {
	var report Report
	if err := k.finish(ctx, &report); err != nil {
		return report, err
	}
	for _, e := range k.state().Erasures() {
		if e.Approved == nil || e.Completed != nil {
			continue
		}
		if err := k.erase(ctx, e, &report); err != nil {
			return report, fmt.Errorf("erasure %s: %w", e.ID, err)
		}
	}
	for _, c := range k.state().RetentionClasses() {
		if err := k.expire(ctx, c.Name, &report); err != nil {
			return report, fmt.Errorf("class %s: %w", c.Name, err)
		}
	}
	return report, nil
}

// finish completes what was interrupted: an event says that it is erased.
func (k *Keeper) finish(ctx context.Context, report *Report) error {
	for _, e := range k.state().ErasedEvidence() {
		if e.Completed == nil {
			if err := k.carryOut(ctx, e); err != nil {
				return fmt.Errorf("finish %s: %w", e.ID, err)
			}
			report.add(e)
		}
	}
	return nil
}

// expire erases the payloads of a class whose period is over.
func (k *Keeper) expire(ctx context.Context, name string, report *Report) error {
	var from, kept uint64
	first := true
	held := uint64(math.MaxUint64) // the first entry that is held
	for {
		st, size := k.look()
		rule := ruleOf(st, name)
		if rule == nil || rule.Period == 0 {
			return nil
		}
		if first {
			from, first = k.from(name, rule, st), false
		}
		limit := aver.TimeOf(k.o.Now()) - aver.Time(rule.Period*1000)
		end, err := k.indexAt(limit, size)
		if err != nil {
			return err
		}
		b := batch{k: k, st: st, kind: aver.ErasePayloads}
		next := max(from, end)
		for e, err := range k.o.Decisions.Leaves(from, next) {
			if err != nil {
				return err
			}
			leaf, err := aver.ParseLeaf(e.Leaf)
			if err != nil {
				return fmt.Errorf("entry %d: %w", e.Index, err)
			}
			if leaf.ClassName() == name && leaf.Time <= limit {
				before := b.held
				if err := b.add(e.Index, &leaf, nil); err != nil {
					return fmt.Errorf("entry %d: %w", e.Index, err)
				}
				if b.held > before {
					held = min(held, e.Index)
				}
			}
			if b.full() {
				next = e.Index + 1
				break
			}
			if err := k.rest(ctx, e.Index); err != nil {
				return err
			}
		}
		again, err := b.commit(ctx, aver.ErasedEvidence{Class: name}, report)
		if err != nil {
			return err
		}
		if again {
			continue // a hold or another rule came between
		}
		kept += b.held
		if from = next; from >= end {
			k.cursors[name] = cursor{min(held, end-min(end, overlap)), rule.Event, released(st)}
			report.Held += kept
			return nil
		}
	}
}

// ruleOf is the rule of a class that is in force; nil if there is none.
func ruleOf(st *authority.State, name string) *authority.RetentionVersion {
	for _, c := range st.RetentionClasses() {
		if c.Name == name {
			return c.InForce
		}
	}
	return nil
}

// erase carries out an approved request, as far as no hold stands against it. It covers what was recorded before it was
// approved.
func (k *Keeper) erase(ctx context.Context, request *authority.Erasure, report *Report) error {
	if !k.due(request) {
		return nil
	}
	var from, kept uint64
	for {
		st, size := k.look()
		b := batch{k: k, st: st, kind: request.Kind}
		next := size
		for e, err := range k.o.Decisions.Leaves(from, size) {
			if err != nil {
				return err
			}
			leaf, err := aver.ParseLeaf(e.Leaf)
			if err != nil {
				return fmt.Errorf("entry %d: %w", e.Index, err)
			}
			// One that is younger does not end it: times in the log are not quite in order.
			if leaf.Time < request.Approved.Time && request.Scope.MatchesLeaf(&leaf) {
				if err := b.add(e.Index, &leaf, request); err != nil {
					return fmt.Errorf("entry %d: %w", e.Index, err)
				}
			}
			if b.full() {
				next = e.Index + 1
				break
			}
			if err := k.rest(ctx, e.Index); err != nil {
				return err
			}
		}
		again, err := b.commit(ctx, aver.ErasedEvidence{Erasure: request.ID}, report)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		kept += b.held
		if from = next; next == size {
			break
		}
	}
	report.Held += kept
	if kept > 0 {
		k.waits(request)
		return nil
	}
	_, err := k.record(ctx, "", aver.EventErasureCompleted, aver.ErasedRef{Erasure: request.ID})
	return err
}

// indexAt is the index of the first entry that is younger than a time.
func (k *Keeper) indexAt(limit aver.Time, size uint64) (uint64, error) {
	var failed error
	n := sort.Search(int(size), func(i int) bool {
		text, err := k.o.Decisions.Leaf(uint64(i))
		if err == nil {
			var leaf aver.Leaf
			if leaf, err = aver.ParseLeaf(text); err == nil {
				return leaf.Time > limit
			}
		}
		failed = err
		return true
	})
	return uint64(n), failed
}

// rest leaves time for others: it rests as long as it has worked.
func (k *Keeper) rest(ctx context.Context, index uint64) error {
	if index%1024 != 1023 {
		return nil
	}
	worked := time.Since(k.rested)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(worked, time.Second)):
	}
	k.rested = time.Now()
	return nil
}

// batch is what one event erases.
type batch struct {
	k        *Keeper
	st       *authority.State
	kind     aver.ErasureKind
	ranges   []aver.IndexRange
	count    uint64
	held     uint64
	digest   aver.ErasedDigest
	counters map[string]aver.Counter
}

func (b *batch) full() bool { return b.count >= batchSize || len(b.ranges) >= aver.MaxErasedRanges }

// add takes in an entry, unless it is erased already, out of the request's scope, or held.
func (b *batch) add(index uint64, leaf *aver.Leaf, request *authority.Erasure) error {
	if _, gone := b.st.PayloadErased(index); gone {
		return nil
	}
	log := b.k.o.Decisions
	e, err := log.Entry(index)
	if err != nil {
		return ignoreErased(err) // without an event: aver verify tells
	}
	var going []string
	switch {
	case request == nil:
	case b.kind == aver.EraseDisclosures:
		if going, _, err = disclosed(log, &request.Scope, leaf, e); err != nil || len(going) == 0 {
			return err
		}
	default:
		in, known, err := matches(log, &request.Scope, leaf, e)
		if err == nil && !known {
			in, err = b.withDecision(e, request.ID)
		}
		if err != nil || !in {
			return err
		}
	}
	kept, err := held(log, b.st, leaf, e)
	if err != nil {
		return err
	}
	if kept {
		b.held++
		return nil
	}
	if b.kind == aver.ErasePayloads {
		b.digest.Add(index, leaf.Payload)
		if err := b.carry(leaf, e); err != nil {
			return err
		}
	}
	digests := make([]string, len(going))
	for i, d := range going {
		digests[i] = aver.Digest([]byte(d))
	}
	slices.Sort(digests)
	for _, d := range digests {
		b.digest.Add(index, d)
	}
	if n := len(b.ranges); n > 0 && b.ranges[n-1].End == index {
		b.ranges[n-1].End++
	} else {
		b.ranges = append(b.ranges, aver.IndexRange{From: index, End: index + 1})
	}
	b.count++
	return nil
}

// withDecision tells whether an activity's decision was erased by the same request.
func (b *batch) withDecision(e ledger.Entry, erasure string) (bool, error) {
	a, err := aver.ParseActivity(e.Payload)
	if err != nil || a.Decision == nil {
		return false, err
	}
	gone, ok := b.st.PayloadErased(*a.Decision)
	return ok && gone.Erasure == erasure, nil
}

// carry keeps how much of limits a record says was used.
func (b *batch) carry(leaf *aver.Leaf, e ledger.Entry) error {
	if leaf.Kind != aver.KindDecision {
		return nil
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return err
	}
	for _, c := range r.Decision.Counters {
		key := c.Grant + "\x00" + c.Name
		if old, ok := b.counters[key]; !ok || c.After >= old.After {
			if b.counters == nil {
				b.counters = map[string]aver.Counter{}
			}
			b.counters[key] = c
		}
	}
	return nil
}

// commit records what is erased, erases it, and records that it is gone. again tells that the authority changed meanwhile
// so that it has to be chosen anew.
func (b *batch) commit(ctx context.Context, data aver.ErasedEvidence, report *Report) (again bool, err error) {
	if b.count == 0 {
		return false, nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return false, err
	}
	data.ID, data.Log, data.Authority = id.String(), b.k.o.Decisions.Origin(), b.st.Size()
	data.Ranges, data.Count, data.Digest = b.ranges, b.count, b.digest.String()
	keys := make([]string, 0, len(b.counters))
	for key := range b.counters {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		data.Counters = append(data.Counters, b.counters[key])
	}
	typ, reason := aver.EventPayloadErased, ""
	if b.kind == aver.EraseDisclosures {
		typ = aver.EventDisclosureErased
	}
	if r, ok := b.st.Erasure(data.Erasure); ok {
		reason = r.Reason
	}
	if _, err := b.k.record(ctx, reason, typ, data); err != nil {
		var refused *pap.RefusedError
		if errors.As(err, &refused) && b.k.state().Size() != b.st.Size() {
			return true, nil
		}
		return false, err
	}
	for _, e := range b.k.state().ErasedEvidence() {
		if e.ID == data.ID {
			if err := b.k.carryOut(ctx, e); err != nil {
				return false, err
			}
			report.add(e)
		}
	}
	return false, nil
}

// carryOut takes what an event says is erased out of the log and out of all that is made from it. It can be done again.
func (k *Keeper) carryOut(ctx context.Context, e *authority.Erased) error {
	request, _ := k.state().Erasure(e.Erasure)
	var failed error
	edit := func(entry ledger.Indexed) ([]byte, bool) {
		if !within(e.Ranges, entry.Index) {
			return entry.Private, false
		}
		if e.Kind == aver.ErasePayloads {
			return nil, true
		}
		private, err := k.without(request, entry.Entry)
		if err != nil {
			failed = fmt.Errorf("entry %d: %w", entry.Index, err)
			return entry.Private, false
		}
		return private, false
	}
	if err := k.o.Decisions.Erase(ctx, e.Ranges[0].From, e.Ranges[len(e.Ranges)-1].End, edit); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if k.o.Forget != nil {
		if err := k.o.Forget(ctx, e); err != nil {
			return fmt.Errorf("what is made from the log: %w", err)
		}
	}
	_, err := k.record(ctx, "", aver.EventErasureCompleted, aver.ErasedRef{ID: e.ID})
	return err
}

// without is the private part of an entry without the disclosures that a request takes away.
func (k *Keeper) without(request *authority.Erasure, e ledger.Entry) ([]byte, error) {
	if len(e.Private) == 0 || request == nil {
		return e.Private, nil
	}
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return nil, err
	}
	gone, rest, err := disclosed(k.o.Decisions, &request.Scope, &leaf, e)
	switch {
	case err != nil || len(gone) == 0:
		return e.Private, err
	case len(rest) == 0:
		return nil, nil
	}
	return aver.CanonicalJSON(rest)
}

// within tells whether an index is in one of the ranges.
func within(ranges []aver.IndexRange, index uint64) bool {
	n := sort.Search(len(ranges), func(i int) bool { return ranges[i].End > index })
	return n < len(ranges) && ranges[n].From <= index
}

func (k *Keeper) record(ctx context.Context, reason string, typ aver.EventType, data any) (*pap.Change, error) {
	change, err := k.o.PAP.Do(ctx, self, reason, typ, data)
	if errors.Is(err, pap.ErrNotIncluded) {
		err = nil
	}
	return change, err
}
