package gaps

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aver-authz/aver"
)

// Watcher keeps a report of two logs that grow: now and then by itself, and
// whenever somebody asks. It is safe for concurrent use.
type Watcher struct {
	scanner *Scanner
	now     func() time.Time
	logger  *slog.Logger
	turn    chan struct{} // held by whoever uses the scanner
	latest  atomic.Pointer[aver.GapReport]
}

// NewWatcher returns a watcher that has read nothing yet. The scanner is its own
// from now on.
func NewWatcher(s *Scanner, now func() time.Time, logger *slog.Logger) *Watcher {
	return &Watcher{scanner: s, now: now, logger: logger, turn: make(chan struct{}, 1)}
}

// Latest is the last report; nil if there was none yet.
func (w *Watcher) Latest() *aver.GapReport { return w.latest.Load() }

// Thresholds are what is taken for a gap.
func (w *Watcher) Thresholds() *Thresholds { return w.scanner.t }

// ErrReading says that the logs were not read to their ends in time, for the
// first time. It goes on where it stopped.
var ErrReading = errors.New("the logs are still being read for the first report of gaps: ask again in a while")

// Report reads what is new and reports what is found now. If ctx ends meanwhile
// it returns the last report, or [ErrReading] if there was none.
func (w *Watcher) Report(ctx context.Context) (*aver.GapReport, error) {
	report, err := w.fresh(ctx)
	if err == nil || ctx.Err() == nil {
		return report, err
	}
	if report = w.latest.Load(); report == nil {
		return nil, ErrReading
	}
	return report, nil
}

func (w *Watcher) fresh(ctx context.Context) (*aver.GapReport, error) {
	if err := w.take(ctx); err != nil {
		return nil, err
	}
	defer w.give()
	if err := w.scanner.Advance(ctx); err != nil {
		return nil, err
	}
	report, err := w.scanner.Report(ctx, aver.TimeOf(w.now()))
	if err != nil {
		return nil, err
	}
	w.latest.Store(report)
	return report, nil
}

func (w *Watcher) take(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Watcher) give() { <-w.turn }

const (
	atOnce = 500 // entries that are read in the background before others have their turn
	// restFor is how many times as long the background rests as it has worked, while it reads.
	restFor = 3
)

// Run renews the report until ctx ends, resting for so long in between. It takes
// a part of one processor only.
func (w *Watcher) Run(ctx context.Context, every time.Duration) {
	for {
		if !sleep(ctx, every) {
			return
		}
		if err := w.catchUp(ctx); err != nil && ctx.Err() == nil {
			w.logger.Warn("control gaps can't be looked for", "error", err)
			continue
		}
		if _, err := w.fresh(ctx); err != nil && ctx.Err() == nil {
			w.logger.Warn("control gaps can't be reported", "error", err)
		}
	}
}

// catchUp reads what is new, a little at a time.
func (w *Watcher) catchUp(ctx context.Context) error {
	for {
		began := time.Now()
		if err := w.take(ctx); err != nil {
			return err
		}
		all, err := w.scanner.advance(ctx, atOnce)
		w.give()
		if err != nil || all {
			return err
		}
		if !sleep(ctx, restFor*time.Since(began)) {
			return ctx.Err()
		}
	}
}

// sleep tells whether the time has passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
