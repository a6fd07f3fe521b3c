package webhook

import "github.com/prometheus/client_golang/prometheus"

// metrics is what is measured of the receivers.
type metrics struct {
	d          *Deliverer
	deliveries *prometheus.CounterVec
	behind     *prometheus.Desc
	failures   *prometheus.Desc
}

func newMetrics(d *Deliverer) metrics {
	m := metrics{
		d: d,
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aver_webhook_deliveries_total",
			Help: "Attempts that failed, and messages that were delivered, given up, or missed as too old.",
		}, []string{"kind", "receiver", "result"}),
		behind:   prometheus.NewDesc("aver_webhook_behind_events", "Events of the authority log that a receiver has not come to.", []string{"kind", "receiver"}, nil),
		failures: prometheus.NewDesc("aver_webhook_failures", "Attempts that failed since the last one that did not.", []string{"kind", "receiver"}, nil),
	}
	for _, r := range d.receivers {
		for _, result := range []string{"delivered", "failed", "given_up", "missed"} {
			m.deliveries.WithLabelValues(r.status.Kind, r.label, result)
		}
	}
	return m
}

// Describe implements [prometheus.Collector].
func (m metrics) Describe(out chan<- *prometheus.Desc) {
	m.deliveries.Describe(out)
	out <- m.behind
	out <- m.failures
}

// Collect implements [prometheus.Collector].
func (m metrics) Collect(out chan<- prometheus.Metric) {
	m.deliveries.Collect(out)
	for i, s := range m.d.Receivers() {
		label := m.d.receivers[i].label
		out <- prometheus.MustNewConstMetric(m.behind, prometheus.GaugeValue, float64(s.Behind), s.Kind, label)
		out <- prometheus.MustNewConstMetric(m.failures, prometheus.GaugeValue, float64(s.Failures), s.Kind, label)
	}
}
