package pdp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/pdp"
)

// faultyDisk fails every sync of a file while broken is set.
type faultyDisk struct {
	disk.FS
	broken atomic.Bool
}

func (f *faultyDisk) Create(path string) (disk.File, error) {
	if f.broken.Load() {
		return nil, errors.New("the disk is broken")
	}
	file, err := f.FS.Create(path)
	return &faultyFile{file, f}, err
}

type faultyFile struct {
	disk.File
	disk *faultyDisk
}

func (f *faultyFile) Sync() error {
	if f.disk.broken.Load() {
		return errors.New("the disk is broken")
	}
	return f.File.Sync()
}

type bench struct {
	*world
	dir   string
	disk  *faultyDisk
	log   *ledger.Log
	point *pdp.Point
	now   atomic.Int64
}

func newBench(t *testing.T, w *world, dir string) *bench {
	t.Helper()
	b := &bench{world: w, dir: dir, disk: &faultyDisk{FS: disk.OS{}}}
	b.now.Store(int64(start) + 20_000)
	b.open()
	t.Cleanup(func() { b.log.Close() })
	return b
}

func (b *bench) open() {
	b.t.Helper()
	key, err := ledger.LoadOrCreateKey(filepath.Join(b.dir, "key"), "test/decisions")
	if err != nil {
		b.t.Fatal(err)
	}
	b.log, err = ledger.Open(filepath.Join(b.dir, "log"), ledger.Options{
		Origin: "test/decisions", Signer: key.Signer, Verifier: key.Verifier, FS: b.disk, RetryEvery: 5 * time.Millisecond,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.point, err = pdp.Open(b.log, pdp.Options{
		State:     func() (*authority.State, aver.TreeHead) { return b.st, aver.TreeHead{Size: b.st.Size(), Root: "r"} },
		UsageFile: filepath.Join(b.dir, "usage.json"),
		Now:       func() time.Time { return time.UnixMilli(b.now.Load()) },
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// records are those of the whole log.
func (b *bench) records() (all []*aver.Record) {
	b.t.Helper()
	size, _ := b.log.Head()
	for e, err := range b.log.Entries(0, size) {
		if err != nil {
			b.t.Fatal(err)
		}
		r, err := aver.ParseRecord(e.Payload)
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func (b *bench) ask(text string) (*aver.Answer, error) {
	return b.point.Decide(context.Background(), pdp.NewQuery(request(b.t, text)), aver.PEP{Credential: "pep"})
}

func limitedWorld(t *testing.T, uses int64) *world {
	w := newWorld(t, `permit (principal, action, resource);`)
	w.agent("bot", nil)
	w.grant(aver.Grant{ID: "g", From: alice, To: bot, Limits: &aver.GrantLimits{Uses: uses}})
	return w
}

const limited = `{"subject":{"type":"ai_agent","id":"bot"},"action":{"name":"pay"},"resource":{"type":"payment","id":"p"},"context":{"delegation":["g"]}}`

// G1: an answer is released only once its record is durable, and the receipt
// names its place.
func TestAnswerHasItsRecord(t *testing.T) {
	b := newBench(t, newWorld(t, payPolicies), t.TempDir())
	for i := range 5 {
		a, err := b.ask(pay(aliceJSON, 50, ""))
		if err != nil {
			t.Fatal(err)
		}
		e, err := b.log.Entry(a.Receipt.Index)
		if err != nil || a.Receipt.Index != uint64(i) {
			t.Fatalf("entry %d: %v", a.Receipt.Index, err)
		}
		if leaf, err := aver.ParseLeaf(e.Leaf); err != nil || !leaf.Matches(e.Payload) || leaf.ID != a.EvaluationID {
			t.Errorf("leaf %+v, %v", leaf, err)
		}
		r, err := aver.ParseRecord(e.Payload)
		if err != nil || r.ID != a.EvaluationID || r.Decision.Outcome != aver.Permitted {
			t.Errorf("record %+v, %v", r, err)
		}
		if found, err := pdp.Find(b.log, uint64(i)+1, a.EvaluationID); err != nil || found != uint64(i) {
			t.Errorf("found at %d, %v", found, err)
		}
	}
	if _, err := pdp.Find(b.log, 5, "01900000-0000-7000-8000-000000000000"); !errors.Is(err, pdp.ErrNotFound) {
		t.Errorf("an unknown id: %v", err)
	}
}

// G1, F3: when the record can't be written there is no answer, and none is
// counted; once the disk is back, decisions go on by themselves.
func TestNoAnswerWithoutARecord(t *testing.T) {
	b := newBench(t, limitedWorld(t, 3), t.TempDir())
	if _, err := b.ask(limited); err != nil {
		t.Fatal(err)
	}
	b.disk.broken.Store(true)
	for range 5 {
		if a, err := b.ask(limited); err == nil || a != nil || !errors.Is(err, ledger.ErrUnavailable) {
			t.Fatalf("answer %v, error %v", a, err)
		}
	}
	if b.point.Health() == nil {
		t.Error("the point says it can answer")
	}
	b.disk.broken.Store(false)
	var a *aver.Answer
	deadline := time.Now().Add(10 * time.Second)
	for {
		var err error
		if a, err = b.ask(limited); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it did not recover: %v", err)
		}
		time.Sleep(5 * time.Millisecond) // the ledger tries again every 5 ms
	}
	// Of the three uses one went before; those that were never recorded do not count.
	if c := a.Counters[0]; c.Before != 1 || c.After != 2 || a.Receipt.Index != 1 {
		t.Errorf("counter %+v at index %d", c, a.Receipt.Index)
	}
}

// B3: under any concurrency a limit is never exceeded, and the records' counters
// form an unbroken chain, over restarts too.
func TestLimitsUnderConcurrency(t *testing.T) {
	const uses = 40
	b := newBench(t, limitedWorld(t, uses), t.TempDir())
	var allowed atomic.Int64
	for round := range 3 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 3 {
					a, err := b.ask(limited)
					if err != nil {
						t.Error(err)
						return
					}
					if a.Outcome.Allowed() {
						allowed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if round == 0 {
			if err := b.point.Close(); err != nil {
				t.Fatal(err)
			}
		}
		b.log.Close() // the second time without the usage being kept
		b.open()
	}
	if allowed.Load() != uses {
		t.Errorf("%d allowed, the limit is %d", allowed.Load(), uses)
	}
	before := int64(0)
	for i, r := range b.records() {
		if c := r.Decision.Counters[0]; c.Before != before {
			t.Fatalf("entry %d begins at %d, the one before ended at %d", i, c.Before, before)
		} else {
			before = c.After
		}
	}
}

// The usage that is saved while others decide is what the log has before the size it is saved for: a start after a
// crash counts on from there, and no use is forgotten or counted twice.
func TestUsageIsSavedWhileOthersDecide(t *testing.T) {
	b := newBench(t, limitedWorld(t, 1_000_000), t.TempDir())
	file := filepath.Join(b.dir, "usage.json")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		text := limited
		if i%2 == 1 { // of no grant
			text = strings.Replace(limited, `,"context":{"delegation":["g"]}`, "", 1)
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := b.ask(text); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	type saved struct {
		Size uint64
		Used []struct{ Used int64 }
	}
	var all []saved
	for range 50 {
		if err := b.point.Keep(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s saved
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	close(stop)
	wg.Wait()
	used := []int64{0} // before each entry
	for _, r := range b.records() {
		last := used[len(used)-1]
		for _, c := range r.Decision.Counters {
			last = c.After
		}
		used = append(used, last)
	}
	for _, s := range all {
		got := int64(0)
		for _, u := range s.Used {
			got += u.Used
		}
		if got != used[s.Size] {
			t.Fatalf("saved for %d entries: %d used, the log says %d", s.Size, got, used[s.Size])
		}
	}
	if last := all[len(all)-1]; last.Size == 0 || used[last.Size] == 0 {
		t.Fatal("nothing was used before the last time it was saved")
	}
	b.log.Close() // and not the point: as after a crash
	b.open()
	a, err := b.ask(limited)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.Counters[0].Before, used[len(used)-1]; got != want {
		t.Errorf("after a crash %d are used, the log says %d", got, want)
	}
}

// What a failure of the disk dropped is not in the usage that is saved, and does not keep it from being saved; before
// there is much that is new, nothing is.
func TestUsageIsSavedAfterRecordsWereDropped(t *testing.T) {
	b := newBench(t, limitedWorld(t, 1000), t.TempDir())
	file := filepath.Join(b.dir, "usage.json")
	saved := func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if _, err := b.ask(limited); err != nil {
		t.Fatal(err)
	}
	b.disk.broken.Store(true)
	if _, err := b.ask(limited); err == nil {
		t.Fatal("answered without a record")
	}
	b.disk.broken.Store(false)
	if err := b.point.Keep(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	first := saved()
	if !strings.Contains(first, `"size":1,`) || !strings.Contains(first, `"used":1}`) {
		t.Errorf("saved %s, want one use in one entry", first)
	}
	for b.log.Health() != nil { // it tries again by itself, and tells nobody
		time.Sleep(time.Millisecond)
	}
	if _, err := b.ask(limited); err != nil {
		t.Fatal(err)
	}
	if err := b.point.Keep(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if got := saved(); got != first {
		t.Errorf("saved %s, after one more entry", got)
	}
	if err := b.point.Keep(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := saved(); !strings.Contains(got, `"size":2,`) || !strings.Contains(got, `"used":2}`) {
		t.Errorf("saved %s, want two uses in two entries", got)
	}
}

// A clock that jumps back does not bring what has expired back to life.
func TestClockThatJumpsBack(t *testing.T) {
	w := newWorld(t, `permit (principal, action, resource);`)
	w.agent("bot", nil)
	w.grant(aver.Grant{ID: "g", From: alice, To: bot, Expires: start + 15_000})
	b := newBench(t, w, t.TempDir())
	for i, step := range []int64{20_000, 1_000, -86_400_000} {
		b.now.Store(int64(start) + step)
		a, err := b.ask(limited)
		if err != nil {
			t.Fatal(err)
		}
		if a.Outcome != aver.Denied || a.Reasons[0].Code != aver.ReasonGrantExpired || a.Time != start+20_000 {
			t.Errorf("step %d: %s at %s %+v", i, a.Outcome, a.Time, a.Reasons)
		}
	}
	if got := b.point.ClockBehind(); got != 86_420*time.Second {
		t.Errorf("behind by %s", got)
	}
	b.log.Close()
	b.open() // a restart does not forget
	if a, err := b.ask(limited); err != nil || a.Time != start+20_000 {
		t.Errorf("after a restart: %v, %v", a, err)
	}
}

// A record is found by its id wherever it stands, also when the clock stood still.
func TestFindAmongMany(t *testing.T) {
	b := newBench(t, newWorld(t, `permit (principal, action, resource);`), t.TempDir())
	ids := make([]string, 600)
	var wg sync.WaitGroup
	for i := range ids {
		b.now.Add(int64(i % 3))
		pending, err := b.point.Submit(pdp.NewQuery(request(t, pay(aliceJSON, i, ""))), aver.PEP{Credential: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			a, err := pending.Wait(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			ids[a.Receipt.Index] = a.EvaluationID
		})
	}
	wg.Wait()
	for i, id := range ids {
		if at, err := pdp.Find(b.log, uint64(len(ids)), id); err != nil || at != uint64(i) {
			t.Fatalf("id of %d found at %d, %v", i, at, err)
		}
	}
}
