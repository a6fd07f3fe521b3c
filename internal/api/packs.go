package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/report/pack"
)

// maxPacked bounds the decisions of a pack that a server makes: it holds all of it in memory.
const maxPacked = 2000

// packEvery is when to ask again while another pack is being made.
const packEvery = 5 * time.Second

// makePack answers with an evidence pack. The access is recorded before anything is read.
func (a *API) makePack(c *call) error {
	var body struct {
		Query      string        `json:"query,omitempty"`
		Decisions  []string      `json:"decisions,omitempty"`
		Limit      int           `json:"limit,omitempty"`
		Form       evidence.Form `json:"form"`
		WithEngine bool          `json:"with_engine,omitempty"`
		Purpose    string        `json:"purpose,omitempty"`
		Question   string        `json:"question,omitempty"`
		Redact     []string      `json:"redact,omitempty"`
		Whole      bool          `json:"whole_authority,omitempty"`
		Population string        `json:"population,omitempty"` // JSON as text, since its bytes are what others compare
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if len(body.Decisions) > maxPacked || body.Limit > maxPacked {
		return &aver.RequestError{Pointer: "", Reason: fmt.Sprintf("a server packs at most %d decisions; aver pack --data packs more", maxPacked)}
	}
	r := pack.Request{
		Query: body.Query, Decisions: body.Decisions, Limit: body.Limit, Form: body.Form, WithEngine: body.WithEngine,
		Purpose: body.Purpose, Question: body.Question, Redact: body.Redact, Whole: body.Whole,
		Program: "aver " + a.o.Version, Now: a.now(),
	}
	if body.Population != "" {
		r.Population = []byte(body.Population)
	}
	asked, err := aver.CanonicalJSON(body)
	if err != nil {
		return err
	}
	if err := a.recordEvidenceAccess(c, exportsEvidence, string(asked)); err != nil {
		return err
	}
	select {
	case a.packing <- struct{}{}:
		defer func() { <-a.packing }()
	default:
		return &problem{Slug: "too-many", Status: http.StatusTooManyRequests, retryAfter: packEvery, Detail: "another pack is being made; one at a time"}
	}
	kind, name := "application/zip", "evidence.zip"
	if body.Form == evidence.FormHTML {
		kind, name = "text/html; charset=utf-8", "evidence.html"
	}
	err = a.o.Pack(c.Context(), r, &packWriter{c: c, kind: kind, name: name})
	var bad *pack.RequestError
	if errors.As(err, &bad) {
		return &aver.RequestError{Pointer: "", Reason: bad.Reason}
	}
	return err
}

// packWriter sets the headers before the first byte: until then the answer may still be a problem. The page is to be
// kept and opened from a file, so browsers are told not to show it under the server's name.
type packWriter struct {
	c          *call
	kind, name string
	begun      bool
}

func (w *packWriter) Write(b []byte) (int, error) {
	if !w.begun {
		w.begun = true
		h := w.c.w.Header()
		h.Set("Content-Type", w.kind)
		h.Set("Content-Disposition", `attachment; filename="`+w.name+`"`)
		h.Set("Content-Security-Policy", "sandbox")
	}
	return w.c.w.Write(b)
}

// Packer makes evidence packs.
type Packer func(ctx context.Context, r pack.Request, w io.Writer) error
