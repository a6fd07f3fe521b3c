package server

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver/internal/api"
	"github.com/aver-authz/aver/internal/retention"
)

// keeperView is what the API may use of the keeper of evidence.
func keeperView(k *retention.Keeper) api.Retention {
	return api.Retention{
		Run: func(ctx context.Context) (api.SweepReport, error) {
			report, err := k.Run(ctx)
			return api.SweepReport(report), err
		},
		Kick:   k.Kick,
		Status: func() api.SweepStatus { return api.SweepStatus(k.Status()) },
	}
}

func retentionMetrics(k *retention.Keeper) []prometheus.Collector {
	erased := func(kind string, value func(retention.Status) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "aver_erased_entries_total", Help: "Entries of which payloads, or disclosures, were erased since the start.",
			ConstLabels: prometheus.Labels{"kind": kind},
		}, func() float64 { return float64(value(k.Status())) })
	}
	gauge := func(name, help string, value func(retention.Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(k.Status()) })
	}
	return []prometheus.Collector{
		erased("payloads", func(s retention.Status) uint64 { return s.Payloads }),
		erased("disclosures", func(s retention.Status) uint64 { return s.Disclosures }),
		gauge("aver_retention_held_entries", "Entries that were due to be erased at the last sweep, and are held.",
			func(s retention.Status) float64 { return float64(s.Held) }),
		gauge("aver_retention_last_sweep_timestamp_seconds", "When evidence that was due was last erased without an error; 0: not since the start.",
			func(s retention.Status) float64 { return float64(s.LastSweep) / 1000 }),
		gauge("aver_retention_failing", "1 if the last sweep failed.", func(s retention.Status) float64 {
			if s.Failed {
				return 1
			}
			return 0
		}),
	}
}
