package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every page of docs is found from the index by reader.
func TestEveryPageIsInTheIndex(t *testing.T) {
	index := text(t, "docs/README.md")
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil || len(pages) < 20 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	for _, p := range pages {
		if name := filepath.Base(p); name != "README.md" && !strings.Contains(index, "("+name) {
			t.Errorf("docs/README.md does not lead to docs/%s", name)
		}
	}
}

var routeLine = regexp.MustCompile(`(?m)^  (/\S+):$`)

// The guide to the API has every route of the OpenAPI document: its beginning, up to the first parameter, and its last word.
func TestTheGuideHasEveryRoute(t *testing.T) {
	guide := text(t, "docs/api.md")
	routes := routeLine.FindAllStringSubmatch(text(t, "internal/api/openapi.yaml"), -1)
	if len(routes) < 90 {
		t.Fatalf("%d routes were found", len(routes))
	}
	for _, m := range routes {
		fixed, _, _ := strings.Cut(m[1], "/{")
		last := m[1][strings.LastIndex(m[1], "/")+1:]
		if !strings.Contains(guide, fixed) || !strings.HasPrefix(last, "{") && !strings.Contains(guide, "/"+last) {
			t.Errorf("docs/api.md does not have %s", m[1])
		}
	}
}

var (
	metricInCode = regexp.MustCompile(`"(aver_[a-z_]+)"`)
	metricInPage = regexp.MustCompile("`(aver_[a-z_]+)[`{]")
)

// The guide to the API has every metric, and no page has one that there is not.
func TestPagesNameTheMetricsThatThereAre(t *testing.T) {
	var metrics []string
	err := filepath.WalkDir(filepath.Join("..", "..", "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(code), "client_golang/prometheus") {
			for _, m := range metricInCode.FindAllStringSubmatch(string(code), -1) {
				metrics = append(metrics, m[1])
			}
		}
		return err
	})
	if err != nil || len(metrics) < 35 {
		t.Fatalf("%d metrics: %v", len(metrics), err)
	}
	guide := text(t, "docs/api.md")
	for _, m := range metrics {
		if !strings.Contains(guide, "`"+m+"`") && !strings.Contains(guide, "`"+m+"{") {
			t.Errorf("docs/api.md does not have %s", m)
		}
	}
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		for _, m := range metricInPage.FindAllStringSubmatch(text(t, "docs/"+filepath.Base(p)), -1) {
			if !slices.Contains(metrics, m[1]) {
				t.Errorf("docs/%s names the metric %s, which there is not", filepath.Base(p), m[1])
			}
		}
	}
}

var (
	routeOnPage = regexp.MustCompile(`\b(GET|POST|PUT|DELETE) (/(?:v1|access|log)/(?:\{[^}]*\}|[^\s` + "`" + `"'?,;)|{])*)`)
	parameter   = regexp.MustCompile(`\{[^}]*\}`)
	methodLine  = regexp.MustCompile(`(?m)^    (get|post|put|delete):`)
)

// Every route that a page names is in the OpenAPI document, with that method.
func TestRoutesOnPagesAreThere(t *testing.T) {
	document := text(t, "internal/api/openapi.yaml")
	var there []*regexp.Regexp
	starts := routeLine.FindAllStringSubmatchIndex(document, -1)
	for i, m := range starts {
		end := len(document)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		for _, method := range methodLine.FindAllStringSubmatch(document[m[1]:end], -1) {
			path := parameter.ReplaceAllString(document[m[2]:m[3]], "[^/]+")
			there = append(there, regexp.MustCompile("^"+strings.ToUpper(method[1])+" "+path+"$"))
		}
	}
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, p := range append(pages, "../../README.md", "../../CHANGELOG.md", "../../SECURITY.md", "../../ARCHITECTURE.md") {
		for _, m := range routeOnPage.FindAllStringSubmatch(text(t, strings.TrimPrefix(p, "../../")), -1) {
			if strings.ContainsAny(m[2], "…$") {
				continue
			}
			seen++
			route := m[1] + " " + strings.TrimRight(parameter.ReplaceAllString(m[2], "x"), ".:")
			if !slices.ContainsFunc(there, func(r *regexp.Regexp) bool { return r.MatchString(route) }) {
				t.Errorf("%s names %s %s, which there is not", p, m[1], m[2])
			}
		}
	}
	if seen < 60 {
		t.Errorf("%d routes were found", seen)
	}
}
