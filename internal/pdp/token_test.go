package pdp_test

import (
	"bytes"
	"crypto/rand"
	"slices"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

const tokenPolicies = `
@id("may-pay") permit (principal, action == Action::"pay", resource is payment) when { resource.amount <= 1000 };
@id("mallory") forbid (principal == user::"mallory", action, resource);
@id("phr") @gate("challenge") @acr_values("phr")
forbid (principal, action == Action::"pay", resource is payment) when { resource.amount > 500 }
unless { context.aver has token && context.aver.token has acr && context.aver.token.acr == "phr" };
@id("scope") forbid (principal, action == Action::"pay", resource) when
{ context.aver has token && !context.aver.token.scope.contains("pay") };
`

// token is a believed token of alice's, good for 5 minutes around a moment, with changes.
func token(now aver.Time, actors []string, change func(*aver.Token)) *aver.Token {
	t := &aver.Token{
		Authentication: aver.Authentication{
			Issuer: "https://login.example.com", Subject: "alice", KeyID: "k1", Digest: aver.Digest([]byte("t")),
			Verified: now, Expires: now + 300_000,
		},
		Party: aver.Ref{Type: "user", ID: "alice"}, Issued: now - 1000, Scope: []string{"pay"},
	}
	for _, a := range actors {
		t.Actors = append(t.Actors, aver.TokenActor{Ref: aver.Ref{Type: "ai_agent", ID: a}, Issuer: t.Issuer, Subject: a})
	}
	if change != nil {
		change(t)
	}
	return t
}

func tokenWorld(t testing.TB) *world {
	w := newWorld(t, tokenPolicies)
	w.agent("bot", nil)
	w.agent("sub", nil)
	w.grant(aver.Grant{ID: "g", From: aver.Ref{Type: "user", ID: "alice"}, To: aver.Ref{Type: "ai_agent", ID: "bot"}})
	return w
}

// B1, B6: a token says who acts for whom; whatever in it disagrees with the request is a denial with its reason.
func TestTokenTellsWhoActs(t *testing.T) {
	w := tokenWorld(t)
	now := w.st.Time() + 1000
	bot, sub, two := []string{"bot"}, []string{"sub"}, []string{"bot", "sub"}
	party := func(id string) func(*aver.Token) {
		return func(t *aver.Token) { t.Party = aver.Ref{Type: "user", ID: id} }
	}
	details := func(list ...aver.Properties) func(*aver.Token) {
		return func(t *aver.Token) { t.Detailed, t.Details = true, list }
	}
	acts := func(a ...any) []any { return a }
	for name, c := range map[string]struct {
		request string
		token   *aver.Token
		code    aver.ReasonCode // ReasonPermitted: it is permitted
	}{
		"the subject's own":               {pay(aliceJSON, 5, ""), token(now, nil, nil), aver.ReasonPermitted},
		"for the user":                    {pay(botJSON, 5, ""), token(now, bot, nil), aver.ReasonPermitted},
		"for the user, who is named":      {pay(botJSON, 5, `"on_behalf_of":`+aliceJSON), token(now, bot, nil), aver.ReasonPermitted},
		"over two actors":                 {pay(subJSON, 5, ""), token(now, two, nil), aver.ReasonPermitted},
		"and the grants say the same":     {pay(botJSON, 5, `"delegation":["g"]`), token(now, bot, nil), aver.ReasonPermitted},
		"the actor's own, with its grant": {pay(botJSON, 5, `"delegation":["g"]`), token(now, nil, func(t *aver.Token) { t.Party = aver.Ref{Type: "ai_agent", ID: "bot"} }), aver.ReasonPermitted},
		"the user's, shown by the agent":  {pay(botJSON, 5, `"on_behalf_of":`+aliceJSON), token(now, nil, nil), aver.ReasonTokenMismatch},
		"another actor's":                 {pay(botJSON, 5, ""), token(now, sub, nil), aver.ReasonTokenMismatch},
		"another user's":                  {pay(botJSON, 5, `"on_behalf_of":`+aliceJSON), token(now, bot, party("bob")), aver.ReasonTokenMismatch},
		"acting for nobody, it says":      {pay(aliceJSON, 5, `"on_behalf_of":{"type":"user","id":"bob"}`), token(now, nil, nil), aver.ReasonTokenMismatch},
		"the grants say otherwise":        {pay(botJSON, 5, `"delegation":["g"]`), token(now, bot, party("bob")), aver.ReasonTokenMismatch},
		"in a circle":                     {pay(botJSON, 5, ""), token(now, []string{"bot", "sub", "bot"}, nil), aver.ReasonChainLoop},
		"too deep":                        {pay(botJSON, 5, ""), token(now, []string{"1", "2", "3", "4", "5", "6", "7", "8", "bot"}, nil), aver.ReasonChainTooLong},
		"a user who may not":              {pay(botJSON, 5, ""), token(now, bot, party("mallory")), aver.ReasonForbidden},
		"a hop that nobody registered":    {pay(botJSON, 5, ""), token(now, []string{"stranger", "bot"}, nil), aver.ReasonForbidden},
		"without the scope":               {pay(aliceJSON, 5, ""), token(now, nil, func(t *aver.Token) { t.Scope = nil }), aver.ReasonForbidden},
		"too weak a level":                {pay(aliceJSON, 600, ""), token(now, nil, nil), aver.ReasonChallenge},
		"with the level":                  {pay(aliceJSON, 600, ""), token(now, nil, func(t *aver.Token) { t.ACR = "phr" }), aver.ReasonPermitted},
		"expired":                         {pay(aliceJSON, 5, ""), token(now, nil, func(t *aver.Token) { t.Expires = now - aver.TokenLeeway }), aver.ReasonTokenExpired},
		"expired within the leeway":       {pay(aliceJSON, 5, ""), token(now, nil, func(t *aver.Token) { t.Expires = now - aver.TokenLeeway + 1 }), aver.ReasonPermitted},
		"not yet valid":                   {pay(aliceJSON, 5, ""), token(now, nil, func(t *aver.Token) { t.NotBefore = now + aver.TokenLeeway + 1 }), aver.ReasonTokenPending},
		"issued in the future":            {pay(aliceJSON, 5, ""), token(now, nil, func(t *aver.Token) { t.Issued = now + aver.TokenLeeway + 1 }), aver.ReasonTokenPending},
		"not believed":                    {pay(aliceJSON, 5, ""), aver.Unverified("t", aver.TokenSignature, now), aver.ReasonTokenInvalid},
		"an SVID that expired":            {pay(aliceJSON, 5, ""), aver.Unverified("t", aver.TokenExpiredFault, now), aver.ReasonTokenExpired},
		"details that cover it":           {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "payment", "actions": acts("pay"), "identifier": "p", "amount": int64(5)})), aver.ReasonPermitted},
		"the second covers it":            {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "x"}, aver.Properties{"type": "payment"})), aver.ReasonPermitted},
		"details with no entry":           {pay(aliceJSON, 5, ""), token(now, nil, details()), aver.ReasonTokenScope},
		"another type":                    {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "invoice"})), aver.ReasonTokenScope},
		"another action":                  {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "payment", "actions": acts("refund")})), aver.ReasonTokenScope},
		"another resource":                {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "payment", "identifier": "q"})), aver.ReasonTokenScope},
		"another value":                   {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "payment", "amount": int64(6)})), aver.ReasonTokenScope},
		"a location nobody told":          {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "payment", "locations": acts("https://x")})), aver.ReasonTokenScope},
		"a privilege nobody told":         {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "payment", "privileges": acts("admin")})), aver.ReasonTokenScope},
		"half of each of two":             {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "payment", "identifier": "q"}, aver.Properties{"type": "x", "identifier": "p"})), aver.ReasonTokenScope},
		"a name that is no attribute":     {pay(aliceJSON, 5, ""), token(now, nil, details(aver.Properties{"type": "payment", "a.b": "c"})), aver.ReasonTokenScope},
	} {
		t.Run(name, func(t *testing.T) {
			req := request(t, c.request)
			req.Token = c.token
			q := pdp.NewQuery(req)
			d, e := pdp.Decide(w.st, q, now, nil)
			found := slices.ContainsFunc(d.Reasons, func(r aver.Reason) bool { return r.Code == c.code && r.Text != string(r.Code) })
			if !found || (d.Outcome == aver.Permitted) != (c.code == aver.ReasonPermitted) {
				t.Errorf("%v: %+v", d.Outcome, d.Reasons)
			}
			// D2: the record is enough to decide again, with nothing of the token.
			record, disclosures, err := pdp.NewRecord(w.st, q, d, e, pdp.Circumstances{ID: "x", Time: now, Random: rand.Reader})
			if err != nil {
				t.Fatal(err)
			}
			checkReadsBack(t, record)
			read, err := aver.ParseRecord(record.AppendCanonical(nil))
			if err != nil {
				t.Fatal(err)
			}
			req, missing, err := pdp.Reopen(read.Request, read.Token, disclosures)
			if err != nil || len(missing) > 0 {
				t.Fatal(err, missing)
			}
			again, evidence := pdp.Decide(w.st, pdp.NewQuery(req), read.Time, nil)
			if !bytes.Equal(again.AppendCanonical(nil), d.AppendCanonical(nil)) || len(evidence.Lacks(read.Omitted)) > 0 {
				t.Errorf("decided again: %+v\nlacks %v of %s", again, evidence.Lacks(read.Omitted), read.Request)
			}
		})
	}
}

// B6: every hop of the token's chain is a frame of its own.
func TestTokenHopsAreFrames(t *testing.T) {
	w := tokenWorld(t)
	now := w.st.Time() + 1000
	req := request(t, pay(subJSON, 5, ""))
	req.Token = token(now, []string{"bot", "sub"}, nil)
	d, _ := pdp.Decide(w.st, pdp.NewQuery(req), now, nil)
	var who []string
	for _, f := range d.Frames {
		who = append(who, string(f.As)+" "+f.Entity.ID)
	}
	if want := []string{"actor ", "delegator bot", "delegator alice"}; !slices.Equal(who, want) {
		t.Errorf("frames %q, want %q", who, want)
	}
}

// An access token says until when it may be shown, not until when the work may last; a request that brings a token which
// nobody checked is denied.
func TestTokenOfWorkUnderWay(t *testing.T) {
	w := tokenWorld(t)
	now := w.st.Time() + 1000
	req := request(t, pay(botJSON, 5, ""))
	req.Token = token(now, []string{"bot"}, nil)
	later := now + 3_600_000
	if d, _ := pdp.DecideInFlight(w.st, pdp.NewQuery(req), later, nil); d.Outcome != aver.Permitted {
		t.Errorf("under way: %v %+v", d.Outcome, d.Reasons)
	}
	unchecked := request(t, pay(aliceJSON, 5, `"token":"eyJ.secret.x"`))
	q := pdp.NewQuery(unchecked)
	d, e := pdp.Decide(w.st, q, now, nil)
	if d.Outcome != aver.Denied || d.Reasons[0].Code != aver.ReasonTokenInvalid {
		t.Errorf("unchecked: %v %+v", d.Outcome, d.Reasons)
	}
	record, _, err := pdp.NewRecord(w.st, q, d, e, pdp.Circumstances{ID: "x", Time: now, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if text := record.AppendCanonical(nil); bytes.Contains(text, []byte("secret")) || record.Token.Digest != aver.Digest([]byte("eyJ.secret.x")) {
		t.Errorf("the record holds the token, or not its digest: %s", text)
	}
}
