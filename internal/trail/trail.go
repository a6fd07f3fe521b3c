// Package trail tells a story from the logs: what was decided for a trace, a
// session, a party or a grant, what was then done, what the next agent asked for
// because of it, and which changes of authority mattered (A2, G5).
package trail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/query"
)

// Log is a log to read.
type Log interface {
	Head() (size uint64, root tlog.Hash)
	Entry(i uint64) (ledger.Entry, error)
	Entries(from, to uint64) iter.Seq2[ledger.Indexed, error]
}

// Source is where a trail is read from.
type Source struct {
	Index                *index.Index
	Decisions, Authority Log
}

// Bounds of the decisions of one trail.
const (
	DefaultLimit = 200
	MaxLimit     = 2000
)

// Trail is a story in its order.
type Trail struct {
	Query      string  `json:"query"` // that its decisions match
	Decisions  int     `json:"decisions"`
	Activities int     `json:"activities"`
	Events     int     `json:"events"`
	More       bool    `json:"more,omitempty"` // earlier decisions match too, and are left out
	Indexed    uint64  `json:"indexed"`        // entries of the decision log that were searched
	Parties    []Party `json:"parties"`        // in the order in which they appear
	Steps      []Step  `json:"steps"`
}

// Party is somebody in the story.
type Party struct {
	aver.Ref
	Kind aver.Kind `json:"kind,omitempty"` // "" if it never acted
}

// Step is one entry of a log.
type Step struct {
	Number int       `json:"step"` // from 1
	Time   aver.Time `json:"time"`
	Log    string    `json:"log"` // "decisions" or "authority"
	Index  uint64    `json:"index"`
	After  []Link    `json:"after,omitempty"` // what it follows from

	Decision *Decision `json:"decision,omitempty"`
	Activity *Activity `json:"activity,omitempty"`
	Event    *Event    `json:"event,omitempty"`

	known uint64 // of an entry of the decision log: how many events of the authority log it rests on
}

// compare orders steps by time, and those of one millisecond by what they rest on: an event comes before the entries that
// know of it, and after those that do not.
func (s Step) compare(o Step) int {
	rank := func(s Step) (events uint64, log int) {
		if s.Log == authorityLog {
			return s.Index + 1, 0
		}
		return s.known, 1
	}
	events, log := rank(s)
	others, other := rank(o)
	return cmp.Or(cmp.Compare(s.Time, o.Time), cmp.Compare(events, others), cmp.Compare(log, other), cmp.Compare(s.Index, o.Index))
}

// Link says what a step follows from.
type Link struct {
	Step int    `json:"step"`
	Why  string `json:"why"`
}

// Decision is what a story tells of a decision.
type Decision struct {
	EvaluationID string            `json:"evaluation_id"`
	Outcome      aver.Outcome      `json:"outcome"`
	Erased       bool              `json:"erased,omitempty"` // nothing else is known
	Actor        aver.Ref          `json:"actor,omitzero"`
	Kind         aver.Kind         `json:"kind,omitempty"`
	Via          []aver.Ref        `json:"via,omitempty"` // on whose authority, from the originating user on
	Action       string            `json:"action,omitempty"`
	Tool         string            `json:"tool,omitempty"`
	Resource     aver.Ref          `json:"resource,omitzero"`
	Reasons      []aver.ReasonCode `json:"reasons,omitempty"`
	Policies     []string          `json:"policies,omitempty"` // of the reasons
	Grants       []string          `json:"grants,omitempty"`
	Approval     string            `json:"approval,omitempty"`
	Challenge    string            `json:"challenge,omitempty"` // the decision whose challenge was met
	Exceptions   []string          `json:"exceptions,omitempty"`
	Traces       []string          `json:"traces,omitempty"`
	Sessions     []string          `json:"sessions,omitempty"`
}

// Activity is what a story tells of an activity.
type Activity struct {
	EvaluationID string               `json:"evaluation_id"`
	Status       aver.ActivityStatus  `json:"status"`
	Result       string               `json:"result,omitempty"`
	Findings     []aver.FindingCode   `json:"findings,omitempty"`
	Continuity   aver.ContinuityState `json:"continuity,omitempty"`
	Lapse        *aver.Lapse          `json:"lapse,omitempty"`
}

// Event is what a story tells of a change of authority.
type Event struct {
	ID     string         `json:"id"`
	Type   aver.EventType `json:"type"`
	About  string         `json:"about"` // in plain words
	By     string         `json:"by"`
	Reason string         `json:"reason,omitempty"`

	subject string // what it is about, as key
	allowed string // evaluation id of the decision that allowed it
}

// Thing is by what a story is found.
type Thing string

// By what a story can be found.
const (
	ByTrace   Thing = "trace"
	BySession Thing = "session"
	ByActor   Thing = "actor" // whatever it did, or was done on its authority
	ByGrant   Thing = "grant"
)

// Things lists them.
func Things() []Thing { return []Thing{ByTrace, BySession, ByActor, ByGrant} }

// QueryFor is the query for the decisions of a story.
func QueryFor(by Thing, value string) (*query.Query, error) {
	field, ok := map[Thing]query.Field{ByTrace: query.Trace, BySession: query.Session, ByActor: query.Hop, ByGrant: query.Grant}[by]
	if !ok || value == "" {
		return nil, fmt.Errorf("trail: %q %q: one of %v, and a value", by, value, Things())
	}
	return query.Parse((query.Is{Field: field, Pattern: query.Literal(value)}).String())
}

// Follow tells the story of the latest decisions that match, at most limit.
func Follow(ctx context.Context, from Source, q *query.Query, limit int) (*Trail, error) {
	found, err := from.Index.Search(ctx, q, index.Page{Limit: min(max(limit, 1), MaxLimit)})
	if err != nil {
		return nil, err
	}
	b := &builder{from: from, grants: map[string]bool{}, approvals: map[string]bool{}, exceptions: map[string]bool{},
		evaluations: map[string]bool{}, parties: map[aver.Ref]int{}}
	b.Trail = Trail{Query: q.String(), More: found.More, Indexed: found.Indexed, Parties: []Party{}, Steps: []Step{}}
	slices.Sort(found.Entries)
	for _, i := range found.Entries {
		if err := b.decision(ctx, i); err != nil {
			return nil, err
		}
	}
	if err := b.events(ctx); err != nil {
		return nil, err
	}
	slices.SortFunc(b.Steps, Step.compare)
	for i := range b.Steps {
		b.Steps[i].Number = i + 1
	}
	b.link()
	return &b.Trail, nil
}

const (
	decisionLog  = "decisions"
	authorityLog = "authority"
)

type builder struct {
	Trail
	from                          Source
	grants, approvals, exceptions map[string]bool
	evaluations                   map[string]bool
	parties                       map[aver.Ref]int // index in Parties
	first                         aver.Time        // of the decisions
}

func (b *builder) party(r aver.Ref, kind aver.Kind) {
	if r.IsZero() {
		return
	}
	i, ok := b.parties[r]
	if !ok {
		i = len(b.Parties)
		b.parties[r] = i
		b.Parties = append(b.Parties, Party{Ref: r})
	}
	if kind != "" {
		b.Parties[i].Kind = kind
	}
}

func (b *builder) decision(ctx context.Context, at uint64) error {
	e, err := b.from.Decisions.Entry(at)
	if err != nil && !errors.Is(err, ledger.ErrErased) {
		return err
	}
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return fmt.Errorf("entry %d: %w", at, err)
	}
	d := &Decision{EvaluationID: leaf.ID, Erased: e.Erased}
	if leaf.Outcome != nil {
		d.Outcome = *leaf.Outcome
	}
	known := uint64(math.MaxUint64) // of one that was erased it is gone with the record
	if !e.Erased {
		r, err := aver.ParseRecord(e.Payload)
		if err != nil {
			return fmt.Errorf("entry %d: %w", at, err)
		}
		known = r.Authority.Size
		b.tell(d, at, r)
	}
	if b.Decisions++; b.Decisions == 1 {
		b.first = leaf.Time
	}
	b.evaluations[leaf.ID] = true
	b.Steps = append(b.Steps, Step{Time: leaf.Time, Log: decisionLog, Index: at, Decision: d, known: known})
	reports, err := b.from.Index.Reports(ctx, at)
	if err != nil {
		return err
	}
	for _, i := range reports {
		if err := b.activity(i, d); err != nil {
			return err
		}
	}
	return nil
}

// tell fills in what the record says.
func (b *builder) tell(d *Decision, at uint64, r *aver.Record) {
	d.Actor, d.Kind, d.Outcome = r.Decision.Actor.Ref, r.Decision.Actor.Kind, r.Decision.Outcome
	for _, x := range r.Decision.Reasons {
		if x.Code != aver.ReasonPermitted && !slices.Contains(d.Reasons, x.Code) {
			d.Reasons = append(d.Reasons, x.Code)
		}
		if x.Policy != "" && !slices.Contains(d.Policies, x.Policy) {
			d.Policies = append(d.Policies, x.Policy)
		}
	}
	for _, f := range pdp.Frames(&r.Decision) {
		if f.As == aver.FrameDelegator && !slices.Contains(d.Via, f.Entity) {
			d.Via = append(d.Via, f.Entity)
		}
	}
	slices.Reverse(d.Via)
	// The rest as it is searched for, so that a story never lacks what it was found by.
	for _, t := range query.FactsOf(at, r).Terms {
		switch t.Field {
		case query.Action:
			d.Action = t.Text
		case query.Tool:
			d.Tool = t.Text
		case query.Resource:
			d.Resource = aver.Ref{Type: t.Type, ID: t.Text}
		case query.Grant:
			d.Grants = append(d.Grants, t.Text)
			b.grants[t.Text] = true
		case query.Approval:
			d.Approval = t.Text
			b.approvals[t.Text] = true
		case query.Exception:
			d.Exceptions = append(d.Exceptions, t.Text)
			b.exceptions[t.Text] = true
		case query.Trace:
			d.Traces = append(d.Traces, t.Text)
		case query.Session:
			d.Sessions = append(d.Sessions, t.Text)
		case query.Origin:
			if origin := (aver.Ref{Type: t.Type, ID: t.Text}); !slices.Contains(d.Via, origin) { // a chain that does not hold has no frames
				d.Via = append([]aver.Ref{origin}, d.Via...)
			}
		}
	}
	if request, _, err := pdp.Disclose(r.Request, nil); err == nil {
		d.Challenge = request.Challenged()
	}
	for _, p := range d.Via {
		b.party(p, "")
	}
	b.party(d.Actor, d.Kind)
}

func (b *builder) activity(at uint64, d *Decision) error {
	e, err := b.from.Decisions.Entry(at)
	if errors.Is(err, ledger.ErrErased) {
		return nil
	}
	if err != nil {
		return err
	}
	a, err := aver.ParseActivity(e.Payload)
	if err != nil {
		return fmt.Errorf("entry %d: %w", at, err)
	}
	out := &Activity{EvaluationID: a.EvaluationID, Status: a.Status, Result: a.Result}
	for _, f := range a.Findings {
		out.Findings = append(out.Findings, f.Code)
	}
	if a.Continuity != nil {
		out.Continuity, out.Lapse = a.Continuity.State, a.Continuity.Lapse
	}
	for _, t := range query.Reported(a) {
		if t.Field == query.Trace && !slices.Contains(d.Traces, t.Text) {
			d.Traces = append(d.Traces, t.Text)
		}
	}
	b.Activities++
	b.Steps = append(b.Steps, Step{Time: a.Time, Log: decisionLog, Index: at, Activity: out, known: a.Authority.Size})
	return nil
}
