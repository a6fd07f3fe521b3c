// Package pap is the policy administration point: the only code that changes what decisions are made from. Every change
// is an event in the authority log; it takes effect once it is committed there, and is answered once a signed checkpoint
// covers it.
package pap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// Options configure a [Point].
type Options struct {
	// SnapshotPath is the file that makes the next start fast; "" keeps none. It may be deleted at any time.
	SnapshotPath string
	// SnapshotEvery is after how many events the snapshot is renewed; 0 means 1,000. A large state is written less often.
	SnapshotEvery uint64
	// Baseline is the bundle that an empty log begins with, beside [policy.Administration]; nil means [policy.Baseline].
	Baseline *policy.Bundle
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger receives what an operator should know; nil discards it. Tokens are never logged.
	Logger *slog.Logger
}

// Point is the policy administration point of one authority log. It is safe for concurrent use.
type Point struct {
	log     *ledger.Log
	o       Options
	current atomic.Pointer[Current]
	// writer is held by whoever changes current; a channel, so that waiting for it can be given up.
	writer    chan struct{}
	closed    chan struct{}
	close     func() error
	snapshots snapshots
	decisions *pdp.Point // asked about every change; nil: none is
}

// Current is the authority as decisions are to be made from it, and the tree head of the log's prefix that it is the
// fold of. It does not change.
type Current struct {
	State *authority.State
	Head  aver.TreeHead // Head.Size is State.Size()

	replaced chan struct{}
}

// Replaced is closed once something later is current.
func (c *Current) Replaced() <-chan struct{} { return c.replaced }

// set makes something current, and wakes who waits for that.
func (p *Point) set(st *authority.State, head aver.TreeHead) {
	old := p.current.Swap(&Current{State: st, Head: head, replaced: make(chan struct{})})
	if old != nil {
		close(old.replaced)
	}
}

// ErrNotIncluded says that a change is committed and in effect, but that no signed checkpoint covered it in time. It
// comes together with the [Change]: asking for it again would make it twice.
var ErrNotIncluded = errors.New("the change is in effect, but no signed checkpoint covers it yet")

// ErrClosed says that the point was closed.
var ErrClosed = errors.New("the policy administration point is closed")

// RefusedError says why a change was refused. Nothing was written.
type RefusedError struct {
	Type aver.EventType
	Err  error
}

func (e *RefusedError) Error() string {
	var invalid *authority.InvalidEventError
	if errors.As(e.Err, &invalid) {
		return e.Err.Error() // names the type already
	}
	return fmt.Sprintf("%s: %v", e.Type, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Change is an event that was committed, and where it stands in the authority log.
type Change struct {
	Event   *aver.Event
	Index   uint64
	Receipt ledger.Receipt
}

// Open folds the log, helped by the snapshot if there is one that fits. An empty log gets its first events: the baseline
// and the administration bundle, published and activated. The log stays the caller's to close, after the point.
func Open(ctx context.Context, log *ledger.Log, o Options) (*Point, error) {
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 1000
	}
	if o.Baseline == nil {
		o.Baseline = policy.Baseline()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Point{log: log, o: o, writer: make(chan struct{}, 1), closed: make(chan struct{})}
	p.close = sync.OnceValue(p.shutDown)
	start := p.loadSnapshot()
	p.snapshots.size = start.State.Size()
	p.set(start.State, start.Head)
	if err := p.catchUp(ctx); err != nil {
		return nil, fmt.Errorf("open the authority: %w", err)
	}
	if err := p.begin(ctx); err != nil {
		return nil, fmt.Errorf("write the first events of the authority: %w", err)
	}
	return p, nil
}

// begin writes the first events of a log, or those that a crash left out: the shipped bundles, each published and
// activated. What was retired since stays so.
func (p *Point) begin(ctx context.Context) error {
	who := Administrator{By: aver.By{Name: aver.Self, Method: aver.MethodInternal}}
	const reason = "the policies that every start begins with"
	for _, b := range []*policy.Bundle{p.o.Baseline, policy.Administration()} {
		v := p.first(b.Name())
		if v == nil {
			if _, err := p.change(ctx, who, reason, aver.EventPolicyPublished, published(b)); err != nil {
				return err
			}
			v = p.first(b.Name())
		}
		if len(v.History) > 0 {
			continue
		}
		ref := aver.PolicyRef{Name: v.Bundle.Name(), Digest: v.Bundle.Digest()}
		if _, err := p.change(ctx, who, reason, aver.EventPolicyActivated, ref); err != nil {
			return err
		}
	}
	return nil
}

// first is the first version of a bundle that was published, nil if none was.
func (p *Point) first(name string) *authority.BundleVersion {
	for _, v := range p.Current().State.Bundles() {
		if v.Bundle.Name() == name {
			return v
		}
	}
	return nil
}

// Current returns the authority as of now. It takes no lock.
func (p *Point) Current() *Current { return p.current.Load() }

// Close waits for the change that is being made, refuses further ones, and writes a last snapshot. Further calls return
// what the first did.
func (p *Point) Close() error { return p.close() }

func (p *Point) shutDown() error {
	p.writer <- struct{}{}
	close(p.closed)
	<-p.writer
	p.snapshots.running.Wait()
	at := p.Current()
	if p.o.SnapshotPath == "" || at.Head.Size == p.snapshots.size {
		return nil
	}
	if err := p.writeSnapshot(at); err != nil {
		return fmt.Errorf("write the snapshot of the authority: %w", err)
	}
	return nil
}

// lock makes the caller the only writer until it calls unlock.
func (p *Point) lock(ctx context.Context) error {
	select {
	case p.writer <- struct{}{}:
	case <-p.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-p.closed:
		p.unlock()
		return ErrClosed
	default:
		return nil
	}
}

func (p *Point) unlock() { <-p.writer }

// catchUp folds what the log has beyond the current state.
func (p *Point) catchUp(ctx context.Context) error {
	at := p.Current()
	size, root := p.log.Head()
	switch {
	case size == at.Head.Size:
		return nil
	case size < at.Head.Size:
		return fmt.Errorf("the log has %d events, fewer than the %d that are in effect: start Aver again", size, at.Head.Size)
	}
	st, err := authority.Fold(at.State, p.watch(ctx, Events(p.log.Entries(at.Head.Size, size)), at.Head.Size, size))
	if err != nil {
		return err
	}
	if st.Size() != size {
		return fmt.Errorf("the log gave %d events where it has %d", st.Size(), size)
	}
	p.set(st, head(size, root))
	return nil
}

func head(size uint64, root tlog.Hash) aver.TreeHead {
	return aver.TreeHead{Size: size, Root: base64.StdEncoding.EncodeToString(root[:])}
}
