package pap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// tokenPrefix makes our tokens easy to find for scanners that look for leaked secrets.
const tokenPrefix = "aver_"

// ErrBadToken says that a bearer token gives no access: it is unknown, expired or revoked.
var ErrBadToken = errors.New("the token gives no access")

// NewToken makes a bearer token of 256 random bits. It gives access once an event says so of its [aver.Digest].
func NewToken() string { return tokenPrefix + base64.RawURLEncoding.EncodeToString(random(32)) }

// IssueCredential makes a bearer token and keeps its digest as the credential. The token ([NewToken]) is returned
// once and is nowhere else; c.Digest is set here. With [ErrNotIncluded] the token is valid.
func (p *Point) IssueCredential(ctx context.Context, who Administrator, reason string, c aver.Credential) (token string, change *Change, err error) {
	token = NewToken()
	c.Digest = aver.Digest([]byte(token))
	change, err = p.Do(ctx, who, reason, aver.EventCredentialIssued, c)
	if change == nil {
		return "", nil, err
	}
	return token, change, err
}

// Authenticate returns the credential that a bearer token belongs to. The token is looked up by its SHA-256, so how
// long it takes says nothing about the tokens there are: whoever could use the timing of the comparison would have to
// choose digests, not tokens. The error wraps [ErrBadToken].
func (p *Point) Authenticate(token string) (*authority.Credential, error) {
	st := p.Current().State
	c, ok := st.Credential(aver.Digest([]byte(token)))
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: it is not known here", ErrBadToken)
	case c.Revoked != nil:
		return nil, fmt.Errorf("%w: credential %q was revoked %s", ErrBadToken, c.Name, c.Revoked.Time)
	// A clock that jumped back brings nothing back to life that the log has outlived.
	case c.Expires != 0 && c.Expires <= max(aver.TimeOf(p.o.Now()), st.Time()):
		return nil, fmt.Errorf("%w: credential %q expired %s", ErrBadToken, c.Name, c.Expires)
	}
	return c, nil
}
