package pap_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/policy"
)

const origin = "example.com/aver/authority"

var root = pap.Administrator{By: aver.By{Name: "root", Method: "bearer"}, Role: aver.RoleAdmin}

// place is a data directory for one authority log.
type place struct {
	dir  string
	fs   disk.FS
	now  func() time.Time
	logs bytes.Buffer
}

// shipped is how many events every log begins with.
const shipped = 4

func newPlace(t testing.TB) *place { return &place{dir: t.TempDir()} }

func (p *place) snapshot() string { return filepath.Join(p.dir, "authority.snapshot") }

func (p *place) openLog(t testing.TB) *ledger.Log {
	t.Helper()
	key, err := ledger.LoadOrCreateKey(filepath.Join(p.dir, "key"), origin)
	if err != nil {
		t.Fatal(err)
	}
	log, err := ledger.Open(filepath.Join(p.dir, "authority"), ledger.Options{
		Origin: origin, Signer: key.Signer, Verifier: key.Verifier, FS: p.fs, RetryEvery: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// open opens log and point; both are closed at the end of the test, or by the function that it returns.
func (p *place) open(t testing.TB) (*pap.Point, *ledger.Log, func()) {
	t.Helper()
	log := p.openLog(t)
	point, err := pap.Open(t.Context(), log, pap.Options{
		SnapshotPath: p.snapshot(), Now: p.now, Logger: slog.New(slog.NewTextHandler(&p.logs, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		if err := point.Close(); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return point, log, stop
}

func doc(id string) aver.Entity { return aver.Entity{Ref: aver.Ref{Type: "doc", ID: id}} }

func put(t testing.TB, point *pap.Point, id string) *pap.Change {
	t.Helper()
	change, err := point.Do(t.Context(), root, "for a test", aver.EventEntityPut, doc(id))
	if err != nil {
		t.Fatal(err)
	}
	return change
}

// folded is what the log alone says the state is.
func folded(t testing.TB, log *ledger.Log) *authority.State {
	t.Helper()
	size, _ := log.Head()
	s, err := authority.Fold(authority.New(), pap.Events(log.Entries(0, size)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkCurrent checks that what is in effect is what the log says.
func checkCurrent(t testing.TB, point *pap.Point, log *ledger.Log) {
	t.Helper()
	c := point.Current()
	if c.State.Digest() != folded(t, log).Digest() {
		t.Error("the state in effect is not the fold of the log")
	}
	size, hash := log.Head()
	if want := (aver.TreeHead{Size: size, Root: base64.StdEncoding.EncodeToString(hash[:])}); c.Head != want || c.State.Size() != size {
		t.Errorf("head %v of a state of size %d, want %v", c.Head, c.State.Size(), want)
	}
}

func TestEmptyLogBeginsWithTheBaseline(t *testing.T) {
	point, log, _ := newPlace(t).open(t)
	st := point.Current().State
	baseline := policy.Baseline()
	digest, event, ok := st.Active(baseline.Name())
	if st.Size() != shipped || digest != baseline.Digest() || event != 1 || !ok {
		t.Errorf("size %d, active %s since %d", st.Size(), digest, event)
	}
	if digest, event, ok := st.Active(policy.AdministrationName); digest != policy.Administration().Digest() || event != 3 || !ok {
		t.Errorf("administration: active %s since %d", digest, event)
	}
	if by := st.Bundles()[0].By; by != (aver.By{Name: "aver", Method: "internal"}) {
		t.Errorf("by %v", by)
	}
	checkCurrent(t, point, log)
}

// A crash may come between the first events.
func TestBeginningIsFinishedAfterACrash(t *testing.T) {
	_, log, _ := newPlace(t).open(t)
	for n := range uint64(shipped) {
		q := newPlace(t)
		half := q.openLog(t)
		for i := range n {
			entry, err := log.Entry(i)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := half.Append(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
		}
		if err := half.Close(); err != nil {
			t.Fatal(err)
		}
		point, log, _ := q.open(t)
		for _, b := range []*policy.Bundle{policy.Baseline(), policy.Administration()} {
			if _, _, ok := point.Current().State.Active(b.Name()); !ok {
				t.Errorf("after a crash behind %d events %s is not active", n, b.Name())
			}
		}
		if size := point.Current().State.Size(); size != shipped {
			t.Errorf("after a crash behind %d events there are %d", n, size)
		}
		checkCurrent(t, point, log)
	}
}

func TestRetiredBaselineStaysRetired(t *testing.T) {
	p := newPlace(t)
	point, _, stop := p.open(t)
	b := policy.Baseline()
	if _, err := point.Do(t.Context(), root, "", aver.EventPolicyRetired, aver.PolicyRef{Name: b.Name(), Digest: b.Digest()}); err != nil {
		t.Fatal(err)
	}
	stop()
	point, _, _ = p.open(t)
	if _, _, ok := point.Current().State.Active(b.Name()); ok {
		t.Error("a new start activated the baseline again")
	}
}

func TestChange(t *testing.T) {
	p := newPlace(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 6_700_000, time.UTC)
	p.now = func() time.Time { return now }
	point, log, _ := p.open(t)
	before := point.Current()

	change := put(t, point, "1")
	if change.Index != shipped || change.Receipt.Index != shipped {
		t.Errorf("index %d, receipt %d", change.Index, change.Receipt.Index)
	}
	e := change.Event
	if e.Time.String() != "2026-01-02T03:04:05.006Z" || e.By != root.By || e.Reason != "for a test" || e.Type != aver.EventEntityPut {
		t.Errorf("event %+v", e)
	}
	entry, err := log.Entry(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if payload, _ := e.Canonical(); !bytes.Equal(entry.Payload, payload) {
		t.Errorf("payload %s", entry.Payload)
	}
	if err := pap.CheckEntry(ledger.Indexed{Entry: entry}); err != nil {
		t.Error(err)
	}
	if fact, ok := point.Current().State.EntityFact(doc("1").Ref); !ok || fact.Event != shipped {
		t.Error("the change is not in effect")
	}
	if _, ok := before.State.EntityFact(doc("1").Ref); ok || before.Head.Size != shipped {
		t.Error("what was current before has changed")
	}
	if size := checkpointSize(t, log); size < shipped+1 {
		t.Errorf("answered when the checkpoint had %d events", size)
	}
	checkCurrent(t, point, log)

	// The clock jumps back: time in the log does not.
	now = now.Add(-time.Hour)
	if later := put(t, point, "2").Event; later.Time != e.Time || later.ID <= e.ID || later.Salt == e.Salt {
		t.Errorf("after %s %s %s came %s %s %s", e.ID, e.Time, e.Salt, later.ID, later.Time, later.Salt)
	}
}

func checkpointSize(t testing.TB, log *ledger.Log) (size uint64) {
	t.Helper()
	lines := strings.Split(string(log.Checkpoint()), "\n")
	if _, err := fmt.Sscan(lines[1], &size); err != nil {
		t.Fatal(err)
	}
	return size
}

func TestRefusedChangeWritesNothing(t *testing.T) {
	point, log, _ := newPlace(t).open(t)
	files := map[string][]byte{}
	for i := range 5 {
		files[fmt.Sprintf("f%d.cedar", i)] = []byte("// " + strings.Repeat("\x01", 400<<10) + "\n") // each six bytes in JSON
	}
	huge, err := policy.Load(files, "huge")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		do   func() (*pap.Change, error)
		want string
	}{
		"by a rule": {func() (*pap.Change, error) {
			return point.Do(t.Context(), root, "", aver.EventGrantRevoked, aver.GrantRef{ID: "g"})
		}, `grant.revoked: there is no grant "g"`},
		"too large": {func() (*pap.Change, error) { return point.Publish(t.Context(), root, "", huge) },
			"and an event has at most 8388608: make it smaller"},
		"no canonical form": {func() (*pap.Change, error) {
			return point.Do(t.Context(), root, "", aver.EventEntityPut, map[string]any{"id": 1.5})
		}, "entity.put: "},
		"by nobody": {func() (*pap.Change, error) {
			return point.Do(t.Context(), pap.Administrator{}, "", aver.EventEntityPut, doc("1"))
		}, "the name of who did it"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			change, err := test.do()
			var refused *pap.RefusedError
			if change != nil || !errors.As(err, &refused) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, %v", change, err)
			}
			if size, _ := log.Head(); size != shipped || point.Current().State.Size() != shipped {
				t.Errorf("the log has %d events, the state %d", size, point.Current().State.Size())
			}
		})
	}
}

// Who gives up while a change is made does not undo it: what is committed is in effect.
func TestChangeIsMadeThoughTheCallerIsGone(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	begun := false
	p.now = func() time.Time { // the clock is read when the change is on its way
		if begun {
			cancel()
		}
		return time.Now()
	}
	point, log, _ := p.open(t)
	begun = true
	change, err := point.Do(ctx, root, "", aver.EventEntityPut, doc("1"))
	if change == nil || err != nil && !errors.Is(err, pap.ErrNotIncluded) {
		t.Errorf("got %v, %v", change, err)
	}
	if _, ok := point.Current().State.EntityFact(doc("1").Ref); !ok {
		t.Error("the change is not in effect")
	}
	checkCurrent(t, point, log)
}

// Many change at once while others read; run with -race.
func TestConcurrentChanges(t *testing.T) {
	point, log, _ := newPlace(t).open(t)
	var writers, readers sync.WaitGroup
	var done atomic.Bool
	for range 2 {
		readers.Go(func() {
			last := uint64(0)
			for !done.Load() {
				c := point.Current()
				if c.Head.Size < last || c.State.Size() != c.Head.Size {
					t.Error("what is current went back, or does not fit together")
				}
				last = c.Head.Size
				runtime.Gosched()
			}
		})
	}
	var made atomic.Int64
	for w := range 8 {
		writers.Go(func() {
			for i := range 5 {
				// Every second name is used by all, so most registrations of it are refused.
				id := fmt.Sprintf("w%d-%d", w, i)
				if i%2 == 0 {
					id = fmt.Sprint("all-", i)
				}
				i := aver.Identity{Ref: aver.Ref{Type: "user", ID: id}, Kind: aver.HumanUser}
				_, err := point.Do(t.Context(), root, "", aver.EventIdentityRegistered, i)
				var refused *pap.RefusedError
				if err == nil {
					made.Add(1)
				} else if !errors.As(err, &refused) {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	if made.Load() != 8*2+3 || point.Current().State.Size() != shipped+8*2+3 {
		t.Errorf("%d changes made, %d events", made.Load(), point.Current().State.Size())
	}
	checkCurrent(t, point, log)
}

func TestCredentials(t *testing.T) {
	p := newPlace(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p.now = func() time.Time { return now }
	point, log, _ := p.open(t)
	token, change, err := point.IssueCredential(t.Context(), root, "", aver.Credential{Name: "gateway", Role: aver.RolePEP, Expires: aver.TimeOf(now.Add(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	secret, ok := strings.CutPrefix(token, "aver_")
	if raw, err := base64.RawURLEncoding.DecodeString(secret); !ok || err != nil || len(raw) != 32 {
		t.Errorf("token %q", token)
	}
	entry, err := log.Entry(change.Index)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(entry.Payload, []byte(secret)) || !bytes.Contains(entry.Payload, []byte(aver.Digest([]byte(token)))) {
		t.Errorf("payload %s", entry.Payload)
	}

	if c, err := point.Authenticate(token); err != nil || c.Name != "gateway" || c.Role != aver.RolePEP {
		t.Errorf("got %+v, %v", c, err)
	}
	refused := func(token, want string) {
		t.Helper()
		if c, err := point.Authenticate(token); c != nil || !errors.Is(err, pap.ErrBadToken) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %+v, %v, want %q", c, err, want)
		}
	}
	refused("", "it is not known here")
	refused(token+"x", "it is not known here")
	refused(secret, "it is not known here")
	refused(aver.Digest([]byte(token)), "it is not known here")

	now = now.Add(time.Hour)
	refused(token, `credential "gateway" expired 2026-01-02T04:04:05.000Z`)
	put(t, point, "1") // the log has seen this hour, so setting the clock back does not help
	now = now.Add(-time.Hour)
	refused(token, `credential "gateway" expired`)

	token, _, err = point.IssueCredential(t.Context(), root, "", aver.Credential{Name: "auditor", Role: aver.RoleAuditor})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := point.Do(t.Context(), root, "", aver.EventCredentialRevoked, aver.CredentialRef{Name: "auditor"}); err != nil {
		t.Fatal(err)
	}
	refused(token, `credential "auditor" was revoked`)
	if token, _, err := point.IssueCredential(t.Context(), root, "", aver.Credential{Name: "auditor", Role: aver.RoleAuditor}); token != "" || err == nil {
		t.Errorf("a name used before: %q, %v", token, err)
	}
}

func TestInvalidLogIsNotServed(t *testing.T) {
	p := newPlace(t)
	_, _, stop := p.open(t)
	stop()
	if err := os.Remove(p.snapshot()); err != nil {
		t.Fatal(err)
	}
	log := p.openLog(t)
	defer log.Close()
	payload := []byte(`{"kind":"event"}`)
	leaf := aver.NewLeaf("event", "x", 1, payload)
	if _, err := log.Append(t.Context(), ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload}); err != nil {
		t.Fatal(err)
	}
	if point, err := pap.Open(t.Context(), log, pap.Options{}); point != nil || err == nil || !strings.Contains(err.Error(), "authority log, event 4: ") {
		t.Errorf("got %v, %v", point, err)
	}
}

// ledger.Verify knows nothing of events but what CheckEntry tells it.
func TestVerifyFindsAnEntryThatIsNoEvent(t *testing.T) {
	p := newPlace(t)
	point, log, _ := p.open(t)
	put(t, point, "1")
	verify := func() ledger.Report {
		t.Helper()
		key, err := ledger.LoadOrCreateKey(filepath.Join(p.dir, "key"), origin)
		if err != nil {
			t.Fatal(err)
		}
		report, err := ledger.Verify(t.Context(), filepath.Join(p.dir, "authority"), ledger.VerifyOptions{
			Origin: origin, Verifier: key.Verifier, CheckEntry: pap.CheckEntry,
		})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	if report := verify(); !report.OK() || report.Size != shipped+1 {
		t.Errorf("%+v", report)
	}
	entry, err := log.Entry(shipped)
	if err != nil {
		t.Fatal(err)
	}
	entry.Payload = bytes.Replace(entry.Payload, []byte("for a test"), []byte("for a jest"), 1)
	if _, err := log.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	if _, err := log.CheckpointNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if report := verify(); len(report.Findings) != 1 || report.Findings[0].Index != shipped+1 || !strings.Contains(report.Findings[0].What, "the leaf does not commit to this payload") {
		t.Errorf("%+v", report)
	}
}

// Who follows the authority waits for the next change instead of looking again and again.
func TestReplacedTellsOfTheNextChange(t *testing.T) {
	point, _, _ := newPlace(t).open(t)
	before := point.Current()
	select {
	case <-before.Replaced():
		t.Fatal("it is still current")
	default:
	}
	put(t, point, "1")
	<-before.Replaced()
	if after := point.Current(); after.Head.Size != before.Head.Size+1 {
		t.Errorf("from %d to %d", before.Head.Size, after.Head.Size)
	}
}
