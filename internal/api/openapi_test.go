package api_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/aver-authz/aver/internal/api"
)

// document is the OpenAPI document and its router.
var document = sync.OnceValues(func() (*openapi3.T, routers.Router) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI())
	if err != nil {
		panic(err)
	}
	router, err := legacy.NewRouter(doc, openapi3.IsOpenAPI31OrLater())
	if err != nil {
		panic(err)
	}
	return doc, router
})

func TestOpenAPIDocumentIsValid(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Fatal(err)
	}
}

// Every route that is served is in the document, and the other way round, with the same need for a token.
func TestOpenAPIDocumentNamesEveryRoute(t *testing.T) {
	doc, _ := document()
	described := map[string]bool{} // method and path :: needs a token
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described[method+" "+path] = op.Security == nil || len(*op.Security) > 0
		}
	}
	served := map[string]bool{}
	for _, r := range api.Routes() {
		pattern := r.Pattern
		if strings.HasSuffix(pattern, "/") {
			pattern += "{path}"
		}
		served[pattern] = r.Roles != nil
	}
	for pattern, token := range served {
		if describedToken, ok := described[pattern]; !ok {
			t.Errorf("%s is served and not described", pattern)
		} else if describedToken != token {
			t.Errorf("%s: needs a token: %v, described: %v", pattern, token, describedToken)
		}
	}
	for pattern := range described {
		if _, ok := served[pattern]; !ok {
			t.Errorf("%s is described and not served", pattern)
		}
	}
}

// undescribed are paths that the router of the document can't match: they hold more slashes than OpenAPI can say.
var undescribed = []string{"/log/"}

// checkExchange holds an exchange to the document: what was answered must be as described, and what was accepted must be
// a request as described.
func checkExchange(t testing.TB, req *http.Request, content []byte, x *exchange) {
	t.Helper()
	if slices.ContainsFunc(undescribed, func(prefix string) bool { return strings.HasPrefix(req.URL.Path, prefix) }) {
		return
	}
	_, router := document()
	req = req.Clone(t.Context())
	req.URL.Scheme, req.URL.Host, req.Host = "", "", ""
	route, params, err := router.FindRoute(req)
	if err != nil {
		if x.status < 400 && req.Method != http.MethodOptions && req.Method != http.MethodHead {
			t.Errorf("%s: status %d, but the document has no such route: %v", x.what, x.status, err)
		}
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(content))
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	if x.status < 400 {
		if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
			t.Errorf("%s: accepted, but not a request as described: %v\n%s", x.what, err, content)
		}
	}
	if ct := x.header.Get("Content-Type"); !strings.Contains(ct, "json") || strings.Contains(ct, "ndjson") {
		input.Options.ExcludeResponseBody = true
	}
	response := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: x.status, Header: x.header, Options: input.Options,
		Body: io.NopCloser(bytes.NewReader(x.body)),
	}
	if err := openapi3filter.ValidateResponse(t.Context(), response); err != nil {
		t.Errorf("%s: the answer is not as described: %v\n%s", x.what, err, x.body)
	}
}
