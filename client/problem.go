package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aver-authz/aver"
)

// Problem is an answer of the server that says what is wrong (RFC 9457).
type Problem struct {
	Type   string // "urn:aver:problem:" and a word; "" for AuthZEN's own errors, and for what is no server of Aver
	Title  string
	Status int    // HTTP
	Detail string // one plain sentence
	// Field is the member of the request that is wrong, as an RFC 6901 pointer; "" if it is none in particular.
	Field     string
	Position  *Position     // where the request's JSON is wrong; may be nil
	Errors    []BundleError // what is wrong with a policy bundle
	RequestID string        // names the request in the server's log

	// EvaluationID is that of the decision by which the policies of administration do not allow what was asked, and
	// Reasons are its reasons; "" and nil for other problems.
	EvaluationID string
	Reasons      []aver.Reason
}

// Position is a place in a JSON text.
type Position struct {
	Line   int `json:"line"`   // one-based
	Column int `json:"column"` // one-based, in bytes
	Offset int `json:"offset"` // zero-based, in bytes
}

// BundleError is one problem of a policy bundle.
type BundleError struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // one-based; 0 if the file as a whole is meant
	Column  int    `json:"column"` // one-based; 0 if only the line is known
	Message string `json:"message"`
}

// String gives "file:line:column: message", without what is not known.
func (e BundleError) String() string {
	var at strings.Builder
	if e.File != "" {
		at.WriteString(e.File + ":")
		if e.Line > 0 {
			fmt.Fprintf(&at, "%d:", e.Line)
			if e.Column > 0 {
				fmt.Fprintf(&at, "%d:", e.Column)
			}
		}
		at.WriteByte(' ')
	}
	return at.String() + e.Message
}

func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if p.Field != "" && !strings.Contains(text, p.Field) {
		text = p.Field + ": " + text
	}
	return text
}

// UnavailableError says that there was no answer: the server could not be reached in time, or said that it can't answer
// at the moment. Nothing was decided that may be acted on. A change may have been made all the same.
type UnavailableError struct {
	// RetryAfter is when another attempt makes sense, as the server said; 0 if it said nothing.
	RetryAfter time.Duration
	// Err is a [*Problem] if the server answered, else why it could not be reached; a context's error if that ended.
	Err error
}

func (e *UnavailableError) Error() string { return e.Err.Error() }

func (e *UnavailableError) Unwrap() error { return e.Err }

// readProblem reads what a server says that is not 2xx.
func readProblem(resp *http.Response, body []byte) *Problem {
	p := &Problem{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-ID")}
	switch mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); mediaType {
	case "application/problem+json":
		var in struct {
			Type     string        `json:"type"`
			Title    string        `json:"title"`
			Detail   string        `json:"detail"`
			Field    string        `json:"field"`
			Position *Position     `json:"position"`
			Errors   []BundleError `json:"errors"`

			EvaluationID string        `json:"evaluation_id"`
			Reasons      []aver.Reason `json:"reasons"`
		}
		if json.Unmarshal(body, &in) == nil {
			p.EvaluationID, p.Reasons = in.EvaluationID, in.Reasons
			p.Type, p.Title, p.Detail, p.Field, p.Position, p.Errors = in.Type, in.Title, in.Detail, in.Field, in.Position, in.Errors
		}
	case "application/json": // AuthZEN 1.0, section 10.1.2: the body is the message
		_ = json.Unmarshal(body, &p.Detail) // else it is no error of AuthZEN, and the status has to do
	}
	if p.Detail == "" {
		p.Detail = fmt.Sprintf("the server answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return p
}
