package authority_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// start is the time of the first event of tests: 2026-01-02T03:04:05Z.
const start = aver.Time(1767323045000)

// change is an event in the making.
type change struct {
	typ  aver.EventType
	data any
}

// eventAt makes the event of a change that would be at that index. Everything in it follows from the index.
func eventAt(index uint64, c change) *aver.Event {
	e, err := aver.NewEvent(c.typ, c.data)
	if err != nil {
		panic(err)
	}
	e.ID = fmt.Sprintf("019b7cbb-0000-7000-8000-%012x", index)
	e.Time = start + aver.Time(index)*1000
	e.By = aver.By{Name: "root", Method: "bearer"}
	e.Reason = fmt.Sprintf("reason %d", index)
	e.Salt = "AAAAAAAAAAAAAAAAAAAAAA"
	return &e
}

// after folds changes one by one into a new state.
func after(t testing.TB, changes ...change) *authority.State {
	t.Helper()
	s := authority.New()
	for _, c := range changes {
		next, err := s.Apply(eventAt(s.Size(), c))
		if err != nil {
			t.Fatalf("event %d: %v", s.Size(), err)
		}
		s = next
	}
	return s
}

func events(list []*aver.Event) iter.Seq2[*aver.Event, error] {
	return func(yield func(*aver.Event, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func ref(s string) aver.Ref {
	typ, id, _ := strings.Cut(s, ":")
	return aver.Ref{Type: typ, ID: id}
}

func refs(list ...string) []aver.Ref {
	var out []aver.Ref
	for _, s := range list {
		out = append(out, ref(s))
	}
	return out
}

// bundle makes a bundle of one file.
func bundle(name, text string) aver.PolicyPublished {
	files := map[string]string{"main.cedar": text}
	b, err := policy.Load(map[string][]byte{"main.cedar": []byte(text)}, name)
	if err != nil {
		panic(err)
	}
	return aver.PolicyPublished{Name: name, Digest: b.Digest(), Files: files}
}

var (
	first  = bundle("payments", `permit (principal, action == Action::"read", resource);`)
	second = bundle("payments", `permit (principal, action == Action::"write", resource);`)
	other  = bundle("data", `forbid (principal, action, resource);`)
)

func publish(b aver.PolicyPublished) change  { return change{aver.EventPolicyPublished, b} }
func activate(b aver.PolicyPublished) change { return change{aver.EventPolicyActivated, policyRef(b)} }
func retire(b aver.PolicyPublished) change   { return change{aver.EventPolicyRetired, policyRef(b)} }

func policyRef(b aver.PolicyPublished) aver.PolicyRef {
	return aver.PolicyRef{Name: b.Name, Digest: b.Digest}
}

func user(id string, parents ...string) aver.Identity {
	return aver.Identity{Ref: aver.Ref{Type: "user", ID: id}, Kind: aver.HumanUser, Parents: refs(parents...)}
}

func register(i aver.Identity) change { return change{aver.EventIdentityRegistered, i} }
func update(i aver.Identity) change   { return change{aver.EventIdentityUpdated, i} }
func suspend(r string) change         { return change{aver.EventIdentitySuspended, ref(r)} }
func resume(r string) change          { return change{aver.EventIdentityResumed, ref(r)} }
func retireID(r string) change        { return change{aver.EventIdentityRetired, ref(r)} }
func remove(r string) change          { return change{aver.EventEntityRemoved, ref(r)} }

func put(r string, parents ...string) change {
	return change{aver.EventEntityPut, aver.Entity{Ref: ref(r), Parents: refs(parents...)}}
}

// grant makes a grant of reading one document for which nothing else is said; edit says more.
func grant(id, from, to string, edit ...func(*aver.Grant)) change {
	g := aver.Grant{
		ID: id, From: ref(from), To: ref(to),
		Actions: []string{"read"}, Resources: []aver.ResourceScope{{Type: "doc", ID: "1"}},
	}
	for _, f := range edit {
		f(&g)
	}
	return change{aver.EventGrantIssued, g}
}

func under(parent string) func(*aver.Grant) { return func(g *aver.Grant) { g.Parent = parent } }
func depth(n int) func(*aver.Grant)         { return func(g *aver.Grant) { g.Depth = n } }
func expires(t aver.Time) func(*aver.Grant) { return func(g *aver.Grant) { g.Expires = t } }
func condition(c string) func(*aver.Grant)  { return func(g *aver.Grant) { g.Condition = c } }
func revoke(id string) change               { return change{aver.EventGrantRevoked, aver.GrantRef{ID: id}} }

func credential(name string, role aver.Role, digest string) change {
	return change{aver.EventCredentialIssued, aver.Credential{Name: name, Role: role, Digest: digest}}
}

func revokeCredential(name string) change {
	return change{aver.EventCredentialRevoked, aver.CredentialRef{Name: name}}
}

func raw(typ aver.EventType, data string) change { return change{typ, json.RawMessage(data)} }

var digests = []string{aver.Digest([]byte("a")), aver.Digest([]byte("b")), strings.Repeat("0f", 32)}
