package pdp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// start is when the test states come to be.
const start = aver.Time(1_790_000_000_000) // 2026-09-21T14:13:20Z

// world builds a state event by event.
type world struct {
	t  testing.TB
	st *authority.State
}

func newWorld(t testing.TB, policies string) *world {
	w := &world{t: t, st: authority.New()}
	baseline := policy.Baseline()
	w.publish(baseline)
	if policies != "" {
		w.bundle("name: test\n", policies)
	}
	return w
}

// bundle publishes a bundle named test, with that configuration.
func (w *world) bundle(configuration, policies string) {
	w.t.Helper()
	b, err := policy.Load(map[string][]byte{"bundle.yaml": []byte(configuration), "main.cedar": []byte(policies)}, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(b)
}

func (w *world) do(typ aver.EventType, data any) {
	w.t.Helper()
	e, err := aver.NewEvent(typ, data)
	if err != nil {
		w.t.Fatal(err)
	}
	e.ID = fmt.Sprintf("019a0000-0000-7000-8000-%012d", w.st.Size())
	e.Time, e.By, e.Salt = start+aver.Time(w.st.Size()), aver.By{Name: "admin", Method: "bearer"}, strings.Repeat("A", 22)
	next, err := w.st.Apply(&e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.st = next
}

func (w *world) publish(b *policy.Bundle) {
	w.t.Helper()
	files := map[string]string{}
	for name, text := range b.Files() {
		files[name] = string(text)
	}
	w.do(aver.EventPolicyPublished, aver.PolicyPublished{Name: b.Name(), Digest: b.Digest(), Files: files})
	w.do(aver.EventPolicyActivated, aver.PolicyRef{Name: b.Name(), Digest: b.Digest()})
}

func (w *world) agent(id string, properties aver.Properties) {
	w.t.Helper()
	w.do(aver.EventIdentityRegistered, aver.Identity{
		Ref: aver.Ref{Type: "ai_agent", ID: id}, Kind: aver.AIAgent, Owner: "ops", Purpose: "pay", Properties: properties,
	})
}

func (w *world) grant(g aver.Grant) {
	w.t.Helper()
	if g.Actions == nil {
		g.Actions = []string{"pay"}
	}
	if g.Resources == nil {
		g.Resources = []aver.ResourceScope{{Type: "payment"}}
	}
	w.do(aver.EventGrantIssued, g)
}

func request(t testing.TB, text string) *aver.Request {
	t.Helper()
	v, err := aver.ParseJSON([]byte(text), aver.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := aver.ParseRequest(v)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) decide(text string) aver.Decision {
	w.t.Helper()
	d, _ := pdp.Decide(w.st, pdp.NewQuery(request(w.t, text)), start+10_000, nil)
	return d
}

func codes(reasons []aver.Reason) []aver.ReasonCode {
	var out []aver.ReasonCode
	for _, r := range reasons {
		out = append(out, r.Code)
	}
	return out
}

var (
	alice = aver.Ref{Type: "user", ID: "alice"}
	bot   = aver.Ref{Type: "ai_agent", ID: "bot"}
	sub   = aver.Ref{Type: "ai_agent", ID: "sub"}
)
