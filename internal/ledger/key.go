package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Key is the Ed25519 key pair of a log.
type Key struct {
	Signer   note.Signer
	Verifier note.Verifier
	// VKey is the verifier key "<origin>+<hash>+<key>" (C2SP signed-note), to be given to everybody who verifies.
	VKey string
}

// NewKey makes a key pair for an origin. skey is the secret key in the encoding of x/mod/sumdb/note.
func NewKey(origin string) (k Key, skey string, err error) {
	if err := checkOrigin(origin); err != nil {
		return Key{}, "", err
	}
	skey, _, err = note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return Key{}, "", fmt.Errorf("making a key for %s: %w", origin, err)
	}
	k, err = ParseKey(skey)
	return k, skey, err
}

// ParseKey reads a secret key as made by NewKey. Errors never quote it.
func ParseKey(skey string) (Key, error) {
	signer, err := note.NewSigner(skey)
	if err != nil {
		return Key{}, errors.New("not a note signing key")
	}
	vkey, err := verifierKey(skey)
	if err != nil {
		return Key{}, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return Key{}, err
	}
	return Key{Signer: signer, Verifier: verifier, VKey: vkey}, nil
}

// LoadOrCreateKey reads the key in file, or makes one for the origin and writes it there, mode 0600. The directory is
// made if need be. It refuses a key that belongs to another origin, or a file that others may read.
func LoadOrCreateKey(file, origin string) (Key, error) {
	if err := checkOrigin(origin); err != nil {
		return Key{}, err
	}
	fi, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return createKey(file, origin)
	}
	if err != nil {
		return Key{}, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("%s can be read by others; run: chmod 600 %s", file, file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return Key{}, err
	}
	k, err := ParseKey(strings.TrimSuffix(string(b), "\n"))
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", file, err)
	}
	if k.Signer.Name() != origin {
		return Key{}, fmt.Errorf("%s is the key of %q, not of %q", file, k.Signer.Name(), origin)
	}
	return k, nil
}

func createKey(file, origin string) (Key, error) {
	k, skey, err := NewKey(origin)
	if err != nil {
		return Key{}, err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Key{}, err
	}
	// Written aside and linked into place, so that no half of a key is ever there and none is ever replaced.
	tmp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return Key{}, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(skey + "\n")
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return Key{}, err
	}
	if err := os.Link(tmp.Name(), file); err != nil {
		return Key{}, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return Key{}, err
	}
	defer d.Close()
	return k, d.Sync()
}

// ParseVerifier reads a verifier key.
func ParseVerifier(vkey string) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		return nil, fmt.Errorf("%q is not a verifier key of the form NAME+HASH+KEY", vkey)
	}
	return v, nil
}

// checkOrigin holds an origin to what C2SP signed-note and our formats allow.
func checkOrigin(origin string) error {
	if origin == "" || len(origin) > 255 || strings.ContainsAny(origin, " +\t\r\n") || strings.ToValidUTF8(origin, "") != origin {
		return fmt.Errorf("%q cannot be a log's origin: it must be 1 to 255 bytes without spaces and plus signs", origin)
	}
	return nil
}

// verifierKey derives the verifier key from a secret key, "PRIVATE+KEY+<name>+<hash>+<base64 of algorithm and seed>",
// which note.NewSigner has accepted.
func verifierKey(skey string) (string, error) {
	parts := strings.SplitN(skey, "+", 5)
	if len(parts) != 5 {
		return "", errors.New("not a note signing key")
	}
	b, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(b) != 1+ed25519.SeedSize {
		return "", errors.New("not an Ed25519 note signing key")
	}
	return note.NewEd25519VerifierKey(parts[2], ed25519.NewKeyFromSeed(b[1:]).Public().(ed25519.PublicKey))
}
