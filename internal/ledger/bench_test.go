package ledger_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
)

const benchOrigin = "bench.example/log"

// benchEntry is about as large as a decision record: 1.27 KB.
func benchEntry() ledger.Entry {
	e := ledger.Entry{Leaf: make([]byte, 220), Payload: make([]byte, 1050)}
	_, _ = rand.Read(e.Leaf)
	_, _ = rand.Read(e.Payload[:200])
	return e
}

// BenchmarkAppend measures durable appends by 1, 16 and 256 callers at once.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			key, _, err := ledger.NewKey(benchOrigin)
			if err != nil {
				b.Fatal(err)
			}
			l, err := ledger.Open(b.TempDir(), ledger.Options{Origin: benchOrigin, Signer: key.Signer, Verifier: key.Verifier})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			run(b, callers, func(e ledger.Entry) error {
				_, err := l.Append(context.Background(), e)
				return err
			})
			b.StopTimer()
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkBundles reads all entry bundles of a log of 100,000 entries, one after the other, as a monitor does over HTTP:
// from raw segments, and from sealed ones.
func BenchmarkBundles(b *testing.B) {
	for name, segment := range map[string]int64{"raw": 1 << 30, "sealed": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			key, _, err := ledger.NewKey(benchOrigin)
			if err != nil {
				b.Fatal(err)
			}
			l, err := ledger.Open(b.TempDir(), ledger.Options{Origin: benchOrigin, Signer: key.Signer, Verifier: key.Verifier,
				FirstSegment: 1 << 20, MaxSegment: segment})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			benchBundles(b, l, name == "sealed")
		})
	}
}

func benchBundles(b *testing.B, l *ledger.Log, sealed bool) {
	const entries = 100_000
	var appended atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for appended.Add(1) <= entries {
				if _, err := l.Append(context.Background(), benchEntry()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if sealed {
		never := func(ledger.Indexed) ([]byte, bool) { return nil, false }
		if err := l.Erase(b.Context(), 0, entries, never); err != nil { // which needs them sealed
			b.Fatal(err)
		}
	}
	if _, err := l.CheckpointNow(b.Context()); err != nil {
		b.Fatal(err)
	}
	h := l.Handler()
	b.ReportAllocs()
	for b.Loop() {
		for n := range entries / 256 {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/tile/entries/%03d", n), nil))
			if w.Code != http.StatusOK {
				b.Fatal(w.Code)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*(entries/256)), "us/bundle")
}

// run lets each caller append, one entry after another, b.N in all.
func run(b *testing.B, callers int, appendEntry func(ledger.Entry) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			e := benchEntry()
			for left.Add(-1) >= 0 {
				if err := appendEntry(e); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkBareGroupCommit is the yardstick: the same bytes, group commit into a preallocated file, and nothing else.
func BenchmarkBareGroupCommit(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			c := newBare(b)
			b.ResetTimer()
			run(b, callers, c.append)
			b.StopTimer()
			c.stop()
		})
	}
}

type bare struct {
	mu    sync.Mutex
	cond  sync.Cond
	buf   []byte
	done  chan error
	end   bool
	ended chan struct{}
}

func newBare(b *testing.B) *bare {
	const size = 64 << 20
	f, err := disk.OS{}.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, size), 0); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	c := &bare{done: make(chan error), ended: make(chan struct{})}
	c.cond.L = &c.mu
	go func() {
		defer close(c.ended)
		defer f.Close()
		var off int64
		var spare []byte
		for {
			c.mu.Lock()
			for len(c.buf) == 0 && !c.end {
				c.cond.Wait()
			}
			if len(c.buf) == 0 {
				c.mu.Unlock()
				return
			}
			buf, done := c.buf, c.done
			c.buf, c.done = spare[:0], make(chan error)
			c.mu.Unlock()
			if off+int64(len(buf)) > size {
				off = 0
			}
			_, err := f.WriteAt(buf, off)
			if err == nil {
				err = f.Sync()
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			off += int64(len(buf))
			spare = buf
			close(done)
		}
	}()
	return c
}

func (c *bare) append(e ledger.Entry) error {
	c.mu.Lock()
	c.buf = append(append(c.buf, e.Leaf...), e.Payload...)
	done := c.done
	c.cond.Signal()
	c.mu.Unlock()
	<-done
	return nil
}

func (c *bare) stop() {
	c.mu.Lock()
	c.end = true
	c.cond.Signal()
	c.mu.Unlock()
	<-c.ended
}
