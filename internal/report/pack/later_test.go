package pack_test

import (
	"testing"

	"github.com/aver-authz/aver/internal/report/pack"
)

// A query means in a pack what it means in a search: it sees what was reported and asked for after the decision, too.
func TestQueriesSeeWhatCameAfterwards(t *testing.T) {
	c := northwind(t)
	for q, want := range map[string]int{
		"continuity:lapsed":                  2, // one went on, one was told to stop
		"activity:completed":                 2,
		"approval:* outcome:escalated":       2, // one was approved, one refused
		"approval:* allowed:true":            1,
		"activity:completed continuity:held": 1,
	} {
		p, r := open(t, c.make(t, pack.Request{Query: q}), c.DecisionsKey)
		if got := len(p.Statement.Predicate.Decisions); got != want || !r.OK {
			t.Errorf("%s: %d decisions, want %d; verified: %t", q, got, want, r.OK)
		}
	}
}
