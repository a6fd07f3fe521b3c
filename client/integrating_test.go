package client_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

var exampleURL, exampleToken string

func TestMain(m *testing.M) {
	server := exampleServer(http.StatusOK, `{"decision":true,"context":{"outcome":"restricted",
		"evaluation_id":"019abc00-0000-7000-8000-000000000002","evaluated_at":"2026-11-24T09:00:00.000Z",
		"obligations":[{"id":"crm/mask","type":"mask_fields","properties":{"fields":["iban"]}}],
		"receipt":{"origin":"aver.local/1/decisions","index":8,"leaf_hash":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}}}`)
	exampleURL, exampleToken = server.URL, "aver_0123"
	defer server.Close()
	m.Run()
}

// The example of docs/integrating.md.
func ExampleClient_Decide_outcomes() {
	pep, err := client.New(client.Options{URL: exampleURL, Token: exampleToken})
	if err != nil {
		log.Fatal(err)
	}
	answer, err := pep.Decide(client.WithRequestID(context.Background(), "req-4711"), &aver.Request{
		Subject:  aver.Party{Ref: aver.Ref{Type: "ai_agent", ID: "exporter"}},
		Action:   aver.Action{Name: "customers.export"},
		Resource: aver.Party{Ref: aver.Ref{Type: "customer_list", ID: "eu"}},
		Context: map[string]any{
			"delegation":            []any{"g-ann-exporter"},
			"supported_obligations": []any{"mask_fields"},
		},
	})
	if err != nil {
		fmt.Println("refused: there is no decision:", err)
		return
	}
	switch answer.Outcome {
	case aver.Permitted, aver.Restricted:
		for _, o := range answer.Obligations {
			fmt.Println("export, with", o.Type, o.Properties["fields"])
		}
	case aver.PartiallyAuthorized:
		for _, part := range answer.Parts {
			fmt.Println(part.ID, part.Outcome.Allowed())
		}
	case aver.Challenged, aver.Escalated:
		for _, r := range answer.Requirements {
			fmt.Println("still needed:", r.Gate, r.Approvers, r.Present)
		}
	default:
		for _, r := range answer.Reasons {
			fmt.Println("refused:", r.Text)
		}
	}
	// Output: export, with mask_fields [iban]
}

// The page shows the example as it is run.
func TestIntegratingShowsTheExample(t *testing.T) {
	page, err := os.ReadFile("../docs/integrating.md")
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	for _, file := range []string{"integrating_test.go", "agent_test.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code = append(code, text...)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Fatal("the page has no Go")
	}
	for _, b := range blocks {
		if !strings.Contains(string(code), b[1]) {
			t.Errorf("docs/integrating.md shows what is not run:\n%s", b[1])
		}
	}
}
