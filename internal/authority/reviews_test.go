package authority_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// campaign is a state to which people apply events, each with a credential of their own.
type campaign struct {
	t   testing.TB
	st  *authority.State
	now aver.Time
	log []*aver.Event
}

func revocableBy(g *aver.Grant) { g.Revokers = refs("user:rolf") }

// newCampaign has the agent bot of the team payments, to which ann has granted, a script of eve, and the people ann,
// eve, max (of payments), rita and rolf (of the reviewers).
func newCampaign(t testing.TB) *campaign {
	c := &campaign{t: t, st: authority.New(), now: start}
	root := func(ch change) { c.must("root", "setting up", "", ch.typ, ch.data) }
	for _, name := range []string{"ann", "eve"} {
		root(register(user(name)))
	}
	root(register(user("max", "group:payments")))
	root(register(user("rita", "group:reviewers")))
	root(register(user("rolf", "group:reviewers")))
	for _, name := range []string{"ann", "eve", "max", "rita", "rolf"} {
		who := ref("user:" + name)
		root(change{aver.EventCredentialIssued, aver.Credential{Name: name, Role: aver.RoleApprover, Digest: aver.Digest([]byte(name)), Subject: &who}})
	}
	root(register(aver.Identity{Ref: ref("ai_agent:bot"), Kind: aver.AIAgent, Owner: "payments", Purpose: "pay", ReviewBy: start + 1_000_000}))
	root(register(aver.Identity{Ref: ref("workload:script"), Kind: aver.Workload, Owner: "eve", Purpose: "copy"}))
	root(grant("g-bot", "user:ann", "ai_agent:bot", condition("context.amount < 100"), revocableBy, func(g *aver.Grant) {
		g.Limits = &aver.GrantLimits{Uses: 10}
	}))
	root(grant("g-old", "user:ann", "workload:script", expires(start+60_000)))
	root(grant("g-rita", "user:rita", "user:max"))
	root(grant("g-gone", "user:ann", "ai_agent:bot"))
	root(revoke("g-gone"))
	c.now = start + 100_000 // g-old has expired
	return c
}

func (c *campaign) try(who, reason, review string, typ aver.EventType, data any) error {
	c.t.Helper()
	e := eventAt(c.st.Size(), change{typ, data})
	e.Time, e.Reason, e.Review = max(c.now, c.st.Time()), reason, review
	e.By = aver.By{Name: who, Method: "bearer"}
	if who != "root" {
		e.By.Subject = ref("user:" + who)
	}
	next, err := c.st.Apply(e)
	if err == nil {
		c.st, c.log = next, append(c.log, e)
	}
	return err
}

func (c *campaign) must(who, reason, review string, typ aver.EventType, data any) {
	c.t.Helper()
	if err := c.try(who, reason, review, typ, data); err != nil {
		c.t.Fatal(err)
	}
}

func (c *campaign) refused(want string, who, reason, review string, typ aver.EventType, data any) {
	c.t.Helper()
	if err := c.try(who, reason, review, typ, data); err == nil || !strings.Contains(err.Error(), want) {
		c.t.Errorf("%s by %s: %v, want %q", typ, who, err, want)
	}
}

func everything(id string) aver.ReviewOpened {
	return aver.ReviewOpened{ID: id, Scope: aver.ReviewScope{Of: aver.ReviewAll}, Reviewers: refs("group:reviewers", "user:ann", "user:max"), Deadline: start + 1_000_000}
}

func (c *campaign) open(r aver.ReviewOpened) *authority.Review {
	c.t.Helper()
	if err := c.st.OpenReview(&r, c.now); err != nil {
		c.t.Fatal(err)
	}
	c.must("root", "half-year", "", aver.EventReviewOpened, r)
	got, _ := c.st.Review(r.ID)
	return got
}

// Rows of everything("r").
const (
	rowBot = iota + 1
	rowScript
	rowGrantBot
	rowGrantRita
)

func decide(row int, who string, d aver.ReviewDecision, edit ...func(*aver.ReviewDecided)) aver.ReviewDecided {
	out := aver.ReviewDecided{ID: "r", Row: row, Reviewer: ref("user:" + who), Decision: d}
	if d != aver.ReviewRevoke && row <= rowScript {
		out.Next = start + 9_000_000
	}
	if d == aver.ReviewModify {
		out.Change = "less"
	}
	for _, f := range edit {
		f(&out)
	}
	return out
}

// A4: a review fixes what it is about: what stands now, not what has ended.
func TestReviewFixesItsRows(t *testing.T) {
	c := newCampaign(t)
	r := c.open(everything("r"))
	var got []string
	for _, i := range r.Items {
		if i.Identity != nil {
			got = append(got, i.Identity.String())
			if known, _ := c.st.Identity(*i.Identity); known.Event != i.Event {
				t.Errorf("row %d: event %d", i.Row, i.Event)
			}
		} else {
			got = append(got, i.Grant)
		}
	}
	if want := []string{`ai_agent::"bot"`, `workload::"script"`, "g-bot", "g-rita"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	c.must("root", "", "", aver.EventIdentityRegistered, aver.Identity{Ref: ref("workload:new"), Kind: aver.Workload, Owner: "eve", Purpose: "p"})
	if later, _ := c.st.Review("r"); len(later.Items) != 4 || later.State(c.now) != "open" {
		t.Errorf("%+v", later)
	}
	for scope, want := range map[aver.ReviewScope]int{
		{Of: aver.ReviewOfOwner, Owner: "payments"}:                 2,
		{Of: aver.ReviewOfOwner, Owner: "eve"}:                      2, // two workloads; the grant has expired
		{Of: aver.ReviewOfIdentity, Identity: new(ref("user:ann"))}: 1,
	} {
		o := everything("s")
		o.Scope = scope
		if err := c.st.OpenReview(&o, c.now); err != nil || o.Rows != want {
			t.Errorf("%+v: %d rows, %v", scope, o.Rows, err)
		}
	}
}

func TestReviewsThatAreNotOpened(t *testing.T) {
	c := newCampaign(t)
	c.open(everything("r"))
	edit := func(f func(*aver.ReviewOpened)) aver.ReviewOpened {
		o := everything("s")
		if err := c.st.OpenReview(&o, c.now); err != nil {
			t.Fatal(err)
		}
		f(&o)
		return o
	}
	for want, o := range map[string]aver.ReviewOpened{
		"was already used":      edit(func(o *aver.ReviewOpened) { o.ID = "r" }),
		`is not "due"`:          edit(func(o *aver.ReviewOpened) { o.ID = "due" }),
		"is over":               edit(func(o *aver.ReviewOpened) { o.Deadline = c.now }),
		"the state after":       edit(func(o *aver.ReviewOpened) { o.Size-- }),
		"their digest is":       edit(func(o *aver.ReviewOpened) { o.Digest = aver.Digest(nil) }),
		"4 rows are in":         edit(func(o *aver.ReviewOpened) { o.Rows = 3 }),
		"people review":         edit(func(o *aver.ReviewOpened) { o.Reviewers = refs("ai_agent:bot") }),
		"from 1 to 100":         edit(func(o *aver.ReviewOpened) { o.Reviewers = nil }),
		"nothing to review":     edit(func(o *aver.ReviewOpened) { o.Scope = aver.ReviewScope{Of: aver.ReviewOfOwner, Owner: "nobody"} }),
		"scope: of \"some\" is": edit(func(o *aver.ReviewOpened) { o.Scope.Of = "some" }),
		"and nothing else has":  edit(func(o *aver.ReviewOpened) { o.Scope.Owner = "payments" }),
	} {
		c.refused(want, "root", "", "", aver.EventReviewOpened, o)
	}
}

// Reviewer independence, and everything else that a decision about a row is refused for.
func TestRowDecisionsThatAreRefused(t *testing.T) {
	c := newCampaign(t)
	c.open(everything("r"))
	c.must("rita", "it is needed", "", aver.EventReviewDecided, decide(rowScript, "rita", aver.ReviewKeep))
	for _, tt := range []struct {
		want, who, reason string
		data              aver.ReviewDecided
	}{
		{"has a stake in row 4, as user::\"rita\"", "rita", "why", decide(rowGrantRita, "rita", aver.ReviewKeep)}, // the grantor
		{"has a stake in row 4, as user::\"max\"", "max", "why", decide(rowGrantRita, "max", aver.ReviewKeep)},    // the grantee
		{"has a stake in row 3, as user::\"ann\"", "ann", "why", decide(rowGrantBot, "ann", aver.ReviewKeep)},     // the grantor
		{"has a stake in row 3, as group::\"payments\"", "max", "why", decide(rowGrantBot, "max", aver.ReviewKeep)},
		{"has a stake in row 1, as group::\"payments\"", "max", "why", decide(rowBot, "max", aver.ReviewKeep)}, // the owner
		{"is none of the reviewers", "eve", "why", decide(rowBot, "eve", aver.ReviewKeep)},
		{"has the rows 1 to 4, and not 5", "rita", "why", decide(5, "rita", aver.ReviewKeep)},
		{"has the rows 1 to 4, and not 0", "rita", "why", decide(0, "rita", aver.ReviewKeep)},
		{"row 2 was decided already", "rolf", "why", decide(rowScript, "rolf", aver.ReviewRevoke)},
		{"needs a reason", "rita", " ", decide(rowBot, "rita", aver.ReviewKeep)},
		{"there is no review", "rita", "why", decide(rowBot, "rita", aver.ReviewKeep, func(d *aver.ReviewDecided) { d.ID = "x" })},
		{"credential \"rolf\" is not that of user::\"rita\"", "rolf", "why", decide(rowBot, "rita", aver.ReviewKeep)},
		{"is not one of", "rita", "why", decide(rowBot, "rita", "maybe")},
		{"when is the identity next to be reviewed", "rita", "why", decide(rowBot, "rita", aver.ReviewKeep, func(d *aver.ReviewDecided) { d.Next = 0 })},
		{"only an identity that stays", "rita", "why", decide(rowGrantBot, "rita", aver.ReviewKeep, func(d *aver.ReviewDecided) { d.Next = start + 9e6 })},
		{"change:", "rita", "why", decide(rowBot, "rita", aver.ReviewModify, func(d *aver.ReviewDecided) { d.Change = "" })},
	} {
		c.refused(tt.want, tt.who, tt.reason, "", aver.EventReviewDecided, tt.data)
	}
	c.must("root", "", "", aver.EventIdentitySuspended, ref("user:rolf"))
	c.refused("not an active, registered human user", "rolf", "why", "", aver.EventReviewDecided, decide(rowBot, "rolf", aver.ReviewKeep))
	c.now = start + 1_000_000
	c.refused("the deadline of review", "rita", "why", "", aver.EventReviewDecided, decide(rowBot, "rita", aver.ReviewKeep))
}

// What a review decides is carried out by an event that names it, and by no other; only then it can be closed.
func TestReviewIsCarriedOutAcknowledgedAndClosed(t *testing.T) {
	c := newCampaign(t)
	c.open(everything("r"))
	c.refused("no row of review \"r\" was decided so", "root", "", "r", aver.EventGrantRevoked, aver.GrantRef{ID: "g-bot"})
	c.must("rita", "too wide", "", aver.EventReviewDecided, decide(rowGrantBot, "rita", aver.ReviewModify))
	c.must("rita", "unused", "", aver.EventReviewDecided, decide(rowScript, "rita", aver.ReviewRevoke))
	c.must("rita", "fine", "", aver.EventReviewDecided, decide(rowBot, "rita", aver.ReviewKeep))
	c.refused("1 rows are not decided yet", "rita", "done", "", aver.EventReviewClosed, aver.ReviewRef{ID: "r"})
	c.must("rolf", "leaves", "", aver.EventReviewDecided, decide(rowGrantRita, "rolf", aver.ReviewRevoke))
	c.refused("row 2 was decided \"revoke\", and that is not carried out", "rita", "done", "", aver.EventReviewClosed, aver.ReviewRef{ID: "r"})

	c.must("rita", "", "r", aver.EventIdentitySuspended, ref("workload:script"))
	c.refused("no row of review", "rita", "", "r", aver.EventIdentitySuspended, ref("ai_agent:bot"))
	wider := grant("g-new", "user:ann", "ai_agent:bot").data.(aver.Grant)
	c.refused("no row of review", "rita", "", "r", aver.EventGrantIssued, wider)
	for name, edit := range map[string]func(*aver.Grant){
		"more uses":         func(g *aver.Grant) { g.Limits = &aver.GrantLimits{Uses: 11} },
		"another condition": func(g *aver.Grant) { g.Condition = "true" },
		"more actions":      func(g *aver.Grant) { g.Actions = []string{"*"} },
		"more depth":        func(g *aver.Grant) { g.Depth = 1 },
		"somebody else":     func(g *aver.Grant) { g.To = ref("workload:script") },
		"another resource":  func(g *aver.Grant) { g.Resources[0].ID = "" },

		"a condition that is weaker behind":      func(g *aver.Grant) { g.Condition = "(context.amount < 100) && false || true" },
		"a condition that is weaker in brackets": func(g *aver.Grant) { g.Condition = "(context.amount < 100) && (false) || (true)" },
		"a condition behind a comment":           func(g *aver.Grant) { g.Condition = "(context.amount < 100) && (true) // )\n || (true)" },
		"another purpose":                        func(g *aver.Grant) { g.Purpose = "whatever" },
		"nobody to revoke it":                    func(g *aver.Grant) { g.Revokers = nil },
		"work that goes on":                      func(g *aver.Grant) { g.InFlight = aver.InFlightComplete },
	} {
		g := grant("g-new", "user:ann", "ai_agent:bot", condition("(context.amount < 100) && (context.day)"), revocableBy, edit).data.(aver.Grant)
		if g.Limits == nil {
			g.Limits = &aver.GrantLimits{Uses: 5}
		}
		if err := c.try("rita", "", "r", aver.EventGrantIssued, g); err == nil {
			t.Errorf("a grant with %s replaces", name)
		}
	}
	narrower := grant("g-new", "user:ann", "ai_agent:bot", condition("(context.amount < 100) && (context.day)"), revocableBy, func(g *aver.Grant) {
		g.Limits = &aver.GrantLimits{Uses: 5}
	}).data.(aver.Grant)
	c.must("rita", "", "r", aver.EventGrantIssued, narrower)
	again := narrower // limits that count would count anew
	again.ID = "g-again"
	c.refused("no row of review", "rita", "", "r", aver.EventGrantIssued, again)
	c.refused("row 3 was decided \"modify\"", "rita", "done", "", aver.EventReviewClosed, aver.ReviewRef{ID: "r"})
	c.must("rita", "", "r", aver.EventGrantRevoked, aver.GrantRef{ID: "g-bot"})
	c.must("rita", "", "", aver.EventGrantRevoked, aver.GrantRef{ID: "g-rita"}) // by itself: nothing is left to be carried out
	c.refused("carries out nothing that a review decides", "root", "", "r", aver.EventEntityPut, aver.Entity{Ref: ref("doc:1")})
	c.refused("there is no review \"x\"", "root", "", "x", aver.EventGrantRevoked, aver.GrantRef{ID: "g-new"})

	c.refused("row 1 is not for", "eve", "", "", aver.EventReviewAcknowledged, aver.ReviewAcknowledged{ID: "r", Owner: ref("user:eve"), Rows: []int{1}})
	c.refused("is not that of", "eve", "", "", aver.EventReviewAcknowledged, aver.ReviewAcknowledged{ID: "r", Owner: ref("user:max"), Rows: []int{1}})
	c.refused("stands twice", "max", "", "", aver.EventReviewAcknowledged, aver.ReviewAcknowledged{ID: "r", Owner: ref("user:max"), Rows: []int{1, 1}})
	c.must("max", "", "", aver.EventReviewAcknowledged, aver.ReviewAcknowledged{ID: "r", Owner: ref("user:max"), Rows: []int{1, 3, 4}})
	c.refused("was acknowledged already", "max", "", "", aver.EventReviewAcknowledged, aver.ReviewAcknowledged{ID: "r", Owner: ref("user:max"), Rows: []int{1}})
	c.must("rita", "", "", aver.EventReviewClosed, aver.ReviewRef{ID: "r"})
	c.refused("was closed already", "rita", "", "", aver.EventReviewClosed, aver.ReviewRef{ID: "r"})
	r, _ := c.st.Review("r")
	script, _ := r.Item(rowScript)
	if r.State(c.now) != "completed" || script.Remediated == nil || script.Remediated.By.Name != "rita" {
		t.Errorf("%s, %+v", r.State(c.now), script)
	}
	if throughSnapshot(t, c.st).Digest() != c.st.Digest() {
		t.Error("the snapshot reads back otherwise")
	}
}

// A review whose deadline has passed is overdue until it is closed, with a reason, as incomplete.
func TestOverdueReview(t *testing.T) {
	c := newCampaign(t)
	c.open(everything("r"))
	c.now = start + 1_000_000
	r, _ := c.st.Review("r")
	if r.State(c.now) != "overdue" || r.State(c.now-1) != "open" {
		t.Errorf("%s", r.State(c.now))
	}
	c.refused("closing an incomplete review needs a reason", "root", "", "", aver.EventReviewClosed, aver.ReviewRef{ID: "r"})
	c.must("root", "opened again as r2", "", aver.EventReviewClosed, aver.ReviewRef{ID: "r"})
	if r, _ = c.st.Review("r"); r.State(c.now) != "incomplete" || r.Closed.Undecided != 4 {
		t.Errorf("%s, %+v", r.State(c.now), r.Closed)
	}
	c.refused("was closed by event", "rita", "why", "", aver.EventReviewDecided, decide(rowBot, "rita", aver.ReviewKeep))
}

// Whatever people try in whatever order: nobody decides what they have a stake in, nothing is decided twice or late, what
// is carried out was decided so, what is closed is settled, and the events fold to the same state at once.
func TestReviewsUnderRandomUse(t *testing.T) {
	people := []string{"ann", "eve", "max", "rita", "rolf", "root"}
	rapid.Check(t, func(rt *rapid.T) {
		c := newCampaign(t)
		c.open(everything("r"))
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			who, row := rapid.SampledFrom(people).Draw(rt, "who"), rapid.IntRange(0, 5).Draw(rt, "row")
			before, _ := c.st.Review("r")
			now := c.now
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0, 1:
				d := decide(row, who, rapid.SampledFrom(aver.ReviewDecisions()).Draw(rt, "decision"))
				i, ok := before.Item(row)
				if c.try(who, "why", "", aver.EventReviewDecided, d) != nil {
					break
				}
				if !ok || i.Decided != nil || before.Closed != nil || now >= before.Deadline || slices.Contains(c.st.Parties(i), d.Reviewer) || who == "root" {
					rt.Fatalf("%s decided row %d: %+v", who, row, d)
				}
			case 2:
				revoked := rapid.SampledFrom([]string{"g-bot", "g-rita"}).Draw(rt, "grant")
				_ = c.try(who, "", rapid.SampledFrom([]string{"", "r"}).Draw(rt, "review"), aver.EventGrantRevoked, aver.GrantRef{ID: revoked})
			case 3:
				_ = c.try(who, "", "r", aver.EventIdentitySuspended, ref(rapid.SampledFrom([]string{"ai_agent:bot", "workload:script"}).Draw(rt, "identity")))
			case 4:
				_ = c.try(who, "", "", aver.EventReviewAcknowledged, aver.ReviewAcknowledged{ID: "r", Owner: ref("user:" + who), Rows: []int{row}})
			case 5:
				c.now += rapid.SampledFrom([]aver.Time{1000, 300_000}).Draw(rt, "time")
				_ = c.try(who, "over", "", aver.EventReviewClosed, aver.ReviewRef{ID: "r"})
			}
			r, _ := c.st.Review("r")
			for _, i := range r.Items {
				if i.Remediated != nil && (i.Decided == nil || i.Decided.Decision == aver.ReviewKeep) || i.Acknowledged != nil && i.Decided == nil {
					rt.Fatalf("row %d: %+v", i.Row, i)
				}
				if r.Closed != nil && !c.st.Settled(i, c.now) {
					rt.Fatalf("closed, and row %d is not settled", i.Row)
				}
			}
		}
		again, err := authority.Fold(authority.New(), events(c.log))
		if err != nil || again.Digest() != c.st.Digest() || throughSnapshot(rt, c.st).Digest() != c.st.Digest() {
			rt.Fatalf("the events fold otherwise: %v", err)
		}
	})
}

// E5, A4: the last review of a policy and of an identity, and when the next one is due.
func TestReviewsAreDue(t *testing.T) {
	c := newCampaign(t)
	dated := bundle("payments", "// reviewed yearly\n")
	c.must("ann", "", "", aver.EventPolicyPublished, dated)
	version := policyRef(dated)
	c.must("ann", "", "", aver.EventPolicyActivated, version)
	due := func() (out []string) {
		for _, d := range c.st.ReviewsDue(c.now, c.now+1_000_000) {
			what := d.Exception + d.Review
			if d.Identity != nil {
				what = d.Identity.ID
			} else if d.Policy != nil {
				what = d.Policy.Name
			}
			out = append(out, what+" "+d.State)
		}
		return out
	}
	want := func(list ...string) {
		t.Helper()
		if got := due(); !slices.Equal(got, list) {
			t.Errorf("due %q, want %q", got, list)
		}
	}
	want("bot due", "script unscheduled", "payments unscheduled")
	record := aver.ReviewRecorded{Policy: &version, Reviewer: ref("user:rita"), Verdict: aver.ReviewCurrent, Next: c.now + 500_000}
	own := record
	own.Reviewer = ref("user:ann")
	c.refused("published this version, so somebody else", "ann", "", "", aver.EventReviewRecorded, own)
	outdated := record
	outdated.Verdict = aver.ReviewOutdated
	c.refused("follow_up:", "rita", "", "", aver.EventReviewRecorded, outdated)
	past := record
	past.Next = c.now
	c.refused("is over", "rita", "", "", aver.EventReviewRecorded, past)
	c.must("rita", "", "", aver.EventReviewRecorded, record)
	want("payments due", "bot due", "script unscheduled")
	c.now += 500_000
	want("payments overdue", "bot due", "script unscheduled")

	bot := aver.ReviewRecorded{Identity: new(ref("ai_agent:bot")), Reviewer: ref("user:max"), Verdict: aver.ReviewCurrent, Next: start + 5_000_000}
	c.refused("has a stake in", "max", "", "", aver.EventReviewRecorded, bot)
	bot.Reviewer = ref("user:rita")
	c.must("rita", "", "", aver.EventReviewRecorded, bot)
	want("payments overdue", "script unscheduled") // the next review of the agent is far away
	c.must("root", "", "", aver.EventIdentityUpdated, aver.Identity{Ref: ref("ai_agent:bot"), Kind: aver.AIAgent, Owner: "payments", Purpose: "pay", ReviewBy: c.now})
	want("bot overdue", "payments overdue", "script unscheduled")
	if r, ok := c.st.PolicyReview(version.Name, version.Digest); !ok || r.Reviewer != ref("user:rita") {
		t.Errorf("%+v", r)
	}
	r := c.open(everything("r"))
	if r.Event == 0 {
		t.Fatal("no event")
	}
	c.must("rita", "fine", "", aver.EventReviewDecided, decide(rowScript, "rita", aver.ReviewKeep))
	if last, ok := c.st.IdentityReview(ref("workload:script")); !ok || last.Review != "r" || last.Next != start+9_000_000 {
		t.Errorf("%+v", last)
	}
	want("bot overdue", "payments overdue", "r due")
}
