package aver

import (
	"fmt"
	"unicode/utf8"
)

// Population says what exactly a list of decisions was drawn up from, so that
// its completeness can be checked by somebody who did not make it: the query, the
// period, the tree in which the leaves of the period are proved, how many of them
// are rows and why each other is not, and what is known to be missing. It is the
// data of an event, so that who fixed it, when, and that it was before any sample
// was drawn, is on record.
//
// Its digest is the SHA-256 of its canonical form, the bytes of the event's data.
type Population struct {
	ID          string   `json:"id"`
	Query       string   `json:"query,omitempty"` // in canonical text; "": every decision
	QueryDigest string   `json:"query_digest"`    // [Digest] of that text
	From        Time     `json:"from,omitzero"`   // included; 0: the log's beginning
	To          Time     `json:"to"`              // excluded
	Log         string   `json:"log"`             // origin of the decision log
	Tree        TreeHead `json:"tree"`            // of the signed checkpoint that the leaves are proved in
	// First and End bound the leaves of the period, those at its edges that have its
	// times included: [First, End). Both are the same if there is none.
	First uint64 `json:"first"`
	End   uint64 `json:"end"`
	Count uint64 `json:"count"` // rows: decisions of the period that match the query
	// Rows is [Digest] of the rows' indexes, each in decimal digits and followed by a
	// line feed, ascending.
	Rows     string         `json:"rows"`
	Excluded Excluded       `json:"excluded,omitzero"`
	Missing  []MissingRange `json:"missing,omitempty"` // leaves of the period whose payload is gone, so that the query could not be asked
	Gaps     []SequenceGap  `json:"gaps,omitempty"`    // requests that PEPs numbered and that never arrived
	Since    *TreeHead      `json:"since,omitempty"`   // the tree that the auditor had before, of which this one is a continuation
}

// Excluded counts the leaves in [First, End) that are no rows, by why. With the
// rows and the missing ones they add up to End - First.
type Excluded struct {
	Activities  uint64 `json:"activities,omitempty"`   // no decisions
	NotMatching uint64 `json:"not_matching,omitempty"` // decisions that the query does not want
	Outside     uint64 `json:"outside,omitempty"`      // recorded among those of the period, with a time outside of it
}

// MissingRange is a run of leaves whose payloads are gone.
type MissingRange struct {
	First uint64 `json:"first"`
	End   uint64 `json:"end"` // the one after the last
	Why   string `json:"why"` // "expired", "erased" or "missing"
}

// SequenceGap is a run of numbers, both ends included, that an instance of a PEP
// gave to requests of which no record is in the leaves of the period.
type SequenceGap struct {
	Credential string `json:"credential"`
	Instance   string `json:"instance"`
	First      uint64 `json:"first"`
	Last       uint64 `json:"last"`
}

// SampleMethod is how rows are drawn.
type SampleMethod string

// The methods.
const (
	SampleSimple     SampleMethod = "simple"     // the best ranks of all rows
	SampleStratified SampleMethod = "stratified" // the best ranks of each stratum, in proportion
	SampleInterval   SampleMethod = "interval"   // every so many rows, from a start that the seed gives
)

// SampleDrawn is a sample that was drawn from a population: all that is needed to
// draw it again, and what came out. Every draw is an event, so that who drew again
// until the result pleased can't hide it.
type SampleDrawn struct {
	Population string            `json:"population"`        // id
	Digest     string            `json:"population_digest"` // as in the population's note
	Nonce      string            `json:"nonce"`             // the auditor's, chosen after the population was fixed
	Method     SampleMethod      `json:"method"`
	Strata     string            `json:"strata,omitempty"` // what strata are made of, of a stratified one
	Size       int               `json:"size"`             // that was asked for
	Rows       []uint64          `json:"rows"`             // drawn: indexes in the decision log, in the order of the draw
	Discarded  []DiscardedSample `json:"discarded,omitempty"`
}

// DiscardedSample is a row that was drawn and set aside; the next one stands in for it.
type DiscardedSample struct {
	Index uint64 `json:"index"`
	Why   string `json:"why"`
}

// Bounds of populations and samples.
const (
	MaxSample        = 10_000 // rows of one sample
	maxNonce         = 256    // bytes
	maxQuery         = 4096   // bytes
	maxDiscardReason = 1024   // bytes
	maxDiscards      = 1000
)

// Validate checks what can be checked of the statement alone. The error is one
// plain sentence.
func (p *Population) Validate() error {
	rows := p.Count + p.Excluded.Activities + p.Excluded.NotMatching + p.Excluded.Outside
	for _, m := range p.Missing {
		if m.First < p.First || m.End > p.End || m.First >= m.End || m.Why == "" {
			return fmt.Errorf("missing: a run of leaves lies within those of the period, and says why")
		}
		rows += m.End - m.First
	}
	switch {
	case !isGrantID(p.ID):
		return fmt.Errorf("id %q: a population's id has 1 to %d visible ASCII characters, without slashes or quotes", brief(p.ID), maxGrantID)
	case len(p.Query) > maxQuery || !utf8.ValidString(p.Query):
		return fmt.Errorf("query: it is longer than %d bytes, or not valid UTF-8", maxQuery)
	case p.QueryDigest != Digest([]byte(p.Query)):
		return fmt.Errorf("query_digest: it is not that of the query")
	case p.To <= p.From:
		return fmt.Errorf("to: it is not after from")
	case p.Log == "":
		return fmt.Errorf("log: the origin of the decision log is missing")
	case p.End < p.First || p.End > p.Tree.Size:
		return fmt.Errorf("end: the leaves lie within the tree of %d", p.Tree.Size)
	case rows != p.End-p.First:
		return fmt.Errorf("count: rows, excluded and missing leaves are %d, and the period has %d", rows, p.End-p.First)
	case p.Since != nil && p.Since.Size > p.Tree.Size:
		return fmt.Errorf("since: that tree is larger than the one of the population")
	}
	return nil
}

// Canonical returns the canonical form of the statement, whose SHA-256 is its digest.
func (p *Population) Canonical() ([]byte, error) { return CanonicalJSON(p) }

// Validate checks what can be checked of the sample alone. The error is one plain
// sentence.
func (s *SampleDrawn) Validate() error {
	switch {
	case s.Population == "" || s.Digest == "":
		return fmt.Errorf("population: its id and its digest are needed")
	case s.Nonce == "" || len(s.Nonce) > maxNonce || !utf8.ValidString(s.Nonce):
		return fmt.Errorf("nonce: it has 1 to %d bytes of valid UTF-8", maxNonce)
	case s.Method != SampleSimple && s.Method != SampleStratified && s.Method != SampleInterval:
		return fmt.Errorf("method %q is not one of %q, %q and %q", s.Method, SampleSimple, SampleStratified, SampleInterval)
	case (s.Method == SampleStratified) != (s.Strata != ""):
		return fmt.Errorf("strata: it says what the strata of a stratified sample are made of, and of no other")
	case s.Size < 1 || s.Size > MaxSample || len(s.Rows) > s.Size:
		return fmt.Errorf("size: a sample has 1 to %d rows", MaxSample)
	case len(s.Discarded) > maxDiscards:
		return fmt.Errorf("discarded: at most %d", maxDiscards)
	}
	for _, d := range s.Discarded {
		if d.Why == "" || len(d.Why) > maxDiscardReason || !utf8.ValidString(d.Why) {
			return fmt.Errorf("discarded: why was row %d set aside? Say so in 1 to %d bytes", d.Index, maxDiscardReason)
		}
	}
	return nil
}
