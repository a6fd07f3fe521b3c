package onepage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

// partner answers J4, about the identities that a name stands for.
func (r *reader) partner(ctx context.Context, page *Page, name string) error {
	theirs, whole := r.partiesOf(name), name == All
	mine := func(d *seen) bool {
		return whole || slices.ContainsFunc(d.parties(), func(p aver.Ref) bool { return theirs[p] })
	}
	t, err := r.count(ctx, mine)
	if err != nil {
		return err
	}
	if len(theirs) == 0 && t.decisions == 0 {
		return fmt.Errorf("%w: no identity, group or owner is called %s", ErrNotFound, name)
	}
	page.Title = "Partner " + name
	if whole {
		page.Title = "Everything, as for a regulator"
	}
	report, err := r.Gaps(ctx)
	if err != nil {
		return err
	}
	about := func(gap string) func(*aver.GapFinding) bool {
		return func(f *aver.GapFinding) bool {
			if gap != "" && f.Gap != gap {
				return false
			}
			return whole || theirs[f.Subject.Ref] || f.Subject.Kind == "grant" && r.isBetween(f.Subject.ID, theirs) || f.Subject.Kind == "exception" && t.exceptions[f.Subject.ID] > 0
		}
	}
	r.governed(page, theirs, whole, t, report, about("I1"))
	r.delegationControlled(page, theirs, whole, t, report, about("I3"))
	insideBounds(page, t, report, about("I2"))
	r.consistently(page, t)
	traceable(page, t, report, about("I4"))
	r.overseen(page, theirs, whole, report, about("I5"))
	return r.reconstructed(ctx, page, "J4", "Do their decisions come out the same again?", t, mine)
}

// partiesOf are the identities that a name stands for: the one of that name, the
// members of a group, or those of an owner.
func (r *reader) partiesOf(name string) map[aver.Ref]bool {
	out := map[aver.Ref]bool{}
	ref, isRef := parseRef(name)
	for _, i := range r.st.Identities() {
		switch {
		case name == All, isRef && i.Ref == ref, i.ID == name, i.Owner == name:
		case slices.ContainsFunc(i.Parents, func(p aver.Ref) bool {
			return isRef && p == ref || p == (aver.Ref{Type: "group", ID: name})
		}):
		default:
			continue
		}
		out[i.Ref] = true
	}
	if isRef {
		out[ref] = true
		if _, registered := r.st.Identity(ref); !registered && len(out) > 1 {
			delete(out, ref) // a group
		}
	}
	return out
}

func (r *reader) isBetween(grant string, parties map[aver.Ref]bool) bool {
	g, ok := r.st.Grant(grant)
	return ok && (parties[g.From] || parties[g.To])
}

// findings lists the open findings that a question is about, and says so.
func (q *Question) findings(report *aver.GapReport, about func(*aver.GapFinding) bool) int {
	open := 0
	for i := range report.Findings {
		f := &report.Findings[i]
		if !about(f) || f.State == aver.GapClosed {
			continue
		}
		if f.State == aver.GapOpen {
			open++
			q.wrong()
		}
		q.Points = append(q.Points, fmt.Sprintf("%s %s, %s: %s", f.Gap, f.Severity, f.State, f.Text))
		for _, d := range f.Evidence.Decisions {
			q.entry(d.Index, d.ID, "%s", f.Rule)
		}
		for _, e := range f.Evidence.Events {
			q.event(e, "%s", f.Rule)
		}
	}
	q.Points = few(q.Points)
	return open
}

// unknowns takes over what the rules of a gap can't tell.
func (q *Question) unknowns(report *aver.GapReport, gap string) {
	for _, u := range report.Unknown {
		if u.Gap == gap {
			q.unknown("%s", strings.TrimSuffix(u.Text, "."))
		}
	}
}

func (r *reader) governed(page *Page, theirs map[aver.Ref]bool, whole bool, t *tally, report *aver.GapReport, about func(*aver.GapFinding) bool) {
	q := page.ask("J4", "Are machine identities governed?")
	var machines, overdue, endless int
	for _, i := range r.st.Identities() {
		if !i.Kind.Machine() || !whole && !theirs[i.Ref] || i.Status == aver.Retired {
			continue
		}
		machines++
		q.event(i.Event, "%s, owner %s", i.Ref, i.Owner)
		if i.ReviewBy != 0 && i.ReviewBy <= r.Now {
			overdue++
			q.point("the review of %s was due %s", i.Ref, i.ReviewBy)
		}
		if i.Expires == 0 {
			endless++
		}
	}
	unregistered := 0
	for ref, a := range t.actors {
		if a.kind.Machine() && a.event == nil && (whole || theirs[ref]) {
			unregistered++
		}
	}
	q.say("%s registered, each with an owner and a purpose: without those none can be.", plural(uint64(machines), "machine identity is", "machine identities are"))
	if overdue > 0 {
		q.say("The review of %d is overdue.", overdue)
		q.wrong()
	}
	if unregistered > 0 {
		q.say("%d asked without being registered.", unregistered)
		q.wrong()
	}
	if endless > 0 {
		q.unknown("when the purpose of %d of them ends: no expiry is registered", endless)
	}
	q.findings(report, about)
	q.unknowns(report, "I1")
}

func (r *reader) delegationControlled(page *Page, theirs map[aver.Ref]bool, whole bool, t *tally, report *aver.GapReport, about func(*aver.GapFinding) bool) {
	q := page.ask("J4", "Is delegation controlled?")
	var standing, endless int
	for _, g := range r.st.Grants() {
		if !g.Stands(r.Now) || !whole && !theirs[g.From] && !theirs[g.To] {
			continue
		}
		standing++
		if g.Expires == 0 {
			endless++
		}
		q.Points = append(q.Points, r.grantText(g, t))
		q.event(g.Event, "grant %s, issued by %s", g.ID, g.By.Principal())
	}
	q.Points = few(q.Points)
	q.say("%s; along a chain authority only shrinks, and a grant that is wider than its parent can't be issued.", plural(uint64(standing), "grant stands", "grants stand"))
	if endless > 0 {
		q.say("%d of them have no end.", endless)
	}
	q.findings(report, about)
}

func insideBounds(page *Page, t *tally, report *aver.GapReport, about func(*aver.GapFinding) bool) {
	q := page.ask("J4", "Do agents stay inside their bounds?")
	if t.decisions == 0 {
		q.dontKnow("there is no decision by which that would show")
		return
	}
	agents, asked, allowed := 0, uint64(0), uint64(0)
	for _, ref := range t.busiest() {
		a := t.actors[ref]
		if a.kind != aver.AIAgent {
			continue
		}
		agents++
		asked, allowed = asked+a.asked, allowed+a.allowed
		q.entry(a.last.index, a.last.id, "%s", a.last.text)
	}
	if agents == 0 {
		q.say("No agent acts for them.")
		return
	}
	q.say("%s asked %s; %d allowed. What is not allowed is not released, and each request that goes beyond is a recorded denial.",
		plural(uint64(agents), "agent", "agents"), plural(asked, "time", "times"), allowed)
	if len(t.lapsed) > 0 {
		q.say("%d completed work after their authority had ended.", len(t.lapsed))
		q.wrong()
	}
	for _, e := range t.lapsed {
		q.entry(e.index, e.id, "%s", e.text)
	}
	if n := q.findings(report, about); n > 0 {
		q.say("More was granted than is used.")
	}
}

func (r *reader) consistently(page *Page, t *tally) {
	q := page.ask("J4", "Are policies enforced consistently?")
	if t.decisions == 0 {
		q.dontKnow("there is no decision by which that would show")
		return
	}
	q.say("%s by %s, by %s of the policies. Each record names the policies that were in force.", plural(t.decisions, "decision", "decisions"),
		plural(uint64(len(t.peps)), "enforcement point", "enforcement points"), plural(uint64(len(t.versions)), "version", "versions"))
	for _, name := range most(t.peps) {
		q.point("%s asked %s", name, plural(t.peps[name], "time", "times"))
	}
	q.Points = few(q.Points)
	q.unknown("what was done without asking: a log holds what reached it (aver activity reconcile finds numbers that never arrived)")
	q.entry(t.last.index, t.last.id, "the latest: %s", t.last.text)
	r.horizon(q)
}

func traceable(page *Page, t *tally, report *aver.GapReport, about func(*aver.GapFinding) bool) {
	q := page.ask("J4", "Are privileged actions traceable?")
	if t.decisions == 0 {
		q.dontKnow("there is no decision by which that would show")
		return
	}
	q.say("%s of high impact, each with who acted, for whom, by which grants and policies.", plural(t.impact, "permit", "permits"))
	for _, e := range t.impacts {
		q.entry(e.index, e.id, "%s", e.text)
	}
	q.findings(report, about)
	outcomesKnown(q, t)
	q.unknowns(report, "I4")
}

func (r *reader) overseen(page *Page, theirs map[aver.Ref]bool, whole bool, report *aver.GapReport, about func(*aver.GapFinding) bool) {
	q := page.ask("J4", "Are exceptions overseen?")
	counts := map[string]uint64{}
	var all uint64
	for _, x := range r.st.Exceptions() {
		if !whole && !theirs[x.Subject] {
			continue
		}
		all++
		state := x.State(r.Now)
		counts[state]++
		q.event(x.Event, "exception %s of %s, %s", x.ID, x.Subject, state)
		if state == "overdue" {
			q.wrong()
		}
	}
	if all == 0 {
		q.say("There was none.")
		return
	}
	var parts []string
	for _, state := range most(counts) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
	}
	q.say("%s: %s. Each has a time limit, a justification and an approver, and is reviewed by somebody independent.", plural(all, "exception", "exceptions"), strings.Join(parts, ", "))
	q.findings(report, about)
}
