// Package pack makes evidence packs (requirement K1): it takes decisions, what
// they cite and what was reported about them out of the two logs, with the proofs
// that they are there, and writes a ZIP file or an HTML page that checks itself.
// Package evidence holds the format and verifies.
package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/replay"
)

// Log is what is needed of a log: of a running server, or of a data directory.
type Log interface {
	replay.Log
	Leaf(i uint64) ([]byte, error)
	Checkpoint() []byte
	InclusionProof(i, size uint64) (tlog.RecordProof, error)
	ConsistencyProof(older, newer uint64) (tlog.TreeProof, error)
}

// Source is where packs are made from.
type Source struct {
	Authority, Decisions       Log
	AuthorityKey, DecisionsKey string // verifier keys, C2SP signed-note
	// The last checkpoints that witnesses have cosigned, nil where there is none. They are taken if they cover all that is
	// packed, and else the last that the log has.
	AuthorityCosigned, DecisionsCosigned []byte
	// Signer has the decision log's key, with which manifests are signed.
	Signer note.Signer
}

// Request says what goes into a pack.
type Request struct {
	Decisions []string // evaluation ids
	Query     string   // or a query, in the language of package query
	Limit     int      // of decisions that a query may choose; 0: [DefaultLimit]

	Purpose    string   // id of one of [evidence.Purposes]; "" gives none
	Question   string   // what the pack is to answer, in the words of who asked for it; may be ""
	Redact     []string // [RedactSensitive], or paths of attributes such as resource.creditor_iban
	Whole      bool     // all of the authority log up to the last head that is cited, instead of what is cited
	Population []byte   // the population that the decisions were drawn from, as aver sample population writes it; nil: none

	Form       evidence.Form
	WithEngine bool // a page that decides again by itself, with Cedar in Rust as WebAssembly

	Program  string                   // that makes it, with its version
	Now      aver.Time                // when
	Progress func(done, total uint64) // entries of the decision log that were read; may be nil
}

// Limits of a request.
const (
	DefaultLimit  = 1000
	MaxDecisions  = 20_000
	maxQuestion   = 4096
	maxPopulation = 16 << 20
)

// RequestError says what is wrong with a request, in one sentence.
type RequestError struct{ Reason string }

func (e *RequestError) Error() string { return e.Reason }

func bad(format string, args ...any) error { return &RequestError{fmt.Sprintf(format, args...)} }

// Summary says what was packed.
type Summary struct {
	Decisions  int    `json:"decisions"`
	Activities int    `json:"activities"`
	Events     int    `json:"events"`
	Frames     uint64 `json:"frames"`             // authorizations that another engine can decide again
	Withheld   int    `json:"withheld,omitempty"` // payloads and values
	More       uint64 `json:"more,omitempty"`     // decisions that the query matches beyond the limit
}

// Make makes a pack and writes it. It fails before it writes anything, or in
// writing. The error is a [*RequestError] if the request can't be met as it
// stands.
func Make(ctx context.Context, s Source, r Request, w io.Writer) (Summary, error) {
	if err := r.check(); err != nil {
		return Summary{}, err
	}
	m := &maker{Source: s, r: r, states: replay.NewStates(s.Authority), files: map[string][]byte{}, events: map[uint64]string{}, policies: map[string][][2]string{}}
	if err := m.choose(ctx); err != nil {
		return Summary{}, err
	}
	if err := m.population(); err != nil {
		return Summary{}, err
	}
	for _, step := range []func(context.Context) error{m.cite, m.cosigned, m.readEvents, m.redact, m.erased, m.entries, m.heads, m.reports, m.frames} {
		if err := step(ctx); err != nil {
			return Summary{}, err
		}
	}
	m.files[evidence.ReadmeFile] = []byte(readme)
	manifest, err := m.manifest()
	if err != nil {
		return Summary{}, err
	}
	m.files[evidence.ManifestFile] = manifest
	if r.Form == evidence.FormHTML {
		return m.out, writePage(w, m.files, r.WithEngine)
	}
	return m.out, writeZIP(w, m.files, true)
}

func (r *Request) check() error {
	switch {
	case len(r.Decisions) == 0 && r.Query == "":
		return bad("a pack needs decisions: name them, or give a query")
	case len(r.Decisions) > 0 && r.Query != "":
		return bad("give evaluation ids or a query, not both")
	case len(r.Decisions) > MaxDecisions || r.Limit > MaxDecisions:
		return bad("a pack holds at most %d decisions", MaxDecisions)
	case r.Limit < 0:
		return bad("the limit is a number of decisions")
	case len(r.Question) > maxQuestion:
		return bad("the question is longer than %d bytes", maxQuestion)
	case len(r.Population) > maxPopulation:
		return bad("the population is larger than %d MiB", maxPopulation>>20)
	case r.WithEngine && r.Form != evidence.FormHTML:
		return bad("the engine goes into an HTML page: choose a file name that ends in .html")
	}
	if r.Form != evidence.FormHTML && r.Form != evidence.FormZIP {
		return bad("a pack is a .zip or a .html file")
	}
	if r.Purpose != "" {
		if _, ok := evidence.PurposeByID(r.Purpose); !ok {
			return bad("the purpose %q is none of %s", r.Purpose, purposes())
		}
	}
	return checkRedact(r.Redact)
}

func purposes() string {
	ids := make([]string, len(evidence.Purposes))
	for i, p := range evidence.Purposes {
		ids[i] = p.ID
	}
	return strings.Join(ids, ", ")
}

// manifest is the last file, about all others.
func (m *maker) manifest() ([]byte, error) {
	p := evidence.Predicate{
		Format: evidence.Format, Made: m.r.Now, Program: m.r.Program, Query: m.r.Query, Question: m.r.Question, Authority: "cited",
		Logs: map[evidence.LogName]evidence.Log{
			evidence.AuthorityLog: {Origin: originOf(m.AuthorityKey), Key: m.AuthorityKey},
			evidence.DecisionLog:  {Origin: originOf(m.DecisionsKey), Key: m.DecisionsKey},
		},
		Withheld: m.withheld, Redacted: m.r.Redact, Truncated: m.out.More,
	}
	if m.r.Whole {
		p.Authority = "whole"
	}
	if purpose, ok := evidence.PurposeByID(m.r.Purpose); ok {
		p.Purpose = &purpose
	}
	for _, d := range m.decisions {
		out := evidence.Decision{ID: d.leaf.ID, Index: d.Index}
		for _, a := range d.activities {
			out.Activities = append(out.Activities, a.Index)
		}
		p.Decisions = append(p.Decisions, out)
	}
	for digest, active := range m.policies {
		p.Policies = append(p.Policies, evidence.PolicySet{Digest: digest, Active: active})
	}
	slices.SortFunc(p.Policies, func(a, b evidence.PolicySet) int { return strings.Compare(a.Digest, b.Digest) })
	if m.Signer == nil {
		return nil, errors.New("the manifest is signed with the decision log's key, and that is not here")
	}
	return evidence.Sign(m.files, p, m.Signer)
}

// Summarize says what is in a pack.
func Summarize(p *evidence.Pack) Summary {
	s := Summary{
		Decisions: len(p.Statement.Predicate.Decisions), Withheld: len(p.Statement.Predicate.Withheld), More: p.Statement.Predicate.Truncated,
	}
	for _, d := range p.Statement.Predicate.Decisions {
		s.Activities += len(d.Activities)
	}
	for _, name := range p.Files() {
		if strings.HasPrefix(name, string(evidence.AuthorityLog)+"/") && strings.HasSuffix(name, "/"+evidence.LeafFile) {
			s.Events++
		}
	}
	frames, _ := p.File(evidence.FramesFile)
	for line := range bytes.Lines(frames) {
		var end struct{ End struct{ Frames uint64 } }
		if json.Unmarshal(line, &end) == nil && end.End.Frames > 0 {
			s.Frames = end.End.Frames
		}
	}
	return s
}
