package onepage

import (
	"context"
	"fmt"
	"strings"

	"github.com/aver-authz/aver"
)

// reconstructed answers whether the decisions of a page can be decided again.
func (r *reader) reconstructed(ctx context.Context, page *Page, id, question string, t *tally, of func(*seen) bool) error {
	q := page.ask(id, question)
	if t.decisions == 0 {
		q.dontKnow("there is no decision to decide again")
		return nil
	}
	s, err := r.again(ctx, of)
	if err != nil {
		return err
	}
	switch {
	case s.Mismatch > 0:
		q.say("%s decided again for this page, and %d came out otherwise.", plural(s.Decisions, "decision was", "decisions were"), s.Mismatch)
		q.wrong()
	case s.Undetermined > 0:
		q.say("%d of %s decided again for this page came out the same.", s.Match, plural(s.Decisions, "decision that was", "decisions that were"))
		q.unknown("how %d of them come out: something that deciding needs is not there", s.Undetermined)
	default:
		q.say("Yes: %s decided again for this page, from the logs alone, and every one came out the same.", plural(s.Decisions, "decision was", "decisions were"))
	}
	for _, p := range s.Problems {
		q.entry(p.Index, p.ID, "%s: %s", p.Verdict, strings.Join(append(p.Difference, p.Missing...), "; "))
	}
	q.point("each has its reasons, the policies with their versions, and the values that they saw: aver why %s", t.last.id)
	q.entry(t.last.index, t.last.id, "the latest: %s", t.last.text)
	q.point("an implementation that is not Aver's can decide them, too: docs/verifying.md")
	r.horizon(q)
	return nil
}

// horizon says what a page did not look at.
func (r *reader) horizon(q *Question) {
	if !r.read.Whole() {
		q.unknown("what came before entry %d: only the latest entries were looked at", r.read.From)
	}
	if r.read.Erased > 0 {
		q.unknown("what %s of the log held: the payloads are gone, and the leaves stand", plural(r.read.Erased, "entry", "entries"))
	}
}

// control tells which control gaps are open about some subjects.
func (r *reader) control(ctx context.Context, page *Page, id, question string, about func(*aver.GapFinding) bool) error {
	report, err := r.Gaps(ctx)
	if err != nil {
		return err
	}
	q := page.ask(id, question)
	var open, accepted int
	for i := range report.Findings {
		f := &report.Findings[i]
		if !about(f) || f.State == aver.GapClosed {
			continue
		}
		if f.State == aver.GapAccepted {
			accepted++
		} else {
			open++
			q.wrong()
		}
		q.Points = append(q.Points, fmt.Sprintf("%s %s, %s: %s (%s)", f.Gap, f.Severity, f.State, f.Text, f.ID))
		for _, d := range f.Evidence.Decisions {
			q.entry(d.Index, d.ID, "%s", f.Rule)
		}
		for _, a := range f.Evidence.Activities {
			q.entry(a.Index, a.ID, "%s", f.Rule)
		}
		for _, e := range f.Evidence.Events {
			q.event(e, "%s", f.Rule)
		}
	}
	q.Points = few(q.Points)
	if open+accepted == 0 {
		q.say("No control gap was found.")
	} else {
		q.say("%s open, %d accepted.", plural(uint64(open), "control gap is", "control gaps are"), accepted)
	}
	for _, u := range report.Unknown {
		q.unknown("%s", strings.TrimSuffix(strings.TrimSpace(u.Gap+" "+u.Rule+": "+u.Text), "."))
	}
	if q.Verdict == Partly && open+accepted == 0 {
		q.Answer = "Nothing was found, and not everything could be looked for."
	}
	return nil
}

// retained answers for how long records are kept.
func (r *reader) retained(page *Page) {
	q := page.ask("J3", "Are the records retained?")
	if r.read.Since != 0 {
		q.say("The log goes back to %s.", r.read.Since)
	}
	classes := r.st.RetentionClasses()
	inForce := 0
	for _, c := range classes {
		if c.InForce == nil {
			continue
		}
		inForce++
		period := "for ever"
		if c.InForce.Period > 0 {
			period = fmt.Sprintf("for %d days", c.InForce.Period/(24*60*60))
		}
		q.point("class %s: payloads are kept %s", c.Name, period)
		q.event(c.InForce.Event, "the rule of the class %s", c.Name)
	}
	if inForce == 0 {
		q.say("No rule lets anything expire: everything is kept.")
	}
	for _, h := range r.st.Holds() {
		if h.Released == nil {
			q.point("legal hold %s: %s", h.ID, h.Reason)
			q.event(h.Event, "the hold")
		}
	}
	q.say("Leaves are never deleted: that a record existed, and when, can always be proved.")
	r.horizon(q)
}
