package authn

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/aver-authz/aver"
)

// use is what a token is shown for, which decides what its audience has to be.
type use int

const (
	forAPI    use = iota // to be let into Aver
	forCaller            // beside a request, by a PEP whose caller showed it
)

// fault is why a token is not accepted. The cause is for the log; it never holds the token.
type fault struct {
	code  aver.TokenFault
	cause error
}

func (f *fault) Error() string {
	if f.cause != nil {
		return string(f.code) + ": " + f.cause.Error()
	}
	return string(f.code)
}

func faulty(code aver.TokenFault, cause error) *fault { return &fault{code, cause} }

// claims are those that are read of access tokens (RFC 9068, 8693, 9396) and of transaction tokens.
type claims struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  jwt.Audience     `json:"aud"`
	Expires   *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	Issued    *jwt.NumericDate `json:"iat"`
	AuthTime  *jwt.NumericDate `json:"auth_time"`
	ID        string           `json:"jti"`
	Session   string           `json:"sid"`
	Client    string           `json:"client_id"`
	Scope     string           `json:"scope"`
	ACR       string           `json:"acr"`
	AMR       []string         `json:"amr"`
	Act       json.RawMessage  `json:"act"`
	Details   json.RawMessage  `json:"authorization_details"`
	Txn       string           `json:"txn"`
	Purpose   string           `json:"purp"`
}

// The types of JWT that are accepted: access tokens (RFC 9068), and transaction tokens (draft-ietf-oauth-transaction-tokens).
var tokenTypes = []string{"at+jwt", "application/at+jwt", "txntoken+jwt", "application/txntoken+jwt"}

// maxTime bounds the times in tokens, in seconds: the year 9999.
const maxTime = 253402300799

// verified is a token that was checked, with the claims that are not in [aver.Token].
type verified struct {
	aver.Token
	method string
	all    map[string]any
	api    *API
	still  func() bool // the keys it was verified with are those of now
}

// verify checks a token but for its expiry and beginning, which depend on when it is used.
func (v *Verifier) verify(ctx context.Context, token string, u use) (*verified, *fault) {
	if len(token) > aver.MaxToken || strings.Count(token, ".") != 2 {
		return nil, faulty(aver.TokenMalformed, nil)
	}
	key := cacheKey{sha256.Sum256([]byte(token)), u}
	if t, ok := v.cache.get(key); ok && v.now() < t.Expires {
		return t, nil
	}
	t, f := v.verifyAnew(ctx, token, u)
	if f == nil {
		v.cache.put(key, t)
	}
	return t, f
}

func (v *Verifier) verifyAnew(ctx context.Context, token string, u use) (*verified, *fault) {
	// Who signed it decides which algorithms count, so it is parsed with all that could.
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		var wrong *jose.ErrUnexpectedSignatureAlgorithm
		if errors.As(err, &wrong) {
			return nil, faulty(aver.TokenAlgorithm, nil)
		}
		return nil, faulty(aver.TokenMalformed, nil)
	}
	var who struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&who); err != nil {
		return nil, faulty(aver.TokenMalformed, nil)
	}
	if is, ok := v.issuers[who.Issuer]; ok {
		return v.verifyJWT(ctx, is, token, parsed, u)
	}
	if td, ok := v.trustDomain(who.Subject); ok {
		return v.verifySVID(td, token, parsed, u)
	}
	return nil, faulty(aver.TokenIssuer, nil)
}

func (v *Verifier) verifyJWT(ctx context.Context, is *issuer, token string, parsed *jwt.JSONWebToken, u use) (*verified, *fault) {
	var audiences []string
	switch {
	case u == forAPI && is.API != nil:
		audiences = []string{is.API.Audience}
	case u == forCaller && is.Tokens != nil:
		audiences = is.Tokens.Audiences
	default:
		return nil, faulty(aver.TokenIssuer, nil)
	}
	header := parsed.Headers[0]
	if !slices.Contains(is.Algorithms, header.Algorithm) {
		return nil, faulty(aver.TokenAlgorithm, nil)
	}
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	typ = strings.ToLower(typ)
	if !slices.Contains(tokenTypes, typ) && !(is.Untyped && (typ == "" || typ == "jwt")) {
		return nil, faulty(aver.TokenType, nil)
	}
	key, fetched, err := is.find(ctx, header.KeyID)
	switch {
	case errors.Is(err, errNoKey):
		return nil, faulty(aver.TokenKey, nil)
	case err != nil:
		return nil, faulty(aver.TokenUnreachable, err)
	case key.Algorithm != "" && key.Algorithm != header.Algorithm:
		return nil, faulty(aver.TokenAlgorithm, nil)
	}
	var c claims
	var all map[string]any
	if err := parsed.Claims(key.Key, &c, &all); err != nil {
		if errors.Is(err, jose.ErrCryptoFailure) {
			return nil, faulty(aver.TokenSignature, nil)
		}
		return nil, faulty(aver.TokenClaims, nil)
	}
	if !slices.ContainsFunc(audiences, c.Audience.Contains) {
		return nil, faulty(aver.TokenAudience, nil)
	}
	out := &verified{method: aver.MethodOIDC, all: all, api: is.API, still: func() bool { return is.keys.fresh(fetched) }}
	t := &out.Token
	t.Digest, t.KeyID, t.Verified = aver.Digest([]byte(token)), header.KeyID, v.now()
	t.Issuer, t.Subject, t.ACR, t.AMR = c.Issuer, c.Subject, c.ACR, c.AMR
	t.Client, t.Scope, t.ID, t.Session, t.Txn, t.Purpose = c.Client, strings.Fields(c.Scope), c.ID, c.Session, c.Txn, c.Purpose
	for _, n := range []struct {
		claim *jwt.NumericDate
		into  *aver.Time
	}{{c.Expires, &t.Expires}, {c.NotBefore, &t.NotBefore}, {c.Issued, &t.Issued}, {c.AuthTime, &t.AuthTime}} {
		if n.claim == nil {
			continue
		}
		if *n.claim < 0 || *n.claim > maxTime {
			return nil, faulty(aver.TokenClaims, nil)
		}
		*n.into = aver.Time(*n.claim) * 1000
	}
	if t.Expires == 0 || c.Subject == "" {
		return nil, faulty(aver.TokenClaims, nil)
	}
	name := is.Subject
	if c.Subject == c.Client && is.Clients != nil {
		name = *is.Clients
	}
	if t.Party, err = name.of(all); err != nil {
		return nil, faulty(aver.TokenClaims, err)
	}
	if f := v.actors(is, c.Act, t); f != nil {
		return nil, f
	}
	if c.Details != nil {
		if t.Details, err = parseDetails(c.Details); err != nil {
			return nil, faulty(aver.TokenClaims, err)
		}
		t.Detailed = true
	}
	if err := t.Validate(); err != nil {
		return nil, faulty(aver.TokenClaims, err)
	}
	return out, nil
}

// of makes an entity of a claim.
func (n Naming) of(all map[string]any) (aver.Ref, error) {
	claim := n.Claim
	if claim == "" {
		claim = "sub"
	}
	id, _ := all[claim].(string)
	if id == "" {
		return aver.Ref{}, errors.New("the claim " + claim + ", which is to be the id, is no text")
	}
	return aver.Ref{Type: n.Type, ID: n.Prefix + id}, nil
}

// actors reads the act claim (RFC 8693, section 4.1): the outermost is the current actor, the innermost the first.
func (v *Verifier) actors(is *issuer, act json.RawMessage, t *aver.Token) *fault {
	if act == nil {
		return nil
	}
	// Strictly: which of two members of one name counts must not depend on who reads.
	claim, err := aver.ParseJSON(act, aver.Limits{Bytes: aver.MaxToken})
	if err != nil {
		return faulty(aver.TokenActors, nil)
	}
	for claim != nil {
		a, _ := claim.(map[string]any)
		sub, _ := a["sub"].(string)
		iss, _ := a["iss"].(string)
		if sub == "" || a["iss"] != nil && iss == "" {
			return faulty(aver.TokenActors, nil)
		}
		if len(t.Actors) == aver.MaxChain {
			return faulty(aver.TokenActorsDeep, nil)
		}
		actor, ok := v.actor(is, iss, sub)
		if !ok {
			return faulty(aver.TokenActors, nil)
		}
		t.Actors = append(t.Actors, actor)
		claim = a["act"]
	}
	slices.Reverse(t.Actors)
	return nil
}

// actor is the party of an act claim, if the token's issuer may name it.
func (v *Verifier) actor(is *issuer, iss, sub string) (aver.TokenActor, bool) {
	if is.Actors == nil {
		return aver.TokenActor{}, false
	}
	if td, ok := v.trustDomain(sub); ok && (iss == "" || iss == is.Issuer.Issuer || iss == td.id.IDString()) && slices.Contains(is.Actors.Others, td.id.IDString()) {
		return aver.TokenActor{Ref: aver.Ref{Type: td.Type, ID: sub}, Issuer: td.id.IDString(), Subject: sub}, true
	}
	by := is
	if iss != "" && iss != is.Issuer.Issuer {
		if by = v.issuers[iss]; by == nil || by.Actors == nil || !slices.Contains(is.Actors.Others, iss) {
			return aver.TokenActor{}, false
		}
	}
	return aver.TokenActor{Ref: aver.Ref{Type: by.Actors.Type, ID: by.Actors.Prefix + sub}, Issuer: by.Issuer.Issuer, Subject: sub}, true
}

// parseDetails reads authorization_details (RFC 9396) as strictly as a request.
func parseDetails(text json.RawMessage) ([]aver.Properties, error) {
	v, err := aver.ParseJSON(text, aver.Limits{Bytes: aver.MaxToken})
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("authorization_details is not a list")
	}
	out := make([]aver.Properties, len(list))
	for i, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			return nil, errors.New("authorization_details: an entry is not an object")
		}
		if typ, _ := object["type"].(string); typ == "" {
			return nil, errors.New("authorization_details: an entry has no type")
		}
		out[i] = object
	}
	return out, nil
}
