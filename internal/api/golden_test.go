package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"testing"

	"github.com/aver-authz/aver"
)

// volatile is what differs from run to run, and what stands for it in a golden file.
var volatile = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), "TIME"},
	{regexp.MustCompile(`aver\.test/(authority|decisions)(/commit)?\\n[^"]*`), "NOTE"},
	{regexp.MustCompile(`[A-Za-z0-9+/]{43}=`), "HASH"},
	{regexp.MustCompile(`"path": \[[^\]]*\]`), `"path": PATH`}, // it depends on who shares the commit
	{regexp.MustCompile(`"salt": "[^"]*"`), `"salt": "SALT"`},
	{regexp.MustCompile(`"(payload|digest|policies|request_digest)": "[A-Za-z0-9_-]{43,64}"`), `"$1": "DIGEST"`},
	{regexp.MustCompile(`aver_[A-Za-z0-9_-]{43}`), "TOKEN"},
}

// shape is an answer without what differs from run to run, and its status.
func (x *exchange) shape() []byte {
	x.t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(x.body), "", "  "); err != nil {
		x.t.Fatal(err)
	}
	text := out.String()
	for _, v := range volatile {
		text = v.pattern.ReplaceAllString(text, v.by)
	}
	return fmt.Appendf(nil, "%d %s\n%s\n", x.status, x.header.Get("Content-Type"), text)
}

// One answer of each shape, byte by byte but for what differs from run to run.
func TestAnswerShapes(t *testing.T) {
	s := start(t)
	s.publish("bank", `
@id("pay") permit (principal, action == Action::"pay", resource is account);
@id("export") permit (principal, action == Action::"export", resource is account)
unless { resource has field && resource.field == "pin" };
@id("frozen") @reason("The account is frozen.")
forbid (principal, action, resource is account) when { resource has frozen && resource.frozen };
@id("login") @gate("challenge") @acr_values("phr") @max_age("300") @reason("Large payments need a fresh login.")
forbid (principal, action == Action::"pay", resource) when { context has amount && context.amount > 1000 } unless { context has fresh };
@id("eyes") @gate("escalate") @approvers("treasury-leads") @approvals("2") @within("24h")
forbid (principal, action == Action::"pay", resource) when { context has amount && context.amount > 50000 };
@id("mask") @gate("restrict") @obligation("mask_fields") @obligation_properties("{\"fields\":[\"iban\"]}")
forbid (principal, action == Action::"export", resource) when { context has masked };
`)
	before := s.recorded()
	ask := func(action string, context map[string]any, properties map[string]any) *exchange {
		q := question("user:ann", action, "account:1")
		q["context"] = context
		q["resource"].(map[string]any)["properties"] = properties
		return s.evaluate(q).ok(200)
	}
	part := func(id string) any { return map[string]any{"id": id, "properties": map[string]any{"field": id}} }
	shapes := map[string]*exchange{
		"permitted":            ask("pay", map[string]any{"amount": 5}, nil),
		"denied":               ask("pay", nil, map[string]any{"frozen": true}),
		"challenged":           ask("pay", map[string]any{"amount": 2000}, nil),
		"escalated":            ask("pay", map[string]any{"amount": 60000, "fresh": true}, nil),
		"restricted":           ask("export", map[string]any{"masked": true, "supported_obligations": []string{"mask_fields"}}, nil),
		"partially_authorized": ask("export", map[string]any{"parts": []any{part("name"), part("pin")}}, nil),
		"batch": s.evaluations(map[string]any{
			"subject": party("user:ann"), "action": map[string]any{"name": "pay"},
			"evaluations": []any{map[string]any{"resource": party("account:1")}, map[string]any{}},
		}),
		"authzen-400":     s.evaluate(`{"subject":{"type":"user"}}`),
		"authzen-401":     s.request("POST", "/access/v1/evaluation", "{}", nil),
		"problem-json":    s.admin("PUT", "/v1/entities/account/1", "{\"properties\":{}\n,\"properties\":{}}"),
		"problem-bundle":  s.admin("POST", "/v1/policies", map[string]any{"name": "x", "files": map[string]string{"x.cedar": "permit (principal, action);\n"}}),
		"problem-refused": s.admin("PUT", "/v1/identities/ai_agent/x", map[string]any{"kind": "ai_agent"}),
		"change":          s.admin("PUT", "/v1/entities/account/1", map[string]any{"properties": map[string]any{"frozen": true}, "reason": "court order"}).ok(201),
		"credential":      s.admin("POST", "/v1/credentials", map[string]any{"name": "till", "role": "pep"}).ok(201),
		"entities":        s.admin("GET", "/v1/entities", nil).ok(200),
		"policies":        s.admin("GET", "/v1/policies", nil).ok(200),
		"decisions":       s.admin("GET", fmt.Sprintf("/v1/decisions?limit=1&before=%d", before+2), nil).ok(200),
		"log":             s.admin("GET", "/v1/log", nil).ok(200),
		"metadata":        s.as(aver.RolePEP, "GET", "/.well-known/authzen-configuration", nil).ok(200),
	}
	for name, x := range shapes {
		shape := bytes.ReplaceAll(x.shape(), []byte(s.url), []byte("URL"))
		shape = regexp.MustCompile(`aver\.test/\w+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+`).ReplaceAll(shape, []byte("VKEY"))
		golden(t, "shapes/"+name+".txt", shape)
	}
	for _, outcome := range aver.Outcomes() {
		if got := shapes[outcome.String()].at("context", "outcome"); got != outcome.String() {
			t.Errorf("%s: %v", outcome, got)
		}
	}
}
