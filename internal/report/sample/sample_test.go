package sample_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/report/sample"
)

// state is what a report says about one check.
func state(r *sample.Report, name string) sample.Check {
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	return sample.Check{}
}

// G2, G4: the completeness of a population of ten thousand records is proved by x/mod's tlog alone, and a record that is
// taken out of the middle is missed.
func TestCompletenessOfTenThousandRecords(t *testing.T) {
	log := newLog(t, 10_300, nil)
	d := log.fix(t, "", 100, 10_100)
	if s := d.Statement; s.First != 100 || s.End != 10_100 || s.Count+s.Excluded.Activities != 10_000 || len(d.Proof.Leaves) != 10_128 {
		t.Fatalf("%+v, %d leaves", s, len(d.Proof.Leaves))
	}
	if r := d.Verify(log.key.VKey); !r.Integrity || r.Trust != "established" {
		t.Fatalf("%+v", r)
	}
	if err := withTlogAlone(d); err != nil {
		t.Fatal(err)
	}

	without := *d
	proof := *d.Proof
	proof.Leaves = slices.Delete(slices.Clone(proof.Leaves), 5000, 5001)
	without.Proof = &proof
	if err := withTlogAlone(&without); err == nil {
		t.Error("x/mod's tlog did not miss the record")
	}
	if r := without.Verify(log.key.VKey); r.Integrity || state(r, "leaves").State != sample.Wrong {
		t.Errorf("%+v", r)
	}
}

// withTlogAlone does what docs/sampling.md says that anybody can do with golang.org/x/mod/sumdb/tlog: every stored hash
// that follows from the leaves and the nodes, then the tree's root from those.
func withTlogAlone(d *sample.Document) error {
	known := map[int64]tlog.Hash{}
	size := int64(d.Statement.Tree.Size)
	for _, n := range d.Proof.Nodes {
		known[tlog.StoredHashIndex(n.Level, n.N)] = n.Hash
	}
	for i, leaf := range d.Proof.Leaves {
		known[tlog.StoredHashIndex(0, int64(d.Proof.Begin)+int64(i))] = tlog.RecordHash([]byte(leaf))
	}
	for level := 0; size>>level > 1; level++ {
		for n := int64(0); (n+2)<<level <= size; n += 2 {
			left, ok1 := known[tlog.StoredHashIndex(level, n)]
			right, ok2 := known[tlog.StoredHashIndex(level, n+1)]
			if ok1 && ok2 {
				known[tlog.StoredHashIndex(level+1, n/2)] = tlog.NodeHash(left, right)
			}
		}
	}
	root, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, i := range indexes {
			out = append(out, known[i])
		}
		return out, nil
	}))
	if err == nil && root.String() != d.Statement.Tree.Root {
		err = errors.New("the tree has another root")
	}
	return err
}

// A range proof holds for every range of small trees, and for no other leaves, place or tree.
func TestRangeProofs(t *testing.T) {
	log := newLog(t, 21, nil)
	_, tree := log.checkpoint(t)
	for first := 0; first <= 20; first++ {
		for end := first; end <= 20; end++ {
			f, err := sample.Fix(context.Background(), log, sample.Request{ID: "p", Query: mustParse(t, ""), From: second(first), To: second(end) + 1, Tree: tree})
			if err != nil {
				t.Fatal(err)
			}
			for _, cut := range []struct{ from, to int }{{0, 21}, {first, end + 1}} {
				p := cutProof(t, log, f, cut.from, cut.to)
				root, _ := tlog.ParseHash(tree.Root)
				if err := p.Check(tree.Size, root); err != nil {
					t.Fatalf("[%d, %d): %v", cut.from, cut.to, err)
				}
				if err := p.Check(tree.Size-1, root); err == nil {
					t.Errorf("[%d, %d) is proved in a smaller tree", cut.from, cut.to)
				}
				if p.Begin > 0 {
					p.Begin--
					if err := p.Check(tree.Size, root); err == nil {
						t.Errorf("[%d, %d) is proved one further to the left", cut.from, cut.to)
					}
				}
			}
		}
	}
}

// cutProof is the proof of the leaves [from, to) alone.
func cutProof(t *testing.T, log *testLog, f *sample.Fixed, from, to int) *sample.RangeProof {
	t.Helper()
	p, err := sample.Prove(log, uint64(from), uint64(to), f.Tree.Size)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Whatever is changed in a population is found, and the check that finds it is the right one.
func TestWhatIsChangedIsFound(t *testing.T) {
	log := newLog(t, 200, nil)
	old, oldTree := log.checkpoint(t)
	log.add(t, 200, 400, nil)
	checkpoint, tree := log.checkpoint(t)
	f, err := sample.Fix(context.Background(), log, sample.Request{
		ID: "p", Query: mustParse(t, "outcome:denied"), From: second(100), To: second(300), Tree: tree, Since: &oldTree,
	})
	if err != nil {
		t.Fatal(err)
	}
	whole := document(t, f, log.key, checkpoint, old)
	if r := whole.Verify(log.key.VKey); !r.Integrity || state(r, "consistency").State != sample.OK || state(r, "event").State != sample.Unchecked {
		t.Fatalf("%+v", r)
	}
	if c := whole.VerifyFull(context.Background(), log, nil); c.State != sample.OK {
		t.Fatalf("%+v", c)
	}
	other := newLog(t, 1, nil)
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	again := func(d *sample.Document) { // what somebody with the log's key could do
		d.Digest, _ = sample.Digest(&d.Statement)
		if err := d.Sign(log.key.Signer); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		edit  func(*sample.Document)
		check string
	}{
		"a count":                       {func(d *sample.Document) { d.Statement.Count-- }, "statement"},
		"a count, and signed again":     {func(d *sample.Document) { d.Statement.Count--; d.Statement.Excluded.NotMatching++; again(d) }, "rows"},
		"a row left out":                {func(d *sample.Document) { d.Rows = d.Rows[1:] }, "rows"},
		"a row that is none":            {func(d *sample.Document) { d.Rows[0]-- }, "rows"},
		"another statement signed":      {func(d *sample.Document) { d.Digest = aver.Digest(nil) }, "statement"},
		"a byte of the note":            {func(d *sample.Document) { d.Note = strings.Replace(d.Note, "population", "Population", 1) }, "note"},
		"a leaf":                        {func(d *sample.Document) { d.Proof.Leaves[70] = d.Proof.Leaves[71] }, "leaves"},
		"a hash":                        {func(d *sample.Document) { d.Proof.Nodes[0].Hash[0] ^= 1 }, "leaves"},
		"no neighbour before":           {func(d *sample.Document) { *d.Proof = *must(sample.Prove(log, 100, 364, tree.Size)) }, "leaves"},
		"no neighbour after":            {func(d *sample.Document) { *d.Proof = *must(sample.Prove(log, 36, 300, tree.Size)) }, "leaves"},
		"a shorter period, same leaves": {func(d *sample.Document) { d.Statement.To = second(250); again(d) }, "period"},
		"a longer period, same leaves":  {func(d *sample.Document) { d.Statement.To = second(310); again(d) }, "period"},
		"another checkpoint":            {func(d *sample.Document) { d.Checkpoint = d.Since }, "checkpoint"},
		"the consistency":               {func(d *sample.Document) { d.Consistency[0][0] ^= 1 }, "consistency"},
		"an event of something else": {func(d *sample.Document) {
			d.Event = &sample.Event{Leaf: `{}`, Payload: `{}`}
		}, "event"},
	} {
		t.Run(name, func(t *testing.T) {
			var d sample.Document
			if err := json.Unmarshal(text, &d); err != nil {
				t.Fatal(err)
			}
			test.edit(&d)
			r := d.Verify(log.key.VKey)
			if r.Integrity || state(r, test.check).State != sample.Wrong {
				t.Errorf("not found: %+v", r)
			}
		})
	}
	if r := whole.Verify(other.key.VKey); r.Integrity || r.Trust != "refused" {
		t.Errorf("under another key: %+v", r)
	}
	if r := whole.Verify(""); !r.Integrity || r.Trust != "unchecked" {
		t.Errorf("without a key trust is not established: %+v", r)
	}
}

// --full finds what leaves alone can't tell: a record that matches the query and was left out of the rows.
func TestFullFindsWhatTheQueryWants(t *testing.T) {
	log := newLog(t, 100, nil)
	d := log.fix(t, "action:payment.approve", 10, 90)
	dropped := d.Rows[3]
	d.Rows = slices.Delete(slices.Clone(d.Rows), 3, 4)
	d.Statement.Count--
	d.Statement.Excluded.NotMatching++
	d.Statement.Rows = aver.Digest([]byte(strings.Join(lines(d.Rows), "")))
	d.Digest, _ = sample.Digest(&d.Statement)
	if err := d.Sign(log.key.Signer); err != nil {
		t.Fatal(err)
	}
	if r := d.Verify(log.key.VKey); !r.Integrity {
		t.Fatalf("row %d: %+v", dropped, r)
	}
	if c := d.VerifyFull(context.Background(), log, nil); c.State != sample.Wrong || !strings.Contains(c.Detail, "differs in the rows") {
		t.Errorf("%+v", c)
	}
}

// Records that were decided at the same moment can stand in another order than their times say.
func TestTimesOutOfOrderAtTheEdges(t *testing.T) {
	times := map[int]int{8: 11, 9: 10, 10: 9, 11: 8, 21: 24, 22: 23, 23: 22, 24: 21} // index: second
	log := newLog(t, 40, func(i int, r *aver.Record) {
		if s, ok := times[i]; ok {
			r.Time = second(s)
		}
	})
	d := log.fix(t, "", 10, 23)
	s := d.Statement
	if s.First != 8 || s.End != 25 || s.Count != 11 || s.Excluded != (aver.Excluded{Activities: 2, Outside: 4}) {
		t.Errorf("%+v, rows %v", s, d.Rows)
	}
	if r := d.Verify(""); !r.Integrity {
		t.Errorf("%+v", r)
	}
	if c := d.VerifyFull(context.Background(), log, nil); c.State != sample.OK {
		t.Errorf("%+v", c)
	}
}

// An erased payload is said to be missing, never passed over; numbers that never arrived are listed (G7).
func TestMissingPayloadsAndNumbers(t *testing.T) {
	log := newLog(t, 60, func(i int, r *aver.Record) {
		if i >= 30 {
			r.PEP.Sequence += 5
		}
	})
	d := log.fix(t, "", 0, 60)
	if want := []aver.SequenceGap{{Credential: "gateway", Instance: "one", First: 31, Last: 34}}; !slices.Equal(d.Statement.Gaps[:1], want) {
		t.Errorf("gaps %+v", d.Statement.Gaps)
	}
	err := log.Erase(context.Background(), 20, 25, func(ledger.Indexed) ([]byte, bool) { return nil, true }) // 20 is an activity
	if err != nil {
		t.Fatal(err)
	}
	if c := d.VerifyFull(context.Background(), log, nil); c.State != sample.Wrong || !strings.Contains(c.Detail, "payloads that are gone") {
		t.Errorf("%+v", c)
	}
	d = log.fix(t, "", 0, 60)
	if want := []aver.MissingRange{{First: 21, End: 25, Why: "erased"}}; !slices.Equal(d.Statement.Missing, want) || slices.Contains(d.Rows, 22) {
		t.Errorf("missing %+v", d.Statement.Missing)
	}
	if r := d.Verify(log.key.VKey); !r.Integrity {
		t.Errorf("what is left is not proved: %+v", r)
	}
}

func TestPopulationsThatCannotBe(t *testing.T) {
	log := newLog(t, 10, nil)
	_, tree := log.checkpoint(t)
	for _, test := range []struct {
		query    string
		from, to int
		want     string
	}{
		{"activity:completed", 0, 5, "changes which decisions this query matches"},
		{"refund", 0, 5, "changes which decisions this query matches"},
		{"", 5, 5, "to must be later than from"},
	} {
		_, err := sample.Fix(context.Background(), log, sample.Request{ID: "p", Query: mustParse(t, test.query), From: second(test.from), To: second(test.to), Tree: tree})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.query, err, test.want)
		}
	}
}

// A period without records, and a log without entries, are populations too.
func TestEmptyPopulations(t *testing.T) {
	log := newLog(t, 10, nil)
	for _, period := range [][2]int{{-9, -1}, {20, 30}} {
		d := log.fix(t, "", period[0], period[1])
		if r := d.Verify(""); !r.Integrity || d.Statement.Count != 0 || d.Statement.First != d.Statement.End {
			t.Errorf("%+v\n%+v", d.Statement, r)
		}
		drawn, err := sample.Draw(&d.Statement, d.Rows, nil, sample.Spec{Nonce: "n", Method: aver.SampleInterval, Size: 5})
		if err != nil || len(drawn.Rows) != 0 {
			t.Errorf("%v %v", drawn, err)
		}
	}
}
