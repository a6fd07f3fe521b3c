// Package authn finds out who somebody is from the token they show: access tokens (JWT, RFC 9068) of configured OpenID
// providers, and SPIFFE JWT-SVIDs of configured trust domains. Aver's own tokens are looked up by [pap.Point.Authenticate].
//
// Nothing but a configured URL is ever fetched, no token is logged, and whatever is not provably right is refused.
package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/aver-authz/aver"
)

// ErrBadToken says that a token gives no access: it was not issued for Aver, has expired, or could not be verified.
var ErrBadToken = errors.New("the token gives no access")

// Identity is who somebody proved to be.
type Identity struct {
	Ref            aver.Ref  // issuer and subject, as an entity
	Role           aver.Role // "": none, which gives access to nothing
	Method         string    // "oidc" or "spiffe"
	Authentication aver.Authentication
}

// Verifier checks tokens. Safe for concurrent use.
type Verifier struct {
	issuers map[string]*issuer
	domains map[string]*trustDomain
	clock   func() time.Time
	log     *slog.Logger
	cache   cache
}

type issuer struct {
	Issuer
	keys *keys
}

// New returns a verifier. Bundles of trust domains are read now; the keys of issuers when they are first needed, so that
// an issuer that is down keeps nobody from starting. Clock and logger may be nil.
func New(c *Config, clock func() time.Time, log *slog.Logger) (*Verifier, error) {
	if clock == nil {
		clock = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{issuers: map[string]*issuer{}, domains: map[string]*trustDomain{}, clock: clock, log: log}
	client := newClient()
	for _, is := range c.Issuers {
		v.issuers[is.Issuer] = &issuer{Issuer: is, keys: &keys{issuer: is.Issuer, jwks: is.JWKS, client: client, now: clock}}
	}
	for _, c := range c.SPIFFE {
		td, err := openTrustDomain(c)
		if err != nil {
			return nil, fmt.Errorf("trust domain %q: %w", c.TrustDomain, err)
		}
		v.domains[c.TrustDomain] = td
	}
	return v, nil
}

// Renew returns a verifier by another configuration. The keys of issuers that both have are kept, so that a change for one
// is no load on the others; nothing else is: what the old one believed, the new one checks again.
func Renew(old *Verifier, c *Config) (*Verifier, error) {
	v, err := New(c, old.clock, old.log)
	if err != nil {
		return nil, err
	}
	for name, is := range v.issuers {
		if before := old.issuers[name]; before != nil && before.JWKS == is.JWKS {
			is.keys = before.keys
		}
	}
	return v, nil
}

// find returns a key of the issuer, unless it is revoked here, and when it was fetched.
func (is *issuer) find(ctx context.Context, id string) (jose.JSONWebKey, time.Time, error) {
	if slices.Contains(is.RevokedKeys, id) {
		return jose.JSONWebKey{}, time.Time{}, errNoKey
	}
	return is.keys.find(ctx, id)
}

func (v *Verifier) now() aver.Time { return aver.TimeOf(v.clock()) }

// IsJWT tells whether a bearer token looks like one of an issuer, and not like one of Aver's own.
func IsJWT(token string) bool {
	return strings.HasPrefix(token, "eyJ") && strings.Count(token, ".") == 2
}

// Authenticate finds out who calls Aver's API with a token. The error wraps [ErrBadToken].
func (v *Verifier) Authenticate(ctx context.Context, token string) (*Identity, error) {
	t, f := v.verify(ctx, token, forAPI)
	if f != nil {
		v.refused(f)
		return nil, fmt.Errorf("%w: %w", ErrBadToken, f)
	}
	now := v.now()
	switch {
	case now >= t.Expires+aver.TokenLeeway:
		return nil, fmt.Errorf("%w: it expired %s", ErrBadToken, t.Expires)
	case now < max(t.NotBefore, t.Issued)-aver.TokenLeeway:
		return nil, fmt.Errorf("%w: it is not valid before %s", ErrBadToken, max(t.NotBefore, t.Issued))
	case len(t.Actors) > 0 || t.Detailed:
		return nil, fmt.Errorf("%w: who administers Aver or asks it does so in their own name, and this token lets somebody act for somebody else, or only within authorization_details", ErrBadToken)
	}
	return &Identity{Ref: t.Party, Role: t.role(), Method: t.method, Authentication: t.Authentication}, nil
}

// role is the first that matches.
func (t *verified) role() aver.Role {
	r := &t.api.Roles
	has := func(names []string) bool {
		if t.method == aver.MethodSPIFFE {
			return slices.ContainsFunc(names, func(name string) bool {
				below, any := strings.CutSuffix(name, "/*")
				return name == t.Subject || any && strings.HasPrefix(t.Subject, below+"/")
			})
		}
		switch v := t.all[r.Claim].(type) {
		case string:
			if r.Claim == "scope" {
				return slices.ContainsFunc(strings.Fields(v), func(s string) bool { return slices.Contains(names, s) })
			}
			return slices.Contains(names, v)
		case []any:
			return slices.ContainsFunc(v, func(e any) bool {
				s, ok := e.(string)
				return ok && slices.Contains(names, s)
			})
		}
		return false
	}
	switch {
	case has(r.Admin):
		return aver.RoleAdmin
	case has(r.Approver):
		return aver.RoleApprover
	case has(r.Auditor):
		return aver.RoleAuditor
	case has(r.PEP):
		return aver.RolePEP
	}
	return ""
}

// Check verifies the token that came with a request. It always returns one: a token that is not believed has a fault,
// and the decision says so. Whether it has expired is for the decision to find.
func (v *Verifier) Check(ctx context.Context, token string) *aver.Token {
	t, f := v.verify(ctx, token, forCaller)
	if f != nil {
		v.refused(f)
		return aver.Unverified(token, f.code, v.now())
	}
	return &t.Token
}

func (v *Verifier) refused(f *fault) {
	if f.code == aver.TokenUnreachable {
		v.log.Warn("the keys of an issuer can't be had, so its tokens are refused", "error", f.cause)
	}
}
