package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// talk serves one connection with the given answers, one for each read.
func talk(t *testing.T, answers ...string) *Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		buf := make([]byte, 4096)
		for _, a := range answers {
			if _, err := theirs.Read(buf); err != nil {
				return
			}
			if _, err := io.WriteString(theirs, a); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { ours.Close() })
	return newConn(ours)
}

func TestAnswersAreRead(t *testing.T) {
	const raw = "POST / HTTP/1.1\r\n\r\n"
	for name, tc := range map[string]struct {
		answer string
		status int
		body   string
		err    string // part of it
	}{
		"length":            {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", ""},
		"any case":          {"HTTP/1.1 200 OK\r\ncontent-LENGTH:5\r\n\r\nhello", 200, "hello", ""},
		"empty":             {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", ""},
		"chunks":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: 1\r\n\r\n", 200, "hello world", ""},
		"no content":        {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", ""},
		"interim":           {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nlate", 503, "late", ""},
		"cut in the body":   {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 0, "", "unexpected EOF"},
		"cut in the head":   {"HTTP/1.1 200 OK\r\nContent-Le", 0, "", "unexpected EOF"},
		"cut in a chunk":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", 0, "", "unexpected EOF"},
		"chunk too long":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", 0, "", "end of a chunk"},
		"no length":         {"HTTP/1.1 200 OK\r\n\r\nhello", 0, "", "without a length"},
		"not kept":          {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 0, "", "keep the connection"},
		"negative length":   {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, "", "content length"},
		"something else":    {"SSH-2.0-x\r\n", 0, "", "not a status line"},
		"nothing, then end": {"", 0, "", "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, err := talk(t, tc.answer).Do([]byte(raw))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("got %d %q %v, want an error with %q", status, body, err, tc.err)
				}
				return
			}
			if err != nil || status != tc.status || string(body) != tc.body {
				t.Fatalf("got %d %q %v", status, body, err)
			}
		})
	}
}

// One answer must not eat into the next on the same connection.
func TestConnectionsAreKept(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	c := talk(t,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none",
		fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(long), long),
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthree")
	for _, want := range []string{"one", long, "three"} {
		if status, body, err := c.Do([]byte("x")); err != nil || status != 200 || string(body) != want {
			t.Fatalf("got %d, %d bytes, %v; want %d bytes", status, len(body), err, len(want))
		}
	}
}

func server(t *testing.T, handle http.HandlerFunc) (address string) {
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func pool(t *testing.T, address string, n int) *Pool {
	t.Helper()
	p, err := Open(t.Context(), address, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func requests(address string, bodies ...string) []Request {
	var out []Request
	for _, b := range bodies {
		r := NewRequest(address, "/check", []string{"Authorization: Bearer t"}, []byte(b))
		r.Want = []byte(b)
		out = append(out, r)
	}
	return out
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/check" || r.Header.Get("Authorization") != "Bearer t" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Write(body)
}

func TestExactlySendsEachRequestOnce(t *testing.T) {
	address := server(t, echo)
	p := pool(t, address, 8)
	var mu sync.Mutex
	seen := map[string]int{}
	p.Each = func(_ int, body []byte) {
		mu.Lock()
		seen[string(body)]++
		mu.Unlock()
	}
	got := p.Exactly(t.Context(), requests(address, "a", "b", "c"), 300)
	if got.Answered != 300 || got.Failed != 0 || got.Latency.TotalCount() != 300 {
		t.Fatalf("%d answered, %d failed (%v), %d recorded", got.Answered, got.Failed, got.Err, got.Latency.TotalCount())
	}
	for _, body := range []string{"a", "b", "c"} {
		if seen[body] != 100 {
			t.Errorf("%q was sent %d times, want 100", body, seen[body])
		}
	}
}

func TestClosedCountsWrongAnswers(t *testing.T) {
	var n atomic.Uint64
	address := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 3 {
		case 0:
			io.WriteString(w, "something else")
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			echo(w, r)
		}
	})
	got := pool(t, address, 2).Closed(t.Context(), requests(address, "a"), 100*time.Millisecond)
	if got.Answered == 0 || got.Failed < got.Answered || got.Err == nil {
		t.Fatalf("%d answered, %d failed (%v)", got.Answered, got.Failed, got.Err)
	}
	if got.Answered+got.Failed != n.Load() {
		t.Errorf("%d requests arrived, %d were counted", n.Load(), got.Answered+got.Failed)
	}
}

// No coordinated omission: a server that stands still for a while has all the requests that were due meanwhile count
// against it, not only the few that were on the way.
func TestPacedCountsFromWhenARequestWasDue(t *testing.T) {
	const rate, stall = 500, 300 * time.Millisecond
	var n atomic.Int64
	var mu sync.Mutex
	address := server(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if n.Add(1) == 50 {
			time.Sleep(stall) // the fault under test, not synchronization
		}
		mu.Unlock()
		echo(w, r)
	})
	got := pool(t, address, 2).Paced(t.Context(), requests(address, "a"), rate, time.Second)
	if got.Answered != rate || got.Failed != 0 {
		t.Fatalf("%d answered, %d failed (%v), want %d", got.Answered, got.Failed, got.Err, rate)
	}
	// 150 requests were due during the stall, so those at 10 % from the top waited for a good part of it; a generator that
	// waits for its answers would have seen two slow ones.
	if p90 := time.Duration(got.Latency.ValueAtQuantile(90)) * time.Microsecond; p90 < stall/10 {
		t.Errorf("90 %% of latencies are below %s although the server stood still for %s", p90, stall)
	}
	if got.Late.Max() < stall.Microseconds()/2 {
		t.Errorf("the latest request is said to have been sent %d us after it was due", got.Late.Max())
	}
}

func TestScheduleIsConstant(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	for i, want := range map[int]time.Duration{0: 0, 1: 500 * time.Microsecond, 2000: time.Second, 7_200_000: time.Hour} {
		if got := dueAt(start, 2000, i).Sub(start); got != want {
			t.Errorf("request %d is due after %s, want %s", i, got, want)
		}
	}
	// Whatever is due already is handed out at once, nothing is skipped, and all of it in order.
	due := make(chan int, 100)
	pace(context.Background(), time.Now().Add(-time.Minute), 1000, 100, due)
	for i := range 100 {
		if got := <-due; got != i {
			t.Fatalf("request %d came at place %d", got, i)
		}
	}
}

func TestPacedEndsWhenEveryConnectionBroke(t *testing.T) {
	address := server(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	got := pool(t, address, 2).Paced(t.Context(), requests(address, "a"), 1000, 100*time.Millisecond)
	if got.Answered != 0 || got.Failed != 100 || got.Err == nil {
		t.Fatalf("%d answered, %d failed (%v)", got.Answered, got.Failed, got.Err)
	}
}

func TestLatenciesBeyondTheScaleAreKept(t *testing.T) {
	h := newHistogram()
	record(h, 0)
	record(h, time.Hour)
	if h.TotalCount() != 2 || h.Min() != 1 || h.Max() < maxLatency {
		t.Errorf("count %d, from %d to %d", h.TotalCount(), h.Min(), h.Max())
	}
}
