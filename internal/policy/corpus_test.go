package policy

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	exptypes "github.com/cedar-policy/cedar-go/x/exp/types"
)

type corpusFile struct {
	Schema   string `json:"schema"`
	Policies string `json:"policies"`
	Entities string `json:"entities"`
	Requests []struct {
		Description string           `json:"description"`
		Principal   json.RawMessage  `json:"principal"`
		Action      json.RawMessage  `json:"action"`
		Resource    json.RawMessage  `json:"resource"`
		Context     cedar.Record     `json:"context"`
		Decision    cedar.Decision   `json:"decision"`
		Reasons     []cedar.PolicyID `json:"reason"`
		Errors      []cedar.PolicyID `json:"errors"`
	} `json:"requests"`
}

// corpus reads the test corpus that another implementation of Cedar generated
// and that ships inside the cedar-go module.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Fatalf("the corpus ships with the module cedar-go, which `go list` could not find: %v", err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(out)), "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatalf("the corpus ships with the module cedar-go, but could not be opened: %v", err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCorpusAgreesWithCedar(t *testing.T) {
	files := corpus(t)
	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".entities.json") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	requests := 0
	for i, name := range names {
		if i%corpusShare != 0 {
			continue
		}
		requests += checkCorpusFile(t, name, files)
		if t.Failed() {
			t.Fatalf("stopped at %s", name)
		}
	}
	t.Logf("%d requests agree", requests)
	if requests < 62_000/corpusShare {
		t.Errorf("only %d requests in the corpus of %s, expected 62,000, or one in %d", requests, EngineVersion, corpusShare)
	}
}

func checkCorpusFile(t *testing.T, name string, files map[string][]byte) int {
	var cf corpusFile
	if err := json.Unmarshal(files[name], &cf); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	text := files[cf.Policies]
	bundle, err := Load(map[string][]byte{"policy.cedar": text}, "corpus")
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	set := NewSet(bundle)
	reference, err := cedar.NewPolicySetFromBytes("policy.cedar", text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	entities := corpusEntities(t, cf, files)
	for _, r := range cf.Requests {
		req := types.Request{
			Principal: corpusUID(t, r.Principal), Action: corpusUID(t, r.Action), Resource: corpusUID(t, r.Resource),
			Context: r.Context,
		}
		got := set.Authorize(entities, req)
		where := name + ": " + r.Description
		if got.Decision != r.Decision {
			t.Errorf("%s: decision %v, the corpus expects %v", where, got.Decision, r.Decision)
		}
		decision, diag := cedar.Authorize(reference, entities, req)
		if got.Decision != decision {
			t.Errorf("%s: decision %v, cedar-go says %v", where, got.Decision, decision)
		}
		compare(t, where+": reasons", corpusReasons(got), cedarReasons(diag))
		want := cedarErrors(diag)
		// Of several things wrong in one record or set, cedar-go reports one
		// at random. Ours must be one that it can report.
		for try := 0; try < 200 && !slices.Equal(corpusErrors(got), want) && anyUnstable(got); try++ {
			_, diag = cedar.Authorize(reference, entities, req)
			want = cedarErrors(diag)
		}
		compare(t, where+": errors", corpusErrors(got), want)
		checkExplanations(t, where, set, entities, req, got)
		checkPruned(t, where, set, entities, req, got)
		if !slices.IsSortedFunc(got.Candidates, func(a, b *Rule) int { return a.Position - b.Position }) {
			t.Errorf("%s: candidates are not in the order of the file", where)
		}
	}
	return len(cf.Requests)
}

// checkExplanations holds explanations, which evaluate clause by clause,
// against the evaluation as a whole.
func checkExplanations(t *testing.T, where string, set *Set, entities types.EntityMap, req types.Request, got Result) {
	t.Helper()
	for _, r := range set.rules {
		e := Explain(r, entities, req)
		want, message := Failed, ""
		for _, x := range got.Errors {
			if x.Rule == r {
				want, message = Errored, x.Message
			}
		}
		if want == Failed && cedarAlone(r, entities, req) {
			want = Held
		}
		if e.State != want || e.Error != message {
			t.Errorf("%s: the explanation of %s says %s %q, the evaluation %s %q", where, r.ID, e.State, e.Error, want, message)
		}
	}
}

// cedarAlone tells whether a policy matches, whatever others do.
func cedarAlone(r *Rule, entities types.EntityGetter, req types.Request) bool {
	_, diag := cedar.Authorize(cedar.PolicyMap{"it": r.policy}, entities, req)
	return len(diag.Reasons) > 0
}

// checkPruned evaluates again with nothing but what the read set keeps.
func checkPruned(t *testing.T, where string, set *Set, entities types.EntityMap, req types.Request, want Result) {
	t.Helper()
	pruned, req := prune(want.Reads(), entities, req)
	got := set.Authorize(pruned, req)
	if got.Decision != want.Decision {
		t.Errorf("%s: decision %v over what the read set keeps, %v over everything", where, got.Decision, want.Decision)
	}
	compare(t, where+": reasons over what the read set keeps", corpusReasons(got), corpusReasons(want))
	compare(t, where+": errors over what the read set keeps", corpusErrors(got), corpusErrors(want))
}

func corpusEntities(t *testing.T, cf corpusFile, files map[string][]byte) types.EntityMap {
	var s schema.Schema
	if err := s.UnmarshalCedar(files[cf.Schema]); err != nil {
		t.Fatalf("%s: %v", cf.Schema, err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		t.Fatalf("%s: %v", cf.Schema, err)
	}
	var m exptypes.EntityMap
	if err := m.UnmarshalJSONWithSchema(files[cf.Entities], resolved); err != nil {
		t.Fatalf("%s: %v", cf.Entities, err)
	}
	return types.EntityMap(m)
}

func corpusUID(t *testing.T, raw json.RawMessage) types.EntityUID {
	var uid types.EntityUID
	if string(raw) == "null" {
		return uid
	}
	if err := json.Unmarshal(raw, &uid); err != nil {
		t.Fatal(err)
	}
	return uid
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s differ:\n ours   %q\n cedar  %q", what, got, want)
	}
}

// The reference calls the policies of a file policy0, policy1 …; ours are in
// the order of the file, which makes the order of the lists comparable.

func corpusReasons(r Result) []string {
	var out []string
	for _, rule := range r.Reasons {
		out = append(out, fmt.Sprintf("policy%d", rule.Position-1))
	}
	return out
}

func corpusErrors(r Result) []string {
	var out []string
	for _, e := range r.Errors {
		out = append(out, fmt.Sprintf("policy%d: %s", e.Rule.Position-1, e.Message))
	}
	return out
}

func anyUnstable(r Result) bool {
	return slices.ContainsFunc(r.Errors, func(e RuleError) bool { return e.Rule.unstable })
}

func byNumber(a, b string) int {
	if len(a) != len(b) && !strings.Contains(a, ":") {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func cedarReasons(d cedar.Diagnostic) []string {
	var out []string
	for _, r := range d.Reasons {
		out = append(out, string(r.PolicyID))
	}
	slices.SortFunc(out, byNumber)
	return out
}

func cedarErrors(d cedar.Diagnostic) []string {
	slices.SortFunc(d.Errors, func(a, b cedar.DiagnosticError) int { return byNumber(string(a.PolicyID), string(b.PolicyID)) })
	var out []string
	for _, e := range d.Errors {
		out = append(out, fmt.Sprintf("%s: %s", e.PolicyID, e.Message))
	}
	return out
}
