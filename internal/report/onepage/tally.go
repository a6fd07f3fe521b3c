package onepage

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/replay"
)

// seen is a decision with the request that it is about.
type seen struct {
	*aver.Record
	index uint64
	req   *aver.Request
}

// tally counts the decisions that a page is about, and what became of them.
type tally struct {
	decisions  uint64
	outcomes   map[aver.Outcome]uint64
	first      entry
	last       entry
	actors     map[aver.Ref]*actor
	delegated  map[string]*delegation // by grant
	policies   map[string]uint64      // by id
	gates      map[string]uint64      // by policy
	tools      map[string]uint64
	versions   map[string]bool // digests of the active policies
	peps       map[string]uint64
	impact     uint64 // decisions of high impact that allowed something
	impacts    []entry
	exceptions map[string]uint64
	used       pdp.Usage

	ids      map[string]bool // of those that allowed something, to know their activities
	many     bool            // more than are kept
	ended    uint64          // of those: with a reported end
	lapsed   []entry
	findings map[aver.FindingCode]uint64
}

// entry is an entry of the decision log.
type entry struct {
	index uint64
	id    string
	at    aver.Time
	text  string
}

// actor is what one party did.
type actor struct {
	kind    aver.Kind
	event   *uint64
	asked   uint64
	allowed uint64
	impact  uint64
	last    entry
}

// delegation is the use of one grant.
type delegation struct {
	used uint64
	last entry
}

// Bounds of a tally.
const (
	idsKept     = 200_000
	actorsKept  = 10_000
	entriesKept = 10
)

// highImpact tells whether a decision is about something that matters: a
// privileged action, or one that a gate, an approval or an exception was about.
func (r *reader) highImpact(d *seen) bool {
	if aver.Covers(r.Thresholds.Excess.Privileged, d.req.Action.Name) || len(d.Decision.Requirements) > 0 || len(d.Decision.Obligations) > 0 {
		return true
	}
	for _, c := range d.Decision.Counters {
		if c.Name == "approval" {
			return true
		}
	}
	for _, f := range pdp.Frames(&d.Decision) {
		if f.As == aver.FrameException && f.Allowed {
			return true
		}
	}
	for _, conflict := range r.Thresholds.Excess.Conflicts {
		for _, duty := range conflict.Duties {
			if aver.Covers(duty, d.req.Action.Name) {
				return true
			}
		}
	}
	return false
}

// count goes once through the decision log and counts what is of the page.
func (r *reader) count(ctx context.Context, of func(*seen) bool) (*tally, error) {
	t := &tally{
		outcomes: map[aver.Outcome]uint64{}, actors: map[aver.Ref]*actor{}, delegated: map[string]*delegation{}, policies: map[string]uint64{},
		gates: map[string]uint64{}, tools: map[string]uint64{}, versions: map[string]bool{}, peps: map[string]uint64{},
		exceptions: map[string]uint64{}, used: pdp.Usage{}, ids: map[string]bool{}, findings: map[aver.FindingCode]uint64{},
	}
	for e, err := range r.Decisions.Entries(r.read.From, r.read.DecisionsSize) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			return nil, fmt.Errorf("decision log, entry %d: %w", e.Index, err)
		}
		if r.read.Since == 0 {
			r.read.Since = leaf.Time
		}
		if e.Erased {
			r.read.Erased++
			continue
		}
		if leaf.Kind == aver.KindActivity {
			a, err := aver.ParseActivity(e.Payload)
			if err != nil {
				return nil, fmt.Errorf("decision log, entry %d: %w", e.Index, err)
			}
			t.activity(e.Index, a)
			continue
		}
		d, err := parse(e.Index, e.Payload, e.Private)
		if err != nil {
			return nil, fmt.Errorf("decision log, entry %d: %w", e.Index, err)
		}
		for _, c := range d.Decision.Counters {
			t.used[pdp.LimitKey{Grant: c.Grant, Name: c.Name}] = c.After
		}
		if d.PEP.Credential != aver.Self && of(d) {
			t.add(d, r.highImpact(d))
		}
	}
	return t, nil
}

func parse(index uint64, payload, private []byte) (*seen, error) {
	record, err := aver.ParseRecord(payload)
	if err != nil {
		return nil, err
	}
	disclosures, err := pdp.ParseDisclosures(private)
	if err != nil {
		return nil, err
	}
	req, _, err := pdp.Reopen(record.Request, record.Token, disclosures)
	return &seen{record, index, req}, err
}

func (d *seen) entry(text string) entry { return entry{d.index, d.ID, d.Time, text} }

// parties are those who act, and for whom.
func (d *seen) parties() []aver.Ref {
	out := []aver.Ref{d.Decision.Actor.Ref}
	if user, ok := d.req.OnBehalfOf(); ok {
		out = append(out, user)
	}
	for _, f := range pdp.Frames(&d.Decision) {
		if f.As == aver.FrameDelegator {
			out = append(out, f.Entity)
		}
	}
	return out
}

func (d *seen) what() string {
	return fmt.Sprintf("%s %s on %s: %s", d.Decision.Actor.Ref, d.req.Action.Name, d.req.Resource.Ref, d.Decision.Outcome)
}

func (t *tally) add(d *seen, impact bool) {
	t.decisions++
	t.outcomes[d.Decision.Outcome]++
	at := d.entry(d.what())
	if t.decisions == 1 {
		t.first = at
	}
	t.last = at
	allowed := d.Decision.Outcome.Allowed()
	a := t.actors[d.Decision.Actor.Ref]
	if a == nil {
		a = &actor{kind: d.Decision.Actor.Kind}
		if len(t.actors) < actorsKept {
			t.actors[d.Decision.Actor.Ref] = a
		}
	}
	a.asked++
	a.event, a.last = d.Decision.Actor.Event, at
	t.versions[d.Policies] = true
	t.peps[d.PEP.Credential]++
	if tool := d.req.Tool(); tool != "" && allowed {
		t.tools[tool]++
	}
	for _, f := range pdp.Frames(&d.Decision) {
		for _, p := range f.Policies {
			if f.As == aver.FrameActor || f.As == aver.FrameDelegator {
				t.policies[p]++
			}
		}
		if f.As == aver.FrameException && f.Allowed {
			t.exceptions[f.Exception]++
		}
	}
	for _, q := range d.Decision.Requirements {
		t.gates[q.Policy]++
	}
	for _, o := range d.Decision.Obligations {
		t.gates[o.ID]++
	}
	if !allowed {
		return
	}
	a.allowed++
	if impact {
		a.impact++
		t.impact++
		if len(t.impacts) == entriesKept {
			t.impacts = slices.Delete(t.impacts, 0, 1)
		}
		t.impacts = append(t.impacts, at)
	}
	for _, g := range d.req.Delegation() {
		use := t.delegated[g]
		if use == nil {
			use = &delegation{}
			t.delegated[g] = use
		}
		use.used++
		use.last = at
	}
	if len(t.ids) < idsKept {
		t.ids[d.ID] = false
	} else {
		t.many = true
	}
}

func (t *tally) activity(index uint64, a *aver.Activity) {
	ended, known := t.ids[a.EvaluationID]
	if !known {
		return
	}
	if a.Status.Ends() && !ended {
		t.ids[a.EvaluationID] = true
		t.ended++
	}
	for _, f := range a.Findings {
		t.findings[f.Code]++
	}
	if c := a.Continuity; c != nil && c.State == aver.Lapsed && a.Status == aver.ActivityCompleted && len(t.lapsed) < entriesKept {
		t.lapsed = append(t.lapsed, entry{index, a.ID, a.Time, "completed after its authority had ended " + c.Lapse.At.String()})
	}
}

func (t *tally) allowed() (n uint64) {
	for o, count := range t.outcomes {
		if o.Allowed() {
			n += count
		}
	}
	return n
}

// outcomesText lists how many came out how.
func (t *tally) outcomesText() string {
	var parts []string
	for _, o := range aver.Outcomes() {
		if n := t.outcomes[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	return strings.Join(parts, ", ")
}

// most lists the names that were counted most.
func most[K cmp.Ordered](counts map[K]uint64) []K {
	return slices.SortedFunc(maps.Keys(counts), func(a, b K) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}

// busiest lists the actors, those first that did most of what matters.
func (t *tally) busiest() []aver.Ref {
	return slices.SortedFunc(maps.Keys(t.actors), func(a, b aver.Ref) int {
		x, y := t.actors[a], t.actors[b]
		return cmp.Or(cmp.Compare(y.impact, x.impact), cmp.Compare(y.asked, x.asked), cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
}

// again decides again what is of the page.
func (r *reader) again(ctx context.Context, of func(*seen) bool) (replay.Summary, error) {
	return replay.Run(ctx, r.Authority, r.Decisions, replay.Options{
		From: r.read.From, To: r.read.DecisionsSize, Examples: 3,
		Only: func(record *aver.Record, req *aver.Request) bool {
			return record.PEP.Credential != aver.Self && of(&seen{Record: record, req: req})
		},
	})
}
