package aver

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// sampleActivities are by what they show.
func sampleActivities() map[string]*Activity {
	lapsed := &Activity{
		ID: "0193a1b2-c3d4-7e5f-8a6b-0000000000a2", Kind: KindActivity, Time: at("2026-11-24T07:38:49.123Z"), Semantics: Semantics,
		Authority:    TreeHead{Size: 45, Root: hashOf("authority 45")},
		PEP:          PEP{Credential: "erp-gateway", Instance: "erp-7f6d", RequestID: "run-77", Sequence: 1042},
		EvaluationID: "0193a1b2-c3d4-7e5f-8a6b-000000000001", Decision: event(1208), Previous: event(1209), Status: ActivityCompleted,
		EventTime: at("2026-11-24T07:37:45.000Z"), Parameters: Digest([]byte("another request")), Result: "settled",
		Obligations: []string{"payments/notify"}, TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Report: Digest([]byte("report")), Key: Digest([]byte("key")),
		Findings: []Finding{
			{Code: FindingParameters, Detail: "-MBUidk8Fz0P7I3PO6S0ByQ7PZzAqaN7uorHkac6hoI was decided"},
			{Code: FindingLate, Detail: "64123 ms"}, {Code: FindingUnknownDuty, Detail: "payments/notify"},
		},
		Continuity: &Continuity{
			State: Lapsed, Until: at("2026-11-24T07:37:45.000Z"),
			Lapse: &Lapse{
				At: at("2026-11-24T07:35:00.000Z"), Cause: LapseEvent, Event: event(43), Type: EventGrantRevoked, Outcome: Denied,
				Reasons: []Reason{{Code: ReasonGrantRevoked, Grant: "g-ap-ann", Detail: "2026-11-24T07:35:00.000Z"}}, RanOn: 165_000,
			},
		},
		Salt: "MTYgcmFuZG9tIGJ5dGVzMg",
	}
	orphan := &Activity{
		ID: "0193a1b2-c3d4-7e5f-8a6b-0000000000a3", Kind: KindActivity, Time: at("2026-11-24T07:40:00.000Z"), Semantics: Semantics,
		Authority: TreeHead{Size: 45, Root: hashOf("authority 45")}, PEP: PEP{Credential: "erp-gateway"},
		EvaluationID: "0193a1b2-c3d4-7e5f-8a6b-0000000000ff", Status: ActivityStarted, Report: Digest([]byte("report 2")),
		Findings: []Finding{{Code: FindingNoDecision}}, Salt: "MTYgcmFuZG9tIGJ5dGVzMw",
	}
	held := &Activity{
		ID: "0193a1b2-c3d4-7e5f-8a6b-0000000000a4", Kind: KindActivity, Time: at("2026-11-24T07:34:00.000Z"), Semantics: Semantics,
		Authority: TreeHead{Size: 44, Root: hashOf("authority 44")}, PEP: PEP{Credential: "erp-gateway"},
		EvaluationID: "0193a1b2-c3d4-7e5f-8a6b-000000000001", Decision: event(1208), Status: ActivityCompleted,
		Report:     Digest([]byte("report 3")),
		Continuity: &Continuity{State: Held, Until: at("2026-11-24T07:34:00.000Z"), Completing: []string{"g-ap-ann"}},
		Salt:       "MTYgcmFuZG9tIGJ5dGVzNA",
	}
	return map[string]*Activity{"lapsed": lapsed, "orphan": orphan, "held": held}
}

func TestParseActivityRefusesWhatIsNotCanonical(t *testing.T) {
	good := string(must(sampleActivities()["lapsed"].Canonical()))
	for name, text := range map[string]string{
		"another kind":      strings.Replace(good, `"kind":"activity"`, `"kind":"decision"`, 1),
		"a space":           strings.Replace(good, `,"kind"`, `, "kind"`, 1),
		"a member too many": strings.Replace(good, `"kind"`, `"extra":1,"kind"`, 1),
		"an empty member":   strings.Replace(good, `"result":"settled"`, `"result":""`, 1),
		"cut":               good[:len(good)-1],
	} {
		if text == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := ParseActivity([]byte(text)); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

// What was carried out is compared by a digest that a PEP can compute: that of
// the request, whatever the order of its members.
func TestActivityReportParameters(t *testing.T) {
	const a = `{"subject":{"type":"user","id":"ann"},"action":{"name":"pay"},"resource":{"id":"p","type":"payment","properties":{"n":1e2}}}`
	const b = `{"resource":{"type":"payment","properties":{"n":100},"id":"p"},"action":{"name":"pay"},"subject":{"id":"ann","type":"user"}}`
	digest := func(request, parameters string) string {
		r := ActivityReport{EvaluationID: sampleActivities()["held"].EvaluationID, Status: ActivityStarted, Parameters: parameters}
		if request != "" {
			r.Request = json.RawMessage(request)
		}
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		made, err := r.Activity(PEP{Credential: "c"})
		if err != nil {
			t.Fatal(err)
		}
		return made.Parameters
	}
	if digest(a, "") != digest(b, "") || digest(a, "") != digest("", digest(b, "")) || digest(a, digest(a, "")) == "" {
		t.Error("the same request has several digests")
	}
}

// Two reports are the same when they say the same for the same caller, however
// the parameters are sent; and a key belongs to one caller.
func TestActivityReportIdentity(t *testing.T) {
	id := sampleActivities()["held"].EvaluationID
	of := func(pep PEP, r ActivityReport) *Activity {
		r.EvaluationID = id
		a, err := r.Activity(pep)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	till := PEP{Credential: "till", Instance: "1", Sequence: 7}
	first := of(till, ActivityReport{Status: ActivityStarted, Key: "k"})
	if retry := of(PEP{Credential: "till", Instance: "1", Sequence: 8, RequestID: "again"}, ActivityReport{Status: ActivityStarted, Key: "k"}); retry.Report != first.Report || retry.Key != first.Key {
		t.Error("a retry is another report")
	}
	for name, other := range map[string]*Activity{
		"status":   of(till, ActivityReport{Status: ActivityFailed}),
		"result":   of(till, ActivityReport{Status: ActivityStarted, Result: "x"}),
		"time":     of(till, ActivityReport{Status: ActivityStarted, EventTime: 5}),
		"instance": of(PEP{Credential: "till", Instance: "2"}, ActivityReport{Status: ActivityStarted}),
		"caller":   of(PEP{Credential: "other", Instance: "1"}, ActivityReport{Status: ActivityStarted, Key: "k"}),
	} {
		if other.Report == first.Report || other.Key == first.Key {
			t.Errorf("another %s is the same report", name)
		}
	}
}

// FuzzActivity checks that what is taken as a report or as evidence is whole:
// it becomes an activity whose canonical form reads back.
func FuzzActivity(f *testing.F) {
	for _, a := range sampleActivities() {
		f.Add(must(a.Canonical()))
	}
	f.Add([]byte(`{"evaluation_id":"0193a1b2-c3d4-7e5f-8a6b-000000000001","status":"started","request":{"subject":{"type":"user","id":"a"}},"event_time":"2026-11-24T07:33:49Z"}`))
	f.Add([]byte(`{"evaluation_id":"0193a1b2-c3d4-7e5f-8a6b-000000000001","status":"completed","obligations":["a/b"],"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","idempotency_key":"k"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if a, err := ParseActivity(text); err == nil {
			again, err := a.Canonical()
			if err != nil || string(again) != string(text) {
				t.Fatalf("%q reads back as %q, %v", text, again, err)
			}
		}
		v, err := ParseJSON(text, Limits{})
		if err != nil {
			return
		}
		var r ActivityReport
		if json.Unmarshal(AppendCanonical(nil, v), &r) != nil {
			return
		}
		if err := r.Validate(); err != nil {
			var bad *RequestError
			if !errors.As(err, &bad) || !strings.HasPrefix(bad.Pointer, "/") {
				t.Fatalf("%q: %v does not say where", text, err)
			}
			return
		}
		a, err := r.Activity(PEP{Credential: "fuzz"})
		if err != nil {
			t.Fatalf("%q is valid, and makes no activity: %v", text, err)
		}
		payload, err := a.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseActivity(payload); err != nil {
			t.Fatalf("%q makes %s: %v", text, payload, err)
		}
	})
}
