package onepage

import (
	"context"
	"fmt"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/report/gaps"
)

// workflow answers J3.
func (r *reader) workflow(ctx context.Context, page *Page, name string) error {
	w := gaps.Workflow{Name: name, Actions: []string{name, name + ".*"}}
	defined := false
	for _, known := range r.Thresholds.Workflows {
		if known.Name == name {
			w, defined = known, true
		}
	}
	mine := func(d *seen) bool { return w.Has(d.req.Action.Name, d.Decision.Actor.Kind) }
	t, err := r.count(ctx, mine)
	if err != nil {
		return err
	}
	if t.decisions == 0 && !defined {
		return fmt.Errorf("%w: no decision is about %s.*, and the thresholds define no workflow %s", ErrNotFound, name, name)
	}
	page.Title = "Workflow " + name
	r.scopeOf(page, &w, defined, t)
	r.actors(page, t)
	r.delegations(page, t)
	q := page.ask("J3", "Which policies govern?")
	r.policies(q, t)
	if err := r.reconstructed(ctx, page, "J3", "Are its decisions explainable, and do they come out the same again?", t, mine); err != nil {
		return err
	}
	r.undisturbed(page, t)
	r.retained(page)
	return r.control(ctx, page, "J3", "Which control gaps are open about those who act in it?", func(f *aver.GapFinding) bool {
		if t.actors[f.Subject.Ref] != nil || t.delegated[f.Subject.ID] != nil && f.Subject.Kind == "grant" {
			return true
		}
		return f.Subject.Kind == "credential" && t.peps[f.Subject.ID] > 0 || f.Subject.Kind == "exception" && t.exceptions[f.Subject.ID] > 0
	})
}

func (r *reader) scopeOf(page *Page, w *gaps.Workflow, defined bool, t *tally) {
	q := page.ask("J3", "What belongs to it?")
	if defined {
		q.say("What the thresholds name for it.")
	} else {
		q.say("The actions that begin with its name: the thresholds define no workflow of this name.")
	}
	if len(w.Actions) > 0 {
		q.point("actions %s", strings.Join(w.Actions, ", "))
	}
	for _, k := range w.Kinds {
		q.point("whatever an actor of the kind %s does", k)
	}
	if t.decisions == 0 {
		q.say("No decision was about any of it.")
		r.horizon(q)
		return
	}
	q.say("%s from %s to %s: %s.", plural(t.decisions, "decision", "decisions"), t.first.at, t.last.at, t.outcomesText())
	q.entry(t.first.index, t.first.id, "the first")
	q.entry(t.last.index, t.last.id, "the latest")
	r.horizon(q)
}

// actors answers who acts with high impact, and who of them is no person.
func (r *reader) actors(page *Page, t *tally) {
	q := page.ask("J3", "Which identities act with high impact?")
	machines := page.ask("J3", "Which of them are not human?")
	if t.decisions == 0 {
		q.dontKnow("there is no decision by which that would show")
		machines.dontKnow("there is no decision by which that would show")
		return
	}
	q.say("%s allowed about something that matters: a privileged action, a duty that conflicts with another, or one with a gate, an approval or an exception.",
		plural(t.impact, "decision", "decisions"))
	var points, others []string
	unregistered, software := 0, 0
	for _, ref := range t.busiest() {
		a := t.actors[ref]
		line := fmt.Sprintf("%s, %s: %d of high impact, %d allowed, %d asked", ref, kindText(a.kind), a.impact, a.allowed, a.asked)
		points = append(points, line)
		if a.event == nil {
			unregistered++
		}
		if a.kind == aver.HumanUser {
			continue
		}
		software++
		owner := "nobody is registered as its owner"
		if i, ok := r.st.Identity(ref); ok {
			owner = "owner " + i.Owner
			machines.event(i.Event, "%s", ref)
		}
		others = append(others, fmt.Sprintf("%s, %s, %s", ref, kindText(a.kind), owner))
	}
	q.Points, machines.Points = few(points), few(others)
	for _, e := range t.impacts {
		q.entry(e.index, e.id, "%s", e.text)
	}
	machines.say("%d of %s.", software, plural(uint64(len(t.actors)), "identity", "identities"))
	if unregistered > 0 {
		machines.unknown("who answers for %s that nobody registered", plural(uint64(unregistered), "identity", "identities"))
	}
}

func (r *reader) delegations(page *Page, t *tally) {
	q := page.ask("J3", "Where is authority delegated?")
	if t.decisions == 0 {
		q.dontKnow("there is no decision by which that would show")
		return
	}
	if len(t.delegated) == 0 {
		q.say("Nowhere: nothing was allowed by a grant.")
		return
	}
	q.say("By %s.", plural(uint64(len(t.delegated)), "grant that was used", "grants that were used"))
	var points []string
	for _, id := range most(grantUse(t)) {
		use := t.delegated[id]
		g, ok := r.st.Grant(id)
		if !ok {
			points = append(points, id+": never issued")
			q.wrong()
			continue
		}
		state := "it stands"
		switch {
		case g.Revoked != nil:
			state = "it was revoked " + g.Revoked.Time.String()
		case g.Expires != 0 && g.Expires <= r.Now:
			state = "it expired " + g.Expires.String()
		}
		points = append(points, fmt.Sprintf("%s from %s to %s, %s; %s", id, g.From, g.To, plural(use.used, "use", "uses"), state))
		q.event(g.Event, "grant %s, issued by %s", id, g.By.Principal())
	}
	q.Points = few(points)
}

// undisturbed answers whether evidence can be had without disturbing the service.
func (r *reader) undisturbed(page *Page, t *tally) {
	q := page.ask("J3", "Can evidence be produced without disruption?")
	q.say("Yes: this page was made from the logs alone, of %d events and %d entries. Making it changed no decision and no policy.", r.read.AuthoritySize, r.read.DecisionsSize)
	q.point("both logs can be copied and checked elsewhere: aver verify, docs/verifying.md")
	q.point("the root of the authority log is %s, that of the decision log %s: compare them with what you hold", r.read.AuthorityRoot, r.read.DecisionsRoot)
	if t.decisions > 0 {
		q.entry(t.last.index, t.last.id, "the latest record that was read")
	}
}
