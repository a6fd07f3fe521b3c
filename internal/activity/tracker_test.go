package activity_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/pdp"
)

// The authorizations of a PEP that never asked for withdrawals are known to be
// open and no more. Once it asks, those that are open are followed too, from
// their decision on: what ended in between is told first.
func TestWithdrawalsOfWhoListensLate(t *testing.T) {
	c := newCompany(t)
	c.policies("work", `@id("all") permit (principal, action, resource);`)
	var size atomic.Uint64 // of what is there already
	size.Store(c.st.Size())
	c.policies("work", `@id("none") forbid (principal, action, resource);`)
	state := func() *authority.State { return c.states[size.Load()] }
	log := memLog(t)
	now := func() time.Time { return (start + 1000).Std() }
	track := func() *activity.Tracker {
		tracker, err := activity.Open(activity.Options{
			Decisions: log, History: activity.NewHistory(c), Now: now, State: state,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tracker.Close)
		return tracker
	}
	tracker := track()
	point, err := pdp.Open(log, pdp.Options{
		State:    func() (*authority.State, aver.TreeHead) { return state(), aver.TreeHead{Size: size.Load(), Root: "r"} },
		Recorded: tracker.Recorded, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	decide := func(credential string) string {
		t.Helper()
		answer, err := point.Decide(t.Context(), pdp.NewQuery(&aver.Request{
			Subject: aver.Party{Ref: ref("user", "ann")}, Action: aver.Action{Name: "read"}, Resource: aver.Party{Ref: ref("doc", "1")},
		}), aver.PEP{Credential: credential})
		if err != nil {
			t.Fatal(err)
		}
		return answer.EvaluationID
	}
	told := func(tracker *activity.Tracker, credential string) (ids []string) {
		t.Helper()
		for { // as a PEP does that waits
			list, _, _, changed := tracker.Withdrawals(credential, "", "")
			for _, w := range list {
				ids = append(ids, w.EvaluationID)
			}
			if ids != nil {
				return ids
			}
			select {
			case <-changed:
			case <-time.After(10 * time.Second):
				return nil
			}
		}
	}
	first, other := decide("gateway"), decide("other")
	open(t, tracker, 2)
	size.Store(c.st.Size())
	for name, tracker := range map[string]*activity.Tracker{"the same process": tracker, "after a start": track()} {
		if got := told(tracker, "gateway"); len(got) != 1 || got[0] != first {
			t.Errorf("%s: gateway is told of %q, want %q", name, got, first)
		}
		if got := told(tracker, "other"); len(got) != 1 || got[0] != other {
			t.Errorf("%s: other is told of %q, want %q", name, got, other)
		}
		if list, _, _, _ := tracker.Withdrawals("stranger", "", ""); len(list) > 0 {
			t.Errorf("%s: a stranger is told of %+v", name, list)
		}
	}
}

// Memory is bounded, answers are not: beyond the bound the oldest authorizations
// are let go of and counted, and what was reported of them is found in the log.
func TestTrackerIsBounded(t *testing.T) {
	c := newCompany(t)
	c.policies("work", `@id("all") permit (principal, action, resource);`)
	log := memLog(t)
	now := func() time.Time { return (start + 1000).Std() }
	track := func() *activity.Tracker {
		tracker, err := activity.Open(activity.Options{
			Decisions: log, History: activity.NewHistory(c), MaxOpen: 4, Now: now,
			State: func() *authority.State { return c.st },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tracker.Close)
		return tracker
	}
	tracker := track()
	point, err := pdp.Open(log, pdp.Options{
		State:    func() (*authority.State, aver.TreeHead) { return c.st, aver.TreeHead{Size: c.st.Size(), Root: "r"} },
		Recorded: tracker.Recorded, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range 10 {
		req := &aver.Request{
			Subject: aver.Party{Ref: ref("user", "ann")}, Action: aver.Action{Name: "read"},
			Resource: aver.Party{Ref: ref("doc", fmt.Sprint(i))},
		}
		answer, err := point.Decide(t.Context(), pdp.NewQuery(req), aver.PEP{Credential: "gateway", Instance: "i", Sequence: uint64(i + 1)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, answer.EvaluationID)
		settled(t, tracker, uint64(i+1)) // one by one, as the bound of what waits is small, too
	}
	if r := tracker.Reconcile(0, 10); r.Open != 4 || r.Dropped != 6 || r.Instances[0].Missing != 0 {
		t.Errorf("%+v", r)
	}
	reports := activity.NewPoint(point, tracker)
	report := func(id string, status aver.ActivityStatus) *aver.ActivityAnswer {
		t.Helper()
		answer, err := reports.Report(t.Context(), &aver.ActivityReport{EvaluationID: id, Status: status}, aver.PEP{Credential: "gateway", Instance: "i"})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	first := report(ids[0], aver.ActivityStarted)
	for _, id := range ids[1:] {
		report(id, aver.ActivityCompleted)
	}
	// Another one begins at the end of the log, behind the first report.
	tracker = track()
	reports = activity.NewPoint(point, tracker)
	if again := report(ids[0], aver.ActivityStarted); !again.Repeated || again.ID != first.ID {
		t.Errorf("a repetition far back is %+v", again)
	}
	if ended := report(ids[0], aver.ActivityFailed); ended.Repeated || len(ended.Findings) != 0 {
		t.Errorf("the end after it is %+v", ended)
	}
	list, err := reports.Of(t.Context(), ids[0], 0)
	if err != nil || len(list) != 2 || list[0].Activity.ID != first.ID || *list[1].Activity.Previous != list[0].Index {
		t.Errorf("activities %+v, %v", list, err)
	}
	if r := tracker.Reconcile(0, 10); r.Open != 0 {
		t.Errorf("open after all have ended: %+v", r)
	}
}

// settled waits until the tracker has taken in the requests of instance i up to a
// number, and has let go of what is too much.
func settled(t *testing.T, tracker *activity.Tracker, number uint64) {
	t.Helper()
	// The tracker follows behind decisions and tells nobody when it has caught up, so it is looked at again and again.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		r := tracker.Reconcile(0, 10)
		if len(r.Instances) == 1 && r.Instances[0].Last == number && r.Open <= 4 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not settled: %+v", r)
		}
	}
}

// memLog is a decision log in memory.
func memLog(t *testing.T) *ledger.Log {
	t.Helper()
	key, err := ledger.LoadOrCreateKey(filepath.Join(t.TempDir(), "key"), "test/decisions")
	if err != nil {
		t.Fatal(err)
	}
	log, err := ledger.Open("log", ledger.Options{Origin: "test/decisions", Signer: key.Signer, Verifier: key.Verifier, FS: ledgertest.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

// open waits until the tracker knows of that many open authorizations.
func open(t *testing.T, tracker *activity.Tracker, n int) {
	t.Helper()
	// The tracker follows behind decisions and tells nobody when it has caught up, so it is looked at again and again.
	for deadline := time.Now().Add(10 * time.Second); tracker.Reconcile(0, 0).Open != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d authorizations are open, want %d", tracker.Reconcile(0, 0).Open, n)
		}
	}
}
