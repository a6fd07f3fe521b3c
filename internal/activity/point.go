package activity

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

// Point takes reports of activities and records them. It is safe for concurrent
// use.
type Point struct {
	pdp     *pdp.Point
	tracker *Tracker
	// Reports on one decision are taken one after the other.
	locks [256]sync.Mutex
}

// NewPoint returns the point that records with a decision point what a tracker
// follows.
func NewPoint(p *pdp.Point, t *Tracker) *Point { return &Point{pdp: p, tracker: t} }

// MaxActivities bounds the activities of one decision.
const MaxActivities = 1000

// ErrKeyReused says that an idempotency key was used for another report.
var ErrKeyReused = errors.New("this idempotency key was used for another report of this decision")

// ErrTooMany says that a decision has as many activities as it may have.
var ErrTooMany = fmt.Errorf("this decision has %d activities already, and no more are taken", MaxActivities)

// Report records an activity and returns once it is durable. A report that was
// recorded before, by its key or its content, gives the same answer again and no
// second entry. The errors are [ErrKeyReused], [ErrTooMany], those of the ledger,
// and of ctx.
func (p *Point) Report(ctx context.Context, r *aver.ActivityReport, pep aver.PEP) (*aver.ActivityAnswer, error) {
	a, err := r.Activity(pep)
	if err != nil {
		return nil, err
	}
	known, ticket, err := p.record(ctx, a)
	if err != nil {
		return nil, err
	}
	if known != nil {
		return p.again(ctx, known)
	}
	receipt, err := p.pdp.Durable(ctx, ticket)
	if errors.Is(err, ledger.ErrUnavailable) {
		p.tracker.undo(a, ticket)
	}
	if err != nil {
		return nil, err
	}
	p.tracker.reported(a)
	return a.Answer(receipt), nil
}

// record gives a report its place in the log, or finds the place that it has.
func (p *Point) record(ctx context.Context, a *aver.Activity) (*link, *ledger.Ticket, error) {
	h := fnv.New32a()
	h.Write([]byte(a.EvaluationID))
	lock := &p.locks[h.Sum32()%uint32(len(p.locks))]
	lock.Lock()
	defer lock.Unlock()

	log := p.tracker.o.Decisions
	size, _ := log.Head()
	var decision ledger.Entry
	index, err := pdp.Find(log, size, a.EvaluationID)
	switch {
	case err == nil:
		if decision, err = log.Entry(index); err != nil {
			return nil, nil, err
		}
		a.Decision = &index
	case !errors.Is(err, pdp.ErrNotFound):
		return nil, nil, err
	}
	links, err := p.tracker.links(ctx, a.EvaluationID, a.Decision)
	if err != nil {
		return nil, nil, err
	}
	for _, l := range links {
		switch {
		case a.Key != "" && l.key == a.Key && l.report != a.Report:
			return nil, nil, ErrKeyReused
		case l.report == a.Report && l.key == a.Key:
			return &l, nil, nil
		}
	}
	if len(links) >= MaxActivities {
		return nil, nil, ErrTooMany
	}
	prior := make([]*aver.Activity, len(links))
	for i, l := range links {
		if prior[i], err = p.activity(ctx, &l); err != nil {
			return nil, nil, err
		}
	}
	if n := len(links); n > 0 {
		a.Previous = &links[n-1].index
	}
	_, a.Authority, a.Time = p.pdp.Now()
	if err := Judge(p.tracker.o.History, decision, prior, a); err != nil {
		return nil, nil, err
	}
	class, err := classOf(decision)
	if err != nil {
		return nil, nil, err
	}
	ticket, err := p.pdp.Append(a, class)
	if err != nil {
		return nil, nil, err
	}
	p.tracker.enqueued(a, ticket)
	return nil, ticket, nil
}

// classOf is the retention class of a decision's entry; "" if there is none.
func classOf(decision ledger.Entry) (string, error) {
	if decision.Leaf == nil {
		return "", nil
	}
	leaf, err := aver.ParseLeaf(decision.Leaf)
	return leaf.Class, err
}

// Judge says what Aver finds about an activity that has everything else: its
// continuity and its findings. decision is the entry of the decision, if the
// activity names one; prior are the earlier activities.
func Judge(h *History, decision ledger.Entry, prior []*aver.Activity, a *aver.Activity) error {
	a.Continuity, a.Findings = nil, nil
	if a.Decision == nil {
		a.Findings = Find(nil, prior, a)
		return nil
	}
	record, err := aver.ParseRecord(decision.Payload)
	if err != nil {
		return err
	}
	if record.Decision.Outcome.Allowed() {
		disclosures, err := pdp.ParseDisclosures(decision.Private)
		if err != nil {
			return err
		}
		req, missing, err := pdp.Reopen(record.Request, record.Token, disclosures)
		if err != nil {
			return err
		}
		if a.Continuity, err = Follow(h, record, req, missing, a.Authority.Size, a.Happened()); err != nil {
			return err
		}
	}
	a.Findings = Find(record, prior, a)
	return nil
}

// activity reads an activity that has a place in the log.
func (p *Point) activity(ctx context.Context, l *link) (*aver.Activity, error) {
	if l.ticket != nil {
		if _, err := l.ticket.Wait(ctx); err != nil {
			return nil, err
		}
	}
	e, err := p.tracker.o.Decisions.Entry(l.index)
	if err != nil {
		return nil, err
	}
	return pdp.ParseActivityEntry(e)
}

// again answers a repeated report.
func (p *Point) again(ctx context.Context, l *link) (*aver.ActivityAnswer, error) {
	a, err := p.activity(ctx, l)
	if err != nil {
		return nil, err
	}
	receipt, err := p.pdp.ReceiptOf(l.index)
	if err != nil {
		return nil, err
	}
	answer := a.Answer(receipt)
	answer.Repeated = true
	return answer, nil
}

// Recorded is an activity with its place in the log.
type Recorded struct {
	Index    uint64         `json:"index"`
	Activity *aver.Activity `json:"activity"`
}

// Of lists the activities of a decision, oldest first.
func (p *Point) Of(ctx context.Context, evaluation string, decision uint64) ([]Recorded, error) {
	links, err := p.tracker.links(ctx, evaluation, &decision)
	if err != nil {
		return nil, err
	}
	out := make([]Recorded, 0, len(links))
	for _, l := range links {
		a, err := p.activity(ctx, &l)
		if err != nil {
			return nil, err
		}
		out = append(out, Recorded{l.index, a})
	}
	return out, nil
}

// enqueued notes an activity that has a place in the log.
func (t *Tracker) enqueued(a *aver.Activity, ticket *ledger.Ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chains.add(a, ticket.Index(), ticket)
}

// undo takes back an activity that did not become durable.
func (t *Tracker) undo(a *aver.Activity, ticket *ledger.Ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chains.drop(a.EvaluationID, ticket)
}

// reported takes in an activity that is durable.
func (t *Tracker) reported(a *aver.Activity) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gaps.saw(a.PEP, a.Time)
	t.gaps.found(a)
	if open := t.open[a.EvaluationID]; open != nil && a.Status.Ends() {
		t.closeAuthorization(open)
	}
}
