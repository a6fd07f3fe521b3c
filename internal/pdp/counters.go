package pdp

import (
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
)

// usesName is the name of the counter of how many requests a grant allowed.
const usesName = "uses"

// counting is one limit of a grant in the chain while a request is decided.
type counting struct {
	aver.Counter
	used bool // the request's use is counted in After already (uses: once, whatever the number of parts)
}

// startCounters lists the limits of the chain with what has been used of them.
func (d *decider) startCounters() {
	for _, g := range d.chain {
		if g.Limits == nil {
			continue
		}
		add := func(name string, limit int64) {
			before := d.used[LimitKey{g.ID, name}]
			d.counters = append(d.counters, counting{Counter: aver.Counter{Grant: g.ID, Name: name, Before: before, After: before, Max: limit}})
		}
		if g.Limits.Uses > 0 {
			add(usesName, g.Limits.Uses)
		}
		for _, s := range g.Limits.Sums {
			add(s.Attribute, s.Max)
		}
	}
}

// take says what a part would use of each limit, and why it can't.
func (d *decider) take(entities *world) (amounts []int64, reasons []aver.Reason) {
	for _, c := range d.counters {
		if c.Name == approvalName { // is used by what it lets through, see useApproval
			amounts = append(amounts, 0)
			continue
		}
		amount := int64(1)
		if c.Name == usesName && c.used {
			amount = 0
		}
		if c.Name != usesName {
			var ok bool
			if amount, ok = d.amount(c.Name, entities); !ok || amount < 0 {
				reasons = append(reasons, because(aver.ReasonLimitUnread, nil, c.Grant, c.Name))
				amount = 0
			}
		}
		if amount > c.Max-c.After {
			reasons = append(reasons, because(aver.ReasonLimit, nil, c.Grant,
				fmt.Sprintf("%s: %d of %d used, %d asked", c.Name, c.After, c.Max, amount)))
		}
		amounts = append(amounts, amount)
	}
	return amounts, reasons
}

// commit counts what an allowed part uses.
func (d *decider) commit(amounts []int64) {
	for i, amount := range amounts {
		d.counters[i].After += amount
		d.counters[i].used = true
	}
}

func (d *decider) finishCounters(allowed bool) []aver.Counter {
	var out []aver.Counter
	for _, c := range d.counters {
		if !allowed {
			c.After = c.Before
		}
		out = append(out, c.Counter)
	}
	return out
}

// amount reads the whole number at an attribute path of the request.
func (d *decider) amount(path string, entities *world) (int64, bool) {
	names := strings.Split(path, ".")
	var at types.Record
	switch names[0] {
	case "resource":
		e, _ := entities.Get(d.q.resource)
		at = e.Attributes
	case "context":
		at = d.q.contextRecord()
	case "action":
		at = d.q.actionRecord()
	}
	for _, name := range names[1 : len(names)-1] {
		v, _ := at.Get(types.String(name))
		next, ok := v.(types.Record)
		if !ok {
			return 0, false
		}
		at = next
	}
	v, _ := at.Get(types.String(names[len(names)-1]))
	n, ok := v.(types.Long)
	return int64(n), ok
}
