package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

const (
	evaluationPath  = "/access/v1/evaluation"
	evaluationsPath = "/access/v1/evaluations"
)

// evaluation is AuthZEN's access evaluation API (section 6).
func (a *API) evaluation(c *call) error {
	text, err := a.readBody(c, a.o.MaxBody)
	if err != nil {
		return err
	}
	req, err := aver.ReadRequest(text.Bytes(), aver.Limits{Bytes: int(a.o.MaxBody)})
	text.free()
	if err != nil {
		return err
	}
	return a.evaluateOne(c, req)
}

func (a *API) evaluateOne(c *call, req *aver.Request) error {
	a.takeToken(c, req)
	q := pdp.NewQuery(req)
	if err := q.Err(); err != nil {
		return err
	}
	pep, err := c.pep()
	if err != nil {
		return err
	}
	answer, err := a.o.PDP.Decide(c.Context(), q, pep)
	if err != nil {
		return err
	}
	a.metrics.released(time.Since(c.start), answer)
	c.answer = answer
	a.sayWhereToAsk(c, answer)
	c.writeBody(http.StatusOK, "application/json", answer.JSON())
	return nil
}

// sayWhereToAsk names the endpoint at which an approval can be asked for, to who can.
func (a *API) sayWhereToAsk(c *call, answer *aver.Answer) {
	if !answer.Outcome.Allowed() && len(answer.Requirements) > 0 {
		answer.AccessRequestEndpoint = a.baseURL(c) + accessRequestsPath
	}
}

// The semantics of a batch (AuthZEN section 7.1.2.1).
const (
	executeAll          = "execute_all"
	denyOnFirstDeny     = "deny_on_first_deny"
	permitOnFirstPermit = "permit_on_first_permit"
)

// evaluations is AuthZEN's access evaluations API (section 7). Without evaluations it is the access evaluation API.
func (a *API) evaluations(c *call) error {
	object, err := a.readObject(c)
	if err != nil {
		return err
	}
	queries, semantic, err := a.parseBatch(c, object)
	if err != nil {
		return err
	}
	if len(queries) == 0 {
		req, err := aver.ParseRequest(object)
		if err != nil {
			return err
		}
		return a.evaluateOne(c, req)
	}
	pep, err := c.pep()
	if err != nil {
		return err
	}
	// All are given their place in the log before any is waited for: they share one commit.
	var pending []*pdp.Pending
	for _, q := range queries {
		if err := c.Context().Err(); err != nil {
			return err
		}
		p, err := a.o.PDP.Submit(q, pep)
		if err != nil {
			return err
		}
		pending = append(pending, p)
		if semantic == denyOnFirstDeny && !p.Allowed() || semantic == permitOnFirstPermit && p.Allowed() {
			break
		}
	}
	answers := make([]*aver.Answer, len(pending))
	bodies := make([]json.RawMessage, len(pending))
	for i, p := range pending {
		if answers[i], err = p.Wait(c.Context()); err != nil {
			return err
		}
		a.sayWhereToAsk(c, answers[i])
		bodies[i] = answers[i].JSON()
		if bad := queries[i].Err(); bad != nil {
			if bodies[i], err = withError(bodies[i], fmt.Sprintf("/evaluations/%d%v", i, bad)); err != nil {
				return err
			}
		}
	}
	a.metrics.released(time.Since(c.start), answers...)
	c.notes = append(c.notes, "evaluations", len(answers))
	return c.writeJSON(http.StatusOK, map[string]any{"evaluations": bodies})
}

// inherited are the members of a batch that stand in for those that an item lacks.
var inherited = [...]string{"subject", "action", "resource", "context"}

// maxSpread bounds what the items of a batch take over, each for itself, as a multiple of the largest body: each is
// evaluated and recorded, so that a thousand items could make a gigabyte of a megabyte.
const maxSpread = 16

// parseBatch reads the evaluations of a batch: each member of an item stands in for the whole member of the same name
// beside them (section 7.1.1), and null stands for a member that is not sent. A member of the wrong type makes the whole
// batch invalid; a missing one is for its item alone.
func (a *API) parseBatch(c *call, object map[string]any) (queries []*pdp.Query, semantic string, err error) {
	if _, err := aver.ParseRequest(object); err != nil {
		return nil, "", err
	}
	if semantic, err = parseSemantic(object["options"]); err != nil {
		return nil, "", err
	}
	items, ok := object["evaluations"].([]any)
	switch {
	case !ok && object["evaluations"] != nil:
		return nil, "", &aver.RequestError{Pointer: "/evaluations", Reason: "must be a list"}
	case len(items) > a.o.MaxBatch:
		return nil, "", &aver.RequestError{Pointer: "/evaluations", Reason: fmt.Sprintf("has more than %d entries; split the request", a.o.MaxBatch)}
	}
	var shared [4]int64 // how large the members are that items can take over, in bytes
	for i, name := range inherited {
		shared[i] = int64(len(aver.AppendCanonical(nil, object[name])))
	}
	spread := int64(0)
	for i, item := range items {
		at := "/evaluations/" + strconv.Itoa(i)
		own, ok := item.(map[string]any)
		if !ok {
			return nil, "", &aver.RequestError{Pointer: at, Reason: "must be an object"}
		}
		merged := maps.Clone(own)
		for k, name := range inherited {
			if merged[name] == nil {
				merged[name] = object[name]
				spread += shared[k]
			}
		}
		if most := maxSpread * a.o.MaxBody; spread > most {
			return nil, "", &aver.RequestError{Pointer: at, Reason: fmt.Sprintf(
				"with what the evaluations take over from beside them, they are larger than %d bytes in all; split the request", most)}
		}
		req, err := aver.ParseRequest(merged)
		if err != nil {
			if bad, ok := err.(*aver.RequestError); ok {
				return nil, "", &aver.RequestError{Pointer: at + bad.Pointer, Reason: bad.Reason}
			}
			return nil, "", err
		}
		a.takeToken(c, req)
		queries = append(queries, pdp.NewQuery(req))
	}
	return queries, semantic, nil
}

func parseSemantic(v any) (string, error) {
	if v == nil {
		return executeAll, nil
	}
	options, ok := v.(map[string]any)
	if !ok {
		return "", &aver.RequestError{Pointer: "/options", Reason: "must be an object"}
	}
	v, ok = options["evaluations_semantic"]
	if !ok || v == nil {
		return executeAll, nil
	}
	semantic, _ := v.(string)
	if !slices.Contains([]string{executeAll, denyOnFirstDeny, permitOnFirstPermit}, semantic) {
		return "", &aver.RequestError{Pointer: "/options/evaluations_semantic",
			Reason: "must be " + executeAll + ", " + denyOnFirstDeny + " or " + permitOnFirstPermit}
	}
	return semantic, nil
}

// withError adds the error of an item that could not be evaluated to its answer (section 7.2.1).
func withError(answer []byte, message string) ([]byte, error) {
	var a struct {
		Decision bool                       `json:"decision"`
		Context  map[string]json.RawMessage `json:"context"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, err
	}
	var err error
	a.Context["error"], err = json.Marshal(struct {
		Status  int    `json:"status"`
		Message string `json:"message"`
	}{http.StatusBadRequest, message})
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// baseURL is the URL by which callers reach the server.
func (a *API) baseURL(c *call) string {
	base := strings.TrimSuffix(a.o.ExternalURL, "/")
	if base == "" {
		u := url.URL{Scheme: "http", Host: c.Host}
		if c.TLS != nil {
			u.Scheme = "https"
		}
		base = u.String()
	}
	return base
}

// metadata is AuthZEN's PDP metadata (section 9). It names only what there is.
func (a *API) metadata(c *call) error {
	base := a.baseURL(c)
	return c.writeJSON(http.StatusOK, struct {
		PDP         string `json:"policy_decision_point"`
		Evaluation  string `json:"access_evaluation_endpoint"`
		Evaluations string `json:"access_evaluations_endpoint"`
		Subjects    string `json:"search_subject_endpoint"`
		Resources   string `json:"search_resource_endpoint"`
		Actions     string `json:"search_action_endpoint"`
		Requests    string `json:"access_request_endpoint"`

		Capabilities []string `json:"capabilities"`
	}{base, base + evaluationPath, base + evaluationsPath,
		base + searchSubjectPath, base + searchResourcePath, base + searchActionPath, base + accessRequestsPath,
		[]string{"urn:openid:authzen:capability:access-request"}})
}
