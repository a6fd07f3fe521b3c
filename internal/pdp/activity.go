package pdp

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
)

// Now returns the current authority and the time that goes with it: the clock's,
// but never before a time that was decided at already.
func (p *Point) Now() (*authority.State, aver.TreeHead, aver.Time) {
	st, head := p.o.State()
	return st, head, p.now(st)
}

// Append gives an activity an id and a place in the log, without waiting for it
// to be durable. Its time is one that [Point.Now] gave, its retention class that
// of the leaf of its decision.
func (p *Point) Append(a *aver.Activity, class string) (*ledger.Ticket, error) {
	a.ID, a.Kind, a.Semantics, a.Salt = evaluationID(a.Time), aver.KindActivity, aver.Semantics, salt()
	payload, err := a.Canonical()
	if err != nil {
		return nil, fmt.Errorf("activity: %w", err)
	}
	leaf := aver.NewLeaf(a.Kind, a.ID, a.Time, payload)
	leaf.Type, leaf.Class = string(a.Status), class
	return p.log.Enqueue(ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
}

// Durable waits until an entry is durable and returns its receipt.
func (p *Point) Durable(ctx context.Context, ticket *ledger.Ticket) (aver.Receipt, error) {
	return durable(ctx, ticket, p.log.Origin())
}

// ParseActivityEntry reads an entry of the decision log that holds an activity,
// and checks that leaf and payload belong together.
func ParseActivityEntry(e ledger.Entry) (*aver.Activity, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return nil, err
	}
	if !leaf.Matches(e.Payload) {
		return nil, fmt.Errorf("the payload of %s is not the one its leaf commits to", leaf.ID)
	}
	a, err := aver.ParseActivity(e.Payload)
	if err != nil {
		return nil, err
	}
	switch {
	case leaf.Kind != a.Kind || leaf.ID != a.ID || leaf.Time != a.Time || leaf.Type != string(a.Status) || leaf.Outcome != nil:
		return nil, fmt.Errorf("the leaf of %s says something else than its payload", leaf.ID)
	case e.Private != nil:
		return nil, errors.New("an activity has no private part")
	}
	return a, nil
}

// ReceiptOf returns the receipt of an entry that is durable, without a signature
// over its commit group: that is given when it is committed.
func (p *Point) ReceiptOf(index uint64) (aver.Receipt, error) {
	leaf, err := p.log.Leaf(index)
	if err != nil {
		return aver.Receipt{}, err
	}
	return aver.Receipt{Origin: p.log.Origin(), Index: index, LeafHash: tlog.RecordHash(leaf).String()}, nil
}
