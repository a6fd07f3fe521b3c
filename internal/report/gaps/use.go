package gaps

import (
	"slices"

	"github.com/aver-authz/aver"
)

// identityUse is what is known of the use of one identity.
type identityUse struct {
	last     aver.Time // when it last acted, or somebody acted for it
	entry    aver.GapEntry
	from     sources
	sessions sessions
	tools    map[string]aver.Time // when each was last used
}

// credentialUse is what is known of the use of one credential: of a PEP, of an
// administrator, or of an actor.
type credentialUse struct {
	last  aver.Time
	entry aver.GapEntry
	from  sources

	permits    uint64 // of a PEP
	activities uint64
	unfollowed uint64 // permits that were let go of before an end was reported, there being too many
}

func (c *credentialUse) use(at aver.Time) {
	c.last = max(c.last, at)
}

// grantUse is what is known of the use of one grant, by decisions that allowed
// something.
type grantUse struct {
	last      aver.Time
	entry     aver.GapEntry
	actions   map[string]aver.Time   // when each was last used
	resources map[aver.Ref]aver.Time // when each was last used
	many      bool                   // more resources than are kept
	peaks     map[string]int64       // of each limit, the most that was counted
}

// keyUse is when a key of an issuer was first and last seen.
type keyUse struct {
	first, last aver.Time
	entry       aver.GapEntry
}

// Bounds of what is kept of one party.
const (
	toolsKept     = 200
	resourcesKept = 100
	sourcesKept   = 16
)

// use counts what a decision used.
func (s *Scanner) use(d *decided) {
	pep := s.credentials.at(d.PEP.Credential)
	pep.use(d.Time)
	pep.entry = *d.place.decision
	if d.allowed {
		pep.permits++
		*s.open.at(d.ID) = openPermit{index: d.index, at: d.Time, credential: d.PEP.Credential}
	}
	for _, p := range d.parties {
		u := s.identities.at(p)
		u.last, u.entry = d.Time, *d.place.decision
	}
	if tool := d.req.Tool(); tool != "" && d.allowed {
		u := s.identities.at(d.Decision.Actor.Ref)
		if u.tools == nil {
			u.tools = map[string]aver.Time{}
		}
		if _, known := u.tools[tool]; known || len(u.tools) < toolsKept {
			u.tools[tool] = d.Time
		}
	}
	if d.allowed {
		for _, id := range d.grants {
			s.grants.at(id).use(id, d)
		}
	}
	s.key(d.PEP.Authentication, d)
	if d.Token != nil && d.Token.Fault == "" {
		s.key(&d.Token.Authentication, d)
	}
}

func (s *Scanner) key(a *aver.Authentication, d *decided) {
	if a == nil || a.KeyID == "" {
		return
	}
	u := s.keys.at([2]string{a.Issuer, a.KeyID})
	if u.first == 0 {
		u.first = d.Time
	}
	u.last, u.entry = d.Time, *d.place.decision
}

func (g *grantUse) use(id string, d *decided) {
	if g.actions == nil {
		g.actions, g.resources, g.peaks = map[string]aver.Time{}, map[aver.Ref]aver.Time{}, map[string]int64{}
	}
	g.last, g.entry = d.Time, *d.place.decision
	if _, known := g.actions[d.req.Action.Name]; known || len(g.actions) < resourcesKept {
		g.actions[d.req.Action.Name] = d.Time
	} else {
		g.many = true
	}
	if _, known := g.resources[d.req.Resource.Ref]; known || len(g.resources) < resourcesKept {
		g.resources[d.req.Resource.Ref] = d.Time
	} else {
		g.many = true
	}
	for _, c := range d.Decision.Counters {
		if c.Grant == id {
			g.peaks[c.Name] = max(g.peaks[c.Name], c.After)
		}
	}
}

// sources are where somebody was seen acting from, by what sort of place it is.
type sources map[string]map[string]place

// saw notes a source, and returns another one of the sort that was seen so
// shortly before.
func (s *sources) saw(sort, value string, p place, within Duration) (other string, at place, shared bool) {
	if *s == nil {
		*s = sources{}
	}
	of := (*s)[sort]
	if of == nil {
		of = map[string]place{}
		(*s)[sort] = of
	}
	oldest := ""
	for name, seen := range of {
		if name != value && seen.at+aver.Time(within) >= p.at && (!shared || seen.at > at.at || seen.at == at.at && name < other) {
			other, at, shared = name, seen, true
		}
		if oldest == "" || seen.at < of[oldest].at || seen.at == of[oldest].at && name < oldest {
			oldest = name
		}
	}
	if _, known := of[value]; !known && len(of) >= sourcesKept {
		delete(of, oldest)
	}
	of[value] = p
	return other, at, shared
}

// sessions are those of one identity, the current one last.
type sessions []session

type session struct {
	id   string
	last place
}

// saw notes a session, and returns the one that it went back from: then both
// were open at a time.
func (s *sessions) saw(id string, p place, within Duration) (other session, overlap bool) {
	list := *s
	i := slices.IndexFunc(list, func(x session) bool { return x.id == id })
	switch {
	case i < 0 && len(list) >= sourcesKept:
		list = slices.Delete(list, 0, 1)
	case i >= 0 && i < len(list)-1: // another one came meanwhile
		if current := list[len(list)-1]; list[i].last.at+aver.Time(within) >= p.at {
			other, overlap = current, true
		}
		list = slices.Delete(list, i, i+1)
	case i >= 0:
		list = list[:i]
	}
	*s = append(list, session{id, p})
	return other, overlap
}
