package api

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authn"
	"github.com/aver-authz/aver/internal/pap"
)

// caller is who makes a request, as they were authenticated.
type caller struct {
	name   string // of the credential
	method string // as in [aver.By]
	role   aver.Role
	person *aver.Ref // whom the credential belongs to; nil: a program

	authentication *aver.Authentication // by a token of an issuer; nil: by a credential of Aver's own
}

// logged is what the log of the server calls the caller: a credential by its name; who came with a token of an OpenID
// provider, who is a person as a rule, by a digest of their name in records and events.
func (c *caller) logged() string {
	if c.method == aver.MethodOIDC {
		return aver.MethodOIDC + ":" + aver.Digest([]byte(c.name))[:16]
	}
	return c.name
}

// anonymous is the caller's name where nobody is authenticated.
const anonymous = "anonymous"

// access lists the roles that may use a route; nil: everybody, also without a token.
type access []aver.Role

var (
	public    access
	evaluate  = access{aver.RolePEP, aver.RoleAdmin}
	read      = access{aver.RoleAuditor, aver.RoleAdmin}
	admin     = access{aver.RoleAdmin}
	answer    = access{aver.RoleApprover, aver.RoleAdmin}
	revoke    = access{aver.RolePEP, aver.RoleApprover, aver.RoleAdmin} // then the grant itself says who may
	approvals = access{aver.RoleApprover, aver.RoleAuditor, aver.RoleAdmin}
	tell      = access{aver.RolePEP, aver.RoleApprover, aver.RoleAdmin} // then the administration bundle says who may
	everybody = access{aver.RolePEP, aver.RoleAuditor, aver.RoleAdmin}  // with a token
)

func (a access) allows(role aver.Role) bool {
	for _, r := range a {
		if r == role {
			return true
		}
	}
	return false
}

// authenticate finds out who calls and whether they may.
func (a *API) authenticate(c *call) error {
	if a.o.NoAuth {
		return a.admitLocal(c)
	}
	c.caller = caller{name: "", method: "none"}
	if c.route.access == nil || c.route.tiles && a.o.PublicLogs {
		return nil
	}
	header := c.header("Authorization")
	if header == "" {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="aver"`)
		return &problem{Slug: "unauthorized", Status: http.StatusUnauthorized,
			Detail: "a bearer token is needed: send it as Authorization: Bearer TOKEN"}
	}
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if tokens := a.o.Tokens(); tokens != nil && strings.EqualFold(scheme, "Bearer") && authn.IsJWT(token) {
		return a.authenticateToken(c, tokens, token)
	}
	credential, err := a.o.PAP.Authenticate(token)
	if !strings.EqualFold(scheme, "Bearer") || errors.Is(err, pap.ErrBadToken) {
		return c.unauthorized("the bearer token gives no access: it is unknown, expired or revoked", err)
	}
	if err != nil {
		return err
	}
	c.caller = caller{name: credential.Name, method: "bearer", role: credential.Role, person: credential.Subject}
	return a.admit(c)
}

// admitLocal takes everybody for an administrator, but no web page that makes the user's browser ask: neither one from
// another site, nor one whose name was pointed at this machine.
func (a *API) admitLocal(c *call) error {
	c.caller = caller{name: anonymous, method: "none", role: aver.RoleAdmin}
	if err := a.origins.Check(c.Request); err != nil {
		return &problem{Slug: "forbidden", Status: http.StatusForbidden, Detail: "requests from other sites are refused while nobody is authenticated"}
	}
	host := c.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err == nil && addr.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return nil
	}
	return &problem{Slug: "forbidden", Status: http.StatusForbidden,
		Detail: "while nobody is authenticated, the server answers only under the name localhost or a loopback address"}
}

// who is the caller as one who makes changes.
func (c *call) who() pap.Administrator {
	by := aver.By{Name: c.caller.name, Method: c.caller.method, Authentication: c.caller.authentication}
	if c.caller.person != nil {
		by.Subject = *c.caller.person
	}
	who := pap.Administrator{By: by, Role: c.caller.role}
	if au := by.Authentication; au != nil {
		who.Authentication = map[string]any{"issuer": au.Issuer, "key_id": au.KeyID, "acr": au.ACR}
		if au.AuthTime != 0 {
			who.Authentication["auth_time"] = au.AuthTime.String()
		}
	}
	return who
}

// Headers by which an instance of a PEP numbers its requests, so that what never arrived is found.
const (
	instanceHeader = "X-Aver-PEP-Instance"
	sequenceHeader = "X-Aver-PEP-Sequence"
)

// The same in the canonical form.
var (
	instanceKey = http.CanonicalHeaderKey(instanceHeader)
	sequenceKey = http.CanonicalHeaderKey(sequenceHeader)
)

// pep is how records name the caller.
func (c *call) pep() (aver.PEP, error) {
	p := aver.PEP{Credential: c.caller.name, Authentication: c.caller.authentication, Instance: c.header(instanceKey), RequestID: c.header(requestID)}
	number := c.header(sequenceKey)
	if p.Instance != "" {
		if err := aver.ValidateInstance(p.Instance); err != nil {
			return p, &problem{Slug: "invalid-request", Status: http.StatusBadRequest, Detail: instanceHeader + ": " + err.Error()}
		}
	}
	if number == "" {
		return p, nil
	}
	var err error
	if p.Sequence, err = strconv.ParseUint(number, 10, 53); err != nil || p.Sequence == 0 || p.Instance == "" {
		return p, &problem{Slug: "invalid-request", Status: http.StatusBadRequest,
			Detail: sequenceHeader + ": a whole number from 1 to 9007199254740991, beside " + instanceHeader}
	}
	return p, nil
}
