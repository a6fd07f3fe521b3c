package onepage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/why"
)

// decision answers J1.
func (r *reader) decision(ctx context.Context, page *Page, id string) error {
	index, err := pdp.Find(leaves{r.Decisions}, r.read.DecisionsSize, id)
	if errors.Is(err, pdp.ErrNotFound) {
		return fmt.Errorf("%w: decision %s", ErrNotFound, id)
	}
	if err != nil {
		return err
	}
	e, err := r.Decisions.Entry(index)
	if err != nil {
		return err
	}
	r.read.From = index
	page.Title = "Decision " + id
	if e.Erased {
		q := page.ask("J1", "What was decided?")
		q.dontKnow("The record's payload is gone; its leaf still stands in the log at entry %d.", index)
		if erased, ok := r.st.PayloadErased(index); ok {
			q.point("%s", erased.Why())
			q.event(erased.Event, "it was erased")
		}
		return nil
	}
	d, err := parse(index, e.Payload, e.Private)
	if err != nil {
		return err
	}
	disclosures, err := pdp.ParseDisclosures(e.Private)
	if err != nil {
		return err
	}
	st, err := replay.StateAt(r.Authority, d.Authority.Size)
	if err != nil {
		return err
	}
	x, err := why.Explain(st, d.Record, disclosures, why.Place{Origin: r.DecisionsOrigin, Index: index, LeafHash: tlog.RecordHash(e.Leaf).String()})
	if err != nil {
		return err
	}
	page.Title = x.Headline
	whoActed(page, d, x)
	delegatedBy(page, d, x)
	whichPolicies(page, x)
	whichContext(page, x)
	exceptedAndApproved(page, d, x)
	if err := r.stillAuthorized(ctx, page, d); err != nil {
		return err
	}
	r.reconstructable(page, d, x)
	return nil
}

// leaves reads the leaves of a log by its entries.
type leaves struct{ replay.Log }

func (l leaves) Leaf(i uint64) ([]byte, error) {
	e, err := l.Entry(i)
	return e.Leaf, err
}

func whoActed(page *Page, d *seen, x *why.Explanation) {
	q := page.ask("J1", "Who acted: a person, a workload, an API client or an agent?")
	actor := d.Decision.Actor
	q.say("%s: %s.", actor.Ref, kindText(actor.Kind))
	q.entry(d.index, d.ID, "the record of the decision")
	if actor.Event != nil {
		q.say("It was registered.")
		q.event(*actor.Event, "what is registered about %s", actor.Ref)
	} else {
		q.unknown("who answers for %s: it is not registered, and its kind is what the caller said", actor.Ref)
	}
	if x.Asked.For != nil {
		q.say("It acted for %s.", x.Asked.For.Ref)
	}
	q.point("asked by the enforcement point %s", d.PEP.Credential)
	if t := d.Token; t != nil && t.Fault == "" {
		q.point("its token of %s was verified %s (key %s)", t.Issuer, t.Verified, t.KeyID)
	} else {
		q.unknown("how the actor itself was authenticated: no verified token came with the request")
	}
}

func kindText(k aver.Kind) string {
	switch k {
	case aver.HumanUser:
		return "a person"
	case aver.ServiceAccount:
		return "a service account, no person"
	case aver.Application:
		return "an application, no person"
	case aver.Workload:
		return "a workload, no person"
	case aver.APIClient:
		return "an API client, no person"
	case aver.AIAgent:
		return "an AI agent, no person"
	}
	return "of a kind that nobody registered"
}

func delegatedBy(page *Page, d *seen, x *why.Explanation) {
	q := page.ask("J1", "Delegated by whom?")
	q.say("%s", x.Authority.Text)
	for _, hop := range x.Authority.Chain {
		if hop.From == nil || hop.Issued == nil {
			q.unknown("where grant %s comes from: it was never issued", hop.Grant)
			continue
		}
		line := fmt.Sprintf("%s: %s to %s, %s on %s", hop.Grant, hop.From.Ref, hop.To.Ref, strings.Join(hop.Actions, ", "), strings.Join(hop.Resources, ", "))
		if hop.Expires != 0 {
			line += ", until " + hop.Expires.String()
		}
		if hop.Purpose != "" {
			line += ", for " + hop.Purpose
		}
		q.point("%s", line)
		q.event(hop.Issued.Index, "grant %s, by %s", hop.Grant, hop.Issued.By)
		if hop.Revoked != nil {
			q.event(hop.Revoked.Index, "its revocation")
		}
		q.Points = append(q.Points, hop.Problems...)
	}
	if len(x.Authority.Chain) == 0 && d.Decision.Actor.Kind == aver.AIAgent && d.Decision.Outcome.Allowed() {
		q.wrong()
		q.point("an agent was allowed to act without a chain")
	}
	q.entry(d.index, d.ID, "the record names the chain")
}

func whichPolicies(page *Page, x *why.Explanation) {
	q := page.ask("J1", "By which policies?")
	q.say("%s %s", x.Meaning, strings.Join(x.Reasons, " "))
	for _, p := range x.Policies {
		line := fmt.Sprintf("%s (%s)", p.ID, p.Role)
		if v := p.Version; v != nil {
			line += fmt.Sprintf(", version %.12s of %s", v.Digest, v.Bundle)
			if v.Owner != "" {
				line += ", owner " + v.Owner
			}
			if v.Activated != nil {
				q.event(v.Activated.Index, "%s activated by %s", v.Bundle, v.Activated.By)
			}
			if v.Published != nil {
				q.event(v.Published.Index, "%s written by %s", v.Bundle, v.Published.By)
			}
			if v.Overdue {
				line += ", whose review was overdue"
				q.wrong()
			}
			if v.Review == "" {
				q.unknown("when %s is to be reviewed next: its bundle does not say", v.Bundle)
			}
		}
		q.Points = append(q.Points, line)
	}
	slices.Sort(q.Unknown)
	q.Unknown = slices.Compact(q.Unknown)
	q.Points = few(q.Points)
	if len(x.Policies) == 0 {
		q.say("No policy permits it, and so it is denied.")
	}
}

func whichContext(page *Page, x *why.Explanation) {
	q := page.ask("J1", "Which context mattered?")
	if len(x.Values) == 0 {
		q.say("None: the policies looked at no value.")
		return
	}
	q.say("The policies looked at %s.", plural(uint64(len(x.Values)), "value", "values"))
	var callers int
	for _, v := range x.Values {
		value := v.Value
		switch {
		case v.Absent:
			value = "absent"
		case v.Withheld:
			value = "withheld"
		}
		q.Points = append(q.Points, fmt.Sprintf("%s: %s (%s)", v.Path, value, v.Text))
		if v.VouchedBy == why.ByCaller {
			callers++
		}
		if v.Event != nil {
			q.event(v.Event.Index, "%s", v.Path)
		}
	}
	q.Points = few(q.Points)
	if callers > 0 {
		q.say("For %d of them nobody vouches but the enforcement point that asked.", callers)
	}
	for _, w := range x.Withheld {
		q.unknown("the value at %s: it is withheld or erased", w)
	}
}

func exceptedAndApproved(page *Page, d *seen, x *why.Explanation) {
	q := page.ask("J1", "Was an approval or an exception needed, and whose was it?")
	asked := false
	if a := x.Approval; a != nil {
		asked = true
		q.say("The request cited approval %s.", a.ID)
		if a.Requested != nil {
			q.event(a.Requested.Index, "the approval was asked for by %s", a.Requested.By)
		}
		for _, v := range a.Votes {
			verb := "approved"
			if v.Refused {
				verb = "refused"
			}
			q.point("%s by %s", verb, v.Approver.Ref)
			if v.In != nil {
				q.event(v.In.Index, "%s %s", v.Approver.Ref, verb)
			}
		}
	}
	for _, e := range x.Exceptions {
		if !e.Applied {
			continue
		}
		asked = true
		q.say("Exception %s let it through where the policies do not.", e.ID)
		if e.Activated != nil {
			q.event(e.Activated.Index, "exception %s was activated by %s", e.ID, e.Activated.By)
		}
		if e.Approved != nil {
			q.event(e.Approved.Index, "it was approved by %s", e.Approved.By)
		} else {
			q.point("it was used before it was approved")
		}
	}
	for _, need := range x.Needed {
		asked = true
		q.point("%s", need)
	}
	if !asked {
		q.say("No: neither was needed.")
	} else if q.Answer == "" {
		q.say("Yes, and it is not there.")
	}
	q.entry(d.index, d.ID, "the record says what was still to be met")
}

// activitiesLookedAt bounds the entries after a decision that are looked at for
// its activities.
const activitiesLookedAt = 1_000_000

// stillAuthorized looks for the activities of the decision among what came after.
func (r *reader) stillAuthorized(ctx context.Context, page *Page, d *seen) error {
	q := page.ask("J1", "What became of it, and was it still authorized at completion?")
	if !d.Decision.Outcome.Allowed() {
		q.say("Nothing was allowed, so there is nothing to complete.")
	}
	end := min(r.read.DecisionsSize, d.index+1+activitiesLookedAt)
	reported := false
	for e, err := range r.Decisions.Entries(d.index+1, end) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			return err
		}
		if leaf.Kind != aver.KindActivity || e.Erased {
			continue
		}
		a, err := aver.ParseActivity(e.Payload)
		if err != nil {
			return err
		}
		if a.EvaluationID != d.ID {
			continue
		}
		reported = true
		q.entry(e.Index, a.ID, "%s, as %s reported", a.Status, a.PEP.Credential)
		for _, f := range a.Findings {
			q.point("%s: %s %s", a.Status, f.Code, f.Detail)
			q.wrong()
		}
		if c := a.Continuity; c != nil && a.Status.Ends() {
			switch c.State {
			case aver.Held:
				q.say("It was %s %s, and was authorized until then.", a.Status, a.Happened())
			case aver.Lapsed:
				q.say("It was %s %s, and its authority had ended %s.", a.Status, a.Happened(), c.Lapse.At)
				if a.Status == aver.ActivityCompleted {
					q.wrong()
				}
				if c.Lapse.Event != nil {
					q.event(*c.Lapse.Event, "%s, which ended it", c.Lapse.Type)
				}
			default:
				q.unknown("whether it was authorized until it was %s: %s", a.Status, strings.Join(c.Missing, ", "))
			}
		} else if a.Status.Ends() {
			q.say("It was %s %s.", a.Status, a.Happened())
		}
	}
	switch {
	case !reported && d.Decision.Outcome.Allowed():
		q.dontKnow("what became of it: no enforcement point reported an activity")
	case reported && q.Answer == "":
		q.say("It began, and no end was reported.")
		q.unknown("whether it was completed")
	}
	if end < r.read.DecisionsSize {
		q.unknown("what was reported later than entry %d", end)
	}
	return nil
}

func (r *reader) reconstructable(page *Page, d *seen, x *why.Explanation) {
	q := page.ask("J1", "Can it be reconstructed today?")
	switch x.Again.Verdict {
	case "match":
		q.say("Yes. It was decided again for this page, from the record and the first %d events of the authority log, and came out the same.", d.Authority.Size)
	case "mismatch":
		q.say("It was decided again, and came out otherwise: %s.", x.Again.Outcome)
		q.wrong()
	default:
		q.dontKnow("it can't be decided again: %s is missing", strings.Join(x.Again.Missing, ", "))
	}
	q.entry(d.index, d.ID, "leaf hash %s", x.Record.LeafHash)
	q.point("engine %s, semantics %s, policies %.12s", d.Engine, d.Semantics, d.Policies)
	q.point("somebody else checks it with: aver verify, aver replay, and docs/verifying.md")
}
