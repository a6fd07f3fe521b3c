package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/aver-authz/aver"
)

// Decide asks for a decision and implements [aver.Decider]. When the error is nil the record of the answer is durable;
// the caller obeys the outcome, and its obligations. Any error means that there is no decision: do not let the request
// through. Errors: [*Problem] for a request that is wrong, [*UnavailableError] if there was no answer.
//
// The answer has what AuthZEN carries over HTTP: its frames, actor and counters are in the record, see [Client.Record].
func (c *Client) Decide(ctx context.Context, req *aver.Request) (*aver.Answer, error) {
	var body json.RawMessage
	err := c.doJSON(ctx, call{method: http.MethodPost, path: "/access/v1/evaluation", body: req, token: req.SubjectToken, numbered: true, repeat: true}, &body)
	if err != nil {
		return nil, err
	}
	answer, _, err := readAnswer(body)
	return answer, err
}

// Semantic says how far a batch is decided.
type Semantic string

// The semantics of a batch (AuthZEN 1.0, section 7.1.2.1).
const (
	ExecuteAll          Semantic = "execute_all"
	DenyOnFirstDeny     Semantic = "deny_on_first_deny"
	PermitOnFirstPermit Semantic = "permit_on_first_permit"
)

// BatchAnswer is the answer to one request of a batch.
type BatchAnswer struct {
	aver.Answer
	// Err says that this request was wrong. Such a request is answered, and recorded, with a denial.
	Err error
}

// DecideBatch asks for several decisions at once. The answers stand in the order of the requests; with another semantic
// than [ExecuteAll] they may be fewer: what lacks an answer was not decided. The errors are those of [Client.Decide].
func (c *Client) DecideBatch(ctx context.Context, semantic Semantic, requests ...*aver.Request) ([]BatchAnswer, error) {
	if len(requests) == 0 {
		return nil, errors.New("the batch has no requests")
	}
	token := requests[0].SubjectToken
	for _, r := range requests {
		if r.SubjectToken != token {
			return nil, errors.New("the requests of a batch come with the same SubjectToken, or all with none")
		}
	}
	var body struct {
		Evaluations []*aver.Request `json:"evaluations"`
		Options     struct {
			Semantic Semantic `json:"evaluations_semantic"`
		} `json:"options"`
	}
	body.Evaluations, body.Options.Semantic = requests, semantic
	if semantic == "" {
		body.Options.Semantic = ExecuteAll
	}
	var in struct {
		Evaluations []json.RawMessage `json:"evaluations"`
	}
	err := c.doJSON(ctx, call{method: http.MethodPost, path: "/access/v1/evaluations", body: body, token: token, numbered: true, repeat: true}, &in)
	if err != nil {
		return nil, err
	}
	if n := len(in.Evaluations); n == 0 || n > len(requests) || body.Options.Semantic == ExecuteAll && n != len(requests) {
		return nil, fmt.Errorf("the server gave %d answers to %d requests", n, len(requests))
	}
	answers := make([]BatchAnswer, len(in.Evaluations))
	for i, text := range in.Evaluations {
		answer, wrong, err := readAnswer(text)
		if err != nil {
			return nil, fmt.Errorf("answer %d: %w", i, err)
		}
		answers[i] = BatchAnswer{Answer: *answer, Err: wrong}
	}
	return answers, nil
}

// readAnswer reads an AuthZEN answer, and refuses one that is not whole or contradicts itself. wrong is what the answer
// says to be wrong with a request of a batch.
func readAnswer(text []byte) (answer *aver.Answer, wrong, err error) {
	type ruling struct {
		Outcome      *aver.Outcome      `json:"outcome"`
		Reasons      []aver.Reason      `json:"reasons"`
		Requirements []aver.Requirement `json:"requirements"`
		Obligations  []aver.Obligation  `json:"obligations"`
	}
	var in struct {
		Decision *bool `json:"decision"`
		Context  struct {
			ruling
			EvaluationID string             `json:"evaluation_id"`
			EvaluatedAt  aver.Time          `json:"evaluated_at"`
			Receipt      aver.Receipt       `json:"receipt"`
			Request      aver.AccessRequest `json:"access_request"`
			Parts        []struct {
				ID       string `json:"id"`
				Decision *bool  `json:"decision"`
				ruling
			} `json:"parts"`
			Error *struct {
				Status  int    `json:"status"`
				Message string `json:"message"`
			} `json:"error"`
		} `json:"context"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, nil, fmt.Errorf("the answer can't be read: %w", err)
	}
	read := func(decision *bool, r ruling) (aver.Ruling, error) {
		switch {
		case decision == nil || r.Outcome == nil:
			return aver.Ruling{}, errors.New("the answer has no decision or no outcome: is this a server of Aver?")
		case *decision != r.Outcome.Allowed():
			return aver.Ruling{}, fmt.Errorf("the answer contradicts itself: decision %t, outcome %s", *decision, r.Outcome)
		}
		return aver.Ruling{Outcome: *r.Outcome, Reasons: r.Reasons, Requirements: r.Requirements, Obligations: r.Obligations}, nil
	}
	a := &aver.Answer{EvaluationID: in.Context.EvaluationID, Time: in.Context.EvaluatedAt, Receipt: in.Context.Receipt, AccessRequestEndpoint: in.Context.Request.Endpoint}
	if a.Ruling, err = read(in.Decision, in.Context.ruling); err != nil {
		return nil, nil, err
	}
	for _, p := range in.Context.Parts {
		r, err := read(p.Decision, p.ruling)
		if err != nil {
			return nil, nil, fmt.Errorf("part %q: %w", p.ID, err)
		}
		a.Parts = append(a.Parts, aver.PartDecision{ID: p.ID, Ruling: r})
	}
	if a.EvaluationID == "" || a.Receipt.LeafHash == "" {
		return nil, nil, errors.New("the answer has no evaluation id or no receipt, so nothing shows that it was recorded")
	}
	if e := in.Context.Error; e != nil {
		wrong = &Problem{Status: e.Status, Detail: e.Message}
	}
	return a, wrong, nil
}
