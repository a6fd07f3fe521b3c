package pdp

import (
	"bytes"
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
	w := encoders.Get().(*encoder)
	defer w.free()
	omitted := w.minimise(st, q, e)
	request, disclosures, err := withhold(w.kept, q.Policies(st).Sensitive(), c.Random)
	if err != nil {
		return nil, nil, err
	}
	return &aver.Record{
		ID: c.ID, Kind: aver.KindDecision, Time: c.Time,
		Semantics: aver.Semantics, Engine: policy.EngineVersion,
		Authority: c.Head, Policies: st.PoliciesDigest(), PEP: c.PEP,
		Request: bytes.Clone(request), Full: aver.Digest(w.full), Omitted: omitted,
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

// encoder holds the bytes of a record while it is made, and those of its entry until
// the log has taken them.
type encoder struct{ full, kept, payload, leaf, private []byte }

var encoders = sync.Pool{New: func() any { return &encoder{payload: make([]byte, 0, 2048), leaf: make([]byte, 0, 256)} }}

// free gives the memory back, unless a large request has made much of it.
func (w *encoder) free() {
	const most = 64 << 10
	if cap(w.full)+cap(w.payload)+cap(w.private) <= most {
		encoders.Put(w)
	}
}

// entry makes the log entry of a record of a retention class. It is valid until
// the next.
func (w *encoder) entry(r *aver.Record, class string, disclosures []string) ledger.Entry {
	w.payload = r.AppendCanonical(w.payload[:0])
	leaf := aver.NewLeaf(r.Kind, r.ID, r.Time, w.payload)
	leaf.Outcome, leaf.Class = &r.Decision.Outcome, class
	w.leaf = leaf.AppendCanonical(w.leaf[:0])
	e := ledger.Entry{Leaf: w.leaf, Payload: w.payload}
	if len(disclosures) > 0 {
		w.private = append(w.private[:0], '[')
		for i, d := range disclosures {
			if i > 0 {
				w.private = append(w.private, ',')
			}
			w.private = aver.AppendString(w.private, d)
		}
		w.private = append(w.private, ']')
		e.Private = w.private
	}
	return e
}
