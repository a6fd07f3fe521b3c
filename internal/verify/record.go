package verify

import (
	"fmt"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

// citation reads an entry of the decision log, a decision or an activity, and returns what it cites of the authority log.
func (v *verifier) citation(e ledger.Indexed) (aver.TreeHead, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return aver.TreeHead{}, err
	}
	if e.Erased {
		v.gone.payload(e.Index, &leaf)
		return aver.TreeHead{}, nil
	}
	if leaf.Kind == aver.KindActivity {
		a, err := pdp.ParseActivityEntry(e.Entry)
		if err != nil {
			return aver.TreeHead{}, err
		}
		return a.Authority, nil
	}
	r, missing, err := readRecord(&leaf, e.Entry)
	if err != nil {
		return aver.TreeHead{}, err
	}
	if len(missing) > 0 {
		v.gone.disclosures(e.Index)
	}
	if err := v.administration(r); err != nil {
		return aver.TreeHead{}, err
	}
	return r.Authority, nil
}

// readRecord reads an entry of the decision log. It checks that the payload is canonical, that the leaf commits to it,
// that both say the same, and that what lies apart can be put back. Missing is where nothing lies apart.
func readRecord(leaf *aver.Leaf, e ledger.Entry) (r *aver.Record, missing []string, err error) {
	if !leaf.Matches(e.Payload) {
		return nil, nil, fmt.Errorf("the leaf does not commit to this payload: its SHA-256 differs")
	}
	if r, _, missing, err = pdp.ReadEntry(e); err != nil {
		return nil, nil, err
	}
	switch {
	case leaf.Kind != r.Kind:
		return nil, nil, fmt.Errorf("the leaf is of kind %q, its payload of kind %q", leaf.Kind, r.Kind)
	case leaf.Type != "":
		return nil, nil, fmt.Errorf("the leaf of a decision has no type")
	case leaf.ID != r.ID:
		return nil, nil, fmt.Errorf("the leaf names decision %q, its payload %q", leaf.ID, r.ID)
	case leaf.Time != r.Time:
		return nil, nil, fmt.Errorf("the leaf has the time %s, its payload %s", leaf.Time, r.Time)
	case leaf.Outcome == nil || *leaf.Outcome != r.Decision.Outcome:
		return nil, nil, fmt.Errorf("the leaf does not have the outcome of its payload, %s", r.Decision.Outcome)
	}
	return r, missing, nil
}
