package target

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/bench/workload"
)

func checks(n int, delegated bool) []workload.Check {
	return workload.Checks(n, workload.Options{Seed: 1, Policies: 10, Delegated: delegated})
}

func TestAnswersAreRead(t *testing.T) {
	for name, tc := range map[string]struct {
		d    dialect
		body string
		want []bool
	}{
		"AuthZEN":       {authzen{}, `{"decision":true,"context":{}}`, []bool{true}},
		"AuthZEN batch": {authzen{}, `{"evaluations":[{"decision":true},{"decision":false,"context":{"decision":true}}]}`, []bool{true, false}},
		"OPA":           {opaDialect{}, `{"decision_id":"x","result":false}`, []bool{false}},
		"OPA batch":     {opaDialect{}, `{"result":[true,false]}`, []bool{true, false}},
		"Cerbos": {cerbosDialect{}, `{"results":[{"actions":{"payment.read":"EFFECT_ALLOW"}},{"actions":{"payment.read":"EFFECT_DENY"}}],"cerbosCallId":"x"}`,
			[]bool{true, false}},
	} {
		got, err := tc.d.answers([]byte(tc.body))
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
		if _, err := tc.d.answers([]byte(`nothing`)); err == nil {
			t.Errorf("%s: took what is no JSON", name)
		}
	}
	if _, err := (cerbosDialect{}).answers([]byte(`{"results":[{"actions":{}}]}`)); err == nil {
		t.Error("Cerbos: a result without an action was taken")
	}
	if _, err := (opaDialect{}).answers([]byte(`{}`)); err == nil {
		t.Error("OPA: an undefined result was taken for a denial")
	}
}

// Every dialect asks the same: requests are what Aver's own parser, or the peers' documents, say they are.
func TestRequestsAreWhole(t *testing.T) {
	for _, delegated := range []bool{false, true} {
		for _, c := range checks(40, delegated) {
			path, body, ok := (authzen{chains: true}).request([]workload.Check{c})
			if !ok || path != "/access/v1/evaluation" {
				t.Fatal(path, ok)
			}
			v, err := aver.ParseJSON(body, aver.Limits{Bytes: len(body)})
			if err != nil {
				t.Fatal(err)
			}
			req, err := aver.ParseRequest(v)
			if err != nil {
				t.Fatal(err)
			}
			if req.Action.Name != c.Action || req.Resource.ID != c.Payment.ID || req.Resource.Properties["amount"] != c.Payment.Amount {
				t.Fatalf("%+v became %s", c, body)
			}
			if origin, ok := req.OnBehalfOf(); ok != delegated || len(req.Delegation()) != map[bool]int{true: 2}[delegated] ||
				delegated && origin.ID != workload.PersonAt(c.Who).Login {
				t.Fatalf("%+v became %s", c, body)
			}
		}
	}
	for name, d := range map[string]dialect{"null": authzen{}, "OPA": opaDialect{}, "Cerbos": cerbosDialect{}} {
		if _, _, ok := d.request(checks(1, true)); ok {
			t.Errorf("%s is asked about chains, which it does not know", name)
		}
	}
	if _, _, ok := (authzen{}).request(checks(2, false)); ok {
		t.Error("the null target is asked for batches, which it does not know")
	}
	several := checks(2*workload.Group, false)
	if _, _, ok := (cerbosDialect{}).request(several); ok && several[0].Who != several[len(several)-1].Who {
		t.Error("Cerbos is asked for two principals at once")
	}
}

// A batch means the same as its checks one by one: what an item lacks stands beside the list.
func TestBatchesMergeToTheirChecks(t *testing.T) {
	list := append(checks(3, false), workload.Checks(3, workload.Options{Seed: 2, Policies: 10, Mixed: true})...)
	_, body, ok := (authzen{batches: true}).request(list)
	var batch map[string]any
	if err := json.Unmarshal(body, &batch); err != nil || !ok {
		t.Fatal(err, ok)
	}
	for i, item := range batch["evaluations"].([]any) {
		merged := item.(map[string]any)
		for _, name := range []string{"subject", "context"} {
			if merged[name] == nil {
				merged[name] = batch[name]
			}
		}
		_, single, _ := (authzen{}).request(list[i : i+1])
		var want map[string]any
		if err := json.Unmarshal(single, &want); err != nil {
			t.Fatal(err)
		}
		if got, want := mustJSON(merged), mustJSON(want); !bytes.Equal(got, want) {
			t.Errorf("item %d\n got %s\nwant %s", i, got, want)
		}
	}
}

func TestIDsAreFound(t *testing.T) {
	for body, want := range map[string]string{
		`{"decision":true,"context":{"evaluation_id":"abc","x":1}}`: "abc",
		`{"decision":true}`:      "",
		`{"evaluation_id":"torn`: "torn",
		`{"evaluation_id":null}`: "",
	} {
		if got := (authzen{}).id([]byte(body)); got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
}

// A log that was cut off by a kill counts without its torn line, and other programs' lines do not count.
func TestLogFilesAreCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	text := `{"level":"warning","msg":"starting"}
{"decision_id":"a","result":true}
{"decision_id":"b","result":true}
{"decision_id":"c","res`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ids, err := idsInLines(file, "decision_id")
	if err != nil || len(ids) != 2 || !ids["a"] || !ids["b"] {
		t.Errorf("%v, %v", ids, err)
	}
}

func TestSinkKeepsUploads(t *testing.T) {
	s, err := newSink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, upload := range []string{`[{"decision_id":"a"},{"decision_id":"b"}]`, `[{"decision_id":"c"}]`} {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(upload))
		z.Close()
		resp, err := http.Post(s.url+"/logs", "application/json", &b)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	ids, err := s.ids()
	if err != nil || len(ids) != 3 || !ids["c"] || s.size() == 0 {
		t.Errorf("%v, %d bytes, %v", ids, s.size(), err)
	}
}

// A peer that is not there is left out, and said to be.
func TestMissingPeersAreSkipped(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(PeersEnv, t.TempDir())
	list, skipped, err := List(t.Context(), t.TempDir(), []string{OPA, OPAHTTP, CerbosDB})
	if err != nil || len(list) > 0 || len(skipped) != 2 || !strings.Contains(skipped[0], "docs/performance.md") {
		t.Errorf("%v, %q, %v", list, skipped, err)
	}
	if _, _, err := List(t.Context(), t.TempDir(), []string{"nobody"}); err == nil {
		t.Error("a target that does not exist was taken")
	}
}

func TestGrantsMakeAChain(t *testing.T) {
	pair := Grants(7)
	for _, g := range pair {
		if err := g.Validate(); err != nil {
			t.Error(err)
		}
	}
	if pair[1].Parent != pair[0].ID || pair[1].From != pair[0].To || pair[1].Widens(&pair[0]) != "" {
		t.Errorf("%+v", pair)
	}
}
