package activity_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

const (
	permitAll = `@id("all") permit (principal, action, resource);`
	forbidAll = `@id("none") forbid (principal, action, resource);`
)

// followed is a decision point with a tracker behind it, over a company of which
// some events have happened: the first size of those that it has.
type followed struct {
	*company
	t       *testing.T
	mu      sync.RWMutex // of the company
	size    atomic.Uint64
	clock   atomic.Int64
	log     *countedLog
	point   *pdp.Point
	tracker atomic.Pointer[activity.Tracker]
	hold    atomic.Pointer[held] // the tracker's next look at the state
	broken  atomic.Bool          // the authority log can't be read
}

// Entries makes it a log to read, if that can be read.
func (f *followed) Entries(from, to uint64) iter.Seq2[ledger.Indexed, error] {
	if f.broken.Load() {
		return func(yield func(ledger.Indexed, error) bool) {
			yield(ledger.Indexed{}, errors.New("the disk is broken"))
		}
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return (&company{entries: f.entries}).Entries(from, to)
}

// held is a look at the state that takes its time: who waits for began knows that
// it has what it will return, and lets it return by closing end.
type held struct{ began, end chan struct{} }

func follow(t *testing.T, c *company) *followed {
	f := &followed{company: c, t: t, log: &countedLog{Log: memLog(t)}}
	f.clock.Store(int64(start + 1000))
	f.happen()
	f.restart()
	var err error
	f.point, err = pdp.Open(f.log.Log, pdp.Options{
		State: func() (*authority.State, aver.TreeHead) {
			return f.state(), aver.TreeHead{Size: f.size.Load(), Root: "r"}
		},
		Recorded: func(r *aver.Record, e *pdp.Evidence, k *ledger.Ticket) { f.tracker.Load().Recorded(r, e, k) },
		Now:      f.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// restart makes a tracker anew, as at a start.
func (f *followed) restart() {
	tracker, err := activity.Open(activity.Options{
		Decisions: f.log, History: activity.NewHistory(f), Now: f.now,
		State: func() *authority.State {
			st := f.state()
			if h := f.hold.Swap(nil); h != nil {
				close(h.began)
				<-h.end
			}
			return st
		},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(tracker.Close)
	f.tracker.Store(tracker)
}

func (f *followed) state() *authority.State {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.states[f.size.Load()]
}

func (f *followed) now() time.Time { return aver.Time(f.clock.Load()).Std() }

// change makes events, which nobody knows of until they happen.
func (f *followed) change(events func(c *company)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events(f.company)
}

// work changes what the policies are.
func (f *followed) work(cedar string) {
	f.change(func(c *company) { c.policies("work", cedar) })
}

// happen makes known all events that the company has.
func (f *followed) happen() { f.size.Store(f.st.Size()) }

func (f *followed) decideFor(credential, context string) string {
	f.t.Helper()
	v, err := aver.ParseJSON([]byte(`{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"},"context":`+context+`}`), aver.Limits{})
	if err != nil {
		f.t.Fatal(err)
	}
	req, err := aver.ParseRequest(v)
	if err != nil {
		f.t.Fatal(err)
	}
	answer, err := f.point.Decide(f.t.Context(), pdp.NewQuery(req), aver.PEP{Credential: credential})
	if err != nil || !answer.Outcome.Allowed() {
		f.t.Errorf("decided %+v, %v", answer, err)
		return ""
	}
	return answer.EvaluationID
}

// told is what a PEP is told, once that is at least n withdrawals, or after a
// long time.
func (f *followed) told(credential string, n int) (ids []string) {
	cursor := ""
	for {
		list, next, _, changed := f.tracker.Load().Withdrawals(credential, "", cursor)
		cursor = next
		for _, w := range list {
			ids = append(ids, w.EvaluationID)
		}
		if len(ids) >= n {
			slices.Sort(ids)
			return ids
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			return ids
		}
	}
}

// countedLog counts how often an entry is read.
type countedLog struct {
	*ledger.Log
	reads atomic.Int64
}

func (l *countedLog) Entry(i uint64) (ledger.Entry, error) {
	l.reads.Add(1)
	return l.Log.Entry(i)
}

// A decision rests on all events before it, those included that the tracker has
// not looked at yet: they end nothing, and what they say of when it ends counts.
func TestDecidedAtALaterStateThanFollowed(t *testing.T) {
	const current = `@id("current") permit (principal, action, resource) when { !context.aver.actor.expired };`
	c := newCompany(t)
	c.policies("work", current)
	f := follow(t, c)
	tracker := f.tracker.Load()
	tracker.Withdrawals("gateway", "", "") // it listens
	h := &held{make(chan struct{}), make(chan struct{})}
	f.hold.Store(h)
	<-h.began // the tracker has taken in all there is, and has seen the state
	f.work(current + forbidAll)
	f.work(current)
	f.change(func(c *company) {
		c.must(aver.EventIdentityRegistered, aver.Identity{Ref: ref("user", "ann"), Kind: aver.HumanUser, Expires: start + 5000})
	})
	f.happen()
	id := f.decideFor("gateway", "{}")
	close(h.end)
	open(t, tracker, 1)
	f.clock.Store(int64(start + 6000))
	list := f.told("gateway", 1)
	if len(list) != 1 || list[0] != id {
		t.Fatalf("told of %q, want %q", list, id)
	}
	ended, _, _, _ := tracker.Withdrawals("gateway", "", "")
	if l := ended[0].Lapse; l.Cause != aver.LapseExpiry || l.At != start+5000 {
		t.Errorf("it ended for %+v, not as ann's registration expired", l)
	}
}

// Who begins to listen at any moment, while decisions are made and events happen,
// is told of everything of theirs that ended (B5).
func TestListeningAtAnyMoment(t *testing.T) {
	c := newCompany(t)
	c.policies("work", permitAll)
	f := follow(t, c)
	f.tracker.Load().Withdrawals("gateway", "", "")
	for round := range 8 {
		for range 200 { // enough that looking at them gives way to others
			f.decideFor("gateway", "{}")
		}
		late := fmt.Sprint("late-", round)
		var mu sync.Mutex
		var want []string
		decide := func() {
			id := f.decideFor(late, "{}")
			mu.Lock()
			want = append(want, id)
			mu.Unlock()
		}
		for range 20 {
			decide()
		}
		f.work(permitAll + forbidAll)
		var deciding, listening sync.WaitGroup
		for range 2 {
			deciding.Go(func() {
				for range 10 {
					decide()
				}
			})
		}
		var begun sync.WaitGroup
		begun.Add(1)
		var got []string
		listening.Go(func() {
			begun.Done()
			f.tracker.Load().Withdrawals(late, "", "")
		})
		if round%2 == 0 {
			begun.Wait()
		}
		deciding.Wait()
		f.happen()
		if round%3 == 0 {
			listening.Go(func() { f.tracker.Load().Withdrawals("nobody-"+late, "", "") })
		}
		listening.Wait()
		got = f.told(late, len(want))
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: told of %d of %d", round, len(got), len(want))
		}
		f.work(permitAll)
		f.happen()
	}
}

// After a start each record is read once, whoever asks first, and all are told
// what ended while nobody ran.
func TestListeningAfterAStart(t *testing.T) {
	c := newCompany(t)
	c.policies("work", permitAll)
	f := follow(t, c)
	want := map[string][]string{}
	for i := range 30 {
		credential := fmt.Sprint("pep-", i%3)
		// What a record holds elsewhere looks like an instance, or Aver itself.
		context := []string{`{}`, `{"instance":"i-1","by":"aver"}`, `{"note":"\"instance\":","pep":{"credential":"aver","instance":"i-2"}}`}[i%2+i/15]
		want[credential] = append(want[credential], f.decideFor(credential, context))
	}
	open(t, f.tracker.Load(), 30)
	f.work(permitAll + forbidAll)
	f.happen()
	f.restart()
	if r := f.tracker.Load().Reconcile(0, 10); r.Open != 30 || len(r.Instances) != 0 {
		t.Errorf("%+v", r)
	}
	before := f.log.reads.Load()
	for i := range 3 {
		credential := fmt.Sprint("pep-", i)
		got := f.told(credential, 10)
		slices.Sort(want[credential])
		if !slices.Equal(got, want[credential]) {
			t.Errorf("%s is told of %q, want %q", credential, got, want[credential])
		}
	}
	if n := f.log.reads.Load() - before; n > 50 { // 30 by the first, and 10 by each other
		t.Errorf("30 records are read %d times", n)
	}
}

// Records that have text in them by which instances and Aver itself are found,
// are read as what they are.
func TestRecordsThatLookLikeOthers(t *testing.T) {
	c := newCompany(t)
	c.policies("work", permitAll+`@id("reads") forbid (principal, action, resource) when { context has instance && context has by && context.by == "x" };`)
	f := follow(t, c)
	text := `{"instance":"i-1","by":"aver","note":"\"instance\":"}`
	id := f.decideFor("gateway", text)
	open(t, f.tracker.Load(), 1)
	f.restart()
	r := f.tracker.Load().Reconcile(0, 10)
	if r.Open != 1 || len(r.Instances) != 0 {
		t.Errorf("%+v", r)
	}
	f.work(permitAll + forbidAll)
	f.happen()
	if got := f.told("gateway", 1); len(got) != 1 || got[0] != id {
		t.Errorf("told of %q, want %q", got, id)
	}
}

// Beyond so many credentials everything is followed, what was open before
// included.
func TestTooManyListeners(t *testing.T) {
	c := newCompany(t)
	c.policies("work", permitAll)
	f := follow(t, c)
	id := f.decideFor("gateway", "{}")
	tracker := f.tracker.Load()
	open(t, tracker, 1)
	tracker.FillListeners()
	tracker.Withdrawals("the last", "", "")
	f.work(permitAll + forbidAll)
	f.happen()
	if got := f.told("gateway", 1); len(got) != 1 || got[0] != id {
		t.Errorf("told of %q, want %q", got, id)
	}
}

// A failure to read the authority log, when somebody begins to listen, does not
// keep them from being told the next time that they ask.
func TestListeningWhileTheLogCannotBeRead(t *testing.T) {
	c := newCompany(t)
	c.policies("work", permitAll)
	f := follow(t, c)
	id := f.decideFor("gateway", "{}")
	open(t, f.tracker.Load(), 1)
	f.work(permitAll + forbidAll)
	f.happen()
	f.restart() // from here on, what was before has to be read
	f.broken.Store(true)
	if list, _, _, _ := f.tracker.Load().Withdrawals("gateway", "", ""); len(list) > 0 {
		t.Errorf("told of %+v", list)
	}
	f.broken.Store(false)
	if got := f.told("gateway", 1); len(got) != 1 || got[0] != id {
		t.Errorf("told of %q, want %q", got, id)
	}
}
