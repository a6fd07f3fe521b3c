package aver

import "slices"

// A record does not repeat what follows from the rest of it (docs/formats.md,
// "What is left out"). Whoever decides and whoever reads a record find it out by
// the same functions, so that a record reads back as what was decided.

// AppendReasons appends the reasons that the frame gives by itself: the policies
// by which it permits, if it is the acting party's, or why it does not allow. All
// is false where the frame does not tell whether its policies permit or forbid,
// since one of them could not be evaluated; then only the errors are appended.
// The reasons have no text.
func (f *Frame) AppendReasons(dst []Reason) (reasons []Reason, all bool) {
	switch {
	case f.As == FrameException, f.Allowed && f.As != FrameActor:
		return dst, true
	case f.Allowed:
		for _, p := range f.Policies {
			dst = append(dst, Reason{Code: ReasonPermitted, Policy: p})
		}
		return dst, true
	case f.As == FrameGrant && len(f.Errors) > 0:
		return append(dst, Reason{Code: ReasonPolicyError, Grant: f.Grant, Detail: f.Errors[0].Message}), true
	case f.As == FrameGrant:
		return append(dst, Reason{Code: ReasonGrantScope, Grant: f.Grant}), true
	}
	whom := ""
	if f.As == FrameDelegator {
		whom = f.Entity.String()
	}
	for _, e := range f.Errors {
		dst = append(dst, Reason{Code: ReasonPolicyError, Policy: e.Policy, Detail: e.Message})
	}
	switch {
	case len(f.Policies) == 0:
		dst = append(dst, Reason{Code: ReasonNotPermitted, Detail: whom})
	case len(f.Errors) > 0:
		return dst, false
	default:
		for _, p := range f.Policies {
			dst = append(dst, Reason{Code: ReasonForbidden, Policy: p, Detail: whom})
		}
	}
	return dst, true
}

// PartReasons lists the reasons of all parts, each once: those of the whole when
// every part is allowed.
func PartReasons(parts []PartDecision) []Reason {
	var out []Reason
	for _, p := range parts {
		for _, reason := range p.Reasons {
			if !slices.ContainsFunc(out, reason.same) {
				out = append(out, reason)
			}
		}
	}
	return out
}

// same compares what a record keeps of reasons.
func (r Reason) same(o Reason) bool {
	r.Text, o.Text = "", ""
	return r == o
}

// whollyAllowed tells whether everything that was asked for is allowed.
func (o Outcome) whollyAllowed() bool { return o == Permitted || o == Restricted }

// follow appends the reasons of the ruling that follow from its frames: of one
// that allows, by which policies; of a denial, which frames do not allow, and why.
// None do where an exception may have set some aside, or where a frame does not
// tell all.
func (r *Ruling) follow(dst []Reason) []Reason {
	if r.Outcome != Denied && !r.Outcome.whollyAllowed() {
		return dst[:0]
	}
	for i := range r.Frames {
		f := &r.Frames[i]
		if f.As == FrameException && f.Allowed {
			return dst[:0]
		}
		if f.Allowed == (r.Outcome == Denied) {
			continue
		}
		all := true
		if dst, all = f.AppendReasons(dst); !all {
			return dst[:0]
		}
	}
	return dst
}

// place is where the reasons that follow stand: of one that allows first; of a
// denial before those that are found after the frames.
func (r *Ruling) place() int {
	if r.Outcome != Denied {
		return 0
	}
	for i, reason := range r.Reasons {
		switch reason.Code {
		case ReasonTokenScope, ReasonLimit, ReasonLimitUnread:
			return i
		}
	}
	return len(r.Reasons)
}

// kept returns the reasons before and after those that follow. Of a ruling that
// can't have been made, it returns all.
func (r *Ruling) kept() (before, after []Reason) {
	var few [4]Reason
	follow := r.follow(few[:0])
	if len(follow) == 0 {
		return r.Reasons, nil
	}
	from := r.place()
	if r.Outcome == Denied {
		from -= len(follow)
	}
	to := from + len(follow)
	if from < 0 || to > len(r.Reasons) || !slices.EqualFunc(r.Reasons[from:to], follow, Reason.same) {
		return r.Reasons, nil
	}
	before, after = r.Reasons[:from], r.Reasons[to:]
	for _, f := range follow { // said once more
		if slices.ContainsFunc(before, f.same) || slices.ContainsFunc(after, f.same) {
			return r.Reasons, nil
		}
	}
	return before, after
}

// shared are the policies that an allowing delegator's frame does not repeat:
// those by which the acting party is permitted.
func (r *Ruling) shared() []string {
	if len(r.Frames) == 0 || r.Frames[0].As != FrameActor || !r.Frames[0].Allowed {
		return nil
	}
	return slices.Clip(r.Frames[0].Policies)
}

// A chain is what a request says of the chain by which it is made: the text of
// "delegation" and "on_behalf_of" in its context. It is read when it is needed.
type chain struct {
	request        []byte // in canonical form
	read           bool
	grants, origin string
}

func (c *chain) find() {
	if c.read {
		return
	}
	c.read = true
	m := readMembers(c.request)
	if m.seek("context") && m.seek("delegation") {
		c.grants = m.skip()
		if m.seek("on_behalf_of") {
			c.origin = m.skip()
		}
	}
}

// said returns the frames that a record says, those before and those after the one
// of the originating user. All are, but where each grant allows and they are as
// many as the chain has: then the request names these, and whoever reads the
// record puts them back, see unsaid. What it needs to write, it writes to the spare
// room.
func (r *Ruling) said(c *chain, spare []byte) (first, then []Frame) {
	n := 0
	for n < len(r.Frames) && r.Frames[len(r.Frames)-1-n].bare(FrameGrant, nil) {
		n++
	}
	rest := r.Frames[:len(r.Frames)-n]
	if c == nil || n == 0 || n > MaxChain || !r.chained() || !mayFollow(rest) {
		return r.Frames, nil
	}
	c.find()
	ids := append(spare, '[')
	for i := range n {
		if i > 0 {
			ids = append(ids, ',')
		}
		ids = AppendString(ids, r.Frames[len(rest)+i].Grant)
	}
	if ids = append(ids, ']'); string(ids) != c.grants {
		return r.Frames, nil
	}
	switch last := delegators(rest); last {
	case n - 1: // whom the reader would add was not among them
		if _, known := partyOf(c.origin); known {
			return r.Frames, nil
		}
	case n:
		f := &rest[last]
		if f.bare(FrameDelegator, r.shared()) && f.Entity.ID != "" && f.Entity.Type != "" && string(f.Entity.appendCanonical(spare)) == c.origin {
			return rest[:last], rest[last+1:]
		}
	}
	return rest, nil
}

// unsaid puts back the frames that a record does not say: those of the grants, and
// that of the originating user, who stands last of as many delegators.
func (r *Ruling) unsaid(grants []string, origin Ref) {
	if len(grants) == 0 || !r.chained() || !mayFollow(r.Frames) {
		return
	}
	if last := delegators(r.Frames) + 1; last == len(grants) && !origin.IsZero() {
		r.Frames = slices.Insert(r.Frames, last, Frame{As: FrameDelegator, Entity: origin, Allowed: true})
	}
	for _, g := range grants {
		r.Frames = append(r.Frames, Frame{As: FrameGrant, Grant: g, Allowed: true})
	}
}

// chained tells whether a ruling has a frame for each grant of the request's chain:
// of one that was never issued there is none.
func (r *Ruling) chained() bool {
	for i := range r.Reasons {
		if r.Reasons[i].Code == ReasonGrantUnknown {
			return false
		}
	}
	return true
}

// mayFollow tells whether frames of a chain may be left out behind others: the
// acting party's, first, and none of a grant.
func mayFollow(frames []Frame) bool {
	for i := range frames { // a copy is large
		if frames[i].As == FrameGrant {
			return false
		}
	}
	return len(frames) > 0 && frames[0].As == FrameActor
}

// delegators counts the delegators' frames that follow the acting party's.
func delegators(frames []Frame) int {
	n := 1
	for n < len(frames) && frames[n].As == FrameDelegator {
		n++
	}
	return n - 1
}

// bare tells whether a frame of that kind allows by policies, and there is no more
// to say of it.
func (f *Frame) bare(as FrameKind, policies []string) bool {
	return f.As == as && f.kind() == as && f.Allowed && f.Exception == "" && len(f.Errors) == 0 && slices.Equal(f.Policies, policies)
}

// chainOf reads what a chain is made of in a request that was parsed: the grants,
// unless they are none or more than a chain can have, and the originating user,
// unless there is none or more is said than who it is.
func chainOf(request map[string]any) (grants []string, origin Ref) {
	context, _ := request["context"].(map[string]any)
	list, _ := context["delegation"].([]any)
	if len(list) > MaxChain {
		return nil, Ref{}
	}
	for _, e := range list {
		id, _ := e.(string)
		if id == "" {
			return nil, Ref{}
		}
		grants = append(grants, id)
	}
	if party, _ := context["on_behalf_of"].(map[string]any); len(party) == 2 {
		typ, _ := party["type"].(string)
		id, _ := party["id"].(string)
		if typ != "" && id != "" {
			origin = Ref{Type: typ, ID: id}
		}
	}
	return grants, origin
}

// partyOf reads a party of which no more is said than who it is.
func partyOf(text string) (r Ref, ok bool) {
	m := members{text: text}
	r.read(&m)
	return r, !m.failed && m.pos == len(text) && r.ID != "" && r.Type != ""
}

// complete puts back what a record leaves out of a ruling on a request.
func (r *Ruling) complete(grants []string, origin Ref) {
	r.unsaid(grants, origin)
	shared := r.shared()
	for i := range r.Frames {
		if f := &r.Frames[i]; f.As == FrameDelegator && f.Allowed && len(f.Policies) == 0 {
			f.Policies = shared
		}
	}
	if follow := r.follow(nil); len(follow) > 0 {
		r.Reasons = slices.Insert(r.Reasons, r.place(), follow...)
	}
}

// complete puts back what a record leaves out of its decision on a request.
func (d *Decision) complete(request any) {
	object, _ := request.(map[string]any)
	subject, _ := object["subject"].(map[string]any)
	d.Actor.Type, _ = subject["type"].(string)
	d.Actor.ID, _ = subject["id"].(string)
	if d.Actor.Kind == "" {
		d.Actor.Kind = KindOfType(d.Actor.Type)
	}
	grants, origin := chainOf(object)
	d.Ruling.complete(grants, origin)
	for i := range d.Parts {
		d.Parts[i].Ruling.complete(grants, origin)
	}
	if d.Outcome.whollyAllowed() && len(d.Reasons) == 0 {
		d.Reasons = PartReasons(d.Parts)
	}
}

// repeats tells whether the reasons of the whole are those of its parts.
func (d *Decision) repeats() bool {
	return len(d.Parts) > 0 && d.Outcome.whollyAllowed() && slices.EqualFunc(d.Reasons, PartReasons(d.Parts), Reason.same)
}
