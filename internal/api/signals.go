package api

import (
	"cmp"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authn"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pap"
)

// signalsSSFPath is where transmitters push security event tokens (RFC 8935).
const signalsSSFPath = "/v1/signals/ssf"

// How many signals are taken. They are few in ordinary life; a flood of them waits, and never decisions.
const (
	signalRate, signalBurst   = 20, 200 // of each source, a second and at once
	refusedRate, refusedBurst = 2, 50   // tokens that are refused, of each address
	verifyAtOnce              = 2       // tokens that are being verified
)

// signalIntake bounds what comes in.
type signalIntake struct {
	sources, refused limiter
	verifying        chan struct{}
	taken            *prometheus.CounterVec // by result
}

// The results of signals, for the metric.
const (
	signalReceived = "received"
	signalRepeated = "repeated"
	signalIgnored  = "ignored"
	signalRefused  = "refused"
	signalLimited  = "limited"
)

func newSignalIntake(r prometheus.Registerer) (*signalIntake, error) {
	s := &signalIntake{
		sources:   limiter{rate: signalRate, burst: signalBurst, most: 1024},
		refused:   limiter{rate: refusedRate, burst: refusedBurst, most: 4096},
		verifying: make(chan struct{}, verifyAtOnce),
		taken: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aver_signals_total", Help: "Signals that came in, by what became of them.",
		}, []string{"result"}),
	}
	for _, result := range []string{signalReceived, signalRepeated, signalIgnored, signalRefused, signalLimited} {
		s.taken.WithLabelValues(result)
	}
	return s, r.Register(s.taken)
}

func (s *signalIntake) count(result string) { s.taken.WithLabelValues(result).Inc() }

// limited says that more comes than is taken.
func (s *signalIntake) limited(wait time.Duration) error {
	s.count(signalLimited)
	return &problem{Slug: "too-many", Status: http.StatusTooManyRequests, retryAfter: wait,
		Detail: "more signals come than are taken: send it again later"}
}

// receivedSignal is the answer to one that was told.
type receivedSignal struct {
	ID       string `json:"id"`
	InForce  bool   `json:"in_force"`           // false: something newer is known of the same
	Repeated bool   `json:"repeated,omitempty"` // it was received before, and nothing was written
	*change
}

// receiveSignal takes a signal that is told over the API.
func (a *API) receiveSignal(c *call) error {
	var body struct {
		aver.SignalReport
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	who := c.who()
	source := authority.SignalSource(who.By)
	if wait, ok := a.signals.sources.take(source, a.o.Now()); !ok {
		return a.signals.limited(wait)
	}
	if body.ID == "" {
		body.ID = randomID("s-")
	}
	g, err := body.SignalReport.Signal(source, a.now())
	if err != nil {
		a.signals.count(signalRefused)
		return &problem{Slug: "invalid-request", Status: http.StatusBadRequest, Detail: err.Error()}
	}
	made, repeated, err := a.signal(c.Context(), who, c.reason(body.Reason), g)
	out := receivedSignal{ID: g.ID, InForce: a.inForce(g), Repeated: repeated}
	if repeated || err != nil && made == nil {
		if err != nil {
			return err
		}
		return c.writeJSON(http.StatusOK, out)
	}
	if out.change, err = a.changed(c, made, err); err != nil {
		return err
	}
	out.InForce = a.inForce(g)
	return c.writeJSON(http.StatusCreated, out)
}

// signal makes the event of a signal, unless its source has sent it before.
func (a *API) signal(ctx context.Context, who pap.Administrator, reason string, g *aver.Signal) (made *pap.Change, repeated bool, err error) {
	known := func() bool { _, ok := a.state().SignalReceived(g.Source, g.ID); return ok }
	if known() {
		a.signals.count(signalRepeated)
		return nil, true, nil
	}
	made, err = a.o.PAP.Do(ctx, who, reason, aver.EventSignalReceived, g)
	var refused *pap.RefusedError
	switch {
	case made != nil:
		a.signals.count(signalReceived)
	case errors.As(err, &refused) && known(): // two came at once
		a.signals.count(signalRepeated)
		return nil, true, nil
	default:
		a.signals.count(signalRefused)
	}
	return made, false, err
}

// inForce tells whether a signal is what is known of the same.
func (a *API) inForce(g *aver.Signal) bool {
	for _, known := range a.state().SignalsAbout(g.About) {
		if known.Source == g.Source && known.ID == g.ID {
			return true
		}
	}
	return false
}

// receiveEventToken takes a security event token of a configured transmitter (RFC 8935). It is answered with 202 once what
// it says is durable and in effect.
func (a *API) receiveEventToken(c *call) error {
	tokens := a.o.Tokens()
	if tokens == nil {
		return notFound("no transmitters of signals are configured")
	}
	if mediaType, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || mediaType != "application/secevent+jwt" {
		return &problem{Slug: "unsupported-media-type", Status: http.StatusUnsupportedMediaType,
			Detail: "the body must be a security event token and say so: Content-Type: application/secevent+jwt"}
	}
	address := remote(c)
	if wait, ok := a.signals.refused.left(address, a.o.Now()); !ok {
		return a.signals.limited(wait)
	}
	text, err := io.ReadAll(io.LimitReader(c.Body, authn.MaxEventToken+1))
	if err != nil {
		return &problem{Slug: "invalid-request", Status: http.StatusBadRequest, Detail: "the body could not be read to its end", cause: err}
	}
	e, err := a.verifyEvent(c, tokens, strings.TrimSpace(string(text)))
	if err != nil {
		a.signals.refused.take(address, a.o.Now())
		return err
	}
	c.notes = append(c.notes, "transmitter", e.Issuer)
	if wait, ok := a.signals.sources.take(e.Issuer, a.o.Now()); !ok {
		return a.signals.limited(wait)
	}
	if e.Signal == nil {
		if !e.Stream() {
			a.o.Logger.Info("a transmitter sent an event of a type that is not understood", "transmitter", e.Issuer, "types", e.Types)
		}
		a.signals.count(signalIgnored)
		c.w.WriteHeader(http.StatusAccepted)
		return nil
	}
	made, _, err := a.signal(c.Context(), transmitter(e), e.Reason, e.Signal)
	if made != nil {
		c.notes = append(c.notes, "event", made.Index, "type", string(made.Event.Type))
	}
	if made == nil && err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// verifyEvent verifies a token, a few at a time.
func (a *API) verifyEvent(c *call, tokens *authn.Verifier, token string) (*authn.Event, error) {
	select {
	case a.signals.verifying <- struct{}{}:
		defer func() { <-a.signals.verifying }()
	case <-c.Context().Done():
		return nil, c.Context().Err()
	}
	e, err := tokens.Event(c.Context(), token)
	var wrong *authn.EventError
	switch {
	case errors.As(err, &wrong):
		a.signals.count(signalRefused)
		return nil, &problem{Slug: wrong.Code, Status: http.StatusBadRequest, Detail: wrong.Description}
	case errors.Is(err, authn.ErrUnreachable):
		return nil, &problem{Slug: "unavailable", Status: http.StatusServiceUnavailable, retryAfter: 10 * time.Second,
			Detail: "the keys of its issuer can't be had at the moment: send it again later"}
	}
	return e, err
}

// transmitter is who sent a token, as one who makes changes.
func transmitter(e *authn.Event) pap.Administrator {
	return pap.Administrator{
		By:             aver.By{Name: e.Issuer, Method: aver.MethodSET, Subject: aver.Ref{Type: "issuer", ID: e.Issuer}},
		Role:           aver.RoleTransmitter,
		Authentication: map[string]any{"issuer": e.Issuer, "key_id": e.KeyID},
	}
}

// remote is the address that a request came from.
func remote(c *call) string {
	if host, _, err := net.SplitHostPort(c.RemoteAddr); err == nil {
		return host
	}
	return c.RemoteAddr
}

// writeSET answers as RFC 8935, section 2.3, has it.
func (p *problem) writeSET(c *call) {
	code := p.Slug
	switch p.Slug {
	case authn.EventKey, authn.EventIssuer, authn.EventAudience, authn.EventDenied:
	case "denied", "refused", "conflict":
		code = authn.EventDenied
	default:
		code = authn.EventInvalid
	}
	status := p.Status
	if status == http.StatusForbidden || status == http.StatusConflict || status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	body := append(aver.AppendString([]byte(`{"err":`), code), `,"description":`...)
	c.w.Header().Set("Content-Language", "en")
	c.writeBody(status, "application/json", append(aver.AppendString(body, p.Detail), '}'))
}

// shownSignal is a signal in force, as it is shown.
type shownSignal struct {
	*authority.Signal
	Member string `json:"member"` // under which policies find it
}

// listSignals lists the signals in force: all, or those about one party, session or device.
func (a *API) listSignals(c *call) error {
	q := c.URL.Query()
	about := aver.Ref{Type: q.Get("type"), ID: q.Get("id")}
	if (about.Type == "") != (about.ID == "") {
		return badParameter("type", "give type and id, or neither")
	}
	list := a.state().Signals()
	if !about.IsZero() {
		list = a.state().SignalsAbout(about)
	}
	fact := q.Get("fact")
	var out []*authority.Signal
	for _, g := range list {
		if fact == "" || fact == string(g.Fact) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *authority.Signal) int { return cmp.Compare(a.Event, b.Event) })
	key := func(g *authority.Signal) string { return indexKey(g.Event) }
	return writePage(c, "signals", out, key, func(g *authority.Signal) shownSignal { return shownSignal{g, g.Member()} })
}
