package verify

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
)

// Erased is what one event says is not there any more.
type Erased struct {
	Event uint64            `json:"event"` // index in the authority log
	Kind  aver.ErasureKind  `json:"kind"`
	Count uint64            `json:"count"` // entries
	Why   string            `json:"why"`
	Range []aver.IndexRange `json:"ranges"`
	// Completed tells whether another event says that all of it is gone; until then some of it may still be there.
	Completed bool `json:"completed"`
}

// gone is what the logs do not hold any more, and what the events say about that.
type gone struct {
	mu        sync.Mutex
	payloads  []aver.IndexRange // of entries whose payload is not there, as they were found
	partly    []aver.IndexRange // of entries of which disclosures are not there
	decisions map[string]bool   // evaluation ids of decisions about Aver's administration whose payload is not there

	before            *authority.State // when the check began
	proposed, inForce map[string]int64 // periods by class, as the events are read
	periods           map[string]int64 // by id of what was erased
}

func add(ranges []aver.IndexRange, index uint64) []aver.IndexRange {
	for i := len(ranges) - 1; i >= 0 && i >= len(ranges)-16; i-- { // several segments are read at once
		if ranges[i].End == index {
			ranges[i].End++
			return ranges
		}
	}
	return append(ranges, aver.IndexRange{From: index, End: index + 1})
}

func (g *gone) payload(index uint64, leaf *aver.Leaf) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.payloads = add(g.payloads, index)
	if leaf.Class == aver.ClassAdministration {
		if g.decisions == nil {
			g.decisions = map[string]bool{}
		}
		g.decisions[leaf.ID] = true
	}
}

func (g *gone) disclosures(index uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.partly = add(g.partly, index)
}

// event takes in an event, for the period that was in force when something expired.
func (g *gone) event(e *aver.Event) {
	if g.periods == nil {
		g.proposed, g.inForce, g.periods = map[string]int64{}, map[string]int64{}, map[string]int64{}
	}
	switch e.Type {
	case aver.EventRetentionSet:
		var r aver.RetentionRule
		if e.DecodeData(&r) == nil {
			g.proposed[r.Class] = r.Period
		}
	case aver.EventRetentionApproved:
		var a aver.RetentionApproval
		if e.DecodeData(&a) == nil {
			g.inForce[a.Class] = g.proposed[a.Class]
		}
	case aver.EventPayloadErased:
		var d aver.ErasedEvidence
		if e.DecodeData(&d) == nil {
			g.periods[d.ID] = g.inForce[d.Class]
		}
	}
}

func sorted(ranges []aver.IndexRange) []aver.IndexRange {
	slices.SortFunc(ranges, func(a, b aver.IndexRange) int {
		return cmp.Compare(a.From, b.From)
	})
	return ranges
}

func holds(ranges []aver.IndexRange, index uint64) bool {
	n := sort.Search(len(ranges), func(i int) bool { return ranges[i].End > index })
	return n < len(ranges) && ranges[n].From <= index
}

// checkErased checks that whatever is not there was erased by an event, that what the events say is what is gone, and that
// it was due. What is wrong goes into the report on the decision log.
func (v *verifier) checkErased(authorityDir, decisionsDir string, keys chosen, log *Log) ([]Erased, error) {
	g := &v.gone
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.before == nil || len(g.payloads)+len(g.partly)+len(g.before.ErasedEvidence()) == 0 {
		return nil, nil
	}
	// What went while this check ran has its events by now.
	st, err := readState(authorityDir, keys.authority)
	if err != nil {
		return nil, err
	}
	payloads, partly := sorted(g.payloads), sorted(g.partly)
	wrong := func(index uint64, format string, args ...any) {
		log.Findings = append(log.Findings, ledger.Finding{Offset: -1, Index: index, What: fmt.Sprintf(format, args...)})
	}
	unexplained(payloads, func(i uint64) bool { _, ok := st.PayloadErased(i); return ok }, func(r aver.IndexRange) {
		wrong(r.From, "the payloads of the entries %d to %d are gone, and no event says that they were erased", r.From, r.End-1)
	})
	unexplained(partly, func(i uint64) bool { return len(st.DisclosuresErased(i)) > 0 }, func(r aver.IndexRange) {
		wrong(r.From, "disclosures of the entries %d to %d are gone, and no event says that they were erased", r.From, r.End-1)
	})
	for _, e := range g.before.ErasedEvidence() {
		if e.Completed == nil {
			continue
		}
		for _, r := range e.Ranges {
			for i := r.From; i < min(r.End, log.Size); i++ {
				_, payloadGone := st.PayloadErased(i)
				if there := e.Kind == aver.ErasePayloads && !holds(payloads, i) || e.Kind == aver.EraseDisclosures && !payloadGone && !holds(partly, i); there {
					wrong(i, "event %d says that all of %s is gone, and entry %d has it still: an older copy was put back", e.Event, e.Kind, i)
					break
				}
			}
		}
	}
	var out []Erased
	for _, e := range st.ErasedEvidence() {
		out = append(out, Erased{Event: e.Event, Kind: e.Kind, Count: e.Count, Why: e.Why(), Range: e.Ranges, Completed: e.Completed != nil})
		if what, err := v.checkDue(st, e, decisionsDir, keys.decisions, log); err != nil {
			return nil, err
		} else if what != "" {
			wrong(e.Ranges[0].From, "event %d: %s", e.Event, what)
		}
	}
	return out, nil
}

// unexplained calls found for each run of indexes that are not explained.
func unexplained(ranges []aver.IndexRange, explained func(uint64) bool, found func(aver.IndexRange)) {
	for _, r := range ranges {
		run := aver.IndexRange{}
		for i := r.From; i < r.End; i++ {
			switch {
			case explained(i):
				if run.End > 0 {
					found(run)
				}
				run = aver.IndexRange{}
			case run.End == 0:
				run = aver.IndexRange{From: i, End: i + 1}
			default:
				run.End++
			}
		}
		if run.End > 0 {
			found(run)
		}
	}
}

// checkDue checks by the leaves, which are there for ever, that what an event says was erased is what it names, and was
// due. It returns what is wrong, in plain words.
func (v *verifier) checkDue(st *authority.State, e *authority.Erased, dir string, k key, log *Log) (string, error) {
	if e.Log != k.Origin {
		return fmt.Sprintf("it is about the log %s", e.Log), nil
	}
	if e.Ranges[len(e.Ranges)-1].End > log.Size {
		return "it is about entries that are not in the log", nil
	}
	if e.Kind != aver.ErasePayloads {
		return "", nil
	}
	reader, err := ledger.OpenReader(dir, ledger.Options{Origin: k.Origin, Verifier: k.Verifier})
	if err != nil {
		return "", nil // the log's own report says what is wrong with it
	}
	defer reader.Close()
	request, _ := st.Erasure(e.Erasure)
	var digest aver.ErasedDigest
	for _, r := range e.Ranges {
		for entry, err := range reader.Leaves(r.From, r.End) {
			if err != nil {
				return "", err
			}
			leaf, err := aver.ParseLeaf(entry.Leaf)
			if err != nil {
				return "", err
			}
			digest.Add(entry.Index, leaf.Payload)
			switch {
			case e.Class != "" && (leaf.ClassName() != e.Class || leaf.Time+aver.Time(v.gone.periods[e.ID]*1000) > e.Time):
				return fmt.Sprintf("entry %d is of the class %s and from %s: its period was not over", entry.Index, leaf.ClassName(), leaf.Time), nil
			case request != nil && (!request.Scope.MatchesLeaf(&leaf) || leaf.Time >= request.Approved.Time):
				return fmt.Sprintf("entry %d is not in the scope of the erasure %s that was approved", entry.Index, e.Erasure), nil
			}
			if hold := heldBy(st, e.Event, &leaf); hold != "" {
				return fmt.Sprintf("entry %d was held by %s", entry.Index, hold), nil
			}
		}
	}
	if digest.String() != e.Digest {
		return "the digest of what it says was erased is not that of what is gone", nil
	}
	return "", nil
}

// heldBy is a hold that covered a leaf when an event was made; "" if there was none of which leaves can tell.
func heldBy(st *authority.State, event uint64, leaf *aver.Leaf) string {
	for _, h := range st.Holds() {
		if h.Event < event && (h.Released == nil || h.Released.Event > event) && !h.Scope.NeedsRecord(leaf) && h.Scope.MatchesLeaf(leaf) {
			return h.ID
		}
	}
	return ""
}

// readState folds the authority log as it is now.
func readState(dir string, k key) (*authority.State, error) {
	reader, err := ledger.OpenReader(dir, ledger.Options{Origin: k.Origin, Verifier: k.Verifier})
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	size, _ := reader.Head()
	return authority.Fold(authority.New(), pap.Events(reader.Entries(0, size)))
}
