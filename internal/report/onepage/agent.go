package onepage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
)

// agent answers J2.
func (r *reader) agent(ctx context.Context, page *Page, of string) error {
	ref, ok := parseRef(of)
	if !ok {
		return fmt.Errorf("%w: %.100q: name an identity as TYPE:ID, such as ai_agent:payments", ErrName, of)
	}
	mine := func(d *seen) bool { return d.Decision.Actor.Ref == ref }
	t, err := r.count(ctx, mine)
	if err != nil {
		return err
	}
	i, registered := r.st.Identity(ref)
	if !registered && t.decisions == 0 {
		return fmt.Errorf("%w: %s is not registered and never asked", ErrNotFound, ref)
	}
	page.Title = "Agent " + ref.String()
	r.whatItIs(page, ref, i, t)
	held := r.itsAuthority(page, ref, t)
	r.itsPolicies(page, t)
	r.itsReach(ctx, page, ref, i, held, t)
	itsDecisions(page, t)
	if err := r.reconstructed(ctx, page, "J2", "Can every significant decision be reconstructed independently?", t, mine); err != nil {
		return err
	}
	grants := map[string]bool{}
	for _, g := range held {
		grants[g.ID] = true
	}
	return r.control(ctx, page, "J2", "Which control gaps are open about it?", func(f *aver.GapFinding) bool {
		return f.Subject.Ref == ref || f.Subject.Kind == "grant" && grants[f.Subject.ID]
	})
}

func (r *reader) whatItIs(page *Page, ref aver.Ref, i *authority.Identity, t *tally) {
	q := page.ask("J2", "What is it, and who answers for it?")
	if i == nil {
		q.say("%s is not registered, so nobody answers for it.", ref)
		q.wrong()
		q.unknown("its owner, purpose and review")
		q.entry(t.last.index, t.last.id, "it asked: %s", t.last.text)
		return
	}
	q.say("%s is %s, and %s.", ref, kindText(i.Kind), i.Status)
	q.event(i.Registered.Event, "it was registered by %s", i.Registered.By.Principal())
	q.event(i.Event, "what last set it, by %s", i.By.Principal())
	if i.Owner != "" {
		q.say("%s answers for it.", i.Owner)
	} else {
		q.unknown("who answers for it")
	}
	if i.Purpose != "" {
		q.point("it is for: %s", i.Purpose)
	}
	switch {
	case i.Status != aver.Active:
		q.wrong()
	case i.Expires == 0:
		q.unknown("when its purpose ends: no expiry is registered")
	case i.Expires <= r.Now:
		q.say("Its purpose ended %s.", i.Expires)
		q.wrong()
	default:
		q.point("its purpose ends %s", i.Expires)
	}
	switch {
	case i.ReviewBy == 0:
		q.unknown("when it is to be reviewed next")
	case i.ReviewBy <= r.Now:
		q.say("Its review was due %s.", i.ReviewBy)
		q.wrong()
	default:
		q.point("its review is due %s", i.ReviewBy)
	}
	if v, ok := r.st.IdentityReview(ref); ok {
		q.event(v.Event, "its last review, by %s", v.By.Principal())
	}
}

// itsAuthority lists the grants that stand to somebody.
func (r *reader) itsAuthority(page *Page, ref aver.Ref, t *tally) []*authority.Grant {
	var held []*authority.Grant
	for _, g := range r.st.Grants() {
		if g.To == ref && g.Stands(r.Now) {
			held = append(held, g)
		}
	}
	q := page.ask("J2", "What authority does it hold, who granted it, and what constrains it?")
	if len(held) == 0 {
		q.say("It holds no grant: whatever it does, it does by the policies about itself.")
		return nil
	}
	q.say("%s to it.", plural(uint64(len(held)), "grant stands", "grants stand"))
	var points []string
	for _, g := range held {
		points = append(points, r.grantText(g, t))
		q.event(g.Event, "grant %s, issued by %s", g.ID, g.By.Principal())
		if problem := r.broken(g); problem != "" {
			points = append(points, problem)
			q.wrong()
		}
	}
	q.Points = few(points)
	return held
}

// grantText is a grant in a line.
func (r *reader) grantText(g *authority.Grant, t *tally) string {
	var scopes []string
	for _, s := range g.Resources {
		scopes = append(scopes, strings.TrimSpace(s.Type+" "+s.ID))
	}
	line := fmt.Sprintf("%s from %s to %s: %s on %s", g.ID, g.From, g.To, strings.Join(g.Actions, ", "), strings.Join(scopes, ", "))
	if g.Parent != "" {
		line += ", under " + g.Parent
	}
	if g.Condition != "" {
		line += ", if " + g.Condition
	}
	if g.Purpose != "" {
		line += ", for " + g.Purpose
	}
	if g.NotBefore > r.Now {
		line += ", from " + g.NotBefore.String()
	}
	if g.Expires != 0 {
		line += ", until " + g.Expires.String()
	} else {
		line += ", without an end"
	}
	if l := g.Limits; l != nil {
		if l.Uses != 0 {
			line += fmt.Sprintf(", %d of %d uses", t.used[pdp.LimitKey{Grant: g.ID, Name: "uses"}], l.Uses)
		}
		for _, sum := range l.Sums {
			line += fmt.Sprintf(", %s %d of %d", sum.Attribute, t.used[pdp.LimitKey{Grant: g.ID, Name: sum.Attribute}], sum.Max)
		}
	}
	line += fmt.Sprintf(", may be passed on %d times", g.Depth)
	revokers := []string{g.From.String()}
	for _, v := range g.Revokers {
		revokers = append(revokers, v.String())
	}
	return line + ", revocable by " + strings.Join(revokers, ", ") + " and administrators"
}

// broken says what is wrong above a grant.
func (r *reader) broken(g *authority.Grant) string {
	for above, ok := r.st.Grant(g.Parent); ok; above, ok = r.st.Grant(above.Parent) {
		if above.Revoked != nil {
			return fmt.Sprintf("%s is useless: %s above it was revoked", g.ID, above.ID)
		}
		if above.Expires != 0 && above.Expires <= r.Now {
			return fmt.Sprintf("%s is useless: %s above it expired", g.ID, above.ID)
		}
	}
	return ""
}

// itsPolicies lists the policies that decided.
func (r *reader) itsPolicies(page *Page, t *tally) {
	q := page.ask("J2", "Which policies constrain it?")
	r.policies(q, t)
}

func (r *reader) policies(q *Question, t *tally) {
	if t.decisions == 0 {
		q.dontKnow("there is no decision by which that would show")
		return
	}
	q.say("In %s, %s decided or demanded something.", plural(t.decisions, "decision", "decisions"), plural(uint64(len(t.policies)+len(t.gates)), "policy", "policies"))
	var points []string
	for _, id := range most(t.gates) {
		points = append(points, fmt.Sprintf("%s demanded something %s", id, plural(t.gates[id], "time", "times")))
	}
	for _, id := range most(t.policies) {
		points = append(points, fmt.Sprintf("%s decided %s", id, plural(t.policies[id], "time", "times")))
	}
	q.Points = few(points)
	bundles := map[string]bool{}
	for _, counts := range []map[string]uint64{t.policies, t.gates} {
		for id := range counts {
			name, _, _ := strings.Cut(id, "/")
			bundles[name] = true
		}
	}
	for _, v := range r.st.ActiveBundles() {
		if !bundles[v.Bundle.Name()] {
			continue
		}
		meta := v.Bundle.Meta()
		text := fmt.Sprintf("bundle %s, version %.12s, activated by %s", v.Bundle.Name(), v.Bundle.Digest(), v.History[len(v.History)-1].By.Principal())
		q.event(v.History[len(v.History)-1].Event, "%s", text)
		if meta.Owner == "" {
			q.unknown("who owns the bundle %s", v.Bundle.Name())
		}
		if due, err := time.Parse(time.DateOnly, meta.Review); err != nil {
			q.unknown("when the bundle %s is to be reviewed next", v.Bundle.Name())
		} else if aver.TimeOf(due) <= r.Now {
			q.Points = append(q.Points, fmt.Sprintf("the review of the bundle %s was due %s", v.Bundle.Name(), meta.Review))
			q.wrong()
		}
		if len(meta.Controls) > 0 {
			q.Points = append(q.Points, fmt.Sprintf("the bundle %s implements %s", v.Bundle.Name(), strings.Join(meta.Controls, ", ")))
		}
	}
	if len(t.versions) > 1 {
		q.say("The active policies changed meanwhile: %d versions decided.", len(t.versions))
	}
	r.horizon(q)
}

// Bounds of what is searched for the reach of an agent.
const (
	reachSearches = 3000
	reachResults  = 5 // resources of one action and type
	reachTime     = 3 * time.Second
)

// itsReach searches for what it could do now.
func (r *reader) itsReach(ctx context.Context, page *Page, ref aver.Ref, i *authority.Identity, held []*authority.Grant, t *tally) {
	q := page.ask("J2", "Which resources and tools can it reach?")
	switch {
	case i != nil && i.Tools != nil && len(*i.Tools) == 0:
		q.say("It may use no tool.")
	case i != nil && i.Tools != nil:
		q.say("It may use the tools %s.", strings.Join(*i.Tools, ", "))
		q.event(i.Event, "what is registered about it")
	case i != nil:
		q.say("No list of tools restricts it.")
	}
	if used := most(t.tools); len(used) > 0 {
		q.point("tools that it used: %s", strings.Join(few(used), ", "))
	}
	reached, complete := r.reach(ctx, ref, held, t)
	if len(reached) == 0 {
		q.say("Of what is registered it can reach nothing at the moment without more: no approval, no further proof, no attributes of a request.")
	} else {
		q.say("Of what is registered, and without an approval or further proof, it can at the moment:")
		q.Points = append(q.Points, few(reached)...)
	}
	if !complete {
		q.unknown("the rest of what it can reach: the search took too long")
	}
	q.unknown("resources that nobody registered, and requests with attributes that only a caller sends")
}

// reach searches under each grant, and as itself.
func (r *reader) reach(ctx context.Context, ref aver.Ref, held []*authority.Grant, t *tally) (out []string, complete bool) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	actions, types := r.st.Policies().Actions(), r.st.Types()
	searches := 0
	look := func(under string, context map[string]any, allowed func(action, typ string) bool) bool {
		for _, action := range actions {
			for _, typ := range types {
				if !allowed(action, typ) {
					continue
				}
				if searches++; searches > reachSearches || ctx.Err() != nil {
					return false
				}
				req := aver.Request{Subject: aver.Party{Ref: ref}, Action: aver.Action{Name: action}, Resource: aver.Party{Ref: aver.Ref{Type: typ}}, Context: context}
				found, err := pdp.SearchAt(ctx, r.st, pdp.Search{For: pdp.Resources, Request: &req, Limit: reachResults}, r.Now, t.used)
				if err != nil {
					return false
				}
				if len(found.IDs) > 0 {
					line := fmt.Sprintf("%s on %s %s%s", action, typ, strings.Join(found.IDs, ", "), under)
					if found.Next != nil {
						line += " and more"
					}
					out = append(out, line)
				}
			}
		}
		return true
	}
	complete = look("", nil, func(string, string) bool { return true })
	for _, g := range held {
		if g.NotBefore > r.Now {
			continue
		}
		for _, a := range g.Actions {
			if !strings.HasSuffix(a, "*") && !slices.Contains(actions, a) {
				actions = append(actions, a)
			}
		}
		complete = look(", by grant "+g.ID, r.chain(g), func(action, typ string) bool {
			return aver.Covers(g.Actions, action) && slices.ContainsFunc(g.Resources, func(s aver.ResourceScope) bool { return s.Type == "*" || s.Type == typ })
		}) && complete
	}
	return out, complete
}

// chain is the context of a request under a grant.
func (r *reader) chain(g *authority.Grant) map[string]any {
	ids, from := []any{g.ID}, g.From
	for above, ok := r.st.Grant(g.Parent); ok && len(ids) < aver.MaxChain; above, ok = r.st.Grant(above.Parent) {
		ids, from = append(ids, above.ID), above.From
	}
	slices.Reverse(ids)
	return map[string]any{"on_behalf_of": map[string]any{"type": from.Type, "id": from.ID}, "delegation": ids}
}

func itsDecisions(page *Page, t *tally) {
	q := page.ask("J2", "What did it do?")
	if t.decisions == 0 {
		q.say("Nothing that was recorded.")
		return
	}
	q.say("%s from %s to %s: %s.", plural(t.decisions, "decision", "decisions"), t.first.at, t.last.at, t.outcomesText())
	ids := most(grantUse(t))
	for _, id := range ids {
		q.point("%s by grant %s", plural(t.delegated[id].used, "use", "uses"), id)
	}
	q.Points = few(q.Points)
	outcomesKnown(q, t)
	for _, e := range t.impacts {
		q.entry(e.index, e.id, "%s", e.text)
	}
	q.entry(t.last.index, t.last.id, "the latest: %s", t.last.text)
}

func grantUse(t *tally) map[string]uint64 {
	out := map[string]uint64{}
	for id, use := range t.delegated {
		out[id] = use.used
	}
	return out
}

// outcomesKnown says of how many permits the end is known.
func outcomesKnown(q *Question, t *tally) {
	allowed := t.allowed()
	switch {
	case allowed == 0:
	case t.many:
		q.unknown("what became of all of its permits: there are too many to follow on one page")
	case t.ended < allowed:
		q.unknown("what became of %d of %s: no end was reported", allowed-t.ended, plural(allowed, "permit", "permits"))
	default:
		q.say("The end of each was reported.")
	}
	for _, code := range most(t.findings) {
		q.point("%s: %s", code, plural(t.findings[code], "time", "times"))
		q.wrong()
	}
	for _, e := range t.lapsed {
		q.entry(e.index, e.id, "%s", e.text)
		q.wrong()
	}
}
