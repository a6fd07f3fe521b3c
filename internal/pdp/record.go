package pdp

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/policy"
)

// Circumstances are what a record says besides the decision and its evidence.
type Circumstances struct {
	ID     string // evaluation id
	Time   aver.Time
	Head   aver.TreeHead // of the authority log at the state's size
	PEP    aver.PEP
	Random io.Reader // of the salts
}

// NewRecord makes the record of a decision, and the disclosures of what is
// sensitive in its request.
func NewRecord(st *authority.State, q *Query, d aver.Decision, e *Evidence, c Circumstances) (*aver.Record, []string, error) {
	request, omitted := minimise(st, q, e)
	var disclosures []string
	if sensitive := q.Policies(st).Sensitive(); len(sensitive) > 0 {
		v, err := aver.ParseJSON(request, aver.Limits{Bytes: len(request)})
		if err != nil {
			return nil, nil, fmt.Errorf("minimised request: %w", err)
		}
		object, list, err := withhold(v.(map[string]any), sensitive, c.Random)
		if err != nil {
			return nil, nil, err
		}
		if disclosures = list; len(list) > 0 {
			request = aver.AppendCanonical(request[:0], object)
		}
	}
	return &aver.Record{
		ID: c.ID, Kind: aver.KindDecision, Time: c.Time,
		Semantics: aver.Semantics, Engine: policy.EngineVersion,
		Authority: c.Head, Policies: st.PoliciesDigest(), PEP: c.PEP,
		Request: request, Full: q.Request.Digest(), Omitted: omitted,
		Facts: e.Cite(q), Decision: d, Salt: salt(), Token: q.token,
	}, disclosures, nil
}

// entry makes the log entry of a record.
func entry(r *aver.Record, disclosures []string) (ledger.Entry, error) {
	payload := r.AppendCanonical(make([]byte, 0, 1536))
	leaf := aver.NewLeaf(r.Kind, r.ID, r.Time, payload)
	leaf.Outcome = &r.Decision.Outcome
	e := ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload}
	if len(disclosures) > 0 {
		private, err := json.Marshal(disclosures)
		if err != nil {
			return e, fmt.Errorf("disclosures: %w", err)
		}
		e.Private = private
	}
	return e, nil
}

// CheckEntry reports whether an entry of the decision log is sound by itself:
// leaf and payload are in canonical form, the leaf commits to the payload and
// agrees with it, and the disclosures belong to it.
func CheckEntry(e ledger.Entry) error {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return err
	}
	if !leaf.Matches(e.Payload) {
		return fmt.Errorf("the payload of %s is not the one its leaf commits to", leaf.ID)
	}
	if leaf.Kind == aver.KindActivity {
		_, err := ParseActivityEntry(e)
		return err
	}
	record, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return err
	}
	if leaf.Kind != record.Kind || leaf.ID != record.ID || leaf.Time != record.Time ||
		leaf.Outcome == nil || *leaf.Outcome != record.Decision.Outcome || leaf.Type != "" {
		return fmt.Errorf("the leaf of %s says something else than its payload", leaf.ID)
	}
	disclosures, err := ParseDisclosures(e.Private)
	if err != nil {
		return err
	}
	for _, d := range disclosures {
		if !slices.Contains(digestsOf(record.Request), aver.Digest([]byte(d))) {
			return fmt.Errorf("a disclosure of %s does not belong to its record", leaf.ID)
		}
	}
	return nil
}

// digestsOf lists the digests of withheld members in a recorded request.
func digestsOf(request []byte) []string {
	v, err := aver.ParseJSON(request, aver.Limits{Bytes: len(request)})
	if err != nil {
		return nil
	}
	var out []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if digests, ok := v[sdMember].([]any); ok {
				for _, d := range digests {
					if text, ok := d.(string); ok {
						out = append(out, text)
					}
				}
			}
			for _, e := range v {
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	return out
}
