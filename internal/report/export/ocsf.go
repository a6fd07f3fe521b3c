package export

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
)

// ocsfVersion is the version of the Open Cybersecurity Schema Framework that events are written in.
const ocsfVersion = "1.8.0"

// object is a JSON object of OCSF or OSCAL. Members that are empty are left out by set.
type object map[string]any

// set sets a member unless its value is empty.
func (o object) set(name string, v any) object {
	switch x := v.(type) {
	case string:
		if x == "" {
			return o
		}
	case object:
		if len(x) == 0 {
			return o
		}
	case []object:
		if len(x) == 0 {
			return o
		}
	case []string:
		if len(x) == 0 {
			return o
		}
	case nil:
		return o
	}
	o[name] = v
	return o
}

func (s *Source) writeOCSF(ctx context.Context, w io.Writer, t Table, from, end uint64) (rows int, err error) {
	buffered := bufio.NewWriterSize(w, 64<<10)
	out := json.NewEncoder(buffered)
	out.SetEscapeHTML(false)
	write := func(event object) error {
		rows++
		return out.Encode(event)
	}
	switch t {
	case Decisions:
		err = eachOCSF(ctx, s.Decisions, from, end, s.ocsfEntry, write)
	case Events:
		err = eachOCSF(ctx, s.Authority, from, end, s.ocsfEvent, write)
	case Findings:
		if s.Findings == nil {
			break
		}
		findings, errFindings := s.Findings(ctx)
		if err = errFindings; err != nil {
			break
		}
		for _, f := range findings {
			if err = write(s.ocsfFinding(&f, true)); err != nil {
				break
			}
		}
	default:
		err = fmt.Errorf("OCSF has no table %s", t)
	}
	if err == nil {
		err = buffered.Flush()
	}
	return rows, err
}

func eachOCSF(ctx context.Context, log Log, from, end uint64, event func(ledger.Indexed) (object, error), write func(object) error) error {
	for e, err := range log.Entries(from, end) {
		if err == nil {
			err = ctx.Err()
		}
		var o object
		if err == nil {
			o, err = event(e)
		}
		if err == nil {
			err = write(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// base is what all events have. The type of an event is its class and activity in one number.
func base(class, category int, className, categoryName string, activity int, activityName string, severity int) object {
	return object{
		"class_uid": class, "class_name": className, "category_uid": category, "category_name": categoryName,
		"activity_id": activity, "activity_name": activityName, "type_uid": class*100 + activity, "type_name": className + ": " + activityName,
		"severity_id": severity, "severity": severityNames[severity],
	}
}

var severityNames = map[int]string{1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}

func (s *Source) product() object {
	return object{"name": "Aver", "vendor_name": "Aver"}.set("version", s.Version)
}

// metadata says where an event comes from: the log, and the index in it.
func (s *Source) metadata(uid, log string, index uint64, profiles ...string) object {
	m := object{"version": ocsfVersion, "product": s.product(), "uid": uid, "log_name": log, "sequence": index}
	return m.set("profiles", profiles)
}

// evidence names the entry in the log that an event was made from.
func evidence(hash tlog.Hash, leaf *aver.Leaf, index uint64) object {
	return object{"index": index, "leaf_hash": hash.String(), "payload_sha256": leaf.Payload}
}

// user is a party as OCSF has it.
func user(r aver.Ref, kind aver.Kind) object {
	o := object{"uid": r.ID, "name": r.ID, "domain": r.Type}
	switch kind {
	case aver.HumanUser:
		o["type_id"], o["type"] = 1, "User"
	case aver.ServiceAccount, aver.Application, aver.Workload, aver.APIClient:
		o["type_id"], o["type"] = 4, "Service"
	case aver.AIAgent:
		o["type_id"], o["type"] = 99, string(kind)
	default:
		o["type_id"], o["type"] = 0, "Unknown"
	}
	return o
}

// crud sorts actions into the activities of API Activity by the words they are commonly made of.
var crud = []struct {
	id    int
	name  string
	words []string
}{
	{1, "Create", []string{"create", "add", "insert", "issue", "register", "request", "start", "open", "submit", "place"}},
	{2, "Read", []string{"read", "get", "list", "view", "search", "export", "download", "query"}},
	{3, "Update", []string{"update", "modify", "change", "write", "set", "put", "edit", "approve", "rotate", "assign"}},
	{4, "Delete", []string{"delete", "remove", "revoke", "erase", "purge", "close"}},
}

// activityOf is the activity of an action: by the last of its words that says one, else 99 (Other) with its own name.
func activityOf(action string) (id int, name string) {
	words := strings.FieldsFunc(strings.ToLower(action), func(r rune) bool { return r < 'a' || r > 'z' })
	for i := len(words) - 1; i >= 0; i-- {
		for _, c := range crud {
			if slices.Contains(c.words, words[i]) {
				return c.id, c.name
			}
		}
	}
	if action == "" {
		return 0, "Unknown"
	}
	return 99, action
}

// control says an outcome in the words of the profile Security Control.
func (o object) control(outcome aver.Outcome) {
	o["action_id"], o["action"] = 2, "Denied"
	if outcome.Allowed() {
		o["action_id"], o["action"] = 1, "Allowed"
	}
	switch outcome {
	case aver.Permitted:
		o["disposition_id"], o["disposition"] = 1, "Allowed"
	case aver.Denied:
		o["disposition_id"], o["disposition"] = 2, "Blocked"
	case aver.Challenged:
		o["disposition_id"], o["disposition"] = 23, "Challenge"
	default:
		o["disposition_id"], o["disposition"] = 99, outcome.String()
	}
}

// ocsfEntry is a decision or an activity as API Activity (6003).
func (s *Source) ocsfEntry(e ledger.Indexed) (object, error) {
	p, err := s.parse(e)
	if err != nil {
		return nil, err
	}
	if p.leaf.Kind == aver.KindActivity {
		return s.ocsfActivity(p), nil
	}
	outcome := aver.Denied
	if p.leaf.Outcome != nil {
		outcome = *p.leaf.Outcome
	}
	severity := 1
	if !outcome.Allowed() {
		severity = 2
	}
	action := ""
	if p.request != nil {
		action = p.request.Action.Name
	}
	activity, activityName := activityOf(action)
	o := s.apiActivity(p, activity, activityName, severity, "security_control")
	o.control(outcome)
	o["is_alert"] = false
	o["status_id"], o["status"] = 1, "Success"
	if !outcome.Allowed() {
		o["status_id"], o["status"] = 2, "Failure"
	}
	ours := object{"outcome": outcome.String(), "evidence": evidence(p.hash, &p.leaf, p.index)}
	o["unmapped"] = object{"aver": ours}
	r := p.record
	if r == nil { // nothing but the leaf is left
		ours["erased"] = true
		o["api"] = object{"operation": "unknown"}
		o["actor"] = object{"app_name": "unknown"}
		o["src_endpoint"] = object{"name": "unknown"}
		o["message"] = "A decision whose record was erased: " + outcome.String()
		return o, nil
	}
	c := cite(&r.Decision)
	api := object{"operation": action, "service": object{"name": p.request.Resource.Type}}
	if tool := p.request.Tool(); tool != "" {
		api["service"] = object{"name": tool}
	}
	api.set("request", object{}.set("uid", r.PEP.RequestID))
	o["api"] = api
	actor := object{"user": user(r.Decision.Actor.Ref, r.Decision.Actor.Kind), "app_name": r.PEP.Credential}
	actor.set("app_uid", r.PEP.Instance)
	o["actor"] = actor
	o["src_endpoint"] = object{"name": r.PEP.Credential, "svc_name": r.PEP.Credential}.set("instance_uid", r.PEP.Instance)
	o["resources"] = []object{{"uid": p.request.Resource.ID, "name": p.request.Resource.ID, "type": p.request.Resource.Type}}
	if len(c.policies) > 0 {
		o["policy"] = object{"uid": c.policies[0], "name": c.policies[0], "version": r.Policies}
	}
	o.set("authorizations", authorizations(r, c))
	if len(c.reasons) > 0 {
		o["status_code"] = c.reasons[0]
		o["status_detail"] = join(c.reasons)
	}
	if origin := originOf(p); !origin.IsZero() {
		ours["on_behalf_of"] = object{"type": origin.Type, "id": origin.ID}
	}
	ours.set("grants", c.grants).set("exceptions", c.exceptions).set("obligations", c.obligations).set("policies", c.policies)
	ours.set("approval", p.request.Approval())
	ours["authority"] = object{"size": r.Authority.Size, "root": r.Authority.Root}
	ours["request"] = json.RawMessage(p.text)
	o["message"] = fmt.Sprintf("%s %s %s on %s", r.Decision.Actor.Ref, outcome, action, p.request.Resource.Ref)
	return o, nil
}

func authorizations(r *aver.Record, c cited) (out []object) {
	decision := "Denied"
	if r.Decision.Outcome.Allowed() {
		decision = "Authorized"
	}
	for _, p := range c.policies {
		out = append(out, object{"decision": decision, "policy": object{"uid": p, "name": p, "version": r.Policies}})
	}
	return out
}

func (s *Source) apiActivity(p *parsed, activity int, name string, severity int, profiles ...string) object {
	o := base(6003, 6, "API Activity", "Application Activity", activity, name, severity)
	o["time"] = int64(p.leaf.Time)
	o["metadata"] = s.metadata(p.leaf.ID, s.Decisions.Origin(), p.index, profiles...)
	return o
}

func (s *Source) ocsfActivity(p *parsed) object {
	o := s.apiActivity(p, 99, "Activity "+p.leaf.Type, 1)
	ours := object{"status": p.leaf.Type, "evidence": evidence(p.hash, &p.leaf, p.index)}
	o["unmapped"] = object{"aver": ours}
	o["status_id"], o["status"] = 99, p.leaf.Type
	switch aver.ActivityStatus(p.leaf.Type) {
	case aver.ActivityCompleted:
		o["status_id"], o["status"] = 1, "Success"
	case aver.ActivityFailed:
		o["status_id"], o["status"] = 2, "Failure"
	}
	o["api"] = object{"operation": "activity." + p.leaf.Type}
	a := p.activity
	if a == nil {
		ours["erased"] = true
		o["actor"], o["src_endpoint"] = object{"app_name": "unknown"}, object{"name": "unknown"}
		o["message"] = "An activity whose record was erased: " + p.leaf.Type
		return o
	}
	o["actor"] = object{"app_name": a.PEP.Credential}.set("app_uid", a.PEP.Instance)
	o["src_endpoint"] = object{"name": a.PEP.Credential, "svc_name": a.PEP.Credential}.set("instance_uid", a.PEP.Instance)
	o["metadata"].(object)["correlation_uid"] = a.EvaluationID
	o["time"] = int64(a.Happened())
	o.set("status_detail", a.Result)
	if len(a.Findings) > 0 {
		o["severity_id"], o["severity"] = 3, severityNames[3]
		var findings []object
		for _, f := range a.Findings {
			findings = append(findings, object{"code": string(f.Code)}.set("detail", f.Detail))
		}
		ours["findings"] = findings
	}
	ours["evaluation_id"] = a.EvaluationID
	if a.Continuity != nil {
		ours["continuity"] = string(a.Continuity.State)
	}
	ours.set("traceparent", a.TraceParent)
	o["message"] = fmt.Sprintf("%s: what decision %s allowed", p.leaf.Type, a.EvaluationID)
	return o
}

// management are the activities of Entity Management by the verb of an event; others are 99 (Other).
var management = map[string]struct {
	id   int
	name string
}{
	"published": {1, "Create"}, "registered": {1, "Create"}, "issued": {1, "Create"}, "requested": {1, "Create"}, "fixed": {1, "Create"}, "drawn": {1, "Create"},
	"placed": {1, "Create"}, "delegated": {1, "Create"}, "received": {1, "Create"}, "recorded": {1, "Create"}, "opened": {1, "Create"},
	"updated": {3, "Update"}, "put": {3, "Update"}, "set": {3, "Update"}, "approved": {3, "Update"}, "granted": {3, "Update"}, "refused": {3, "Update"},
	"rejected": {3, "Update"}, "reviewed": {3, "Update"}, "accepted": {3, "Update"},
	"removed": {4, "Delete"}, "revoked": {4, "Delete"}, "retired": {4, "Delete"}, "erased": {4, "Delete"},
	"enrolled": {6, "Enroll"}, "activated": {10, "Activate"}, "closed": {11, "Deactivate"}, "cancelled": {11, "Deactivate"}, "released": {11, "Deactivate"},
	"suspended": {12, "Suspend"}, "resumed": {13, "Resume"},
}

// ocsfEvent is a change of the authority as Entity Management (3004).
func (s *Source) ocsfEvent(e ledger.Indexed) (object, error) {
	ev, err := authority.ParseEntry(e.Leaf, e.Payload)
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", e.Index, err)
	}
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", e.Index, err)
	}
	noun, verb, _ := strings.Cut(string(ev.Type), ".")
	activity, ok := management[verb]
	if !ok {
		activity.id, activity.name = 99, verb
	}
	o := base(3004, 3, "Entity Management", "Identity & Access Management", activity.id, activity.name, 1)
	o["time"] = int64(ev.Time)
	o["metadata"] = s.metadata(ev.ID, s.Authority.Origin(), e.Index).set("correlation_uid", ev.Decision).set("event_code", string(ev.Type))
	o["status_id"], o["status"] = 1, "Success"
	who := object{"user": user(ev.By.Principal(), kindOf(&ev.By)), "app_name": ev.By.Name}
	o["actor"] = who
	o.set("comment", ev.Reason)
	entity := object{"type": noun}
	var named struct {
		ID     any    `json:"id"`
		Type   string `json:"type"`
		Name   any    `json:"name"`
		Digest string `json:"digest"`
	}
	if err := json.Unmarshal(ev.Data, &named); err != nil {
		return nil, fmt.Errorf("event %d: %w", e.Index, err)
	}
	id, _ := named.ID.(string)
	name, _ := named.Name.(string)
	if id == "" {
		id = name
	}
	if id == "" {
		id = ev.ID
	}
	if named.Type != "" {
		entity["type"] = noun + "/" + named.Type
	}
	entity["uid"] = id
	entity.set("name", name)
	if noun == "policy" {
		entity.set("version", named.Digest) // its text stands in the log
	} else if noun != "credential" && noun != "signal" {
		entity["data"] = ev.Data
	}
	o["entity"] = entity
	o["unmapped"] = object{"aver": object{"type": string(ev.Type), "method": ev.By.Method, "evidence": evidence(tlog.RecordHash(e.Leaf), &leaf, e.Index)}}
	o["message"] = fmt.Sprintf("%s: %s %s", ev.By.Name, ev.Type, id)
	return o, nil
}

// kindOf is what is known of who made a change: a person, if the credential belongs to one.
func kindOf(by *aver.By) aver.Kind {
	if by.Subject.Type == "user" {
		return aver.HumanUser
	}
	return aver.KindUnknown
}

// ocsfFinding is a control gap as IAM Analysis Finding (2008). Fresh says that it was not exported before.
func (s *Source) ocsfFinding(f *aver.GapFinding, fresh bool) object {
	severity := map[aver.Severity]int{aver.SeverityLow: 2, aver.SeverityMedium: 3, aver.SeverityHigh: 4, aver.SeverityCritical: 5}[f.Severity]
	activity, name := 2, "Update"
	switch {
	case f.State == aver.GapClosed:
		activity, name = 3, "Close"
	case fresh:
		activity, name = 1, "Create"
	}
	o := base(2008, 2, "IAM Analysis Finding", "Findings", activity, name, severity)
	o["time"] = int64(s.Now)
	o["metadata"] = object{"version": ocsfVersion, "product": s.product(), "log_name": s.Decisions.Origin()}
	o["status_id"], o["status"] = 1, "New"
	switch f.State {
	case aver.GapAccepted:
		o["status_id"], o["status"] = 3, "Suppressed"
	case aver.GapClosed:
		o["status_id"], o["status"] = 4, "Resolved"
	}
	info := object{
		"uid": f.ID, "title": f.Text, "types": []string{f.Gap, f.Rule}, "first_seen_time": int64(f.FirstSeen), "last_seen_time": int64(f.LastSeen),
		"analytic": object{"uid": f.Rule, "name": f.Rule, "type_id": 1, "type": "Rule"},
	}
	info.set("desc", strings.Join(f.Details, "; "))
	o["finding_info"] = info
	o["start_time"], o["end_time"] = int64(f.FirstSeen), int64(f.LastSeen)
	if !f.Subject.Ref.IsZero() {
		o["user"] = user(f.Subject.Ref, aver.KindUnknown)
	}
	o["resources"] = []object{{"uid": f.Subject.ID, "name": f.Subject.ID, "type": f.Subject.Kind}}
	// One of three analysis results has to be there; what a gap is about is what an identity may do.
	result := object{"policy": object{"uid": f.Rule, "name": f.Gap + "/" + f.Rule}}
	if f.Proposal != nil && f.Proposal.Grant != nil {
		result["granted_privileges"] = f.Proposal.Grant.Actions
	}
	o["permission_analysis_results"] = []object{result}
	if f.Proposal != nil {
		o["remediation"] = object{"desc": f.Proposal.Text}
	}
	o["unmapped"] = object{"aver": object{"finding": f}}
	o["message"] = f.Text
	return o
}
