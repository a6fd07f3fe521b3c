package api

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A panic is answered with 500 and logged; the answer says nothing of what happened.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	a, err := New(Options{NoAuth: true, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Ready: func() error { panic("the secret of the house") },
		Fault: func(error) Fault { return Fault{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "http://localhost/readyz", nil)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	if w.Code != 500 || w.Header().Get("Content-Type") != "application/problem+json" || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if !strings.Contains(log.String(), "the secret of the house") || !strings.Contains(log.String(), "TestPanic") {
		t.Errorf("the log says neither what happened nor where: %s", &log)
	}
	// Where AuthZEN is spoken, in its dialect. The decision point is missing here.
	r = httptest.NewRequest("POST", "http://localhost"+evaluationPath,
		strings.NewReader(`{"subject":{"type":"user","id":"a"},"action":{"name":"b"},"resource":{"type":"c","id":"d"}}`))
	r.Header.Set("Content-Type", "application/json")
	w = httptest.NewRecorder()
	a.ServeHTTP(w, r)
	if w.Code != 500 || !strings.HasPrefix(w.Body.String(), `"the server made a mistake`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestLost(t *testing.T) {
	object := func(pairs ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	for _, c := range []struct {
		sent, kept any
		want       string
	}{
		{object("a", "x"), object("a", "y"), ""}, // values may be read in another form
		{object("A", "x"), object("a", "x"), "/A"},
		{object("a", ""), object(), ""},
		{object("a", object("B", int64(1))), object("a", object("b", int64(1))), "/a/B"},
		{object("a", []any{object("b", true), object("C", true)}), object("a", []any{object("b", true), object("c", true)}), "/a/1/C"},
	} {
		if got := lost(c.sent, c.kept, ""); got != c.want {
			t.Errorf("sent %v, kept %v: %q, want %q", c.sent, c.kept, got, c.want)
		}
	}
}
