package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aver-authz/aver/bench/workload"
)

// cerbosDialect asks Cerbos's own API, which takes several resources of one principal at once.
type cerbosDialect struct{}

func (cerbosDialect) request(checks []workload.Check) (string, []byte, bool) {
	if checks[0].Delegated {
		return "", nil, false // Cerbos knows no grants either
	}
	who := workload.PersonAt(checks[0].Who)
	type resource struct {
		Resource map[string]any `json:"resource"`
		Actions  []string       `json:"actions"`
	}
	var list []resource
	for _, c := range checks {
		if c.Who != checks[0].Who {
			return "", nil, false
		}
		list = append(list, resource{
			map[string]any{"kind": workload.KindName(c.Kind), "id": c.Payment.ID, "attr": paymentAttributes(c.Payment)},
			[]string{c.Action},
		})
	}
	return "/api/check/resources", mustJSON(map[string]any{
		"principal": map[string]any{"id": who.Login, "roles": []string{who.Role}, "attr": who.Attributes()},
		"resources": list,
	}), true
}

func (cerbosDialect) answers(body []byte) ([]bool, error) {
	var a struct {
		Results []struct {
			Actions map[string]string `json:"actions"`
		} `json:"results"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	var out []bool
	for _, r := range a.Results {
		if len(r.Actions) != 1 {
			return nil, fmt.Errorf("%d actions where one was asked for", len(r.Actions))
		}
		for _, effect := range r.Actions {
			out = append(out, effect == "EFFECT_ALLOW")
		}
	}
	return out, nil
}

func (cerbosDialect) sign(c workload.Check) []byte {
	effect := "EFFECT_DENY"
	if c.Allowed() {
		effect = "EFFECT_ALLOW"
	}
	return []byte(effect)
}

func (cerbosDialect) id(body []byte) string { return member(body, "cerbosCallId") }

const cerbosConfig = `server:
  httpListenAddr: %q
  grpcListenAddr: %q
  adminAPI:
    enabled: true
storage:
  driver: disk
  disk:
    directory: %q
    watchForChanges: false
telemetry:
  disabled: true
`

// startCerbos starts Cerbos; audit is the configuration of the audit log. Access logs, a second record of each call, stay
// off.
func startCerbos(ctx context.Context, program, dir string, o Options, audit string) (*Server, error) {
	s := &Server{Dir: dir, dialect: cerbosDialect{}}
	var err error
	if s.Address, err = freeAddress(); err != nil {
		return nil, err
	}
	grpc, err := freeAddress()
	if err != nil {
		return nil, err
	}
	policies := filepath.Join(dir, "policies")
	if err := writeFiles(policies, workload.Cerbos(o.Policies)); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "cerbos.yaml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(cerbosConfig, s.Address, grpc, policies)+audit), 0o600); err != nil {
		return nil, err
	}
	if s.process, err = launch(ctx, dir, program, "server", "--config", config, "--log-level", "warn"); err != nil {
		return nil, err
	}
	return s, s.ready(ctx, "http://"+s.Address+"/_cerbos/health")
}

func startCerbosWithFile(ctx context.Context, program, dir string, o Options) (*Server, error) {
	log := filepath.Join(dir, "audit.log")
	s, err := startCerbos(ctx, program, dir, o, fmt.Sprintf(`audit:
  enabled: true
  decisionLogsEnabled: true
  backend: file
  file:
    path: %q
`, log))
	if err != nil {
		return nil, err
	}
	s.LogDir = log
	s.kept = func(context.Context) (map[string]bool, error) { return idsInLines(log, "callId") }
	return s, nil
}

func startCerbosWithStore(ctx context.Context, program, dir string, o Options) (*Server, error) {
	store := filepath.Join(dir, "audit")
	audit := fmt.Sprintf(`audit:
  enabled: true
  decisionLogsEnabled: true
  backend: local
  local:
    storagePath: %q
`, store)
	s, err := startCerbos(ctx, program, dir, o, audit)
	if err != nil {
		return nil, err
	}
	s.LogDir = store
	s.kept = func(ctx context.Context) (map[string]bool, error) {
		// Only a running Cerbos can read its store.
		again, err := startCerbos(ctx, program, dir, o, audit)
		if err != nil {
			return nil, err
		}
		defer again.Kill()
		return cerbosStored(ctx, again.Address)
	}
	return s, nil
}

// cerbosStored reads the decision log of a running Cerbos through its admin API, with the credentials that it has when none
// are configured.
func cerbosStored(ctx context.Context, address string) (map[string]bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/admin/auditlog/list/KIND_DECISION?since=3600s", nil)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth("cerbos", "cerbosAdmin")
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list of its audit log: %s", resp.Status)
	}
	ids := map[string]bool{}
	for list := json.NewDecoder(resp.Body); list.More(); {
		var entry struct {
			Result struct {
				Decision struct {
					CallID string `json:"callId"`
				} `json:"decisionLogEntry"`
			} `json:"result"`
		}
		if err := list.Decode(&entry); err != nil {
			return nil, err
		}
		ids[entry.Result.Decision.CallID] = true
	}
	return ids, nil
}
