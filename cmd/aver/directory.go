package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/verify"
	"github.com/aver-authz/aver/internal/why"
)

// directory is a data directory as a [source]. It is read only, as of the time it was opened.
type directory struct {
	path     string
	logs     *datadir.Readers
	index    *searched                                     // opened when it is first needed
	indexing func() (show func(index.Status), wipe func()) // shows how far making it is
}

func (c *cli) openDirectory(path string) (*directory, error) {
	logs, err := datadir.OpenReaders(path)
	if err != nil {
		return nil, err
	}
	return &directory{path: path, logs: logs, indexing: c.indexing}, nil
}

func (d *directory) close() {
	if d.index != nil {
		d.index.close()
	}
	d.logs.Close()
}

// state folds the authority log.
func (d *directory) state() (*authority.State, error) {
	size, _ := d.logs.Authority.Head()
	return replay.StateAt(d.logs.Authority, size)
}

func (d *directory) log(name client.LogName) (*ledger.Reader, datadir.VerifierKey) {
	if name == client.Authority {
		return d.logs.Authority, d.logs.Keys.Authority
	}
	return d.logs.Decisions, d.logs.Keys.Decisions
}

// items yields a list of the state in the form of the client.
func items[A, C any](d *directory, list func(*authority.State) []A, convert func(A) C) iter.Seq2[C, error] {
	return func(yield func(C, error) bool) {
		st, err := d.state()
		if err != nil {
			var zero C
			yield(zero, err)
			return
		}
		for _, item := range list(st) {
			if !yield(convert(item), nil) {
				return
			}
		}
	}
}

func (d *directory) Bundles(context.Context) iter.Seq2[client.Bundle, error] {
	return items(d, (*authority.State).Bundles, bundleOf)
}

func (d *directory) BundleVersion(_ context.Context, name, digest string) (*client.Bundle, error) {
	st, err := d.state()
	if err != nil {
		return nil, err
	}
	v, ok := st.Bundle(name, digest)
	if !ok {
		return nil, fmt.Errorf("bundle %q is not published in the version %s", name, digest)
	}
	b := bundleOf(v)
	b.Files = textFiles(v.Bundle.Files())
	return &b, nil
}

func (d *directory) Identities(context.Context) iter.Seq2[client.Identity, error] {
	return items(d, (*authority.State).Identities, identityOf)
}

func (d *directory) Identity(_ context.Context, ref aver.Ref) (*client.Identity, error) {
	st, err := d.state()
	if err != nil {
		return nil, err
	}
	i, ok := st.Identity(ref)
	if !ok {
		return nil, fmt.Errorf("%s is not registered as an identity", ref)
	}
	out := identityOf(i)
	return &out, nil
}

func (d *directory) Entities(context.Context) iter.Seq2[client.Entity, error] {
	return items(d, (*authority.State).EntityFacts, entityOf)
}

func (d *directory) Entity(_ context.Context, ref aver.Ref) (*client.Entity, error) {
	st, err := d.state()
	if err != nil {
		return nil, err
	}
	e, ok := st.EntityFact(ref)
	if !ok {
		return nil, fmt.Errorf("nothing is registered about %s", ref)
	}
	out := entityOf(e)
	return &out, nil
}

func (d *directory) Grants(context.Context) iter.Seq2[client.Grant, error] {
	return items(d, (*authority.State).Grants, grantOf)
}

func (d *directory) Exceptions(context.Context) iter.Seq2[client.Exception, error] {
	now := aver.TimeOf(time.Now())
	return items(d, (*authority.State).Exceptions, func(x *authority.Exception) client.Exception {
		out := client.Exception{
			ExceptionRequest: x.ExceptionRequest, Mark: client.Mark(x.Mark), State: x.State(now),
			Approved: answerOf(x.Approved), Rejected: answerOf(x.Rejected),
			Activated: (*client.Mark)(x.Activated), Until: x.Until, Closed: (*client.Mark)(x.Closed),
		}
		if x.Activated != nil {
			out.ReviewDue = x.ReviewDue()
		}
		if x.Reviewed != nil {
			out.Reviewed = &client.ExceptionReview{ExceptionReview: x.Reviewed.ExceptionReview, Mark: client.Mark(x.Reviewed.Mark)}
		}
		return out
	})
}

func answerOf(a *authority.ExceptionAnswer) *client.ExceptionAnswer {
	if a == nil {
		return nil
	}
	return &client.ExceptionAnswer{Approver: a.Approver, Mark: client.Mark(a.Mark)}
}

func (d *directory) Approvals(context.Context) iter.Seq2[client.Approval, error] {
	now := aver.TimeOf(time.Now())
	return items(d, (*authority.State).Approvals, func(a *authority.Approval) client.Approval {
		out := client.Approval{ApprovalRequest: a.ApprovalRequest, Mark: client.Mark(a.Mark), State: a.State(now), Until: a.Until, Ended: (*client.Mark)(a.Ended)}
		for _, v := range a.Votes {
			out.Votes = append(out.Votes, client.Vote{
				Approver: v.Approver, Refused: v.Refused, Seen: v.Seen, OnBehalfOf: v.OnBehalfOf, Duty: v.Duty, Mark: client.Mark(v.Mark),
			})
		}
		return out
	})
}

func (d *directory) Duties(context.Context) iter.Seq2[client.Duty, error] {
	now := aver.TimeOf(time.Now())
	return items(d, (*authority.State).Duties, func(x *authority.Duty) client.Duty {
		return client.Duty{DutyDelegation: x.DutyDelegation, Mark: client.Mark(x.Mark), State: x.State(now), Revoked: (*client.Mark)(x.Revoked)}
	})
}

func (d *directory) Grant(_ context.Context, id string) (*client.Grant, error) {
	st, err := d.state()
	if err != nil {
		return nil, err
	}
	g, ok := st.Grant(id)
	if !ok {
		return nil, fmt.Errorf("no grant %q was ever issued", id)
	}
	out := grantOf(g)
	return &out, nil
}

func (d *directory) Credentials(context.Context) iter.Seq2[client.Credential, error] {
	return items(d, (*authority.State).Credentials, credentialOf)
}

func (d *directory) Logs(context.Context) (map[client.LogName]client.LogHead, error) {
	heads := map[client.LogName]client.LogHead{}
	for _, name := range []client.LogName{client.Authority, client.Decisions} {
		log, key := d.log(name)
		size, root := log.Head()
		heads[name] = client.LogHead{Origin: key.Origin, VerifierKey: key.VKey, Size: size, Root: root.String(), Checkpoint: string(log.Checkpoint())}
	}
	return heads, nil
}

func (d *directory) Entries(_ context.Context, name client.LogName, from uint64) iter.Seq2[client.Entry, error] {
	log, _ := d.log(name)
	return func(yield func(client.Entry, error) bool) {
		size, _ := log.Head()
		var st *authority.State // for what was erased
		for e, err := range log.Entries(min(from, size), size) {
			out := entryOf(e.Index, e.Entry)
			if err == nil && e.Erased {
				if st == nil {
					st, err = d.state()
				}
				if err == nil {
					out.Erased = erasedOf(st, e.Index)
				}
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

func (d *directory) Entry(_ context.Context, name client.LogName, index uint64) (*client.Entry, error) {
	log, _ := d.log(name)
	e, err := log.Entry(index)
	if err != nil && !errors.Is(err, ledger.ErrErased) {
		return nil, err
	}
	out, err := d.withErased(name, entryOf(index, e), err != nil)
	return &out, err
}

// find returns the index of a decision. While a server runs, readers see its latest entries once a checkpoint covers them,
// a second later at most; so an id that is that young is looked for again.
func (d *directory) find(evaluationID string) (uint64, error) {
	for deadline := settled(evaluationID); ; time.Sleep(50 * time.Millisecond) {
		size, _ := d.logs.Decisions.Head()
		index, err := pdp.Find(d.logs.Decisions, size, evaluationID)
		if !errors.Is(err, pdp.ErrNotFound) {
			return index, err
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("%w: %s", err, evaluationID)
		}
		if err := d.logs.Decisions.Refresh(); err != nil {
			return 0, err
		}
	}
}

// settled is the time by which a decision shows to readers, as its id (a UUIDv7) says; zero if that is no such id.
func settled(evaluationID string) time.Time {
	id, err := uuid.Parse(evaluationID)
	if err != nil || id.Version() != 7 {
		return time.Time{}
	}
	made := time.Unix(id.Time().UnixTime())
	if made.After(time.Now().Add(time.Second)) { // not made here
		return time.Time{}
	}
	return made.Add(3 * time.Second)
}

func (d *directory) DecisionProof(_ context.Context, evaluationID string) (*client.Proof, error) {
	index, err := d.find(evaluationID)
	if err != nil {
		return nil, err
	}
	return d.prove(client.Decisions, index)
}

func (d *directory) EventProof(_ context.Context, index uint64) (*client.Proof, error) {
	return d.prove(client.Authority, index)
}

// prove proves an entry in the tree of the latest signed checkpoint.
func (d *directory) prove(name client.LogName, index uint64) (*client.Proof, error) {
	log, key := d.log(name)
	leaf, err := log.Leaf(index)
	if err != nil {
		return nil, err
	}
	size, err := d.signed(name)
	if err != nil {
		return nil, err
	}
	if index >= size {
		return nil, fmt.Errorf("no signed checkpoint covers entry %d yet: try again in a second", index)
	}
	hashes, err := log.InclusionProof(index, size)
	if err != nil {
		return nil, err
	}
	return &client.Proof{Origin: key.Origin, Index: index, Leaf: leaf, LeafHash: tlog.RecordHash(leaf).String(),
		Proof: texts(hashes), Checkpoint: string(log.Checkpoint())}, nil
}

// signed is the size of the latest signed checkpoint.
func (d *directory) signed(name client.LogName) (uint64, error) {
	log, key := d.log(name)
	if log.Checkpoint() == nil {
		return 0, fmt.Errorf("the log %s has no signed checkpoint yet", key.Origin)
	}
	size, _, err := ledger.ParseCheckpoint(log.Checkpoint(), key.Origin, key.Verifier)
	return size, err
}

func (d *directory) Consistency(_ context.Context, name client.LogName, older, newer uint64) (*client.Consistency, error) {
	log, key := d.log(name)
	signed, err := d.signed(name)
	if err != nil {
		return nil, err
	}
	if newer == 0 {
		newer = signed
	}
	hashes, err := log.ConsistencyProof(older, newer)
	if err != nil {
		return nil, err
	}
	out := &client.Consistency{Origin: key.Origin, Old: older, New: newer, Proof: texts(hashes)}
	if newer == signed {
		out.Checkpoint = string(log.Checkpoint())
	}
	return out, nil
}

func texts(hashes []tlog.Hash) []string {
	out := make([]string, len(hashes))
	for i, h := range hashes {
		out[i] = h.String()
	}
	return out
}

func entryOf(index uint64, e ledger.Entry) client.Entry {
	return client.Entry{Index: index, Leaf: json.RawMessage(e.Leaf), Payload: json.RawMessage(e.Payload)}
}

func bundleOf(v *authority.BundleVersion) client.Bundle {
	meta := v.Bundle.Meta()
	b := client.Bundle{
		Name: v.Bundle.Name(), Digest: v.Bundle.Digest(), Active: v.Active, Published: client.Mark(v.Mark),
		Description: meta.Description, Owner: meta.Owner, Review: meta.Review, Controls: meta.Controls,
		Policies: len(v.Bundle.Policies()),
	}
	for _, a := range v.History {
		b.History = append(b.History, client.Activation{Mark: client.Mark(a.Mark), Active: a.Active})
	}
	return b
}

func identityOf(i *authority.Identity) client.Identity {
	return client.Identity{Identity: i.Identity, Status: i.Status, Mark: client.Mark(i.Mark), Registered: client.Mark(i.Registered)}
}

func entityOf(e *authority.Entity) client.Entity {
	return client.Entity{Entity: e.Entity, Mark: client.Mark(e.Mark)}
}

func grantOf(g *authority.Grant) client.Grant {
	return client.Grant{Grant: g.Grant, Mark: client.Mark(g.Mark), Revoked: (*client.Mark)(g.Revoked)}
}

func credentialOf(c *authority.Credential) client.Credential {
	return client.Credential{Credential: c.Credential, Mark: client.Mark(c.Mark), Revoked: (*client.Mark)(c.Revoked)}
}

func textFiles(files map[string][]byte) map[string]string {
	out := make(map[string]string, len(files))
	for name, text := range files {
		out[name] = string(text)
	}
	return out
}

// explain explains a decision at the authority state that its record cites.
func (d *directory) explain(evaluationID string) (*why.Explanation, error) {
	index, err := d.find(evaluationID)
	if err != nil {
		return nil, err
	}
	e, err := d.logs.Decisions.Entry(index)
	if errors.Is(err, ledger.ErrErased) {
		return nil, d.erasedError(evaluationID, index)
	}
	if err != nil {
		return nil, err
	}
	record, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return nil, err
	}
	disclosures, err := pdp.ParseDisclosures(e.Private)
	if err != nil {
		return nil, err
	}
	st, err := replay.StateAt(verify.Follow(d.logs.Authority), record.Authority.Size)
	if err != nil {
		return nil, err
	}
	return why.Explain(st, record, disclosures, why.Place{
		Origin: d.logs.Keys.Decisions.Origin, Index: index, LeafHash: tlog.RecordHash(e.Leaf).String(),
	})
}

func (d *directory) Why(_ context.Context, evaluationID string) (string, error) {
	explanation, err := d.explain(evaluationID)
	if err != nil {
		return "", err
	}
	return explanation.String(), nil
}

func (d *directory) WhyJSON(_ context.Context, evaluationID string) (json.RawMessage, error) {
	explanation, err := d.explain(evaluationID)
	if err != nil {
		return nil, err
	}
	return json.Marshal(explanation)
}
