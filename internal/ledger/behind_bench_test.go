package ledger

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"
)

// benchLog opens a log that does nothing by itself behind the answers, and appends entries about as large as decision
// records, 64 to a group.
func benchLog(b *testing.B, entries int) *Log {
	k, _, err := NewKey("behind.example/log")
	if err != nil {
		b.Fatal(err)
	}
	l, err := Open(b.TempDir(), Options{Origin: k.Signer.Name(), Signer: k.Signer, Verifier: k.Verifier,
		FirstSegment: 64 << 20, CheckpointEvery: time.Hour, MaxLag: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	l.projecting <- struct{}{}
	l.sealing.Lock()
	b.Cleanup(func() { <-l.projecting; l.sealing.Unlock() })
	for i := 0; i < entries; {
		var last *Ticket
		for range min(64, entries-i) {
			e := Entry{Leaf: make([]byte, 220), Payload: fmt.Appendf(nil, "%1000d", i)}
			_, _ = rand.Read(e.Leaf[100:])
			if last, err = l.Enqueue(e); err != nil {
				b.Fatal(err)
			}
			i++
		}
		if _, err := last.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	return l
}

// BenchmarkProject writes the tiles of entries, an entry at a time on average.
func BenchmarkProject(b *testing.B) {
	l := benchLog(b, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	if err := l.project(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSeal compresses the entries of a raw segment, an entry at a time on average.
func BenchmarkSeal(b *testing.B) {
	const entries = 20_000
	l := benchLog(b, entries)
	s := (*l.segs.Load())[0]
	end, _ := s.bounds()
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += entries {
		if _, err := l.writeSealed(s, end, l.path("tmp/bench")); err != nil {
			b.Fatal(err)
		}
		if err := l.fs.Remove(l.path("tmp/bench")); err != nil {
			b.Fatal(err)
		}
	}
}
