package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/query"
	"github.com/aver-authz/aver/internal/replay"
)

// maker makes one pack.
type maker struct {
	Source
	r      Request
	out    Summary
	states *replay.States

	authorityCheckpoint, decisionsCheckpoint checkpoint

	after     map[string][]query.Term // what was reported and asked for afterwards, by evaluation id; if the query asks about it
	decisions []*decision
	events    map[uint64]string // index in the authority log -> what it is here for
	loaded    map[uint64]ledger.Entry
	gone      map[uint64]string // events whose payload is not packed -> why
	policies  map[string][][2]string
	withheld  []evidence.Withheld
	files     map[string][]byte
}

// decision is a chosen decision, as far as it is there.
type decision struct {
	ledger.Indexed
	leaf        aver.Leaf
	record      *aver.Record // nil if the payload is gone
	disclosures []string     // those that are packed
	activities  []activity
	cites       []uint64 // events
	withheld    string   // why the payload is not packed; "" if it is
}

type activity struct {
	ledger.Indexed
	*aver.Activity
}

// checkpoint is a signed tree head to prove against.
type checkpoint struct {
	note []byte
	size uint64
}

func openCheckpoint(log Log, vkey string) (checkpoint, error) {
	text := log.Checkpoint()
	if text == nil {
		return checkpoint{}, fmt.Errorf("the log %s has no signed checkpoint yet", originOf(vkey))
	}
	return parseCheckpoint(log, text, vkey)
}

// parseCheckpoint reads a checkpoint, which must be one of this very log.
func parseCheckpoint(log Log, text []byte, vkey string) (checkpoint, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return checkpoint{}, fmt.Errorf("the key of a log: %w", err)
	}
	size, root, err := ledger.ParseCheckpoint(text, v.Name(), v)
	if err != nil {
		return checkpoint{}, err
	}
	if here, err := log.TreeHash(size); err != nil {
		return checkpoint{}, fmt.Errorf("the root of %s at %d: %w", v.Name(), size, err)
	} else if here != root {
		return checkpoint{}, fmt.Errorf("the key of %s has signed a checkpoint of %d entries that are not those here: aver verify says more", v.Name(), size)
	}
	return checkpoint{text, size}, nil
}

// cosigned takes the checkpoints that witnesses have cosigned, where they cover all that is packed.
func (m *maker) cosigned(context.Context) error {
	decisions, authority := uint64(0), uint64(0) // entries to cover
	for index := range m.events {
		authority = max(authority, index+1)
	}
	for _, d := range m.decisions {
		decisions = max(decisions, d.Index+1)
		if d.record != nil {
			authority = max(authority, d.record.Authority.Size)
		}
		for _, a := range d.activities {
			decisions, authority = max(decisions, a.Index+1), max(authority, a.Authority.Size)
		}
	}
	for _, one := range []struct {
		log   Log
		vkey  string
		text  []byte
		least uint64
		into  *checkpoint
	}{
		{m.Authority, m.AuthorityKey, m.AuthorityCosigned, authority, &m.authorityCheckpoint},
		{m.Decisions, m.DecisionsKey, m.DecisionsCosigned, decisions, &m.decisionsCheckpoint},
	} {
		if one.text == nil {
			continue
		}
		c, err := parseCheckpoint(one.log, one.text, one.vkey)
		if err != nil {
			return fmt.Errorf("what witnesses have cosigned: %w", err)
		}
		if c.size >= one.least {
			*one.into = c
		}
	}
	return nil
}

func originOf(vkey string) string {
	origin, _, _ := strings.Cut(vkey, "+")
	return origin
}

// choose finds the decisions and their activities, among the entries that the
// checkpoint covers.
func (m *maker) choose(ctx context.Context) error {
	var err error
	if m.decisionsCheckpoint, err = openCheckpoint(m.Decisions, m.DecisionsKey); err != nil {
		return err
	}
	// After the other one: what its entries cite was covered before they were.
	if m.authorityCheckpoint, err = openCheckpoint(m.Authority, m.AuthorityKey); err != nil {
		return err
	}
	size := m.decisionsCheckpoint.size
	chosen := map[uint64]bool{}
	var search *query.Query
	from := uint64(0)
	if m.r.Query != "" {
		if search, err = query.Parse(m.r.Query); err != nil {
			return bad("%v", err)
		}
		if !search.Final() {
			if m.after, err = m.later(ctx); err != nil {
				return err
			}
		}
	} else {
		from = size
		for _, id := range m.r.Decisions {
			index, err := pdp.Find(m.Decisions, size, id)
			if errors.Is(err, pdp.ErrNotFound) {
				return bad("no decision %s is covered by a signed checkpoint; of one that was made just now, try again in a second", id)
			}
			if err != nil {
				return err
			}
			chosen[index] = true
			from = min(from, index)
		}
	}
	byID := map[string]*decision{}
	for e, err := range m.Decisions.Entries(from, size) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = m.consider(e, search, chosen[e.Index], byID)
		}
		if err != nil {
			return fmt.Errorf("decision log, entry %d: %w", e.Index, err)
		}
		if m.r.Progress != nil && e.Index%4096 == 0 {
			m.r.Progress(e.Index-from, size-from)
		}
	}
	if len(m.decisions) == 0 {
		return bad("the query matches no decision, so there is nothing to pack")
	}
	m.out.Decisions = len(m.decisions)
	return nil
}

// consider takes in an entry of the decision log if it belongs to the pack.
func (m *maker) consider(e ledger.Indexed, search *query.Query, chosen bool, byID map[string]*decision) error {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return err
	}
	if leaf.Kind == aver.KindActivity {
		if e.Erased || len(byID) == 0 {
			return nil
		}
		a, err := pdp.ParseActivityEntry(e.Entry)
		if err != nil {
			return err
		}
		if d := byID[a.EvaluationID]; d != nil {
			d.activities = append(d.activities, activity{e, a})
			m.out.Activities++
		}
		return nil
	}
	if search == nil && !chosen {
		return nil
	}
	d := &decision{Indexed: e, leaf: leaf}
	facts := query.FactsOfLeaf(e.Index, leaf)
	if e.Erased {
		d.withheld = "it was erased, or its retention is over"
	} else {
		if d.record, err = aver.ParseRecord(e.Payload); err != nil {
			return err
		}
		if d.disclosures, err = pdp.ParseDisclosures(e.Private); err != nil {
			return err
		}
		facts = query.FactsOf(e.Index, d.record)
	}
	if more := m.after[leaf.ID]; more != nil {
		facts.Learn(more)
	}
	if search != nil && !search.Match(facts) {
		return nil
	}
	limit := m.r.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	if search != nil && len(m.decisions) >= limit {
		m.out.More++
		return nil
	}
	m.decisions = append(m.decisions, d)
	byID[leaf.ID] = d
	return nil
}

// heads writes the checkpoints, and the proofs of the heads that are cited.
func (m *maker) heads(context.Context) error {
	m.files[string(evidence.AuthorityLog)+"/"+evidence.CheckpointFile] = m.authorityCheckpoint.note
	m.files[string(evidence.DecisionLog)+"/"+evidence.CheckpointFile] = m.decisionsCheckpoint.note
	seen := map[aver.TreeHead]bool{}
	var list []evidence.Consistency
	add := func(head aver.TreeHead) error {
		if seen[head] {
			return nil
		}
		seen[head] = true
		if head.Size > m.authorityCheckpoint.size {
			return errAhead
		}
		hashes, err := m.Authority.ConsistencyProof(head.Size, m.authorityCheckpoint.size)
		if err != nil {
			return fmt.Errorf("consistency of the authority log from %d: %w", head.Size, err)
		}
		c := evidence.Consistency{TreeHead: head, Proof: []string{}}
		for _, h := range hashes {
			c.Proof = append(c.Proof, h.String())
		}
		list = append(list, c)
		return nil
	}
	for _, d := range m.decisions {
		if d.record != nil && d.withheld == "" {
			if err := add(d.record.Authority); err != nil {
				return err
			}
		}
		for _, a := range d.activities {
			if err := add(a.Authority); err != nil {
				return err
			}
		}
	}
	text, err := aver.CanonicalJSON(list)
	if err != nil {
		return err
	}
	if list != nil {
		m.files[string(evidence.AuthorityLog)+"/"+evidence.ConsistencyFile] = text
	}
	return nil
}

var errAhead = errors.New("a decision cites events that no signed checkpoint of the authority log covers yet: try again in a second")

// entries writes all entries with their proofs.
func (m *maker) entries(context.Context) error {
	for _, d := range m.decisions {
		if err := m.entry(evidence.DecisionLog, d.Index, d.Entry, d.withheld); err != nil {
			return err
		}
		if d.withheld == "" && len(d.disclosures) > 0 {
			text, err := aver.CanonicalJSON(d.disclosures)
			if err != nil {
				return err
			}
			m.files[evidence.EntryDir(evidence.DecisionLog, d.Index)+"/"+evidence.DisclosuresFile] = text
		}
		for _, a := range d.activities {
			if err := m.entry(evidence.DecisionLog, a.Index, a.Entry, ""); err != nil {
				return err
			}
		}
	}
	for index := range m.events {
		if err := m.entry(evidence.AuthorityLog, index, m.loaded[index], m.gone[index]); err != nil {
			return err
		}
	}
	slices.SortFunc(m.withheld, func(a, b evidence.Withheld) int {
		return slices.Compare([]string{evidence.EntryDir(a.Log, a.Index), a.What}, []string{evidence.EntryDir(b.Log, b.Index), b.What})
	})
	m.out.Withheld = len(m.withheld)
	m.out.Events = len(m.events)
	return nil
}

func (m *maker) entry(log evidence.LogName, index uint64, e ledger.Entry, withheld string) error {
	from, to := m.Decisions, m.decisionsCheckpoint
	if log == evidence.AuthorityLog {
		from, to = m.Authority, m.authorityCheckpoint
	}
	if index >= to.size {
		return errAhead
	}
	hashes, err := from.InclusionProof(index, to.size)
	if err != nil {
		return fmt.Errorf("log %s, inclusion of entry %d: %w", log, index, err)
	}
	dir := evidence.EntryDir(log, index) + "/"
	m.files[dir+evidence.LeafFile] = bytes.Clone(e.Leaf)
	m.files[dir+evidence.ProofFile] = evidence.FormatProof(index, hashes, to.note)
	if withheld != "" {
		m.withheld = append(m.withheld, evidence.Withheld{Log: log, Index: index, What: "payload", Why: withheld})
		return nil
	}
	m.files[dir+evidence.PayloadFile] = bytes.Clone(e.Payload)
	return nil
}
