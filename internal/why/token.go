package why

import (
	"fmt"
	"strings"

	"github.com/aver-authz/aver"
)

// tokenHolds tells whether a token came with the request that is believed and
// speaks for the one who asked.
func (x *explainer) tokenHolds() bool {
	t := x.record.Token
	if t == nil || t.Fault != "" {
		return false
	}
	for _, s := range x.all {
		for _, r := range s.Reasons {
			switch r.Code {
			case aver.ReasonTokenInvalid, aver.ReasonTokenExpired, aver.ReasonTokenPending, aver.ReasonTokenMismatch,
				aver.ReasonChainLoop, aver.ReasonChainTooLong:
				return false
			}
		}
	}
	return true
}

// byToken says on whose authority a request was made that cites no grants and
// comes with a token; "" if the token says nothing of that.
func (x *explainer) byToken() string {
	t, actor := x.record.Token, x.out.Asked.Actor.name()
	switch {
	case t == nil:
		return ""
	case t.Fault == "" && len(t.Actors) == 0 && x.tokenHolds():
		whose := "its"
		if x.out.Asked.Actor.Kind == aver.HumanUser {
			whose = "their"
		}
		return fmt.Sprintf("%s asked on %s own authority, and showed a token that proves who it is.", actor, whose)
	case t.Fault == "" && len(t.Actors) > 0:
		var names []string
		for _, p := range t.Parties() {
			names = append(names, p.ID)
		}
		by := "a token of " + t.Issuer + ": " + strings.Join(names, " > ")
		if x.tokenHolds() {
			return fmt.Sprintf("%s asked on the authority of %s, by %s.", actor, t.Party.ID, by)
		}
		return fmt.Sprintf("%s showed %s. It does not hold here, so nobody's authority was passed on.", actor, by)
	}
	return fmt.Sprintf("%s showed a token that is worth nothing here, so nobody's authority was passed on.", actor)
}

// token tells what the token said, and who vouches for it.
func (p page) token(t *aver.Token) {
	if t == nil {
		return
	}
	p.WriteString("\n")
	p.line(2, "The caller's token, of which only this is kept:")
	p.line(5, "SHA-256 %s", t.Digest)
	if t.Fault != "" {
		p.line(5, "! not believed: %s", t.Fault)
		return
	}
	p.authentication(5, &t.Authentication)
	from := t.Party
	for _, a := range t.Actors {
		p.line(5, "%s let %s act (act claim, %s)", from.ID, a.ID, a.Issuer)
		from = a.Ref
	}
	if t.Purpose != "" {
		p.line(5, "for the purpose: %s", t.Purpose)
	}
	if t.Txn != "" {
		p.line(5, "in the transaction %s", t.Txn)
	}
	if len(t.Scope) > 0 {
		p.line(5, "scope %s", strings.Join(t.Scope, " "))
	}
	for _, d := range t.Details {
		p.line(5, "it lets do %s", aver.AppendCanonical(nil, map[string]any(d)))
	}
	if t.Detailed && len(t.Details) == 0 {
		p.line(5, "its authorization_details are empty, so it lets do nothing")
	}
}

// authentication tells by whom and how somebody was authenticated (A3).
func (p page) authentication(indent int, a *aver.Authentication) {
	p.line(indent, "%s says that it is %s", a.Issuer, a.Subject)
	p.line(indent, "verified %s with the issuer's key %s, good until %s", at(a.Verified), a.KeyID, at(a.Expires))
	var how []string
	if a.ACR != "" {
		how = append(how, "level "+a.ACR)
	}
	if len(a.AMR) > 0 {
		how = append(how, "by "+strings.Join(a.AMR, ", "))
	}
	if a.AuthTime != 0 {
		how = append(how, "at "+at(a.AuthTime))
	}
	if len(how) > 0 {
		p.line(indent, "the party authenticated itself: %s", strings.Join(how, ", "))
	}
}
