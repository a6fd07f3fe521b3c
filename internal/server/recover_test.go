package server_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/server"
	"github.com/aver-authz/aver/internal/verify"
)

func TestRecover(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cfg := server.Config{DataDir: dir}
	var none *datadir.NotInitializedError
	if _, err := server.Recover(t.Context(), cfg, "lost", false, false); !errors.As(err, &none) {
		t.Fatalf("where there is nothing: %v", err)
	}
	s := open(t, cfg)
	token := adminToken(t, dir)
	var locked *datadir.LockedError
	if _, err := server.Recover(t.Context(), cfg, "lost", false, false); !errors.As(err, &locked) {
		t.Errorf("beside a server: %v", err)
	}
	// From now on nobody but lena, who has a token of an issuer perhaps, changes entities; who may change policies is as it was.
	cedar := `permit (principal, action, resource) when { resource is Aver::Policy || resource is Aver::Credential };`
	publish := func(activate bool) {
		t.Helper()
		body := fmt.Sprintf(`{"name":"administration","files":{"a.cedar":%q},"activate":%v}`, cedar, activate)
		if w := do(s, token, "POST", "/v1/policies", body); w.Code != 201 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	publish(true)
	const entity = `{"properties":{"x":1}}`
	if w := do(s, token, "PUT", "/v1/entities/doc/1", entity); w.Code != 403 || !strings.Contains(w.Body.String(), `"evaluation_id":"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Recover(t.Context(), cfg, " ", false, false); err == nil {
		t.Error("without a reason")
	}
	done, err := server.Recover(t.Context(), cfg, "nobody can put entities, INC-9", false, false)
	if err != nil || !done.Activated || done.Token == "" {
		t.Fatalf("%+v, %v", done, err)
	}
	again, err := server.Recover(t.Context(), cfg, "once more", false, true)
	if err != nil || again.Activated || again.Token != "" || again.Events != done.Events {
		t.Errorf("a recovery of nothing: %+v, %v", again, err)
	}
	s = open(t, cfg)
	if w := do(s, done.Token, "PUT", "/v1/entities/doc/1", entity); w.Code != 201 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w := do(s, done.Token, "GET", fmt.Sprintf("/v1/events/%d", done.Events-1), "")
	for _, says := range []string{`"type":"credential.issued"`, `"method":"local"`, `"reason":"nobody can put entities, INC-9"`, `"role":"admin"`} {
		if !strings.Contains(w.Body.String(), says) {
			t.Errorf("the event does not say %s: %s", says, w.Body)
		}
	}
	if strings.Contains(w.Body.String(), done.Token) {
		t.Error("the event tells the token")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := verify.Run(t.Context(), verify.Options{Dir: dir}); err != nil || !r.OK {
		t.Errorf("%+v, %v", r, err)
	}
}

// Two administrators, over HTTP: one publishes, the other activates; the log holds both decisions.
func TestSeparationOfDuties(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, server.Config{DataDir: dir})
	first := adminToken(t, dir)
	issued := do(s, first, "POST", "/v1/credentials", `{"name":"lena","role":"admin","subject":{"type":"user","id":"lena"}}`)
	second := between(issued.Body.String(), `"token":"`, `"`)
	const bundle = `{"name":"p","files":{"p.cedar":"permit (principal, action, resource);"},"activate":true}`
	denied := do(s, first, "POST", "/v1/policies", bundle)
	if denied.Code != 403 || !strings.Contains(denied.Body.String(), "administration/author-does-not-activate") {
		t.Fatalf("%d %s", denied.Code, denied.Body)
	}
	id := between(denied.Body.String(), `"evaluation_id":"`, `"`)
	why := do(s, first, "GET", "/v1/decisions/"+id+"/why", "")
	for _, says := range []string{"policy.activate", "author-does-not-activate", `"verdict":"match"`, `"credential":"` + aver.Self + `"`} {
		if !strings.Contains(why.Body.String(), says) {
			t.Errorf("why does not say %s: %s", says, why.Body)
		}
	}
	digest := between(do(s, first, "GET", "/v1/policies/p", "").Body.String(), `"digest":"`, `"`)
	if w := do(s, second, "POST", "/v1/policies/p/activate", `{"digest":"`+digest+`"}`); w.Code != 200 || !strings.Contains(w.Body.String(), `"subject":{"id":"lena","type":"user"}`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// between is what stands between two texts.
func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	found, _, _ := strings.Cut(rest, after)
	return found
}
