// Package retention erases evidence from the decision log: payloads whose class's period is over, and what two people
// have agreed to erase (G7, D3). Leaves, hashes and proofs stay. Before anything goes, an event of the authority log says
// what goes and why; when all of it is gone, another says so; and what was interrupted is finished at the next start.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
)

// Options configure a [Keeper]. What has no default beside it is required.
type Options struct {
	Decisions *ledger.Log
	PAP       *pap.Point
	// Forget takes what is erased out of all that is made from the log, such as the index, and returns once none of its
	// bytes are left. It may be called again for the same. nil: there is nothing.
	Forget func(context.Context, *authority.Erased) error
	Every  time.Duration    // between sweeps; 0 means a day
	Delay  time.Duration    // of the first sweep after the start; 0 means a minute
	Now    func() time.Time // time.Now if nil
	Logger *slog.Logger     // nil discards
}

// Keeper erases what is due, slowly, behind the decisions. Safe for concurrent use.
type Keeper struct {
	o       Options
	kick    chan struct{}
	running chan struct{} // holds one token while somebody sweeps
	stop    context.CancelFunc
	done    chan struct{}

	// Of whoever sweeps.
	rested  time.Time
	cursors map[string]cursor // by class
	waiting map[string]int    // by erasure :: how many holds were released when it was last tried

	mu     sync.Mutex
	status Status
}

// cursor is up to where a class was swept.
type cursor struct {
	end      uint64
	rule     uint64 // event of the rule
	released int    // holds
}

// Report says what a sweep did.
type Report struct {
	Payloads    uint64   `json:"payloads"`    // erased
	Disclosures uint64   `json:"disclosures"` // entries of which disclosures were erased
	Held        uint64   `json:"held"`        // entries that would have been erased, and are held
	Events      []uint64 `json:"events"`      // indexes in the authority log of what was erased
}

func (r *Report) add(e *authority.Erased) {
	if e.Kind == aver.ErasePayloads {
		r.Payloads += e.Count
	} else {
		r.Disclosures += e.Count
	}
	r.Events = append(r.Events, e.Event)
}

// Start begins to erase what is due, at first what a former process left unfinished. Close it before the logs.
func Start(o Options) *Keeper {
	if o.Every == 0 {
		o.Every = 24 * time.Hour
	}
	if o.Delay == 0 {
		o.Delay = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	k := &Keeper{
		o: o, kick: make(chan struct{}, 1), running: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
		cursors: map[string]cursor{}, waiting: map[string]int{},
	}
	go k.loop(ctx)
	return k
}

// Close ends it; what is under way is left for the next start.
func (k *Keeper) Close() {
	k.stop()
	<-k.done
	k.running <- struct{}{} // whoever called Run
}

func (k *Keeper) loop(ctx context.Context) {
	defer close(k.done)
	delay := k.o.Delay
	for _, e := range k.state().ErasedEvidence() {
		if e.Completed == nil {
			delay = 0
		}
	}
	next := time.NewTimer(delay)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-k.kick:
		}
		if _, err := k.Run(ctx); err != nil && ctx.Err() == nil {
			k.o.Logger.Error("evidence that is to be erased could not be; trying again later", "error", err)
		}
		next.Reset(k.o.Every)
	}
}

// Kick lets a sweep begin soon.
func (k *Keeper) Kick() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// Run sweeps now, after a sweep that is under way.
func (k *Keeper) Run(ctx context.Context) (Report, error) {
	select {
	case k.running <- struct{}{}:
		defer func() { <-k.running }()
	case <-ctx.Done():
		return Report{}, ctx.Err()
	}
	k.rested = time.Now()
	report, err := k.sweep(ctx)
	k.note(&report, err)
	if len(report.Events) > 0 {
		k.o.Logger.Info("evidence was erased", "payloads", report.Payloads, "disclosures", report.Disclosures, "held", report.Held, "events", report.Events)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		err = fmt.Errorf("retention: %w", err)
	}
	return report, err
}

func (k *Keeper) note(r *Report, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Payloads += r.Payloads
	k.status.Disclosures += r.Disclosures
	if k.status.Failed = err != nil; err == nil {
		k.status.Held, k.status.LastSweep = r.Held, aver.TimeOf(k.o.Now())
	}
}

// Status is what was done since the start.
type Status struct {
	Payloads    uint64    `json:"payloads"`    // erased
	Disclosures uint64    `json:"disclosures"` // entries of which disclosures were erased
	Held        uint64    `json:"held"`        // entries that were due at the last sweep, and are held
	LastSweep   aver.Time `json:"last_sweep,omitzero"`
	Failed      bool      `json:"failed"` // the last sweep
}

// Status is what was done since the start.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

func (k *Keeper) state() *authority.State { return k.o.PAP.Current().State }

// look returns the authority first, then the size of the log.
func (k *Keeper) look() (*authority.State, uint64) {
	st := k.state()
	size, _ := k.o.Decisions.Head()
	return st, size
}

func released(st *authority.State) int {
	n := 0
	for _, h := range st.Holds() {
		if h.Released != nil {
			n++
		}
	}
	return n
}

// from is where a sweep of a class begins: where the last one ended, or met something that is held, unless the rule changed
// or a hold was released.
func (k *Keeper) from(name string, rule *authority.RetentionVersion, st *authority.State) uint64 {
	c := k.cursors[name]
	if c.rule != rule.Event || c.released != released(st) {
		return 0
	}
	return c.end
}

// due tells whether a request may find more than the last time it was tried.
func (k *Keeper) due(e *authority.Erasure) bool {
	n, tried := k.waiting[e.ID]
	return !tried || n != released(k.state())
}

func (k *Keeper) waits(e *authority.Erasure) { k.waiting[e.ID] = released(k.state()) }
