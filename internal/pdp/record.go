package pdp

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

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
		Facts: e.Cite(st, q, &d), Decision: d, Salt: salt(), Token: q.token,
	}, disclosures, nil
}

// RetentionClass is the class of a query's record, as its leaf has it.
func RetentionClass(st *authority.State, q *Query) string {
	if q.administrative {
		return aver.ClassAdministration
	}
	return st.RetentionClassOf(q.Request.Action.Name)
}

// encoder holds the bytes of an entry until the log has taken them.
type encoder struct{ payload, leaf []byte }

var encoders = sync.Pool{New: func() any { return &encoder{make([]byte, 0, 2048), make([]byte, 0, 256)} }}

// entry makes the log entry of a record of a retention class. It is valid until
// the next.
func (w *encoder) entry(r *aver.Record, class string, disclosures []string) (ledger.Entry, error) {
	w.payload = r.AppendCanonical(w.payload[:0])
	leaf := aver.NewLeaf(r.Kind, r.ID, r.Time, w.payload)
	leaf.Outcome, leaf.Class = &r.Decision.Outcome, class
	w.leaf = leaf.AppendCanonical(w.leaf[:0])
	e := ledger.Entry{Leaf: w.leaf, Payload: w.payload}
	if len(disclosures) > 0 {
		private, err := json.Marshal(disclosures)
		if err != nil {
			return e, fmt.Errorf("disclosures: %w", err)
		}
		e.Private = private
	}
	return e, nil
}
