// Package api is Aver's HTTP surface: it parses, calls the decision point or the administration point, and renders.
//
// Three dialects share it. Under /access/v1/ and /.well-known/ it speaks OpenID AuthZEN 1.0, errors included. Under /v1/
// stand Aver's own resources, with RFC 9457 problems. Under /log/ lie both logs as C2SP tlog-tiles. openapi.yaml
// describes all of it, and a test holds it to the table in routes.go.
//
// The package does not import the ledger; what it needs of a log comes as a [Log].
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/authn"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/report/export"
	"github.com/aver-authz/aver/internal/report/gaps"
	"github.com/aver-authz/aver/internal/report/onepage"
	"github.com/aver-authz/aver/internal/webhook"
	"github.com/aver-authz/aver/internal/why"
)

// Options configure an [API]. What has no default beside it is required.
type Options struct {
	PDP                  *pdp.Point
	PAP                  *pap.Point
	Authority, Decisions Log
	Activities           *activity.Point
	Tracker              *activity.Tracker
	Tokens               func() *authn.Verifier // of tokens of issuers as configured now; nil: there are none
	Webhooks             *webhook.Deliverer     // nil: nobody is told of anything

	// FindDecision returns the index of the record with an evaluation id; [pdp.ErrNotFound] if there is none.
	FindDecision func(id string) (uint64, error)
	// Why explains the decision at an index of the decision log.
	Why func(ctx context.Context, index uint64) (*why.Explanation, error)
	// Exports is what exports are made of.
	Exports *export.Source
	// Populations fixes populations of decisions, for samples.
	Populations *Populations
	// Gaps finds control gaps.
	Gaps *gaps.Watcher
	// Report answers the questions about one decision, agent, workflow or partner.
	Report func(ctx context.Context, kind, of string) (*onepage.Page, error)
	// Retention erases evidence.
	Retention Retention
	// Finder finds decisions; nil where there is no search index.
	Finder *Finder
	// Pack makes evidence packs.
	Pack Packer
	// Fault sorts the errors of the logs.
	Fault func(error) Fault
	// Ready is nil while decisions can be answered and recorded.
	Ready func() error
	// Metrics serves GET /metrics; Registry takes the metrics of this package.
	Metrics  http.Handler
	Registry prometheus.Registerer

	// ExternalURL is the URL by which callers reach the server, without a path; "" derives it from each request.
	ExternalURL string
	// NoAuth treats everybody as an administrator. Whoever sets it sees to it that only this machine can connect.
	NoAuth bool
	// PublicLogs serves /log/ without a token. Leaves hold no personal data, but their number and times are there.
	PublicLogs bool

	MaxBody  int64            // bytes of a request's body; 0 means 1 MiB
	MaxBatch int              // evaluations in one request; 0 means 1,000
	Timeout  time.Duration    // for one request; 0 means 15 s
	Now      func() time.Time // time.Now if nil
	Logger   *slog.Logger     // nil discards
	Version  string           // of the program
}

// Log is what the API uses of one of the logs.
type Log struct {
	Origin      string
	VerifierKey string // C2SP signed-note
	Head        func() (size uint64, root tlog.Hash)
	// Entry returns leaf and payload of a committed entry; of one that was erased the leaf, with an error that is Erased.
	Entry func(index uint64) (leaf, payload []byte, err error)
	Leaf  func(index uint64) ([]byte, error)
	// Checkpoint returns a signed checkpoint of at least that many entries, and its size.
	Checkpoint  func(ctx context.Context, atLeast uint64) (note []byte, size uint64, err error)
	Inclusion   func(index, size uint64) (tlog.RecordProof, error)
	Consistency func(older, newer uint64) (tlog.TreeProof, error)
	Tiles       http.Handler // C2SP tlog-tiles, from the log's root

	// Witnessed is the last checkpoint that a quorum of witnesses has cosigned; nil where none are configured.
	Witnessed func() (note []byte, size uint64)
	Witnesses func() any // how they fare, as JSON
}

// Fault is what an error of a log means to a caller.
type Fault struct {
	Kind       FaultKind
	RetryAfter time.Duration // of Unavailable
}

// FaultKind sorts errors of the logs.
type FaultKind int

// The kinds of faults. The zero kind is a mistake of the program.
const (
	Internal    FaultKind = iota
	Unavailable           // the log can't write at the moment
	NotFound              // there is no such entry or tree
	TooLarge              // the entry would be too large
	Erased                // the entry's payload was erased
)

// API is the HTTP handler.
type API struct {
	o        Options
	mux      *http.ServeMux
	direct   map[string]http.HandlerFunc // by path: POST routes that need no matching, since they are asked most
	metrics  metrics
	deadline deadline
	streams  streams
	origins  *http.CrossOriginProtection // with NoAuth
	pages    pageTokens                  // of searches

	accesses accesses // to evidence
	signals  *signalIntake
	packing  chan struct{} // holds one while a pack is being made
}

// New returns the handler.
func New(o Options) (*API, error) {
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.Tokens == nil {
		o.Tokens = func() *authn.Verifier { return nil }
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 1000
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Retention.Run == nil {
		o.Retention = Retention{
			Run: func(context.Context) (SweepReport, error) {
				return SweepReport{}, errors.New("nothing erases evidence here")
			},
			Kick: func() {}, Status: func() SweepStatus { return SweepStatus{} },
		}
	}
	a := &API{o: o, packing: make(chan struct{}, 1), mux: http.NewServeMux(), origins: http.NewCrossOriginProtection()}
	var err error
	if a.metrics, err = newMetrics(o.Registry); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if err := registerTracker(o.Registry, o.Tracker); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if a.pages, err = newPageTokens(); err != nil {
		return nil, err
	}
	if a.signals, err = newSignalIntake(o.Registry); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if err := o.Registry.Register(dueMetric{a}); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if err := a.registerExceptions(); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if err := a.registerGaps(); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	a.streams.init()
	a.direct = map[string]http.HandlerFunc{}
	for _, rt := range routes {
		h := a.handler(rt)
		a.mux.Handle(rt.pattern, h)
		if path, ok := strings.CutPrefix(rt.pattern, "POST "); ok && !strings.Contains(path, "{") {
			a.direct[path] = h
		}
	}
	return a, nil
}

// The values of headers that all answers have. They are shared, so nobody may change them.
var (
	noSniff  = []string{"nosniff"}
	noStore  = []string{"no-store"}
	jsonType = []string{"application/json"}
)

// deadline is a context that all calls share which began within the same second or so: a timer for each would cost as
// much as looking a policy up. It ends for none before its time, and at most a second after it.
type deadline struct {
	mu   sync.Mutex
	ctx  context.Context
	upto time.Time // it serves who began before
}

func (d *deadline) after(start time.Time, timeout time.Duration) context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil || !start.Before(d.upto) {
		d.upto = start.Add(time.Second)
		ctx, cancel := context.WithDeadline(context.Background(), d.upto.Add(timeout))
		context.AfterFunc(ctx, cancel)
		d.ctx = ctx
	}
	return d.ctx
}

// maxRequestID bounds X-Request-ID in bytes, since it stands in the record.
const maxRequestID = 256

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.RawPath == "" { // else it is escaped in a way that only the router can tell about
		if h := a.direct[r.URL.Path]; h != nil {
			h(w, r)
			return
		}
	}
	if _, pattern := a.mux.Handler(r); pattern != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	a.handler(route{pattern: "unrouted", handle: (*API).unrouted})(w, r)
}

// unrouted answers what no route matches: 404, 405 or, for OPTIONS, what is there.
func (a *API) unrouted(c *call) error {
	h, _ := a.mux.Handler(c.Request)
	probe := &headerProbe{header: http.Header{}}
	h.ServeHTTP(probe, c.Request)
	allow := probe.header.Get("Allow")
	switch {
	case probe.status == http.StatusMethodNotAllowed && c.Method == http.MethodOptions:
		c.w.Header().Set("Allow", allow+", OPTIONS")
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	case probe.status == http.StatusMethodNotAllowed:
		c.w.Header().Set("Allow", allow)
		return &problem{Slug: "method-not-allowed", Status: http.StatusMethodNotAllowed,
			Detail: fmt.Sprintf("%s is not possible here; possible: %s", c.Method, allow)}
	}
	return &problem{Slug: "not-found", Status: http.StatusNotFound, Detail: "there is nothing at this path; GET /v1/openapi.yaml lists what there is"}
}

// headerProbe takes the header and status of an answer and drops its body.
type headerProbe struct {
	header http.Header
	status int
}

func (p *headerProbe) Header() http.Header         { return p.header }
func (p *headerProbe) WriteHeader(status int)      { p.status = status }
func (p *headerProbe) Write(b []byte) (int, error) { return len(b), nil }

// call is one request on its way through the API.
type call struct {
	*http.Request
	brief  context.Context // of a brief route, instead of the request's
	w      answerWriter
	route  route
	start  time.Time
	caller caller
	tokens map[string]*aver.Token // that were verified beside its requests
	asOf   uint64                 // the size of the decision log before the access to evidence was recorded, which lists leave out
	answer *aver.Answer           // to an evaluation
	notes  []any                  // for the access log

	id, length [1]string // values of headers
}

// Context returns the context of the call, which ends in time.
func (c *call) Context() context.Context {
	if c.brief != nil {
		return c.brief
	}
	return c.Request.Context()
}

// header returns the first value of a header, "" if there is none. Its name must be in the canonical form: Header.Get
// would have to make that of others, each time.
func (c *call) header(name string) string {
	if values := c.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// answerWriter remembers the status that was sent.
type answerWriter struct {
	http.ResponseWriter
	status int
}

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// requestID is X-Request-ID in the canonical form.
const requestID = "X-Request-Id"

// handler does what is the same for all routes: request id, deadline, authentication, errors, panics, log, metrics.
func (a *API) handler(rt route) http.HandlerFunc {
	counts := requestCounts{requests: a.metrics.requests, route: rt.pattern}
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, w: answerWriter{ResponseWriter: w}, route: rt, start: time.Now()}
		switch {
		case rt.stream:
		case rt.brief:
			c.brief = a.deadline.after(c.start, a.o.Timeout)
		default:
			ctx, cancel := context.WithTimeout(r.Context(), a.o.Timeout)
			defer cancel()
			c.Request = r.WithContext(ctx)
		}
		a.metrics.inFlight.Inc()
		defer a.metrics.inFlight.Dec()

		if c.id[0] = c.header(requestID); c.id[0] == "" {
			c.id[0] = uuid.NewString()
		}
		h := w.Header()
		h[requestID] = c.id[:]
		h["X-Content-Type-Options"] = noSniff
		h["Cache-Control"] = noStore

		err := a.run(c)
		if err != nil {
			a.fail(c, err)
		}
		counts.add(c.w.status)
		a.finish(c)
	}
}

// run authenticates the caller and calls the route; a panic becomes an error.
func (a *API) run(c *call) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler {
			panic(p)
		}
		a.o.Logger.Error("a request made the server panic", "route", c.route.pattern, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		err = errors.New("panic")
	}()
	if len(c.header(requestID)) > maxRequestID {
		return &problem{Slug: "invalid-request", Status: http.StatusBadRequest, Detail: fmt.Sprintf("X-Request-ID is longer than %d bytes", maxRequestID)}
	}
	if err := a.authenticate(c); err != nil {
		return err
	}
	if c.route.evidence != "" {
		c.asOf, _ = a.o.Decisions.Head()
		if err := a.recordEvidenceAccess(c, c.route.evidence, c.URL.Query().Encode()); err != nil {
			return err
		}
	}
	return c.route.handle(a, c)
}

// finish writes the access log. It names no subject and no path, since ids in paths may be those of people.
func (a *API) finish(c *call) {
	method, _, _ := strings.Cut(c.route.pattern, " ")
	level := slog.LevelInfo
	switch {
	case c.w.status >= 500:
		level = slog.LevelWarn
	case c.w.status < 400 && (c.route.quiet || method == http.MethodGet):
		level = slog.LevelDebug
	}
	if !a.o.Logger.Enabled(c.Context(), level) {
		return
	}
	if c.answer != nil {
		c.notes = append(c.notes, "evaluation_id", c.answer.EvaluationID, "outcome", c.answer.Outcome.String())
	}
	a.o.Logger.Log(c.Context(), level, "request", append([]any{
		"route", c.route.pattern, "status", c.w.status, "ms", float64(time.Since(c.start).Microseconds()) / 1000,
		"credential", c.caller.logged(), "request_id", c.id[0],
	}, c.notes...)...)
}
