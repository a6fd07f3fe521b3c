// Package onepage puts the answers to what people ask of evidence on one page
// (requirements J1 to J4): of one decision, one agent, one workflow, one partner.
// Each question has its answer, how that is known, by the entries of the logs
// that say so, and an honest "unknown" where they do not.
//
// A page is made from the logs alone, when somebody reads it, and writes nothing.
package onepage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/report/gaps"
)

// The kinds of pages.
const (
	Decision = "decision" // J1, of an evaluation id
	Agent    = "agent"    // J2, of an identity: ai_agent:payments
	Workflow = "workflow" // J3, of a name in the thresholds, or the beginning of actions
	Partner  = "partner"  // J4, of an identity, a group, an owner, or All
)

// All is the partner that stands for everything, for regulators.
const All = "all"

// Kinds lists the kinds of pages.
func Kinds() []string { return []string{Decision, Agent, Workflow, Partner} }

// ErrNotFound says that there is nothing of the name in the logs.
var ErrNotFound = errors.New("the logs hold nothing of this name")

// ErrName says that a name can't be that of what a report is about.
var ErrName = errors.New("this is no name of what a report is about")

// Page answers the questions about one thing.
type Page struct {
	Kind      string      `json:"kind"`
	Of        string      `json:"of"`
	Title     string      `json:"title"`
	AsOf      aver.Time   `json:"as_of"`
	Read      Read        `json:"read"`
	Questions []*Question `json:"questions"`
}

// Read is what a page was made from.
type Read struct {
	AuthorityOrigin string    `json:"authority_origin"`
	AuthoritySize   uint64    `json:"authority_size"` // events
	AuthorityRoot   string    `json:"authority_root"`
	DecisionsOrigin string    `json:"decisions_origin"`
	DecisionsSize   uint64    `json:"decisions_size"` // entries
	DecisionsRoot   string    `json:"decisions_root"`
	From            uint64    `json:"from"`             // the first entry of the decision log that was looked at
	Since           aver.Time `json:"since,omitzero"`   // its time
	Erased          uint64    `json:"erased,omitempty"` // of those: whose payload is gone
}

// Whole tells whether the decision log was looked at from its beginning.
func (r Read) Whole() bool { return r.From == 0 }

// Verdict tells how far a question is answered.
type Verdict string

// The verdicts. Nothing that is partly known or unknown is ever shown as good.
const (
	Answered Verdict = "answered"
	Partly   Verdict = "partly"
	Unknown  Verdict = "unknown"
	Wrong    Verdict = "attention" // answered, and something is not as it should be
)

// Question is a question with its answer.
type Question struct {
	ID       string   `json:"id"` // of the requirement
	Question string   `json:"question"`
	Verdict  Verdict  `json:"verdict"`
	Answer   string   `json:"answer"`            // one or a few sentences
	Points   []string `json:"points,omitempty"`  // in particular
	Unknown  []string `json:"unknown,omitempty"` // what the evidence does not say
	Known    []Link   `json:"known_by,omitempty"`
}

// Link names an entry of a log by which something is known.
type Link struct {
	Log   string `json:"log"` // authority or decisions
	Index uint64 `json:"index"`
	ID    string `json:"id,omitempty"`
	Text  string `json:"text"`
}

// Source is what pages are made from.
type Source struct {
	Authority, Decisions             replay.Log
	AuthorityOrigin, DecisionsOrigin string
	Thresholds                       *gaps.Thresholds
	// Gaps finds the control gaps, which belong on each page.
	Gaps func(context.Context) (*aver.GapReport, error)
	Now  aver.Time
	// Most bounds how many of the latest entries of the decision log are looked at; 0: all.
	Most uint64
}

// Report makes a page. The error is [ErrNotFound] if there is nothing of that
// name, and one of reading the logs otherwise.
func (s *Source) Report(ctx context.Context, kind, of string) (*Page, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	page := &Page{Kind: kind, Of: of, AsOf: s.Now}
	switch kind {
	case Decision:
		err = r.decision(ctx, page, of)
	case Agent:
		err = r.agent(ctx, page, of)
	case Workflow:
		err = r.workflow(ctx, page, of)
	case Partner:
		err = r.partner(ctx, page, of)
	default:
		return nil, fmt.Errorf("a report is of one of %q", Kinds())
	}
	if err != nil {
		return nil, err
	}
	page.Read = r.read
	return page, nil
}

// reader makes one page.
type reader struct {
	*Source
	st   *authority.State
	read Read
}

func (s *Source) reader(ctx context.Context) (*reader, error) {
	size, root := s.Authority.Head()
	st, err := replay.StateAt(s.Authority, size)
	if err != nil {
		return nil, err
	}
	r := &reader{Source: s, st: st, read: Read{
		AuthorityOrigin: s.AuthorityOrigin, AuthoritySize: size, AuthorityRoot: root.String(), DecisionsOrigin: s.DecisionsOrigin,
	}}
	size, root = s.Decisions.Head()
	r.read.DecisionsSize, r.read.DecisionsRoot = size, root.String()
	if s.Most != 0 && size > s.Most {
		r.read.From = size - s.Most
	}
	return r, ctx.Err()
}

// ask adds a question. It is answered, unless something about it is unknown.
func (p *Page) ask(id, question string) *Question {
	q := &Question{ID: id, Question: question, Verdict: Answered}
	p.Questions = append(p.Questions, q)
	return q
}

func (q *Question) say(format string, args ...any) {
	q.Answer = strings.TrimSpace(q.Answer + " " + fmt.Sprintf(format, args...))
}

func (q *Question) point(format string, args ...any) {
	q.Points = append(q.Points, fmt.Sprintf(format, args...))
}

func (q *Question) unknown(format string, args ...any) {
	q.Unknown = append(q.Unknown, fmt.Sprintf(format, args...))
	if q.Verdict == Answered {
		q.Verdict = Partly
	}
}

// dontKnow says that nothing of the answer is known.
func (q *Question) dontKnow(format string, args ...any) {
	q.unknown(format, args...)
	q.Verdict, q.Answer = Unknown, "Unknown."
}

// wrong says that something is not as it should be.
func (q *Question) wrong() { q.Verdict = Wrong }

func (q *Question) event(index uint64, format string, args ...any) {
	q.know(Link{Log: "authority", Index: index, Text: fmt.Sprintf(format, args...)})
}

func (q *Question) entry(index uint64, id, format string, args ...any) {
	q.know(Link{Log: "decisions", Index: index, ID: id, Text: fmt.Sprintf(format, args...)})
}

// linksKept bounds the links of one question, so that a page stays one.
const linksKept = 8

func (q *Question) know(l Link) {
	if len(q.Known) < linksKept && !slices.ContainsFunc(q.Known, func(k Link) bool { return k.Log == l.Log && k.Index == l.Index }) {
		q.Known = append(q.Known, l)
	}
}

// pointsKept bounds the points of one question.
const pointsKept = 10

// few cuts a list of points, and says how many are left out.
func few(list []string) []string {
	if len(list) <= pointsKept {
		return list
	}
	return append(slices.Clone(list[:pointsKept]), fmt.Sprintf("and %d more", len(list)-pointsKept))
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// parseRef reads type:id, or the text form of a ref.
func parseRef(text string) (aver.Ref, bool) {
	typ, id, ok := strings.Cut(text, ":")
	if i := strings.Index(text, `::"`); i > 0 {
		typ, id = text[:i], strings.TrimSuffix(text[i+3:], `"`)
	}
	r := aver.Ref{Type: typ, ID: id}
	return r, ok && r.Validate() == nil
}
