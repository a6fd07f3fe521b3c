// Package witnesstest is a witness (C2SP tlog-witness) in memory, for tests. It follows the protocol, and nothing else:
// what it knows is gone when the process ends.
package witnesstest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Witness cosigns checkpoints of the logs that it was told of. It is an [http.Handler].
type Witness struct {
	name string
	key  ed25519.PrivateKey
	logs map[string]note.Verifier

	mu    sync.Mutex
	known map[string]tlog.Tree
	fail  int // status to answer with; 0: as it should
	asked int
}

// New makes a witness with a fresh key.
func New(name string, logs ...note.Verifier) *Witness {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	w := &Witness{name: name, key: key, logs: map[string]note.Verifier{}, known: map[string]tlog.Tree{}}
	for _, v := range logs {
		w.logs[v.Name()] = v
	}
	return w
}

// Key is its verifier key.
func (w *Witness) Key() string {
	raw := append([]byte{4}, w.key.Public().(ed25519.PublicKey)...)
	return fmt.Sprintf("%s+%08x+%s", w.name, w.hash(), base64.StdEncoding.EncodeToString(raw))
}

func (w *Witness) hash() uint32 {
	raw := append([]byte(w.name+"\n\x04"), w.key.Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(raw)
	return binary.BigEndian.Uint32(sum[:])
}

// Fail lets it answer with a status from now on; 0: as it should.
func (w *Witness) Fail(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = status
}

// Asked is how many requests it had.
func (w *Witness) Asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// Cosign is the signature line for a signed checkpoint, whatever the witness knows of its log.
func (w *Witness) Cosign(checkpoint []byte) string {
	text, _, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	return w.cosign(string(text) + "\n")
}

// ServeHTTP implements [http.Handler].
func (w *Witness) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/add-checkpoint") {
		http.NotFound(out, r)
		return
	}
	if w.fail != 0 {
		http.Error(out, "out of order", w.fail)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 10<<10))
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	status, answer := w.add(body)
	if status == http.StatusConflict {
		out.Header().Set("Content-Type", "text/x.tlog.size")
	}
	out.WriteHeader(status)
	io.WriteString(out, answer)
}

func (w *Witness) add(body []byte) (status int, answer string) {
	head, checkpoint, ok := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	old, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if !ok || err != nil || !strings.HasPrefix(lines[0], "old ") || len(lines) > 64 {
		return http.StatusBadRequest, "malformed\n"
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return http.StatusBadRequest, "malformed\n"
		}
		proof = append(proof, h)
	}
	origin, _, _ := strings.Cut(string(checkpoint), "\n")
	v, ok := w.logs[origin]
	if !ok {
		return http.StatusNotFound, "unknown log\n"
	}
	n, err := note.Open(checkpoint, note.VerifierList(v))
	if err != nil {
		return http.StatusForbidden, "not signed by the log\n"
	}
	fields := strings.Split(n.Text, "\n")
	size, err1 := strconv.ParseInt(fields[1], 10, 64)
	root, err2 := tlog.ParseHash(fields[2])
	if err1 != nil || err2 != nil || old > size {
		return http.StatusBadRequest, "malformed\n"
	}
	known := w.known[origin]
	if known.N != old {
		return http.StatusConflict, fmt.Sprintf("%d\n", known.N)
	}
	if old > 0 && tlog.CheckTree(proof, size, root, old, known.Hash) != nil {
		return http.StatusUnprocessableEntity, "the proof does not hold\n"
	}
	w.known[origin] = tlog.Tree{N: size, Hash: root}
	return http.StatusOK, w.cosign(n.Text)
}

// cosign is its signature line (C2SP tlog-cosignature).
func (w *Witness) cosign(text string) string {
	at := uint64(time.Now().Unix())
	sig := binary.BigEndian.AppendUint32(nil, w.hash())
	sig = binary.BigEndian.AppendUint64(sig, at)
	sig = append(sig, ed25519.Sign(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text))...)
	return fmt.Sprintf("— %s %s\n", w.name, base64.StdEncoding.EncodeToString(sig))
}
