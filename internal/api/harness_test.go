package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/server"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// service is a real server on a data directory of its own, with a token for each role. Its logs lie in memory, unless it
// is started with onDisk. Every exchange with it is held to the OpenAPI document.
type service struct {
	t      testing.TB
	server *server.Server
	url    string
	tokens map[aver.Role]string
}

func onDisk(cfg *server.Config) { cfg.FS = nil }

func start(t testing.TB, change ...func(*server.Config)) *service {
	t.Helper()
	cfg := server.Config{DataDir: filepath.Join(t.TempDir(), "data"), Origin: "aver.test", FS: ledgertest.NewMem()}
	for _, f := range change {
		f(&cfg)
	}
	s, err := server.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		h.Close()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	token, err := os.ReadFile(s.Dir().AdminToken())
	if err != nil {
		t.Fatal(err)
	}
	svc := &service{t: t, server: s, url: h.URL, tokens: map[aver.Role]string{aver.RoleAdmin: strings.TrimSpace(string(token))}}
	if cfg.InsecureNoAuth {
		return svc
	}
	for _, role := range []aver.Role{aver.RolePEP, aver.RoleAuditor} {
		answer := svc.admin("POST", "/v1/credentials", map[string]any{"name": "the-" + string(role), "role": role}).ok(201)
		svc.tokens[role] = answer.at("token").(string)
	}
	return svc
}

// exchange is a request and what came back.
type exchange struct {
	t      testing.TB
	what   string // method and path
	status int
	header http.Header
	body   []byte
}

// request sends a request as it is. body is nil, a string, or marshalled as JSON.
func (s *service) request(method, path string, body any, header http.Header) *exchange {
	s.t.Helper()
	var content []byte
	switch b := body.(type) {
	case nil:
	case string:
		content = []byte(b)
	default:
		var err error
		if content, err = json.Marshal(b); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(content))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(req.Header, header)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	x := &exchange{t: s.t, what: method + " " + path, status: resp.StatusCode, header: resp.Header, body: answer}
	checkExchange(s.t, req, content, x)
	return x
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func (s *service) as(role aver.Role, method, path string, body any) *exchange {
	s.t.Helper()
	return s.request(method, path, body, bearer(s.tokens[role]))
}

func (s *service) admin(method, path string, body any) *exchange {
	s.t.Helper()
	return s.as(aver.RoleAdmin, method, path, body)
}

// recorded is how many entries the decision log has, of which setting up has left some: each change is decided, too.
func (s *service) recorded() int {
	s.t.Helper()
	return number(s.t, s.admin("GET", "/v1/log", nil).ok(200).at("decisions", "size"))
}

// text asks for text instead of JSON.
func (s *service) text(path string) string {
	s.t.Helper()
	header := bearer(s.tokens[aver.RoleAuditor])
	header.Set("Accept", "text/plain")
	x := s.request("GET", path, nil, header).ok(200)
	if ct := x.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain") {
		s.t.Fatalf("%s: content type %q", x.what, ct)
	}
	return string(x.body)
}

// ok fails the test unless the status is as wanted.
func (x *exchange) ok(status int) *exchange {
	x.t.Helper()
	if x.status != status {
		x.t.Fatalf("%s: status %d, want %d: %s", x.what, x.status, status, x.body)
	}
	return x
}

func (x *exchange) json() any {
	x.t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(x.body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		x.t.Fatalf("%s: %v in %s", x.what, err, x.body)
	}
	return v
}

// at returns the value at a path of member names in the answer, nil if there is none.
func (x *exchange) at(path ...string) any {
	x.t.Helper()
	v := x.json()
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

// into decodes the answer.
func (x *exchange) into(v any) {
	x.t.Helper()
	if err := json.Unmarshal(x.body, v); err != nil {
		x.t.Fatalf("%s: %v in %s", x.what, err, x.body)
	}
}

// problem fails the test unless the answer is an RFC 9457 problem of that type whose detail says all of that.
func (x *exchange) problem(status int, slug string, says ...string) {
	x.t.Helper()
	x.ok(status)
	if ct := x.header.Get("Content-Type"); ct != "application/problem+json" {
		x.t.Errorf("%s: content type %q", x.what, ct)
	}
	if typ := x.at("type"); typ != "urn:aver:problem:"+slug {
		x.t.Errorf("%s: type %v, want %s", x.what, typ, slug)
	}
	for _, s := range says {
		if !strings.Contains(string(x.body), s) {
			x.t.Errorf("%s: %s does not say %q", x.what, x.body, s)
		}
	}
}

// publish publishes and activates a bundle of one policy file.
func (s *service) publish(name, cedar string) {
	s.t.Helper()
	s.admin("POST", "/v1/policies", map[string]any{
		"name": name, "files": map[string]string{name + ".cedar": cedar}, "activate": true, "reason": "test",
	}).ok(201)
}

// publishDir publishes and activates the bundle in a folder.
func (s *service) publishDir(dir string) {
	s.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.admin("POST", "/v1/policies", map[string]any{"name": filepath.Base(dir), "files": files, "activate": true}).ok(201)
}

// evaluate asks for a decision as a PEP.
func (s *service) evaluate(body any) *exchange {
	s.t.Helper()
	return s.as(aver.RolePEP, "POST", "/access/v1/evaluation", body)
}

func (s *service) evaluations(body any) *exchange {
	s.t.Helper()
	return s.as(aver.RolePEP, "POST", "/access/v1/evaluations", body)
}

// question is a request in AuthZEN's form.
func question(subject, action, resource string) map[string]any {
	return map[string]any{
		"subject": party(subject), "action": map[string]any{"name": action}, "resource": party(resource),
	}
}

// party is "type:id" in AuthZEN's form.
func party(ref string) map[string]any {
	typ, id, _ := strings.Cut(ref, ":")
	return map[string]any{"type": typ, "id": id}
}

// decisionOf returns the boolean and the outcome of an answer, and fails the test if its context lacks what every
// answer has.
func decisionOf(t testing.TB, answer any) (bool, string) {
	t.Helper()
	a, _ := answer.(map[string]any)
	decision, ok := a["decision"].(bool)
	context, _ := a["context"].(map[string]any)
	receipt, _ := context["receipt"].(map[string]any)
	if !ok || context["evaluation_id"] == nil || receipt["origin"] == nil || receipt["index"] == nil || receipt["leaf_hash"] == nil {
		t.Fatalf("not a whole answer: %v", answer)
	}
	outcome, _ := context["outcome"].(string)
	if allowed := slices.Contains([]string{"permitted", "restricted", "partially_authorized"}, outcome); allowed != decision {
		t.Fatalf("decision %v with the outcome %q", decision, outcome)
	}
	return decision, outcome
}

// golden compares with a file of testdata, which -update rewrites.
func golden(t testing.TB, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}
