package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// problem is an error as callers see it (RFC 9457). It holds nothing of the server's inside; that is logged.
type problem struct {
	Slug     string          // of the type, urn:aver:problem:<slug>
	Type     string          // in place of that, where a profile names the type
	Status   int             // HTTP
	Detail   string          // plain words
	Pointer  string          // RFC 6901, to the member that is wrong
	Position *position       // in the body
	Errors   []bundleProblem // in a bundle
	Denial   *aver.Answer    // the decision that does not allow it

	retryAfter time.Duration // with 503; at least a second is said
	cause      error         // for the log only
}

type position struct {
	Line   int `json:"line"`   // one-based
	Column int `json:"column"` // one-based, in bytes
	Offset int `json:"offset"` // zero-based, in bytes
}

// bundleProblem is one problem of a bundle. Line and Column are one-based, 0 where there is none.
type bundleProblem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

func (p *problem) Error() string { return p.Detail }

// titles are the same for every problem of a type (RFC 9457, section 3.1.3).
var titles = map[string]string{
	"invalid-json":           "The body is not acceptable JSON",
	"invalid-request":        "The request is not valid",
	"invalid-bundle":         "The policy bundle has errors",
	"invalid-query":          "The query can't be read",
	"no-index":               "Decisions can't be searched at the moment",
	"unauthorized":           "No valid credential",
	"forbidden":              "Not allowed for this credential",
	"not-found":              "Not found",
	"method-not-allowed":     "Method not allowed",
	"not-acceptable":         "Not acceptable",
	"conflict":               "It does not fit what is there",
	"refused":                "The change is refused",
	"denied":                 "The policies of administration do not allow this",
	"too-large":              "The request is too large",
	"erased":                 "The record was erased",
	"too-many":               "Too many requests",
	"unsupported-media-type": "Unsupported media type",
	"unavailable":            "Decisions and changes can't be recorded at the moment",
	"timeout":                "The request took too long",
	"internal":               "The server made a mistake",

	"not_requestable":        "Nothing can be approved here",
	"expired_denial":         "The decision is too old to ask for its approval",
	"invalid_denial_binding": "The request is not the one that was decided",
	"duplicate_request":      "The idempotency key was used already",
	"unknown_task":           "There is no such access request",
	"task_expired":           "The access request has expired",
	"invalid_task_state":     "The access request has ended",
}

// problemOf maps an error to what the caller is told. Whatever is not listed is a mistake of ours, of which callers
// learn nothing but that.
func (a *API) problemOf(err error) *problem {
	var p *problem
	var badJSON *aver.JSONError
	var badRequest *aver.RequestError
	var badBundle policy.Errors
	var refused *pap.RefusedError
	var denied *pap.DeniedError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &badJSON):
		return &problem{Slug: "invalid-json", Status: http.StatusBadRequest, Detail: badJSON.Error(), Pointer: badJSON.Path,
			Position: &position{badJSON.Line, badJSON.Column, badJSON.Offset}}
	case errors.As(err, &badRequest):
		return &problem{Slug: "invalid-request", Status: http.StatusBadRequest,
			Detail: strings.TrimPrefix(badRequest.Error(), ": "), Pointer: badRequest.Pointer}
	case errors.As(err, &badBundle):
		p := &problem{Slug: "invalid-bundle", Status: http.StatusUnprocessableEntity, Detail: badBundle.Error()}
		for _, e := range badBundle {
			p.Errors = append(p.Errors, bundleProblem{e.File, e.Line, e.Column, e.Message})
		}
		return p
	case errors.As(err, &refused):
		return refusal(refused)
	case errors.Is(err, pap.ErrBadToken): // it was revoked while its change waited
		return &problem{Slug: "unauthorized", Status: http.StatusUnauthorized, Detail: "the bearer token gives no access: it was revoked", cause: err}
	case errors.As(err, &denied):
		return &problem{Slug: "denied", Status: http.StatusForbidden, Detail: denied.Error(), Denial: denied.Answer}
	case errors.Is(err, pdp.ErrNotFound):
		return &problem{Slug: "not-found", Status: http.StatusNotFound, Detail: pdp.ErrNotFound.Error()}
	case errors.Is(err, activity.ErrKeyReused), errors.Is(err, activity.ErrTooMany):
		return &problem{Slug: "conflict", Status: http.StatusConflict, Detail: err.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &problem{Slug: "timeout", Status: http.StatusServiceUnavailable, cause: err,
			Detail: "the request was not finished in time; whether it was recorded is not known"}
	case errors.Is(err, pap.ErrClosed):
		return &problem{Slug: "unavailable", Status: http.StatusServiceUnavailable, Detail: "the server is stopping"}
	}
	switch fault := a.o.Fault(err); fault.Kind {
	case Unavailable:
		return &problem{Slug: "unavailable", Status: http.StatusServiceUnavailable, retryAfter: fault.RetryAfter, cause: err,
			Detail: "the log can't be written at the moment, so nothing is decided or changed; the server tries again by itself"}
	case NotFound:
		return &problem{Slug: "not-found", Status: http.StatusNotFound, Detail: "the log has no such entry"}
	case Erased:
		return &problem{Slug: "erased", Status: http.StatusGone,
			Detail: "the record was erased: its class's period was over, or two people agreed to it; its leaf and its proofs remain, and GET /v1/erased says by which event"}
	case TooLarge:
		return &problem{Slug: "too-large", Status: http.StatusRequestEntityTooLarge, Detail: "the request is too large to be recorded: send less", cause: err}
	}
	return &problem{Slug: "internal", Status: http.StatusInternalServerError, cause: err,
		Detail: "the server made a mistake; its log says more under this X-Request-ID"}
}

// refusal is a change that the rules of the authority refuse: one that does not fit the state of what it names, or one
// whose data are wrong by themselves.
func refusal(refused *pap.RefusedError) *problem {
	detail := refused.Err.Error()
	if _, reason, ok := strings.Cut(detail, string(refused.Type)+": "); ok {
		detail = reason
	}
	switch refused.Type {
	case aver.EventPolicyPublished, aver.EventIdentityRegistered, aver.EventIdentityUpdated, aver.EventEntityPut,
		aver.EventGrantIssued, aver.EventCredentialIssued, aver.EventRetentionSet, aver.EventHoldPlaced, aver.EventErasureRequested, aver.EventExceptionRequested, aver.EventReviewOpened, aver.EventSignalReceived, aver.EventDutyDelegated:
		return &problem{Slug: "refused", Status: http.StatusUnprocessableEntity, Detail: detail}
	}
	return &problem{Slug: "conflict", Status: http.StatusConflict, Detail: detail}
}

// fail answers with an error, in the dialect of the path.
func (a *API) fail(c *call, err error) {
	p := a.problemOf(err)
	if p.cause != nil {
		level := a.o.Logger.Debug
		if p.Status >= 500 {
			level = a.o.Logger.Error
		}
		level("request failed", "problem", p.Slug, "cause", p.cause, "request_id", c.w.Header().Get("X-Request-ID"))
	}
	if c.w.status != 0 {
		return // the answer has begun; the connection's end shows that it is not whole
	}
	if p.Status == http.StatusServiceUnavailable {
		a.metrics.unavailable.Inc()
	}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(max(p.retryAfter, time.Second).Seconds()))))
	}
	if c.URL.Path == signalsSSFPath {
		p.writeSET(c)
		return
	}
	if strings.HasPrefix(c.URL.Path, "/access/") {
		p.writeAuthZEN(c)
		return
	}
	p.write(c)
}

// writeAuthZEN answers as AuthZEN 1.0, section 10.1.2, has it: the body is the error message, a JSON string here.
// Whatever is wrong with a request is 400 (certification scenario), never 413, 415 or 422.
func (p *problem) writeAuthZEN(c *call) {
	status := p.Status
	switch status {
	case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		status = http.StatusBadRequest
	}
	c.writeBody(status, "application/json", aver.AppendString(nil, p.Detail))
}

func (p *problem) write(c *call) {
	if p.Type == "" {
		p.Type = "urn:aver:problem:" + p.Slug
	}
	evaluation, reasons := "", []aver.Reason(nil)
	if p.Denial != nil {
		evaluation, reasons = p.Denial.EvaluationID, p.Denial.Reasons
	}
	body, err := json.Marshal(struct {
		Type       string          `json:"type"`
		Title      string          `json:"title"`
		Status     int             `json:"status"`
		Detail     string          `json:"detail"`
		Field      string          `json:"field,omitempty"`
		Position   *position       `json:"position,omitempty"`
		Errors     []bundleProblem `json:"errors,omitempty"`
		Evaluation string          `json:"evaluation_id,omitempty"`
		Reasons    []aver.Reason   `json:"reasons,omitempty"`
	}{p.Type, titles[p.Slug], p.Status, p.Detail, p.Pointer, p.Position, p.Errors, evaluation, reasons})
	if err != nil {
		panic(err) // strings and numbers only
	}
	c.writeBody(p.Status, "application/problem+json", body)
}
