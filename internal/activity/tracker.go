package activity

import (
	"container/heap"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

// Log is the decision log, to read.
type Log interface {
	Entries
	Head() (size uint64, root tlog.Hash)
	Entry(i uint64) (ledger.Entry, error)
	Leaf(i uint64) ([]byte, error)
}

// Options configure a [Tracker]. What has no default beside it is required.
type Options struct {
	Decisions Log
	History   *History
	State     func() *authority.State // the current one, as decisions are made from
	MaxOpen   int                     // authorizations that are kept; 0 means 20,000
	MaxAge    time.Duration           // after which an authorization is not followed any more; 0 means 24 h
	Silent    time.Duration           // after which an instance that sends nothing is silent; 0 means 5 min
	Now       func() time.Time        // time.Now if nil
	Logger    *slog.Logger            // nil discards
}

// Tracker follows open authorizations, the activities of each, and what the
// instances of PEPs number. It is a projection of the decision log, in memory:
// bounded, built again at each start from the log's end. It follows behind the
// decisions and never holds them up.
type Tracker struct {
	o     Options
	input input
	stop  context.CancelFunc
	done  chan struct{}
	err   error // of following, if it can't go on; logged

	mu       sync.Mutex
	st       *authority.State          // that the open authorizations were compared with
	open     map[string]*authorization // by evaluation id
	order    []*authorization          // as they came
	by       map[string]map[*authorization]struct{}
	timed    map[*authorization]struct{} // whose answer can depend on the time as such
	expiring expiring
	ended    endings
	chains   chains
	gaps     gaps
	dropped  uint64 // authorizations that were open and are not followed, there being too many

	listeners listeners
}

// authorization is a decision that allowed something, until an end of it is
// reported.
type authorization struct {
	id      string
	index   uint64
	decided aver.Time
	pep     aver.PEP // the zero value: only the log tells
	closed  bool

	// What follows is there only of those that are followed, see [listeners].
	at       uint64 // size of the authority log at the decision
	request  []byte // as recorded
	token    *aver.Token
	omitted  []string
	decision *aver.Decision // what of it is needed to follow it; nil: it is not followed
	facts    map[aver.Ref]bool
	timed    bool
	unsure   bool      // whether it is timed is not known yet
	run      *Run      // nil until something concerns it
	watched  aver.Time // the expiry that it waits for
	ending   *ending   // nil while it holds
}

const pollEvery = 5 * time.Millisecond

// Open builds the projection from the end of the log and starts following. Close
// it before the logs.
func Open(o Options) (*Tracker, error) {
	if o.MaxOpen == 0 {
		o.MaxOpen = 20_000
	}
	if o.MaxAge == 0 {
		o.MaxAge = 24 * time.Hour
	}
	if o.Silent == 0 {
		o.Silent = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Tracker{
		o: o, done: make(chan struct{}), open: map[string]*authorization{},
		by: map[string]map[*authorization]struct{}{}, timed: map[*authorization]struct{}{},
	}
	t.input.wake = make(chan struct{}, 1)
	t.input.max = 2 * o.MaxOpen
	t.chains.init(o.MaxOpen)
	t.ended.init()
	t.gaps.init(o.Silent)
	if err := t.rebuild(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	go t.run(ctx)
	return t, nil
}

// Close ends the following, and the streams of withdrawals with it.
func (t *Tracker) Close() {
	t.stop()
	<-t.done
	t.closeStreams()
}

// run takes in what comes until the tracker is closed.
func (t *Tracker) run(ctx context.Context) {
	defer close(t.done)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.input.wake:
		case <-tick.C:
		}
		if err := t.turn(ctx); err != nil && ctx.Err() == nil {
			if t.err == nil || t.err.Error() != err.Error() {
				t.o.Logger.Error("open authorizations can't be followed at the moment, so withdrawals are late", "error", err)
			}
			t.err = err
			continue
		}
		t.err = nil
	}
}

// turn takes in what came since the last turn.
func (t *Tracker) turn(ctx context.Context) error {
	items, dropped := t.input.take()
	for i := range items {
		receipt, err := items[i].ticket.Wait(ctx)
		items[i].durable, items[i].index = err == nil, receipt.Index
	}
	now := aver.TimeOf(t.o.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped += dropped
	err := t.catchUp() // first, so that what is added was not decided at a later state
	for i := range items {
		if items[i].durable {
			t.add(&items[i])
		}
	}
	if err != nil {
		return err
	}
	t.expire(now)
	t.forget(now)
	return nil
}

// add takes in a decision. The lock is held.
func (t *Tracker) add(in *item) {
	t.gaps.saw(in.pep, in.time)
	if !in.allowed || t.open[in.id] != nil {
		return
	}
	a := &authorization{id: in.id, index: in.index, decided: in.time, pep: in.pep}
	t.open[a.id] = a
	t.order = append(t.order, a)
	if t.chains.ends(a.id) {
		t.closeAuthorization(a)
		return
	}
	if in.decision == nil {
		if !t.listeners.has(in.pep.Credential) {
			return
		}
		var err error // its PEP began to listen a moment ago
		if in, err = t.load(a); err != nil {
			t.cannotFollow(a, err)
			return
		}
	}
	st, steps, err := t.o.History.Between(min(in.at, t.st.Size()), t.st.Size())
	if err != nil {
		t.cannotFollow(a, err)
		return
	}
	t.follow(a, in, st, steps)
}

func (t *Tracker) cannotFollow(a *authorization, err error) {
	t.o.Logger.Error("an authorization can't be followed", "evaluation_id", a.id, "error", err)
}

// follow begins to follow an authorization. steps are the events that came
// between its decision and now, st the state before them. The lock is held.
func (t *Tracker) follow(a *authorization, in *item, st *authority.State, steps []Step) {
	a.at, a.pep, a.request, a.token, a.omitted, a.decision = in.at, in.pep, in.request, in.token, in.omitted, in.decision
	a.timed, a.unsure = in.timed, in.ticket == nil
	a.facts = make(map[aver.Ref]bool, len(in.facts))
	for _, ref := range in.facts {
		a.facts[ref] = true
	}
	t.file(a)
	for _, s := range steps {
		t.step(a, s, st)
		st = s.After
	}
	t.watch(a)
}

// file enters an authorization under what its answer rests on.
func (t *Tracker) file(a *authorization) {
	for ref := range a.facts {
		t.enter(factKey(ref), a)
	}
	for _, f := range a.decision.Frames {
		if f.Grant != "" {
			t.enter(grantKey(f.Grant), a)
		}
	}
	if a.timed {
		t.timed[a] = struct{}{}
	}
}

func factKey(r aver.Ref) string { return r.Type + "\x00" + r.ID }
func grantKey(id string) string { return "\x00" + id }
func (t *Tracker) enter(key string, a *authorization) {
	set := t.by[key]
	if set == nil {
		set = map[*authorization]struct{}{}
		t.by[key] = set
	}
	set[a] = struct{}{}
}

// unfile takes an authorization out again, once it ended.
func (t *Tracker) unfile(a *authorization) {
	if a.decision == nil {
		return
	}
	leave := func(key string) {
		if set := t.by[key]; set != nil {
			if delete(set, a); len(set) == 0 {
				delete(t.by, key)
			}
		}
	}
	for ref := range a.facts {
		leave(factKey(ref))
	}
	for _, f := range a.decision.Frames {
		if f.Grant != "" {
			leave(grantKey(f.Grant))
		}
	}
	delete(t.timed, a)
	a.run, a.request, a.facts = nil, nil, nil
}

// catchUp compares what is open with the events since the last time. The lock is
// held.
func (t *Tracker) catchUp() error {
	size := t.o.State().Size()
	if size <= t.st.Size() {
		return nil
	}
	_, steps, err := t.o.History.Between(t.st.Size(), size)
	if err != nil {
		return err
	}
	for _, s := range steps {
		before := t.st
		t.st = s.After // at once: who is followed from now on is not among those that follow here
		for i, a := range t.concerned(s.Event) {
			if i%64 == 63 { // reports wait for the lock meanwhile
				t.mu.Unlock()
				t.mu.Lock()
			}
			t.step(a, s, before)
		}
	}
	return nil
}

// concerned lists the authorizations whose answer an event can change.
func (t *Tracker) concerned(e *aver.Event) []*authorization {
	if changesNoAnswer(e.Type) {
		return nil
	}
	var out []*authorization
	list := func(set map[*authorization]struct{}) {
		for a := range set {
			out = append(out, a)
		}
	}
	switch e.Type {
	case aver.EventGrantRevoked:
		var ref aver.GrantRef
		if e.DecodeData(&ref) == nil {
			list(t.by[grantKey(ref.ID)])
			list(t.timed)
			return out
		}
	case aver.EventIdentityRegistered, aver.EventIdentityUpdated, aver.EventIdentitySuspended, aver.EventIdentityResumed,
		aver.EventIdentityRetired, aver.EventEntityPut, aver.EventEntityRemoved:
		if ref, ok := subjectOf(e); ok {
			list(t.by[factKey(ref)])
			list(t.timed)
			return out
		}
	case aver.EventSignalReceived:
		var s aver.Signal
		if e.DecodeData(&s) == nil {
			list(t.by[factKey(s.About)])
			list(t.timed)
			return out
		}
	}
	for _, a := range t.order {
		if a.decision != nil && a.ending == nil && !a.closed {
			out = append(out, a)
		}
	}
	return out
}

// step follows one authorization over an event. before is the state before it.
func (t *Tracker) step(a *authorization, s Step, before *authority.State) {
	if s.Index < a.at { // it was decided with it
		return
	}
	if a.ending != nil || a.closed || !a.timed && !concerns(s.Event, func(r aver.Ref) bool { return a.facts[r] }, a.decision) {
		return
	}
	if !t.prepare(a, before) {
		return
	}
	a.run.st = before
	a.run.Step(s)
	t.settle(a)
}

// prepare makes the run of an authorization.
func (t *Tracker) prepare(a *authorization, st *authority.State) bool {
	if a.run != nil {
		return true
	}
	req, missing, err := t.requestOf(a)
	if err != nil || len(missing) > 0 {
		t.o.Logger.Warn("an authorization can't be decided again, so its PEP is not told when it ends",
			"evaluation_id", a.id, "missing", missing, "error", err)
		return false
	}
	a.run = resume(st, a.decided, req, a.decision, a.omitted, a.facts, a.timed && !a.unsure)
	if a.unsure {
		_, evidence := pdp.DecideInFlight(st, a.run.q, a.decided, a.run.used)
		a.run.saw(evidence)
		if a.timed, a.unsure = a.run.timed, false; !a.timed {
			delete(t.timed, a)
		}
	}
	return true
}

// requestOf reads the recorded request, with what was disclosed of it.
func (t *Tracker) requestOf(a *authorization) (*aver.Request, []string, error) {
	req, missing, err := pdp.Reopen(a.request, a.token, nil)
	if err != nil || len(missing) == 0 {
		return req, missing, err
	}
	e, err := t.o.Decisions.Entry(a.index)
	if err != nil {
		return nil, nil, err
	}
	disclosures, err := pdp.ParseDisclosures(e.Private)
	if err != nil {
		return nil, nil, err
	}
	return pdp.Reopen(a.request, a.token, disclosures)
}

// settle takes over what a run found.
func (t *Tracker) settle(a *authorization) {
	if lapse := a.run.Lapse(); lapse != nil {
		t.ended.add(a, *lapse)
		t.unfile(a)
		return
	}
	for ref := range a.run.facts { // what it looked up now, it may not have looked up before
		t.enter(factKey(ref), a)
	}
	if a.run.timed && !a.timed {
		a.timed = true
		t.timed[a] = struct{}{}
	}
	t.watch(a)
	if len(t.open) > runsKept {
		a.run = nil // it is made again when it is needed
	}
}

// runsKept is up to how many open authorizations are kept ready to be decided
// again.
const runsKept = 10_000

// watch sees to it that an authorization is looked at when something it rests on
// expires.
func (t *Tracker) watch(a *authorization) {
	if a.ending != nil || a.closed {
		return
	}
	after := a.decided
	if a.run != nil {
		after = a.run.at
	}
	next := pdp.Expiries(t.st, a.decision, after)
	if len(next) == 0 || next[0].At == a.watched || next[0].At > a.decided+aver.Time(t.o.MaxAge.Milliseconds()) {
		return
	}
	a.watched = next[0].At
	heap.Push(&t.expiring, expiry{a.watched, a})
}

// expire looks at the authorizations of which something has expired.
func (t *Tracker) expire(now aver.Time) {
	for len(t.expiring) > 0 && t.expiring[0].at <= now {
		e := heap.Pop(&t.expiring).(expiry)
		a := e.authorization
		if a.ending != nil || a.closed || !t.prepare(a, t.st) {
			continue
		}
		a.run.st = t.st
		a.run.Pass(now)
		t.settle(a)
	}
}

// forget lets go of what is over, too old, or too much.
func (t *Tracker) forget(now aver.Time) {
	oldest := now - aver.Time(t.o.MaxAge.Milliseconds())
	n := 0
	for _, a := range t.order {
		if !a.closed && a.decided >= oldest && len(t.open) <= t.o.MaxOpen {
			break
		}
		if !a.closed {
			if len(t.open) > t.o.MaxOpen {
				t.dropped++
			}
			t.closeAuthorization(a)
		}
		n++
	}
	t.order = t.order[n:]
	if len(t.expiring) > 2*len(t.open)+1000 {
		t.expiring = slices.DeleteFunc(t.expiring, func(e expiry) bool { return e.closed || e.ending != nil })
		heap.Init(&t.expiring)
	}
	t.chains.forget()
	t.ended.forget(t.o.MaxOpen)
}

// closeAuthorization ends the following of an authorization. The lock is held.
func (t *Tracker) closeAuthorization(a *authorization) {
	if a.closed {
		return
	}
	a.closed = true
	delete(t.open, a.id)
	if a.ending == nil {
		t.unfile(a)
	}
}

// expiring orders authorizations by when something they rest on expires.
type expiring []expiry

type expiry struct {
	at aver.Time
	*authorization
}

func (e expiring) Len() int           { return len(e) }
func (e expiring) Less(i, j int) bool { return e[i].at < e[j].at }
func (e expiring) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *expiring) Push(x any)        { *e = append(*e, x.(expiry)) }
func (e *expiring) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
