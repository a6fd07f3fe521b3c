package webhook

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pap"
)

// receiver is told of everything in order, one message after the other.
type receiver struct {
	d       *Deliverer
	key     string
	label   string // in metrics, which anybody may read: of a callback it does not name the PEP
	signers []signer
	clients map[string]*http.Client // by URL
	make    func(*pap.Current, *happening) (*message, error)

	mu     sync.Mutex
	status Status
}

// errStopped ends the run of a receiver.
var errStopped = errors.New("stopped")

// run follows the log until ctx ends or the receiver wants no more.
func (r *receiver) run(ctx context.Context) {
	for {
		cur := r.d.o.Current()
		err := r.follow(ctx, cur)
		if errors.Is(err, errStopped) {
			return
		}
		wait := time.Minute
		if err != nil {
			r.d.o.Logger.Warn("the authority log can't be read for a webhook", "receiver", r.key, "error", err)
		} else if next, err := r.tellOfTime(ctx, cur); err != nil {
			return
		} else if next != 0 {
			wait = min(wait, max(time.Duration(next-aver.TimeOf(r.d.o.Now()))*time.Millisecond, 10*time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-cur.Replaced():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// follow tells of the events that the log has.
func (r *receiver) follow(ctx context.Context, cur *pap.Current) error {
	c := r.d.cursor(r.key)
	unsaved := 0
	for c.Next < cur.Head.Size {
		to := min(cur.Head.Size, c.Next+eventsAtOnce)
		var events []*aver.Event // read at once, since sending may take hours
		for e, err := range r.d.o.Events(c.Next, to) {
			if err != nil {
				return err
			}
			events = append(events, e)
		}
		for i, e := range events {
			sent := false
			if h := ofEvent(e, to-uint64(len(events)-i)); h != nil {
				var err error
				if sent, err = r.tell(ctx, cur, h); err != nil {
					return err
				}
			}
			c.Next++
			if unsaved++; sent || unsaved >= skipsUnsaved {
				unsaved = 0
			}
			r.d.advance(r.key, c, unsaved == 0)
		}
		if len(events) == 0 {
			return errors.New("it has no events where it should")
		}
	}
	return nil
}

// tellOfTime tells of what time brought, and returns when it brings something next.
func (r *receiver) tellOfTime(ctx context.Context, cur *pap.Current) (aver.Time, error) {
	c := r.d.cursor(r.key)
	due, next := ofTime(cur.State, c.Time, max(aver.TimeOf(r.d.o.Now()), cur.State.Time()))
	for i := range due {
		sent, err := r.tell(ctx, cur, &due[i])
		if err != nil {
			return 0, err
		}
		c.Time = position{due[i].at, due[i].thing}
		r.d.advance(r.key, c, sent)
	}
	return next, nil
}

// tell sends a message until it is taken, given up or too old. False: it was none for this receiver.
func (r *receiver) tell(ctx context.Context, cur *pap.Current, h *happening) (bool, error) {
	if ctx.Err() != nil {
		return false, errStopped
	}
	m, err := r.make(cur, h)
	if err != nil || m == nil {
		return false, err
	}
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier, b.RandomizationFactor = r.d.o.FirstRetry, maxBackoff, 2, 0.5
	for refused := 0; ; {
		if r.d.o.Now().Sub(time.UnixMilli(int64(m.at))) > maxAge {
			r.count("missed", func(s *Status) { s.Missed++ })
			r.d.o.Logger.Warn("a webhook is too old to be sent", "receiver", r.key, "message", m.id)
			return true, nil
		}
		r.set(func(s *Status) { s.State, s.NextAttempt = "sending", 0 })
		err := attempt(ctx, r.clients[m.url], m.url, r.signers, m, r.d.o.Now())
		var answer *answerError
		switch {
		case err == nil:
			r.count("delivered", func(s *Status) {
				s.Delivered++
				s.State, s.Failures, s.LastError, s.LastDelivered = "idle", 0, "", aver.TimeOf(r.d.o.Now())
			})
			return true, nil
		case ctx.Err() != nil:
			return false, errStopped
		}
		wait := b.NextBackOff()
		if errors.As(err, &answer) {
			wait = max(wait, answer.after)
			if answer.status == http.StatusGone {
				r.count("failed", func(s *Status) { s.Failed++; s.Failures++; s.State, s.LastError = "gone", answer.Error() })
				r.d.o.Logger.Warn("a receiver of webhooks wants no more (410): it gets none until the server is started again", "receiver", r.key)
				return false, errStopped
			}
			if answer.final() {
				refused++
			}
		}
		r.count("failed", func(s *Status) { s.Failed++; s.Failures++; s.LastError = err.Error() })
		if refused >= maxRefused {
			r.count("given_up", func(s *Status) { s.GivenUp++; s.State = "idle" })
			r.d.o.Logger.Warn("a receiver refuses a webhook, which is given up", "receiver", r.key, "message", m.id, "answer", answer.status)
			return true, nil
		}
		r.set(func(s *Status) { s.State, s.NextAttempt = "retrying", aver.TimeOf(r.d.o.Now().Add(wait)) })
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false, errStopped
		case <-timer.C:
		}
	}
}

func (r *receiver) set(change func(*Status)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.status)
}

func (r *receiver) count(result string, change func(*Status)) {
	r.set(change)
	r.d.metrics.deliveries.WithLabelValues(r.status.Kind, r.label, result).Inc()
}
