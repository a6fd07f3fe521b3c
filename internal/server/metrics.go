package server

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/aver-authz/aver/internal/ledger"
)

// registerMetrics registers what is measured of the logs, the clock and the process; what is measured of requests stands
// in package api.
func (s *Server) registerMetrics(r *prometheus.Registry) error {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "aver_build_info", Help: "The running program; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": s.cfg.Version, "go": runtime.Version()},
	})
	build.Set(1)
	list := []prometheus.Collector{
		build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "aver_clock_behind_seconds", Help: "How far the clock is behind the latest time decided at; decisions go on at that time meanwhile.",
		}, func() float64 { return s.pdp.ClockBehind().Seconds() }),
	}
	list = append(list, retentionMetrics(s.keeper)...)
	list = append(list, s.witnessMetrics()...)
	if s.index != nil {
		list = append(list, s.index.metrics()...)
	}
	_, authorityKey := s.dir.AuthorityLog()
	_, decisionsKey := s.dir.DecisionLog()
	list = append(list, logMetrics("authority", s.authority, authorityKey)...)
	list = append(list, logMetrics("decisions", s.decisions, decisionsKey)...)
	for _, c := range list {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func logMetrics(name string, l *ledger.Log, key ledger.Key) []prometheus.Collector {
	gauge := func(metric, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metric, Help: help, ConstLabels: prometheus.Labels{"log": name},
		}, value)
	}
	size := func() float64 {
		n, _ := l.Head()
		return float64(n)
	}
	signed := func() float64 {
		n, err := covered(l.Checkpoint(), key)
		if err != nil {
			return 0 // there is none yet
		}
		return float64(n)
	}
	return []prometheus.Collector{
		gauge("aver_log_entries", "Committed entries.", size),
		gauge("aver_log_checkpoint_entries", "Entries that the last signed checkpoint covers.", signed),
		gauge("aver_log_lag_entries", "Committed entries that no signed checkpoint covers yet.", func() float64 {
			covered := signed() // first, so that the difference is never negative
			return size() - covered
		}),
		gauge("aver_log_writable", "1 while the log can be written, 0 while it can't and requests get 503.", func() float64 {
			if l.Health() != nil {
				return 0
			}
			return 1
		}),
	}
}
