package ledger

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/segment"
)

// checkpoint is a signed tree head (C2SP tlog-checkpoint). The zero value is that of a log without one.
type checkpoint struct {
	size uint64
	root tlog.Hash
	note []byte // as signed and published
}

// maxCheckpoint bounds the file, in bytes: one signature of ours and those of some witnesses.
const maxCheckpoint = 64 << 10

func signCheckpoint(signer note.Signer, size uint64, root tlog.Hash) (checkpoint, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", signer.Name(), size, root)
	msg, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return checkpoint{}, fmt.Errorf("signing the checkpoint: %w", err)
	}
	return checkpoint{size: size, root: root, note: msg}, nil
}

// ParseCheckpoint verifies a checkpoint with the log's key and returns what it says. Signatures by others are ignored.
func ParseCheckpoint(msg []byte, origin string, v note.Verifier) (size uint64, root tlog.Hash, err error) {
	c, err := parseCheckpoint(msg, origin, v)
	return c.size, c.root, err
}

func parseCheckpoint(msg []byte, origin string, v note.Verifier) (checkpoint, error) {
	if len(msg) > maxCheckpoint {
		return checkpoint{}, errors.New("the checkpoint is too long")
	}
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return checkpoint{}, fmt.Errorf("the checkpoint's signature: %w", err)
	}
	if err := canonicalSignatures(msg); err != nil {
		return checkpoint{}, err
	}
	lines := strings.SplitN(n.Text, "\n", 4)
	if len(lines) < 4 || lines[0] != origin {
		return checkpoint{}, fmt.Errorf("the checkpoint is not one of %s", origin)
	}
	size, err := strconv.ParseUint(lines[1], 10, 62)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return checkpoint{}, fmt.Errorf("the checkpoint's size %q is not a number", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return checkpoint{}, fmt.Errorf("the checkpoint's root %q is not a hash", lines[2])
	}
	return checkpoint{size: size, root: root, note: msg}, nil
}

// lastSigned reads what is kept outside of the log of what its key has signed.
func lastSigned(msg []byte, origin string, v note.Verifier) (checkpoint, error) {
	if len(msg) == 0 {
		return checkpoint{root: segment.Root(nil)}, nil
	}
	c, err := parseCheckpoint(msg, origin, v)
	if err != nil {
		return c, fmt.Errorf("what is kept of the last checkpoint of %s: %w", origin, err)
	}
	return c, nil
}

func otherHistory(size uint64) string {
	return fmt.Sprintf("the log's key has signed other entries than the first %d here: the directory was replaced", size)
}

// canonicalSignatures refuses base64 with loose bits at its end, which note.Open lets pass: two different files
// must not both be the checkpoint.
func canonicalSignatures(msg []byte) error {
	i := bytes.LastIndex(msg, []byte("\n\n"))
	for line := range strings.Lines(string(msg[i+2:])) {
		_, sig, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "— "), " ")
		if _, err := base64.StdEncoding.Strict().DecodeString(sig); err != nil {
			return errors.New("a signature of the checkpoint is not canonical base64")
		}
	}
	return nil
}
