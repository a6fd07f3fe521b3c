package target

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/aver-authz/aver/bench/workload"
)

// authzen is how Aver and the null target are asked: OpenID AuthZEN 1.0.
type authzen struct {
	batches, chains bool
}

type party struct {
	Type       string         `json:"type"`
	ID         string         `json:"id"`
	Properties map[string]any `json:"properties,omitempty"`
}

type action struct {
	Name string `json:"name"`
}

type evaluation struct {
	Subject  *party         `json:"subject,omitempty"`
	Action   *action        `json:"action,omitempty"`
	Resource *party         `json:"resource,omitempty"`
	Context  map[string]any `json:"context,omitempty"`
}

// The names of a chain's parties and grants.
func user(i int) string         { return workload.PersonAt(i).Login }
func orchestrator(i int) string { return fmt.Sprintf("orchestrator-%d", i) }
func worker(i int) string       { return fmt.Sprintf("worker-%d", i) }
func firstGrant(i int) string   { return fmt.Sprintf("g-%d-1", i) }
func secondGrant(i int) string  { return fmt.Sprintf("g-%d-2", i) }

func subject(c workload.Check) *party {
	if c.Delegated {
		return &party{Type: "ai_agent", ID: worker(c.Who)}
	}
	return &party{Type: "user", ID: user(c.Who)} // the PDP knows the rest
}

func paymentAttributes(p workload.Payment) map[string]any {
	return map[string]any{
		"department": p.Department, "country": p.Country, "currency": p.Currency, "created_by": p.CreatedBy,
		"amount": p.Amount, "frozen": p.Frozen,
	}
}

func requestContext(c workload.Check) map[string]any {
	context := map[string]any{"channel": "api"}
	if c.Delegated {
		context["on_behalf_of"] = party{Type: "user", ID: user(c.Who)}
		context["delegation"] = []string{firstGrant(c.Who), secondGrant(c.Who)}
	}
	return context
}

func asked(c workload.Check) evaluation {
	return evaluation{
		Action:   &action{c.Action},
		Resource: &party{Type: workload.KindName(c.Kind), ID: c.Payment.ID, Properties: paymentAttributes(c.Payment)},
	}
}

func (a authzen) request(checks []workload.Check) (string, []byte, bool) {
	first := checks[0]
	if first.Delegated && !a.chains || len(checks) > 1 && !a.batches {
		return "", nil, false
	}
	if len(checks) == 1 {
		e := asked(first)
		e.Subject, e.Context = subject(first), requestContext(first)
		return "/access/v1/evaluation", mustJSON(e), true
	}
	// What all have in common stands beside the list.
	batch := struct {
		evaluation
		Evaluations []evaluation `json:"evaluations"`
	}{evaluation: evaluation{Subject: subject(first), Context: requestContext(first)}}
	for _, c := range checks {
		e := asked(c)
		if c.Who != first.Who {
			e.Subject, e.Context = subject(c), requestContext(c)
		}
		batch.Evaluations = append(batch.Evaluations, e)
	}
	return "/access/v1/evaluations", mustJSON(batch), true
}

func (authzen) answers(body []byte) ([]bool, error) {
	var a struct {
		Decision    *bool `json:"decision"`
		Evaluations []struct {
			Decision bool `json:"decision"`
		} `json:"evaluations"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	if a.Decision != nil {
		return []bool{*a.Decision}, nil
	}
	var out []bool
	for _, e := range a.Evaluations {
		out = append(out, e.Decision)
	}
	return out, nil
}

func (authzen) sign(c workload.Check) []byte { return fmt.Appendf(nil, `"decision":%t`, c.Allowed()) }

func (authzen) id(body []byte) string { return member(body, "evaluation_id") }

// member finds a string member in compact JSON without reading all of it; the benchmark does so for every answer.
func member(body []byte, name string) string {
	_, after, ok := bytes.Cut(body, []byte(`"`+name+`":"`))
	if !ok {
		return ""
	}
	value, _, _ := bytes.Cut(after, []byte(`"`))
	return string(value)
}

// mustJSON marshals what consists of strings, numbers and booleans only, which can't fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
