package authn

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/aver-authz/aver"
)

// trustDomain is a trust domain with the keys in its bundle file.
type trustDomain struct {
	TrustDomain
	id spiffeid.TrustDomain

	mu     sync.Mutex
	bundle *jwtbundle.Bundle
	read   time.Time // when the file that was read was last changed
	looked time.Time
}

// bundleLook is how often the bundle's file is looked at.
const bundleLook = time.Second

func openTrustDomain(c TrustDomain) (*trustDomain, error) {
	td := &trustDomain{TrustDomain: c}
	var err error
	if td.id, err = spiffeid.TrustDomainFromString(c.TrustDomain); err != nil {
		return nil, err
	}
	_, err = td.GetJWTBundleForTrustDomain(td.id)
	return td, err
}

// GetJWTBundleForTrustDomain implements [jwtbundle.Source]. A bundle that can't be read any more leaves the one there was.
func (td *trustDomain) GetJWTBundleForTrustDomain(id spiffeid.TrustDomain) (*jwtbundle.Bundle, error) {
	if id != td.id {
		return nil, fmt.Errorf("no bundle for trust domain %q", id)
	}
	td.mu.Lock()
	defer td.mu.Unlock()
	if now := time.Now(); td.bundle == nil || now.Sub(td.looked) >= bundleLook {
		td.looked = now
		if err := td.reload(); err != nil && td.bundle == nil {
			return nil, err
		}
	}
	return td.bundle, nil
}

func (td *trustDomain) reload() error {
	info, err := os.Stat(td.Bundle)
	if err != nil || td.bundle != nil && info.ModTime().Equal(td.read) {
		return err
	}
	if info.Size() > maxDocument {
		return fmt.Errorf("%s is larger than %d bytes", td.Bundle, maxDocument)
	}
	bundle, err := jwtbundle.Load(td.id, td.Bundle)
	if err == nil {
		td.bundle, td.read = bundle, info.ModTime()
	}
	return err
}

// trustDomain returns the configured trust domain of a SPIFFE id.
func (v *Verifier) trustDomain(id string) (*trustDomain, bool) {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	if !ok {
		return nil, false
	}
	name, _, _ := strings.Cut(rest, "/")
	td, ok := v.domains[name]
	return td, ok
}

func (v *Verifier) verifySVID(td *trustDomain, token string, parsed *jwt.JSONWebToken, u use) (*verified, *fault) {
	var audiences []string
	switch {
	case u == forAPI && td.API != nil:
		audiences = []string{td.API.Audience}
	case u == forCaller && td.Tokens != nil:
		audiences = td.Tokens.Audiences
	default:
		return nil, faulty(aver.TokenIssuer, nil)
	}
	bundle, _ := td.GetJWTBundleForTrustDomain(td.id) // if it can't be had, the next line says so
	svid, err := jwtsvid.ParseAndValidate(token, td, audiences)
	if err != nil {
		return nil, faulty(svidFault(td, parsed, audiences), nil)
	}
	out := &verified{method: aver.MethodSPIFFE, all: svid.Claims, api: td.API, still: func() bool {
		now, err := td.GetJWTBundleForTrustDomain(td.id)
		return err == nil && now == bundle
	}}
	t := &out.Token
	t.Digest, t.KeyID, t.Verified = aver.Digest([]byte(token)), parsed.Headers[0].KeyID, v.now()
	t.Issuer, t.Subject, t.Expires = td.id.IDString(), svid.ID.String(), aver.TimeOf(svid.Expiry)
	t.Party = aver.Ref{Type: td.Type, ID: svid.ID.String()}
	if err := t.Validate(); err != nil {
		return nil, faulty(aver.TokenClaims, nil)
	}
	return out, nil
}

// svidFault finds out why an SVID was refused, which jwtsvid tells in words only.
func svidFault(td *trustDomain, parsed *jwt.JSONWebToken, audiences []string) aver.TokenFault {
	bundle, err := td.GetJWTBundleForTrustDomain(td.id)
	if err != nil {
		return aver.TokenUnreachable
	}
	key, ok := bundle.FindJWTAuthority(parsed.Headers[0].KeyID)
	if !ok {
		return aver.TokenKey
	}
	var c jwt.Claims
	if err := parsed.Claims(key, &c); err != nil {
		return aver.TokenSignature
	}
	switch c.Validate(jwt.Expected{AnyAudience: audiences, Time: time.Now()}) {
	case jwt.ErrExpired:
		return aver.TokenExpiredFault
	case jwt.ErrInvalidAudience:
		return aver.TokenAudience
	}
	return aver.TokenClaims
}
