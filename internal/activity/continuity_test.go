package activity_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

const workPolicies = `
@id("staff") permit (principal in group::"staff", action, resource);
@id("agents") permit (principal is ai_agent, action, resource) when { context.aver.delegated };
@id("frozen") forbid (principal, action, resource) when { resource has frozen && resource.frozen };
@id("folder") forbid (principal, action, resource in folder::"closed");
@id("inactive") forbid (principal, action, resource)
when { context.aver.actor.expired || context.aver.actor.status == "suspended" || context.aver.actor.status == "retired" };
@id("signals") forbid (principal, action, resource)
when {
  context.aver has signals &&
  (context.aver.signals has account && context.aver.signals.account.status == "disabled" ||
   context.aver.signals has session ||
   context.aver.signals has device && context.aver.signals.device.status == "not-compliant" ||
   context.aver.signals has session_risk && context.aver.signals.session_risk.level == "HIGH")
};`

// brute decides again at every millisecond and after every event.
func brute(c *company, record *aver.Record, req *aver.Request, until aver.Time) (lapsed bool, at aver.Time, event *uint64) {
	q := pdp.NewQuery(req)
	used := pdp.Usage{}
	for _, n := range record.Decision.Counters {
		used[pdp.LimitKey{Grant: n.Grant, Name: n.Name}] = n.Before
	}
	allows := func(n int, t aver.Time) bool {
		d, _ := pdp.DecideInFlight(c.states[n], q, t, used)
		if !d.Outcome.Allowed() || len(d.Parts) != len(record.Decision.Parts) {
			return false
		}
		for i, p := range record.Decision.Parts {
			if p.Outcome.Allowed() && !d.Parts[i].Outcome.Allowed() {
				return false
			}
		}
		return true
	}
	n := int(record.Authority.Size)
	for t := record.Time; t <= until; t++ {
		if !allows(n, t) {
			return true, t, nil
		}
		for n < len(c.events) && c.events[n].Time <= t {
			n++
			if !allows(n, t) {
				index := uint64(n - 1)
				return true, t, &index
			}
		}
	}
	return false, 0, nil
}

// B5, G6: for random interleavings of grants, revocations, changes of identities,
// entities and policies, and signals, continuity is what deciding again at every millisecond
// and every event says.
func TestContinuityEqualsBruteForce(t *testing.T) {
	lapses := map[string]int{}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		c := newCompany(t)
		c.policies("work", workPolicies)
		strict := c.policies("extra", `@id("none") forbid (principal, action == Action::"x", resource);`)
		banned := c.policies("extra", `@id("read") forbid (principal, action == Action::"read", resource);`)
		c.must(aver.EventPolicyActivated, strict)
		oneOf := func(list ...string) string { return list[r.IntN(len(list))] }
		user := func() aver.Ref { return ref("user", oneOf("ann", "bo")) }
		agent := func() aver.Ref { return ref("ai_agent", oneOf("bot", "sub")) }
		expiry := func() aver.Time {
			if r.IntN(2) == 0 {
				return 0
			}
			return c.now + aver.Time(1+r.IntN(60))
		}
		identity := func(who aver.Ref) aver.Identity {
			i := aver.Identity{Ref: who, Kind: aver.AIAgent, Owner: "ops", Purpose: "work", Expires: expiry()}
			if who.Type == "user" {
				i.Kind = aver.HumanUser
				if r.IntN(5) > 0 {
					i.Parents = []aver.Ref{ref("group", oneOf("staff", "clerks"))}
				}
			}
			return i
		}
		for _, who := range []aver.Ref{ref("user", "ann"), ref("user", "bo"), ref("ai_agent", "bot"), ref("ai_agent", "sub")} {
			c.must(aver.EventIdentityRegistered, identity(who))
		}
		c.must(aver.EventEntityPut, aver.Entity{Ref: ref("group", "clerks"), Parents: []aver.Ref{ref("group", "staff")}})
		type grant struct{ id, parent string }
		var grants []grant
		issue := func() {
			g := aver.Grant{
				ID: fmt.Sprintf("g-%d", len(grants)), From: user(), To: agent(), Actions: []string{"*"},
				Resources: []aver.ResourceScope{{Type: "*"}}, Depth: 1, Expires: expiry(),
				InFlight: aver.InFlight(oneOf("", "fail", "allow_completion")),
			}
			if len(grants) > 0 && r.IntN(3) == 0 {
				parent, _ := c.st.Grant(grants[r.IntN(len(grants))].id)
				g.Parent, g.From, g.Depth, g.To = parent.ID, parent.To, 0, agent()
				g.Expires = parent.Expires
			}
			if r.IntN(4) == 0 {
				g.Limits = &aver.GrantLimits{Uses: 2}
			}
			if c.do(aver.EventGrantIssued, g) {
				grants = append(grants, grant{g.ID, g.Parent})
			}
		}
		type decided struct {
			record *aver.Record
			req    *aver.Request
		}
		var allowed []decided
		used := pdp.Usage{}
		for range 120 {
			c.now += aver.Time(r.IntN(4))
			switch r.IntN(16) {
			case 14, 15:
				c.do(aver.EventSignalReceived, randomSignal(r, c))
			case 0:
				issue()
			case 1:
				if len(grants) > 0 {
					c.do(aver.EventGrantRevoked, aver.GrantRef{ID: grants[r.IntN(len(grants))].id})
				}
			case 2:
				who := agent()
				if r.IntN(2) == 0 {
					who = user()
				}
				c.do(aver.EventType(oneOf("identity.suspended", "identity.resumed", "identity.resumed")), who)
			case 3:
				who := agent()
				if r.IntN(2) == 0 {
					who = user()
				}
				c.do(aver.EventIdentityUpdated, identity(who))
			case 4:
				c.do(aver.EventEntityPut, aver.Entity{
					Ref: ref("doc", oneOf("1", "2")), Properties: aver.Properties{"frozen": r.IntN(4) == 0},
					Parents: []aver.Ref{ref("folder", oneOf("open", "open", "inner"))},
				})
			case 5:
				c.do(aver.EventEntityRemoved, ref("doc", oneOf("1", "2")))
			case 6:
				parents := []aver.Ref{ref("folder", "open")}
				if r.IntN(3) == 0 {
					parents = []aver.Ref{ref("folder", "closed")}
				}
				c.do(aver.EventEntityPut, aver.Entity{Ref: ref("folder", "inner"), Parents: parents})
			case 7:
				if r.IntN(4) == 0 {
					c.do(aver.EventPolicyActivated, banned)
				} else {
					c.do(aver.EventPolicyActivated, strict)
				}
			default:
				who, chain := user(), ""
				if len(grants) > 0 && r.IntN(4) > 0 {
					g := grants[r.IntN(len(grants))]
					at, _ := c.st.Grant(g.id)
					who, chain = at.To, `"`+g.id+`"`
					for g.parent != "" {
						chain = `"` + g.parent + `",` + chain
						up, _ := c.st.Grant(g.parent)
						g.parent = up.Parent
					}
				}
				parts := ""
				if r.IntN(4) == 0 {
					parts = `,"parts":["a",{"id":"b","properties":{"frozen":` + oneOf("true", "false") + `}}]`
				}
				if r.IntN(2) == 0 {
					parts += `,"session":` + oneOf(`"s-1"`, `{"id":"s-1","issuer":"idp"}`, fmt.Sprintf(`{"id":"s-2","started":%q}`, c.now-aver.Time(r.IntN(9))))
				}
				if r.IntN(3) == 0 {
					parts += `,"device":` + oneOf(`"d-1"`, `{"id":"d-2"}`)
				}
				record, req := c.decide(fmt.Sprintf(
					`{"subject":{"type":%q,"id":%q},"action":{"name":%q},"resource":{"type":"doc","id":%q},"context":{"delegation":[%s]%s}}`,
					who.Type, who.ID, oneOf("read", "write"), oneOf("1", "2"), chain, parts), used)
				for _, n := range record.Decision.Counters {
					used[pdp.LimitKey{Grant: n.Grant, Name: n.Name}] = n.After
				}
				if record.Decision.Outcome.Allowed() {
					allowed = append(allowed, decided{record, req})
				}
			}
		}
		history := activity.NewHistory(c)
		for _, d := range allowed {
			until := d.record.Time + aver.Time(r.IntN(120))
			got, err := activity.Follow(history, d.record, d.req, nil, c.st.Size(), until)
			if err != nil {
				t.Fatal(err)
			}
			lapsed, at, event := brute(c, d.record, d.req, until)
			switch {
			case got.State == aver.ContinuityUnknown || lapsed != (got.State == aver.Lapsed) || lapsed != (got.Lapse != nil) || got.Until != until:
				t.Fatalf("seed %d: %+v; deciding at every moment says lapsed %v at %s\n%s", seed, got, lapsed, at, d.record.AppendCanonical(nil))
			case !lapsed:
				lapses["held"]++
				continue
			case got.Lapse.At != at || (event == nil) != (got.Lapse.Event == nil) || event != nil && *event != *got.Lapse.Event:
				t.Fatalf("seed %d: lapse %+v; deciding at every moment says at %s by event %v", seed, got.Lapse, at, event)
			case got.Lapse.RanOn != int64(until-at):
				t.Fatalf("seed %d: it ran on for %d ms, from %s to %s", seed, got.Lapse.RanOn, at, until)
			}
			lapses[string(got.Lapse.Cause)]++
			lapses[string(got.Lapse.Type)]++
		}
	}
	for _, some := range []string{"held", "event", "expiry", "grant.revoked", "identity.suspended", "identity.updated", "entity.put", "policy.activated", "signal.received"} {
		if lapses[some] == 0 {
			t.Errorf("no random authorization %s: %v", some, lapses)
		}
	}
	t.Log(lapses)
}

// randomSignal says something of somebody, a session or a device, perhaps late.
func randomSignal(r *rand.Rand, c *company) *aver.Signal {
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	report := []aver.SignalReport{
		{Event: one("account-disabled", "account-enabled", "account-enabled"), About: ref("user", one("ann", "bo"))},
		{Event: one("account-disabled", "account-enabled", "account-enabled"), About: ref("ai_agent", one("bot", "sub"))},
		{Event: "session-revoked", About: ref("session", one("s-1", "s-2", "s-3", "s-4")), Issuer: one("", "idp", "other")},
		{Event: one("session-revoked", "session-established", "session-established"), About: ref("user", one("ann", "bo"))},
		{Event: "device-compliance-change", About: ref("device", one("d-1", "d-2")), Details: map[string]any{"current_status": one("compliant", "not-compliant")}},
		{Event: "risk-level-change", About: ref("session", one("s-1", "s-2")), Issuer: one("", "idp"), Details: map[string]any{"current_level": one("LOW", "HIGH")}},
	}[r.IntN(6)]
	report.ID, report.At = fmt.Sprint(len(c.entries)), c.now-aver.Time(r.IntN(12))
	s, err := report.Signal(`credential::"admin"`, c.now)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// A policy that came later and reads what the record does not hold shows nothing,
// neither held nor lapsed; but a lapse that shows without it is one.
func TestContinuityUndetermined(t *testing.T) {
	c := newCompany(t)
	c.policies("work", `@id("all") permit (principal, action, resource);`)
	record, req := c.decide(`{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1","properties":{"secret":true}}}`, nil)
	c.now += 10
	c.policies("extra", `@id("secret") forbid (principal, action, resource) when { resource has secret };`)
	history := activity.NewHistory(c)
	got, err := activity.Follow(history, record, req, nil, c.st.Size(), c.now+5)
	if err != nil || got.State != aver.ContinuityUnknown || !slices.Equal(got.Missing, []string{"resource.secret"}) {
		t.Errorf("%+v, %v", got, err)
	}
	c.now += 10
	c.policies("extra", `@id("none") forbid (principal, action, resource);`)
	got, err = activity.Follow(history, record, req, nil, c.st.Size(), c.now+5)
	if err != nil || got.State != aver.Lapsed || got.Lapse.At != c.now || got.Lapse.Type != aver.EventPolicyActivated {
		t.Errorf("%+v, %v", got, err)
	}
	if before, err := activity.Follow(history, record, req, nil, c.st.Size(), record.Time+5); err != nil || before.State != aver.Held {
		t.Errorf("before all of that: %+v, %v", before, err)
	}
}

// A policy that reads the time can end an authorization without an event: it
// shows at the end.
func TestContinuityOverTime(t *testing.T) {
	c := newCompany(t)
	c.policies("work", fmt.Sprintf(`@id("early") permit (principal, action, resource) when { context.aver.now < datetime(%q) };`, (start+100).String()))
	record, req := c.decide(`{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`, nil)
	history := activity.NewHistory(c)
	for until, want := range map[aver.Time]aver.ContinuityState{start + 99: aver.Held, start + 100: aver.Lapsed} {
		got, err := activity.Follow(history, record, req, nil, c.st.Size(), until)
		if err != nil || got.State != want || want == aver.Lapsed && got.Lapse.Cause != aver.LapseTime {
			t.Errorf("until %s: %+v, %v", until, got, err)
		}
	}
}

// What lies far back is folded again, and gives the same.
func TestHistoryFarBack(t *testing.T) {
	c := newCompany(t)
	for i := range 9000 {
		c.must(aver.EventEntityPut, aver.Entity{Ref: ref("doc", fmt.Sprint(i%7)), Properties: aver.Properties{"n": int64(i)}})
	}
	history := activity.NewHistory(c)
	if _, _, err := history.Between(9000, 9000); err != nil {
		t.Fatal(err)
	}
	for _, span := range [][2]uint64{{0, 3}, {10, 9000}, {8990, 9000}, {9000, 9000}} {
		st, steps, err := history.Between(span[0], span[1])
		if err != nil || st.Size() != span[0] || uint64(len(steps)) != span[1]-span[0] {
			t.Fatalf("%v: state of %d events, %d steps, %v", span, st.Size(), len(steps), err)
		}
		for i, s := range steps {
			if s.Index != span[0]+uint64(i) || s.After.Size() != s.Index+1 || s.Event.ID != c.events[s.Index].ID {
				t.Fatalf("%v: step %d is %d", span, i, s.Index)
			}
		}
	}
	if _, _, err := history.Between(0, 9001); err == nil {
		t.Error("an event that is not there was read")
	}
}

// What an exception allowed ends with it: when its time is over, or when it is
// closed.
func TestContinuityOfAnException(t *testing.T) {
	for name, closed := range map[string]bool{"its time is over": false, "it is closed": true} {
		c := newCompany(t)
		b, err := policy.Load(map[string][]byte{
			"bundle.yaml": []byte("exceptions: [{kind: break_glass, max: 1h, approvers: [leads], reviewers: [leads], review_within: 24h}]\n"),
			"main.cedar":  []byte(`@id("none") permit (principal, action == Action::"none", resource);`),
		}, "work")
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for name, text := range b.Files() {
			files[name] = string(text)
		}
		c.must(aver.EventPolicyPublished, aver.PolicyPublished{Name: "work", Digest: b.Digest(), Files: files})
		c.must(aver.EventPolicyActivated, aver.PolicyRef{Name: "work", Digest: b.Digest()})
		for id, group := range map[string]string{"ann": "staff", "boss": "leads"} {
			c.must(aver.EventIdentityRegistered, aver.Identity{Ref: ref("user", id), Kind: aver.HumanUser, Parents: []aver.Ref{ref("group", group)}})
		}
		c.must(aver.EventExceptionRequested, aver.ExceptionRequest{
			ID: "x-1", Kind: aver.BreakGlass, Subject: ref("user", "ann"), Actions: []string{"read"}, Resources: []aver.ResourceScope{{Type: "doc"}},
			Justification: "a patient in danger", IdentityConfirmed: "in person", Approver: ref("user", "boss"), Duration: 600,
		})
		c.must(aver.EventExceptionActivated, aver.ExceptionRef{ID: "x-1"})
		record, req := c.decide(`{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`, nil)
		if !record.Decision.Outcome.Allowed() {
			t.Fatalf("%s: %+v", name, record.Decision)
		}
		want := aver.Lapse{At: start + 600_000, Cause: aver.LapseExpiry, Exception: "x-1", RanOn: 1000}
		if closed {
			c.now += 5000
			c.must(aver.EventExceptionClosed, aver.ExceptionRef{ID: "x-1"})
			want = aver.Lapse{At: c.now, Cause: aver.LapseEvent, Type: aver.EventExceptionClosed, RanOn: 596_000}
		}
		history := activity.NewHistory(c)
		if got, err := activity.Follow(history, record, req, nil, c.st.Size(), start+4999); err != nil || got.State != aver.Held {
			t.Errorf("%s: before: %+v, %v", name, got, err)
		}
		got, err := activity.Follow(history, record, req, nil, c.st.Size(), start+601_000)
		if err != nil || got.Lapse == nil {
			t.Fatalf("%s: %+v, %v", name, got, err)
		}
		if l := got.Lapse; l.At != want.At || l.Cause != want.Cause || l.Exception != want.Exception || l.Type != want.Type || l.RanOn != want.RanOn {
			t.Errorf("%s: lapse %+v, want %+v", name, l, want)
		}
	}
}
