package activity

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/aver-authz/aver"
)

// maxListeners bounds the credentials that are remembered; beyond it, everything
// is followed.
const maxListeners = 10_000

// listeners are the credentials of the PEPs that are told when their
// authorizations end. Following an authorization costs about as much as deciding
// it, so those of PEPs that never asked are only known to be open, until they ask.
type listeners struct {
	mu    sync.Mutex // held while a credential is added
	names atomic.Pointer[map[string]bool]
}

func (l *listeners) has(credential string) bool {
	names := l.names.Load()
	return names != nil && ((*names)[credential] || len(*names) >= maxListeners)
}

// wants tells whether the authorizations of a PEP are followed: one that names its
// instances takes part in reconciliation.
func (l *listeners) wants(pep aver.PEP) bool { return pep.Instance != "" || l.has(pep.Credential) }

func (l *listeners) add(credential string) {
	names := map[string]bool{}
	if old := l.names.Load(); old != nil {
		names = maps.Clone(*old)
	}
	names[credential] = true
	l.names.Store(&names)
}

func (l *listeners) remove(credential string) {
	names := maps.Clone(*l.names.Load())
	delete(names, credential)
	l.names.Store(&names)
}

// listen sees to it that the authorizations of a credential are followed: those
// to come, and those that are open.
func (t *Tracker) listen(credential string) {
	if t.listeners.has(credential) {
		return
	}
	t.listeners.mu.Lock()
	defer t.listeners.mu.Unlock()
	if t.listeners.has(credential) {
		return
	}
	t.listeners.add(credential)
	if err := t.followOpen(); err != nil {
		t.o.Logger.Error("open authorizations can't be followed before their PEP asks again", "error", err)
		t.listeners.remove(credential)
	}
}

// followOpen begins to follow what is open and not followed, of those who listen.
func (t *Tracker) followOpen() error {
	var open []*authorization
	t.mu.Lock()
	for _, a := range t.order {
		if !a.closed && a.decision == nil && (a.pep.Credential == "" || t.listeners.has(a.pep.Credential)) {
			open = append(open, a)
		}
	}
	size := t.st.Size()
	t.mu.Unlock()

	// The logs are read without the lock: it can be a long way.
	items := make([]*item, len(open))
	oldest := size
	for i, a := range open {
		it, err := t.load(a)
		switch {
		case err != nil:
			t.cannotFollow(a, err)
		case t.listeners.has(it.pep.Credential):
			items[i] = it
			oldest = min(oldest, it.at)
		default:
			items[i] = &item{pep: it.pep}
		}
	}
	oldest = max(oldest, size-min(size, stepsKept)) // further back it is compared from here on only
	first, steps, err := t.o.History.Between(oldest, size)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, more, err := t.o.History.Between(size, t.st.Size())
	if err != nil {
		return err
	}
	steps = append(slices.Clip(steps), more...)
	for i, a := range open {
		in := items[i]
		if in == nil {
			continue
		}
		a.pep = in.pep
		if in.decision == nil || a.closed || a.decision != nil {
			continue
		}
		in.at = max(in.at, oldest)
		n := min(in.at-oldest, uint64(len(steps)))
		st := first
		if n > 0 {
			st = steps[n-1].After
		}
		t.follow(a, in, st, steps[n:])
	}
	return nil
}

// load reads from the log what it takes to follow an authorization.
func (t *Tracker) load(a *authorization) (*item, error) {
	e, err := t.o.Decisions.Entry(a.index)
	if err != nil {
		return nil, err
	}
	it, err := readItem(e, a.index)
	if err == nil && (it == nil || it.decision == nil) {
		err = fmt.Errorf("entry %d of the decision log allows nothing", a.index)
	}
	return it, err
}
