package aver

import (
	"fmt"
	"slices"
)

// Authentication is how somebody proved with a token who they are (A3). The
// token is not in it, and can't be made from it.
type Authentication struct {
	Issuer   string   `json:"issuer,omitempty"`   // as configured; of a JWT-SVID, the trust domain as a SPIFFE id
	Subject  string   `json:"subject,omitempty"`  // as the issuer names the party; with the issuer, who it is
	KeyID    string   `json:"key_id,omitempty"`   // of the key that the token was verified with
	Digest   string   `json:"token_digest"`       // SHA-256 of the token, see [Digest]
	Verified Time     `json:"verified"`           // when Aver checked it
	Expires  Time     `json:"expires,omitzero"`   // when the token does
	ACR      string   `json:"acr,omitempty"`      // authentication context class (RFC 9068)
	AMR      []string `json:"amr,omitempty"`      // authentication methods (RFC 8176)
	AuthTime Time     `json:"auth_time,omitzero"` // when the party last authenticated itself
}

// Token is what Aver verified of a token that came with a request: an OAuth 2.0
// access token (RFC 9068), a transaction token, or a JWT-SVID. It is an input of
// the decision and stands in the record in the token's place (B1).
//
// If Fault is set, the token is not believed and nothing but Digest, Verified and
// Fault is known of it.
type Token struct {
	Authentication
	Fault     TokenFault   `json:"fault,omitempty"`
	Party     Ref          `json:"party,omitzero"`     // the subject as an entity
	Actors    []TokenActor `json:"actors,omitempty"`   // of the act claim (RFC 8693), from the first that the subject let act for it to the current one
	Client    string       `json:"client,omitempty"`   // client_id
	Scope     []string     `json:"scope,omitempty"`    //
	Detailed  bool         `json:"detailed,omitempty"` // the token has authorization_details (RFC 9396), and gives nothing but what lies inside
	Details   []Properties `json:"details,omitempty"`  // these
	Issued    Time         `json:"issued,omitzero"`
	NotBefore Time         `json:"not_before,omitzero"`
	ID        string       `json:"jti,omitempty"`
	Session   string       `json:"sid,omitempty"`     // session id, as the issuer names it
	Txn       string       `json:"txn,omitempty"`     // of a transaction token: the transaction
	Purpose   string       `json:"purpose,omitempty"` // of a transaction token: purp
}

// TokenActor is one actor of a token's act claim.
type TokenActor struct {
	Ref
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"` // as the issuer names it
}

// TokenFault says why a token is not believed.
type TokenFault string

// The faults of tokens.
const (
	TokenUnchecked    TokenFault = "unchecked"   // nobody checked it: no issuers are configured
	TokenMalformed    TokenFault = "malformed"   // not a signed JWT, or too large
	TokenAlgorithm    TokenFault = "algorithm"   // signed with an algorithm that is not allowed, or not at all
	TokenType         TokenFault = "type"        // a JWT for another purpose
	TokenIssuer       TokenFault = "issuer"      // nobody whose tokens are accepted for this
	TokenKey          TokenFault = "key"         // the issuer has no such key
	TokenUnreachable  TokenFault = "unreachable" // the issuer's keys can't be had
	TokenSignature    TokenFault = "signature"   // it was not signed with the issuer's key
	TokenAudience     TokenFault = "audience"    // it is for somebody else
	TokenClaims       TokenFault = "claims"      // a claim is missing or is not what it should be
	TokenActors       TokenFault = "actors"      // its act claim can't be read, or names somebody whom the issuer may not name
	TokenActorsDeep   TokenFault = "actors_deep" // more actors than a chain may have
	TokenExpiredFault TokenFault = "expired"     // of a JWT-SVID
	TokenTwice        TokenFault = "sent_twice"  // the header and the body bring different ones
)

// TokenLeeway is by how much the clocks of an issuer and of Aver may differ, in
// milliseconds.
const TokenLeeway Time = 30_000

// Unverified is the token of a request that brings one which nobody checked.
func Unverified(token string, fault TokenFault, now Time) *Token {
	return &Token{Authentication: Authentication{Digest: Digest([]byte(token)), Verified: now}, Fault: fault}
}

// Actor is the party that the token says is acting: the current actor, or the
// subject if nobody acts for it.
func (t *Token) Actor() Ref {
	if n := len(t.Actors); n > 0 {
		return t.Actors[n-1].Ref
	}
	return t.Party
}

// Parties lists those that the token names, from the subject to the current actor.
func (t *Token) Parties() []Ref {
	if t.Fault != "" {
		return nil
	}
	out := []Ref{t.Party}
	for _, a := range t.Actors {
		out = append(out, a.Ref)
	}
	return out
}

// Validate checks a token that was verified before it is used.
func (t *Token) Validate() error {
	for _, r := range t.Parties() {
		if err := r.validate(); err != nil {
			return err
		}
	}
	for _, text := range []string{t.Subject, t.KeyID, t.ACR, t.Client, t.ID, t.Session, t.Txn, t.Purpose} {
		if err := validateText("claim", text); err != nil {
			return err
		}
	}
	for _, list := range [][]string{t.Scope, t.AMR} {
		if len(list) > maxGrantEntries || slices.ContainsFunc(list, func(s string) bool { return validateName("claim", s) != nil }) {
			return fmt.Errorf("scope or amr: more than %d entries, or one that is no name", maxGrantEntries)
		}
	}
	if len(t.Details) > maxGrantEntries {
		return fmt.Errorf("authorization_details: more than %d", maxGrantEntries)
	}
	return nil
}
