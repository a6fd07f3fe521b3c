package why

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// Voucher is who vouches for a value.
type Voucher string

// The vouchers.
const (
	ByRegistry Voucher = "registry" // a registered fact, see its event
	ByGrant    Voucher = "grant"    // a grant, see its event
	ByToken    Voucher = "token"    // a token that Aver verified
	BySignal   Voucher = "signal"   // who sent a signal, see its event
	ByAver     Voucher = "aver"     // Aver itself: its clock, and what follows from the above
	ByCaller   Voucher = "caller"   // nobody but the PEP that asked
	ByNobody   Voucher = "nobody"   // the value was absent
)

// Value is something that a policy looked at, and who vouches for it.
type Value struct {
	Seen
	Of        *aver.Ref `json:"of,omitempty"` // whose, where the path begins with an entity
	Parts     []string  `json:"parts,omitempty"`
	Sensitive bool      `json:"sensitive,omitempty"` // the record holds its digest, and it stands here by its disclosure
	VouchedBy Voucher   `json:"vouched_by"`
	Event     *Event    `json:"event,omitempty"`
	Text      string    `json:"text"` // who vouches, in words
}

// values takes in what clauses saw.
func (x *explainer) values(s scene, v pdp.View, clauses []policy.Clause) {
	for _, c := range clauses {
		for _, seen := range c.Seen {
			x.value(s, v, x.see(s, v, seen))
		}
		for _, alternative := range c.Alternatives {
			x.values(s, v, alternative)
		}
	}
}

func (x *explainer) value(s scene, v pdp.View, seen Seen) {
	out := Value{Seen: seen}
	root, _, _ := strings.Cut(seen.Path, ".")
	root, _, _ = strings.Cut(root, "[")
	switch root {
	case "principal":
		out.Of = &aver.Ref{Type: string(v.Request.Principal.Type), ID: string(v.Request.Principal.ID)}
	case "resource":
		out.Of = &aver.Ref{Type: string(v.Request.Resource.Type), ID: string(v.Request.Resource.ID)}
	}
	if len(x.out.Authority.Chain) > 0 && personal(seen.Path) {
		out.Of = &aver.Ref{Type: string(v.Request.Principal.Type), ID: string(v.Request.Principal.ID)}
	}
	by := x.vouch(v, seen.Path)
	if seen.Path == "action" && by.event == nil {
		return // it is what is asked, and nothing more is said of it
	}
	switch {
	case seen.Withheld:
		by = vouched{by: ByCaller}
		out.Text = x.caller() + "; withheld, the record holds its digest"
	case seen.NotKept:
		by = vouched{by: ByCaller}
		out.Text = x.caller() + "; not kept, since no policy that could match reads it"
	case seen.Absent:
		by.by, out.Text = ByNobody, "absent"
		if by.event != nil {
			out.Text = "absent from what is registered (" + by.event.String() + ") and from what the caller sent"
		}
	default:
		out.Text = x.voucher(by)
	}
	out.VouchedBy, out.Event = by.by, by.event
	if by.by == ByCaller && seen.Value != "" && x.sensitive(v, seen.Path) {
		out.Sensitive = true
		out.Text += "; sensitive, the record holds its digest"
	}
	for i := range x.out.Values {
		o := &x.out.Values[i]
		if o.Seen == out.Seen && equalRef(o.Of, out.Of) && o.Text == out.Text {
			if s.part != "" {
				o.Parts = appendNew(o.Parts, s.part)
			}
			return
		}
	}
	if s.part != "" {
		out.Parts = []string{s.part}
	}
	x.out.Values = append(x.out.Values, out)
}

// personal tells whether what Aver says at a path differs from frame to frame.
func personal(path string) bool {
	names := strings.SplitN(path, ".", 4)
	if len(names) < 3 || names[0] != "context" || names[1] != "aver" {
		return false
	}
	switch names[2] {
	case "now", "action", "tool", "part":
		return false
	}
	return true
}

func equalRef(a, b *aver.Ref) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// vouched is where a value comes from.
type vouched struct {
	by    Voucher
	event *Event
	what  string // of ByAver, ByGrant and ByToken
}

func (x *explainer) voucher(v vouched) string {
	switch v.by {
	case ByRegistry:
		return "registered (" + v.event.String() + ")"
	case ByGrant:
		return v.what + " (" + v.event.String() + ")"
	case BySignal:
		return v.what + " (" + v.event.String() + ")"
	case ByToken:
		return v.what
	case ByAver:
		if v.event != nil {
			return "Aver, from " + v.what + " (" + v.event.String() + ")"
		}
		return "Aver, from " + v.what
	}
	return x.caller()
}

func (x *explainer) caller() string {
	switch x.record.PEP.Credential {
	case "":
		return "claimed by the caller"
	case aver.Self: // no credential has this name
		return "Aver, which administers it"
	}
	return "claimed by the caller (PEP " + x.record.PEP.Credential + ")"
}

// vouch follows a path from its variable to the value.
func (x *explainer) vouch(v pdp.View, path string) vouched {
	names := policy.Path(path).Elements()
	if names == nil {
		// A variable by itself, or one with tags, which only registered entities have.
		names = []string{path}
		if i := strings.IndexAny(path, ".["); i >= 0 {
			names[0] = path[:i]
		}
	}
	switch names[0] {
	case "principal":
		return x.vouchEntity(v, v.Request.Principal, names[1:])
	case "action":
		return x.vouchEntity(v, v.Request.Action, names[1:])
	case "resource":
		return x.vouchEntity(v, v.Request.Resource, names[1:])
	}
	if len(names) > 2 && names[1] == "aver" {
		return x.vouchAver(v, names[2:])
	}
	return x.vouchValue(v, v.Request.Context, names[1:], vouched{by: ByCaller})
}

// vouchEntity vouches for an entity, or for an attribute of it: what is
// registered overrides what the caller sent.
func (x *explainer) vouchEntity(v pdp.View, uid types.EntityUID, names []string) vouched {
	registered, event := x.registered(uid)
	if len(names) == 0 {
		if event != nil {
			return vouched{by: ByRegistry, event: event}
		}
		return vouched{by: ByCaller}
	}
	by := vouched{by: ByCaller, event: event} // the event matters if the attribute is nowhere
	attributes := registered.Attributes
	if _, ok := attributes.Get(types.String(names[0])); ok {
		by = vouched{by: ByRegistry, event: event}
	} else if e, ok := v.Entities.Get(uid); ok {
		attributes = e.Attributes
		if _, sent := attributes.Get(types.String(names[0])); sent {
			by.event = nil
		}
	}
	return x.vouchValue(v, attributes, names, by)
}

// vouchValue follows names below a value, across references to other entities.
func (x *explainer) vouchValue(v pdp.View, value types.Value, names []string, by vouched) vouched {
	for i, name := range names {
		if uid, ok := value.(types.EntityUID); ok {
			return x.vouchEntity(v, uid, names[i:])
		}
		record, ok := value.(types.Record)
		if !ok {
			return by
		}
		if value, ok = record.Get(types.String(name)); !ok {
			return by
		}
	}
	return by
}

// vouchAver vouches for what stands in context.aver. Part of that is only
// passed on.
func (x *explainer) vouchAver(v pdp.View, names []string) vouched {
	chain := x.out.Authority.Chain
	switch names[0] {
	case "now":
		return vouched{by: ByAver, what: "its clock"}
	case "action", "tool", "part":
		return vouched{by: ByCaller}
	case "actor":
		if _, event := x.registered(v.Request.Principal); event != nil {
			return vouched{by: ByAver, event: event, what: "its registry"}
		}
		return vouched{by: ByAver, what: "its registry, where nothing stands of " + string(v.Request.Principal.ID)}
	case "token":
		return x.vouchToken()
	case "signals":
		return vouchSignal(v, names[1:])
	case "purpose":
		if t := x.record.Token; len(chain) == 0 && t != nil && t.Purpose != "" {
			return x.vouchToken()
		}
		for _, hop := range chain {
			if hop.To != nil && hop.To.ID == string(v.Request.Principal.ID) && hop.To.Type == string(v.Request.Principal.Type) {
				return vouched{by: ByGrant, event: hop.Issued, what: "grant " + hop.Grant}
			}
		}
	case "acting_for":
		if len(chain) == 0 && !x.hopsByToken() {
			return vouched{by: ByCaller}
		}
	}
	what := "the chain of grants"
	if len(chain) == 0 && x.hopsByToken() {
		return x.vouchToken()
	}
	if len(chain) == 0 {
		what = "the request, which names no grants"
	}
	return vouched{by: ByAver, what: what}
}

// vouchSignal vouches for what stands in context.aver.signals: who sent it does.
func vouchSignal(v pdp.View, names []string) vouched {
	out := vouched{by: ByAver, what: "the signals that it received"}
	for _, g := range v.Signals {
		if len(names) > 0 && g.Member() == names[0] {
			out = vouched{by: BySignal, event: eventOf(g.Mark), what: "signal of " + g.Source + " about " + g.About.String()}
		}
	}
	return out
}

// hopsByToken tells whether it is the token that says for whom the actor acts.
func (x *explainer) hopsByToken() bool {
	t := x.record.Token
	return t != nil && t.Fault == "" && len(t.Actors) > 0
}

func (x *explainer) vouchToken() vouched {
	t := x.record.Token
	if t == nil || t.Fault != "" {
		return vouched{by: ByAver, what: "the request, with which no token came that is believed"}
	}
	return vouched{by: ByToken, what: fmt.Sprintf("a token of %s (key %s, verified %s)", t.Issuer, t.KeyID, at(t.Verified))}
}

// registered finds what is registered about an entity, and by which event.
func (x *explainer) registered(uid types.EntityUID) (types.Entity, *Event) {
	e, _, ok := x.st.Entity(uid)
	if !ok {
		return e, nil
	}
	return e, x.party(aver.Ref{Type: string(uid.Type), ID: string(uid.ID)}).Registered
}

// hidden tells whether an absent value may be one that was withheld: something
// was, at its place, and a bundle calls it sensitive.
func (x *explainer) hidden(s scene, v pdp.View, path string) bool {
	return slices.ContainsFunc(x.withheld, func(pointer string) bool {
		before, _, _ := strings.Cut(pointer, "/_sd/")
		place := strings.Split(before, "/")[1:]
		var at []string
		switch {
		case len(place) > 3 && place[0] == "context" && place[1] == "parts" && place[2] == fmt.Sprint(s.index):
			at = append([]string{"resource"}, place[4:]...)
		case len(place) > 0 && place[0] == "context":
			at = place
		case len(place) > 1 && place[0] == "subject":
			at = append([]string{"principal"}, place[2:]...)
		case len(place) > 1:
			at = append([]string{place[0]}, place[2:]...)
		}
		return slices.ContainsFunc(x.sensitivePaths(v, path), func(p []string) bool {
			return slices.Equal(p[:len(p)-1], at)
		})
	})
}

// omitted tells whether an absent value was sent and is not in the record.
func (x *explainer) omitted(v pdp.View, path string) bool {
	names := x.sent(v, path)
	return names != nil && slices.ContainsFunc(x.record.Omitted, func(p string) bool {
		left := policy.Path(p).Elements()
		n := min(len(left), len(names))
		return slices.Equal(left[:n], names[:n])
	})
}

// sensitive tells whether a bundle calls the value at a path sensitive.
func (x *explainer) sensitive(v pdp.View, path string) bool {
	return len(x.sensitivePaths(v, path)) > 0
}

// sensitivePaths are the sensitive paths that the value at a path is at, above
// or below, as far as the caller may have sent it.
func (x *explainer) sensitivePaths(v pdp.View, path string) [][]string {
	names := x.sent(v, path)
	if names == nil {
		return nil
	}
	var out [][]string
	for _, b := range x.query.Policies(x.st).Bundles() {
		for _, p := range b.Meta().Sensitive {
			elements := p.Elements()
			n := min(len(elements), len(names))
			if slices.Equal(elements[:n], names[:n]) {
				out = append(out, elements)
			}
		}
	}
	return out
}

// sent is the path, in the request, of a value that policies see at a path; nil
// if a caller can't send it.
func (x *explainer) sent(v pdp.View, path string) []string {
	names := policy.Path(path).Elements()
	switch {
	case names == nil:
	case names[0] == "principal" && v.Request.Principal != uid(x.request.Subject.Ref):
		return nil
	case names[0] == "action": // of an action's entity, which is not the AuthZEN action
		return nil
	case len(names) > 3 && names[0] == "context" && names[1] == "aver" && names[2] == "action":
		return append([]string{"action"}, names[3:]...)
	case len(names) > 3 && names[0] == "context" && names[1] == "aver" && names[2] == "part":
		return append([]string{"resource"}, names[3:]...)
	case len(names) > 1 && names[0] == "context" && names[1] == "aver":
		return nil
	}
	return names
}

func uid(r aver.Ref) types.EntityUID {
	return types.NewEntityUID(types.EntityType(r.Type), types.String(r.ID))
}
