package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

// submission is the body of an access request: one request that was denied, or a batch of them (ARAP Bulk).
type submission struct {
	items    []submitted
	batch    bool
	callback *aver.ApprovalCallback
	key      string // Idempotency-Key
	reason   string // why it is needed
}

// submitted is a request that was denied, and the decision.
type submitted struct {
	request *aver.Request
	record  *aver.Record
}

// justification is the member of the context that ARAP's examples add when access is asked for.
const justification = "business_justification"

// readSubmission reads an access request, and finds the decisions that it is about.
func (a *API) readSubmission(c *call) (*submission, error) {
	body, err := a.readObject(c)
	if err != nil {
		return nil, err
	}
	sub := &submission{key: c.Header.Get("Idempotency-Key")}
	if sub.reason, err = text(body, "", "reason"); err != nil {
		return nil, err
	}
	if sub.callback, err = a.readCallback(c, body["callback"]); err != nil {
		return nil, err
	}
	if body["items"] == nil {
		item, why, err := a.readItem(c, "", body, body["denial"])
		if err != nil {
			return nil, err
		}
		sub.items = []submitted{*item}
		sub.explain(why)
		return sub, nil
	}
	list, ok := body["items"].([]any)
	switch {
	case !ok || len(list) == 0 || len(list) > aver.MaxBatch:
		return nil, &aver.RequestError{Pointer: "/items", Reason: fmt.Sprintf("must be a list of 1 to %d items", aver.MaxBatch)}
	case body["resource"] != nil || body["action"] != nil:
		return nil, &aver.RequestError{Pointer: "/items", Reason: "resource and action stand in each item, not beside them"}
	}
	sub.batch = true
	seen := map[string]bool{}
	for i, v := range list {
		pointer := fmt.Sprintf("/items/%d", i)
		item, ok := v.(map[string]any)
		if !ok {
			return nil, &aver.RequestError{Pointer: pointer, Reason: "must be an object"}
		}
		if item["denial"] == nil { // Aver makes a decision for each item, so none covers several
			return nil, arap(http.StatusBadRequest, "invalid_denial_binding", "item %d has no denial: send with each the evaluation_id of its own decision", i)
		}
		whole := map[string]any{"subject": body["subject"], "resource": item["resource"], "action": item["action"]}
		if body["context"] != nil {
			whole["context"] = body["context"]
		}
		read, why, err := a.readItem(c, pointer, whole, item["denial"])
		if err != nil {
			return nil, err
		}
		if seen[read.record.ID] {
			return nil, &aver.RequestError{Pointer: pointer + "/denial", Reason: "another item is about the same decision"}
		}
		seen[read.record.ID] = true
		sub.items = append(sub.items, *read)
		sub.explain(why)
	}
	return sub, nil
}

// explain takes a justification for the reason, if there is none.
func (s *submission) explain(why string) {
	if s.reason == "" {
		s.reason = why
	}
}

// text is a member that is a string, "" if it is not there. Pointer is where the object stands.
func text(object map[string]any, pointer, name string) (string, error) {
	s, ok := object[name].(string)
	if !ok && object[name] != nil {
		return "", &aver.RequestError{Pointer: pointer + "/" + name, Reason: "must be a string"}
	}
	return s, nil
}

// readItem reads a request that was denied, and the justification that was added to its context, if one was.
func (a *API) readItem(c *call, pointer string, whole map[string]any, denial any) (*submitted, string, error) {
	req, err := aver.ParseRequest(whole)
	if err == nil {
		err = req.Validate()
	}
	if err != nil {
		var wrong *aver.RequestError
		if errors.As(err, &wrong) {
			return nil, "", &aver.RequestError{Pointer: pointer + wrong.Pointer, Reason: wrong.Reason}
		}
		return nil, "", err
	}
	record, err := a.denied(c, pointer, denial)
	if err != nil {
		return nil, "", err
	}
	req.Token = record.Token // as it was verified then: the token is not shown again
	why, added := req.Context[justification].(string)
	if added && record.Full != req.Digest() {
		req.Context = maps.Clone(req.Context)
		if delete(req.Context, justification); len(req.Context) == 0 && whole["context"] != nil {
			without := *req
			without.Context = nil
			if record.Full == without.Digest() {
				req = &without
			}
		}
	}
	return &submitted{req, record}, why, nil
}

// denied returns the record of the decision that a denial object names, whose approval the caller may still ask for.
func (a *API) denied(c *call, pointer string, denial any) (*aver.Record, error) {
	object, _ := denial.(map[string]any)
	evaluation, _ := object["evaluation_id"].(string)
	if object["binding_token"] != nil {
		return nil, arap(http.StatusBadRequest, "invalid_denial_binding", "Aver gives no binding_token, so this one is not from it: send the evaluation_id, which it knows")
	}
	if evaluation == "" {
		return nil, &aver.RequestError{Pointer: pointer + "/denial/evaluation_id", Reason: "is required: the evaluation_id of the decision that escalated"}
	}
	index, err := a.o.FindDecision(evaluation)
	if errors.Is(err, pdp.ErrNotFound) {
		return nil, arap(http.StatusBadRequest, "invalid_denial_binding", "there is no decision %q", evaluation)
	}
	if err != nil {
		return nil, err
	}
	_, payload, err := a.o.Decisions.Entry(index)
	if err != nil {
		return nil, err
	}
	record, err := aver.ParseRecord(payload)
	if err != nil {
		return nil, err
	}
	switch {
	case c.caller.role == aver.RolePEP && record.PEP.Credential != c.caller.name:
		return nil, arap(http.StatusBadRequest, "invalid_denial_binding", "decision %s was not made for %s", evaluation, c.caller.name)
	case a.now() > record.Time+aver.RequestableFor:
		return nil, arap(http.StatusGone, "expired_denial", "decision %s is older than an hour: ask for a decision again", evaluation)
	}
	// What is echoed must be what was answered.
	for _, echoed := range []struct {
		name string
		want aver.Time
	}{{"evaluated_at", record.Time}, {"expires_at", record.Time + aver.RequestableFor}} {
		if object[echoed.name] == nil {
			continue
		}
		s, _ := object[echoed.name].(string)
		if got, err := aver.ParseTime(s); err != nil || got != echoed.want {
			return nil, arap(http.StatusBadRequest, "invalid_denial_binding", "%s of the denial is not that of decision %s, %s", echoed.name, evaluation, echoed.want)
		}
	}
	return record, nil
}

// readCallback reads the callback of an access request (ARAP Callback). Its endpoint must be registered for the caller.
func (a *API) readCallback(c *call, v any) (*aver.ApprovalCallback, error) {
	if v == nil {
		return nil, nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, &aver.RequestError{Pointer: "/callback", Reason: "must be an object"}
	}
	out := &aver.ApprovalCallback{}
	var err error
	if out.Endpoint, err = text(object, "/callback", "endpoint"); err != nil {
		return nil, err
	}
	if out.State, err = text(object, "/callback", "state"); err != nil {
		return nil, err
	}
	if object["events"] != nil {
		list, ok := object["events"].([]any)
		if !ok {
			return nil, &aver.RequestError{Pointer: "/callback/events", Reason: "must be a list of strings"}
		}
		for _, e := range list {
			name, _ := e.(string)
			out.Events = append(out.Events, name)
		}
	}
	if err := out.Validate(); err != nil {
		return nil, &aver.RequestError{Pointer: "/callback", Reason: err.Error()}
	}
	if !a.o.Webhooks.AllowsCallback(c.caller.name, out.Endpoint) {
		return nil, &aver.RequestError{Pointer: "/callback/endpoint", Reason: "is not registered for this credential: the server's webhooks.yaml lists what is, under callbacks; or look at status_endpoint"}
	}
	return out, nil
}
