package activity

import (
	"bytes"
	"context"
	"sync"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

// chains are the activities of each decision, in the order of the log, as far as
// they are kept. The tracker's lock guards them.
type chains struct {
	max   int
	from  uint64 // of this index on, every activity is here
	of    map[string]*chain
	order []string // evaluation ids, as they came
	scan  sync.Mutex
}

type chain struct {
	links []link
	ends  bool
}

// link is one activity.
type link struct {
	index       uint64
	report, key string         // digests
	ticket      *ledger.Ticket // nil once it is known to be durable
}

func (c *chains) init(most int) { c.max, c.of = most, map[string]*chain{} }

func (c *chains) add(a *aver.Activity, index uint64, ticket *ledger.Ticket) {
	of := c.of[a.EvaluationID]
	if of == nil {
		of = &chain{}
		c.of[a.EvaluationID] = of
		c.order = append(c.order, a.EvaluationID)
	}
	of.links = append(of.links, link{index, a.Report, a.Key, ticket})
	of.ends = of.ends || a.Status.Ends()
}

// ends tells whether an end of the use of a decision was reported.
func (c *chains) ends(evaluation string) bool {
	of := c.of[evaluation]
	return of != nil && of.ends
}

// drop takes back an activity that did not become durable.
func (c *chains) drop(evaluation string, ticket *ledger.Ticket) {
	of := c.of[evaluation]
	if of == nil {
		return
	}
	for i, l := range of.links {
		if l.ticket == ticket {
			of.links = append(of.links[:i:i], of.links[i+1:]...)
			return
		}
	}
}

// forget lets go of the oldest chains beyond the bound.
func (c *chains) forget() {
	n := 0
	for len(c.of) > c.max {
		id := c.order[n]
		if links := c.of[id].links; len(links) > 0 {
			c.from = max(c.from, links[len(links)-1].index+1)
		}
		delete(c.of, id)
		n++
	}
	c.order = c.order[n:]
}

// links returns the activities of a decision. What is not kept any more is looked
// for in the log, from the decision on.
func (t *Tracker) links(ctx context.Context, evaluation string, decision *uint64) ([]link, error) {
	t.mu.Lock()
	var out []link
	if c := t.chains.of[evaluation]; c != nil {
		out = append(out, c.links...)
	}
	from := t.chains.from
	t.mu.Unlock()
	if decision == nil || *decision >= from {
		return out, nil
	}
	// One at a time: it can be a long way.
	t.chains.scan.Lock()
	defer t.chains.scan.Unlock()
	var old []link
	for e, err := range t.o.Decisions.Entries(*decision+1, from) {
		if err == nil && e.Index%1024 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(e.Payload, []byte(evaluation)) || !bytes.Contains(e.Leaf, []byte(`"kind":"activity"`)) {
			continue
		}
		a, err := pdp.ParseActivityEntry(e.Entry)
		if err != nil {
			return nil, err
		}
		if a.EvaluationID == evaluation {
			old = append(old, link{index: e.Index, report: a.Report, key: a.Key})
		}
	}
	for _, l := range out {
		if len(old) == 0 || l.index > old[len(old)-1].index {
			old = append(old, l)
		}
	}
	return old, nil
}
