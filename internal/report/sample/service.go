package sample

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/query"
)

// Wish is what a population is asked to be.
type Wish struct {
	ID       string                  `json:"id,omitempty"`    // "": a random one
	Query    string                  `json:"query,omitempty"` // "": every decision
	From     aver.Time               `json:"from,omitzero"`   // 0: the log's beginning
	To       aver.Time               `json:"to,omitzero"`     // 0: now
	Since    string                  `json:"since,omitempty"` // the auditor's last checkpoint of the decision log, as signed
	Progress func(done, total int64) `json:"-"`
}

// Source makes populations and samples from a decision log. It writes nothing.
type Source struct {
	Log      Log
	VKey     string
	Verifier note.Verifier
	// Checkpoint returns a signed checkpoint of all that was committed when it was called.
	Checkpoint func(ctx context.Context) ([]byte, error)
	Now        func() aver.Time
	Most       uint64                    // as [Request.Most]
	Why        func(index uint64) string // as [Request.Why]
}

// WishError says that what was asked for can't be, because of how it was asked.
type WishError struct{ Err error }

func (e *WishError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *WishError) Unwrap() error { return e.Err }

// Fix fixes a population. The document is neither signed nor logged; see [Document.Sign]. The error is a [*query.Error],
// a [*WishError], or one of reading the log.
func (s *Source) Fix(ctx context.Context, w Wish) (*Document, error) {
	q, err := query.Parse(w.Query)
	if err != nil {
		return nil, err
	}
	if w.ID == "" {
		w.ID = "p-" + strings.ToLower(rand.Text()[:16]) // 80 random bits
	}
	now := s.Now()
	if w.To == 0 {
		w.To = now
	}
	if w.To > now {
		return nil, &WishError{fmt.Errorf("the period ends at %s, in the future: what is still to come can't be fixed", w.To)}
	}
	checkpoint, err := s.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	tree, err := s.tree(checkpoint)
	if err != nil {
		return nil, err
	}
	r := Request{ID: w.ID, Query: q, From: w.From, To: w.To, Tree: tree, Most: s.Most, Progress: w.Progress, Why: s.Why}
	if w.Since != "" {
		since, err := s.tree([]byte(w.Since))
		if err != nil {
			return nil, &WishError{fmt.Errorf("the earlier checkpoint: %w", err)}
		}
		if since.Size > tree.Size {
			return nil, &WishError{fmt.Errorf("the earlier checkpoint is one of %d entries, and the log has %d: it was rolled back", since.Size, tree.Size)}
		}
		r.Since = &since
	}
	f, err := Fix(ctx, s.Log, r)
	if err != nil {
		return nil, err
	}
	return NewDocument(f, s.VKey, string(checkpoint), w.Since)
}

func (s *Source) tree(checkpoint []byte) (aver.TreeHead, error) {
	size, root, err := ledger.ParseCheckpoint(checkpoint, s.Log.Origin(), s.Verifier)
	return aver.TreeHead{Size: size, Root: root.String()}, err
}

// ErrChanged says that a population is not what it was when it was fixed.
var ErrChanged = errors.New("the population is not what it was when it was fixed: payloads of its period are gone since; fix another one")

// Again finds the rows of a population that was fixed before. The error wraps [ErrChanged] if they can't be what they
// were.
func (s *Source) Again(ctx context.Context, p *aver.Population) (*Fixed, error) {
	q, err := query.Parse(p.Query)
	if err != nil {
		return nil, err
	}
	f, err := Fix(ctx, s.Log, Request{ID: p.ID, Query: q, From: p.From, To: p.To, Tree: p.Tree, Since: p.Since, Why: s.Why})
	if err != nil {
		return nil, err
	}
	if f.Rows != p.Rows || f.Count != p.Count {
		return nil, fmt.Errorf("population %s: %w", p.ID, ErrChanged)
	}
	f.Population = *p
	return f, nil
}

// Draw draws a sample from a population. Method "" is simple, or stratified if strata are named.
func (s *Source) Draw(f *Fixed, spec Spec) (*Drawn, error) {
	value, err := spec.settle(s.Log)
	if err != nil {
		return nil, err
	}
	return Draw(&f.Population, f.Indexes, value, spec)
}

// settle fills in the method, and returns what tells the stratum of a row.
func (s *Spec) settle(log Log) (value func(uint64) (string, error), err error) {
	if s.Method == "" {
		s.Method = aver.SampleSimple
		if s.Strata != "" {
			s.Method = aver.SampleStratified
		}
	}
	if s.Strata != "" {
		if value, err = ValueOf(log, s.Strata); err != nil {
			return nil, &WishError{err}
		}
	}
	return value, nil
}

// Item identifies a row of a sample.
type Item struct {
	Index    uint64    `json:"index"`
	ID       string    `json:"id"` // evaluation id
	Time     aver.Time `json:"time"`
	Outcome  string    `json:"outcome"`
	LeafHash tlog.Hash `json:"leaf_hash"` // RFC 6962
}

// Sample is a sample as it is handed over.
type Sample struct {
	*Drawn
	Items []Item `json:"items"`           // in the order of the draw
	Event *Event `json:"event,omitempty"` // by which it was drawn; nil: it was not logged
	// EarlierDraws is how many samples were drawn from the population before; nil if nobody keeps count.
	EarlierDraws *int `json:"earlier_draws,omitempty"`
}

// NewSample says of each row what identifies it.
func NewSample(d *Drawn, leaf func(index uint64) ([]byte, error)) (*Sample, error) {
	out := &Sample{Drawn: d, Items: []Item{}}
	for _, i := range d.Rows {
		text, err := leaf(i)
		if err != nil {
			return nil, err
		}
		l, err := aver.ParseLeaf(text)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		item := Item{Index: i, ID: l.ID, Time: l.Time, LeafHash: tlog.RecordHash(text)}
		if l.Outcome != nil {
			item.Outcome = l.Outcome.String()
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

// Leaf is a leaf of the document's proof.
func (d *Document) Leaf(index uint64) ([]byte, error) {
	if d.Proof == nil || index < d.Proof.Begin || index >= d.Proof.End() {
		return nil, fmt.Errorf("entry %d is not among the leaves of the document", index)
	}
	return []byte(d.Proof.Leaves[index-d.Proof.Begin]), nil
}

// Verify checks a sample against the population that it says it was drawn from, whose document was verified before.
// Value gives the stratum of a row, of a stratified sample.
func (s *Sample) Verify(d *Document, value func(index uint64) (string, error)) []Check {
	var r Report
	if s.Population != d.Statement.ID || s.Digest != d.Digest {
		r.add("sample", errors.New("it was drawn from another population"), "")
		return r.Checks
	}
	r.add("sample", s.Check(&d.Statement, d.Rows, value), fmt.Sprintf("%d rows, drawn again: the same", len(s.Rows)))
	again, err := NewSample(s.Drawn, d.Leaf)
	if err == nil {
		same := len(again.Items) == len(s.Items)
		for i := 0; same && i < len(s.Items); i++ {
			same = again.Items[i] == s.Items[i]
		}
		if !same {
			err = errors.New("what the items say is not what the leaves of the rows say")
		}
	}
	r.add("items", err, "each is what its leaf says")
	if s.Event == nil {
		r.leave("draw", "it was not logged when the sample was drawn, so other draws may have come before")
	} else {
		r.claim("draw", s.checkEvent(d), fmt.Sprintf("it says that event %d of the authority log drew it: compare with the log (--data), which also tells of other draws", s.Event.Index))
	}
	return r.Checks
}

func (s *Sample) checkEvent(d *Document) error {
	e, err := s.Event.parse()
	if err != nil {
		return err
	}
	data, err := aver.CanonicalJSON(s.SampleDrawn)
	if err != nil {
		return err
	}
	switch {
	case e.Type != aver.EventSampleDrawn || string(e.Data) != string(data):
		return errors.New("the event is that of another sample")
	case d.Event != nil && d.Event.Index >= s.Event.Index:
		return errors.New("the sample was drawn before its population was fixed")
	}
	return nil
}
