package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/aver-authz/aver/internal/report/gaps"
	"github.com/aver-authz/aver/internal/report/onepage"
)

// maxReportName bounds the name of what a report is about, in bytes.
const maxReportName = 2100 // a ref in its text form

// getReport answers the questions about one decision, agent, workflow or partner: as JSON, text, or a page of HTML.
func (a *API) getReport(c *call) error {
	kind, of := c.PathValue("kind"), c.URL.Query().Get("of")
	if !slices.Contains(onepage.Kinds(), kind) {
		return notFound("there are reports of a %s", strings.Join(onepage.Kinds(), ", "))
	}
	if of == "" || len(of) > maxReportName {
		return badParameter("of", "the name of the %s, of 1 to %d bytes", kind, maxReportName)
	}
	ctx, cancel := context.WithTimeout(c.Context(), a.o.Timeout*9/10)
	defer cancel()
	page, err := a.o.Report(ctx, kind, of)
	switch {
	case errors.Is(err, onepage.ErrNotFound), errors.Is(err, onepage.ErrName):
		return notFound("%v", err)
	case errors.Is(err, gaps.ErrReading), ctx.Err() != nil:
		return &problem{Slug: "unavailable", Status: http.StatusServiceUnavailable, cause: err, retryAfter: maxReachTime,
			Detail: "the report can't be made in time from so large a log: ask again in a while, or use aver report --data"}
	case err != nil:
		return err
	}
	switch {
	case strings.Contains(c.Header.Get("Accept"), "text/html"):
		body, err := page.HTML()
		if err != nil {
			return err
		}
		c.w.Header().Set("Content-Security-Policy", onepage.ContentSecurityPolicy())
		c.writeBody(http.StatusOK, "text/html; charset=utf-8", body)
		return nil
	case c.wantsText():
		c.writeText(page.String())
		return nil
	}
	return c.writeJSON(http.StatusOK, page)
}
