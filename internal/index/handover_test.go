package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/query"
)

const handedPolicies = `
@id("pay") permit (principal, action == Action::"pay", resource is payment);
@id("read") permit (principal, action == Action::"read", resource) when { !(resource has owner) || resource.owner != "eve" };
@id("fails") forbid (principal, action == Action::"read", resource) when { context.score > 7 };
@id("sealed") @overridable("break_glass") forbid (principal, action, resource) when { resource has sealed && resource.sealed };
@id("mfa") @gate("challenge") @acr_values("mfa") forbid (principal, action == Action::"pay", resource) when { resource has amount && resource.amount > 100 } unless { context has mfa && context.mfa };
@id("eyes") @gate("escalate") @approvers("leads") forbid (principal, action == Action::"pay", resource) when { resource has amount && resource.amount > 500 };
@id("mask") @gate("restrict") @obligation("mask") forbid (principal, action, resource) when { resource has secret && resource.secret };
@id("part") forbid (principal, action, resource) when { context.aver has part && context.aver.part.id == "no" };
`

// recording is a decision point whose decisions are handed over.
type recording struct {
	t        testing.TB
	random   *rand.Rand
	disk     *ledgertest.Faulty
	log      *ledger.Log
	point    *pdp.Point
	handover Handover
	records  map[string]*aver.Record // as they were handed over, by evaluation id
}

func newRecording(t testing.TB, fsys disk.FS) *recording {
	r := &recording{t: t, random: rand.New(rand.NewPCG(4, 4)), disk: ledgertest.NewFaulty(fsys), records: map[string]*aver.Record{}}
	st := authority.New()
	do := func(typ aver.EventType, data any) {
		e, err := aver.NewEvent(typ, data)
		if err != nil {
			t.Fatal(err)
		}
		e.ID = fmt.Sprintf("019a0000-0000-7000-8000-%012d", st.Size())
		e.Time, e.By, e.Salt = 1_790_000_000_000+aver.Time(st.Size()), aver.By{Name: "admin", Method: "bearer"}, strings.Repeat("A", 22)
		if st, err = st.Apply(&e); err != nil {
			t.Fatal(typ, err)
		}
	}
	b, err := policy.Load(map[string][]byte{
		"bundle.yaml": []byte("name: test\nretain: [context.trace, context.tags, resource.region]\nsensitive: [resource.iban]\n" +
			"exceptions: [{kind: break_glass, max: 1h, approvers: [leads], reviewers: [leads], review_within: 24h}]\n"),
		"main.cedar": []byte(handedPolicies),
	}, "test")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for name, text := range b.Files() {
		files[name] = string(text)
	}
	do(aver.EventPolicyPublished, aver.PolicyPublished{Name: b.Name(), Digest: b.Digest(), Files: files})
	do(aver.EventPolicyActivated, aver.PolicyRef{Name: b.Name(), Digest: b.Digest()})
	for name, group := range map[string]string{"alice": "staff", "eve": "staff", "boss": "leads"} {
		do(aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "user", ID: name}, Kind: aver.HumanUser, Parents: []aver.Ref{{Type: "group", ID: group}}})
	}
	alice, bot, sub := aver.Ref{Type: "user", ID: "alice"}, aver.Ref{Type: "ai_agent", ID: "bot"}, aver.Ref{Type: "ai_agent", ID: "sub"}
	for _, agent := range []aver.Ref{bot, sub} {
		do(aver.EventIdentityRegistered, aver.Identity{Ref: agent, Kind: aver.AIAgent, Owner: "ops", Purpose: "pay"})
	}
	grant := aver.Grant{ID: "g", From: alice, To: bot, Depth: 1, Actions: []string{"pay"}, Resources: []aver.ResourceScope{{Type: "payment"}}, Limits: &aver.GrantLimits{Uses: 40}}
	do(aver.EventGrantIssued, grant)
	grant.ID, grant.From, grant.To, grant.Parent, grant.Depth = "h", bot, sub, "g", 0
	do(aver.EventGrantIssued, grant)
	do(aver.EventExceptionRequested, aver.ExceptionRequest{
		ID: "x-1", Kind: aver.BreakGlass, Subject: aver.Ref{Type: "user", ID: "eve"}, Actions: []string{"read"}, Resources: []aver.ResourceScope{{Type: "doc"}},
		Justification: "a patient in danger", IdentityConfirmed: "in person", Approver: aver.Ref{Type: "user", ID: "boss"}, Duration: 3600,
	})
	do(aver.EventExceptionActivated, aver.ExceptionRef{ID: "x-1"})

	o := ledgertest.Options(r.disk)
	o.FirstSegment, o.MaxSegment = 1<<20, 1<<20
	if r.log, err = ledger.Open("/log", o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.log.Close() })
	now := time.UnixMilli(int64(st.Time()))
	r.point, err = pdp.Open(r.log, pdp.Options{
		State: func() (*authority.State, aver.TreeHead) { return st, aver.TreeHead{Size: st.Size(), Root: "r"} },
		Now:   func() time.Time { now = now.Add(7 * time.Millisecond); return now },
		Recorded: func(record *aver.Record, _ *pdp.Evidence, ticket *ledger.Ticket) {
			r.records[record.ID] = record
			r.handover.Add(record, ticket)
		},
		UsageFile: filepath.Join(t.TempDir(), "usage.json"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *recording) pick(list ...string) string { return list[r.random.IntN(len(list))] }

// request is one that the policies find something in.
func (r *recording) request() *aver.Request {
	some := func(list ...string) string {
		return strings.Join(slices.DeleteFunc(list, func(string) bool { return r.random.IntN(3) > 0 }), ",")
	}
	text := fmt.Sprintf(`{"subject":{"type":%s},"action":{"name":%q,"properties":{%s}},"resource":{"type":%q,"id":"r-%d","properties":{%s}},"context":{%s}}`,
		r.pick(`"user","id":"alice"`, `"user","id":"eve"`, `"ai_agent","id":"bot"`, `"ai_agent","id":"sub"`, `"user","id":"nobody<é>"`), r.pick("pay", "read", "drop"),
		some(`"tool":"hammer"`, `"y":1`), r.pick("payment", "doc"), r.random.IntN(500),
		some(fmt.Sprintf(`"amount":%d`, r.random.IntN(900)), `"sealed":true`, `"secret":true`, `"region":"EU"`, `"owner":"eve"`, `"iban":"DE1"`, `"junk":{"a":[1]}`),
		some(`"mfa":true`, `"score":9`, `"delegation":["g"]`, `"delegation_":1`, `"supported_obligations":["mask"]`, `"tags":["a","b","a"]`,
			`"trace":"t-1"`, `"on_behalf_of":{"type":"user","id":"alice"}`, `"parts":["x",{"id":"no","properties":{"amount":5}}]`, `"session":{"id":"s-1"}`))
	if r.random.IntN(4) == 0 {
		text = strings.Replace(text, `["g"]`, `["g","h"]`, 1)
	}
	if r.random.IntN(50) == 0 { // chance makes few that escalate
		text = `{"subject":{"type":"user","id":"alice"},"action":{"name":"pay"},"resource":{"type":"payment","id":"r","properties":{"amount":700}},"context":{"mfa":true}}`
	}
	v, err := aver.ParseJSON([]byte(text), aver.Limits{})
	if err != nil {
		r.t.Fatal(err, text)
	}
	req, err := aver.ParseRequest(v)
	if err != nil {
		r.t.Fatal(err, text)
	}
	if r.random.IntN(5) == 0 {
		req.Token = &aver.Token{
			Authentication: aver.Authentication{Issuer: "https://idp.example", Subject: "a", Digest: "d", Verified: 1},
			Party:          aver.Ref{Type: "user", ID: "alice"}, Actors: []aver.TokenActor{{Ref: req.Subject.Ref, Issuer: "i", Subject: "s"}}, Session: "s-2", Txn: "txn-1",
		}
	}
	return req
}

// decide makes decisions, and reports what became of some; it tells how many were recorded.
func (r *recording) decide(n int) (recorded int) {
	r.t.Helper()
	var waiting []*pdp.Pending
	for i := range n {
		pep := aver.PEP{Credential: r.pick("gateway", "mesh"), RequestID: fmt.Sprintf("q-%d", r.random.IntN(1000))}
		switch r.random.IntN(300) {
		case 0:
			pep.RequestID = "not \xff UTF-8"
		case 1:
			pep.Instance, pep.Sequence = "i-1", 1+uint64(i)
		}
		if p, err := r.point.Submit(pdp.NewQuery(r.request()), pep); err == nil {
			waiting = append(waiting, p)
		} else if !errors.Is(err, ledger.ErrUnavailable) {
			r.t.Fatal(err)
		}
		if size, _ := r.log.Head(); size > 0 && r.random.IntN(300) == 0 {
			at := uint64(r.random.IntN(int(size)))
			a := &aver.Activity{Time: 1_790_000_100_000, EvaluationID: "e", Decision: &at, Status: aver.ActivityCompleted, Result: "booked", Report: "r"}
			if _, err := r.point.Append(a, ""); err != nil && !errors.Is(err, ledger.ErrUnavailable) {
				r.t.Fatal(err)
			}
		}
	}
	for _, p := range waiting {
		if _, err := p.Wait(context.Background()); err == nil {
			recorded++
		}
	}
	return recorded
}

// counted is a log that counts what is read of it.
type counted struct {
	Log
	read int
}

func (c *counted) Entries(from, to uint64) iter.Seq2[ledger.Indexed, error] {
	return func(yield func(ledger.Indexed, error) bool) {
		for e, err := range c.Log.Entries(from, to) {
			c.read++
			if !yield(e, err) {
				return
			}
		}
	}
}

// content is all that an index holds, whatever numbers its terms have.
func content(t testing.TB, x *Index) []string {
	t.Helper()
	var out []string
	for _, p := range x.parts {
		for table, statement := range map[string]string{
			"posting":    "SELECT field || ' ' || text || ' ' || type || ' ' || block || ' ' || hex(entries) FROM posting JOIN term ON id = term",
			"number":     "SELECT field || ' ' || text || ' ' || type || ' ' || block || ' ' || hex(entries) FROM number JOIN term ON id = term",
			"block":      "SELECT block || ' ' || first || ' ' || last || ' ' || hex(entries) || ' ' || hex(times) FROM block",
			"evaluation": "SELECT hex(id) || ' ' || entry FROM evaluation",
			"report":     "SELECT decision || ' ' || entry FROM report",
			"meta":       "SELECT name || ' ' || value FROM meta",
		} {
			list, err := p.db.Query(statement)
			if err != nil {
				t.Fatal(err)
			}
			var line sql.RawBytes
			if err := each(list, func() error {
				err := list.Scan(&line)
				out = append(out, fmt.Sprint(p.first, " ", table, " ", string(line)))
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(out)
	return out
}

// What is handed over in memory and what the log says give the same index, to the byte: when all is handed over, when
// some of it is not, when the disk fails and other decisions get the places of those that it dropped, and when what was
// handed over is erased (D3) before it is indexed.
func TestWhatIsHandedOverIsWhatTheLogSays(t *testing.T) {
	ctx := context.Background()
	r := newRecording(t, ledgertest.NewMem())
	events := &memory{origin: "test/authority"}
	read := &counted{Log: r.log}
	open := func(log Log, h *Handover) *Index {
		x, err := Open(ctx, Options{Dir: filepath.Join(t.TempDir(), "index"), Decisions: log, Authority: events, Partition: 2 * blockRows, Handed: h})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Close() })
		return x
	}
	x, byLog := open(read, &r.handover), open(r.log, nil)
	refresh := func() (entries int) {
		t.Helper()
		read.read = 0
		before := x.Indexed()
		for _, x := range []*Index{x, byLog} {
			if err := x.Refresh(ctx, nil); err != nil {
				t.Fatal(err)
			}
		}
		got, want := content(t, x), content(t, byLog)
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Fatalf("from memory:\n%.300s\nfrom the log:\n%.300s", got[min(i, len(got)-1)], want[i])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d lines from memory, %d from the log", len(got), len(want))
		}
		return int(x.Indexed() - before)
	}
	gaps := func(what string, n, least, most int) {
		t.Helper()
		if n < least || n > most {
			t.Errorf("%s: %d entries were read from the log, want %d to %d", what, n, least, most)
		}
	}

	r.decide(50)
	gaps("before the index runs", refresh(), 50, read.read)
	for range 3 {
		r.decide(300)
		n := refresh()
		gaps("all but reports and odd request ids", read.read, 0, n/2)
	}
	r.handover.weight += maxHeldWeight - 1<<20 // as if much were held
	r.decide(700)
	r.handover.weight -= maxHeldWeight - 1<<20
	n := refresh()
	gaps("more bytes than are held", read.read, n/4, n-50)
	r.handover.expect(x.Indexed() - maxHeld + 200) // as if the index were far behind
	r.decide(400)
	gaps("more than are of use", refresh()-read.read, 100, 200)
	r.decide(200)
	refresh()
	gaps("after that", read.read, 0, 150)

	// A group is dropped with what waits behind it; its places go to others.
	dropped := 0
	for fault := 0; fault < 3 || dropped == 0 && fault < 50; fault++ { // one may meet the segment that is being prepared
		if err := r.disk.Inject("sync of .raw EIO"); err != nil {
			t.Fatal(err)
		}
		dropped += 40 - r.decide(40)
		// Nothing tells when the log can write again, so it is looked at again and again.
		for begun := time.Now(); r.log.Health() != nil; time.Sleep(time.Millisecond) {
			if time.Since(begun) > 10*time.Second {
				t.Fatal(r.log.Health())
			}
		}
		r.disk.Heal()
		r.decide(100)
	}
	if dropped == 0 {
		t.Error("nothing was dropped")
	}
	n = refresh()
	gaps("dropped groups", read.read, 0, n*3/4)

	// Each by itself: what was handed over says what the record in the log says.
	outcomes := map[aver.Outcome]int{}
	for e, err := range r.log.Entries(0, x.Indexed()) {
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil || leaf.Kind != aver.KindDecision {
			continue
		}
		record, err := aver.ParseRecord(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		outcomes[record.Decision.Outcome]++
		if strings.Contains(record.PEP.RequestID, "not") {
			continue
		}
		if got, want := query.FactsOf(e.Index, r.records[leaf.ID]), query.FactsOf(e.Index, record); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n%+v\nwant\n%+v", e.Payload, got, want)
		}
	}
	for _, o := range aver.Outcomes() {
		if outcomes[o] == 0 {
			t.Errorf("nothing was %s", o)
		}
	}

	// The text of what was erased is not taken from memory any more.
	r.decide(300)
	size, _ := r.log.Head()
	read.read = 0
	if err := x.Forget(ctx, []aver.IndexRange{{From: size - 10, End: size - 5}}); err != nil {
		t.Fatal(err)
	}
	refresh()
	gaps("before what was erased", read.read, 250, 320)
	if len(r.handover.held) > 0 || r.handover.weight != 0 {
		t.Errorf("%d decisions are still held, of %d bytes", len(r.handover.held), r.handover.weight)
	}
}

// A decision whose entry may have been erased (D3) is let go of even if it is handed over at that very moment.
func TestHandedOverWhileForgotten(t *testing.T) {
	r := newRecording(t, ledgertest.NewMem())
	ticket, err := r.log.Enqueue(ledgertest.Entry(0))
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		var h Handover
		h.expect(0)
		forgotten := make(chan struct{})
		var adding sync.WaitGroup
		begun := make(chan struct{})
		adding.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-forgotten:
					return
				default:
					h.Add(&aver.Record{}, ticket)
				}
				if n == 0 {
					close(begun)
				}
			}
		})
		<-begun
		h.forget(1)
		close(forgotten)
		adding.Wait()
		if n := len(h.items) + len(h.held); n > 0 || h.weight != 0 {
			t.Fatalf("%d decisions of %d bytes are still held", n, h.weight)
		}
	}
}

// What callers can make long weighs what it takes, though the record keeps only its name.
func TestHandoverWeighsWhatWasOmitted(t *testing.T) {
	long := handed{record: &aver.Record{Omitted: []string{strings.Repeat("x", 1<<20)}}}
	if short := (handed{record: &aver.Record{}}).weight(); long.weight()-short < 1<<20 {
		t.Errorf("a path of a MiB weighs %d bytes", long.weight()-short)
	}
}
