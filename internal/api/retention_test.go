package api_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/server"
	"github.com/aver-authz/aver/internal/witness/witnesstest"
)

// keeping has two persons who may erase evidence together.
type keeping struct {
	*service
	people map[string]string // :: token
}

func startKeeping(t *testing.T) *keeping {
	k := &keeping{startDocs(t), map[string]string{}}
	for name, role := range map[string]string{"ann": "admin", "bo": "approver"} {
		k.people[name] = k.admin("POST", "/v1/credentials", map[string]any{"name": name, "role": role, "subject": party("user:" + name)}).ok(201).at("token").(string)
	}
	return k
}

func (k *keeping) person(name, method, path string, body any) *exchange {
	k.t.Helper()
	return k.request(method, path, body, bearer(k.people[name]))
}

// first is a member of the first item of a list.
func first(list any, path ...string) any {
	items, _ := list.([]any)
	if len(items) == 0 {
		return nil
	}
	v := items[0]
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// G7, D3: retention, holds and erasure over HTTP, each of two people, and what is answered about what is gone.
func TestRetentionOverHTTP(t *testing.T) {
	k := startKeeping(t)
	id := k.evaluate(question("user:ann", "read", "document:1")).ok(200).at("context", "evaluation_id").(string)
	rule := map[string]any{"period": 86400, "actions": []string{"read"}, "reason": "policy 7"}
	k.admin("PUT", "/v1/retention/reads", rule).problem(422, "refused", "is no person")
	k.person("bo", "PUT", "/v1/retention/reads", rule).problem(403, "forbidden", "")
	proposed := k.person("ann", "PUT", "/v1/retention/reads", rule).ok(200).at("index")
	k.person("ann", "POST", "/v1/retention/reads/approve", map[string]any{"proposed": proposed}).problem(409, "conflict", "somebody else has to approve it")
	k.person("bo", "POST", "/v1/retention/reads/approve", map[string]any{}).problem(400, "invalid-request", "is required")
	k.person("bo", "POST", "/v1/retention/reads/approve", map[string]any{"proposed": proposed}).ok(200)
	if got := first(k.person("bo", "GET", "/v1/retention", nil).ok(200).at("classes"), "in_force", "period"); number(t, got) != 86400 {
		t.Errorf("%v", got)
	}

	k.person("ann", "POST", "/v1/holds", map[string]any{"id": "h-1", "scope": map[string]any{"subject": party("user:ann")}, "reason": "case 7"}).ok(201)
	k.person("ann", "POST", "/v1/holds", map[string]any{"id": "h-1", "scope": map[string]any{}, "reason": "case 7"}).problem(409, "conflict", "already")
	k.person("ann", "POST", "/v1/erasures", map[string]any{"id": "e-1", "kind": "payloads", "scope": map[string]any{}, "reason": "x"}).problem(422, "refused", "it is empty")
	k.person("ann", "POST", "/v1/erasures", map[string]any{"id": "e-1", "kind": "payloads", "scope": map[string]any{"ids": []string{id}}, "reason": "sent by mistake"}).ok(201)
	k.person("ann", "POST", "/v1/erasures/e-1/approve", nil).problem(409, "conflict", "somebody else has to approve it")
	k.person("bo", "POST", "/v1/erasures/e-1/approve", nil).ok(200)
	if run := k.admin("POST", "/v1/retention/run", nil).ok(200); number(t, run.at("payloads")) != 0 {
		t.Errorf("what is held was erased: %s", run.body)
	}
	k.person("ann", "POST", "/v1/holds/h-1/release", map[string]any{"reason": "closed"}).ok(200)
	k.admin("POST", "/v1/retention/run", nil).ok(200)
	if got := first(k.person("bo", "GET", "/v1/erasures", nil).ok(200).at("erasures"), "state"); got != "completed" {
		t.Errorf("%v", got)
	}
	if got := first(k.person("bo", "GET", "/v1/holds", nil).ok(200).at("holds"), "state"); got != "released" {
		t.Errorf("%v", got)
	}
	erased := k.admin("GET", "/v1/erased", nil).ok(200)
	if number(t, first(erased.at("erased"), "count")) != 1 || first(erased.at("erased"), "erasure") != "e-1" || !strings.Contains(string(erased.body), `"completed"`) {
		t.Errorf("%s", erased.body)
	}

	e := k.admin("GET", "/v1/decisions/"+id, nil).ok(200)
	if e.at("payload") != nil || first(e.at("erased"), "erasure") != "e-1" || e.at("leaf", "id") != id {
		t.Errorf("%s", e.body)
	}
	k.admin("GET", "/v1/decisions/"+id+"/why", nil).problem(410, "erased", "its leaf and its proofs remain")
	k.admin("GET", "/v1/decisions/"+id+"/proof", nil).ok(200)
	if list := k.admin("GET", "/v1/decisions", nil).ok(200); !strings.Contains(string(list.body), `"payload":null`) {
		t.Errorf("%s", list.body)
	}
	k.person("ann", "POST", "/v1/holds/h-2/release", nil).problem(404, "not-found", "no hold")
	k.person("bo", "POST", "/v1/erasures/e-2/refuse", nil).problem(404, "not-found", "no erasure")
}

// G2: cosigned checkpoints are published, and entries can be proved in them.
func TestWitnessedProofs(t *testing.T) {
	var w *witnesstest.Witness
	s := startDocs(t, func(c *server.Config) {
		dir, err := datadir.Open(c.DataDir, c.Origin)
		if err != nil {
			t.Fatal(err)
		}
		_, authority := dir.AuthorityLog()
		_, decisions := dir.DecisionLog()
		w = witnesstest.New("w.example", authority.Verifier, decisions.Verifier)
		h := httptest.NewServer(w)
		t.Cleanup(h.Close)
		text := "witnesses: [{key: " + w.Key() + ", url: '" + h.URL + "'}]\n"
		if err := os.WriteFile(filepath.Join(c.DataDir, "witnesses.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
		c.WitnessEvery = 5 * time.Millisecond
	})
	id := s.evaluate(question("user:ann", "read", "document:1")).ok(200).at("context", "evaluation_id").(string)
	var proof *exchange
	// Witnesses are asked behind the commits, and nothing tells when they have cosigned.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		proof = s.admin("GET", "/v1/decisions/"+id+"/proof?witnessed=true", nil)
		if proof.status == 200 {
			break
		}
		proof.problem(404, "not-found", "try again")
		if time.Now().After(deadline) {
			t.Fatal("it is never witnessed")
		}
	}
	if !strings.Contains(proof.at("checkpoint").(string), "\n— w.example ") {
		t.Errorf("%s", proof.body)
	}
	s.admin("GET", "/v1/events/0/proof?witnessed=true", nil).ok(200)
	status := s.admin("GET", "/v1/log/witnesses", nil).ok(200)
	if first(status.at("decisions", "witnesses"), "name") != "w.example" || number(t, status.at("decisions", "size")) == 0 {
		t.Errorf("%s", status.body)
	}
	if got := s.admin("GET", "/v1/log", nil).ok(200).at("decisions", "witnessed").(string); !strings.Contains(got, "— w.example ") {
		t.Errorf("%s", got)
	}
}
