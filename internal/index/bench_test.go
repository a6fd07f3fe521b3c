package index

import (
	"path/filepath"
	"testing"

	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

func BenchmarkRefresh(b *testing.B) {
	h := newHistory(8)
	h.grow(b, 20_000)
	for b.Loop() {
		x := h.open(b, filepath.Join(b.TempDir(), "index"), func(o *Options) { o.Partition = 1 << 18 })
		h.refresh(b, x)
		s := x.Status()
		b.ReportMetric(float64(s.Bytes)/float64(s.Indexed), "B/entry")
		x.Close()
	}
	b.ReportMetric(float64(b.N)*float64(h.decisions.size)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkFollow indexes 4,000 decisions at a time, as they come, from memory or from the log.
func BenchmarkFollow(b *testing.B) {
	const entries = 4000
	for _, from := range []string{"memory", "log"} {
		b.Run(from, func(b *testing.B) {
			r := newRecording(b, ledgertest.NewMem())
			o := Options{Dir: filepath.Join(b.TempDir(), "index"), Decisions: r.log, Authority: &memory{}}
			if from == "memory" {
				o.Handed = &r.handover
			}
			x, err := Open(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer x.Close()
			x.expect()
			for b.Loop() {
				b.StopTimer()
				r.decide(entries)
				clear(r.records)
				b.StartTimer()
				if err := x.Refresh(b.Context(), nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(x.Indexed())/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
