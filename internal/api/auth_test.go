package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/api"
	"github.com/aver-authz/aver/internal/server"
)

// concrete turns a pattern into a method and a path that no resource is at.
func concrete(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	path = strings.NewReplacer("{log}", "decisions", "{index}", "0", "{type}", "user", "{id}", "x", "{name}", "x", "{digest}", "x").Replace(path)
	if strings.HasSuffix(path, "/") {
		path += "checkpoint"
	}
	return method, path
}

// Every route lets the roles in that it is for, and no other. What a caller without the role learns is 401 or 403,
// whatever is at the path and whatever the body is.
func TestRolesOfEveryRoute(t *testing.T) {
	s := start(t)
	may := map[aver.Role]map[string]bool{
		aver.RolePEP:     {},
		aver.RoleAuditor: {},
		aver.RoleAdmin:   {},
	}
	for _, r := range api.Routes() {
		method, path := concrete(r.Pattern)
		for role := range may {
			x := s.as(role, method, path, "?") // not JSON, so that nothing is changed
			denied := x.status == http.StatusForbidden
			may[role][r.Pattern] = !denied
			if r.Roles != nil && denied == slices.Contains(r.Roles, role) {
				t.Errorf("%s as %s: %d", r.Pattern, role, x.status)
			}
			if denied && x.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s as %s: 403 without WWW-Authenticate", r.Pattern, role)
			}
		}
		x := s.request(method, path, "?", nil)
		if open := x.status != http.StatusUnauthorized; open != (r.Roles == nil) {
			t.Errorf("%s without a token: %d", r.Pattern, x.status)
		}
	}
	// The table by its meaning: a PEP asks and reads nothing, an auditor reads and searches everything, keeps searches, has evidence
	// made up, and changes no answer; an administrator may do all.
	for _, r := range api.Routes() {
		method, path, _ := strings.Cut(r.Pattern, " ")
		asks := strings.HasPrefix(path, "/access/") || strings.HasPrefix(path, "/v1/access-requests")
		tells := path == "/v1/activities" || path == "/v1/withdrawals" || path == "/v1/pep/heartbeat"  // of its own decisions
		tells = tells || r.Pattern == "POST /v1/signals"                                               // as far as the administration bundle lets it
		free := strings.HasPrefix(path, "/log/") || r.Roles == nil || path == "/v1/grants/{id}/revoke" // the grant says who may
		if got, want := may[aver.RolePEP][r.Pattern], asks || tells || free; got != want {
			t.Errorf("a PEP may %s: %v", r.Pattern, got)
		}
		searches := strings.HasPrefix(path, "/access/v1/search/") || strings.HasPrefix(path, "/v1/searches/") ||
			path == "/v1/packs" || strings.HasPrefix(path, "/v1/populations")
		if got, want := may[aver.RoleAuditor][r.Pattern], method == "GET" && !tells || searches || r.Roles == nil; got != want {
			t.Errorf("an auditor may %s: %v", r.Pattern, got)
		}
		if !may[aver.RoleAdmin][r.Pattern] {
			t.Errorf("an administrator may not %s", r.Pattern)
		}
	}
}

func TestCredentialLifecycle(t *testing.T) {
	s := start(t)
	token := s.admin("POST", "/v1/credentials", map[string]any{"name": "gateway-1", "role": "pep", "reason": "the gateway in Bonn"}).ok(201).at("token").(string)
	ask := func() int {
		return s.request("POST", "/access/v1/evaluation", question("user:a", "read", "doc:1"), bearer(token)).status
	}
	if status := ask(); status != 200 {
		t.Fatalf("a new token: %d", status)
	}
	s.admin("POST", "/v1/credentials", map[string]any{"name": "gateway-1", "role": "pep"}).problem(409, "conflict", "already used")
	s.admin("POST", "/v1/credentials", map[string]any{"name": "x", "role": "root"}).problem(422, "refused", "role")
	s.admin("POST", "/v1/credentials", map[string]any{"name": "a b", "role": "pep"}).problem(422, "refused", "name")
	s.admin("POST", "/v1/credentials", map[string]any{"name": "y", "role": "pep", "expires": "2020-01-01T00:00:00Z"}).problem(422, "refused", "expires")
	s.admin("POST", "/v1/credentials/gateway-1/revoke", map[string]any{"reason": "lost"}).ok(200)
	if status := ask(); status != 401 {
		t.Errorf("a revoked token: %d", status)
	}
	s.admin("POST", "/v1/credentials/gateway-1/revoke", nil).problem(409, "conflict", "already revoked")
	s.admin("POST", "/v1/credentials/nobody/revoke", nil).problem(404, "not-found")
	list := s.as(aver.RoleAuditor, "GET", "/v1/credentials", nil).ok(200)
	if strings.Contains(string(list.body), token) || strings.Contains(string(s.admin("GET", "/v1/events", nil).body), token) {
		t.Error("a token stands in a list")
	}
}

func TestExpiredToken(t *testing.T) {
	var clock testClock
	s := start(t, func(c *server.Config) { c.Now = clock.Now })
	token := s.admin("POST", "/v1/credentials", map[string]any{
		"name": "short", "role": "pep", "expires": clock.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}).ok(201).at("token").(string)
	q := question("user:a", "read", "doc:1")
	s.request("POST", "/access/v1/evaluation", q, bearer(token)).ok(200)
	clock.move(2 * time.Hour)
	x := s.request("POST", "/access/v1/evaluation", q, bearer(token)).ok(401)
	if got := x.header.Get("WWW-Authenticate"); !strings.Contains(got, "invalid_token") {
		t.Errorf("WWW-Authenticate %q", got)
	}
}

// Without authentication, a web page must not be able to make the browser of who runs it act as administrator.
func TestNoAuthIsForThisMachineOnly(t *testing.T) {
	s := start(t, func(c *server.Config) { c.InsecureNoAuth = true })
	q := question("user:a", "read", "doc:1")
	s.request("POST", "/access/v1/evaluation", q, nil).ok(200)
	for _, host := range []string{"localhost:8470", "127.0.0.1", "[::1]:8470", "aver.localhost"} {
		if status := s.withHost(host); status != 200 {
			t.Errorf("Host %s: %d", host, status)
		}
	}
	for _, host := range []string{"evil.example", "192.0.2.1:8470", "localhost.evil.example"} {
		if status := s.withHost(host); status != 403 {
			t.Errorf("Host %s: %d", host, status)
		}
	}
	s.request("POST", "/v1/policies/baseline/retire", nil, http.Header{"Sec-Fetch-Site": {"cross-site"}}).ok(403)
	s.request("POST", "/v1/policies/baseline/retire", nil, http.Header{"Origin": {"https://evil.example"}}).ok(403)
	event := s.request("POST", "/v1/policies/baseline/retire", nil, nil).ok(200)
	if by := event.at("event", "by"); by.(map[string]any)["name"] != "anonymous" || by.(map[string]any)["method"] != "none" {
		t.Errorf("by %v", by)
	}
}

// withHost asks for the policies under another name of the server.
func (s *service) withHost(host string) int {
	s.t.Helper()
	req, err := http.NewRequest("GET", s.url+"/v1/policies", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// A credential is worth nothing while its person is suspended or has a disabled account: not for reading either, and what
// they try to change is a recorded denial (A4, E2).
func TestCredentialsOfThoseWhoMayActNoLonger(t *testing.T) {
	s := start(t)
	s.publish("all", `permit (principal, action, resource);`)
	ann := party("user:ann")
	tokens := map[aver.Role]string{}
	for _, role := range aver.Roles() {
		tokens[role] = s.admin("POST", "/v1/credentials", map[string]any{"name": "ann-" + string(role), "role": string(role), "subject": ann}).ok(201).at("token").(string)
	}
	s.admin("PUT", "/v1/identities/user/ann", map[string]any{"kind": "human_user"}).ok(201)
	uses := func(status int, says string) {
		t.Helper()
		for _, u := range []struct {
			role         aver.Role
			method, path string
			body         any
		}{
			{aver.RoleAdmin, "GET", "/v1/identities", nil}, {aver.RoleAuditor, "GET", "/v1/credentials", nil}, {aver.RoleAuditor, "GET", "/v1/decisions", nil},
			{aver.RoleApprover, "GET", "/v1/approvals", nil}, {aver.RolePEP, "POST", "/access/v1/evaluation", question("user:bob", "read", "doc:1")},
		} {
			x := s.request(u.method, u.path, u.body, bearer(tokens[u.role]))
			if x.status != status || !strings.Contains(string(x.body), says) {
				t.Errorf("%s %s: %d %s, want %d that says %q", u.method, u.path, x.status, x.body, status, says)
			}
		}
		s.request("GET", "/v1/withdrawals", nil, bearer(tokens[aver.RolePEP])).ok(200)
	}
	uses(200, "")
	s.admin("POST", "/v1/identities/user/ann/suspend", nil).ok(200)
	uses(403, "suspended")
	s.request("PUT", "/v1/entities/doc/1", map[string]any{}, bearer(tokens[aver.RoleAdmin])).problem(403, "denied", "suspended", "evaluation_id")
	s.admin("POST", "/v1/identities/user/ann/resume", nil).ok(200)
	uses(200, "")
	s.admin("POST", "/v1/signals", map[string]any{"event": "account-disabled", "about": ann}).ok(201)
	uses(403, "disabled")
}
