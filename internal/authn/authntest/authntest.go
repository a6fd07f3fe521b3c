// Package authntest is an issuer for tests: it publishes keys and signs whatever it is told to, right or wrong.
package authntest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Issuer is an OpenID provider that only has keys.
type Issuer struct {
	URL string

	mu      sync.Mutex
	keys    map[string]*ecdsa.PrivateKey
	fetches int
	down    bool
}

// New starts an issuer on a loopback address, with one key, "k1".
func New(t testing.TB) *Issuer {
	is := &Issuer{keys: map[string]*ecdsa.PrivateKey{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": is.URL, "jwks_uri": is.URL + "/jwks"})
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		is.mu.Lock()
		defer is.mu.Unlock()
		is.fetches++
		if is.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(is.jwks())
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	is.URL = server.URL
	is.AddKey(t, "k1")
	return is
}

// JWKS is the set of the issuer's public keys, as it publishes it.
func (is *Issuer) JWKS() []byte {
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.jwks()
}

func (is *Issuer) jwks() []byte {
	var set jose.JSONWebKeySet
	for id, key := range is.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return text
}

// AddKey makes a key and publishes it.
func (is *Issuer) AddKey(t testing.TB, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	is.keys[id] = key
}

// DropKey publishes a key no longer.
func (is *Issuer) DropKey(id string) {
	is.mu.Lock()
	defer is.mu.Unlock()
	delete(is.keys, id)
}

// Down makes the issuer answer with errors.
func (is *Issuer) Down(down bool) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.down = down
}

// Fetches is how often the keys were asked for.
func (is *Issuer) Fetches() int {
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.fetches
}

// Sign signs claims with the issuer's key of an id, as a token of a type.
func (is *Issuer) Sign(t testing.TB, keyID, typ string, claims any) string {
	t.Helper()
	is.mu.Lock()
	key := is.keys[keyID]
	is.mu.Unlock()
	return SignWith(t, jose.ES256, key, keyID, typ, claims)
}

// SignWith signs claims with any key.
func SignWith(t testing.TB, alg jose.SignatureAlgorithm, key any, keyID, typ string, claims any) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithHeader("kid", keyID)
	if typ != "" {
		o = o.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
