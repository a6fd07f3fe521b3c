package api

import (
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/query"
	"github.com/aver-authz/aver/internal/report/sample"
)

// Populations is what the API needs to fix populations and to draw samples from them.
type Populations struct {
	sample.Source
	Signer note.Signer // of the decision log
}

// populationProblem sorts what can be wrong with a population.
func populationProblem(err error) error {
	var bad *query.Error
	var wish *sample.WishError
	switch {
	case errors.As(err, &bad):
		return &aver.RequestError{Pointer: "/query", Reason: bad.Error()}
	case errors.As(err, &wish):
		return &aver.RequestError{Pointer: "", Reason: wish.Error()}
	case errors.Is(err, sample.ErrChanged):
		return conflict("%v", err)
	}
	return err
}

// fixPopulation fixes a population: finds out what it is, and logs it before anybody sees it.
func (a *API) fixPopulation(c *call) error {
	var body struct {
		sample.Wish
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if body.To == 0 {
		body.To = a.o.Populations.Now() // before the record of this access
	}
	if err := a.recordEvidenceAccess(c, exportsEvidence, body.Query); err != nil {
		return err
	}
	if _, ok := a.state().Population(body.ID); ok {
		return conflict("a population %q was already fixed", body.ID)
	}
	d, err := a.o.Populations.Fix(c.Context(), body.Wish)
	if err != nil {
		return populationProblem(err)
	}
	made, err := a.do(c, body.Reason, aver.EventPopulationFixed, d.Statement)
	if err != nil {
		return err
	}
	if err := a.vouch(d, made.Index); err != nil {
		return err
	}
	return c.writeJSON(http.StatusCreated, d)
}

// vouch adds what the server says for a population: the event by which it was fixed, and the log's signature.
func (a *API) vouch(d *sample.Document, event uint64) (err error) {
	if d.Event, err = a.sampleEvent(event); err != nil {
		return err
	}
	return d.Sign(a.o.Populations.Signer)
}

func (a *API) sampleEvent(index uint64) (*sample.Event, error) {
	leaf, payload, err := a.o.Authority.Entry(index)
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", index, err)
	}
	return &sample.Event{Index: index, Leaf: string(leaf), Payload: string(payload)}, nil
}

func (a *API) listPopulations(c *call) error {
	key := func(p *authority.Population) string { return indexKey(p.Event) }
	return writePage(c, "populations", a.state().Populations(), key, same)
}

func (a *API) getPopulation(c *call) error {
	p, err := a.population(c)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, p)
}

func (a *API) population(c *call) (*authority.Population, error) {
	p, ok := a.state().Population(c.PathValue("id"))
	if !ok {
		return nil, notFound("there is no population %q", c.PathValue("id"))
	}
	return p, nil
}

// drawSample draws a sample from a population that was fixed, and logs the draw.
func (a *API) drawSample(c *call) error {
	p, err := a.population(c)
	if err != nil {
		return err
	}
	var body struct {
		Nonce     string                 `json:"nonce"`
		Size      int                    `json:"size"`
		Method    aver.SampleMethod      `json:"method,omitempty"`
		Strata    string                 `json:"strata,omitempty"`
		Discarded []aver.DiscardedSample `json:"discarded,omitempty"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if err := a.recordEvidenceAccess(c, exportsEvidence, p.Query); err != nil {
		return err
	}
	again, err := a.o.Populations.Again(c.Context(), &p.Population)
	if err != nil {
		return populationProblem(err)
	}
	drawn, err := a.o.Populations.Draw(again, sample.Spec{Nonce: body.Nonce, Method: body.Method, Strata: body.Strata, Size: body.Size, Discarded: body.Discarded})
	if err != nil {
		return populationProblem(err)
	}
	made, err := a.do(c, body.Reason, aver.EventSampleDrawn, drawn.SampleDrawn)
	if err != nil {
		return err
	}
	out, err := sample.NewSample(drawn, a.o.Decisions.Leaf)
	if err != nil {
		return err
	}
	if out.Event, err = a.sampleEvent(made.Index); err != nil {
		return err
	}
	if now, ok := a.state().Population(p.ID); ok {
		for i, d := range now.Draws {
			if d.Event == made.Index {
				out.EarlierDraws = &i
			}
		}
	}
	return c.writeJSON(http.StatusCreated, out)
}
