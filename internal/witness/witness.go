// Package witness gets checkpoints cosigned by witnesses that the operator does not control (C2SP tlog-witness,
// tlog-cosignature), so that two histories under one key can't both be believed (G2). It works behind the log, never in
// the path of an answer.
package witness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// algCosignature is the algorithm of cosignature/v1 in a verifier key and in the id of a key.
const algCosignature = 0x04

// Verifier checks cosignatures of one witness; it is a [note.Verifier].
type Verifier struct {
	name   string
	hash   uint32
	public ed25519.PublicKey
	vkey   string
}

var _ note.Verifier = (*Verifier)(nil)

// ParseKey reads the verifier key of a witness, "NAME+HASH+BASE64", of the algorithm cosignature/v1.
func ParseKey(vkey string) (*Verifier, error) {
	vkey = strings.TrimSpace(vkey)
	bad := fmt.Errorf("%q is not the verifier key of a witness: NAME+HASH+KEY, for cosignature/v1", vkey)
	name, rest, _ := strings.Cut(vkey, "+")
	hash, encoded, ok := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || name == "" || strings.ContainsAny(name, " \n\t") || len(raw) != 1+ed25519.PublicKeySize || raw[0] != algCosignature {
		return nil, bad
	}
	id := keyID(name, raw)
	if hash != fmt.Sprintf("%08x", id) {
		return nil, bad
	}
	return &Verifier{name, id, ed25519.PublicKey(raw[1:]), vkey}, nil
}

func keyID(name string, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(sum[:])
}

// Name is the name of the witness.
func (v *Verifier) Name() string { return v.name }

// KeyHash is the id of its key.
func (v *Verifier) KeyHash() uint32 { return v.hash }

// Key is the verifier key as text.
func (v *Verifier) Key() string { return v.vkey }

// Verify tells whether sig is the witness's cosignature of a checkpoint's text.
func (v *Verifier) Verify(text, sig []byte) bool {
	_, ok := v.signed(text, sig)
	return ok
}

func (v *Verifier) signed(text, sig []byte) (time.Time, bool) {
	if len(sig) != 8+ed25519.SignatureSize {
		return time.Time{}, false
	}
	at := binary.BigEndian.Uint64(sig)
	ok := ed25519.Verify(v.public, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text), sig[8:])
	return time.Unix(int64(at), 0).UTC(), ok
}

// errNoCosignature says that a checkpoint has no cosignature by a witness.
var errNoCosignature = errors.New("it has no cosignature by this witness")

// Cosigned returns when the witness says that it saw a checkpoint; an error if it has not cosigned it.
func (v *Verifier) Cosigned(checkpoint []byte) (time.Time, error) {
	n, err := note.Open(checkpoint, note.VerifierList(v))
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return time.Time{}, errNoCosignature
	}
	if err != nil {
		return time.Time{}, err
	}
	raw, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil {
		return time.Time{}, err
	}
	at, _ := v.signed([]byte(n.Text), raw[4:])
	return at, nil
}

// Config says which witnesses are asked.
type Config struct {
	// Quorum is how many of them have to cosign a checkpoint for it to be called witnessed; 0 means all.
	Quorum    int       `yaml:"quorum"`
	Witnesses []Witness `yaml:"witnesses"`
}

// Witness is one of them.
type Witness struct {
	Key string `yaml:"key"` // verifier key
	URL string `yaml:"url"` // without /add-checkpoint

	verifier *Verifier
}

// maxWitnesses bounds a configuration: their cosignatures have to fit into a checkpoint.
const maxWitnesses = 32

// ParseConfig reads a configuration (YAML). The error is one plain sentence.
func ParseConfig(text []byte) (*Config, error) {
	var c Config
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(c.Witnesses) > maxWitnesses {
		return nil, fmt.Errorf("%d witnesses are more than %d", len(c.Witnesses), maxWitnesses)
	}
	seen := map[string]bool{}
	for i := range c.Witnesses {
		w := &c.Witnesses[i]
		var err error
		if w.verifier, err = ParseKey(w.Key); err != nil {
			return nil, fmt.Errorf("witness %d: %w", i+1, err)
		}
		if seen[w.Key] {
			return nil, fmt.Errorf("witness %d: %s stands there twice", i+1, w.verifier.name)
		}
		seen[w.Key] = true
		u, err := url.Parse(w.URL)
		local := err == nil && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1")
		if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !local) || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("witness %s: url %q: https, or http on this machine", w.verifier.name, w.URL)
		}
		w.URL = strings.TrimSuffix(w.URL, "/")
	}
	if c.Quorum < 0 || c.Quorum > len(c.Witnesses) {
		return nil, fmt.Errorf("quorum: %d of %d witnesses", c.Quorum, len(c.Witnesses))
	}
	if c.Quorum == 0 {
		c.Quorum = len(c.Witnesses)
	}
	return &c, nil
}

// conflictError says that a witness knows the log at another size than we thought.
type conflictError struct{ size uint64 }

func (e *conflictError) Error() string {
	return fmt.Sprintf("the witness knows the log at size %d", e.size)
}

// errOtherHistory says that a witness has cosigned another history of the log under the same key: a split view, or an
// older copy of the log.
var errOtherHistory = errors.New("the witness has seen another history of this log")

// maxAnswer bounds the answer of a witness, in bytes.
const maxAnswer = 16 << 10

// add asks a witness to cosign a checkpoint (C2SP tlog-witness, add-checkpoint) that follows what it knows at size old by
// the proof. It returns the signature line of the witness, verified.
func (w *Witness) add(ctx context.Context, client *http.Client, old uint64, proof tlog.TreeProof, checkpoint []byte) (string, error) {
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", old)
	for _, h := range proof {
		fmt.Fprintf(&body, "%s\n", h)
	}
	body.WriteByte('\n')
	body.Write(checkpoint)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+"/add-checkpoint", &body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return "", err
	}
	if len(answer) > maxAnswer {
		return "", errors.New("the answer is too long")
	}
	reason := ""
	switch res.StatusCode {
	case http.StatusOK:
		return w.line(answer, checkpoint)
	case http.StatusConflict:
		size, err := strconv.ParseUint(strings.TrimSuffix(string(answer), "\n"), 10, 62)
		if typ, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";"); err != nil || typ != "text/x.tlog.size" {
			return "", errors.New("a conflict that names no size")
		}
		return "", &conflictError{size}
	case http.StatusUnprocessableEntity:
		return "", fmt.Errorf("%w: it refuses the consistency proof (status %d)", errOtherHistory, res.StatusCode)
	case http.StatusForbidden:
		reason = "it does not know the log's key"
	case http.StatusNotFound:
		reason = "it does not know the log"
	case http.StatusBadRequest:
		reason = "it does not take the request"
	default:
		reason = "the witness does not cosign"
	}
	return "", fmt.Errorf("%s (status %d)", reason, res.StatusCode)
}

// line finds the witness's own signature among the lines of an answer, and checks it.
func (w *Witness) line(answer, checkpoint []byte) (string, error) {
	text, _, ok := bytes.Cut(checkpoint, []byte("\n\n"))
	if !ok {
		return "", errors.New("the checkpoint is no signed note")
	}
	for line := range strings.Lines(string(answer)) {
		signed := append(append([]byte{}, text...), "\n\n"+strings.TrimSuffix(line, "\n")+"\n"...)
		if _, err := w.verifier.Cosigned(signed); err == nil {
			return strings.TrimSuffix(line, "\n") + "\n", nil
		}
	}
	return "", errors.New("the answer holds no valid cosignature by the key of this witness")
}
