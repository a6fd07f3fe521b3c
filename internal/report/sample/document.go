package sample

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
)

// Document is a population as it is handed over: the statement, who vouches for it, and what proves it complete.
type Document struct {
	Statement   aver.Population `json:"statement"`
	Digest      string          `json:"digest"`          // of the statement
	Note        string          `json:"note,omitempty"`  // the digest, signed by the log; "": drawn up from a copy, so nobody did
	Event       *Event          `json:"event,omitempty"` // by which it was fixed; nil: it was not logged
	VerifierKey string          `json:"verifier_key"`    // of the decision log (C2SP signed-note), to be compared with one that came another way
	Checkpoint  string          `json:"checkpoint"`      // of the statement's tree
	Since       string          `json:"since_checkpoint,omitempty"`
	Consistency []tlog.Hash     `json:"consistency,omitempty"` // from since_checkpoint to checkpoint (RFC 6962)
	Rows        []uint64        `json:"rows"`                  // indexes in the decision log, ascending
	Proof       *RangeProof     `json:"proof"`
}

// Event is an event of the authority log.
type Event struct {
	Index   uint64 `json:"index"`
	Leaf    string `json:"leaf"` // the very bytes of the log, as text
	Payload string `json:"payload"`
}

// NewDocument puts a population together. The checkpoint is that of its tree, since the auditor's; "" if there is none.
func NewDocument(f *Fixed, vkey, checkpoint, since string) (*Document, error) {
	digest, err := Digest(&f.Population)
	if err != nil {
		return nil, err
	}
	rows := f.Indexes
	if rows == nil {
		rows = []uint64{}
	}
	return &Document{
		Statement: f.Population, Digest: digest, VerifierKey: vkey, Checkpoint: checkpoint, Since: since, Consistency: f.Consistency,
		Rows: rows, Proof: f.Proof,
	}, nil
}

// Digest is the digest of a statement: SHA-256 of its canonical form, in base64url.
func Digest(p *aver.Population) (string, error) {
	text, err := p.Canonical()
	if err != nil {
		return "", fmt.Errorf("the statement of the population: %w", err)
	}
	return aver.Digest(text), nil
}

func noteText(origin, digest string) string { return origin + "/population\n" + digest + "\n" }

// Sign has the log vouch for the statement: a C2SP signed note over its digest.
func (d *Document) Sign(signer note.Signer) error {
	msg, err := note.Sign(&note.Note{Text: noteText(signer.Name(), d.Digest)}, signer)
	if err != nil {
		return fmt.Errorf("sign the population: %w", err)
	}
	d.Note = string(msg)
	return nil
}

// State is what a check found.
type State string

// The states of a check.
const (
	OK        State = "ok"
	Wrong     State = "wrong"
	Unchecked State = "unchecked" // there was nothing to check it with; never to be taken for ok
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"check"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"` // one plain sentence
}

// Report is what verifying found.
type Report struct {
	// Integrity is whether nothing is wrong; what is unchecked is said in Checks.
	Integrity bool `json:"integrity"`
	// Trust is "established" if the key is one that the reader brought, "refused" if it is another, else "unchecked".
	Trust  string  `json:"trust"`
	Checks []Check `json:"checks"`
}

func (r *Report) add(name string, err error, good string) bool {
	c := Check{Name: name, State: OK, Detail: good}
	if err != nil {
		c.State, c.Detail, r.Integrity = Wrong, err.Error(), false
	}
	r.Checks = append(r.Checks, c)
	return err == nil
}

// claim is what is not wrong by itself, and is shown by something that is not here.
func (r *Report) claim(name string, err error, why string) {
	if err != nil {
		r.add(name, err, "")
		return
	}
	r.leave(name, why)
}

func (r *Report) leave(name, why string) {
	r.Checks = append(r.Checks, Check{Name: name, State: Unchecked, Detail: why})
}

// Verify checks a population with nothing but the document, and a key if the reader brought one ("" otherwise).
func (d *Document) Verify(key string) *Report {
	r := &Report{Integrity: true, Trust: "unchecked"}
	vkey := d.VerifierKey
	if key != "" {
		if r.Trust = "established"; key != vkey {
			r.Trust, r.Integrity = "refused", false
		}
		vkey = key
	}
	r.add("statement", d.checkStatement(), fmt.Sprintf("%d rows of %d leaves, digest %s", d.Statement.Count, d.Statement.End-d.Statement.First, d.Digest))
	verifier, err := ledger.ParseVerifier(vkey)
	if err == nil && verifier.Name() != d.Statement.Log {
		err = fmt.Errorf("the key is that of %s, the statement about %s", verifier.Name(), d.Statement.Log)
	}
	if !r.add("key", err, "that of "+d.Statement.Log) {
		return r
	}
	if d.Note == "" {
		r.leave("note", "nobody signed the statement: it was drawn up from a data directory, not by the server")
	} else {
		r.add("note", d.checkNote(verifier), "signed by the log")
	}
	if d.Event == nil {
		r.leave("event", "it was not logged when the population was fixed, so nothing shows that it was before the nonce")
	} else {
		r.claim("event", d.checkEvent(), fmt.Sprintf("it says that event %d of the authority log fixed it: compare with the log (--data)", d.Event.Index))
	}
	root, err := d.tree(verifier)
	r.add("checkpoint", err, fmt.Sprintf("signed for %d entries", d.Statement.Tree.Size))
	if err == nil && r.add("leaves", d.checkLeaves(root), d.leavesText()) {
		r.add("period", d.checkPeriod(), d.periodText())
		r.add("rows", d.checkRows(), "each is a decision of the period; rows and others add up")
	}
	if d.Statement.Since == nil {
		r.leave("consistency", "no earlier checkpoint was brought: give --since when the population is fixed")
	} else {
		r.add("consistency", d.checkConsistency(verifier, root), fmt.Sprintf("the log only grew since %d entries", d.Statement.Since.Size))
	}
	return r
}

func (d *Document) checkStatement() error {
	digest, err := Digest(&d.Statement)
	switch {
	case err != nil:
		return err
	case digest != d.Digest:
		return fmt.Errorf("its digest is %s, not %s", digest, d.Digest)
	}
	return d.Statement.Validate()
}

func (d *Document) checkNote(v note.Verifier) error {
	n, err := note.Open([]byte(d.Note), note.VerifierList(v))
	if err != nil {
		return fmt.Errorf("the signature is not one of the log's key: %w", err)
	}
	if n.Text != noteText(d.Statement.Log, d.Digest) {
		return errors.New("what was signed is another statement")
	}
	return nil
}

// parse reads the event, and checks that its leaf commits to it.
func (e *Event) parse() (*aver.Event, error) {
	leaf, err := aver.ParseLeaf([]byte(e.Leaf))
	if err != nil {
		return nil, err
	}
	if !leaf.Matches([]byte(e.Payload)) {
		return nil, errors.New("the event's leaf does not commit to it")
	}
	return aver.ParseEvent([]byte(e.Payload))
}

func (d *Document) checkEvent() error {
	e, err := d.Event.parse()
	if err != nil {
		return err
	}
	if e.Type != aver.EventPopulationFixed || aver.Digest(e.Data) != d.Digest {
		return errors.New("the event fixed another population")
	}
	return nil
}

// tree opens the checkpoint and compares it with the statement's tree.
func (d *Document) tree(v note.Verifier) (tlog.Hash, error) {
	size, root, err := ledger.ParseCheckpoint([]byte(d.Checkpoint), d.Statement.Log, v)
	if err != nil {
		return root, err
	}
	if size != d.Statement.Tree.Size || root.String() != d.Statement.Tree.Root {
		return root, errors.New("the checkpoint is not that of the statement's tree")
	}
	return root, nil
}

func (d *Document) checkLeaves(root tlog.Hash) error {
	p, s := d.Proof, &d.Statement
	switch {
	case p == nil:
		return errors.New("the proof is missing")
	case s.First > s.End || s.End > s.Tree.Size:
		return errors.New("the statement's leaves do not lie in its tree")
	}
	if p.Begin > s.First || p.End() < s.End {
		return fmt.Errorf("they are %d to %d, and the period is %d to %d", p.Begin, p.End(), s.First, s.End)
	}
	if p.Begin > 0 && p.Begin == s.First || p.End() < s.Tree.Size && p.End() == s.End {
		return errors.New("a neighbour of the period is missing, so that its edge is not proved")
	}
	return p.Check(s.Tree.Size, root)
}

func (d *Document) leavesText() string {
	if d.Proof == nil {
		return ""
	}
	return fmt.Sprintf("%d in a row from %d on, proved in the checkpoint's tree", len(d.Proof.Leaves), d.Proof.Begin)
}

// checkPeriod checks that the leaves at the edges are of the period, and those beyond are not.
func (d *Document) checkPeriod() error {
	s := &d.Statement
	for i, text := range d.Proof.Leaves {
		index := d.Proof.Begin + uint64(i)
		leaf, err := aver.ParseLeaf([]byte(text))
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		switch {
		case index < s.First && leaf.Time >= s.From:
			return fmt.Errorf("entry %d stands before the period and has the time %s", index, leaf.Time)
		case index >= s.End && leaf.Time < s.To:
			return fmt.Errorf("entry %d stands after the period and has the time %s", index, leaf.Time)
		case s.First < s.End && (index == s.First && leaf.Time < s.From || index == s.End-1 && leaf.Time >= s.To):
			return fmt.Errorf("entry %d is at the edge of the period, and its time %s is outside of it", index, leaf.Time)
		}
	}
	return nil
}

func (d *Document) periodText() string {
	before, after := d.Statement.First-d.Proof.Begin, d.Proof.End()-d.Statement.End
	text := fmt.Sprintf("%d neighbours before and %d after lie outside of it", before, after)
	if d.Statement.First == 0 {
		text += "; it begins with the log"
	}
	if after == 0 {
		text += "; the log ended with it"
	}
	return text
}

// checkRows checks rows and counts against the leaves: all that can be said without payloads.
func (d *Document) checkRows() error {
	s := &d.Statement
	if uint64(len(d.Rows)) != s.Count || rowsDigest(d.Rows) != s.Rows {
		return errors.New("the rows are not those of the statement")
	}
	if !slices.IsSorted(d.Rows) || len(slices.Compact(slices.Clone(d.Rows))) != len(d.Rows) {
		return errors.New("the rows are not in order, or one stands there twice")
	}
	is := make(map[uint64]bool, len(d.Rows))
	for _, i := range d.Rows {
		if i < s.First || i >= s.End {
			return fmt.Errorf("row %d lies outside of the period", i)
		}
		is[i] = true
	}
	missing := func(i uint64) bool {
		return slices.ContainsFunc(s.Missing, func(m aver.MissingRange) bool { return i >= m.First && i < m.End })
	}
	var counted aver.Excluded
	for i := s.First; i < s.End; i++ {
		leaf, err := aver.ParseLeaf([]byte(d.Proof.Leaves[i-d.Proof.Begin]))
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		outside := leaf.Time < s.From || leaf.Time >= s.To
		switch {
		case is[i] && (outside || leaf.Kind != aver.KindDecision || missing(i)):
			return fmt.Errorf("row %d is no decision of the period, or said to be missing", i)
		case is[i]:
		case outside:
			counted.Outside++
		case leaf.Kind == aver.KindActivity:
			counted.Activities++
		case !missing(i):
			counted.NotMatching++
		}
	}
	if counted != s.Excluded {
		return fmt.Errorf("the excluded leaves are %+v, the statement says %+v", counted, s.Excluded)
	}
	return nil
}

func (d *Document) checkConsistency(v note.Verifier, root tlog.Hash) error {
	size, old, err := ledger.ParseCheckpoint([]byte(d.Since), d.Statement.Log, v)
	if err != nil {
		return fmt.Errorf("the earlier checkpoint: %w", err)
	}
	if size != d.Statement.Since.Size || old.String() != d.Statement.Since.Root {
		return errors.New("the earlier checkpoint is not that of the statement")
	}
	if size == 0 {
		return nil
	}
	if err := tlog.CheckTree(tlog.TreeProof(d.Consistency), int64(d.Statement.Tree.Size), root, int64(size), old); err != nil {
		return errors.New("the tree of the checkpoint is not a continuation of the earlier one: the log was rewritten")
	}
	return nil
}
