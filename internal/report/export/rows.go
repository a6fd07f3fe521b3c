package export

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

// Decision is a row of the table decisions. Lists are joined by semicolons. Of a record whose payload was erased there
// is what its leaf says.
type Decision struct {
	Index         uint64    `parquet:"index"` // in the decision log
	Time          time.Time `parquet:"time,timestamp(millisecond)"`
	ID            string    `parquet:"evaluation_id"`
	Outcome       string    `parquet:"outcome"`
	Allowed       bool      `parquet:"allowed"`
	ActorType     string    `parquet:"actor_type"`
	ActorID       string    `parquet:"actor_id"`
	ActorKind     string    `parquet:"actor_kind"`
	OriginType    string    `parquet:"origin_type"` // the originating user, when somebody acts for another
	OriginID      string    `parquet:"origin_id"`
	Grants        string    `parquet:"grants"` // of the chain
	Action        string    `parquet:"action"`
	Tool          string    `parquet:"tool"`
	ResourceType  string    `parquet:"resource_type"`
	ResourceID    string    `parquet:"resource_id"`
	Reasons       string    `parquet:"reasons"`  // codes
	Policies      string    `parquet:"policies"` // that determined it, or wanted something
	Exceptions    string    `parquet:"exceptions"`
	Approval      string    `parquet:"approval"`
	Obligations   string    `parquet:"obligations"`
	PEP           string    `parquet:"pep"`
	Instance      string    `parquet:"pep_instance"`
	Sequence      uint64    `parquet:"pep_sequence"`
	RequestID     string    `parquet:"pep_request_id"`
	PolicySet     string    `parquet:"policies_digest"`
	Engine        string    `parquet:"engine"`
	Authority     uint64    `parquet:"authority_size"`
	Request       string    `parquet:"request"` // canonical JSON, as it is kept
	RequestDigest string    `parquet:"request_digest"`
	Omitted       string    `parquet:"omitted"`
	Class         string    `parquet:"retention_class"`
	Erased        bool      `parquet:"erased"`
	LeafHash      string    `parquet:"leaf_hash"`
	Payload       string    `parquet:"payload_sha256"`
}

// Activity is a row of the table activities.
type Activity struct {
	Index       uint64    `parquet:"index"`
	Time        time.Time `parquet:"time,timestamp(millisecond)"` // when it was recorded
	ID          string    `parquet:"activity_id"`
	Evaluation  string    `parquet:"evaluation_id"`
	Decision    string    `parquet:"decision_index"` // "" of an orphan
	Status      string    `parquet:"status"`
	Happened    time.Time `parquet:"happened,timestamp(millisecond)"`
	Result      string    `parquet:"result"`
	Continuity  string    `parquet:"continuity"`
	LapsedAt    string    `parquet:"lapsed_at"`
	Findings    string    `parquet:"findings"`
	Obligations string    `parquet:"obligations"`
	Parameters  string    `parquet:"parameters_digest"`
	PEP         string    `parquet:"pep"`
	Instance    string    `parquet:"pep_instance"`
	Sequence    uint64    `parquet:"pep_sequence"`
	TraceParent string    `parquet:"traceparent"`
	Class       string    `parquet:"retention_class"`
	Erased      bool      `parquet:"erased"`
	LeafHash    string    `parquet:"leaf_hash"`
	Payload     string    `parquet:"payload_sha256"`
}

// Event is a row of the table events.
type Event struct {
	Index    uint64    `parquet:"index"` // in the authority log
	Time     time.Time `parquet:"time,timestamp(millisecond)"`
	ID       string    `parquet:"event_id"`
	Type     string    `parquet:"type"`
	By       string    `parquet:"by_name"`
	Method   string    `parquet:"by_method"`
	ByType   string    `parquet:"by_type"`
	ByID     string    `parquet:"by_id"`
	Decision string    `parquet:"decision"` // evaluation id of the decision that allowed it
	Reason   string    `parquet:"reason"`
	Data     string    `parquet:"data"` // canonical JSON
	LeafHash string    `parquet:"leaf_hash"`
	Payload  string    `parquet:"payload_sha256"`
}

// parsed is an entry of the decision log, of which one of record and activity is set, or none if its payload was erased.
type parsed struct {
	index    uint64
	leaf     aver.Leaf
	hash     tlog.Hash
	record   *aver.Record
	request  *aver.Request // the recorded one, with what was disclosed if that was asked for
	text     []byte        // of the request, canonical
	activity *aver.Activity
}

// parse reads an entry, and checks that leaf and payload belong together: an export never carries what the log does not
// vouch for.
func (s *Source) parse(e ledger.Indexed) (*parsed, error) {
	p := &parsed{index: e.Index, hash: tlog.RecordHash(e.Leaf)}
	var err error
	if p.leaf, err = aver.ParseLeaf(e.Leaf); err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	if e.Erased {
		return p, nil
	}
	if !p.leaf.Matches(e.Payload) {
		return nil, fmt.Errorf("entry %d: its leaf does not commit to the payload that lies beside it", e.Index)
	}
	if p.leaf.Kind == aver.KindActivity {
		p.activity, err = aver.ParseActivity(e.Payload)
	} else {
		err = s.parseRecord(p, e)
	}
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	return p, nil
}

func (s *Source) parseRecord(p *parsed, e ledger.Indexed) (err error) {
	if p.record, err = aver.ParseRecord(e.Payload); err != nil {
		return err
	}
	p.text = p.record.Request
	var disclosures []string
	if s.Disclose {
		if disclosures, err = pdp.ParseDisclosures(e.Private); err != nil {
			return err
		}
	}
	// What has no disclosure, or none any more, stays out of the request.
	if p.request, _, err = pdp.Disclose(p.text, disclosures); err == nil && len(disclosures) > 0 {
		p.text = p.request.AppendCanonical(nil)
	}
	return err
}

func join[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = string(v)
	}
	return strings.Join(texts, ";")
}

// cited is what a decision rests on, each once.
type cited struct{ reasons, policies, grants, exceptions, obligations []string }

// add appends what is not empty and not there yet.
func add(list *[]string, v string) {
	if v != "" && !slices.Contains(*list, v) {
		*list = append(*list, v)
	}
}

func cite(d *aver.Decision) (c cited) {
	ruling := func(r *aver.Ruling) {
		for _, x := range r.Reasons {
			add(&c.reasons, string(x.Code))
			add(&c.policies, x.Policy)
			if x.Code == aver.ReasonException {
				add(&c.exceptions, x.Detail)
			}
		}
		for _, x := range r.Frames {
			add(&c.grants, x.Grant)
		}
		for _, x := range r.Requirements {
			add(&c.policies, x.Policy)
		}
		for _, x := range r.Obligations {
			add(&c.obligations, x.ID)
		}
	}
	ruling(&d.Ruling)
	for i := range d.Parts {
		ruling(&d.Parts[i].Ruling)
	}
	return c
}

func (s *Source) decisionRow(e ledger.Indexed) (row Decision, ok bool, err error) {
	p, err := s.parse(e)
	if err != nil || p.leaf.Kind != aver.KindDecision {
		return row, false, err
	}
	row = Decision{
		Index: p.index, Time: p.leaf.Time.Std(), ID: p.leaf.ID, Class: p.leaf.Class, LeafHash: p.hash.String(), Payload: p.leaf.Payload,
		Erased: p.record == nil,
	}
	if p.leaf.Outcome != nil {
		row.Outcome, row.Allowed = p.leaf.Outcome.String(), p.leaf.Outcome.Allowed()
	}
	r := p.record
	if r == nil {
		return row, true, nil
	}
	c := cite(&r.Decision)
	row.ActorType, row.ActorID, row.ActorKind = r.Decision.Actor.Type, r.Decision.Actor.ID, string(r.Decision.Actor.Kind)
	origin := originOf(p)
	row.OriginType, row.OriginID = origin.Type, origin.ID
	row.Grants, row.Reasons, row.Policies = join(c.grants), join(c.reasons), join(c.policies)
	row.Exceptions, row.Obligations, row.Approval = join(c.exceptions), join(c.obligations), p.request.Approval()
	row.Action, row.Tool = p.request.Action.Name, p.request.Tool()
	row.ResourceType, row.ResourceID = p.request.Resource.Type, p.request.Resource.ID
	row.PEP, row.Instance, row.Sequence, row.RequestID = r.PEP.Credential, r.PEP.Instance, r.PEP.Sequence, r.PEP.RequestID
	row.PolicySet, row.Engine, row.Authority = r.Policies, r.Engine, r.Authority.Size
	row.Request, row.RequestDigest, row.Omitted = string(p.text), r.Full, join(r.Omitted)
	return row, true, nil
}

// originOf is the originating user, when somebody acts for another.
func originOf(p *parsed) aver.Ref {
	if o, ok := p.request.OnBehalfOf(); ok {
		return o
	}
	if t := p.record.Token; t != nil && t.Fault == "" && len(t.Actors) > 0 {
		return t.Party
	}
	return aver.Ref{}
}

func (s *Source) activityRow(e ledger.Indexed) (row Activity, ok bool, err error) {
	p, err := s.parse(e)
	if err != nil || p.leaf.Kind != aver.KindActivity {
		return row, false, err
	}
	row = Activity{
		Index: p.index, Time: p.leaf.Time.Std(), ID: p.leaf.ID, Status: p.leaf.Type, Class: p.leaf.Class, Happened: p.leaf.Time.Std(),
		LeafHash: p.hash.String(), Payload: p.leaf.Payload, Erased: p.activity == nil,
	}
	a := p.activity
	if a == nil {
		return row, true, nil
	}
	row.Evaluation, row.Happened, row.Result = a.EvaluationID, a.Happened().Std(), a.Result
	row.Obligations, row.Parameters, row.TraceParent = join(a.Obligations), a.Parameters, a.TraceParent
	row.PEP, row.Instance, row.Sequence = a.PEP.Credential, a.PEP.Instance, a.PEP.Sequence
	if a.Decision != nil {
		row.Decision = fmt.Sprint(*a.Decision)
	}
	if a.Continuity != nil {
		row.Continuity = string(a.Continuity.State)
		if a.Continuity.Lapse != nil {
			row.LapsedAt = a.Continuity.Lapse.At.String()
		}
	}
	var codes []aver.FindingCode
	for _, f := range a.Findings {
		codes = append(codes, f.Code)
	}
	row.Findings = join(codes)
	return row, true, nil
}

func eventRow(e ledger.Indexed) (row Event, ok bool, err error) {
	ev, err := authority.ParseEntry(e.Leaf, e.Payload)
	if err != nil {
		return row, false, fmt.Errorf("event %d: %w", e.Index, err)
	}
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return row, false, fmt.Errorf("event %d: %w", e.Index, err)
	}
	return Event{
		Index: e.Index, Time: ev.Time.Std(), ID: ev.ID, Type: string(ev.Type), By: ev.By.Name, Method: ev.By.Method, ByType: ev.By.Subject.Type,
		ByID: ev.By.Subject.ID, Decision: ev.Decision, Reason: ev.Reason, Data: string(ev.Data), LeafHash: tlog.RecordHash(e.Leaf).String(), Payload: leaf.Payload,
	}, true, nil
}
