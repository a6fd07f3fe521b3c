package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/aver-authz/aver"
)

// offline is a verifier whose issuer's keys are there already, and what signs with one.
func offline(t testing.TB) (*Verifier, jose.Signer) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseConfig([]byte(`issuers: [{issuer: "https://login.example.com", subject: {type: user}, actors: {type: ai_agent}, tokens: {audiences: [pep]}}]`), "")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_790_000_000, 0)
	v, err := New(c, func() time.Time { return now }, nil)
	if err != nil {
		t.Fatal(err)
	}
	k := v.issuers["https://login.example.com"].keys
	k.byID = map[string]jose.JSONWebKey{"k1": {Key: key.Public(), KeyID: "k1"}}
	k.fetched, k.tried = now, now
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{}).WithHeader("kid", "k1").WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	return v, signer
}

// signed is a token of any bytes.
func signed(t *testing.T, signer jose.Signer, claims []byte) string {
	jws, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Whatever bytes are shown as a token: no panic, and nothing is believed that the issuer did not sign.
func FuzzToken(f *testing.F) {
	v, signer := offline(f)
	good := sign(f, signer, dict{"iss": "https://login.example.com", "sub": "alice", "aud": "pep", "exp": 1_790_000_100})
	for _, seed := range []string{good, good + "=", "", "..", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got := v.Check(context.Background(), token)
		if got.Fault == "" && got.Subject != "alice" {
			t.Errorf("believed: %+v", got)
		}
		if got.Digest != aver.Digest([]byte(token)) {
			t.Error("the digest is another token's")
		}
	})
}

// Whatever an issuer signs as claims: no panic, what is believed is complete and can be recorded, and a chain of actors
// is neither longer than any may be nor another than the one that stands there.
func FuzzClaims(f *testing.F) {
	v, signer := offline(f)
	for _, act := range []any{nil, "x", dict{"sub": "a"}, dict{"sub": "a", "act": dict{"sub": "b", "act": dict{"sub": "a"}}}, dict{"sub": ""}, nested(9), []any{}} {
		text, err := json.Marshal(dict{"iss": "https://login.example.com", "sub": "alice", "aud": "pep", "exp": 1_790_000_100, "act": act,
			"authorization_details": []any{dict{"type": "payment", "amount": 5}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, claims []byte) {
		token := signed(t, signer, claims)
		got := v.Check(context.Background(), token)
		if got.Fault != "" {
			return
		}
		if got.Party.ID == "" || got.Expires == 0 || len(got.Actors) > aver.MaxChain {
			t.Fatalf("believed: %+v", got)
		}
		record := aver.Record{Kind: aver.KindDecision, Request: []byte("{}"), Token: got}
		read, err := aver.ParseRecord(record.AppendCanonical(nil))
		if err != nil {
			t.Fatalf("it can't be recorded: %v", err)
		}
		if !slices.Equal(read.Token.Parties(), got.Parties()) {
			t.Errorf("recorded as %v, was %v", read.Token.Parties(), got.Parties())
		}
		var told map[string]any
		if json.Unmarshal(claims, &told) != nil {
			return
		}
		for i := len(got.Actors) - 1; i >= 0; i-- {
			act, _ := told["act"].(map[string]any)
			if act["sub"] != got.Actors[i].Subject {
				t.Fatalf("actor %d is %q, the claim says %v", i, got.Actors[i].Subject, act)
			}
			told = act
		}
	})
}

// What a token beside a request costs.
func BenchmarkCheck(b *testing.B) {
	v, signer := offline(b)
	token := sign(b, signer, dict{"iss": "https://login.example.com", "sub": "alice", "aud": "pep", "exp": 1_790_000_100, "act": dict{"sub": "assistant"}})
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			if _, f := v.verifyAnew(context.Background(), token, forCaller); f != nil {
				b.Fatal(f)
			}
		}
	})
	b.Run("seen", func(b *testing.B) {
		for b.Loop() {
			if t := v.Check(context.Background(), token); t.Fault != "" {
				b.Fatal(t.Fault)
			}
		}
	})
}
