package gaps

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// standingExcess finds what is granted and not used, for I2.
func (r *reporter) standingExcess() {
	known := map[string]bool{}
	for a := range r.actions {
		known[a] = true
	}
	for _, a := range r.st.Policies().Actions() {
		known[a] = true
	}
	// What was let go of may have been used: then nothing is said to be unused.
	for _, g := range r.st.Grants() {
		if r.grants.dropped == 0 && g.Stands(r.now) && g.NotBefore <= r.now {
			r.grant(g, known)
		}
	}
	for _, i := range r.st.Identities() {
		if r.identities.dropped == 0 && i.Kind.Machine() && i.Status == aver.Active && (i.Expires == 0 || r.now < i.Expires) {
			r.identity(i)
		}
	}
	for _, c := range r.st.Credentials() {
		if r.credentials.dropped == 0 && c.Role == aver.RoleAdmin && givesAccess(c, r.now) {
			r.administrator(c)
		}
	}
	r.conflicts(known)
}

// watched is since when use would show: since the thing is there, and since the
// decision log begins.
func (r *reporter) watched(since aver.Time) aver.Time {
	if r.from == 0 {
		return r.now // nothing was recorded, so nothing is known
	}
	return max(since, r.from)
}

// unusedFor tells whether what was last used at a time, or is watched since one,
// was idle for so long.
func (r *reporter) unusedFor(last, since aver.Time, d Duration) bool {
	return max(last, r.watched(since))+aver.Time(d) <= r.now
}

// idleness says how bad it is that something was idle, and which threshold it is over.
func (r *reporter) idleness(last, since aver.Time) (aver.Severity, Duration) {
	if !r.unusedFor(last, since, r.t.Excess.IdleLong) {
		return aver.SeverityMedium, r.t.Excess.Idle
	}
	return aver.SeverityHigh, r.t.Excess.IdleLong
}

// grant looks at what one grant gives and what was used of it.
func (r *reporter) grant(g *authority.Grant, known map[string]bool) {
	t, subject := &r.t.Excess, grantSubject(g.ID)
	use := r.grants.find(g.ID)
	if use == nil {
		use = &grantUse{}
	}
	since := max(g.Time, g.NotBefore)
	usedAt := max(use.last, r.watched(since))
	privileged := r.privileged(g)
	switch {
	case privileged != "" && r.unusedFor(use.lastOf(t.Privileged), since, t.PrivilegedIdle):
		x := r.holds(privilegedUnused, subject, aver.SeverityHigh, max(use.lastOf(t.Privileged), r.watched(since)), []uint64{g.Event},
			fmt.Sprintf("Grant %s gives %s %s, which is privileged, and that was not used for %s.", g.ID, g.To, privileged, t.PrivilegedIdle))
		x.seenAt(use)
		x.proposal = r.narrower(g, use, t.Privileged...)
		return
	case r.unusedFor(use.last, since, t.Idle):
		severity, idle := r.idleness(use.last, since)
		x := r.holds(idleGrant, subject, severity, usedAt, []uint64{g.Event}, fmt.Sprintf("Grant %s to %s was not used for %s.", g.ID, g.To, idle))
		x.seenAt(use)
		x.proposal = revoke(g)
		return
	}
	if use.last == 0 {
		return
	}
	if r.watched(since)+aver.Time(t.Observed) <= r.now {
		r.wildcard(g, use, known)
		r.limits(g, use)
	}
	if _, wild := r.found[keyOf(wildcardUnused, subject)]; !wild && r.watched(since)+aver.Time(r.t.Window) <= r.now {
		r.scope(g, use)
	}
}

func (x *sighting) seenAt(use *grantUse) {
	if use.last != 0 {
		x.evidence.Decisions = keepSome(x.evidence.Decisions, use.entry)
	}
}

// lastOf is when an action that patterns cover was last used.
func (g *grantUse) lastOf(patterns []string) aver.Time {
	var last aver.Time
	for action, at := range g.actions {
		if aver.Covers(patterns, action) {
			last = max(last, at)
		}
	}
	return last
}

// privileged names what of a grant is privileged, "" if nothing is.
func (r *reporter) privileged(g *authority.Grant) string {
	for _, a := range g.Actions {
		if a == "*" {
			return "every action"
		}
		if aver.Covers(r.t.Excess.Privileged, a) {
			return a
		}
		begin, pattern := strings.CutSuffix(a, "*")
		for _, p := range r.t.Excess.Privileged {
			if pattern && strings.HasPrefix(strings.TrimSuffix(p, "*"), begin) {
				return a
			}
		}
	}
	return ""
}

// wildcard compares the actions that a beginning with a star stands for with
// those that were used.
func (r *reporter) wildcard(g *authority.Grant, use *grantUse, known map[string]bool) {
	for _, a := range g.Actions {
		if !strings.HasSuffix(a, "*") {
			continue
		}
		under, used := 0, 0
		for action := range known {
			if aver.Covers([]string{a}, action) {
				under++
				if use.actions[action] != 0 {
					used++
				}
			}
		}
		if under >= r.t.Excess.WildcardKnown && used*100 < under*r.t.Excess.WildcardUsed {
			x := r.holds(wildcardUnused, grantSubject(g.ID), aver.SeverityMedium, r.watched(g.Time), []uint64{g.Event},
				fmt.Sprintf("Grant %s gives %s %q: %d actions that are known, of which %d were used.", g.ID, g.To, a, under, used))
			x.seenAt(use)
			x.proposal = r.narrower(g, use)
		}
	}
}

// limits compares the limits that count with what was counted.
func (r *reporter) limits(g *authority.Grant, use *grantUse) {
	if g.Limits == nil {
		return
	}
	far := func(name string, limit int64) {
		peak, counted := use.peaks[name]
		if limit == 0 || !counted || peak > limit/100*r.t.Excess.LimitUsed+limit%100*r.t.Excess.LimitUsed/100 {
			return
		}
		x := r.holds(limitsUnused, grantSubject(g.ID), aver.SeverityLow, r.watched(g.Time), []uint64{g.Event},
			fmt.Sprintf("Limits of grant %s to %s are far above what was used.", g.ID, g.To), fmt.Sprintf("%s: %d of %d", name, peak, limit))
		x.seenAt(use)
		x.proposal = r.narrower(g, use)
	}
	far("uses", g.Limits.Uses)
	for _, sum := range g.Limits.Sums {
		far(sum.Attribute, sum.Max)
	}
}

// scope compares the actions and resources that a grant names with those that
// were used within the window.
func (r *reporter) scope(g *authority.Grant, use *grantUse) {
	from := r.now - aver.Time(r.t.Window)
	var unused []string
	for _, a := range g.Actions {
		if last := use.lastOf([]string{a}); last < from {
			unused = append(unused, "action "+a)
		}
	}
	for _, scope := range g.Resources {
		if scope.Type == "*" || use.many {
			continue
		}
		var last aver.Time
		for resource, at := range use.resources {
			if resource.Type == scope.Type && (scope.ID == "" || resource.ID == scope.ID) {
				last = max(last, at)
			}
		}
		if last < from {
			unused = append(unused, strings.TrimSpace("resource "+scope.Type+" "+scope.ID))
		}
	}
	if len(unused) == 0 {
		return
	}
	x := r.holds(unusedScope, grantSubject(g.ID), aver.SeverityLow, r.watched(g.Time), []uint64{g.Event},
		fmt.Sprintf("Of what grant %s gives %s, some was not used for %s.", g.ID, g.To, r.t.Window), unused...)
	x.seenAt(use)
	x.proposal = r.narrower(g, use)
}

// identity looks at what one machine identity may do, and does.
func (r *reporter) identity(i *authority.Identity) {
	t, subject := &r.t.Excess, identitySubject(i.Ref)
	use := r.identities.find(i.Ref)
	if use == nil {
		use = &identityUse{}
	}
	since := i.Registered.Time
	if r.unusedFor(use.last, since, t.Idle) {
		severity, idle := r.idleness(use.last, since)
		x := r.holds(idleIdentity, subject, severity, max(use.last, r.watched(since)), []uint64{i.Event},
			fmt.Sprintf("%s did nothing for %s, and is still active.", i.Ref, idle))
		if use.last != 0 {
			x.evidence.Decisions = keepSome(x.evidence.Decisions, use.entry)
		}
		return
	}
	if i.Tools == nil || len(use.tools) >= toolsKept || r.watched(i.Time)+aver.Time(r.t.Window) > r.now {
		return
	}
	var unused []string
	for _, tool := range *i.Tools {
		if use.tools[tool] < r.now-aver.Time(r.t.Window) {
			unused = append(unused, tool)
		}
	}
	if len(unused) > 0 {
		r.holds(unusedTools, subject, aver.SeverityLow, r.watched(i.Time), []uint64{i.Event},
			fmt.Sprintf("%s may use tools that it did not use for %s.", i.Ref, r.t.Window), unused...)
	}
}

// administrator looks at a credential that may do everything.
func (r *reporter) administrator(c *authority.Credential) {
	use := r.credentials.find(c.Name)
	var last aver.Time
	if use != nil {
		last = use.last
	}
	if r.unusedFor(last, c.Time, r.t.Excess.PrivilegedIdle) {
		r.holds(privilegedUnused, credentialSubject(c.Name), aver.SeverityHigh, max(last, r.watched(c.Time)), []uint64{c.Event},
			fmt.Sprintf("Credential %q has the role admin and was not used for %s.", c.Name, r.t.Excess.PrivilegedIdle))
	}
}

// conflicts finds duties that nobody should hold together: by the grants that
// somebody has, and by those that begin with somebody, across chains. A grant that
// gives conflicting duties by itself is found with whom it was given to.
func (r *reporter) conflicts(known map[string]bool) {
	held, given := map[aver.Ref][]*authority.Grant{}, map[aver.Ref][]*authority.Grant{}
	for _, g := range r.st.Grants() {
		if !g.Stands(r.now) || g.NotBefore > r.now {
			continue
		}
		held[g.To] = append(held[g.To], g)
		if g.Parent == "" {
			given[g.From] = append(given[g.From], g)
		}
	}
	for _, conflict := range r.t.Excess.Conflicts {
		c := duties{name: conflict.Name}
		for _, duty := range conflict.Duties {
			c.of = append(c.of, duty)
			c.known = append(c.known, slices.DeleteFunc(slices.Sorted(maps.Keys(known)), func(a string) bool { return !aver.Covers(duty, a) }))
		}
		for who, grants := range held {
			r.conflict(&c, who, grants)
		}
		for who, grants := range given {
			r.conflict(&c, who, slices.DeleteFunc(slices.Clone(grants), func(g *authority.Grant) bool { return len(c.givers(g)) > 1 }))
		}
	}
}

// duties are those of a conflict, with the actions of each that are known.
type duties struct {
	name      string
	of, known [][]string
}

// givers are grants that give the duties, one for each that is given. A pattern
// gives those of its actions that are known to anybody.
func (c *duties) givers(grants ...*authority.Grant) (by []*authority.Grant) {
	for n, duty := range c.of {
		i := slices.IndexFunc(grants, func(g *authority.Grant) bool {
			return slices.ContainsFunc(c.known[n], func(action string) bool { return aver.Covers(g.Actions, action) }) ||
				slices.ContainsFunc(g.Actions, func(action string) bool { return !strings.HasSuffix(action, "*") && aver.Covers(duty, action) })
		})
		if i >= 0 {
			by = append(by, grants[i])
		}
	}
	return by
}

func (r *reporter) conflict(c *duties, who aver.Ref, grants []*authority.Grant) {
	by := c.givers(grants...)
	if len(by) < 2 {
		return
	}
	var since aver.Time
	var events []uint64
	var details []string
	for _, g := range by {
		since = max(since, g.Time, g.NotBefore)
		events = append(events, g.Event)
		details = append(details, fmt.Sprintf("%s: grant %s, from %s to %s", c.name, g.ID, g.From, g.To))
	}
	r.holds(conflictingHeld, identitySubject(who), aver.SeverityHigh, since, events,
		fmt.Sprintf("%s holds duties that conflict, or delegates them.", who), details...)
}

// dutyUse is who exercised which duties on a resource.
type dutyUse struct {
	by map[dutyKey]place
}

// dutyKey is a conflict, one of its duties, and who exercised it.
type dutyKey struct {
	conflict, duty int
	who            aver.Ref
}

const exercisesKept = 64 // of one resource

// exercised finds conflicting duties that were exercised on one resource, by one
// party or within one chain.
func (s *Scanner) exercised(d *decided) {
	if !d.allowed {
		return
	}
	for c, conflict := range s.t.Excess.Conflicts {
		for n, duty := range conflict.Duties {
			if !aver.Covers(duty, d.req.Action.Name) {
				continue
			}
			use := s.duties.at(d.req.Resource.Ref)
			if use.by == nil {
				use.by = map[dutyKey]place{}
			}
			for _, who := range d.parties {
				for other := range conflict.Duties {
					if earlier, ok := use.by[dutyKey{c, other, who}]; ok && other != n {
						x := s.note(conflictingUsed, identitySubject(who), aver.SeverityCritical, d.place,
							fmt.Sprintf("%s exercised duties that conflict on one resource, or had them exercised.", who),
							fmt.Sprintf("%s: %s", conflict.Name, d.req.Resource.Ref))
						x.first = min(x.first, earlier.at)
						x.evidence.Decisions = keepSome(x.evidence.Decisions, *earlier.decision)
					}
				}
				if len(use.by) < exercisesKept {
					use.by[dutyKey{c, n, who}] = d.place
				}
			}
		}
	}
}
