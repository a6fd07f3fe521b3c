package index

import (
	"path/filepath"
	"testing"
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
