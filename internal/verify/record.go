package verify

import (
	"fmt"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

// citation reads an entry of the decision log, a decision or an activity, and returns what it cites of the authority log.
func (v *verifier) citation(e ledger.Entry) (aver.TreeHead, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return aver.TreeHead{}, err
	}
	if leaf.Kind == aver.KindActivity {
		a, err := pdp.ParseActivityEntry(e)
		if err != nil {
			return aver.TreeHead{}, err
		}
		return a.Authority, nil
	}
	r, err := parseRecord(e)
	if err != nil {
		return aver.TreeHead{}, err
	}
	if err := v.administration(r); err != nil {
		return aver.TreeHead{}, err
	}
	return r.Authority, nil
}

// parseRecord reads an entry of the decision log. It checks that leaf and payload are canonical, that the leaf commits
// to the payload, that both say the same, and that what lies apart can be put back.
func parseRecord(e ledger.Entry) (*aver.Record, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return nil, err
	}
	if !leaf.Matches(e.Payload) {
		return nil, fmt.Errorf("the leaf does not commit to this payload: its SHA-256 differs")
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return nil, err
	}
	switch {
	case leaf.Kind != r.Kind:
		return nil, fmt.Errorf("the leaf is of kind %q, its payload of kind %q", leaf.Kind, r.Kind)
	case leaf.Type != "":
		return nil, fmt.Errorf("the leaf of a decision has no type")
	case leaf.ID != r.ID:
		return nil, fmt.Errorf("the leaf names decision %q, its payload %q", leaf.ID, r.ID)
	case leaf.Time != r.Time:
		return nil, fmt.Errorf("the leaf has the time %s, its payload %s", leaf.Time, r.Time)
	case leaf.Outcome == nil || *leaf.Outcome != r.Decision.Outcome:
		return nil, fmt.Errorf("the leaf does not have the outcome of its payload, %s", r.Decision.Outcome)
	}
	disclosures, err := pdp.ParseDisclosures(e.Private)
	if err != nil {
		return nil, err
	}
	if _, _, err := pdp.Disclose(r.Request, disclosures); err != nil {
		return nil, err
	}
	return r, nil
}
