package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
)

// discard is an http.ResponseWriter that keeps only the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// The cost of one evaluation with everything behind the connection: the API, the decision, its record, and a commit for
// every hundred or so, in a log in memory.
func BenchmarkEvaluation(b *testing.B) {
	s := start(b)
	s.publish("docs", `permit (principal is User, action == Action::"read", resource);`)
	const body = `{"subject":{"type":"user","id":"u-4711","properties":{"role":"clerk"}},"action":{"name":"read"},` +
		`"resource":{"type":"doc","id":"p-0012345","properties":{"department":"d-3","country":"DE","amount":125000,"frozen":false}},` +
		`"context":{"mfa":true,"ip":"10.1.2.3"}}`
	handler := s.server.Handler()
	b.SetParallelism(128)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		w := &discard{header: http.Header{}}
		text := strings.NewReader("")
		r, err := http.NewRequest("POST", "/access/v1/evaluation", io.NopCloser(text))
		if err != nil {
			b.Error(err)
			return
		}
		r.Header = bearer(s.tokens[aver.RolePEP])
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = int64(len(body))
		for pb.Next() {
			text.Reset(body)
			clear(w.header)
			handler.ServeHTTP(w, r)
			if w.status != http.StatusOK {
				b.Errorf("status %d", w.status)
				return
			}
		}
	})
}
