package sample

import (
	"fmt"
	"strings"

	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
)

// Events is the authority log, to read one entry at a time.
type Events interface {
	Entry(i uint64) (ledger.Entry, error)
}

// stands checks that an event stands in the authority log at its place.
func (e *Event) stands(log Events) error {
	there, err := log.Entry(e.Index)
	switch {
	case err != nil:
		return err
	case string(there.Leaf) != e.Leaf || string(there.Payload) != e.Payload:
		return fmt.Errorf("the authority log has another event at %d", e.Index)
	}
	return nil
}

// VerifyLogged compares a population that says it was logged with the authority log.
func (d *Document) VerifyLogged(log Events) []Check {
	if d.Event == nil {
		return nil
	}
	var r Report
	r.add("authority", d.Event.stands(log), fmt.Sprintf("event %d of the authority log fixed it", d.Event.Index))
	return r.Checks
}

// VerifyLogged compares a sample with the authority log, and tells what else was drawn: earlier, from its population or
// from another one of the same query and period. Who draws until the result suits has to answer for that.
func (s *Sample) VerifyLogged(d *Document, log Events, st *authority.State) []Check {
	var r Report
	p, ok := st.Population(s.Population)
	switch {
	case s.Event != nil:
		r.add("drawn", s.Event.stands(log), fmt.Sprintf("event %d of the authority log drew it", s.Event.Index))
	case ok && p.Digest == s.Digest:
		r.leave("drawn", "its population was logged, and this draw was not")
	}
	var others []string
	for _, o := range st.Populations() {
		if o.ID != s.Population && o.Query == d.Statement.Query && o.From == d.Statement.From && o.To == d.Statement.To {
			others = append(others, fmt.Sprintf("population %s of the same query and period was fixed by event %d", o.ID, o.Event))
		}
	}
	if ok {
		for _, draw := range p.Draws {
			if s.Event == nil || draw.Event < s.Event.Index {
				others = append(others, fmt.Sprintf("event %d drew from it with the nonce %q", draw.Event, draw.Nonce))
			}
		}
	}
	if len(others) > 0 {
		r.leave("others", "ask why: "+strings.Join(others, "; "))
	} else {
		r.add("others", nil, "the log has no other population of the same query and period, and no earlier draw from this one")
	}
	return r.Checks
}
