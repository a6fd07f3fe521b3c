package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
)

type metrics struct {
	decisions   *prometheus.CounterVec // by outcome
	duration    prometheus.Histogram   // of an evaluation request, until its answer may be released
	requests    *prometheus.CounterVec // by route and status
	unavailable prometheus.Counter
	inFlight    prometheus.Gauge
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
	for _, outcome := range aver.Outcomes() {
		m.decisions.WithLabelValues(outcome.String()) // so that each is there from the start
	}
	for _, c := range []prometheus.Collector{m.decisions, m.duration, m.requests, m.unavailable, m.inFlight} {
		if err := r.Register(c); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *metrics) released(answers []*aver.Answer, took time.Duration) {
	for _, a := range answers {
		m.decisions.WithLabelValues(a.Outcome.String()).Inc()
	}
	m.duration.Observe(took.Seconds())
}
