package aver

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

// Each event type has the Go type that its comment names.
var dataTypes = map[EventType]any{
	EventPolicyPublished: &PolicyPublished{}, EventPolicyActivated: &PolicyRef{}, EventPolicyRetired: &PolicyRef{},
	EventIdentityRegistered: &Identity{}, EventIdentityUpdated: &Identity{}, EventIdentitySuspended: &Ref{},
	EventIdentityResumed: &Ref{}, EventIdentityRetired: &Ref{}, EventEntityPut: &Entity{}, EventEntityRemoved: &Ref{},
	EventGrantIssued: &Grant{}, EventGrantRevoked: &GrantRef{}, EventCredentialIssued: &Credential{}, EventCredentialRevoked: &CredentialRef{},
	EventApprovalRequested: &ApprovalRequest{}, EventApprovalGranted: &ApprovalVote{}, EventApprovalRefused: &ApprovalVote{}, EventApprovalCancelled: &ApprovalRef{},
	EventExceptionRequested: &ExceptionRequest{}, EventExceptionApproved: &ExceptionVote{}, EventExceptionRejected: &ExceptionVote{},
	EventExceptionActivated: &ExceptionRef{}, EventExceptionClosed: &ExceptionRef{}, EventExceptionReviewed: &ExceptionReview{},
	EventSignalReceived: &Signal{},
	EventGapAccepted:    &GapAcceptance{}, EventGapClosed: &GapClosing{},
	EventDutyDelegated: &DutyDelegation{}, EventDutyRevoked: &DutyRef{},
	EventPopulationFixed: &Population{}, EventSampleDrawn: &SampleDrawn{},
	EventReviewOpened: &ReviewOpened{}, EventReviewDecided: &ReviewDecided{}, EventReviewAcknowledged: &ReviewAcknowledged{},
	EventReviewClosed: &ReviewRef{}, EventReviewRecorded: &ReviewRecorded{},
	EventRetentionSet: &RetentionRule{}, EventRetentionApproved: &RetentionApproval{}, EventHoldPlaced: &LegalHold{}, EventHoldReleased: &HoldRef{},
	EventErasureRequested: &ErasureRequest{}, EventErasureApproved: &ErasureRef{}, EventErasureRefused: &ErasureRef{},
	EventPayloadErased: &ErasedEvidence{}, EventDisclosureErased: &ErasedEvidence{}, EventErasureCompleted: &ErasedRef{},
}

func TestEventDataReadsBack(t *testing.T) {
	for _, e := range sampleEvents() {
		into := reflect.New(reflect.TypeOf(dataTypes[e.Type]).Elem()).Interface()
		if err := e.DecodeData(into); err != nil {
			t.Error(err)
			continue
		}
		again, err := NewEvent(e.Type, into)
		if err != nil || string(again.Data) != string(e.Data) || again.Kind != "event" || again.Type != e.Type {
			t.Errorf("%s: %v\n got %s\nwant %s", e.Type, err, again.Data, e.Data)
		}
	}
}

func TestSampleIdentitiesAndGrantsAreValid(t *testing.T) {
	for _, e := range sampleEvents() {
		into := reflect.New(reflect.TypeOf(dataTypes[e.Type]).Elem()).Interface()
		if v, ok := into.(interface{ Validate() error }); ok {
			if err := e.DecodeData(into); err != nil {
				t.Fatal(err)
			}
			if err := v.Validate(); err != nil {
				t.Errorf("%s: %v", e.Type, err)
			}
		}
	}
}

func TestDecodeDataRefuses(t *testing.T) {
	for _, c := range []struct {
		data string
		into any
		want string
	}{
		{`{"id":"g","extra":1}`, &GrantRef{}, `unknown field "extra"`},
		{`{"id":7}`, &GrantRef{}, "cannot unmarshal number"},
		{`[]`, &GrantRef{}, "cannot unmarshal array"},
		{``, &GrantRef{}, "EOF"},
		{`{"id":"a","properties":{"x":1.5},"type":"t"}`, &Entity{}, "not a whole number"},
		{`{"name":"n","role":"pep","digest":"d","expires":"tomorrow"}`, &Credential{}, "is not a time"},
	} {
		e := Event{ID: "e-1", Type: EventGrantRevoked, Data: []byte(c.data)}
		err := e.DecodeData(c.into)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "event e-1 (grant.revoked)") {
			t.Errorf("%s: %v, want %q", c.data, err, c.want)
		}
	}
}

func TestNewEventRefuses(t *testing.T) {
	for _, data := range []any{
		map[string]any{"a": 1.5},
		map[string]any{"a": 1, "A": 2},
		map[string]any{"a": uint64(1 << 53)},
		map[string]any{"a": math.NaN()},
		make(chan int),
	} {
		if e, err := NewEvent(EventEntityPut, data); err == nil || !strings.HasPrefix(err.Error(), "event entity.put: ") {
			t.Errorf("%v: %s, %v", data, e.Data, err)
		}
	}
}

func TestParseEventRefuses(t *testing.T) {
	var good string
	for _, e := range sampleEvents() {
		if e.Type == EventEntityPut {
			good = string(must(e.Canonical()))
		}
	}
	if _, err := ParseEvent([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"space", `{"by"`, `{ "by"`, "canonical"},
		{"trailing line feed", `"type":"entity.put"}`, "\"type\":\"entity.put\"}\n", "canonical"},
		{"trailing text", `"type":"entity.put"}`, `"type":"entity.put"}{}`, "canonical"},
		{"member order in the data", `"class":"confidential","closed":false`, `"closed":false,"class":"confidential"`, "canonical"},
		{"member of the data twice", `"closed":false`, `"closed":true,"closed":false`, "stands twice"},
		{"case variant in the data", `"closed":false`, `"CLASS":"x","closed":false`, "differ only in case"},
		{"fraction in the data", `"closed":false`, `"closed":0.5`, "not a whole number"},
		{"unknown member", `"kind":`, `"king":1,"kind":`, `unknown field "king"`},
		{"member in another case", `"kind":`, `"Kind":`, "canonical"},
		{"empty reason", `"kind":"event",`, `"kind":"event","reason":"",`, "canonical"},
		{"no data", `"data":`, `"Data":`, "canonical"},
		{"a decision", `"kind":"event"`, `"kind":"decision"`, `kind "decision" is not known to this version`},
		{"invalid UTF-8", `confidential`, "\xff", "not valid UTF-8"},
		{"cut short", `"type":"entity.put"}`, `"type":"entity.put"`, "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(good, c.old) != 1 {
				t.Fatalf("%q does not stand once in %s", c.old, good)
			}
			bad := strings.Replace(good, c.old, c.new, 1)
			if e, err := ParseEvent([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "event: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v; want an error with %q", e, err, c.want)
			}
		})
	}
}

func TestCanonicalJSONHoldsABundleOfPolicies(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		files[name+".cedar"] = strings.Repeat("// policies <&>\n", 100_000)
	}
	e, err := NewEvent(EventPolicyPublished, PolicyPublished{Name: "large", Files: files})
	if err != nil {
		t.Fatal(err)
	}
	var back PolicyPublished
	if err := e.DecodeData(&back); err != nil || !reflect.DeepEqual(back.Files, files) {
		t.Errorf("the files read back otherwise: %v", err)
	}
}
