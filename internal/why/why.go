// Package why explains a recorded decision to people: what was decided and what
// it means, by which policies and on whose authority, from which values and who
// vouches for each, and what would have changed it (requirements E1, E2, F2 and
// the first question of J).
//
// An explanation is made when somebody reads, never when somebody decides. It
// follows from the record and the authority state that the record cites, and
// from nothing else.
package why

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// Place is where a record stands in its log.
type Place struct {
	Origin   string `json:"origin"`
	Index    uint64 `json:"index"`     // zero-based
	LeafHash string `json:"leaf_hash"` // standard base64
}

// Explanation says why a decision came out as it did. Its JSON form holds the
// same as [Explanation.WriteText] prints.
type Explanation struct {
	EvaluationID string       `json:"evaluation_id"`
	Headline     string       `json:"headline"`
	Outcome      aver.Outcome `json:"outcome"`
	Decided      aver.Time    `json:"decided"`
	PEP          aver.PEP     `json:"pep"`
	Asked        Asked        `json:"asked"`

	Meaning      string             `json:"meaning"`          // what the caller may do now
	Needed       []string           `json:"needed,omitempty"` // what is still to be met, or to be done, in words
	Requirements []aver.Requirement `json:"requirements,omitempty"`
	Obligations  []aver.Obligation  `json:"obligations,omitempty"`
	Parts        []Part             `json:"parts,omitempty"`

	Reasons  []string `json:"reasons,omitempty"` // of a decision that was made as a whole
	Frames   []Frame  `json:"frames,omitempty"`  // each has to allow
	Besides  []string `json:"besides,omitempty"` // what else had to be, and was not
	Policies []Policy `json:"policies,omitempty"`
	Closest  []Policy `json:"closest,omitempty"` // the permits that came closest to matching, where none did

	Authority  Authority   `json:"authority"`
	Token      *aver.Token `json:"token,omitempty"`      // that came with the request, as it was verified
	Approval   *Approval   `json:"approval,omitempty"`   // that the request cited
	Exceptions []Exception `json:"exceptions,omitempty"` // of the actor, that were asked
	Challenge  string      `json:"challenge,omitempty"`  // the decision whose challenge the caller says to have met

	Values   []Value  `json:"values,omitempty"`   // what those policies looked at
	NotKept  []string `json:"not_kept,omitempty"` // paths that were sent and could not matter
	Withheld []string `json:"withheld,omitempty"` // JSON pointers to digests whose disclosures are not here

	// Obstacles are all that stood in the way of a permit. Each of them would
	// have to go.
	Obstacles []Obstacle `json:"what_would_have_changed_it,omitempty"`

	Record Record `json:"record"`
	Again  Again  `json:"decided_again"`
}

// Asked is what was requested, and by whom.
type Asked struct {
	Actor    Party    `json:"actor"`
	For      *Party   `json:"on_behalf_of,omitempty"` // the originating user
	Action   string   `json:"action"`
	Resource aver.Ref `json:"resource"`
	Tool     string   `json:"tool,omitempty"`
}

// Party is somebody who acts, or is acted for.
type Party struct {
	aver.Ref
	Kind       aver.Kind `json:"kind"`
	Name       string    `json:"name,omitempty"`
	Registered *Event    `json:"registered,omitempty"` // what last set it; nil: nothing is registered
}

// Event is an event of the authority log, and who made it.
type Event struct {
	Index  uint64    `json:"event"`
	Time   aver.Time `json:"time"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// Part is what was decided on one part of the request.
type Part struct {
	ID           string             `json:"id"`
	Outcome      aver.Outcome       `json:"outcome"`
	Reasons      []string           `json:"reasons,omitempty"`
	Needed       []string           `json:"needed,omitempty"`
	Requirements []aver.Requirement `json:"requirements,omitempty"`
	Obligations  []aver.Obligation  `json:"obligations,omitempty"`
}

// Frame is one of the authorizations that all had to allow.
type Frame struct {
	As       aver.FrameKind `json:"as"`
	Who      aver.Ref       `json:"who"`
	Grant    string         `json:"grant,omitempty"`
	Part     string         `json:"part,omitempty"`
	Allowed  bool           `json:"allowed"`
	Text     string         `json:"text"` // "alice, for whom it acts"
	Why      string         `json:"why"`  // "payments/frozen forbids it"
	Policies []string       `json:"policies,omitempty"`
}

// Record is where the evidence lies and what it commits to.
type Record struct {
	Place
	Authority aver.TreeHead `json:"authority"`
	Policies  string        `json:"policies"`
	Semantics string        `json:"semantics"`
	Engine    string        `json:"engine"`
	Request   string        `json:"request_digest"`
}

// Again is what came of deciding the record again for this explanation.
type Again struct {
	Verdict string   `json:"verdict"`           // "match", "mismatch" or "undetermined"
	Missing []string `json:"missing,omitempty"` // what deciding needs and is not here
	Outcome string   `json:"outcome,omitempty"` // of a mismatch, what it came to
}

// Explain explains a record at the authority state it cites, which is the fold
// of as many events as the record says. Disclosures are those of the record's
// sensitive values that the reader may see; where one is missing, the
// explanation says what it can't show.
//
// It is an error if the state is another one, or if the disclosures are not the
// record's.
func Explain(st *authority.State, record *aver.Record, disclosures []string, at Place) (*Explanation, error) {
	if st.Size() != record.Authority.Size {
		return nil, fmt.Errorf("explain %s: it was decided from %d events of authority, and the state holds %d", record.ID, record.Authority.Size, st.Size())
	}
	req, missing, err := pdp.Reopen(record.Request, record.Token, disclosures)
	if err != nil {
		return nil, fmt.Errorf("explain %s: %w", record.ID, err)
	}
	x := &explainer{st: st, record: record, request: req, query: pdp.QueryOf(record, req), withheld: missing}
	x.decideAgain()
	x.scenes()
	x.out = Explanation{
		EvaluationID: record.ID, Outcome: record.Decision.Outcome, Decided: record.Time, PEP: record.PEP,
		Asked:        x.asked(),
		Meaning:      meaning(record.Decision.Outcome),
		Requirements: record.Decision.Requirements, Obligations: record.Decision.Obligations,
		Needed:  needed(record.Decision.Ruling),
		NotKept: record.Omitted, Withheld: missing,
		Record: Record{
			Place: at, Authority: record.Authority, Policies: record.Policies,
			Semantics: record.Semantics, Engine: record.Engine, Request: record.Full,
		},
		Again: x.again, Token: record.Token,
	}
	x.out.Headline = x.headline()
	for _, p := range record.Decision.Parts {
		x.out.Parts = append(x.out.Parts, Part{
			ID: p.ID, Outcome: p.Outcome, Reasons: x.sentences(p.Reasons),
			Needed: needed(p.Ruling), Requirements: p.Requirements, Obligations: p.Obligations,
		})
	}
	if len(record.Decision.Parts) == 0 {
		x.out.Reasons = x.sentences(record.Decision.Reasons)
	}
	x.authority()
	x.cited()
	x.besides()
	for _, s := range x.all {
		x.frames(s)
		x.policies(s)
		x.obstacles(s)
	}
	for i := range x.out.Values {
		if v := &x.out.Values[i]; len(v.Parts) == len(x.all) {
			v.Parts = nil // the same in every part
		}
	}
	slices.SortStableFunc(x.out.Policies, func(a, b Policy) int { return a.order() - b.order() })
	return &x.out, nil
}

// explainer holds one explanation in the making.
type explainer struct {
	st       *authority.State
	record   *aver.Record
	request  *aver.Request
	query    *pdp.Query
	withheld []string
	again    Again
	all      []scene
	out      Explanation
}

// scene is the ruling on the whole, or on one part, with what the engine saw in
// each of its frames.
type scene struct {
	part  string
	index int // of the part
	aver.Ruling
	views []pdp.View // as many as frames; nil if they can't be seen again
}

// decideAgain decides the record again as replay does, so that the explanation
// can say whether what it shows is what happened.
func (x *explainer) decideAgain() {
	r := x.record
	var missing []string
	if r.Semantics != aver.Semantics {
		missing = append(missing, "semantics "+r.Semantics)
	}
	if r.Engine != policy.EngineVersion {
		missing = append(missing, "engine "+r.Engine)
	}
	for _, at := range x.withheld {
		missing = append(missing, "the withheld value at "+at)
	}
	if len(missing) > 0 {
		x.again = Again{Verdict: "undetermined", Missing: missing}
		return
	}
	used := pdp.Usage{}
	for _, c := range r.Decision.Counters {
		used[pdp.LimitKey{Grant: c.Grant, Name: c.Name}] = c.Before
	}
	d, evidence := pdp.Decide(x.st, x.query, r.Time, used)
	switch lacks := evidence.Lacks(r.Omitted); {
	case len(lacks) > 0:
		x.again = Again{Verdict: "undetermined", Missing: lacks}
	case !bytes.Equal(d.AppendCanonical(nil), r.Decision.AppendCanonical(nil)):
		x.again = Again{Verdict: "mismatch", Outcome: d.Outcome.String()}
	default:
		x.again = Again{Verdict: "match"}
	}
}

// scenes joins the recorded rulings with views of their frames.
func (x *explainer) scenes() {
	if len(x.record.Decision.Parts) == 0 {
		x.all = []scene{{Ruling: x.record.Decision.Ruling}}
	}
	for i, p := range x.record.Decision.Parts {
		x.all = append(x.all, scene{part: p.ID, index: i, Ruling: p.Ruling})
	}
	if x.record.Semantics != aver.Semantics {
		return
	}
	views := pdp.Views(x.st, x.query, x.record.Time)
	for i := range x.all {
		s := &x.all[i]
		n := len(s.Frames)
		if n > len(views) || !slices.EqualFunc(s.Frames, views[:n], func(f aver.Frame, v pdp.View) bool {
			return f.As == v.As && f.Grant == v.Grant && f.Exception == v.Exception && (f.As != aver.FrameDelegator || f.Entity == v.Entity)
		}) {
			return
		}
		s.views, views = views[:n], views[n:]
	}
}

// sentences are the reasons in plain words.
func (x *explainer) sentences(reasons []aver.Reason) []string {
	var out []string
	for _, r := range reasons {
		words := ""
		if rule, ok := x.query.Policies(x.st).Rule(r.Policy); ok {
			words = rule.Reason
		}
		if text := pdp.ReasonText(r, words); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// frames lists the frames with why each allowed or did not. The grants' actions
// are told where the chain is.
func (x *explainer) frames(s scene) {
	for _, f := range s.Frames {
		var why string
		var errs []string
		for _, e := range f.Errors {
			errs = append(errs, e.Policy)
		}
		switch {
		case len(errs) > 0 && alone(f):
			why = "its condition could not be evaluated"
		case len(errs) > 0:
			why = list(errs) + " could not be evaluated"
		case f.Allowed && alone(f):
			why = "it covers what is asked"
		case f.Allowed:
			why = list(f.Policies) + " " + verb(f.Policies, "permits", "permit") + " it"
		case alone(f):
			why = "it does not cover what is asked"
		case len(f.Policies) > 0:
			why = list(f.Policies) + " " + verb(f.Policies, "forbids", "forbid") + " it"
		default:
			why = "no policy permits it"
		}
		x.out.Frames = append(x.out.Frames, Frame{
			As: f.As, Who: x.who(f), Grant: f.Grant, Part: s.part, Allowed: f.Allowed,
			Text: x.frameName(f), Why: why, Policies: f.Policies,
		})
	}
}

// besides says what stood in the way whatever the frames said.
func (x *explainer) besides() {
	if len(x.out.Authority.Chain) > 0 && !x.chainHolds() {
		x.out.Besides = append(x.out.Besides, "The chain of grants has to hold as well, and it does not.")
	}
	for _, s := range x.all {
		for _, r := range s.Reasons {
			if r.Code == aver.ReasonLimit || r.Code == aver.ReasonLimitUnread {
				x.out.Besides = appendNew(x.out.Besides, "The limits of the grants have to suffice as well, and they do not.")
			}
		}
	}
}

// frameName says in words as whom a frame was decided.
func (x *explainer) frameName(f aver.Frame) string {
	switch f.As {
	case aver.FrameDelegator:
		return f.Entity.ID + ", for whom it is asked"
	case aver.FrameGrant:
		return "grant " + f.Grant
	case aver.FrameException:
		return "exception " + f.Exception
	}
	if len(x.out.Authority.Chain) == 0 {
		return x.who(f).ID
	}
	return x.who(f).ID + " itself"
}

// who is the party as whom a frame was decided; for a grant, who it was given to.
func (x *explainer) who(f aver.Frame) aver.Ref {
	switch f.As {
	case aver.FrameDelegator:
		return f.Entity
	case aver.FrameGrant:
		if g, ok := x.st.Grant(f.Grant); ok {
			return g.To
		}
	}
	return x.record.Decision.Actor.Ref
}

func (x *explainer) asked() Asked {
	r := x.request
	out := Asked{Actor: x.party(r.Subject.Ref), Action: r.Action.Name, Resource: r.Resource.Ref, Tool: r.Tool()}
	out.Actor.Kind = x.record.Decision.Actor.Kind
	origin, ok := r.OnBehalfOf()
	if chain := r.Delegation(); !ok && len(chain) > 0 {
		if g, known := x.st.Grant(chain[0]); known {
			origin, ok = g.From, true
		}
	}
	if t := x.record.Token; !ok && t != nil && len(t.Actors) > 0 {
		origin, ok = t.Party, true
	}
	if ok {
		party := x.party(origin)
		out.For = &party
	}
	return out
}

func (x *explainer) party(ref aver.Ref) Party {
	p := Party{Ref: ref, Kind: aver.KindOfType(ref.Type)}
	if id, ok := x.st.Identity(ref); ok {
		p.Kind, p.Name, p.Registered = id.Kind, id.Name, eventOf(id.Mark)
	} else if e, ok := x.st.EntityFact(ref); ok {
		p.Registered = eventOf(e.Mark)
	}
	return p
}

func eventOf(m authority.Mark) *Event {
	return &Event{Index: m.Event, Time: m.Time, By: m.By.Name, Reason: m.Reason}
}

func (x *explainer) headline() string {
	asked := x.out.Asked
	var b strings.Builder
	b.WriteString(asked.Actor.String())
	b.WriteString(" asked ")
	b.WriteString(phrase(asked.Action, asked.Resource))
	if n := len(x.record.Decision.Parts); n > 0 {
		fmt.Fprintf(&b, " in %s", count(n, "part"))
	}
	if asked.Tool != "" && asked.Resource != (aver.Ref{Type: "tool", ID: asked.Tool}) {
		fmt.Fprintf(&b, " with the tool %s", asked.Tool)
	}
	if asked.For != nil {
		fmt.Fprintf(&b, " for %s", asked.For.ID)
	}
	b.WriteString(": ")
	b.WriteString(strings.ToUpper(strings.ReplaceAll(x.record.Decision.Outcome.String(), "_", " ")))
	return b.String()
}
