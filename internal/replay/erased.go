package replay

import (
	"fmt"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
)

// whyErased says in plain words why the payload of an entry is gone: by which event, as the authority log has it now.
func (s *states) whyErased(index uint64) (string, error) {
	st, err := s.latelyState()
	if err != nil {
		return "", err
	}
	e, ok := st.PayloadErased(index)
	if !ok {
		return "the record, which is gone, and no event says why: the log is damaged", nil
	}
	return "the record, " + e.Why(), nil
}

// latelyState reads the authority as it is now, once.
func (s *states) latelyState() (*authority.State, error) {
	s.lately.Do(func() {
		size, _ := s.log.Head()
		s.now, s.nowErr = authority.Fold(authority.New(), events(s.log, size))
	})
	return s.now, s.nowErr
}

// whyWithheld says by which events disclosures of an entry were erased; nothing if they were withheld otherwise.
func (s *states) whyWithheld(index uint64) ([]string, error) {
	st, err := s.latelyState()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range st.DisclosuresErased(index) {
		out = append(out, "disclosures, "+e.Why())
	}
	return out, nil
}

// erased is the result on a decision whose record is gone. The leaf still says what came out; nothing is decided again.
func (r *run) erased(e ledger.Indexed) (decided, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return decided{}, err
	}
	why, err := r.states.whyErased(e.Index)
	if err != nil {
		return decided{}, fmt.Errorf("why it was erased: %w", err)
	}
	out := decided{Result: Result{Index: e.Index, ID: leaf.ID, Verdict: Undetermined, Missing: []string{why}},
		erased: true, administration: leaf.Class == aver.ClassAdministration}
	if leaf.Outcome != nil {
		out.Recorded = *leaf.Outcome
	}
	return out, nil
}

// erasedActivity is the result on an activity whose record is gone.
func (r *run) erasedActivity(e ledger.Indexed) (*judged, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return nil, err
	}
	why, err := r.states.whyErased(e.Index)
	if err != nil {
		return nil, fmt.Errorf("why it was erased: %w", err)
	}
	return &judged{ActivityResult: ActivityResult{Index: e.Index, ID: leaf.ID, Verdict: Undetermined, Missing: []string{why}}, erased: true}, nil
}
