package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/report/sample"
)

// G2, G4: an auditor fixes a population and draws from it; both are events, and what was handed over verifies without
// the server.
func TestPopulationsAndSamples(t *testing.T) {
	s := start(t)
	for range 30 {
		s.as(aver.RolePEP, "POST", "/access/v1/evaluation", question("user:eve", "read", "doc:1")).ok(200)
	}
	x := s.as(aver.RoleAuditor, "POST", "/v1/populations", map[string]any{"id": "p-1", "query": "action:read", "reason": "Quarterly test"}).ok(201)
	var d sample.Document
	if err := json.Unmarshal(x.body, &d); err != nil {
		t.Fatal(err)
	}
	if r := d.Verify(d.VerifierKey); !r.Integrity || r.Trust != "established" || d.Statement.Count != 30 || d.Event == nil {
		t.Fatalf("%+v\n%+v", r, d.Statement)
	}
	if !strings.Contains(d.Event.Payload, `"reason":"Quarterly test"`) || !strings.Contains(d.Event.Payload, `"the-auditor"`) {
		t.Errorf("%s", d.Event.Payload)
	}
	draw := map[string]any{"nonce": "7f3a", "size": 5}
	x = s.as(aver.RoleAuditor, "POST", "/v1/populations/p-1/sample", draw).ok(201)
	var got sample.Sample
	if err := json.Unmarshal(x.body, &got); err != nil {
		t.Fatal(err)
	}
	for _, c := range got.Verify(&d, nil) {
		if c.State != sample.OK && c.Name != "draw" { // which takes the authority log
			t.Errorf("%+v", c)
		}
	}
	if len(got.Rows) != 5 || *got.EarlierDraws != 0 {
		t.Errorf("%+v", got)
	}
	// Again with another nonce: it stays on record that this was the second.
	second := s.as(aver.RoleAuditor, "POST", "/v1/populations/p-1/sample", with(draw, "nonce", "other")).ok(201)
	if fmt.Sprint(second.at("earlier_draws")) != "1" {
		t.Errorf("%s", second.body)
	}
	listed := s.as(aver.RoleAuditor, "GET", "/v1/populations", nil).ok(200)
	if draws := listed.at("populations").([]any)[0].(map[string]any)["draws"].([]any); len(draws) != 2 {
		t.Errorf("%s", listed.body)
	}
	s.as(aver.RoleAuditor, "GET", "/v1/populations/p-1", nil).ok(200)
	// What each of them gave away is recorded as such.
	var uses []string
	for _, e := range s.admin("GET", "/v1/decisions?limit=1000", nil).ok(200).at("decisions").([]any) {
		action := e.(map[string]any)["payload"].(map[string]any)["request"].(map[string]any)["action"].(map[string]any)["name"].(string)
		uses = append(uses, action)
	}
	for _, want := range []string{"evidence.export", "population.fix", "sample.draw"} {
		if !slices.Contains(uses, want) {
			t.Errorf("no decision about %s in %v", want, uses)
		}
	}
}

func TestPopulationsThatAreRefused(t *testing.T) {
	s := start(t)
	s.as(aver.RoleAuditor, "POST", "/v1/populations", map[string]any{"id": "p-1"}).ok(201)
	post := func(body map[string]any) *exchange { return s.as(aver.RoleAuditor, "POST", "/v1/populations", body) }
	post(map[string]any{"id": "p-1"}).problem(409, "conflict", "already fixed")
	post(map[string]any{"query": "outcome:maybe"}).problem(400, "invalid-request", "character 9")
	post(map[string]any{"query": "activity:completed"}).problem(400, "invalid-request", "can't fix a population")
	post(map[string]any{"to": "2999-01-01T00:00:00.000Z"}).problem(400, "invalid-request", "in the future")
	post(map[string]any{"id": "a b"}).problem(400, "invalid-request", "population's id")
	post(map[string]any{"since": "nothing"}).problem(400, "invalid-request", "earlier checkpoint")
	s.as(aver.RolePEP, "POST", "/v1/populations", map[string]any{}).problem(403, "forbidden", "")
	draw := func(body map[string]any) *exchange {
		return s.as(aver.RoleAuditor, "POST", "/v1/populations/p-1/sample", body)
	}
	draw(map[string]any{"nonce": "", "size": 5}).problem(400, "invalid-request", "nonce")
	draw(map[string]any{"nonce": "n", "size": 5, "strata": "weather"}).problem(400, "invalid-request", "nothing to stratify by")
	s.as(aver.RoleAuditor, "POST", "/v1/populations/p-2/sample", map[string]any{"nonce": "n", "size": 5}).problem(404, "not-found", "no population")
}
