package target

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/aver-authz/aver/bench/workload"
)

// opaDialect asks OPA's data API for the rule "allow", or "results" for a batch.
type opaDialect struct{}

func (opaDialect) request(checks []workload.Check) (string, []byte, bool) {
	if checks[0].Delegated {
		return "", nil, false // OPA knows no grants: rules for them would be ours, not OPA's
	}
	whole := func(c workload.Check) evaluation {
		e := asked(c)
		e.Subject, e.Context = subject(c), requestContext(c)
		return e
	}
	if len(checks) == 1 {
		return "/v1/data/" + workload.RegoPackage + "/allow", mustJSON(map[string]any{"input": whole(checks[0])}), true
	}
	var list []evaluation
	for _, c := range checks {
		list = append(list, whole(c))
	}
	return "/v1/data/" + workload.RegoPackage + "/results", mustJSON(map[string]any{"input": map[string]any{"evaluations": list}}), true
}

func (opaDialect) answers(body []byte) ([]bool, error) {
	var a struct {
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(a.Result, []byte("[")) {
		var list []bool
		err := json.Unmarshal(a.Result, &list)
		return list, err
	}
	var one bool
	err := json.Unmarshal(a.Result, &one)
	return []bool{one}, err
}

func (opaDialect) sign(c workload.Check) []byte { return fmt.Appendf(nil, `"result":%t`, c.Allowed()) }

func (opaDialect) id(body []byte) string { return member(body, "decision_id") }

// opaConfig turns decision logs on; "" leaves them off.
func startOPA(ctx context.Context, program, dir string, o Options, config string) (*Server, error) {
	s := &Server{Dir: dir, dialect: opaDialect{}}
	var err error
	if s.Address, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := writeFiles(dir, map[string]string{
		"payments.rego": workload.Rego(o.Policies), "data.json": string(mustJSON(workload.PeopleData(workload.People))), "opa.yaml": config,
	}); err != nil {
		return nil, err
	}
	// Logging each request for operators as well would be unfair: it costs OPA more than the decision log does.
	args := []string{"run", "--server", "--addr", s.Address, "--log-level", "error", "--skip-version-check"}
	if config != "" {
		args = append(args, "--config-file", filepath.Join(dir, "opa.yaml"))
	}
	if s.process, err = launch(ctx, dir, program, append(args, filepath.Join(dir, "payments.rego"), filepath.Join(dir, "data.json"))...); err != nil {
		return nil, err
	}
	return s, s.ready(ctx, "http://"+s.Address+"/health")
}

func startOPAWithHTTPLog(ctx context.Context, program, dir string, o Options) (*Server, error) {
	sink, err := newSink(ctx)
	if err != nil {
		return nil, err
	}
	// Uploads after one to two seconds where OPA's defaults are five to ten minutes, so that it has a chance to keep
	// something; the rest as it comes.
	s, err := startOPA(ctx, program, dir, o, fmt.Sprintf(`services:
  - name: sink
    url: %s
decision_logs:
  service: sink
  reporting:
    min_delay_seconds: 1
    max_delay_seconds: 2
`, sink.url))
	if err != nil {
		return nil, err
	}
	s.sink = sink
	s.kept = func(context.Context) (map[string]bool, error) { return sink.ids() }
	return s, nil
}

func startOPAWithConsoleLog(ctx context.Context, program, dir string, o Options) (*Server, error) {
	s, err := startOPA(ctx, program, dir, o, "decision_logs:\n  console: true\n")
	if err != nil {
		return nil, err
	}
	// The console is the file that its standard error goes to; its size is told by that file alone.
	s.LogDir = s.stderr
	s.kept = func(context.Context) (map[string]bool, error) { return idsInLines(s.stderr, "decision_id") }
	return s, nil
}
