package load

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Pool is a number of open connections to one server.
type Pool struct {
	conns []*Conn
	// Each is told of every answer with status 200, from several goroutines at once; i is the request's index in the list.
	// The body is valid during the call. It may be nil.
	Each func(i int, body []byte)
}

// Open opens n connections, which are closed when ctx ends or with [Pool.Close].
func Open(ctx context.Context, address string, n int) (*Pool, error) {
	p := &Pool{}
	for range n {
		c, err := Dial(ctx, address)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.conns = append(p.conns, c)
	}
	return p, nil
}

// Close closes all connections.
func (p *Pool) Close() {
	for _, c := range p.conns {
		c.Close()
	}
}

// Result is what one run of load found.
type Result struct {
	Answered uint64 // with status 200 and what was wanted
	Failed   uint64 // with anything else
	Elapsed  time.Duration
	// Latency is in microseconds: in a closed loop from sending a request to its whole answer, in an open loop from the
	// time at which it was due.
	Latency *hdrhistogram.Histogram
	// Late is by how many microseconds the generator sent requests after they were due; nil in a closed loop. It counts
	// towards Latency: connections that were all waiting for the server, and the generator's own share.
	Late *hdrhistogram.Histogram
	Err  error // the first failure
}

// Rate is the answers per second.
func (r Result) Rate() float64 { return float64(r.Answered) / r.Elapsed.Seconds() }

// maxLatency is the longest that is told apart, in microseconds.
const maxLatency = 60_000_000

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency, 3) }

// recorder collects what the connections see. There are fewer of them than connections, since histograms are large.
type recorder struct {
	mu     sync.Mutex
	result Result
}

func (r *recorder) answered(took time.Duration) {
	r.mu.Lock()
	r.result.Answered++
	record(r.result.Latency, took)
	r.mu.Unlock()
}

func (r *recorder) failed(err error) {
	r.mu.Lock()
	r.result.Failed++
	if r.result.Err == nil {
		r.result.Err = err
	}
	r.mu.Unlock()
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), maxLatency)) // within the bounds, so it can't fail
}

// Closed keeps one request on the way on every connection for that long, and finds how much the server can do. Requests
// are sent in turn, from the beginning. A connection that breaks is not opened again.
func (p *Pool) Closed(ctx context.Context, requests []Request, d time.Duration) Result {
	var next atomic.Uint64
	start := time.Now()
	end := start.Add(d)
	return p.run(ctx, end, start, func(c *Conn, r *recorder) {
		sent := time.Now()
		for sent.Before(end) && ctx.Err() == nil {
			i := int((next.Add(1) - 1) % uint64(len(requests)))
			if !p.one(c, r, requests, i, sent) {
				return
			}
			sent = time.Now()
		}
	})
}

// Exactly sends the first n requests once each and then stops; otherwise it is Closed. n may be more than there are.
func (p *Pool) Exactly(ctx context.Context, requests []Request, n int) Result {
	var next atomic.Int64
	start := time.Now()
	return p.run(ctx, start.Add(24*time.Hour), start, func(c *Conn, r *recorder) {
		for ctx.Err() == nil {
			i := next.Add(1) - 1
			if i >= int64(n) || !p.one(c, r, requests, int(i)%len(requests), time.Now()) {
				return
			}
		}
	})
}

// Paced sends at a constant rate for that long, whether or not earlier requests were answered, and finds how long they
// take. The latency of a request counts from when it was due: a server that stalls has all those it kept waiting count
// against it, also if the generator had no connection left to send them on.
func (p *Pool) Paced(ctx context.Context, requests []Request, rate float64, d time.Duration) Result {
	n := int(rate * d.Seconds())
	start := time.Now().Add(10 * time.Millisecond) // all connections are waiting by then
	due := make(chan int, 4096)
	go func() {
		defer close(due)
		pace(ctx, start, rate, n, due)
	}()
	late := newHistogram()
	var mu sync.Mutex
	out := p.run(ctx, start.Add(d), start, func(c *Conn, r *recorder) {
		for i := range due {
			at := dueAt(start, rate, i)
			mu.Lock()
			record(late, time.Since(at))
			mu.Unlock()
			if !p.one(c, r, requests, i%len(requests), at) {
				return
			}
		}
	})
	for range due { // left over when all connections broke
		out.Failed++
	}
	out.Late = late
	return out
}

// dueAt is when the i-th request of a schedule is to be sent.
func dueAt(start time.Time, rate float64, i int) time.Time {
	return start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
}

// pace tells which requests are due, when they are. It never skips one: when it falls behind, it hurries.
func pace(ctx context.Context, start time.Time, rate float64, n int, due chan<- int) {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	preciseSleep()
	for i := range n {
		sleepUntil(dueAt(start, rate, i))
		select {
		case due <- i:
		case <-ctx.Done():
			return
		}
	}
}

// one sends one request; from is when its latency begins. It returns false once the connection is of no use.
func (p *Pool) one(c *Conn, r *recorder, requests []Request, i int, from time.Time) bool {
	req := &requests[i]
	status, body, err := c.Do(req.Raw)
	switch {
	case err != nil:
		r.failed(err)
		return false
	case status != 200 || len(req.Want) > 0 && !bytes.Contains(body, req.Want):
		r.failed(fmt.Errorf("status %d: %.300s", status, body))
		return true
	}
	r.answered(time.Since(from))
	if p.Each != nil {
		p.Each(i, body)
	}
	return true
}

// run runs work on every connection at once and adds up what they found.
func (p *Pool) run(ctx context.Context, end, start time.Time, work func(*Conn, *recorder)) Result {
	recorders := make([]*recorder, min(len(p.conns), 16))
	for i := range recorders {
		recorders[i] = &recorder{result: Result{Latency: newHistogram()}}
	}
	var wg sync.WaitGroup
	for i, c := range p.conns {
		_ = c.SetDeadline(end.Add(time.Minute)) // a server that hangs does not hang the benchmark
		wg.Go(func() { work(c, recorders[i%len(recorders)]) })
	}
	wg.Wait()
	out := Result{Elapsed: time.Since(start), Latency: newHistogram()}
	for _, r := range recorders {
		out.Answered += r.result.Answered
		out.Failed += r.result.Failed
		out.Latency.Merge(r.result.Latency)
		if out.Err == nil {
			out.Err = r.result.Err
		}
	}
	if out.Err == nil && ctx.Err() != nil {
		out.Err = context.Cause(ctx)
	}
	return out
}
