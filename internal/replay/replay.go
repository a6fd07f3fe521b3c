// Package replay decides recorded decisions again, from the two logs alone
// (requirements G3 and D2): as they were decided, or with a candidate bundle in
// place of the one that was active.
package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// Verdict is what deciding a record again showed.
type Verdict string

// The verdicts. Undetermined is neither: something that deciding needs is not
// there, so nothing was shown.
const (
	Match        Verdict = "match"
	Mismatch     Verdict = "mismatch"
	Undetermined Verdict = "undetermined"
)

// Result is the verdict on one record.
type Result struct {
	Index      uint64       `json:"index"`
	ID         string       `json:"evaluation_id"`
	Verdict    Verdict      `json:"verdict"`
	Recorded   aver.Outcome `json:"recorded"`
	Again      aver.Outcome `json:"again"`                 // of a match or a mismatch
	Missing    []string     `json:"missing,omitempty"`     // of an undetermined one: what deciding needs and the record lacks
	Difference []string     `json:"differences,omitempty"` // of a mismatch
	Grants     []string     `json:"grants,omitempty"`      // with candidate grants: ids of those in its chain
}

// Summary counts the verdicts.
type Summary struct {
	Decisions    uint64 `json:"decisions"`
	Match        uint64 `json:"match"`
	Mismatch     uint64 `json:"mismatch"`
	Undetermined uint64 `json:"undetermined"`
	// Administration is how many of them were about changes of Aver itself.
	Administration uint64 `json:"administration,omitempty"`
	// Flips are the changed outcomes under a candidate bundle, by pair, in the
	// order of outcomes.
	Flips []Flip `json:"flips,omitempty"`
	// Problems are the first results that are not matches, at most
	// [Options.Examples] of each verdict.
	Problems []Result `json:"problems,omitempty"`
	// Activities are counted apart; left out if there are none, or with a candidate bundle.
	Activities ActivitySummary `json:"activities,omitzero"`
}

// Flip is a pair of outcomes that a candidate bundle turns one into the other.
type Flip struct {
	From     aver.Outcome `json:"from"`
	To       aver.Outcome `json:"to"`
	Count    uint64       `json:"count"`
	Examples []string     `json:"examples"` // evaluation ids
}

// Options configure [Run].
type Options struct {
	From, To  uint64         // decision log indexes [From, To); To 0: to the end
	Candidate *policy.Bundle // decide with this bundle in place of the one of its name, or beside the others
	// Grants are decided with in place of those of their ids ([authority.State.WithGrants]). Only decisions are decided
	// again whose chain has one of them.
	Grants []*authority.Grant
	// Only chooses the decisions to decide again, and leaves out activities and what is erased; nil: all. It may be called
	// by several goroutines.
	Only     func(*aver.Record, *aver.Request) bool
	Examples int                      // how many examples of each sort; 0: 5
	Workers  int                      // 0: one for each processor
	Progress func(done, total uint64) // called now and then; may be nil
	Each     func(Result) error       // called for every decision, in order; may be nil
	// EachActivity is called for every activity, in order; may be nil.
	EachActivity func(ActivityResult) error
}

// whatIf tells whether decisions are made otherwise than they were.
func (o *Options) whatIf() bool { return o.Candidate != nil || len(o.Grants) > 0 }

const chunkSize = 256

// Run decides records again, in parallel, and reports in the order of the log.
// An error means that the logs could not be read; a record that does not match
// is a verdict and no error.
func Run(ctx context.Context, authorityLog, decisionLog Log, o Options) (Summary, error) {
	if o.To == 0 {
		o.To, _ = decisionLog.Head()
	}
	if o.Examples == 0 {
		o.Examples = 5
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	var whatIf func(*authority.State) *authority.State
	if o.whatIf() {
		whatIf = func(st *authority.State) *authority.State {
			if o.Candidate != nil {
				st = st.WithBundle(o.Candidate)
			}
			return st.WithGrants(o.Grants...)
		}
	}
	r := &run{o: o, decisions: decisionLog, history: activity.NewHistory(authorityLog), chained: map[string]uint64{}, states: newStates(authorityLog, whatIf), flips: map[[2]aver.Outcome]*Flip{}, used: pdp.Usage{}, partial: o.From > 0}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan *chunk)
	inOrder := make(chan *chunk, 4*o.Workers)
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(func() {
			for c := range work {
				c.results, c.err = r.decideAll(c)
				close(c.done)
			}
		})
	}
	go func() {
		defer close(inOrder)
		defer close(work)
		c := newChunk()
		send := func() bool {
			select {
			case inOrder <- c:
			case <-ctx.Done():
				return false
			}
			select {
			case work <- c:
			case <-ctx.Done():
				return false
			}
			c = newChunk()
			return true
		}
		for e, err := range decisionLog.Entries(o.From, o.To) {
			if err != nil {
				cancel(err)
				return
			}
			// In the order of the log, so that the authority is folded once; the workers only look.
			var cited *version
			if !isActivity(e.Entry) {
				cited, err = r.states.cited(e.Payload)
			}
			if err != nil {
				cancel(fmt.Errorf("decision log, entry %d: %w", e.Index, err))
				return
			}
			c.entries, c.versions = append(c.entries, e), append(c.versions, cited)
			if len(c.entries) == chunkSize && !send() {
				return
			}
		}
		if len(c.entries) > 0 {
			send()
		}
	}()
	for c := range inOrder {
		select {
		case <-c.done:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		if c.err != nil {
			cancel(c.err)
			break
		}
		r.done += uint64(len(c.entries))
		if err := r.collect(c.results); err != nil {
			cancel(err)
			break
		}
	}
	if err := context.Cause(ctx); err != nil {
		return r.summary(), err
	}
	workers.Wait()
	if o.Progress != nil {
		o.Progress(o.To-o.From, o.To-o.From)
	}
	return r.summary(), nil
}

type chunk struct {
	entries  []ledger.Indexed
	versions []*version // the authority that each cites; nil of an activity
	results  []decided
	err      error
	done     chan struct{}
}

func newChunk() *chunk {
	return &chunk{entries: make([]ledger.Indexed, 0, chunkSize), done: make(chan struct{})}
}

// decided is a result with the counters to chain, or that on an activity.
type decided struct {
	Result
	counters       []aver.Counter
	activity       *judged
	administration bool // about a change of Aver itself
	passed         bool // passed over: it is none of those to decide again
	erased         bool
}

type run struct {
	o         Options
	decisions Log
	history   *activity.History
	chained   map[string]uint64 // evaluation id :: index of its latest activity
	states    *states
	out       Summary
	flips     map[[2]aver.Outcome]*Flip
	used      pdp.Usage // :: After of the latest record
	older     pdp.Usage // the same, with records between that are erased: used then, or more
	lost      bool      // records were erased

	lostActivity bool   // activities were erased, so that chains of activities may have holes
	done         uint64 // entries
	partial      bool   // the run did not begin at the first record, so chains begin anywhere
}

func (r *run) decideAll(c *chunk) ([]decided, error) {
	out := make([]decided, 0, len(c.entries))
	scratch := make([]byte, 0, 16<<10)
	for i, e := range c.entries {
		if isActivity(e.Entry) && (r.o.whatIf() || r.o.Only != nil) {
			continue
		}
		var d decided
		var err error
		if isActivity(e.Entry) {
			d.activity, err = r.judge(e)
		} else {
			d, err = r.decide(e, c.versions[i], scratch)
		}
		if err != nil {
			return nil, fmt.Errorf("decision log, entry %d: %w", e.Index, err)
		}
		if !d.passed {
			out = append(out, d)
		}
	}
	return out, nil
}

// decide decides one record again. Only a log that can't be read is an error. Scratch is
// room for what is compared, and may be nil.
func (r *run) decide(e ledger.Indexed, version *version, scratch []byte) (decided, error) {
	if e.Erased && r.o.Only != nil {
		return decided{passed: true}, nil // nobody can tell whether it is one of them
	}
	if e.Erased {
		return r.erased(e)
	}
	record, req, lacking, err := reopen(e.Entry)
	if err != nil {
		return decided{}, err
	}
	out := decided{Result: Result{Index: e.Index, ID: record.ID, Recorded: record.Decision.Outcome}, counters: record.Decision.Counters,
		administration: record.PEP.Credential == aver.Self}
	for _, g := range r.o.Grants {
		if slices.Contains(req.Delegation(), g.ID) {
			out.Grants = append(out.Grants, g.ID)
		}
	}
	if len(r.o.Grants) > 0 && len(out.Grants) == 0 || r.o.Only != nil && !r.o.Only(record, req) {
		return decided{passed: true}, nil
	}
	if len(lacking) > 0 {
		why, err := r.states.whyWithheld(e.Index)
		if err != nil {
			return decided{}, err
		}
		out.Verdict, out.Missing = Undetermined, append(lacking, why...)
		return out, nil
	}
	if version == nil {
		return decided{}, errors.New("it cites no authority")
	}
	used := make(pdp.Usage, len(record.Decision.Counters))
	for _, c := range record.Decision.Counters {
		used[pdp.LimitKey{Grant: c.Grant, Name: c.Name}] = c.Before
	}
	q := pdp.QueryOf(record, req)
	again, evidence := pdp.Decide(version.state, q, record.Time, used)
	for _, path := range evidence.Lacks(record.Omitted) {
		out.Missing = append(out.Missing, path+", which was sent and not kept")
	}
	if len(out.Missing) > 0 {
		out.Verdict = Undetermined
		return out, nil
	}
	out.Again, out.Verdict = again.Outcome, Match
	if r.o.whatIf() {
		if again.Outcome != record.Decision.Outcome {
			out.Verdict = Mismatch
			out.Difference = []string{fmt.Sprintf("outcome: recorded %s, with the candidate %s", record.Decision.Outcome, again.Outcome)}
		}
		return out, nil
	}
	if version.root != record.Authority.Root {
		out.Difference = append(out.Difference, fmt.Sprintf("authority root at size %d: recorded %s, in the log %s",
			record.Authority.Size, record.Authority.Root, version.root))
	}
	if digest := version.state.PoliciesDigest(); digest != record.Policies {
		out.Difference = append(out.Difference, fmt.Sprintf("policies: recorded %s, in the log %s", record.Policies, digest))
	}
	if facts := evidence.Cite(version.state, q, &again); !slices.Equal(facts.Events, record.Facts.Events) || !slices.Equal(facts.Absent, record.Facts.Absent) {
		out.Difference = append(out.Difference, fmt.Sprintf("facts: recorded %s, again %s", factsText(record.Facts), factsText(facts)))
	}
	if len(e.Leaf) > 0 {
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			return decided{}, err
		}
		if class := pdp.RetentionClass(version.state, q); leaf.Class != class {
			out.Difference = append(out.Difference, fmt.Sprintf("retention class: recorded %q, again %q", leaf.Class, class))
		}
	}
	before := record.Decision.AppendCanonical(scratch)
	after := again.AppendCanonical(before[len(before):])
	if !bytes.Equal(before, after) {
		out.Difference = append(out.Difference, differences("decision", before, after)...)
	}
	if len(out.Difference) > 0 {
		out.Verdict = Mismatch
	}
	return out, nil
}

// reopen reads an entry of the decision log. Missing names what deciding it
// again would need and nobody here has.
func reopen(e ledger.Entry) (record *aver.Record, req *aver.Request, missing []string, err error) {
	record, req, withheld, err := pdp.ReadEntry(e)
	if err != nil {
		return nil, nil, nil, err
	}
	if record.Semantics != aver.Semantics {
		missing = append(missing, fmt.Sprintf("semantics %s, which this build does not have", record.Semantics))
	}
	if record.Engine != policy.EngineVersion {
		missing = append(missing, fmt.Sprintf("engine %s; this build has %s", record.Engine, policy.EngineVersion))
	}
	for _, at := range withheld {
		missing = append(missing, "the withheld value at "+at)
	}
	return record, req, missing, nil
}

func factsText(f aver.Facts) string { return fmt.Sprintf("events %v, absent %v", f.Events, f.Absent) }

// collect takes the results in the order of the log, and checks that the
// counters of every limit form an unbroken chain.
func (r *run) collect(results []decided) error {
	for _, d := range results {
		if d.activity != nil {
			if err := r.collectActivity(d.activity); err != nil {
				return err
			}
			continue
		}
		if d.erased {
			r.forget()
		}
		for _, c := range d.counters {
			key := pdp.LimitKey{Grant: c.Grant, Name: c.Name}
			before, known := r.used[key]
			breaks := (known || !r.partial && !r.lost) && before != c.Before
			if !known && r.lost {
				breaks = c.Before < r.older[key] // what the records between used is not known any more
			}
			if breaks && !r.o.whatIf() && r.o.Only == nil {
				d.Verdict = Mismatch
				d.Difference = append(d.Difference, fmt.Sprintf("%s of grant %s: the record begins at %d, the one before ended at %d", c.Name, c.Grant, c.Before, before))
			}
			r.used[key] = c.After
		}
		if d.administration {
			r.out.Administration++
		}
		r.count(d.Result)
		if r.o.Each != nil {
			if err := r.o.Each(d.Result); err != nil {
				return err
			}
		}
	}
	if r.o.Progress != nil {
		r.o.Progress(r.done, r.o.To-r.o.From)
	}
	return nil
}

// forget notes that a record was erased, which may have used any limit.
func (r *run) forget() {
	r.lost = true
	if r.older == nil {
		r.older = pdp.Usage{}
	}
	for key, n := range r.used {
		r.older[key] = n
	}
	clear(r.used)
}

func (r *run) count(d Result) {
	r.out.Decisions++
	var of *uint64
	switch d.Verdict {
	case Match:
		r.out.Match++
		return
	case Mismatch:
		of = &r.out.Mismatch
	case Undetermined:
		of = &r.out.Undetermined
	}
	if *of++; *of <= uint64(r.o.Examples) {
		r.out.Problems = append(r.out.Problems, d)
	}
	if !r.o.whatIf() || d.Verdict != Mismatch {
		return
	}
	pair := [2]aver.Outcome{d.Recorded, d.Again}
	f := r.flips[pair]
	if f == nil {
		f = &Flip{From: d.Recorded, To: d.Again}
		r.flips[pair] = f
	}
	if f.Count++; len(f.Examples) < r.o.Examples {
		f.Examples = append(f.Examples, d.ID)
	}
}

func (r *run) summary() Summary {
	out := r.out
	for _, from := range aver.Outcomes() {
		for _, to := range aver.Outcomes() {
			if f := r.flips[[2]aver.Outcome{from, to}]; f != nil {
				out.Flips = append(out.Flips, *f)
			}
		}
	}
	return out
}
