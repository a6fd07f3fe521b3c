package api

import (
	"errors"
	"net/http"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authn"
)

// subjectTokenHeader brings the token of the PEP's own caller, where context.token does not.
const subjectTokenHeader = "Aver-Subject-Token"

// authenticateToken finds out who calls with a token of a configured issuer, and whether they may.
func (a *API) authenticateToken(rt route, c *call, tokens *authn.Verifier, token string) error {
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
		if now := max(aver.TimeOf(a.o.Now()), st.Time()); known.Status != aver.Active || known.Expires != 0 && known.Expires <= now {
			return c.forbidden("the identity " + c.caller.name + " is suspended, retired or expired")
		}
	}
	switch {
	case id.Role == "":
		return c.forbidden("the token gives " + c.caller.name + " no role here")
	case id.Role == aver.RoleApprover && kind != aver.HumanUser:
		return c.forbidden(c.caller.name + " is not a person, and only people approve")
	}
	return c.admit(rt)
}

// takeToken verifies the token that came with a request, in the body or in the header. One that many evaluations of a
// batch share is verified once.
func (a *API) takeToken(c *call, req *aver.Request) {
	token := req.SubjectToken
	header := c.Header.Get(subjectTokenHeader)
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

// admit lets the caller through if their role may use a route.
func (c *call) admit(rt route) error {
	if !rt.access.allows(c.caller.role) {
		return c.forbidden("a credential with the role " + string(c.caller.role) + " may not do this")
	}
	return nil
}
