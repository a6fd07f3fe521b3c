// Package archtest holds the layering of the packages as a test. It parses the
// files itself: a test that asked the go command would have its pass cached and
// miss violations.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/aver-authz/aver"

// layers says which packages of this module each package may import. "." is the
// root package. Test files may import anything.
var layers = map[string][]string{
	".":                       {},
	"client":                  {"."},
	"evidence":                {"."},
	"internal/ledger/disk":    {},
	"internal/ledger/segment": {"internal/ledger/disk"},
	"internal/ledger":         {"internal/ledger/disk", "internal/ledger/segment"},
	"internal/ledger/ledgertest": {
		"internal/ledger", "internal/ledger/disk", "internal/ledger/segment",
	},
	"internal/policy":              {"."},
	"internal/authority":           {".", "internal/policy"},
	"internal/pdp":                 {".", "internal/authority", "internal/ledger", "internal/policy"},
	"internal/pap":                 {".", "internal/authority", "internal/ledger", "internal/pdp", "internal/policy"},
	"internal/policytest":          {".", "internal/authority", "internal/pdp", "internal/policy"},
	"internal/activity":            {".", "internal/authority", "internal/ledger", "internal/pap", "internal/pdp"},
	"internal/replay":              {".", "internal/activity", "internal/authority", "internal/ledger", "internal/pap", "internal/pdp", "internal/policy"},
	"internal/retention":           {".", "internal/authority", "internal/ledger", "internal/pap", "internal/pdp"},
	"internal/why":                 {".", "internal/authority", "internal/pdp", "internal/policy"},
	"internal/query":               {".", "internal/pdp"},
	"internal/index":               {".", "internal/ledger", "internal/ledger/disk", "internal/pdp", "internal/query"},
	"internal/trail":               {".", "internal/index", "internal/ledger", "internal/pdp", "internal/query"},
	"internal/report/export":       {".", "internal/authority", "internal/ledger", "internal/pdp"},
	"internal/report/sample":       {".", "internal/authority", "internal/ledger", "internal/pdp", "internal/query"},
	"internal/report/onepage":      {".", "internal/authority", "internal/pdp", "internal/replay", "internal/report/gaps", "internal/why"},
	"internal/report/gaps":         {".", "internal/authority", "internal/ledger", "internal/pap", "internal/pdp", "internal/replay"},
	"internal/witness":             {"internal/ledger"},
	"internal/witness/witnesstest": {},
	"internal/datadir":             {".", "internal/ledger", "internal/ledger/disk"},
	"internal/authn":               {"."},
	"internal/webhook":             {".", "internal/authority", "internal/pap"},
	"internal/authn/authntest":     {},
	"internal/api":                 {".", "evidence", "internal/activity", "internal/authn", "internal/authority", "internal/index", "internal/pap", "internal/pdp", "internal/policy", "internal/query", "internal/report/export", "internal/report/gaps", "internal/report/onepage", "internal/report/pack", "internal/report/sample", "internal/trail", "internal/webhook", "internal/why"},
	"internal/server": {
		".", "internal/activity", "internal/api", "internal/authn", "internal/authority", "internal/datadir", "internal/index", "internal/ledger", "internal/ledger/disk", "internal/pap", "internal/pdp",
		"internal/policy", "internal/replay", "internal/retention", "internal/report/export", "internal/report/gaps", "internal/report/onepage", "internal/report/pack", "internal/report/sample", "internal/query", "internal/trail", "internal/webhook", "internal/why", "internal/witness",
	},
	"internal/verify": {".", "internal/authority", "internal/datadir", "internal/ledger", "internal/pap", "internal/pdp", "internal/witness"},
	"internal/report/pack": {
		".", "evidence", "internal/authority", "internal/ledger", "internal/pdp", "internal/policy", "internal/query", "internal/replay", "internal/report/sample", "internal/why",
	},
	"internal/demo": {
		".", "client", "internal/datadir", "internal/policy", "internal/policytest", "internal/replay", "internal/server", "internal/verify",
	},
	"internal/archtest": {},
}

// The words and the engine's inner layers must stay pure or small: what they
// may not reach, standard library included.
var forbidden = map[string][]string{
	".":                  {"net/http", "os", "math/rand"},
	"internal/policy":    {"net", "net/http", "math/rand", "math/rand/v2", "crypto/rand"},
	"internal/authority": {"net", "net/http", "os", "math/rand", "math/rand/v2", "crypto/rand"},
}

func TestLayers(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if pkg == "cmd/aver" || pkg == "bench" || strings.HasPrefix(pkg, "bench/") {
			return nil // the top: commands wire everything
		}
		seen[pkg] = true
		allowed, known := layers[pkg]
		if !known {
			t.Errorf("package %s has no layer: add it to the table", pkg)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if slices.Contains(forbidden[pkg], imported) {
				t.Errorf("%s imports %s, which %s must not reach", path, imported, pkg)
			}
			within, ours := strings.CutPrefix(imported, module)
			if !ours {
				if pkg == "." && strings.Contains(strings.Split(imported, "/")[0], ".") {
					t.Errorf("%s imports %s: the root package uses the standard library only", path, imported)
				}
				if strings.HasPrefix(imported, "github.com/cedar-policy/cedar-go/x/") && pkg != "internal/policy" {
					t.Errorf("%s imports %s: Cedar's unstable packages stay behind internal/policy", path, imported)
				}
				continue
			}
			if within = strings.TrimPrefix(within, "/"); within == "" {
				within = "."
			}
			if !slices.Contains(allowed, within) && within != pkg {
				t.Errorf("%s: %s must not import %s", path, pkg, within)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layers {
		if !seen[pkg] && pkg != "internal/archtest" {
			t.Errorf("the table names package %s, which is not there", pkg)
		}
	}
}
