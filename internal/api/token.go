package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authn"
)

// subjectTokenHeader, in the canonical form, brings the token of the PEP's own caller, where context.token does not.
const subjectTokenHeader = "Aver-Subject-Token"

// authenticateToken finds out who calls with a token of a configured issuer, and whether they may.
func (a *API) authenticateToken(c *call, tokens *authn.Verifier, token string) error {
	id, err := tokens.Authenticate(c.Context(), token)
	if errors.Is(err, authn.ErrBadToken) {
		return c.unauthorized("the token gives no access: it is not from an issuer configured for this, not for this audience, expired, or can't be verified", err)
	}
	if err != nil {
		return err
	}
	c.caller = caller{name: id.Ref.String(), method: id.Method, role: id.Role, person: &id.Ref, authentication: &id.Authentication}
	st := a.state()
	kind := aver.KindOfType(id.Ref.Type)
	// A token can outlive what it stands for: what is registered counts.
	if known, ok := st.Identity(id.Ref); ok {
		kind = known.Kind
		if !known.Stands(a.now()) {
			return c.forbidden("the identity " + c.caller.name + " is suspended, retired or expired")
		}
	}
	switch {
	case id.Role == "":
		return c.forbidden("the token gives " + c.caller.name + " no role here")
	case id.Role == aver.RoleApprover && kind != aver.HumanUser:
		return c.forbidden(c.caller.name + " is not a person, and only people approve")
	}
	return a.admit(c)
}

// stands refuses a caller whose credential is good, but whose person is suspended, retired or expired as registered, or
// has a disabled account. Where the administration bundle is asked it finds that out itself, and the denial is recorded.
// What ended is told to whom it was given, all the same.
func (a *API) stands(c *call) error {
	if c.caller.person == nil || c.route.asks() || c.route.pattern == withdrawalsRoute {
		return nil
	}
	st, who := a.state(), *c.caller.person
	if known, ok := st.Identity(who); ok && !known.Stands(a.now()) {
		return c.forbidden("the identity " + who.String() + " is suspended, retired or expired")
	}
	if st.Disabled(who) {
		return c.forbidden("the account of " + who.String() + " was disabled, as a signal says")
	}
	return nil
}

// takeToken verifies the token that came with a request, in the body or in the header. One that many evaluations of a
// batch share is verified once.
func (a *API) takeToken(c *call, req *aver.Request) {
	token := req.SubjectToken
	header := c.header(subjectTokenHeader)
	switch {
	case token == "" && header == "":
		return
	case token == "":
		token = header
	case header != "" && header != token:
		req.Token = aver.Unverified(token, aver.TokenTwice, aver.TimeOf(a.o.Now()))
		return
	}
	req.SubjectToken = token
	if known, ok := c.tokens[token]; ok {
		req.Token = known
		return
	}
	if tokens := a.o.Tokens(); tokens != nil {
		req.Token = tokens.Check(c.Context(), token)
	} else {
		req.Token = aver.Unverified(token, aver.TokenUnchecked, aver.TimeOf(a.o.Now()))
	}
	if c.tokens == nil {
		c.tokens = map[string]*aver.Token{}
	}
	c.tokens[token] = req.Token
}

// asks tells whether the administration bundle is asked before anything is done.
func (rt route) asks() bool {
	return rt.evidence != "" || !strings.HasPrefix(rt.pattern, "GET ") && strings.Contains(rt.pattern, " /v1/")
}

// unauthorized says that a token gives no access.
func (c *call) unauthorized(detail string, cause error) error {
	c.w.Header().Set("WWW-Authenticate", `Bearer realm="aver", error="invalid_token"`)
	return &problem{Slug: "unauthorized", Status: http.StatusUnauthorized, Detail: detail, cause: cause}
}

// forbidden says that a token is good, but not for this.
func (c *call) forbidden(detail string) error {
	c.w.Header().Set("WWW-Authenticate", `Bearer realm="aver", error="insufficient_scope"`)
	return &problem{Slug: "forbidden", Status: http.StatusForbidden, Detail: detail}
}

// admit lets the caller through if their role may use a route, and they still stand.
func (a *API) admit(c *call) error {
	if !c.route.access.allows(c.caller.role) {
		return c.forbidden("a credential with the role " + string(c.caller.role) + " may not do this")
	}
	return a.stands(c)
}
