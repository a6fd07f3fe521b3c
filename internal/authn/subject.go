package authn

import (
	"slices"

	"github.com/aver-authz/aver"
)

// subjectParts are the entities that a subject names, and whose sessions have such ids.
type subjectParts struct {
	aver.SignalParts
	sessions string
}

// subject makes entities of a subject identifier (RFC 9493, and complex subjects of the Shared Signals Framework). A part of
// a complex subject that Aver has no entities for, such as a tenant, only narrows it down, and is passed over.
func (v *Verifier) subject(is *issuer, t aver.SignalType, claim any, event map[string]any) (out subjectParts, err error) {
	id, ok := claim.(map[string]any)
	if !ok {
		return out, bad(EventInvalid, "sub_id is missing, or no subject identifier (RFC 9493)")
	}
	out.sessions = is.Issuer.Issuer
	if id["format"] != "complex" {
		err = v.take(&out, is, simpleKind(t, id, event), id)
		return out, err
	}
	for _, kind := range []string{userKind, aver.SessionType, aver.DeviceType} {
		value, some := id[kind]
		if !some {
			continue
		}
		member, ok := value.(map[string]any)
		if !ok {
			return out, bad(EventInvalid, "sub_id: %s is no subject identifier", kind)
		}
		if err = v.take(&out, is, kind, member); err != nil {
			return out, err
		}
	}
	return out, nil
}

// userKind is the kind of subject identifiers that name a party.
const userKind = "user"

// take makes the part of a kind of its identifier.
func (v *Verifier) take(out *subjectParts, is *issuer, kind string, id map[string]any) (err error) {
	switch kind {
	case aver.SessionType:
		out.Session, out.sessions, err = v.thing(is, kind, id)
	case aver.DeviceType:
		out.Device, _, err = v.thing(is, kind, id)
	default:
		out.Party, err = v.party(is, id)
	}
	return err
}

// simpleKind is what a subject that is not complex names.
func simpleKind(t aver.SignalType, id, event map[string]any) string {
	switch {
	case t.About == aver.TargetDevice, t.About == aver.TargetPrincipal && event["principal"] == "DEVICE":
		return aver.DeviceType
	case t.About == aver.TargetPrincipal && event["principal"] == "SESSION":
		return aver.SessionType
	case t.About == aver.TargetSessionOrParty && t.Fact == aver.FactSession && id["format"] == "opaque":
		return aver.SessionType // CAEP 1.0, section 3.1: the subject is the session
	}
	return userKind
}

// thing makes an entity of the identifier of a session or device, and tells whose it is.
func (v *Verifier) thing(is *issuer, kind string, id map[string]any) (aver.Ref, string, error) {
	by, member := is.Issuer.Issuer, ""
	switch id["format"] {
	case "opaque":
		member = "id"
	case "iss_sub":
		member = "sub"
		if by, _ = id["iss"].(string); v.named(is, by) == nil {
			return aver.Ref{}, "", bad(EventDenied, "sub_id: its issuer may not speak of what %q names", by)
		}
	default:
		return aver.Ref{}, "", bad(EventInvalid, "sub_id: a %s is named in the format opaque or iss_sub", kind)
	}
	text, _ := id[member].(string)
	if text == "" {
		return aver.Ref{}, "", bad(EventInvalid, "sub_id: %s of a %s is missing", member, kind)
	}
	return aver.Ref{Type: kind, ID: text}, by, nil
}

// named is the issuer of a name, if another issuer may speak of whom it names; else nil.
func (v *Verifier) named(is *issuer, name string) *issuer {
	if name == is.Issuer.Issuer {
		return is
	}
	if !slices.Contains(is.Signals.Others, name) {
		return nil
	}
	return v.issuers[name]
}

// party makes an entity of the identifier of a user.
func (v *Verifier) party(is *issuer, id map[string]any) (aver.Ref, error) {
	text := func(member string) string { s, _ := id[member].(string); return s }
	name := func(n *Naming, member string) (aver.Ref, error) {
		switch {
		case n == nil:
			return aver.Ref{}, bad(EventInvalid, "sub_id: nothing is configured by which the format %s names somebody", id["format"])
		case text(member) == "":
			return aver.Ref{}, bad(EventInvalid, "sub_id: %s is missing", member)
		}
		return aver.Ref{Type: n.Type, ID: n.Prefix + text(member)}, nil
	}
	switch id["format"] {
	case "iss_sub":
		by := v.named(is, text("iss"))
		if by == nil {
			return aver.Ref{}, bad(EventDenied, "sub_id: its issuer may not speak of whom %q names", text("iss"))
		}
		if c := by.Subject.Claim; c != "" && c != "sub" {
			return aver.Ref{}, bad(EventInvalid, "sub_id: the parties of %s are named here by the claim %s, not by sub", by.Issuer.Issuer, c)
		}
		return name(&by.Subject, "sub")
	case "email":
		return name(is.Signals.Email, "email")
	case "opaque":
		return name(is.Signals.Opaque, "id")
	case "aliases":
		list, _ := id["identifiers"].([]any)
		if len(list) == 0 || len(list) > maxEventTypes {
			return aver.Ref{}, bad(EventInvalid, "sub_id: aliases has 1 to %d identifiers", maxEventTypes)
		}
		var first error
		for _, alias := range list {
			member, _ := alias.(map[string]any)
			if member["format"] == "aliases" { // RFC 9493, section 3.2.8
				return aver.Ref{}, bad(EventInvalid, "sub_id: aliases can't stand in each other")
			}
			ref, err := v.party(is, member)
			if err == nil {
				return ref, nil
			}
			if first == nil {
				first = err
			}
		}
		return aver.Ref{}, first
	}
	return aver.Ref{}, bad(EventInvalid, "sub_id: subjects are named in the formats iss_sub, email, opaque, aliases and complex here")
}
