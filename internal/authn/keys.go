package authn

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	keysFresh   = 5 * time.Minute  // how long keys are taken as they are
	keysStale   = time.Hour        // how long they are used while the issuer can't be reached
	keysAgain   = 10 * time.Second // between two fetches, whatever keys are asked for
	fetchTime   = 5 * time.Second
	maxDocument = 1 << 20
	minRSA      = 2048 // bits (RFC 7518, section 3.3)
)

// errNoKey says that the issuer has no key of that id; errUnreachable, that its keys can't be had.
var (
	errNoKey       = errors.New("the issuer has no such key")
	errUnreachable = errors.New("the issuer's keys can't be had")
)

// keys are the keys of one issuer. They are fetched when they are needed, again when they are old or lack a key, and
// never more often than keysAgain, so that tokens with made-up key ids are no load on the issuer.
type keys struct {
	issuer, jwks string
	client       *http.Client
	now          func() time.Time

	fetching sync.Mutex // held while they are fetched; whoever has its key does not wait for it

	mu      sync.Mutex
	byID    map[string]jose.JSONWebKey
	fetched time.Time // when they were last had
	tried   time.Time // when they were last asked for
	err     error     // of the last fetch
}

// find returns the public key with an id, and when it was fetched.
func (k *keys) find(ctx context.Context, id string) (jose.JSONWebKey, time.Time, error) {
	key, fetched, err := k.look(id)
	switch {
	case err == nil && k.now().Sub(fetched) < keysFresh:
	case err == nil:
		if k.fetching.TryLock() { // one is enough
			go func() {
				defer k.fetching.Unlock()
				k.refresh(context.Background())
			}()
		}
	default:
		k.fetching.Lock()
		k.refresh(ctx)
		k.fetching.Unlock()
		key, fetched, err = k.look(id)
	}
	return key, fetched, err
}

func (k *keys) look(id string) (jose.JSONWebKey, time.Time, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID == nil || k.now().Sub(k.fetched) >= keysStale {
		return jose.JSONWebKey{}, k.fetched, errors.Join(errUnreachable, k.err)
	}
	key, ok := k.byID[id]
	if !ok {
		return key, k.fetched, errNoKey
	}
	return key, k.fetched, nil
}

// fresh tells whether the keys that were fetched at a time are still those, and need not be fetched again yet.
func (k *keys) fresh(fetched time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fetched.Equal(k.fetched) && k.now().Sub(fetched) < keysFresh
}

// refresh fetches the keys, unless that was tried a moment ago. The caller holds fetching.
func (k *keys) refresh(ctx context.Context) {
	k.mu.Lock()
	wait := !k.tried.IsZero() && k.now().Sub(k.tried) < keysAgain
	k.mu.Unlock()
	if wait {
		return
	}
	byID, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		return // who asked gave up; the issuer may be well
	}
	if k.tried, k.err = k.now(), err; err == nil {
		k.byID, k.fetched = byID, k.tried
	}
}

func (k *keys) fetch(ctx context.Context) (map[string]jose.JSONWebKey, error) {
	at := k.jwks
	if at == "" {
		var document struct {
			Issuer string `json:"issuer"`
			JWKS   string `json:"jwks_uri"`
		}
		if err := k.get(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration", &document); err != nil {
			return nil, err
		}
		if document.Issuer != k.issuer {
			return nil, fmt.Errorf("its OpenID configuration is that of %q", document.Issuer)
		}
		ours, err := url.Parse(k.issuer)
		if err != nil {
			return nil, err
		}
		theirs, err := url.Parse(document.JWKS)
		if err != nil || theirs.Scheme != ours.Scheme || theirs.Host != ours.Host {
			return nil, fmt.Errorf("its OpenID configuration says that its keys are elsewhere, at %q: configure jwks if that is right", document.JWKS)
		}
		at = document.JWKS
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, at, &set); err != nil {
		return nil, err
	}
	byID := map[string]jose.JSONWebKey{}
	for _, text := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(text) != nil || key.KeyID == "" || !key.IsPublic() || !key.Valid() || key.Use != "" && key.Use != "sig" {
			continue // a key of another kind, or for another use
		}
		if r, ok := key.Key.(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			continue
		}
		byID[key.KeyID] = key
	}
	return byID, nil
}

func (k *keys) get(ctx context.Context, at string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", at, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return err
	}
	if len(text) > maxDocument {
		return fmt.Errorf("%s answered more than %d bytes", at, maxDocument)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// newClient fetches from where it is told to and nowhere else.
func newClient() *http.Client {
	return &http.Client{
		Timeout:       fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
