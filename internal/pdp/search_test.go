package pdp_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// checkRapid runs a property on the same draws each time, and on others and more with AVER_LONG=1.
func checkRapid(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	settings := map[string]string{"rapid.nofailfile": "true", "rapid.seed": "20261124", "rapid.checks": "300"}
	if os.Getenv("AVER_LONG") == "1" {
		settings = map[string]string{"rapid.nofailfile": "true", "rapid.checks": "1500"}
	}
	for name, value := range settings {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := f.Value.Set(value); err != nil {
				t.Fatal(err)
			}
		}
	}
	rapid.Check(t, property)
}

// searchConditions speak of all that a search leaves open, in ways that hold, fail, and go wrong.
var searchConditions = []string{
	`resource has owner && resource.owner == principal`, `resource.owner == principal`, `principal == resource`,
	`principal in resource`, `resource in principal`, `resource in folder::"f1"`, `principal in team::"t1"`,
	`principal.team == resource.team`, `principal has team && principal.team in team::"t0"`, `resource.level < principal.level`,
	`resource.level + 1 > 2`, `context.aver.actor.machine`, `context.aver.origin == resource`, `context.aver.origin == user::"u1"`,
	`context.aver.chain.contains(resource)`, `context.aver.hops > 0`, `context.aver.acting_for`, `context.aver has tool`,
	`context.aver has tool && context.aver.tool == "s1"`, `resource has lead && resource.lead.level > 1`, `principal.lead.team == resource.team`,
	`principal.lead.secret`, `[principal, resource].contains(user::"u0")`, `{a: resource}.a has owner`, `context.aver == context`,
	`if resource has level then resource.level > 1 else principal.level > 1`, `context has amount && context.amount > 10`,
	`resource.level > 1 && false`, `false && resource.missing`, `resource.missing`, `true`, `false`, `action in Action::"all"`,
	`context.aver has signals.account && context.aver.signals.account.status == "disabled"`, `context.aver has signals.session`,
	`context.aver has signals && context.aver.signals has risk && context.aver.signals.risk.level == "HIGH"`, `context.aver.signals.login.at < context.aver.now`,
	`context.aver.action.name == "read"`, `resource is doc`, `principal is user in team::"t0"`, `resource.secret`,
}

func drawScope(t *rapid.T, variable string, types, refs []string) string {
	switch rapid.IntRange(0, 9).Draw(t, variable) {
	case 0:
		return variable + " == " + rapid.SampledFrom(refs).Draw(t, "ref")
	case 1:
		return variable + " in " + rapid.SampledFrom(refs).Draw(t, "ref")
	case 2:
		return variable + " is " + rapid.SampledFrom(types).Draw(t, "type")
	case 3:
		return variable + " is " + rapid.SampledFrom(types).Draw(t, "type") + " in " + rapid.SampledFrom(refs).Draw(t, "ref")
	}
	return variable
}

func drawSearchPolicies(t *rapid.T) string {
	var b strings.Builder
	users := []string{`user::"u0"`, `user::"u1"`, `team::"t0"`, `team::"t1"`, `ai_agent::"bot"`, `doc::"d0"`}
	docs := []string{`doc::"d0"`, `doc::"d1"`, `folder::"f0"`, `folder::"f1"`, `user::"u1"`, `tool::"s1"`}
	for i := range rapid.IntRange(2, 8).Draw(t, "policies") {
		gate, effect := "", rapid.SampledFrom([]string{"permit", "permit", "permit", "forbid", "gate"}).Draw(t, "effect")
		if effect == "gate" {
			effect = "forbid"
			gate = rapid.SampledFrom([]string{
				`@gate("challenge") @present("a badge") `, `@gate("escalate") @approvers("leads") `, `@gate("restrict") @obligation("redact") `,
			}).Draw(t, "gate")
		}
		action := rapid.SampledFrom([]string{`action`, `action == Action::"read"`, `action in Action::"all"`, `action in [Action::"read", Action::"write"]`}).Draw(t, "action")
		fmt.Fprintf(&b, "@id(\"p%d\") %s%s (%s, %s, %s)", i, gate, effect,
			drawScope(t, "principal", []string{"user", "ai_agent", "doc"}, users), action, drawScope(t, "resource", []string{"doc", "user", "tool"}, docs))
		for range rapid.IntRange(0, map[string]int{"permit": 1, "forbid": 2}[effect]).Draw(t, "conditions") {
			fmt.Fprintf(&b, " %s { %s }", rapid.SampledFrom([]string{"when", "when", "unless"}).Draw(t, "clause"), rapid.SampledFrom(searchConditions).Draw(t, "condition"))
		}
		b.WriteString(";\n")
	}
	return b.String()
}

func entityRef(typ, id string) map[string]any {
	return map[string]any{"__entity": map[string]any{"type": typ, "id": id}}
}

func drawProperties(t *rapid.T) aver.Properties {
	p := aver.Properties{}
	maybe := func(name string, values ...any) {
		if i := rapid.IntRange(0, len(values)).Draw(t, name); i > 0 {
			p[name] = values[i-1]
		}
	}
	maybe("owner", entityRef("user", "u0"), entityRef("user", "u1"), "u1")
	maybe("team", entityRef("team", "t0"), entityRef("team", "t1"))
	maybe("level", int64(1), int64(2), "high")
	maybe("lead", entityRef("user", "u1"), entityRef("doc", "d1"))
	maybe("secret", true, false)
	if len(p) == 0 {
		return nil
	}
	return p
}

// drawSearchWorld makes a small company in which much collides.
func drawSearchWorld(t *rapid.T, w *world) {
	ref := func(typ, id string) aver.Ref { return aver.Ref{Type: typ, ID: id} }
	parents := func(of ...aver.Ref) []aver.Ref {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 2, func(r aver.Ref) aver.Ref { return r }).Draw(t, "parents")
	}
	w.do(aver.EventEntityPut, aver.Entity{Ref: ref("team", "t1"), Parents: parents(ref("team", "t0"))})
	w.do(aver.EventEntityPut, aver.Entity{Ref: ref("folder", "f1"), Parents: parents(ref("folder", "f0"))})
	w.do(aver.EventEntityPut, aver.Entity{Ref: ref("Action", "read"), Parents: parents(ref("Action", "all"))})
	for i := range 4 {
		w.do(aver.EventIdentityRegistered, aver.Identity{
			Ref: ref("user", fmt.Sprintf("u%d", i)), Kind: aver.HumanUser, Properties: drawProperties(t),
			Parents: parents(ref("team", "t0"), ref("team", "t1"), ref("doc", "d0")),
		})
		w.do(aver.EventEntityPut, aver.Entity{
			Ref: ref("doc", fmt.Sprintf("d%d", i)), Properties: drawProperties(t), Parents: parents(ref("folder", "f0"), ref("folder", "f1")),
		})
	}
	w.do(aver.EventEntityPut, aver.Entity{Ref: ref("user", "robot"), Properties: drawProperties(t)})
	w.do(aver.EventEntityPut, aver.Entity{Ref: ref("tool", "s0")})
	w.do(aver.EventEntityPut, aver.Entity{Ref: ref("tool", "s1"), Properties: drawProperties(t)})
	tools := []string{"s1"}
	for _, id := range []string{"bot", "sub"} {
		w.do(aver.EventIdentityRegistered, aver.Identity{
			Ref: ref("ai_agent", id), Kind: aver.AIAgent, Owner: "ops", Purpose: "p", Properties: drawProperties(t), Parents: parents(ref("team", "t1")),
			Tools: map[bool]*[]string{true: &tools}[rapid.Bool().Draw(t, "tools")],
		})
	}
	if rapid.Bool().Draw(t, "suspended") {
		w.do(aver.EventIdentitySuspended, ref("user", "u2"))
	}
	for i, event := range rapid.SliceOfN(rapid.SampledFrom([]string{"account-disabled", "session-revoked", "session-established", "risk-level-change"}), 0, 4).Draw(t, "signals") {
		report := aver.SignalReport{
			ID: fmt.Sprint(i), Event: event, About: ref("user", fmt.Sprintf("u%d", rapid.IntRange(0, 3).Draw(t, "about"))), At: start + aver.Time(rapid.IntRange(1, 3).Draw(t, "at")),
		}
		if event == "risk-level-change" {
			report.Details = map[string]any{"current_level": "HIGH"}
		}
		if event == "session-revoked" && rapid.Bool().Draw(t, "one session") {
			report.About = ref("session", "s1")
		}
		signal, err := report.Signal(`credential::"admin"`, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.do(aver.EventSignalReceived, signal)
	}
	condition := rapid.SampledFrom([]string{"", "", "resource has owner", "principal.level < 2 || resource.level > 1", "resource.missing"}).Draw(t, "condition")
	g := aver.Grant{ID: "g1", From: ref("user", "u1"), To: ref("ai_agent", "bot"), Depth: 1, Condition: condition,
		Actions:   rapid.SampledFrom([][]string{{"*"}, {"read"}, {"re*"}}).Draw(t, "actions"),
		Resources: rapid.SampledFrom([][]aver.ResourceScope{{{Type: "*"}}, {{Type: "doc"}}, {{Type: "doc", ID: "d1"}, {Type: "user"}}}).Draw(t, "resources"),
	}
	if rapid.Bool().Draw(t, "limits") {
		g.Limits = &aver.GrantLimits{Sums: []aver.SumLimit{{Attribute: "resource.level", Max: 1}}}
	}
	w.do(aver.EventGrantIssued, g)
	w.do(aver.EventGrantIssued, aver.Grant{ID: "g2", From: ref("ai_agent", "bot"), To: ref("ai_agent", "sub"), Parent: "g1",
		Actions: g.Actions, Resources: g.Resources})
}

func drawSearch(t *rapid.T) pdp.Search {
	party := func(name string, refs ...aver.Ref) aver.Party {
		p := aver.Party{Ref: rapid.SampledFrom(refs).Draw(t, name)}
		if rapid.IntRange(0, 2).Draw(t, "claims") == 0 {
			p.Properties = drawProperties(t)
		}
		return p
	}
	req := &aver.Request{
		Subject: party("subject", aver.Ref{Type: "user", ID: "u0"}, aver.Ref{Type: "user", ID: "u1"}, aver.Ref{Type: "ai_agent", ID: "bot"},
			aver.Ref{Type: "ai_agent", ID: "sub"}, aver.Ref{Type: "doc", ID: "d0"}),
		Action:   aver.Action{Name: rapid.SampledFrom([]string{"read", "read", "write", "erase"}).Draw(t, "action")},
		Resource: party("resource", aver.Ref{Type: "doc", ID: "d0"}, aver.Ref{Type: "doc", ID: "d1"}, aver.Ref{Type: "user", ID: "u1"}, aver.Ref{Type: "tool", ID: "s1"}),
	}
	c := map[string]any{}
	switch rapid.IntRange(0, 6).Draw(t, "context") {
	case 0, 1:
		c["delegation"] = []any{"g1"}
	case 2:
		c["delegation"] = []any{"g1", "g2"}
		c["on_behalf_of"] = map[string]any{"type": "user", "id": "u1"}
	case 3:
		c["on_behalf_of"] = map[string]any{"type": "user", "id": "u1"}
	case 4:
		c["delegation"] = []any{"g2"}
	case 5:
		c["parts"] = []any{"a", map[string]any{"id": "b", "properties": map[string]any(drawProperties(t))}}
	}
	if rapid.Bool().Draw(t, "amount") {
		c["amount"] = int64(rapid.SampledFrom([]int{5, 50}).Draw(t, "size"))
	}
	if rapid.Bool().Draw(t, "obligations") {
		c["supported_obligations"] = []any{"redact"}
	}
	if rapid.IntRange(0, 5).Draw(t, "approval") == 0 {
		c["approval"] = map[string]any{"id": "none"}
	}
	switch rapid.IntRange(0, 5).Draw(t, "session") {
	case 0:
		c["session"] = "s1"
	case 1:
		c["session"] = map[string]any{"id": "s2", "started": (start + 2).String()}
	}
	if len(c) > 0 {
		req.Context = c
	}
	return pdp.Search{For: rapid.SampledFrom([]pdp.Searched{pdp.Subjects, pdp.Resources, pdp.Actions}).Draw(t, "for"), Request: req}
}

// bruteForce decides the request completed with every id and name there is.
func bruteForce(st *authority.State, s pdp.Search) []string {
	var candidates []string
	switch s.For {
	case pdp.Actions:
		candidates = []string{"all", "erase", "other", "read", "write"}
	default:
		typ := s.Request.Subject.Type
		if s.For == pdp.Resources {
			typ = s.Request.Resource.Type
		}
		for _, i := range st.Identities() {
			if i.Type == typ {
				candidates = append(candidates, i.ID)
			}
		}
		for _, e := range st.EntityFacts() {
			if e.Type == typ {
				candidates = append(candidates, e.ID)
			}
		}
		slices.Sort(candidates)
	}
	out := []string{}
	for _, id := range candidates {
		req := *s.Request
		switch s.For {
		case pdp.Subjects:
			req.Subject.ID = id
		case pdp.Resources:
			req.Resource.ID = id
		case pdp.Actions:
			req.Action = aver.Action{Name: id}
		}
		if d, _ := pdp.Decide(st, pdp.NewQuery(&req), start+10_000, nil); d.Outcome.Allowed() {
			out = append(out, id)
		}
	}
	return out
}

// Whatever the policies are, a search finds just what would be allowed, page by page, however large the pages are.
func TestSearchFindsWhatIsAllowed(t *testing.T) {
	found, passed := 0, 0
	checkRapid(t, func(rt *rapid.T) {
		b, err := policy.Load(map[string][]byte{"main.cedar": []byte(drawSearchPolicies(rt))}, "test")
		if err != nil {
			rt.Fatal(err)
		}
		w := newWorld(t, "")
		w.publish(b)
		drawSearchWorld(rt, w)
		for range 6 {
			s := drawSearch(rt)
			want := bruteForce(w.st, s)
			if s.For == pdp.Actions { // those that the world speaks of
				known := map[string]bool{"read": true}
				for _, a := range w.st.Policies().Actions() {
					known[a] = true
				}
				want = slices.DeleteFunc(want, func(a string) bool { return !known[a] })
			}
			s.Limit = rapid.IntRange(1, 4).Draw(rt, "limit")
			got := []string{}
			for {
				page, err := pdp.SearchPage(w.st, s, start+10_000)
				if err != nil {
					rt.Fatal(err)
				}
				if len(page.IDs) > s.Limit || len(page.IDs) == 0 && page.Next != nil {
					rt.Fatalf("a page of %d, with the limit %d", len(page.IDs), s.Limit)
				}
				got = append(got, page.IDs...)
				if s.From = page.Next; page.Next == nil {
					break
				}
			}
			if !slices.Equal(got, want) {
				rt.Fatalf("search %d of %s: %q; deciding each: %q", s.For, s.Request.AppendCanonical(nil), got, want)
			}
			found += len(got)
			passed += pdp.Sieved(w.st, s, start+10_000)
		}
	})
	if found == 0 || passed == 0 {
		t.Fatalf("the draws show nothing: %d found, %d sieved out", found, passed)
	}
	t.Logf("%d found, %d sieved out", found, passed)
}

func search(t testing.TB, w *world, of pdp.Searched, text string) *pdp.Found {
	t.Helper()
	found, err := pdp.SearchPage(w.st, pdp.Search{For: of, Request: request(t, text), Limit: 100}, start+10_000)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSearchRefusesWhatIsNotFullyIdentified(t *testing.T) {
	w := newWorld(t, "permit (principal, action, resource);")
	for name, c := range map[string]struct {
		of            pdp.Searched
		text, pointer string
	}{
		"subjects without a type":         {pdp.Subjects, `{"subject":{},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`, "/subject/type"},
		"subjects of a resource unnamed":  {pdp.Subjects, `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"doc"}}`, "/resource/id"},
		"subjects without an action":      {pdp.Subjects, `{"subject":{"type":"user"},"resource":{"type":"doc","id":"1"}}`, "/action/name"},
		"resources of a subject unnamed":  {pdp.Resources, `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"doc"}}`, "/subject/id"},
		"resources without a type":        {pdp.Resources, `{"subject":{"type":"user","id":"a"},"action":{"name":"read"}}`, "/resource/type"},
		"actions without a resource":      {pdp.Actions, `{"subject":{"type":"user","id":"a"}}`, "/resource/type"},
		"actions on a resource half said": {pdp.Actions, `{"subject":{"type":"user","id":"a"},"resource":{"type":"doc"}}`, "/resource/id"},
	} {
		_, err := pdp.SearchPage(w.st, pdp.Search{For: c.of, Request: request(t, c.text), Limit: 10}, start)
		var bad *aver.RequestError
		if !errors.As(err, &bad) || bad.Pointer != c.pointer {
			t.Errorf("%s: %v, want what is wrong with %s", name, err, c.pointer)
		}
	}
}

// What nobody has registered and the caller does not describe is unknown, even where a policy permits all.
func TestSearchOfTheUnknown(t *testing.T) {
	w := newWorld(t, "permit (principal, action, resource);")
	w.do(aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "doc", ID: "1"}})
	found := search(t, w, pdp.Resources, `{"subject":{"type":"user","id":"nobody"},"action":{"name":"read"},"resource":{"type":"doc"}}`)
	if len(found.IDs) != 0 || !slices.Equal(found.Unknown, []string{"subject"}) {
		t.Errorf("%+v", found)
	}
	found = search(t, w, pdp.Resources, `{"subject":{"type":"user","id":"guest","properties":{"badge":7}},"action":{"name":"read"},"resource":{"type":"doc"}}`)
	if !slices.Equal(found.IDs, []string{"1"}) || found.Unknown != nil {
		t.Errorf("%+v", found)
	}
	found = search(t, w, pdp.Resources, `{"subject":{"type":"doc","id":"1"},"action":{"name":"read"},"resource":{"type":"nothing"}}`)
	if len(found.IDs) != 0 || found.Unknown != nil {
		t.Errorf("%+v", found)
	}
}

// A search that takes too long returns what it has, and goes on from there.
func TestSearchStopsInTime(t *testing.T) {
	w := newWorld(t, "permit (principal, action, resource);")
	for i := range 300 {
		w.do(aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "doc", ID: fmt.Sprintf("%03d", i)}})
	}
	w.do(aver.EventIdentityRegistered, aver.Identity{Ref: alice, Kind: aver.HumanUser})
	s := pdp.Search{For: pdp.Resources, Limit: 1000, Request: request(t, `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"doc"}}`)}
	now := time.UnixMilli(int64(start))
	slow := func() time.Time { now = now.Add(3 * time.Second); return now }
	var all []string
	pages := 0
	for ; pages == 0 || s.From != nil; pages++ {
		found, err := pdp.SearchBy(t.Context(), w.st, s, start+10_000, slow)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found.IDs...)
		s.From = found.Next
	}
	if len(all) != 300 || pages < 3 || !slices.IsSorted(all) {
		t.Errorf("%d results on %d pages", len(all), pages)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pdp.SearchBy(ctx, w.st, s, start+10_000, time.Now); !errors.Is(err, context.Canceled) {
		t.Errorf("a search that nobody waits for: %v", err)
	}
}

// An exception allows its subject what the policies don't, and nobody else.
func TestSearchKnowsExceptions(t *testing.T) {
	w := newWorld(t, "")
	w.bundle("exceptions: [{kind: break_glass, max: 1h, approvers: [leads], reviewers: [leads], review_within: 24h}]\n", `@overridable("break_glass") forbid (principal, action, resource) when { resource has sealed && resource.sealed };`)
	for id, group := range map[string]string{"ann": "staff", "bob": "staff", "boss": "leads"} {
		w.do(aver.EventIdentityRegistered, aver.Identity{
			Ref: aver.Ref{Type: "user", ID: id}, Kind: aver.HumanUser, Parents: []aver.Ref{{Type: "group", ID: group}},
		})
	}
	for _, id := range []string{"1", "2"} {
		w.do(aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "doc", ID: id}, Properties: aver.Properties{"sealed": id == "2"}})
	}
	w.do(aver.EventExceptionRequested, aver.ExceptionRequest{
		ID: "x-1", Kind: aver.BreakGlass, Subject: aver.Ref{Type: "user", ID: "ann"}, Actions: []string{"read"}, Resources: []aver.ResourceScope{{Type: "doc"}},
		Justification: "a patient in danger", IdentityConfirmed: "in person", Approver: aver.Ref{Type: "user", ID: "boss"}, Duration: 3600,
	})
	w.do(aver.EventExceptionActivated, aver.ExceptionRef{ID: "x-1"})
	for _, c := range []struct {
		of   pdp.Searched
		text string
		want []string
	}{
		{pdp.Subjects, `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"doc","id":"2"}}`, []string{"ann"}},
		{pdp.Resources, `{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc"}}`, []string{"1", "2"}},
		{pdp.Resources, `{"subject":{"type":"user","id":"bob"},"action":{"name":"read"},"resource":{"type":"doc"}}`, []string{}},
	} {
		if got := search(t, w, c.of, c.text).IDs; !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

// Where what is asked for changes what is known, each must still be decided as it would be by itself.
func TestSearchWhereTheCandidateMattersElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		policy string
		of     pdp.Searched
		text   string
		want   []string
	}{
		"the subject leads to a candidate, of which the caller says something": {
			`permit (principal, action, resource) when { principal.lead.secret };`, pdp.Resources,
			`{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","properties":{"secret":true}}}`, []string{"d1"},
		},
		"the resource leads to a candidate, of which the caller says something": {
			`permit (principal, action, resource) when { resource.owner.secret };`, pdp.Subjects,
			`{"subject":{"type":"user","properties":{"secret":true}},"action":{"name":"read"},"resource":{"type":"doc","id":"d1"}}`, []string{"ann"},
		},
		"the subject is a candidate": {
			`permit (principal, action, resource) when { resource.secret };`, pdp.Resources,
			`{"subject":{"type":"user","id":"ann","properties":{"secret":true}},"action":{"name":"read"},"resource":{"type":"user"}}`, []string{"ann"},
		},
		"a candidate is a tool": {
			`permit (principal, action, resource) when { context.aver has tool && context.aver.tool == "s1" };`, pdp.Resources,
			`{"subject":{"type":"user","id":"ann"},"action":{"name":"use"},"resource":{"type":"tool"}}`, []string{"s1"},
		},
		"a delegator is a candidate": {
			`permit (principal, action, resource) when { principal has secret && principal.secret || principal is ai_agent };`, pdp.Resources,
			`{"subject":{"type":"ai_agent","id":"bot"},"action":{"name":"read"},"resource":{"type":"user","properties":{"secret":true}},"context":{"delegation":["g1"]}}`,
			[]string{"ann"},
		},
	} {
		w := newWorld(t, c.policy)
		for _, id := range []string{"ann", "bob"} {
			w.do(aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "user", ID: id}, Kind: aver.HumanUser,
				Properties: aver.Properties{"lead": entityRef("doc", "d1")}})
		}
		w.agent("bot", nil)
		w.grant(aver.Grant{ID: "g1", From: aver.Ref{Type: "user", ID: "ann"}, To: bot, Actions: []string{"*"}, Resources: []aver.ResourceScope{{Type: "*"}}})
		for _, r := range []aver.Ref{{Type: "doc", ID: "d0"}, {Type: "doc", ID: "d1"}, {Type: "tool", ID: "s0"}, {Type: "tool", ID: "s1"}} {
			w.do(aver.EventEntityPut, aver.Entity{Ref: r, Properties: aver.Properties{"owner": entityRef("user", "ann")}})
		}
		if got := search(t, w, c.of, c.text).IDs; !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		s := pdp.Search{For: c.of, Request: request(t, c.text)}
		if got := bruteForce(w.st, s); !slices.Equal(got, c.want) {
			t.Errorf("%s: deciding each gives %q, want %q", name, got, c.want)
		}
	}
}
