package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authn/authntest"
)

const (
	aboutAver = "https://aver.example.com"
	aboutPEP  = "https://payments.example.com"
)

// kit is a verifier with one issuer and one trust domain, at a time that the test sets.
type kit struct {
	*Verifier
	issuer, domain *authntest.Issuer
	bundle         string
	mu             sync.Mutex
	time           time.Time
	log            strings.Builder
}

func (k *kit) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.time
}

func (k *kit) pass(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.time = k.time.Add(d)
}

func newKit(t testing.TB) *kit {
	k := &kit{issuer: authntest.New(t), domain: authntest.New(t), time: time.Now().Truncate(time.Second)}
	dir := t.TempDir()
	k.bundle = filepath.Join(dir, "example.org.json")
	if err := os.WriteFile(k.bundle, k.domain.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parseConfig(fmt.Appendf(nil, `
issuers:
  - issuer: %s
    subject: {type: user}
    clients: {type: application}
    actors: {type: ai_agent, others: ["spiffe://example.org"]}
    api:
      audience: %s
      roles: {claim: groups, admin: [aver-admins], auditor: [audit], pep: [gateways]}
    tokens: {audiences: [%s]}
spiffe:
  - trust_domain: example.org
    bundle: example.org.json
    type: workload
    api: {audience: %[2]s, roles: {pep: ["spiffe://example.org/pep/*"]}}
    tokens: {audiences: [%[3]s]}
`, k.issuer.URL, aboutAver, aboutPEP), dir)
	if err != nil {
		t.Fatal(err)
	}
	if k.Verifier, err = New(c, k.clock, slog.New(slog.NewTextHandler(&k.log, nil))); err != nil {
		t.Fatal(err)
	}
	return k
}

// claims are those of a good access token for an audience, with changes; nil takes one out.
func (k *kit) claims(audience string, changes map[string]any) map[string]any {
	now := k.clock().Unix()
	c := map[string]any{
		"iss": k.issuer.URL, "sub": "alice", "aud": audience, "client_id": "assistant",
		"iat": now, "exp": now + 300, "jti": "t-1",
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (k *kit) token(t testing.TB, audience string, changes map[string]any) string {
	t.Helper()
	return k.issuer.Sign(t, "k1", "at+jwt", k.claims(audience, changes))
}

func (k *kit) svid(t testing.TB, audience, id string) string {
	t.Helper()
	now := k.clock().Unix()
	return k.domain.Sign(t, "k1", "JWT", map[string]any{"sub": id, "aud": []string{audience}, "exp": now + 300, "iat": now})
}

type dict = map[string]any

func TestVerifiedTokenSaysWhoVouchesForWhat(t *testing.T) {
	k := newKit(t)
	token := k.token(t, aboutPEP, dict{
		"act":   dict{"sub": "spiffe://example.org/tool", "act": dict{"sub": "assistant"}},
		"scope": "pay read", "acr": "phr", "amr": []string{"hwk"}, "auth_time": k.clock().Unix() - 60,
		"authorization_details": []any{dict{"type": "payment", "actions": []string{"payment.create"}}},
		"txn":                   "tx-9", "purp": "payroll",
	})
	now := aver.TimeOf(k.clock())
	want := &aver.Token{
		Authentication: aver.Authentication{
			Issuer: k.issuer.URL, Subject: "alice", KeyID: "k1", Digest: aver.Digest([]byte(token)), Verified: now,
			Expires: now + 300_000, ACR: "phr", AMR: []string{"hwk"}, AuthTime: now - 60_000,
		},
		Party: aver.Ref{Type: "user", ID: "alice"},
		Actors: []aver.TokenActor{
			{Ref: aver.Ref{Type: "ai_agent", ID: "assistant"}, Issuer: k.issuer.URL, Subject: "assistant"},
			{Ref: aver.Ref{Type: "workload", ID: "spiffe://example.org/tool"}, Issuer: "spiffe://example.org", Subject: "spiffe://example.org/tool"},
		},
		Client: "assistant", Scope: []string{"pay", "read"}, Detailed: true,
		Details: []aver.Properties{{"type": "payment", "actions": []any{"payment.create"}}},
		Issued:  now, ID: "t-1", Txn: "tx-9", Purpose: "payroll",
	}
	if diff := cmp.Diff(want, k.Check(context.Background(), token)); diff != "" {
		t.Error(diff)
	}
	svid := k.svid(t, aboutPEP, "spiffe://example.org/ledger")
	got := k.Check(context.Background(), svid)
	if got.Fault != "" || got.Party != (aver.Ref{Type: "workload", ID: "spiffe://example.org/ledger"}) || got.Issuer != "spiffe://example.org" || got.KeyID != "k1" {
		t.Errorf("JWT-SVID: %+v", got)
	}
	client := k.Check(context.Background(), k.token(t, aboutPEP, dict{"sub": "assistant"}))
	if client.Party != (aver.Ref{Type: "application", ID: "assistant"}) {
		t.Errorf("a client's own token is %v's", client.Party)
	}
}

// nested is an act claim of so many actors.
func nested(n int) dict {
	var act dict
	for i := range n {
		next := dict{"sub": fmt.Sprintf("a%d", i)}
		if act != nil {
			next["act"] = act
		}
		act = next
	}
	return act
}

func TestTokensThatAreNotBelieved(t *testing.T) {
	k := newKit(t)
	other := authntest.New(t)
	published := k.issuer.JWKS()
	b64 := base64.RawURLEncoding.EncodeToString
	good := k.token(t, aboutPEP, nil)
	head, rest, _ := strings.Cut(good, ".")
	body, _, _ := strings.Cut(rest, ".")
	now := k.clock().Unix()
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token string
		fault aver.TokenFault
	}{
		"not a token":                   {"hunter2", aver.TokenMalformed},
		"empty parts":                   {"..", aver.TokenAlgorithm},
		"a part is missing":             {head + "." + body, aver.TokenMalformed},
		"garbage":                       {"eyJ!.eyJ!.!", aver.TokenMalformed},
		"huge":                          {k.token(t, aboutPEP, dict{"x": strings.Repeat("x", aver.MaxToken)}), aver.TokenMalformed},
		"alg none":                      {b64([]byte(`{"alg":"none","typ":"at+jwt","kid":"k1"}`)) + "." + body + ".", aver.TokenAlgorithm},
		"alg nOnE":                      {b64([]byte(`{"alg":"nOnE","typ":"at+jwt","kid":"k1"}`)) + "." + body + ".", aver.TokenAlgorithm},
		"HS256 with the published key":  {authntest.SignWith(t, jose.HS256, published[:64], "k1", "at+jwt", k.claims(aboutPEP, nil)), aver.TokenAlgorithm},
		"HS256 with the key in PEM":     {authntest.SignWith(t, jose.HS256, pemOf(t, stranger), "k1", "at+jwt", k.claims(aboutPEP, nil)), aver.TokenAlgorithm},
		"an algorithm not configured":   {b64([]byte(`{"alg":"RS512","typ":"at+jwt","kid":"k1"}`)) + "." + body + ".AAAA", aver.TokenAlgorithm},
		"RS256 named for an EC key":     {b64([]byte(`{"alg":"RS256","typ":"at+jwt","kid":"k1"}`)) + "." + body + ".AAAA", aver.TokenSignature},
		"signature of somebody else":    {authntest.SignWith(t, jose.ES256, stranger, "k1", "at+jwt", k.claims(aboutPEP, nil)), aver.TokenSignature},
		"signature cut off":             {head + "." + body + ".", aver.TokenSignature},
		"key brought along":             {withJWK(t, stranger, k.claims(aboutPEP, nil)), aver.TokenKey},
		"unknown key":                   {authntest.SignWith(t, jose.ES256, stranger, "k9", "at+jwt", k.claims(aboutPEP, nil)), aver.TokenKey},
		"no key id":                     {authntest.SignWith(t, jose.ES256, stranger, "", "at+jwt", k.claims(aboutPEP, nil)), aver.TokenKey},
		"ID token":                      {k.issuer.Sign(t, "k1", "JWT", k.claims(aboutPEP, nil)), aver.TokenType},
		"no type":                       {k.issuer.Sign(t, "k1", "", k.claims(aboutPEP, nil)), aver.TokenType},
		"logout token":                  {k.issuer.Sign(t, "k1", "logout+jwt", k.claims(aboutPEP, nil)), aver.TokenType},
		"ID-JAG, for another server":    {k.issuer.Sign(t, "k1", "oauth-id-jag+jwt", k.claims(aboutPEP, nil)), aver.TokenType},
		"wrong issuer":                  {other.Sign(t, "k1", "at+jwt", k.claims(aboutPEP, dict{"iss": other.URL})), aver.TokenIssuer},
		"issuer with a slash":           {k.token(t, aboutPEP, dict{"iss": k.issuer.URL + "/"}), aver.TokenIssuer},
		"no issuer":                     {k.token(t, aboutPEP, dict{"iss": nil}), aver.TokenIssuer},
		"other issuer in the name":      {other.Sign(t, "k1", "at+jwt", k.claims(aboutPEP, nil)), aver.TokenSignature},
		"wrong audience":                {k.token(t, "https://other.example.com", nil), aver.TokenAudience},
		"for Aver, not for the PEP":     {k.token(t, aboutAver, nil), aver.TokenAudience},
		"no audience":                   {k.token(t, aboutPEP, dict{"aud": nil}), aver.TokenAudience},
		"no expiry":                     {k.token(t, aboutPEP, dict{"exp": nil}), aver.TokenClaims},
		"expiry as text":                {k.token(t, aboutPEP, dict{"exp": "tomorrow"}), aver.TokenClaims},
		"expiry out of range":           {k.token(t, aboutPEP, dict{"exp": int64(maxTime + 1)}), aver.TokenClaims},
		"no subject":                    {k.token(t, aboutPEP, dict{"sub": nil}), aver.TokenClaims},
		"subject as a list":             {k.token(t, aboutPEP, dict{"sub": []string{"alice"}}), aver.TokenMalformed},
		"subject too long":              {k.token(t, aboutPEP, dict{"sub": strings.Repeat("a", 2000)}), aver.TokenClaims},
		"details are no list":           {k.token(t, aboutPEP, dict{"authorization_details": dict{"type": "x"}}), aver.TokenClaims},
		"details without a type":        {k.token(t, aboutPEP, dict{"authorization_details": []any{dict{"actions": []string{"a"}}}}), aver.TokenClaims},
		"act is text":                   {k.token(t, aboutPEP, dict{"act": "assistant"}), aver.TokenActors},
		"act with two subs":             {raw(t, k, `"act":{"sub":"assistant","Sub":"tool"}`), aver.TokenActors},
		"act without sub":               {k.token(t, aboutPEP, dict{"act": dict{"client_id": "x"}}), aver.TokenActors},
		"act of an unknown issuer":      {k.token(t, aboutPEP, dict{"act": dict{"sub": "x", "iss": other.URL}}), aver.TokenActors},
		"act too deep":                  {k.token(t, aboutPEP, dict{"act": nested(aver.MaxChain + 1)}), aver.TokenActorsDeep},
		"SVID of another trust domain":  {k.svid(t, aboutPEP, "spiffe://evil.example/tool"), aver.TokenIssuer},
		"SVID for another audience":     {k.svid(t, aboutAver, "spiffe://example.org/tool"), aver.TokenAudience},
		"SVID with a stranger's key":    {authntest.SignWith(t, jose.ES256, stranger, "k1", "JWT", dict{"sub": "spiffe://example.org/tool", "aud": aboutPEP, "exp": now + 300}), aver.TokenSignature},
		"SVID with an unknown key":      {authntest.SignWith(t, jose.ES256, stranger, "k9", "JWT", dict{"sub": "spiffe://example.org/tool", "aud": aboutPEP, "exp": now + 300}), aver.TokenKey},
		"SVID that expired":             {k.domain.Sign(t, "k1", "JWT", dict{"sub": "spiffe://example.org/tool", "aud": aboutPEP, "exp": now - 300}), aver.TokenExpiredFault},
		"SVID with alg none":            {b64([]byte(`{"alg":"none","kid":"k1"}`)) + "." + b64([]byte(`{"sub":"spiffe://example.org/tool"}`)) + ".", aver.TokenAlgorithm},
		"issuer signs for a SPIFFE id":  {k.issuer.Sign(t, "k1", "JWT", dict{"sub": "spiffe://example.org/tool", "aud": aboutPEP, "exp": now + 300}), aver.TokenSignature},
		"trust domain with a path only": {k.svid(t, aboutPEP, "spiffe:///tool"), aver.TokenIssuer},
	} {
		t.Run(name, func(t *testing.T) {
			got := k.Check(context.Background(), c.token)
			want := aver.Unverified(c.token, c.fault, aver.TimeOf(k.clock()))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if _, err := k.Authenticate(context.Background(), c.token); !errors.Is(err, ErrBadToken) && name != "for Aver, not for the PEP" && name != "SVID for another audience" {
				t.Errorf("it gives access to Aver: %v", err)
			}
		})
	}
	if strings.Contains(k.log.String(), "eyJ") {
		t.Errorf("a token stands in the log: %s", k.log.String())
	}
}

// raw is a token with a claim that no map of Go can hold.
func raw(t *testing.T, k *kit, claim string) string {
	text, err := json.Marshal(k.claims(aboutPEP, nil))
	if err != nil {
		t.Fatal(err)
	}
	return k.issuer.Sign(t, "k1", "at+jwt", json.RawMessage(string(text[:len(text)-1])+","+claim+"}"))
}

func pemOf(t *testing.T, key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// withJWK signs with a key that the header brings along (RFC 7515, section 4.1.3).
func withJWK(t *testing.T, key *ecdsa.PrivateKey, claims dict) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, signer, claims)
}

func TestAPIIdentities(t *testing.T) {
	k := newKit(t)
	ctx := context.Background()
	for name, c := range map[string]struct {
		token string
		ref   aver.Ref
		role  aver.Role
	}{
		"administrator":        {k.token(t, aboutAver, dict{"groups": []string{"staff", "aver-admins"}}), aver.Ref{Type: "user", ID: "alice"}, aver.RoleAdmin},
		"the first role":       {k.token(t, aboutAver, dict{"groups": []string{"audit", "aver-admins"}}), aver.Ref{Type: "user", ID: "alice"}, aver.RoleAdmin},
		"auditor":              {k.token(t, aboutAver, dict{"groups": "audit"}), aver.Ref{Type: "user", ID: "alice"}, aver.RoleAuditor},
		"part of a name":       {k.token(t, aboutAver, dict{"groups": "audit aver-admins"}), aver.Ref{Type: "user", ID: "alice"}, ""},
		"none":                 {k.token(t, aboutAver, nil), aver.Ref{Type: "user", ID: "alice"}, ""},
		"another group":        {k.token(t, aboutAver, dict{"groups": []any{"x", 7, nil}}), aver.Ref{Type: "user", ID: "alice"}, ""},
		"client":               {k.token(t, aboutAver, dict{"sub": "assistant", "groups": "gateways"}), aver.Ref{Type: "application", ID: "assistant"}, aver.RolePEP},
		"workload":             {k.svid(t, aboutAver, "spiffe://example.org/pep/eu"), aver.Ref{Type: "workload", ID: "spiffe://example.org/pep/eu"}, aver.RolePEP},
		"workload elsewhere":   {k.svid(t, aboutAver, "spiffe://example.org/pepper"), aver.Ref{Type: "workload", ID: "spiffe://example.org/pepper"}, ""},
		"workload of the name": {k.svid(t, aboutAver, "spiffe://example.org/pep"), aver.Ref{Type: "workload", ID: "spiffe://example.org/pep"}, ""},
	} {
		id, err := k.Authenticate(ctx, c.token)
		if err != nil || id.Ref != c.ref || id.Role != c.role {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
	for name, token := range map[string]string{
		"for a PEP":             k.token(t, aboutPEP, dict{"groups": "aver-admins"}),
		"in somebody's name":    k.token(t, aboutAver, dict{"groups": "aver-admins", "act": dict{"sub": "assistant"}}),
		"authorization_details": k.token(t, aboutAver, dict{"groups": "aver-admins", "authorization_details": []any{dict{"type": "x"}}}),
		"expired":               k.token(t, aboutAver, dict{"groups": "aver-admins", "exp": k.clock().Unix() - 31}),
		"not yet valid":         k.token(t, aboutAver, dict{"groups": "aver-admins", "nbf": k.clock().Unix() + 60}),
		"issued in the future":  k.token(t, aboutAver, dict{"groups": "aver-admins", "iat": k.clock().Unix() + 60}),
	} {
		if id, err := k.Authenticate(ctx, token); !errors.Is(err, ErrBadToken) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	k := newKit(t)
	ctx := context.Background()
	fault := func(token string) aver.TokenFault { return k.Check(ctx, token).Fault }
	old := k.token(t, aboutPEP, nil)
	if f := fault(old); f != "" {
		t.Fatal(f)
	}
	k.issuer.AddKey(t, "k2")
	fresh := k.issuer.Sign(t, "k2", "at+jwt", k.claims(aboutPEP, nil))
	if f := fault(fresh); f != aver.TokenKey {
		t.Errorf("keys were fetched again within %s: %q", keysAgain, f)
	}
	k.pass(keysAgain)
	if f := fault(fresh); f != "" {
		t.Errorf("a new key is not found: %s", f)
	}
	// Made-up key ids are no load on the issuer.
	k.pass(keysAgain)
	before := k.issuer.Fetches()
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if f := fault(authntest.SignWith(t, jose.ES256, stranger, fmt.Sprint("x", i), "at+jwt", k.claims(aboutPEP, nil))); f != aver.TokenKey {
			t.Fatal(f)
		}
	}
	if n := k.issuer.Fetches() - before; n != 1 {
		t.Errorf("50 made-up key ids made %d fetches, want 1", n)
	}
	// A key that the issuer took back is worth nothing once the keys were read again.
	k.issuer.DropKey("k1")
	k.pass(keysAgain)
	if f := fault(authntest.SignWith(t, jose.ES256, stranger, "y", "at+jwt", k.claims(aboutPEP, nil))); f != aver.TokenKey {
		t.Fatal(f)
	}
	if f := fault(old); f != aver.TokenKey {
		t.Errorf("a token of a dropped key: %q", f)
	}
	// An issuer that can't be reached: its keys serve for a while, not for ever.
	k.issuer.Down(true)
	k.pass(keysStale - time.Second)
	if f := fault(fresh); f != "" {
		t.Errorf("issuer down for a while: %s", f)
	}
	k.pass(time.Second)
	if f := fault(fresh); f != aver.TokenUnreachable {
		t.Errorf("issuer down for long: %q", f)
	}
}

// A token that was verified before is cheap, and holds no longer for that.
func TestTokensSeenBefore(t *testing.T) {
	k := newKit(t)
	ctx := context.Background()
	token := k.token(t, aboutPEP, nil)
	first := k.Check(ctx, token)
	k.pass(time.Second)
	if again := k.Check(ctx, token); again != first {
		t.Error("it was verified again")
	}
	if _, err := k.Authenticate(ctx, token); !errors.Is(err, ErrBadToken) {
		t.Errorf("seen beside a request, it gives access to Aver: %v", err)
	}
	k.issuer.DropKey("k1")
	k.issuer.AddKey(t, "k2")
	k.pass(keysAgain)
	if f := k.Check(ctx, k.issuer.Sign(t, "k2", "at+jwt", k.claims(aboutPEP, nil))).Fault; f != "" {
		t.Fatal(f)
	}
	if f := k.Check(ctx, token).Fault; f != aver.TokenKey {
		t.Errorf("its key was withdrawn, and it holds: %q", f)
	}
	for range maxSeen + 10 {
		k.cache.put(cacheKey{token: [32]byte{byte(len(k.cache.seen)), byte(len(k.cache.seen) >> 8)}}, &verified{})
	}
	if n := len(k.cache.seen); n > maxSeen {
		t.Errorf("%d tokens are remembered", n)
	}
}

func TestBundleRotates(t *testing.T) {
	k := newKit(t)
	ctx := context.Background()
	k.domain.AddKey(t, "k2")
	k.domain.DropKey("k1")
	now := k.clock().Unix()
	token := k.domain.Sign(t, "k2", "JWT", dict{"sub": "spiffe://example.org/tool", "aud": aboutPEP, "exp": now + 300})
	if f := k.Check(ctx, token).Fault; f != aver.TokenKey {
		t.Fatalf("before: %q", f)
	}
	if err := os.WriteFile(k.bundle, k.domain.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(k.bundle, later, later); err != nil {
		t.Fatal(err)
	}
	td := k.domains["example.org"]
	td.mu.Lock()
	td.looked = time.Time{}
	td.mu.Unlock()
	if f := k.Check(ctx, token).Fault; f != "" {
		t.Errorf("after: %q", f)
	}
}

func TestOnlyConfiguredURLsAreFetched(t *testing.T) {
	for name, c := range map[string]struct{ metadata, redirect string }{
		"keys at another host":    {metadata: `{"issuer":"%s","jwks_uri":"%s/jwks"}`},
		"another issuer's":        {metadata: `{"issuer":"https://evil.example","jwks_uri":"%[2]s/jwks"}`},
		"redirect to another one": {redirect: "/jwks"},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere := authntest.New(t)
			is := metadataServer(t, func(self string) string {
				if c.metadata == "" {
					return ""
				}
				return fmt.Sprintf(c.metadata, self, elsewhere.URL)
			}, elsewhere.URL+c.redirect)
			config, err := parseConfig(fmt.Appendf(nil, "issuers: [{issuer: %q, subject: {type: user}, tokens: {audiences: [%q]}}]", is, aboutPEP), "")
			if err != nil {
				t.Fatal(err)
			}
			v, err := New(config, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			token := elsewhere.Sign(t, "k1", "at+jwt", dict{"iss": is, "sub": "alice", "aud": aboutPEP, "exp": time.Now().Unix() + 60})
			if f := v.Check(context.Background(), token).Fault; f != aver.TokenUnreachable {
				t.Errorf("fault %q", f)
			}
			if n := elsewhere.Fetches(); n != 0 {
				t.Errorf("the other host was asked %d times", n)
			}
		})
	}
}

// A key that the operator revoked is refused, whatever its issuer still publishes; so is an issuer that was taken out. What
// was believed before is checked again, and the keys of the others are not fetched again for it.
func TestRenewedVerifierBelievesNobodyWhoWasTakenOut(t *testing.T) {
	k := newKit(t)
	ctx := context.Background()
	token := k.token(t, aboutPEP, nil)
	if f := k.Check(ctx, token).Fault; f != "" {
		t.Fatal(f)
	}
	fetches := k.issuer.Fetches()
	renew := func(more string) *Verifier {
		t.Helper()
		c, err := parseConfig(fmt.Appendf(nil, "issuers:\n  - issuer: %s\n    subject: {type: user}\n    tokens: {audiences: [%s]}\n%s", k.issuer.URL, aboutPEP, more), "")
		if err != nil {
			t.Fatal(err)
		}
		v, err := Renew(k.Verifier, c)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if f := renew("").Check(ctx, token).Fault; f != "" || k.issuer.Fetches() != fetches {
		t.Errorf("renewed: %q, %d fetches", f, k.issuer.Fetches()-fetches)
	}
	if f := renew("    revoked_keys: [k1]\n").Check(ctx, token).Fault; f != aver.TokenKey {
		t.Errorf("a revoked key: %q", f)
	}
	other := authntest.New(t)
	c, err := parseConfig(fmt.Appendf(nil, "issuers: [{issuer: %q, subject: {type: user}, tokens: {audiences: [%q]}}]", other.URL, aboutPEP), "")
	if err != nil {
		t.Fatal(err)
	}
	without, err := Renew(k.Verifier, c)
	if err != nil {
		t.Fatal(err)
	}
	if f := without.Check(ctx, token).Fault; f != aver.TokenIssuer {
		t.Errorf("an issuer that was taken out: %q", f)
	}
}
