package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// signer makes one signature of Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks), with its
// version.
type signer func(content []byte) string

// The notation of keys, and what the spec says of their sizes.
const (
	hmacPrefix    = "whsec_"
	ed25519Prefix = "whsk_"
	minHMAC       = 24
	maxHMAC       = 64
)

// parseSecret reads a key. The error does not name it.
func parseSecret(text string) (signer, error) {
	if encoded, ok := strings.CutPrefix(text, hmacPrefix); ok {
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) < minHMAC || len(key) > maxHMAC {
			return nil, errors.New("after whsec_ come 24 to 64 random bytes in base64: make one with: echo whsec_$(openssl rand -base64 32)")
		}
		return func(content []byte) string {
			mac := hmac.New(sha256.New, key)
			mac.Write(content)
			return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		}, nil
	}
	if encoded, ok := strings.CutPrefix(text, ed25519Prefix); ok {
		key, err := base64.StdEncoding.DecodeString(encoded)
		switch {
		case err == nil && len(key) == ed25519.SeedSize:
			key = ed25519.NewKeyFromSeed(key)
		case err != nil || len(key) != ed25519.PrivateKeySize || string(ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])) != string(key):
			return nil, errors.New("after whsk_ comes an Ed25519 private key in base64: 32 bytes, or 64 with the public key behind")
		}
		return func(content []byte) string {
			return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, content))
		}, nil
	}
	return nil, errors.New("it begins with neither whsec_ (HMAC-SHA256) nor whsk_ (Ed25519)")
}

// sign sets the headers of an attempt. The id is the message's at each attempt, the time is that of the attempt.
func sign(h http.Header, signers []signer, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	content := append([]byte(id+"."+timestamp+"."), body...)
	signatures := make([]string, len(signers))
	for i, s := range signers {
		signatures[i] = s(content)
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", strings.Join(signatures, " "))
}
