package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

// A policy enforcement point asks, and lets the request through only with an answer that allows it.
func ExampleClient_Decide() {
	server := exampleServer(http.StatusOK, `{"decision":false,"context":{"outcome":"escalated",
		"evaluation_id":"019abc00-0000-7000-8000-000000000001","evaluated_at":"2026-11-24T09:00:00.000Z",
		"requirements":[{"gate":"escalate","policy":"payments/large","approvers":["treasury-leads"],"approvals":1}],
		"receipt":{"origin":"aver.local/1/decisions","index":7,"leaf_hash":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}}}`)
	defer server.Close()

	pdp, err := client.New(client.Options{URL: server.URL, Token: "aver_0123"})
	if err != nil {
		panic(err)
	}
	answer, err := pdp.Decide(context.Background(), &aver.Request{
		Subject:  aver.Party{Ref: aver.Ref{Type: "ai_agent", ID: "payables"}},
		Action:   aver.Action{Name: "payment.create"},
		Resource: aver.Party{Ref: aver.Ref{Type: "account", ID: "77"}, Properties: map[string]any{"amount": int64(25000)}},
		Context:  map[string]any{"delegation": []any{"g-1"}},
	})
	switch {
	case err != nil:
		fmt.Println("no decision, so no payment:", err)
	case answer.Outcome.Allowed():
		fmt.Println("go on, and carry out", answer.Obligations)
	default:
		fmt.Println(answer.Outcome, "by", answer.Requirements[0].Policy, "- ask", answer.Requirements[0].Approvers)
	}
	// Output: escalated by payments/large - ask [treasury-leads]
}

// When the server can't record decisions it gives none, and says when to come back.
func ExampleUnavailableError() {
	server := exampleServer(http.StatusServiceUnavailable, `"the log can't be written at the moment"`)
	defer server.Close()

	pdp, err := client.New(client.Options{URL: server.URL, Retries: -1})
	if err != nil {
		panic(err)
	}
	_, err = pdp.Decide(context.Background(), &aver.Request{})
	var unavailable *client.UnavailableError
	if errors.As(err, &unavailable) {
		fmt.Println("refuse the request:", err, "- again in", unavailable.RetryAfter)
	}
	// Output: refuse the request: the log can't be written at the moment - again in 5s
}

func exampleServer(status int, body string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
}
