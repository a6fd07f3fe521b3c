package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver"
)

const (
	idp  = "https://login.example.com"
	caep = "https://schemas.openid.net/secevent/caep/event-type/"
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
)

// transmitting is a verifier with a transmitter whose keys are there already, and what signs as it does.
func transmitting(t testing.TB) (*Verifier, func(claims any) string) {
	c, err := parseConfig([]byte(`issuers:
  - issuer: "`+idp+`"
    subject: {type: user, prefix: "u-"}
    signals: {audience: aver, email: {type: user}, others: ["https://partner.example.com"]}
  - issuer: "https://partner.example.com"
    subject: {type: partner_user}
    tokens: {audiences: [pep]}
`), "")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_790_000_000, 0)
	v, err := New(c, func() time.Time { return now }, nil)
	if err != nil {
		t.Fatal(err)
	}
	private := newKey(t)
	k := v.issuers[idp].keys
	k.byID = map[string]jose.JSONWebKey{"k1": {Key: private.Public(), KeyID: "k1"}}
	k.fetched, k.tried = now, now
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, (&jose.SignerOptions{}).WithHeader("kid", "k1").WithType("secevent+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	return v, func(claims any) string {
		token, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

func issSub(iss, sub string) dict { return dict{"format": "iss_sub", "iss": iss, "sub": sub} }

func opaque(id string) dict { return dict{"format": "opaque", "id": id} }

// Whom an event is about, and what it says, by the table and by RFC 9493.
func TestEventsAreRead(t *testing.T) {
	v, sign := transmitting(t)
	user := func(id string) aver.Ref { return aver.Ref{Type: "user", ID: id} }
	session, device := aver.Ref{Type: "session", ID: "s-1"}, aver.Ref{Type: "device", ID: "d-1"}
	for _, test := range []struct {
		name, event string
		subject     any
		members     dict
		want        aver.Signal
	}{
		{"a user of its own", risc + "account-disabled", issSub(idp, "ann"), dict{"reason": "hijacking"},
			aver.Signal{About: user("u-ann"), Fact: aver.FactAccount, Values: map[string]string{"status": "disabled", "reason": "hijacking"}}},
		{"a user of another issuer", risc + "account-purged", issSub("https://partner.example.com", "pat"), dict{},
			aver.Signal{About: aver.Ref{Type: "partner_user", ID: "pat"}, Fact: aver.FactAccount, Values: map[string]string{"status": "purged"}}},
		{"an email address", caep + "credential-change", dict{"format": "email", "email": "ann@example.com"}, dict{"credential_type": "password", "change_type": "update"},
			aver.Signal{About: user("ann@example.com"), Fact: aver.FactCredential, Values: map[string]string{"change": "update", "type": "password"}}},
		{"aliases, of which one is understood", risc + "credential-compromise",
			dict{"format": "aliases", "identifiers": []any{dict{"format": "phone_number", "phone_number": "+1"}, issSub(idp, "ann")}}, dict{"credential_type": "password"},
			aver.Signal{About: user("u-ann"), Fact: aver.FactCredential, Values: map[string]string{"change": "compromise", "type": "password"}}},
		{"a session by itself", caep + "session-revoked", opaque("s-1"), dict{},
			aver.Signal{About: session, Issuer: idp, Fact: aver.FactSession, Values: map[string]string{"status": "revoked"}}},
		{"a session and whose it is", caep + "session-revoked", dict{"format": "complex", "session": opaque("s-1"), "user": issSub(idp, "ann"), "tenant": opaque("t")}, dict{},
			aver.Signal{About: session, Issuer: idp, Party: user("u-ann"), Fact: aver.FactSession, Values: map[string]string{"status": "revoked"}}},
		{"all sessions of somebody", caep + "session-revoked", issSub(idp, "ann"), dict{},
			aver.Signal{About: user("u-ann"), Fact: aver.FactSession, Values: map[string]string{"status": "revoked"}}},
		{"the assurance of a session", caep + "assurance-level-change", dict{"format": "complex", "session": opaque("s-1")},
			dict{"namespace": "NIST-AAL", "current_level": "nist-aal1", "previous_level": "nist-aal2", "change_direction": "decrease"},
			aver.Signal{About: session, Issuer: idp, Fact: aver.FactAssurance, Values: map[string]string{"level": "nist-aal1", "previous": "nist-aal2", "direction": "decrease", "namespace": "NIST-AAL"}}},
		{"a device and its user", caep + "device-compliance-change", dict{"format": "complex", "device": issSub(idp, "d-1"), "user": issSub(idp, "ann")}, dict{"current_status": "not-compliant"},
			aver.Signal{About: device, Party: user("u-ann"), Fact: aver.FactDevice, Values: map[string]string{"status": "not-compliant"}}},
		{"the risk of a device", caep + "risk-level-change", opaque("d-1"), dict{"principal": "DEVICE", "current_level": "HIGH", "risk_reason": "MALWARE"},
			aver.Signal{About: device, Fact: aver.FactRisk, Values: map[string]string{"level": "HIGH", "reason": "MALWARE"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.members["event_timestamp"] = 1_789_999_000
			token := sign(dict{"iss": idp, "aud": []string{"other", "aver"}, "iat": 1_789_999_990, "jti": "j", "sub_id": test.subject, "events": dict{test.event: test.members}})
			e, err := v.Event(context.Background(), token)
			if err != nil {
				t.Fatal(err)
			}
			want := test.want
			want.ID, want.Source, want.Type, want.At = "j", idp, test.event, 1_789_999_000_000
			want.Token = &aver.SignalToken{Digest: aver.Digest([]byte(token)), KeyID: "k1", Issued: 1_789_999_990_000}
			if d := cmp.Diff(&want, e.Signal); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// Drafts of the Shared Signals Framework, which transmitters still speak, name the subject within the event.
func TestEventSubjectOfDrafts(t *testing.T) {
	v, sign := transmitting(t)
	claims := dict{"iss": idp, "aud": "aver", "iat": 1_790_000_000, "jti": "j", "events": dict{risc + "account-enabled": dict{"subject": issSub(idp, "ann")}}}
	e, err := v.Event(context.Background(), sign(claims))
	if err != nil || e.Signal.About.ID != "u-ann" || e.Signal.At != 1_790_000_000_000 {
		t.Errorf("%+v, %v", e.Signal, err)
	}
	twice := maps.Clone(claims)
	twice["events"] = json.RawMessage(`{"` + risc + `account-enabled":{"subject":{"format":"iss_sub","iss":"` + idp + `","sub":"ann","sub":"ben"}}}`)
	var wrong *EventError
	if _, err := v.Event(context.Background(), sign(twice)); !errors.As(err, &wrong) || wrong.Code != EventInvalid {
		t.Errorf("a subject that is named twice: %v", err)
	}
}

func TestTransmittersThatCantBe(t *testing.T) {
	if _, err := parseConfig([]byte(`issuers: [{issuer: "https://a.example.com", subject: {type: user}, tokens: {audiences: [p]}},
  {issuer: "https://b.example.com", subject: {type: partner}, signals: {audience: aver, email: {type: user}, others: ["https://a.example.com"]}}]`), ""); err != nil {
		t.Errorf("a transmitter that may speak of another issuer's people: %v", err)
	}
	for name, text := range map[string]string{
		"no audience":                      `issuers: [{issuer: "https://a.example.com", subject: {type: user}, signals: {}}]`,
		"unknown event":                    `issuers: [{issuer: "https://a.example.com", subject: {type: user}, signals: {audience: aver, events: [weather]}}]`,
		"unknown other":                    `issuers: [{issuer: "https://a.example.com", subject: {type: user}, signals: {audience: aver, others: ["https://b.example.com"]}}]`,
		"another issuer's people by email": `issuers: [{issuer: "https://a.example.com", subject: {type: user}, tokens: {audiences: [p]}}, {issuer: "https://b.example.com", subject: {type: partner}, signals: {audience: aver, email: {type: user}}}]`,
		"another issuer's people, opaque":  `issuers: [{issuer: "https://a.example.com", subject: {type: user, prefix: "a:"}, tokens: {audiences: [p]}}, {issuer: "https://b.example.com", subject: {type: partner}, signals: {audience: aver, opaque: {type: user}}}]`,
		"a trust domain's workloads":       `{issuers: [{issuer: "https://b.example.com", subject: {type: partner}, signals: {audience: aver, opaque: {type: workload}}}], spiffe: [{trust_domain: example.org, bundle: x, type: workload, tokens: {audiences: [p]}}]}`,
		"email of no type":                 `issuers: [{issuer: "https://a.example.com", subject: {type: user}, signals: {audience: aver, email: {}}}]`,
	} {
		if _, err := parseConfig([]byte(text), ""); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Whatever a transmitter signs: no panic, and what is read of it can be recorded and comes from nobody else.
func FuzzEvent(f *testing.F) {
	v, _ := transmitting(f)
	private := newKey(f)
	v.issuers[idp].keys.byID["k1"] = jose.JSONWebKey{Key: private.Public(), KeyID: "k1"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, (&jose.SignerOptions{}).WithHeader("kid", "k1").WithType("secevent+jwt"))
	if err != nil {
		f.Fatal(err)
	}
	for event, subject := range map[string]any{
		caep + "session-revoked":          opaque("s"),
		caep + "device-compliance-change": dict{"format": "complex", "device": opaque("d"), "user": issSub(idp, "ann")},
		caep + "risk-level-change":        issSub(idp, "ann"),
		risc + "account-disabled":         dict{"format": "aliases", "identifiers": []any{opaque("x"), dict{"format": "aliases"}}},
		"https://example.com/unknown":     nil,
	} {
		text, err := json.Marshal(dict{"iss": idp, "aud": "aver", "iat": 1_790_000_000, "jti": "j", "toe": 1, "sub_id": subject,
			"events": dict{event: dict{"principal": "USER", "current_level": "LOW", "current_status": "compliant", "reason_admin": dict{"en": "x"}}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		token := signed(t, signer, payload)
		e, err := v.Event(context.Background(), token)
		var wrong *EventError
		switch {
		case err != nil && (!errors.As(err, &wrong) || wrong.Description == ""):
			t.Errorf("an error without a word: %v", err)
		case err == nil && e.Signal != nil && (e.Signal.Validate() != nil || e.Signal.Source != idp || e.Signal.Token == nil):
			t.Errorf("taken: %+v", e.Signal)
		}
	})
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
