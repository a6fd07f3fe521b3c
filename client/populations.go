package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"

	"github.com/aver-authz/aver"
)

// PopulationRequest is what a population is asked to be.
type PopulationRequest struct {
	ID     string    `json:"id,omitempty"`    // of your choice; "": a random one
	Query  string    `json:"query,omitempty"` // in the language of searches; "": every decision
	From   aver.Time `json:"from,omitzero"`   // included; 0: the log's beginning
	To     aver.Time `json:"to,omitzero"`     // excluded; 0: now
	Since  string    `json:"since,omitempty"` // the last checkpoint of the decision log that you have, as signed
	Reason string    `json:"reason,omitempty"`
}

// Population is a population that was fixed, with the samples drawn from it.
type Population struct {
	aver.Population
	Mark
	Digest string `json:"digest"`
	Draws  []Draw `json:"draws,omitempty"`
}

// Draw is a sample, with who drew it and when.
type Draw struct {
	aver.SampleDrawn
	Mark
}

// SampleRequest is how a sample is to be drawn.
type SampleRequest struct {
	Nonce     string                 `json:"nonce"` // the auditor's, chosen after the population was fixed
	Size      int                    `json:"size"`
	Method    aver.SampleMethod      `json:"method,omitempty"` // "": simple, or stratified if Strata are given
	Strata    string                 `json:"strata,omitempty"`
	Discarded []aver.DiscardedSample `json:"discarded,omitempty"`
	Reason    string                 `json:"reason,omitempty"`
}

// FixPopulation fixes a population, and returns it with its proofs: the file that aver sample verify reads, described in
// docs/sampling.md.
func (c *Client) FixPopulation(ctx context.Context, r PopulationRequest) (json.RawMessage, error) {
	var document json.RawMessage
	err := c.doJSON(ctx, call{method: http.MethodPost, path: "/v1/populations", body: r}, &document)
	return document, err
}

// Populations lists the populations in the order in which they were fixed.
func (c *Client) Populations(ctx context.Context) iter.Seq2[Population, error] {
	return pages[Population](ctx, c, "/v1/populations", "populations", "after", nil)
}

// DrawSample draws a sample from a population by its id: the file that aver sample verify reads.
func (c *Client) DrawSample(ctx context.Context, population string, r SampleRequest) (json.RawMessage, error) {
	var sample json.RawMessage
	err := c.doJSON(ctx, call{method: http.MethodPost, path: at("populations", population, "sample"), body: r}, &sample)
	return sample, err
}
