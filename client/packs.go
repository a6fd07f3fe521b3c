package client

import (
	"context"
	"net/http"
)

// PackRequest is what goes into an evidence pack. Either Query or Decisions
// chooses.
type PackRequest struct {
	Query      string   `json:"query,omitempty"`       // in the language of searches
	Decisions  []string `json:"decisions,omitempty"`   // evaluation ids
	Limit      int      `json:"limit,omitempty"`       // of decisions that the query may choose; 0: 1000
	Form       string   `json:"form"`                  // "zip" or "html"
	WithEngine bool     `json:"with_engine,omitempty"` // a page that decides again by itself
	Purpose    string   `json:"purpose,omitempty"`     // an id such as compliance-audit
	Question   string   `json:"question,omitempty"`    // what the pack is to answer
	Redact     []string `json:"redact,omitempty"`      // "sensitive", or paths of attributes
	Whole      bool     `json:"whole_authority,omitempty"`
	Population string   `json:"population,omitempty"` // the statement of a population, JSON as text
}

// Pack has an evidence pack made, and returns the file. Package evidence
// verifies it.
func (c *Client) Pack(ctx context.Context, r PackRequest) ([]byte, error) {
	return c.do(ctx, call{method: http.MethodPost, path: "/v1/packs", accept: "*/*", body: r})
}
