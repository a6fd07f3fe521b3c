package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/aver-authz/aver"
)

// Gaps returns the control gaps that are found now.
func (c *Client) Gaps(ctx context.Context) (*aver.GapReport, error) {
	var out aver.GapReport
	if err := c.get(ctx, "/v1/gaps", nil, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// AcceptGap accepts the risk of a finding until a time. It needs a reason.
func (c *Client) AcceptGap(ctx context.Context, id string, until aver.Time, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("gaps", id, "accept"), struct {
		Until aver.Time `json:"until"`
		reasonBody
	}{until, reasonBody{reason}})
}

// CloseGap says that what was found is mended. It needs a reason.
func (c *Client) CloseGap(ctx context.Context, id, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("gaps", id, "close"), reasonBody{reason})
}

// Report answers the questions about one decision, agent, workflow or partner,
// which kind says, on one page of text.
func (c *Client) Report(ctx context.Context, kind, name string) (string, error) {
	text, err := c.report(ctx, kind, name, "text/plain")
	return string(text), err
}

// ReportHTML is [Client.Report] as a page of HTML that needs nothing besides.
func (c *Client) ReportHTML(ctx context.Context, kind, name string) ([]byte, error) {
	return c.report(ctx, kind, name, "text/html")
}

// ReportJSON is [Client.Report] for programs.
func (c *Client) ReportJSON(ctx context.Context, kind, name string) (json.RawMessage, error) {
	return c.report(ctx, kind, name, "application/json")
}

func (c *Client) report(ctx context.Context, kind, name, as string) ([]byte, error) {
	return c.do(ctx, call{method: http.MethodGet, path: at("reports", kind), query: url.Values{"of": {name}}, accept: as, repeat: true})
}
