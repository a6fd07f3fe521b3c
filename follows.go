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

// complete puts back what a record leaves out of a ruling.
func (r *Ruling) complete() {
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
	d.Ruling.complete()
	for i := range d.Parts {
		d.Parts[i].Ruling.complete()
	}
	if d.Outcome.whollyAllowed() && len(d.Reasons) == 0 {
		d.Reasons = PartReasons(d.Parts)
	}
}

// repeats tells whether the reasons of the whole are those of its parts.
func (d *Decision) repeats() bool {
	return len(d.Parts) > 0 && d.Outcome.whollyAllowed() && slices.EqualFunc(d.Reasons, PartReasons(d.Parts), Reason.same)
}
