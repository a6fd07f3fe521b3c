// Package activity follows what becomes of decisions: whether an authorization
// stayed valid while it was used (continuity), what is wrong about a reported
// activity (findings), which open authorizations have ended (withdrawals), and
// whether everything that a PEP did arrived (reconciliation).
//
// Continuity and findings are pure functions of the two logs, so that a replay
// gives the same. Everything else is a projection of the decision log, kept in
// memory and built again at each start.
package activity

import (
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
)

// Entries is a log to read.
type Entries interface {
	Entries(from, to uint64) iter.Seq2[ledger.Indexed, error]
}

// stepsKept bounds how many of the latest events are remembered with the state
// after each. What lies before costs a fold from the beginning.
const stepsKept = 4096

// History is the authority log as events and the states between them. It is safe
// for concurrent use.
type History struct {
	log Entries

	mu    sync.Mutex
	first *authority.State // before the first of steps
	steps []Step
}

// Step is one event and the state after it.
type Step struct {
	Index uint64
	Event *aver.Event
	After *authority.State
}

// NewHistory returns the history of an authority log. It reads nothing yet.
func NewHistory(log Entries) *History { return &History{log: log, first: authority.New()} }

// Size is how many events were read so far.
func (h *History) Size() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.size()
}

func (h *History) size() uint64 { return h.first.Size() + uint64(len(h.steps)) }

func (h *History) last() *authority.State {
	if n := len(h.steps); n > 0 {
		return h.steps[n-1].After
	}
	return h.first
}

// Begin sets the state that the history begins at, before anything was read.
// Earlier states are folded when they are asked for.
func (h *History) Begin(st *authority.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.size() == 0 {
		h.first = st
	}
}

// extend reads the log up to a size. The lock is held.
func (h *History) extend(size uint64) error {
	if size <= h.size() {
		return nil
	}
	st := h.last()
	for e, err := range pap.Events(h.log.Entries(h.size(), size)) {
		if err == nil {
			st, err = st.Apply(e)
		}
		if err != nil {
			return fmt.Errorf("authority log, event %d: %w", h.size(), err)
		}
		h.steps = append(h.steps, Step{h.size(), e, st})
	}
	if size > h.size() {
		return fmt.Errorf("the authority log has %d events, fewer than the %d that are cited", h.size(), size)
	}
	if over := len(h.steps) - 2*stepsKept; over > 0 {
		h.first = h.steps[over+stepsKept-1].After
		h.steps = slices.Clone(h.steps[over+stepsKept:])
	}
	return nil
}

// Between returns the state after the first from events, and the steps from there
// to size to. The steps are to be read, not changed.
func (h *History) Between(from, to uint64) (*authority.State, []Step, error) {
	if from > to {
		return nil, nil, fmt.Errorf("the authority log from size %d to %d: that is backwards", from, to)
	}
	st, kept, err := h.kept(from, to)
	if err != nil || st != nil {
		return st, kept, err
	}
	// Before what is remembered: fold it again. Nobody waits for that but who asks.
	if st, err = authority.Fold(authority.New(), pap.Events(h.log.Entries(0, from))); err != nil {
		return nil, nil, err
	}
	base := to - uint64(len(kept))
	steps := make([]Step, 0, to-from)
	at := st
	for e, err := range pap.Events(h.log.Entries(from, base)) {
		if err == nil {
			at, err = at.Apply(e)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("authority log, event %d: %w", from+uint64(len(steps)), err)
		}
		steps = append(steps, Step{from + uint64(len(steps)), e, at})
	}
	return st, append(steps, kept...), nil
}

// kept is what of [History.Between] is remembered: all, or with a nil state the
// last steps.
func (h *History) kept(from, to uint64) (*authority.State, []Step, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.extend(to); err != nil {
		return nil, nil, err
	}
	base := h.first.Size()
	switch {
	case to < base:
		return nil, nil, nil
	case from < base:
		return nil, h.steps[: to-base : to-base], nil
	case from == base:
		return h.first, h.steps[: to-base : to-base], nil
	}
	return h.steps[from-base-1].After, h.steps[from-base : to-base : to-base], nil
}
