package pack

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/replay"
)

// What a frame was asked with is taken from the record and from the events that
// it cites, and compared where the pack says it, too: whoever makes a pack could
// have asked about something else, and got the answer that suits.

// compare asks every frame and gate of a record again, and returns how many.
func (a *again) compare(record *aver.Record, req *aver.Request) (int, error) {
	set, err := a.set(record)
	if err != nil {
		return 0, err
	}
	d := &record.Decision
	c := comparison{a: a, record: record, req: req, set: set, lines: a.frames[record.ID]}
	if len(d.Parts) == 0 {
		err = c.ruling("", &d.Ruling)
	}
	allowed, worst := 0, aver.Permitted
	for i := 0; i < len(d.Parts) && err == nil; i++ {
		p := &d.Parts[i]
		err = c.ruling(p.ID, &p.Ruling)
		if worst = min(worst, p.Outcome); p.Outcome.Allowed() {
			allowed++
		}
	}
	if 0 < allowed && allowed < len(d.Parts) {
		worst = aver.PartiallyAuthorized
	}
	switch {
	case err != nil:
		return c.n, err
	case c.n != len(c.lines):
		return c.n, errors.New("more was asked than the record has frames")
	case len(d.Parts) > 0 && d.Outcome != worst:
		return c.n, fmt.Errorf("its parts make it %s, and it is recorded as %s", worst, d.Outcome)
	}
	return c.n, nil
}

// comparison is one record that is compared with what was asked.
type comparison struct {
	a      *again
	record *aver.Record
	req    *aver.Request
	set    *policy.Set
	lines  []frameLine
	n      int // of lines, that were compared
}

// next is the next line, which must be about a frame of that name.
func (c *comparison) next(frame, part string) (*frameLine, error) {
	if c.n == len(c.lines) || c.lines[c.n].Frame != frame || c.lines[c.n].Part != part {
		return nil, fmt.Errorf("what was asked as %s is not here", frame)
	}
	c.n++
	return &c.lines[c.n-1], nil
}

// ruling compares the decision on one part of a request, or on the whole.
func (c *comparison) ruling(part string, r *aver.Ruling) error {
	exempt := slices.ContainsFunc(r.Reasons, func(x aver.Reason) bool { return x.Code == aver.ReasonException })
	stopped := len(r.Frames) == 0
	for _, f := range r.Frames {
		if err := c.frame(part, f); err != nil {
			return err
		}
		stopped = stopped || !f.Allowed && f.As != aver.FrameException && !(exempt && f.As == aver.FrameActor) // one exception that helps is enough
	}
	if stopped || !r.Outcome.Allowed() && !replay.Gated(*r) {
		if r.Outcome != aver.Denied {
			return fmt.Errorf("not every frame allows, and the outcome is %s", r.Outcome)
		}
		return nil
	}
	var matched, failed []string
	for _, f := range r.Frames {
		if f.As != aver.FrameActor && f.As != aver.FrameDelegator {
			continue
		}
		l, err := c.next("gates:"+string(f.As), part)
		if err != nil {
			return err
		}
		request, entities, err := c.asked(l, part, c.principal(f))
		if err != nil {
			return err
		}
		result := c.set.Gates(entities, request)
		matched = append(matched, ids(result.Reasons)...)
		for _, e := range result.Errors {
			failed = append(failed, e.Rule.ID)
		}
	}
	return settled(r, matched, failed)
}

// gateOutcome is what a gate that matches and is not met leaves of an outcome, by
// the reason that says so; an approval met it.
var gateOutcome = map[aver.ReasonCode]aver.Outcome{
	aver.ReasonUnsupported: aver.Denied, aver.ReasonChallenge: aver.Challenged, aver.ReasonEscalate: aver.Escalated,
	aver.ReasonRestrict: aver.Restricted, aver.ReasonApproved: aver.Permitted,
}

// settled compares a ruling with the gates that matched, and those that could not
// be evaluated. One of these denies, and then the others are not told.
func settled(r *aver.Ruling, matched, failed []string) error {
	outcome := aver.Permitted
	if len(failed) > 0 {
		outcome, matched = aver.Denied, nil
	}
	says := func(id string, is func(aver.ReasonCode) bool) bool {
		return slices.ContainsFunc(r.Reasons, func(x aver.Reason) bool { return x.Policy == id && is(x.Code) })
	}
	for _, id := range failed {
		if !says(id, func(code aver.ReasonCode) bool { return code == aver.ReasonPolicyError }) {
			return fmt.Errorf("the gate %s can't be evaluated, and the record does not say so", id)
		}
	}
	for _, id := range matched {
		if !says(id, func(code aver.ReasonCode) bool { _, ok := gateOutcome[code]; return ok }) {
			return fmt.Errorf("the gate %s matches, and the record does not say so", id)
		}
	}
	for _, x := range r.Reasons {
		least, ok := gateOutcome[x.Code]
		if ok && !slices.Contains(matched, x.Policy) {
			return fmt.Errorf("the gate %s does not match, and the record says so", x.Policy)
		}
		if ok {
			outcome = min(outcome, least)
		}
	}
	if r.Outcome != outcome {
		return fmt.Errorf("its frames and gates make it %s, and it is recorded as %s", outcome, r.Outcome)
	}
	return nil
}

// principal is as whom a frame was asked.
func (c *comparison) principal(f aver.Frame) aver.Ref {
	switch f.As {
	case aver.FrameDelegator:
		return f.Entity
	case aver.FrameGrant, aver.FrameException:
		return c.a.permits[permitKey(f)].to
	}
	return c.record.Decision.Actor.Ref
}

func permitKey(f aver.Frame) string { return string(f.As) + "/" + f.Grant + f.Exception }

// frame asks one frame again.
func (c *comparison) frame(part string, f aver.Frame) error {
	evaluate, isPermit := c.set.Authorize, f.As == aver.FrameGrant || f.As == aver.FrameException
	if isPermit {
		p, ok := c.a.permits[permitKey(f)]
		if !ok {
			return fmt.Errorf("the %s %s is not here", f.As, f.Grant+f.Exception)
		}
		evaluate = p.Authorize
	}
	l, err := c.next(string(f.As), part)
	if err != nil {
		return err
	}
	request, entities, err := c.asked(l, part, c.principal(f))
	if err != nil {
		return err
	}
	result := evaluate(entities, request)
	if allowed := bool(result.Decision) && len(result.Errors) == 0; allowed != f.Allowed {
		return fmt.Errorf("the frame of the %s is recorded as %s, and comes out as %s", f.As, allows(f.Allowed), allows(allowed))
	}
	if isPermit {
		return nil
	}
	recorded, failed := []string{}, []string{}
	for _, e := range f.Errors {
		recorded = append(recorded, e.Policy)
	}
	for _, e := range result.Errors {
		failed = append(failed, e.Rule.ID)
	}
	for _, same := range []struct {
		what          string
		recorded, now []string
	}{{"policies", slices.Clone(f.Policies), ids(result.Reasons)}, {"errors", recorded, failed}} {
		slices.Sort(same.recorded)
		slices.Sort(same.now)
		if !slices.Equal(same.recorded, same.now) {
			return fmt.Errorf("the frame of the %s is recorded with the %s %v, and comes out with %v", f.As, same.what, same.recorded, same.now)
		}
	}
	return nil
}

func ids(rules []*policy.Rule) []string {
	out := make([]string, len(rules))
	for i, r := range rules {
		out[i] = r.ID
	}
	return out
}

func allows(yes bool) string {
	if yes {
		return "allowed"
	}
	return "not allowed"
}

// asked compares what was asked with the record, and returns what is to be asked
// again. Of what the pack says alone context.aver is taken, which Aver vouches
// for, and the groups of actions.
func (c *comparison) asked(l *frameLine, part string, principal aver.Ref) (types.Request, types.EntityMap, error) {
	r := types.Request{Principal: uidOf(l.Principal), Action: uidOf(l.Action), Resource: uidOf(l.Resource), Context: l.Context}
	if l.Principal != principal || l.Resource != c.req.Resource.Ref || l.Action != (aver.Ref{Type: "Action", ID: c.req.Action.Name}) {
		return r, nil, errors.New("what was asked is about somebody or something else than the record")
	}
	said, err := policy.RecordFromJSON(c.req.Context, "context")
	if err != nil {
		return r, nil, err
	}
	context := l.Context.Map()
	if vouched, ok := context["aver"].(types.Record); ok {
		delete(context, "aver")
		if now, ok := vouched.Get("now"); ok && now != types.NewDatetimeFromMillis(int64(c.record.Time)) {
			return r, nil, errors.New("the time that was asked with is not that of the record")
		}
	}
	if !types.NewRecord(context).Equal(said) {
		return r, nil, errors.New("the context that was asked with is not that of the record")
	}
	entities, err := c.entities(l, part)
	return r, entities, err
}

func uidOf(r aver.Ref) types.EntityUID {
	return types.NewEntityUID(types.EntityType(r.Type), types.String(r.ID))
}

// entities are what the record and the events that it cites say of them: what is
// registered, and beneath it what the caller said of subject and resource.
func (c *comparison) entities(l *frameLine, part string) (types.EntityMap, error) {
	said := map[aver.Ref]map[string]any{}
	say := func(who aver.Ref, properties map[string]any) {
		if said[who] == nil {
			said[who] = map[string]any{}
		}
		for name, v := range properties {
			if v != nil {
				said[who][name] = v
			}
		}
	}
	say(c.req.Subject.Ref, c.req.Subject.Properties)
	say(c.req.Resource.Ref, c.req.Resource.Properties)
	for _, p := range c.req.Parts() {
		if part != "" && p.ID == part {
			say(c.req.Resource.Ref, p.Properties)
		}
	}
	say(l.Principal, nil)
	parents := map[aver.Ref][]aver.Ref{}
	for _, i := range c.record.Facts.Events {
		e := c.a.events[i]
		if e == nil {
			return nil, fmt.Errorf("event %d is not here", i)
		}
		if !strings.HasPrefix(string(e.Type), "identity.") && !strings.HasPrefix(string(e.Type), "entity.") {
			continue
		}
		is, err := c.a.registration(i)
		if err != nil {
			return nil, err
		}
		say(is.Ref, is.Properties)
		parents[is.Ref] = is.Parents
	}
	out := types.EntityMap{}
	for who, properties := range said {
		attributes, err := policy.RecordFromJSON(properties, "properties")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", who, err)
		}
		above := make([]types.EntityUID, len(parents[who]))
		for i, p := range parents[who] {
			above[i] = uidOf(p)
		}
		out[uidOf(who)] = types.Entity{UID: uidOf(who), Attributes: attributes, Parents: types.NewEntityUIDSet(above...)}
	}
	for uid, e := range l.Entities {
		if uid.Type == "Action" || strings.HasSuffix(string(uid.Type), "::Action") {
			out[uid] = e
		}
	}
	return out, nil
}

// registered is what an event registers an identity or entity with.
type registered struct {
	index uint64
	aver.Entity
}

// registration is what an identity or entity is registered with, of which the
// event at an index is the last: a change of status does not repeat it.
func (a *again) registration(index uint64) (*registered, error) {
	var named aver.Entity
	if err := json.Unmarshal(a.events[index].Data, &named); err != nil {
		return nil, fmt.Errorf("event %d: %w", index, err)
	}
	list := a.registered[named.Ref]
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].index <= index {
			return &list[i], nil
		}
	}
	return nil, fmt.Errorf("the registration of %s is not here", named.Ref)
}
