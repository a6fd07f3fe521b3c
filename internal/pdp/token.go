package pdp

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// link is one hop of the chain: somebody let somebody else act for them, by a
// grant or by an access token that names both (RFC 8693).
type link struct {
	from, to aver.Ref
	purpose  string
}

func grantLinks(chain []*authority.Grant) []link {
	out := make([]link, len(chain))
	for i, g := range chain {
		out[i] = link{g.From, g.To, g.Purpose}
	}
	return out
}

// tokenHops are the hops of the act claim. RFC 8693 has only the current actor
// count for access control: the others give nothing here either, but each takes
// away what they may not do themselves (B6).
func (q *Query) tokenHops() []link {
	t := q.token
	if t == nil || t.Fault != "" {
		return nil
	}
	out := make([]link, len(t.Actors))
	from := t.Party
	for i, a := range t.Actors {
		out[i] = link{from, a.Ref, t.Purpose}
		from = a.Ref
	}
	return out
}

// resolveToken checks the token that came with the request, apart from what is
// asked. If no grants are cited, its hops are the chain; if some are, they must
// tell of the same parties.
func (d *decider) resolveToken() {
	t := d.q.token
	if t == nil {
		return
	}
	fault := func(code aver.ReasonCode, detail string) {
		d.chainFaults = append(d.chainFaults, because(code, nil, "", detail))
	}
	switch {
	case t.Fault == aver.TokenExpiredFault:
		fault(aver.ReasonTokenExpired, "")
		return
	case t.Fault != "":
		fault(aver.ReasonTokenInvalid, string(t.Fault))
		return
	}
	// A token says until when it may be shown, not until when the work may last.
	if d.now >= t.Expires+aver.TokenLeeway && !d.inFlight {
		fault(aver.ReasonTokenExpired, t.Expires.String())
	}
	if from := max(t.NotBefore, t.Issued); d.now < from-aver.TokenLeeway {
		fault(aver.ReasonTokenPending, from.String())
	}
	subject := d.q.Request.Subject.Ref
	if actor := t.Actor(); actor != subject {
		fault(aver.ReasonTokenMismatch, fmt.Sprintf("it is %s's, not %s's", actor, subject))
	}
	origin, claimed := d.q.Request.OnBehalfOf()
	hops := d.q.tokenHops()
	if len(d.q.chain) > 0 {
		if len(hops) > 0 && !slices.EqualFunc(hops, d.links, func(a, b link) bool { return a.from == b.from && a.to == b.to }) {
			fault(aver.ReasonTokenMismatch, "its chain is another than that of the grants")
		}
		return
	}
	switch {
	case claimed && len(hops) == 0:
		fault(aver.ReasonTokenMismatch, fmt.Sprintf("it does not say that %s acts for %s", subject, origin))
	case claimed && origin != t.Party:
		fault(aver.ReasonTokenMismatch, fmt.Sprintf("it says that %s acts for %s, not for %s", subject, t.Party, origin))
	}
	if len(hops) > aver.MaxChain {
		fault(aver.ReasonChainTooLong, fmt.Sprintf("%d actors, at most %d", len(hops), aver.MaxChain))
		return
	}
	seen := map[aver.Ref]bool{t.Party: true}
	for _, a := range t.Actors {
		if seen[a.Ref] {
			fault(aver.ReasonChainLoop, a.Ref.String())
		}
		seen[a.Ref] = true
	}
	d.links = hops
}

// plainName is what a member of authorization_details is called that can be
// compared with an attribute.
var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// covered tells whether what is asked lies inside one of the token's
// authorization_details (RFC 9396). An entry covers it if all of its members do:
//
//	type        the resource's type
//	identifier  its id
//	actions     a list with the action's name
//	locations   a list with its attribute "location"
//	datatypes   a list with its attribute "datatype"
//	privileges  a list with the action's property "privilege"
//	any other   its attribute of the same name, equal in value
//
// What can't be compared covers nothing.
func (d *decider) covered(entities *world) bool {
	t := d.q.token
	if t == nil || t.Fault != "" || !t.Detailed {
		return true
	}
	e, _ := entities.Get(d.q.resource)
	found := false
	for _, entry := range t.Details {
		inside := true
		for _, name := range aver.MemberNames(entry) { // all of them: what is read must not depend on what was found
			inside = d.inside(e, name, entry[name]) && inside
		}
		found = found || inside && len(entry) > 0
	}
	return found
}

func (d *decider) inside(resource types.Entity, name string, allowed any) bool {
	among := func(v types.Value, ok bool) bool {
		text, isText := v.(types.String)
		list, _ := allowed.([]any)
		return ok && isText && slices.Contains(list, any(string(text)))
	}
	attribute := func(name string) (types.Value, bool) {
		d.evidence.read(policy.ReadSet{}.With(policy.Path("resource." + name)))
		return resource.Attributes.Get(types.String(name))
	}
	switch name {
	case "type":
		return allowed == string(d.q.resource.Type)
	case "identifier":
		return allowed == string(d.q.resource.ID)
	case "actions":
		return among(d.q.action.ID, true)
	case "locations":
		return among(attribute("location"))
	case "datatypes":
		return among(attribute("datatype"))
	case "privileges":
		d.evidence.read(policy.ReadSet{}.With("action.privilege"))
		return among(d.q.actionRecord().Get("privilege"))
	}
	if !plainName.MatchString(name) {
		return false
	}
	have, ok := attribute(name)
	want, err := policy.ValueFromJSON(allowed, name)
	return ok && err == nil && have.Equal(want)
}

// tokenRecord is context.aver.token: what the verified token says.
func tokenRecord(t *aver.Token) types.Record {
	texts := func(list []string) types.Set {
		values := make([]types.Value, len(list))
		for i, s := range list {
			values[i] = types.String(s)
		}
		return types.NewSet(values...)
	}
	m := types.RecordMap{
		"issuer": types.String(t.Issuer), "subject": types.String(t.Subject),
		"scope": texts(t.Scope), "amr": texts(t.AMR),
		"expires": types.NewDatetimeFromMillis(int64(t.Expires)),
	}
	for name, text := range map[string]string{"acr": t.ACR, "client": t.Client, "txn": t.Txn, "purpose": t.Purpose} {
		if text != "" {
			m[types.String(name)] = types.String(text)
		}
	}
	if t.AuthTime != 0 {
		m["auth_time"] = types.NewDatetimeFromMillis(int64(t.AuthTime))
	}
	return types.NewRecord(m)
}
