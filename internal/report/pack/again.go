package pack

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/replay"
)

// Again decides every decision of a pack again and adds a check for each. With
// the whole of the authority log that is package replay's work, which compares
// every byte of the decision. With what is cited alone, the frames are asked
// again under the policies that the record commits to, and compared with the
// record. progress may be nil.
func Again(ctx context.Context, p *evidence.Pack, r *evidence.Report, progress func(done, total int)) error {
	a := &again{p: p, bundles: map[string]*policy.Bundle{}, sets: map[string]*policy.Set{}, permits: map[string]permit{}, events: map[uint64]*aver.Event{}, registered: map[aver.Ref][]registered{}}
	if err := a.read(); err != nil {
		r.Add(evidence.Check{Kind: evidence.KindAgain, State: evidence.Failed, What: "decisions can be decided again", Detail: err.Error()})
		return nil
	}
	if p.Statement.Predicate.Authority == "whole" {
		a.states = replay.NewStates(a.log)
	}
	list := p.Statement.Predicate.Decisions
	for i, d := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.Add(a.decision(d))
		if progress != nil {
			progress(i+1, len(list))
		}
	}
	return nil
}

type again struct {
	p          *evidence.Pack
	log        *packedLog
	states     *replay.States
	bundles    map[string]*policy.Bundle
	sets       map[string]*policy.Set
	permits    map[string]permit // grants and exceptions, by "grant/" or "exception/" and id
	events     map[uint64]*aver.Event
	registered map[aver.Ref][]registered // in the order of the log
	frames     map[string][]frameLine
	skipped    map[string]string
}

// frameLine is a line of frames.ndjson about one frame.
type frameLine struct {
	Decision  string          `json:"decision"`
	Skipped   string          `json:"skipped"`
	Reason    string          `json:"reason"`
	Frame     string          `json:"frame"`
	Part      string          `json:"part"`
	Principal aver.Ref        `json:"principal"`
	Action    aver.Ref        `json:"action"`
	Resource  aver.Ref        `json:"resource"`
	Context   types.Record    `json:"context"`
	Entities  types.EntityMap `json:"entities"`
}

// read takes in the events and the frames.
func (a *again) read() error {
	var err error
	if a.log, err = openPackedLog(a.p); err != nil {
		return err
	}
	for _, e := range a.log.entries {
		if e.Erased {
			continue
		}
		event, err := aver.ParseEvent(e.Payload)
		if err != nil {
			continue // a check has said so
		}
		a.events[e.Index] = event
		if err := a.event(e.Index, event); err != nil {
			return fmt.Errorf("event %d: %w", e.Index, err)
		}
	}
	a.frames, a.skipped = map[string][]frameLine{}, map[string]string{}
	content, _ := a.p.File(evidence.FramesFile)
	for line := range bytes.Lines(content) {
		var f frameLine
		if err := json.Unmarshal(line, &f); err != nil {
			return fmt.Errorf("%s: %w", evidence.FramesFile, err)
		}
		switch {
		case f.Decision != "":
			a.frames[f.Decision] = append(a.frames[f.Decision], f)
		case f.Skipped != "":
			a.skipped[f.Skipped] = f.Reason
		}
	}
	return nil
}

func (a *again) event(index uint64, e *aver.Event) error {
	switch e.Type {
	case aver.EventPolicyPublished:
		var data aver.PolicyPublished
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return err
		}
		files := map[string][]byte{}
		for name, text := range data.Files {
			files[name] = []byte(text)
		}
		b, err := policy.Load(files, data.Name)
		if err != nil {
			return err
		}
		a.bundles[b.Name()+" "+b.Digest()] = b
	case aver.EventIdentityRegistered, aver.EventIdentityUpdated, aver.EventEntityPut:
		is := registered{index: index}
		if err := json.Unmarshal(e.Data, &is.Entity); err != nil {
			return err
		}
		a.registered[is.Ref] = append(a.registered[is.Ref], is)
	case aver.EventGrantIssued:
		var g aver.Grant
		if err := json.Unmarshal(e.Data, &g); err != nil {
			return err
		}
		return a.permit("grant/"+g.ID, g.ID, g.To, authority.GrantPolicy(&g))
	case aver.EventExceptionRequested:
		var x aver.ExceptionRequest
		if err := json.Unmarshal(e.Data, &x); err != nil {
			return err
		}
		return a.permit("exception/"+x.ID, x.ID, x.Subject, authority.ExceptionPolicy(&x))
	}
	return nil
}

// permit is what a grant or an exception permits, and to whom.
type permit struct {
	*policy.Permit
	to aver.Ref
}

func (a *again) permit(key, id string, to aver.Ref, text string) error {
	p, err := policy.CompilePermit(id, text)
	if err == nil {
		a.permits[key] = permit{p, to}
	}
	return err
}

// decision decides one again.
func (a *again) decision(d evidence.Decision) evidence.Check {
	dir := evidence.EntryDir(evidence.DecisionLog, d.Index)
	c := evidence.Check{Kind: evidence.KindAgain, State: evidence.Unknown, File: path.Join(dir, evidence.PayloadFile), What: "comes out as it is recorded when it is decided again"}
	payload, ok := a.p.File(path.Join(dir, evidence.PayloadFile))
	if !ok {
		c.Detail = "the record is not here"
		return c
	}
	record, err := aver.ParseRecord(payload)
	if err != nil {
		c.State, c.Detail = evidence.Failed, err.Error()
		return c
	}
	private, _ := a.p.File(path.Join(dir, evidence.DisclosuresFile))
	disclosures, err := pdp.ParseDisclosures(private)
	var req *aver.Request
	var missing []string
	if err == nil {
		req, missing, err = pdp.Reopen(record.Request, record.Token, disclosures)
	}
	switch {
	case err != nil:
		c.State, c.Detail = evidence.Failed, err.Error()
	case len(missing) > 0:
		c.Detail = "undetermined: the value at " + missing[0] + " is withheld"
	case a.states != nil:
		a.replay(&c, d.Index, ledger.Entry{Payload: payload, Private: private})
	case a.skipped[d.ID] != "":
		c.Detail = "undetermined: " + a.skipped[d.ID]
	default:
		n, err := a.compare(record, req)
		if c.State, c.Detail = evidence.Passed, fmt.Sprintf("%d authorizations agree", n); err != nil {
			c.State, c.Detail = evidence.Failed, err.Error()
		}
	}
	return c
}

func (a *again) replay(c *evidence.Check, index uint64, e ledger.Entry) {
	result, err := a.states.Decide(ledger.Indexed{Index: index, Entry: e})
	switch {
	case errors.Is(err, ledger.ErrErased):
		c.Detail = "undetermined: an event before it is withheld or gone"
	case err != nil:
		c.State, c.Detail = evidence.Failed, err.Error()
	case result.Verdict == replay.Match:
		c.State, c.Detail = evidence.Passed, "every byte of the decision agrees"
	case result.Verdict == replay.Mismatch:
		c.State, c.Detail = evidence.Failed, result.Difference[0]
	default:
		c.Detail = "undetermined: " + result.Missing[0]
	}
}

// set is the policies that a record commits to.
func (a *again) set(record *aver.Record) (*policy.Set, error) {
	self := record.PEP.Credential == aver.Self
	key := fmt.Sprint(record.Policies, self)
	if s := a.sets[key]; s != nil {
		return s, nil
	}
	var bundles []*policy.Bundle
	found := false
	for _, s := range a.p.Statement.Predicate.Policies {
		if s.Digest != record.Policies {
			continue
		}
		found = true
		for _, b := range s.Active {
			bundle := a.bundles[b[0]+" "+b[1]]
			if bundle == nil {
				return nil, fmt.Errorf("the bundle %s is not here", b[0])
			}
			if (b[0] == policy.AdministrationName) == self {
				bundles = append(bundles, bundle)
			}
		}
	}
	if !found {
		return nil, errors.New("the policies that it was decided by are not here")
	}
	a.sets[key] = policy.NewSet(bundles...)
	return a.sets[key], nil
}

// packedLog is the authority log as far as a pack has it.
type packedLog struct {
	entries []ledger.Indexed // by index; Erased where the payload is not here
	hashes  []tlog.Hash      // as tlog stores them; complete only if all entries are here
	stored  uint64           // entries in hashes
}

func openPackedLog(p *evidence.Pack) (*packedLog, error) {
	l := &packedLog{}
	prefix := string(evidence.AuthorityLog) + "/"
	for _, name := range p.Files() {
		if path.Base(name) != evidence.LeafFile || !strings.HasPrefix(name, prefix) {
			continue
		}
		index, err := strconv.ParseUint(path.Base(path.Dir(name)), 10, 62)
		if err != nil {
			return nil, fmt.Errorf("%s: its name has no index", name)
		}
		leaf, _ := p.File(name)
		e := ledger.Indexed{Index: index, Entry: ledger.Entry{Leaf: leaf}}
		if payload, ok := p.File(path.Join(path.Dir(name), evidence.PayloadFile)); ok {
			e.Payload = payload
		} else {
			e.Erased = true
		}
		l.entries = append(l.entries, e)
	}
	slices.SortFunc(l.entries, func(a, b ledger.Indexed) int { return cmp.Compare(a.Index, b.Index) })
	for i, e := range l.entries {
		if e.Index != uint64(i) {
			break
		}
		hashes, err := tlog.StoredHashesForRecordHash(int64(i), tlog.RecordHash(e.Leaf), hashReader(l.hashes))
		if err != nil {
			return nil, err
		}
		l.hashes, l.stored = append(l.hashes, hashes...), uint64(i)+1
	}
	return l, nil
}

type hashReader []tlog.Hash

func (h hashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at < 0 || at >= int64(len(h)) {
			return nil, errors.New("the pack does not have all of the authority log")
		}
		out[i] = h[at]
	}
	return out, nil
}

// Head implements [replay.Log].
func (l *packedLog) Head() (uint64, tlog.Hash) {
	root, err := l.TreeHash(l.stored)
	if err != nil {
		return 0, tlog.Hash{}
	}
	return l.stored, root
}

// TreeHash implements [replay.Log].
func (l *packedLog) TreeHash(size uint64) (tlog.Hash, error) {
	return tlog.TreeHash(int64(size), hashReader(l.hashes))
}

// Entry implements [replay.Log].
func (l *packedLog) Entry(i uint64) (ledger.Entry, error) {
	if i >= l.stored {
		return ledger.Entry{}, fmt.Errorf("event %d: %w", i, ledger.ErrNotFound)
	}
	return l.entries[i].Entry, nil
}

// Entries implements [replay.Log].
func (l *packedLog) Entries(from, to uint64) iter.Seq2[ledger.Indexed, error] {
	return func(yield func(ledger.Indexed, error) bool) {
		for i := from; i < to; i++ {
			e, err := l.Entry(i)
			if err == nil && e.Erased {
				err = ledger.ErrErased
			}
			if !yield(ledger.Indexed{Index: i, Entry: e}, err) || err != nil {
				return
			}
		}
	}
}
