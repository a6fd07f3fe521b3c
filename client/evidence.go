package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/aver-authz/aver"
)

// LogName is one of the two logs.
type LogName string

// The logs.
const (
	Authority LogName = "authority" // what may be done, and who changed it
	Decisions LogName = "decisions"
)

// Entry is an entry of a log. Leaf and Payload are the bytes as the log has them, so that the payload's SHA-256 is the one
// that stands in the leaf.
type Entry struct {
	Index   uint64          `json:"index"`
	Leaf    json.RawMessage `json:"leaf"`
	Payload json.RawMessage `json:"payload"`          // null if it was erased
	Erased  []ErasedMark    `json:"erased,omitempty"` // what of it, and why
}

// LogHead says where a log stands.
type LogHead struct {
	Origin      string `json:"origin"`
	VerifierKey string `json:"verifier_key"` // C2SP signed-note
	Size        uint64 `json:"size"`
	Root        string `json:"root"`
	Checkpoint  string `json:"checkpoint"`          // the last signed one (C2SP tlog-checkpoint); it may cover a little less
	Witnessed   string `json:"witnessed,omitempty"` // the last that a quorum of witnesses has cosigned
}

// Proof is an inclusion proof of an entry in the tree of a signed checkpoint. Hashes are in standard base64.
type Proof struct {
	Origin     string          `json:"origin"`
	Index      uint64          `json:"index"`
	Leaf       json.RawMessage `json:"leaf"`
	LeafHash   string          `json:"leaf_hash"`
	Proof      []string        `json:"proof"`
	Checkpoint string          `json:"checkpoint"`
}

// Consistency is the proof that a log at size Old is the beginning of the log at size New.
type Consistency struct {
	Origin     string   `json:"origin"`
	Old        uint64   `json:"old"`
	New        uint64   `json:"new"`
	Proof      []string `json:"proof"`
	Checkpoint string   `json:"checkpoint,omitempty"` // if there is one of the size New
}

// Record returns the record of a decision as it stands in the log. Of one that was erased it returns the entry, which says
// why, with an error.
func (c *Client) Record(ctx context.Context, evaluationID string) (*aver.Record, *Entry, error) {
	var e Entry
	if err := c.get(ctx, at("decisions", evaluationID), nil, &e); err != nil {
		return nil, nil, err
	}
	if len(e.Payload) == 0 || string(e.Payload) == "null" {
		return nil, &e, fmt.Errorf("decision %s: its record was erased", evaluationID)
	}
	record, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return nil, nil, fmt.Errorf("decision %s: %w", evaluationID, err)
	}
	return record, &e, nil
}

// RecentDecisions lists the entries of the decision log from the newest to the oldest, with the outcome given or, for nil,
// with any.
func (c *Client) RecentDecisions(ctx context.Context, outcome *aver.Outcome) iter.Seq2[Entry, error] {
	query := url.Values{}
	if outcome != nil {
		query.Set("outcome", outcome.String())
	}
	return pages[Entry](ctx, c, "/v1/decisions", "decisions", "before", query)
}

// Why returns the explanation of a decision, for people.
func (c *Client) Why(ctx context.Context, evaluationID string) (string, error) {
	text, err := c.do(ctx, call{method: http.MethodGet, path: at("decisions", evaluationID, "why"), accept: "text/plain", repeat: true})
	return string(text), err
}

// WhyJSON returns the explanation of a decision, for programs.
func (c *Client) WhyJSON(ctx context.Context, evaluationID string) (json.RawMessage, error) {
	var body json.RawMessage
	err := c.get(ctx, at("decisions", evaluationID, "why"), nil, &body)
	return body, err
}

// DecisionProof proves that the record of a decision is in the log. It waits until a checkpoint covers it.
func (c *Client) DecisionProof(ctx context.Context, evaluationID string) (*Proof, error) {
	var p Proof
	if err := c.get(ctx, at("decisions", evaluationID, "proof"), nil, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// EventProof proves that an event is in the authority log.
func (c *Client) EventProof(ctx context.Context, index uint64) (*Proof, error) {
	var p Proof
	if err := c.get(ctx, at("events", strconv.FormatUint(index, 10), "proof"), nil, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// Logs says where both logs stand.
func (c *Client) Logs(ctx context.Context) (map[LogName]LogHead, error) {
	var heads map[LogName]LogHead
	err := c.get(ctx, "/v1/log", nil, &heads)
	return heads, err
}

// Entries lists a log's entries from an index on, oldest first.
func (c *Client) Entries(ctx context.Context, log LogName, from uint64) iter.Seq2[Entry, error] {
	query := url.Values{}
	if from > 0 {
		query.Set("after", strconv.FormatUint(from-1, 10))
	}
	return pages[Entry](ctx, c, at("log", string(log), "entries"), "entries", "after", query)
}

// Entry returns one entry of a log.
func (c *Client) Entry(ctx context.Context, log LogName, index uint64) (*Entry, error) {
	var e Entry
	if err := c.get(ctx, at("log", string(log), "entries", strconv.FormatUint(index, 10)), nil, &e); err != nil {
		return nil, err
	}
	return &e, nil
}

// Consistency proves that a log at one size is its beginning at another. newer 0 means the size of a signed checkpoint.
func (c *Client) Consistency(ctx context.Context, log LogName, older, newer uint64) (*Consistency, error) {
	query := url.Values{"old": {strconv.FormatUint(older, 10)}}
	if newer > 0 {
		query.Set("new", strconv.FormatUint(newer, 10))
	}
	var p Consistency
	if err := c.get(ctx, at("log", string(log), "consistency"), query, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// Ready is nil if the server can answer decisions, else an [*UnavailableError].
func (c *Client) Ready(ctx context.Context) error {
	return c.doJSON(ctx, call{method: http.MethodGet, path: "/readyz"}, nil)
}
