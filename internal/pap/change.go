package pap

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/google/uuid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/policy"
)

// Do makes one change. It returns once the change is committed, in effect, and covered by a signed checkpoint. Data is
// of the type named at the [aver.EventType].
//
// A change that the rules refuse is a [*RefusedError], one that the administration bundle does not allow a
// [*DeniedError], and nothing was written. If a log cannot write, the error is the ledger's ([ledger.ErrUnavailable] and
// others). With [ErrNotIncluded] the change is made all the same.
func (p *Point) Do(ctx context.Context, who Administrator, reason string, typ aver.EventType, data any) (*Change, error) {
	change, err := p.change(ctx, who, reason, typ, data)
	if err != nil {
		return nil, err
	}
	if _, err := p.log.CheckpointNow(ctx); err != nil {
		return change, fmt.Errorf("%w: %w", ErrNotIncluded, err)
	}
	return change, nil
}

// change commits one event and lets it take effect.
func (p *Point) change(ctx context.Context, who Administrator, reason string, typ aver.EventType, data any) (*Change, error) {
	if err := p.lock(ctx); err != nil {
		return nil, err
	}
	defer p.unlock()
	// An append that failed may be in the log all the same.
	if err := p.catchUp(ctx); err != nil {
		return nil, fmt.Errorf("catch up with the authority log: %w", err)
	}
	at := p.Current().State
	event, err := p.newEvent(who.By, reason, typ, data, at)
	if err != nil {
		return nil, &RefusedError{Type: typ, Err: err}
	}
	next, err := at.Apply(event)
	if err != nil {
		p.attempted(ctx, who, at, event)
		return nil, &RefusedError{Type: typ, Err: err}
	}
	if err := p.decide(ctx, who, at, next, event); err != nil {
		return nil, err
	}
	payload, err := event.Canonical()
	if err != nil {
		return nil, &RefusedError{Type: typ, Err: err}
	}
	if len(payload) > ledger.MaxPayload {
		return nil, &RefusedError{Type: typ, Err: fmt.Errorf("it needs %d bytes, and an event has at most %d: make it smaller", len(payload), ledger.MaxPayload)}
	}
	leaf := aver.NewLeaf(event.Kind, event.ID, event.Time, payload)
	leaf.Type = string(typ)
	// From here on the caller can't give up: whatever is committed has to take effect at once, a revocation above all.
	receipt, err := p.log.Append(context.WithoutCancel(ctx), ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
	if err != nil {
		return nil, fmt.Errorf("append to the authority log: %w", err)
	}
	size, root := p.log.Head()
	if receipt.Index != at.Size() || size != next.Size() {
		return nil, fmt.Errorf("the authority log has event %d at %d, and %d in all: something else writes to it", at.Size(), receipt.Index, size)
	}
	p.set(next, head(size, root))
	p.snapshotIfDue()
	return &Change{Event: event, Index: receipt.Index, Receipt: receipt}, nil
}

// decide asks for the decision that a change needs, at the very state that it is to follow, and names it in the event.
func (p *Point) decide(ctx context.Context, who Administrator, at, next *authority.State, event *aver.Event) error {
	if p.decisions == nil || !who.Decided() {
		return nil
	}
	if c, ok := at.CredentialNamed(who.Name); ok && who.Method == "bearer" && c.Revoked != nil {
		return fmt.Errorf("%w: credential %q was revoked %s", ErrBadToken, c.Name, c.Revoked.Time)
	}
	if err := checkOwner(at, next, event); err != nil {
		return &RefusedError{Type: event.Type, Err: err}
	}
	resource, err := thing(at, event)
	if err != nil {
		return fmt.Errorf("what %s is about: %w", event.Type, err)
	}
	if reviewer, ok := at.RemediatedBy(event); ok {
		resource.Properties["review"], resource.Properties["reviewer"] = event.Review, entityValue(reviewer)
	}
	event.Decision, err = p.Permit(ctx, who, event.Type.Action(), resource)
	return err
}

// newEvent makes an event that is not before the one it follows, even if the clock jumped back.
func (p *Point) newEvent(by aver.By, reason string, typ aver.EventType, data any, at *authority.State) (*aver.Event, error) {
	now, review := p.now(at), ""
	switch d := data.(type) {
	case ofState:
		var err error
		if data, err = d(at, now); err != nil {
			return nil, err
		}
	case carryingOut:
		data, review = d.data, d.review
	}
	event, err := aver.NewEvent(typ, data)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an event's id: %w", err)
	}
	event.ID = id.String()
	event.Time, event.Review = now, review
	event.By = by
	event.Reason = reason
	event.Salt = base64.RawURLEncoding.EncodeToString(random(16))
	return &event, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the program first
	return b
}

// Publish makes a bundle known; [aver.EventPolicyActivated] lets it decide.
func (p *Point) Publish(ctx context.Context, who Administrator, reason string, b *policy.Bundle) (*Change, error) {
	return p.Do(ctx, who, reason, aver.EventPolicyPublished, published(b))
}

func published(b *policy.Bundle) aver.PolicyPublished {
	files := map[string]string{}
	for name, text := range b.Files() {
		files[name] = string(text)
	}
	return aver.PolicyPublished{Name: b.Name(), Digest: b.Digest(), Files: files}
}
