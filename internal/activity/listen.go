package activity

import (
	"fmt"
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
	names := map[string]bool{credential: true}
	if old := l.names.Load(); old != nil {
		for name := range *old {
			names[name] = true
		}
	}
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
	var open []*authorization
	t.mu.Lock()
	for _, a := range t.order {
		if !a.closed && a.decision == nil && (a.pep.Credential == "" || a.pep.Credential == credential) {
			open = append(open, a)
		}
	}
	size := t.st.Size()
	t.mu.Unlock()

	// The log is read without the lock: it can be a long way.
	items := make([]*item, len(open))
	oldest := size
	for i, a := range open {
		it, err := t.load(a)
		switch {
		case err != nil:
			t.cannotFollow(a, err)
		case it.pep.Credential == credential:
			items[i] = it
			oldest = min(oldest, it.at)
		}
	}
	oldest = max(oldest, size-min(size, stepsKept)) // further back it is compared from here on only
	t.mu.Lock()
	defer t.mu.Unlock()
	st, steps, err := t.o.History.Between(oldest, t.st.Size())
	for i, a := range open {
		in := items[i]
		if in == nil || a.closed || a.decision != nil {
			continue
		}
		if err != nil {
			t.cannotFollow(a, err)
			continue
		}
		in.at = max(in.at, oldest)
		before := st
		if n := in.at - oldest; n > 0 {
			before = steps[n-1].After
		}
		t.follow(a, in, before, steps[in.at-oldest:])
	}
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
