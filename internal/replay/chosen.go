package replay

import (
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
)

// States hands out the authority as of any number of events, for those who look
// at chosen entries of the decision log instead of all. Asked in the order of
// that log it folds the authority log once. Safe for concurrent use.
type States struct{ states *states }

// NewStates returns the states of an authority log.
func NewStates(authorityLog Log) *States { return &States{newStates(authorityLog, nil)} }

// At returns the state after the first size events.
func (s *States) At(size uint64) (*authority.State, error) {
	v, err := s.states.at(size)
	if err != nil {
		return nil, err
	}
	return v.state, nil
}

// Decide decides one recorded decision again, as [Run] does. The chains of
// counters are not looked at: they take all records. Only what can't be read is
// an error.
func (s *States) Decide(e ledger.Indexed) (Result, error) {
	version, err := s.states.cited(e.Payload)
	if err != nil {
		return Result{}, err
	}
	d, err := (&run{states: s.states}).decide(e, version, nil)
	return d.Result, err
}
