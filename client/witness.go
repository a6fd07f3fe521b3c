package client

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// WitnessStatus says how a log is witnessed.
type WitnessStatus struct {
	Origin    string          `json:"origin"`
	Quorum    int             `json:"quorum"` // of witnesses, that makes a checkpoint witnessed
	Size      uint64          `json:"size"`   // of the last witnessed checkpoint
	Witnesses []WitnessMember `json:"witnesses"`
}

// WitnessMember is how one witness fares.
type WitnessMember struct {
	Name         string    `json:"name"`
	Key          string    `json:"key"` // C2SP verifier key
	URL          string    `json:"url"`
	Size         uint64    `json:"size"`                    // of the last checkpoint that it has cosigned
	Last         time.Time `json:"last,omitzero"`           // when it did
	Error        string    `json:"error,omitempty"`         // why it did not at the last attempt
	OtherHistory bool      `json:"other_history,omitempty"` // it has seen another history of the log under its key
}

// Witnesses says how the logs are witnessed; a log that no witnesses are configured for is left out.
func (c *Client) Witnesses(ctx context.Context) (map[LogName]WitnessStatus, error) {
	var out map[LogName]WitnessStatus
	err := c.get(ctx, "/v1/log/witnesses", nil, &out)
	return out, err
}

var witnessed = url.Values{"witnessed": {"true"}}

// WitnessedDecisionProof is [Client.DecisionProof] in the last checkpoint that witnesses have cosigned.
func (c *Client) WitnessedDecisionProof(ctx context.Context, evaluationID string) (*Proof, error) {
	var p Proof
	if err := c.get(ctx, at("decisions", evaluationID, "proof"), witnessed, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// WitnessedEventProof is [Client.EventProof] in the last checkpoint that witnesses have cosigned.
func (c *Client) WitnessedEventProof(ctx context.Context, index uint64) (*Proof, error) {
	var p Proof
	if err := c.get(ctx, at("events", strconv.FormatUint(index, 10), "proof"), witnessed, &p); err != nil {
		return nil, err
	}
	return &p, nil
}
