package evidence

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// key is a verifier key of C2SP signed-note.
type key struct {
	name   string
	hash   uint32
	alg    byte
	public ed25519.PublicKey
	text   string
}

// The algorithms of signed-note that packs use.
const (
	algEd25519     = 0x01 // a log
	algCosignature = 0x04 // a witness: C2SP tlog-cosignature
)

// parseKey reads a verifier key, "NAME+HASH+BASE64". The hash must be right.
func parseKey(vkey string) (key, error) {
	bad := fmt.Errorf("%q is not a verifier key of the form NAME+HASH+KEY", vkey)
	vkey = strings.TrimSpace(vkey)
	name, rest, _ := strings.Cut(vkey, "+")
	hash, encoded, ok := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || name == "" || err != nil || len(raw) != 1+ed25519.PublicKeySize || strings.ContainsAny(name, " \n") {
		return key{}, bad
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), raw...))
	id := binary.BigEndian.Uint32(sum[:])
	if hash != fmt.Sprintf("%08x", id) || raw[0] != algEd25519 && raw[0] != algCosignature {
		return key{}, bad
	}
	return key{name, id, raw[0], ed25519.PublicKey(raw[1:]), vkey}, nil
}

// id is how an envelope names the key.
func (k key) id() string { return fmt.Sprintf("%s+%08x", k.name, k.hash) }

// checkpoint is what a signed checkpoint says.
type checkpoint struct {
	size uint64
	root tlog.Hash
	text string // what is signed
	sigs []noteSig
}

type noteSig struct {
	name string
	hash uint32
	sig  []byte
}

const maxCheckpoint = 64 << 10

// parseCheckpoint reads a C2SP checkpoint of a log, signatures unverified.
func parseCheckpoint(text []byte, origin string) (checkpoint, error) {
	var c checkpoint
	body, sigs, ok := strings.Cut(string(text), "\n\n")
	if !ok || len(text) > maxCheckpoint || !strings.HasSuffix(sigs, "\n") {
		return c, errors.New("it is no signed note")
	}
	c.text = body + "\n"
	lines := strings.Split(body, "\n")
	if len(lines) < 3 || lines[0] != origin {
		return c, fmt.Errorf("it is not a checkpoint of %s", origin)
	}
	size, err := strconv.ParseUint(lines[1], 10, 62)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return c, fmt.Errorf("the size %q is not a number", lines[1])
	}
	c.size = size
	if c.root, err = parseHash(lines[2]); err != nil {
		return c, err
	}
	for line := range strings.Lines(sigs) {
		name, sig, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, "— "), "\n"), " ")
		raw, err := base64.StdEncoding.Strict().DecodeString(sig)
		if !ok || !strings.HasPrefix(line, "— ") || err != nil || len(raw) < 5 {
			return c, errors.New("a signature line is malformed")
		}
		c.sigs = append(c.sigs, noteSig{name, binary.BigEndian.Uint32(raw), raw[4:]})
	}
	return c, nil
}

// parseHash reads a Merkle hash in the one spelling it has.
func parseHash(text string) (tlog.Hash, error) {
	h, err := tlog.ParseHash(text)
	if err != nil || h.String() != text {
		return h, fmt.Errorf("%q is not a hash in base64", text)
	}
	return h, nil
}

// signedBy checks that a key of a log has signed.
func (c *checkpoint) signedBy(k key) error {
	for _, s := range c.sigs {
		if s.name == k.name && s.hash == k.hash {
			if k.alg == algEd25519 && ed25519.Verify(k.public, []byte(c.text), s.sig) {
				return nil
			}
			return fmt.Errorf("the signature by %s is wrong", k.id())
		}
	}
	return fmt.Errorf("it has no signature by %s", k.id())
}

// cosignedBy checks a witness's cosignature (C2SP tlog-cosignature) and returns
// the time in it.
func (c *checkpoint) cosignedBy(k key) (time.Time, error) {
	for _, s := range c.sigs {
		if s.name != k.name || s.hash != k.hash {
			continue
		}
		if k.alg == algEd25519 { // a witness of an older kind, without a time
			if !ed25519.Verify(k.public, []byte(c.text), s.sig) {
				return time.Time{}, errors.New("the cosignature is wrong")
			}
			return time.Time{}, nil
		}
		if len(s.sig) != 8+ed25519.SignatureSize {
			return time.Time{}, errors.New("the cosignature is malformed")
		}
		at := binary.BigEndian.Uint64(s.sig)
		if !ed25519.Verify(k.public, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, c.text), s.sig[8:]) {
			return time.Time{}, errors.New("the cosignature is wrong")
		}
		return time.Unix(int64(at), 0).UTC(), nil
	}
	return time.Time{}, errors.New("it has no cosignature by this witness")
}

// verifyEnvelope checks that a key has signed the manifest.
func verifyEnvelope(e *Envelope, payload []byte, k key) error {
	for _, s := range e.Signatures {
		if s.KeyID != k.id() {
			continue
		}
		sig, err := base64.StdEncoding.Strict().DecodeString(s.Sig)
		if err != nil || !ed25519.Verify(k.public, PAE(e.PayloadType, payload), sig) {
			return fmt.Errorf("the signature by %s is wrong", k.id())
		}
		return nil
	}
	return fmt.Errorf("it has no signature by %s", k.id())
}

// proof is a C2SP tlog-proof.
type proof struct {
	index      uint64
	hashes     tlog.RecordProof
	checkpoint string
}

const proofHeader = "c2sp.org/tlog-proof@v1\n"

// FormatProof writes an inclusion proof as C2SP tlog-proof, without extra data.
func FormatProof(index uint64, hashes []tlog.Hash, checkpoint []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%sindex %d\n", proofHeader, index)
	for _, h := range hashes {
		b.WriteString(h.String() + "\n")
	}
	b.WriteString("\n" + string(checkpoint))
	return []byte(b.String())
}

func parseProof(text []byte) (proof, error) {
	var p proof
	rest, ok := strings.CutPrefix(string(text), proofHeader)
	head, checkpoint, found := strings.Cut(rest, "\n\n")
	if !ok || !found {
		return p, errors.New("it is no tlog-proof")
	}
	p.checkpoint = checkpoint
	lines := strings.Split(head, "\n")
	number, ok := strings.CutPrefix(lines[0], "index ")
	index, err := strconv.ParseUint(number, 10, 62)
	if !ok || err != nil || strconv.FormatUint(index, 10) != number {
		return p, errors.New("it names no index")
	}
	p.index = index
	if len(lines) > 65 {
		return p, errors.New("it is longer than a proof can be")
	}
	for _, line := range lines[1:] {
		h, err := parseHash(line)
		if err != nil {
			return p, err
		}
		p.hashes = append(p.hashes, h)
	}
	return p, nil
}
