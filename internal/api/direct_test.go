package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
)

// The routes that are found without the router behave as those that it finds: the
// same methods, the same paths, and none besides.
func TestRoutesWithoutTheRouter(t *testing.T) {
	s := start(t)
	const body = `{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"POST", "/access/v1/evaluation", 200, ""},
		{"POST", "/access/v1/evaluation?x=y", 200, ""},
		{"POST", "/access/v1/evaluatio%6E", 200, ""},
		{"POST", "/access%2Fv1%2Fevaluation", 404, ""}, // one segment, which a proxy may let through where it would not the route
		{"POST", "/access/v1%2fevaluation", 404, ""},
		{"POST", "/access/v1/evaluation/", 404, ""},
		{"POST", "/access/v1/Evaluation", 404, ""},
		{"POST", "//access/v1/evaluation", 307, ""},
		{"POST", "/access/v1/../v1/evaluation", 307, ""},
		{"GET", "/access/v1/evaluation", 405, "POST"},
		{"HEAD", "/access/v1/evaluation", 405, "POST"},
		{"PUT", "/access/v1/evaluation", 405, "POST"},
		{"OPTIONS", "/access/v1/evaluation", 204, "POST, OPTIONS"},
		{"OPTIONS", "/access/v1/evaluations", 204, "POST, OPTIONS"},
		{"GET", "/v1/populations", 200, ""},
		{"DELETE", "/v1/populations", 405, "GET, HEAD, POST"},
		{"post", "/access/v1/evaluation", 405, "POST"},
	} {
		before := s.recorded()
		req, err := http.NewRequest(c.method, s.url+c.path, strings.NewReader(body)) // not by s.request: half of it is in no document
		if err != nil {
			t.Fatal(err)
		}
		req.Header = bearer(s.tokens[aver.RoleAdmin])
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Request-ID", "r-1")
		x, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		x.Body.Close()
		if x.StatusCode != c.status || x.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: status %d, Allow %q; want %d, %q", c.method, c.path, x.StatusCode, x.Header.Get("Allow"), c.status, c.allow)
		}
		if c.status != 307 && (x.Header.Get("X-Request-ID") != "r-1" || x.Header.Get("X-Content-Type-Options") != "nosniff" || x.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%s %s: headers %v", c.method, c.path, x.Header)
		}
		want := 0
		if c.method == "POST" && c.status == 200 {
			want = 1
		}
		if decided := s.recorded() - before; c.path != "/v1/populations" && decided != want {
			t.Errorf("%s %s: %d decisions are recorded, want %d", c.method, c.path, decided, want)
		}
	}
}
