package api

import (
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
)

type metrics struct {
	decisions   *prometheus.CounterVec // by outcome
	outcomes    map[aver.Outcome]prometheus.Counter
	duration    prometheus.Histogram   // of an evaluation request, until its answer may be released
	requests    *prometheus.CounterVec // by route and status
	unavailable prometheus.Counter
	inFlight    prometheus.Gauge
	activities  *prometheus.CounterVec // by status
	findings    *prometheus.CounterVec // by code
	continuity  *prometheus.CounterVec // by state, at an end
}

func newMetrics(r prometheus.Registerer) (metrics, error) {
	m := metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aver_decisions_total", Help: "Decisions that were recorded and released, by outcome.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "aver_evaluation_duration_seconds",
			Help:    "Time from the request for one or several evaluations until the answer may be released, its records being durable.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aver_http_requests_total", Help: "HTTP requests, by route and status.",
		}, []string{"route", "status"}),
		unavailable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "aver_unavailable_total", Help: "Requests that were answered with 503, no decision being released, since a log could not write.",
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "aver_http_requests_in_flight", Help: "HTTP requests that are being answered.",
		}),
	}
	m.activities = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "aver_activities_total", Help: "Activities that were recorded, by status.",
	}, []string{"status"})
	m.findings = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "aver_activity_findings_total", Help: "What was not as it should be about recorded activities, by code; no_decision counts orphans.",
	}, []string{"finding"})
	m.continuity = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "aver_continuity_total", Help: "Activities that ended, by whether their authorization held until then.",
	}, []string{"continuity"})
	for _, s := range aver.ActivityStatuses() {
		m.activities.WithLabelValues(string(s))
	}
	for _, f := range aver.FindingCodes() {
		m.findings.WithLabelValues(string(f))
	}
	for _, s := range []aver.ContinuityState{aver.Held, aver.Lapsed, aver.ContinuityUnknown} {
		m.continuity.WithLabelValues(string(s))
	}
	m.outcomes = map[aver.Outcome]prometheus.Counter{}
	for _, outcome := range aver.Outcomes() {
		m.outcomes[outcome] = m.decisions.WithLabelValues(outcome.String()) // so that each is there from the start
	}
	for _, c := range []prometheus.Collector{m.decisions, m.duration, m.requests, m.unavailable, m.inFlight, m.activities, m.findings, m.continuity} {
		if err := r.Register(c); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *metrics) released(took time.Duration, answers ...*aver.Answer) {
	for _, a := range answers {
		m.outcomes[a.Outcome].Inc()
	}
	m.duration.Observe(took.Seconds())
}

// requestCounts counts the requests of a route. It remembers the counter of the status seen last, which is nearly
// always the one it needs.
type requestCounts struct {
	requests *prometheus.CounterVec
	route    string
	last     atomic.Pointer[requestCount]
}

type requestCount struct {
	status int
	prometheus.Counter
}

func (r *requestCounts) add(status int) {
	last := r.last.Load()
	if last == nil || last.status != status {
		last = &requestCount{status, r.requests.WithLabelValues(r.route, strconv.Itoa(status))}
		r.last.Store(last)
	}
	last.Inc()
}

func (m *metrics) reported(a *aver.ActivityAnswer) {
	if a.Repeated {
		return
	}
	m.activities.WithLabelValues(string(a.Status)).Inc()
	for _, f := range a.Findings {
		m.findings.WithLabelValues(string(f.Code)).Inc()
	}
	if a.Status.Ends() && a.Continuity != "" {
		m.continuity.WithLabelValues(string(a.Continuity)).Inc()
	}
}

// registerTracker registers what is known of open authorizations and of PEPs. Each is counted when it is asked for.
func registerTracker(r prometheus.Registerer, t *activity.Tracker) error {
	for _, g := range []struct {
		name, help string
		value      func(aver.Reconciliation) float64
	}{
		{"aver_authorizations_open", "Allowed decisions of which no end was reported.",
			func(r aver.Reconciliation) float64 { return float64(r.Open) }},
		{"aver_authorizations_withdrawn", "Open authorizations that are known to have ended meanwhile; those of PEPs that name no instance and never asked for withdrawals are not followed.",
			func(r aver.Reconciliation) float64 { return float64(r.Withdrawn) }},
		{"aver_authorizations_without_outcome", "Open authorizations that are older than ten minutes.",
			func(r aver.Reconciliation) float64 { return float64(r.WithoutOutcome) }},
		{"aver_authorizations_dropped", "Authorizations that were not followed to an end, there being too many.",
			func(r aver.Reconciliation) float64 { return float64(r.Dropped) }},
		{"aver_pep_instances", "Instances of PEPs that number their requests.",
			func(r aver.Reconciliation) float64 { return float64(len(r.Instances) + r.Unlisted) }},
		{"aver_pep_instances_silent", "Instances of PEPs that have sent nothing for too long.", func(r aver.Reconciliation) (n float64) {
			for _, i := range r.Instances {
				if i.Silent {
					n++
				}
			}
			return n
		}},
		{"aver_pep_requests_missing", "Numbers that instances of PEPs gave to requests which never arrived.", func(r aver.Reconciliation) (n float64) {
			for _, i := range r.Instances {
				n += float64(i.Missing)
			}
			return n
		}},
	} {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 {
			return g.value(t.Reconcile(olderThan, math.MaxInt))
		})
		if err := r.Register(gauge); err != nil {
			return err
		}
	}
	return nil
}
