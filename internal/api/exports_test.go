package api_test

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
)

// An export is a stream that goes on where the one before ended, and each is recorded as an access to evidence.
func TestExports(t *testing.T) {
	s := start(t)
	for range 10 {
		s.as(aver.RolePEP, "POST", "/access/v1/evaluation", question("user:eve", "read", "doc:1")).ok(200)
	}
	x := s.as(aver.RoleAuditor, "GET", "/v1/exports?format=csv&limit=6", nil).ok(200)
	if next := x.header.Get("Aver-Export-Next"); next != "6" || !strings.Contains(x.header.Get("Content-Disposition"), `filename="decisions-000000000000.csv"`) {
		t.Errorf("%v", x.header)
	}
	rows, err := csv.NewReader(strings.NewReader(string(x.body))).ReadAll()
	if err != nil || len(rows) != 7 || rows[0][0] != "index" {
		t.Errorf("%v %s", err, x.body)
	}
	x = s.as(aver.RoleAuditor, "GET", "/v1/exports?format=ocsf&from=6", nil).ok(200)
	if n := strings.Count(string(x.body), "\n"); n < 4 || !strings.Contains(string(x.body), `"version":"1.8.0"`) {
		t.Errorf("%d lines: %s", n, x.body)
	}
	for _, path := range []string{"format=xlsx", "format=parquet&table=events", "format=oscal", "format=ocsf&table=events", "format=ocsf&table=findings"} {
		if x := s.as(aver.RoleAuditor, "GET", "/v1/exports?"+path, nil).ok(200); x.header.Get("Aver-Export-Next") == "" {
			t.Errorf("%s: %v", path, x.header)
		}
	}
	if list := s.admin("GET", "/v1/decisions?limit=1000", nil).ok(200); !strings.Contains(string(list.body), `"name":"evidence.export"`) || !strings.Contains(string(list.body), "/v1/exports") {
		t.Error("the exports are not recorded")
	}
	for path, says := range map[string]string{
		"": "no format", "format=pdf": "no format", "format=csv&table=findings": "no table", "format=csv&from=-1": "?from", "format=csv&limit=0": "?limit", "format=csv&disclose=some": "?disclose",
	} {
		s.as(aver.RoleAuditor, "GET", "/v1/exports?"+path, nil).problem(400, "invalid-request", says)
	}
	s.as(aver.RolePEP, "GET", "/v1/exports?format=csv", nil).problem(403, "forbidden")
}
