package ledger

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Receipt says where an entry is; the entry is durable.
type Receipt struct {
	Index    uint64    // zero-based
	LeafHash tlog.Hash // RFC 6962
	Group    *Group    // the commit group, for Committed
}

// Group is a commit group: the entries that became durable with one sync. Safe for concurrent use.
type Group struct {
	First  uint64 // index of its first entry
	Root   tlog.Hash
	hashes []tlog.Hash
	signer note.Signer

	once sync.Once
	tree [][]tlog.Hash // level by level, the leaf hashes first
	note []byte
	err  error
}

// Count is the number of entries in the group.
func (g *Group) Count() int { return len(g.hashes) }

// Note returns the group's signed note. The signature is made once, when first asked for.
func (g *Group) Note() ([]byte, error) {
	g.once.Do(func() {
		g.tree = levels(g.hashes)
		text := commitText(g.signer.Name(), g.First, uint64(len(g.hashes)), g.Root)
		g.note, g.err = note.Sign(&note.Note{Text: text}, g.signer)
	})
	return g.note, g.err
}

func commitText(origin string, first, count uint64, root tlog.Hash) string {
	return fmt.Sprintf("%s/commit\n%d %d\n%s\n", origin, first, count, root)
}

// CommitReceipt is the portable form of a Receipt: the log's promise, signed before the entry is in a checkpoint.
// Who finds no such entry in a later checkpoint can prove that the promise was broken.
type CommitReceipt struct {
	Index    uint64      `json:"index"`
	LeafHash tlog.Hash   `json:"leaf_hash"`
	Path     []tlog.Hash `json:"path"` // RFC 6962 audit path within the group
	Note     string      `json:"note"` // "<origin>/commit\n<first> <count>\n<base64 root>\n", signed
}

// Committed returns the signed receipt.
func (r Receipt) Committed() (CommitReceipt, error) {
	msg, err := r.Group.Note()
	if err != nil {
		return CommitReceipt{}, err
	}
	path := auditPath(r.Group.tree, int(r.Index-r.Group.First))
	return CommitReceipt{Index: r.Index, LeafHash: r.LeafHash, Path: path, Note: string(msg)}, nil
}

// levels builds the tree over some leaf hashes (RFC 6962, section 2.1): each level has the hashes of the pairs of the
// one below, and takes over a last one that has no sibling.
func levels(hashes []tlog.Hash) [][]tlog.Hash {
	tree := [][]tlog.Hash{hashes}
	for len(hashes) > 1 {
		above := make([]tlog.Hash, 0, (len(hashes)+1)/2)
		for i := 0; i+1 < len(hashes); i += 2 {
			above = append(above, tlog.NodeHash(hashes[i], hashes[i+1]))
		}
		if len(hashes)%2 == 1 {
			above = append(above, hashes[len(hashes)-1])
		}
		tree, hashes = append(tree, above), above
	}
	return tree
}

// auditPath is the RFC 6962 audit path of leaf i, from the leaf upwards.
func auditPath(tree [][]tlog.Hash, i int) []tlog.Hash {
	path := make([]tlog.Hash, 0, len(tree))
	for _, level := range tree {
		if sibling := i ^ 1; sibling < len(level) {
			path = append(path, level[sibling])
		}
		i /= 2
	}
	return path
}

// VerifyReceipt checks a commit receipt against the log's key. It proves that the log promised an entry with that leaf
// hash at that index, not that the log kept the promise: that takes an inclusion proof.
func VerifyReceipt(c CommitReceipt, v note.Verifier) error {
	n, err := note.Open([]byte(c.Note), note.VerifierList(v))
	if err != nil {
		return fmt.Errorf("the receipt's signature: %w", err)
	}
	first, count, root, err := parseCommitText(n.Text, v.Name())
	if err != nil {
		return err
	}
	if c.Index < first || c.Index-first >= count {
		return fmt.Errorf("the receipt is for entry %d, its note for %d entries from %d", c.Index, count, first)
	}
	err = tlog.CheckRecord(c.Path, int64(count), root, int64(c.Index-first), c.LeafHash)
	if err != nil {
		return errors.New("the receipt's path does not lead from the leaf to the root that was signed")
	}
	return nil
}

func parseCommitText(text, origin string) (first, count uint64, root tlog.Hash, err error) {
	bad := fmt.Errorf("the note is not a commit receipt of %s", origin)
	rest, ok := strings.CutPrefix(text, origin+"/commit\n")
	if !ok {
		return 0, 0, root, bad
	}
	numbers, hash, _ := strings.Cut(rest, "\n")
	a, b, _ := strings.Cut(numbers, " ")
	first, err1 := strconv.ParseUint(a, 10, 62)
	count, err2 := strconv.ParseUint(b, 10, 32)
	root, err3 := tlog.ParseHash(strings.TrimSuffix(hash, "\n"))
	if errors.Join(err1, err2, err3) != nil || text != commitText(origin, first, count, root) {
		return 0, 0, root, bad
	}
	return first, count, root, nil
}
