// Package webhook tells others of what happens to approvals, exceptions and delegated duties: by webhooks signed as
// Standard Webhooks 1.0.0 has it, and by the callbacks that PEPs ask for (ARAP Callback).
//
// It follows the authority log, which is its queue: each receiver has a cursor in it that is kept on the disk, so that
// each message arrives at least once, whatever crashes, and nothing piles up in memory. A receiver that is slow, dead or
// hostile holds up nobody but itself.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pap"
)

// Options configure a [Deliverer]. What has no default beside it is required.
type Options struct {
	Config *Config
	// Current is the authority as it is; Events reads events of its log.
	Current func() *pap.Current
	Events  func(from, to uint64) iter.Seq2[*aver.Event, error]
	// Load and Save keep the cursors. [fs.ErrNotExist]: there are none yet, and every receiver begins at the end of the
	// log.
	Load func() ([]byte, error)
	Save func([]byte) error
	// ExternalURL is where callers reach the server; callbacks need it.
	ExternalURL string

	FirstRetry time.Duration         // after an attempt that failed; it doubles up to five minutes; 0 means 1 s
	Registry   prometheus.Registerer // takes the metrics; nil: none
	Now        func() time.Time      // time.Now if nil
	Logger     *slog.Logger          // nil discards
}

const (
	maxBackoff   = 5 * time.Minute
	maxAge       = 72 * time.Hour // after which a message is not worth sending any more
	maxRefused   = 3              // times that a receiver may refuse a message before it is given up
	eventsAtOnce = 256
	skipsUnsaved = 1000 // events that a receiver is not told of, before its cursor is saved all the same
)

// Deliverer sends messages. A nil one sends none.
type Deliverer struct {
	o         Options
	receivers []*receiver
	stop      context.CancelFunc
	done      sync.WaitGroup
	metrics   metrics

	mu      sync.Mutex
	cursors map[string]cursor // by key of the receiver; what is on the disk, or will be
}

// cursor is how far a receiver was told.
type cursor struct {
	Next uint64   `json:"next"` // index of the next event to look at
	Time position `json:"time"` // of what time brought
}

// Open takes up the cursors and starts sending. Close it before the log.
func Open(o Options) (*Deliverer, error) {
	if o.FirstRetry == 0 {
		o.FirstRetry = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(o.Config.Callbacks) > 0 && o.ExternalURL == "" {
		return nil, errors.New("callbacks tell a PEP where to look: say by --external-url where callers reach this server")
	}
	d := &Deliverer{o: o, cursors: map[string]cursor{}}
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("cursors of the webhooks: %w", err)
	}
	for i := range o.Config.Webhooks {
		e := &o.Config.Webhooks[i]
		d.receivers = append(d.receivers, &receiver{
			d: d, key: "webhook " + e.Name, label: e.Name, signers: e.signers, clients: map[string]*http.Client{e.URL: newClient(e.URL, e.AllowPrivate)},
			status: Status{Kind: "webhook", Name: e.Name, URLs: []string{redact(e.URL)}, Events: e.Events},
			make: func(cur *pap.Current, h *happening) (*message, error) {
				if !e.wants(h.typ) {
					return nil, nil
				}
				return e.message(cur.State, h)
			},
		})
	}
	for i := range o.Config.Callbacks {
		c := &o.Config.Callbacks[i]
		r := &receiver{
			d: d, key: "callback " + c.PEP, label: strconv.Itoa(i + 1), signers: c.signers, clients: map[string]*http.Client{},
			status: Status{Kind: "callback", Name: c.PEP},
			make: func(cur *pap.Current, h *happening) (*message, error) {
				return c.message(cur.State, o.ExternalURL, h)
			},
		}
		for _, u := range c.URLs {
			r.clients[u] = newClient(u, c.AllowPrivate)
			r.status.URLs = append(r.status.URLs, redact(u))
		}
		d.receivers = append(d.receivers, r)
	}
	if err := d.begin(); err != nil {
		return nil, fmt.Errorf("cursors of the webhooks: %w", err)
	}
	d.metrics = newMetrics(d)
	if o.Registry != nil {
		if err := o.Registry.Register(d.metrics); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	for _, r := range d.receivers {
		d.done.Go(func() { r.run(ctx) })
	}
	return d, nil
}

// Close stops sending. What is under way is sent again after the next start.
func (d *Deliverer) Close() error {
	if d == nil {
		return nil
	}
	d.stop()
	d.done.Wait()
	return d.save()
}

// AllowsCallback tells whether a PEP may be called back at a URL.
func (d *Deliverer) AllowsCallback(pep, endpoint string) bool {
	return d != nil && slices.ContainsFunc(d.o.Config.Callbacks, func(c Callback) bool {
		return c.PEP == pep && slices.Contains(c.URLs, endpoint)
	})
}

// load reads the cursors of the last run.
func (d *Deliverer) load() error {
	text, err := d.o.Load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &d.cursors)
}

// begin lets who is new begin at the end of the log, and forgets who is not there any more.
func (d *Deliverer) begin() error {
	size, now := d.o.Current().State.Size(), aver.TimeOf(d.o.Now())
	kept := map[string]cursor{}
	for _, r := range d.receivers {
		c, ok := d.cursors[r.key]
		if !ok || c.Next > size { // a log that is shorter than it was is another one
			c = cursor{Next: size, Time: position{At: now}}
		}
		kept[r.key] = c
	}
	d.cursors = kept
	return d.save()
}

func (d *Deliverer) cursor(key string) cursor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cursors[key]
}

// advance moves a cursor, and saves it if something was sent.
func (d *Deliverer) advance(key string, c cursor, keep bool) {
	d.mu.Lock()
	d.cursors[key] = c
	d.mu.Unlock()
	if !keep {
		return
	}
	if err := d.save(); err != nil {
		d.o.Logger.Warn("the cursors of the webhooks can't be kept, so messages may come twice after a restart", "error", err)
	}
}

func (d *Deliverer) save() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	text, err := json.Marshal(d.cursors)
	if err != nil {
		return err
	}
	return d.o.Save(append(text, '\n'))
}

// Status is how a receiver is doing.
type Status struct {
	Kind          string    `json:"kind"` // webhook or callback
	Name          string    `json:"name"` // of a callback: of the PEP's credential
	URLs          []string  `json:"urls"` // without queries
	Events        []string  `json:"events,omitempty"`
	State         string    `json:"state"`                // idle, sending, retrying, or gone: it said that it wants no more (410)
	Next          uint64    `json:"next"`                 // index of the event that it comes to next
	Behind        uint64    `json:"behind"`               // events of the log that it has not come to
	Delivered     uint64    `json:"delivered"`            // since the start of the server, as the following
	Failed        uint64    `json:"failed"`               // attempts
	GivenUp       uint64    `json:"given_up"`             // messages that it refused
	Missed        uint64    `json:"missed"`               // messages that were too old to be sent
	Failures      uint64    `json:"failures,omitempty"`   // attempts that failed since the last one that did not
	LastError     string    `json:"last_error,omitempty"` // of the latest of these
	LastDelivered aver.Time `json:"last_delivered,omitzero"`
	NextAttempt   aver.Time `json:"next_attempt,omitzero"` // while retrying
}

// Receivers lists how all receivers are doing, in the order of the configuration.
func (d *Deliverer) Receivers() []Status {
	if d == nil {
		return nil
	}
	size := d.o.Current().State.Size()
	out := make([]Status, len(d.receivers))
	for i, r := range d.receivers {
		r.mu.Lock()
		s := r.status
		r.mu.Unlock()
		s.Next = d.cursor(r.key).Next
		s.Behind = size - min(size, s.Next)
		if s.State == "" {
			s.State = "idle"
		}
		out[i] = s
	}
	return out
}
