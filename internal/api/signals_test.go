package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/go-jose/go-jose/v4"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authn/authntest"
	"github.com/aver-authz/aver/internal/server"
)

const (
	caepEvent = "https://schemas.openid.net/secevent/caep/event-type/"
	riscEvent = "https://schemas.openid.net/secevent/risc/event-type/"
	ssfEvent  = "https://schemas.openid.net/secevent/ssf/event-type/"
)

func init() { // to the OpenAPI document such a body is text
	openapi3filter.RegisterBodyDecoder("application/secevent+jwt", openapi3filter.PlainBodyDecoder)
}

const transmittersYAML = `
issuers:
  - issuer: %s
    subject: {type: user}
    tokens: {audiences: [payments]}
    signals:
      audience: https://aver.example.com/v1/signals/ssf
      email: {type: user}
      others: [%[2]s]
  - issuer: %[2]s
    subject: {type: customer}
    signals: {audience: aver, events: [device-compliance-change]}
`

// signalled is a service to which an identity provider and a device manager push signals, and which permits everything
// that the baseline does not forbid.
type signalled struct {
	*service
	idp, mdm *authntest.Issuer
	clock    testClock
	n        int
}

func startSignalled(t *testing.T) *signalled {
	s := &signalled{idp: authntest.New(t), mdm: authntest.New(t)}
	s.service = start(t, func(cfg *server.Config) {
		cfg.Now = s.clock.Now
		cfg.Issuers = filepath.Join(t.TempDir(), "issuers.yaml")
		if err := os.WriteFile(cfg.Issuers, fmt.Appendf(nil, transmittersYAML, s.idp.URL, s.mdm.URL), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	s.publish("all", `permit (principal, action, resource);
@id("unmanaged") forbid (principal, action == Action::"pay", resource) when { context.aver has signals.device && context.aver.signals.device.status == "not-compliant" };
@id("risky") forbid (principal, action == Action::"pay", resource) when { context.aver has signals.risk && context.aver.signals.risk.level == "HIGH" };
`)
	return s
}

// set is the claims of a security event token that is as it should be.
func (s *signalled) set(event string, subject, members dict) dict {
	s.n++
	return dict{
		"iss": s.idp.URL, "aud": "https://aver.example.com/v1/signals/ssf", "iat": s.clock.Now().Unix(), "jti": fmt.Sprintf("jti-%d", s.n),
		"sub_id": subject, "events": dict{event: members},
	}
}

func (s *signalled) user(name string) dict {
	return dict{"format": "iss_sub", "iss": s.idp.URL, "sub": name}
}

func (s *signalled) push(token string) *exchange {
	s.t.Helper()
	return s.request("POST", "/v1/signals/ssf", token, http.Header{"Content-Type": {"application/secevent+jwt"}})
}

func (s *signalled) pushed(claims dict) *exchange {
	s.t.Helper()
	return s.push(s.idp.Sign(s.t, "k1", "secevent+jwt", claims))
}

// ask decides whether somebody may pay, and tells the outcome and the policies that it names.
func (s *signalled) ask(user string, context dict) string {
	s.t.Helper()
	if context == nil {
		context = dict{}
	}
	x := s.as(aver.RolePEP, "POST", "/access/v1/evaluation", dict{
		"subject": dict{"type": "user", "id": user}, "action": dict{"name": "pay"}, "resource": dict{"type": "payment", "id": "p-1"}, "context": context,
	}).ok(200)
	out := x.at("context", "outcome").(string)
	reasons, _ := x.at("context", "reasons").([]any)
	for _, r := range reasons {
		if p, _ := r.(dict)["policy"].(string); out != "permitted" {
			out += " " + p
		}
	}
	return out
}

func (s *signalled) expect(want, user string, context dict) {
	s.t.Helper()
	if got := s.ask(user, context); got != want {
		s.t.Errorf("%s with %v: %s, want %s", user, context, got, want)
	}
}

func (s *signalled) events() int {
	s.t.Helper()
	return number(s.t, s.admin("GET", "/v1/log", nil).ok(200).at("authority", "size"))
}

// What transmitters push is in effect once it is answered, in the facts that docs/signals.md lists (D1, A3).
func TestSignalsThatArePushed(t *testing.T) {
	s := startSignalled(t)
	s.expect("permitted", "ann", nil)
	s.pushed(s.set(riscEvent+"account-disabled", s.user("ann"), dict{"reason": "hijacking"})).ok(202)
	s.expect("denied baseline/account-disabled", "ann", nil)
	s.expect("permitted", "ben", nil)
	s.clock.move(time.Second)
	s.pushed(s.set(riscEvent+"account-enabled", dict{"format": "email", "email": "ann"}, dict{})).ok(202)
	s.expect("permitted", "ann", nil)

	session := dict{"format": "opaque", "id": "s-1"}
	s.pushed(s.set(caepEvent+"session-revoked", session, dict{"event_timestamp": s.clock.Now().Unix(), "reason_admin": dict{"en": "stolen laptop"}})).ok(202)
	s.expect("denied baseline/session-revoked", "ann", dict{"session": "s-1"})
	s.expect("denied baseline/session-revoked", "ann", dict{"session": dict{"id": "s-1", "issuer": s.idp.URL}})
	s.expect("permitted", "ann", dict{"session": dict{"id": "s-1", "issuer": s.mdm.URL}}) // another issuer's of the same name
	s.expect("permitted", "ann", dict{"session": "s-2"})

	s.push(s.mdm.Sign(t, "k1", "secevent+jwt", dict{
		"iss": s.mdm.URL, "aud": []string{"aver"}, "iat": s.clock.Now().Unix(), "jti": "d-1",
		"sub_id": dict{"format": "complex", "tenant": dict{"format": "opaque", "id": "t"}, "device": dict{"format": "opaque", "id": "laptop-7"}},
		"events": dict{caepEvent + "device-compliance-change": dict{"current_status": "not-compliant", "previous_status": "compliant"}},
	})).ok(202)
	s.expect("denied all/unmanaged", "ann", dict{"device": dict{"id": "laptop-7", "os": "x"}})
	s.expect("permitted", "ann", dict{"device": dict{"id": "laptop-8"}})

	s.pushed(s.set(caepEvent+"risk-level-change", s.user("ben"), dict{"principal": "USER", "current_level": "HIGH", "risk_reason": "PASSWORD_FOUND_IN_DATA_BREACH"})).ok(202)
	s.expect("denied all/risky", "ben", nil)

	list := s.as(aver.RoleAuditor, "GET", "/v1/signals", nil).ok(200).at("signals").([]any)
	if len(list) != 4 {
		t.Fatalf("%d signals in force, want 4: %v", len(list), list)
	}
	one := list[1].(dict)
	if one["source"] != s.idp.URL || one["reason"] != "stolen laptop" || one["token"].(dict)["key_id"] != "k1" || one["member"] != "session" {
		t.Errorf("it does not say who vouches for it: %v", one)
	}
	if by := one["by"].(dict); by["method"] != "set" || by["name"] != s.idp.URL {
		t.Errorf("by: %v", by)
	}
	event := s.as(aver.RoleAuditor, "GET", fmt.Sprintf("/v1/events/%v", one["event"]), nil).ok(200)
	decision := s.as(aver.RoleAuditor, "GET", "/v1/decisions/"+event.at("payload", "decision").(string), nil).ok(200)
	if decision.at("payload", "request", "subject", "id") != s.idp.URL || decision.at("payload", "request", "action", "name") != "signal.receive" {
		t.Errorf("the decision that allowed it: %s", decision.body)
	}
	about := s.as(aver.RoleAuditor, "GET", "/v1/signals?type=device&id=laptop-7", nil).ok(200).at("signals").([]any)
	if len(about) != 1 || about[0].(dict)["values"].(dict)["status"] != "not-compliant" {
		t.Errorf("about the device: %v", about)
	}
}

// Sessions that began before all of somebody's sessions were revoked are over, those that began later are not.
func TestAllSessionsOfAPartyRevoked(t *testing.T) {
	s := startSignalled(t)
	token := func(issued time.Time, more dict) string {
		claims := dict{"iss": s.idp.URL, "sub": "ann", "aud": "payments", "iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix()}
		for name, value := range more {
			claims[name] = value
		}
		return s.idp.Sign(t, "k1", "at+jwt", claims)
	}
	at := s.clock.Now()
	old := token(at.Add(-time.Minute), nil)
	s.expect("permitted", "ann", dict{"token": old})
	s.pushed(s.set(caepEvent+"session-revoked", dict{"format": "complex", "user": s.user("ann")}, dict{"event_timestamp": at.Unix()})).ok(202)
	s.expect("denied baseline/session-revoked", "ann", dict{"token": old})
	s.expect("denied baseline/session-revoked", "ann", nil) // nobody says that it is a new one
	s.expect("denied baseline/session-revoked", "ann", dict{"session": dict{"id": "s", "started": aver.TimeOf(at.Add(-time.Second)).String()}})
	s.expect("permitted", "ann", dict{"session": dict{"id": "s", "started": aver.TimeOf(at.Add(5 * time.Second)).String()}})
	s.expect("permitted", "ann", dict{"token": token(at.Add(10*time.Second), nil)})
	s.expect("denied baseline/session-revoked", "ann", dict{"token": token(at.Add(10*time.Second), dict{"auth_time": at.Add(-time.Hour).Unix()})})
	s.clock.move(20 * time.Second)
	s.pushed(s.set(caepEvent+"session-established", s.user("ann"), dict{})).ok(202)
	s.expect("permitted", "ann", nil)
	s.expect("denied baseline/session-revoked", "ann", dict{"token": old})

	s.pushed(s.set(caepEvent+"session-revoked", dict{"format": "complex", "session": dict{"format": "opaque", "id": "sid-9"}, "user": s.user("ann")}, dict{})).ok(202)
	now := s.clock.Now()
	s.expect("denied baseline/session-revoked", "ann", dict{"token": token(now, dict{"sid": "sid-9"})})
	s.expect("permitted", "ann", dict{"token": token(now, dict{"sid": "sid-10"})})
}

// Bad input, and what it gets: a clear error of RFC 8935, no event, and no harm to deciding.
func TestEventTokensThatAreRefused(t *testing.T) {
	s := startSignalled(t)
	good := func(change func(dict)) dict {
		claims := s.set(riscEvent+"account-disabled", s.user("ann"), dict{})
		change(claims)
		return claims
	}
	signed := func(change func(dict)) string { return s.idp.Sign(t, "k1", "secevent+jwt", good(change)) }
	none := func(dict) {}
	other := authntest.New(t)
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"secevent+jwt"}`)) + "." +
		strings.Split(signed(none), ".")[1] + "."
	public := s.idp.JWKS()
	for _, test := range []struct{ name, token, code, says string }{
		{"bad signature", tamper(signed(none)), "invalid_key", "signature"},
		{"another's key", other.Sign(t, "k1", "secevent+jwt", good(none)), "invalid_key", "signature"},
		{"unknown key", func() string { other.AddKey(t, "k9"); return other.Sign(t, "k9", "secevent+jwt", good(none)) }(), "invalid_key", "no key"},
		{"unknown issuer", signed(func(c dict) { c["iss"] = other.URL }), "invalid_issuer", "none of the transmitters"},
		{"wrong audience", signed(func(c dict) { c["aud"] = "payments" }), "invalid_audience", "another audience"},
		{"no audience", signed(func(c dict) { delete(c, "aud") }), "invalid_audience", "another audience"},
		{"too old", signed(func(c dict) { c["iat"] = s.clock.Now().Add(-8 * 24 * time.Hour).Unix() }), "invalid_request", "too old"},
		{"expired", signed(func(c dict) { c["exp"] = s.clock.Now().Add(-time.Hour).Unix() }), "invalid_request", "expired"},
		{"from the future", signed(func(c dict) { c["iat"] = s.clock.Now().Add(time.Hour).Unix() }), "invalid_request", "future"},
		{"event from the future", signed(func(c dict) {
			c["events"] = dict{riscEvent + "account-disabled": dict{"event_timestamp": s.clock.Now().Add(time.Hour).Unix()}}
		}), "invalid_request", "future"},
		{"alg none", unsigned, "invalid_key", "none and HMAC"},
		{"HMAC with the public key", authntest.SignWith(t, jose.HS256, public, "k1", "secevent+jwt", good(none)), "invalid_key", "none and HMAC"},
		{"an access token", s.idp.Sign(t, "k1", "at+jwt", good(none)), "invalid_request", "secevent+jwt"},
		{"no type", s.idp.Sign(t, "k1", "", good(none)), "invalid_request", "secevent+jwt"},
		{"no jti", signed(func(c dict) { delete(c, "jti") }), "invalid_request", "jti"},
		{"no events", signed(func(c dict) { c["events"] = dict{} }), "invalid_request", "events"},
		{"no subject", signed(func(c dict) { delete(c, "sub_id") }), "invalid_request", "sub_id"},
		{"a subject in a format that is not configured", signed(func(c dict) { c["sub_id"] = dict{"format": "opaque", "id": "x"} }), "invalid_request", "opaque"},
		{"a subject in an unknown format", signed(func(c dict) { c["sub_id"] = dict{"format": "phone_number", "phone_number": "+1"} }), "invalid_request", "formats"},
		{"somebody else's user", signed(func(c dict) { c["sub_id"] = dict{"format": "iss_sub", "iss": other.URL, "sub": "ann"} }), "access_denied", "may not speak"},
		{"an event it may not send", s.mdm.Sign(t, "k1", "secevent+jwt", good(func(c dict) { c["iss"], c["aud"] = s.mdm.URL, "aver" })), "access_denied", "account-disabled"},
		{"a risk of no known level", signed(func(c dict) {
			c["events"] = dict{caepEvent + "risk-level-change": dict{"principal": "USER", "current_level": "WEIRD"}}
		}), "invalid_request", "current_level"},
		{"two events", signed(func(c dict) { c["events"].(dict)[riscEvent+"account-enabled"] = dict{} }), "invalid_request", "more than one"},
		{"no token", "hello", "invalid_request", "no signed JWT"},
		{"too long", strings.Repeat("a", 40_000), "invalid_request", "at most"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := s.events()
			x := s.push(test.token).ok(400)
			if x.at("err") != test.code || !strings.Contains(x.at("description").(string), test.says) {
				t.Errorf("%s, want %s that says %q", x.body, test.code, test.says)
			}
			if s.events() != before {
				t.Error("it left an event")
			}
		})
	}
	s.expect("permitted", "ann", nil)
	if x := s.request("POST", "/v1/signals/ssf", signed(none), http.Header{"Content-Type": {"application/jwt"}}); x.status != 415 || x.at("err") != "invalid_request" {
		t.Errorf("another content type: %d %s", x.status, x.body)
	}
}

// tamper changes a claim and leaves the signature.
func tamper(token string) string {
	parts := strings.Split(token, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "jti-", "jti_", 1)))
	return strings.Join(parts, ".")
}

// A repeated token is acknowledged and leaves one event; what comes late never overrides what is newer; events about the
// stream, or of unknown types, are acknowledged and leave none; somebody of whom nothing is known may still come.
func TestEventTokensThatChangeNothing(t *testing.T) {
	s := startSignalled(t)
	at := s.clock.Now()
	disabled := s.set(riscEvent+"account-disabled", s.user("nobody-yet"), dict{"event_timestamp": at.Unix()})
	before := s.events()
	for range 3 {
		s.pushed(disabled).ok(202)
	}
	if got := s.events(); got != before+1 {
		t.Errorf("a token that came three times left %d events", got-before)
	}
	s.expect("denied baseline/account-disabled", "nobody-yet", nil)
	s.pushed(s.set(riscEvent+"account-enabled", s.user("nobody-yet"), dict{"event_timestamp": at.Add(-time.Minute).Unix()})).ok(202)
	if got := s.events(); got != before+2 {
		t.Errorf("what came late left no event")
	}
	s.expect("denied baseline/account-disabled", "nobody-yet", nil)

	for _, event := range []string{ssfEvent + "verification", ssfEvent + "stream-updated", "https://example.com/something-else"} {
		s.pushed(s.set(event, dict{"format": "opaque", "id": "stream"}, dict{"state": "x"})).ok(202)
	}
	if got := s.events(); got != before+2 {
		t.Errorf("an event about the stream left %d events", got-before-2)
	}
	s.idp.Down(true)
	s.clock.move(2 * time.Hour) // the keys are too old by now
	x := s.pushed(s.set(riscEvent+"account-enabled", s.user("ann"), dict{})).ok(503)
	if x.header.Get("Retry-After") == "" {
		t.Error("no Retry-After while the keys can't be had")
	}
}

// A flood gets 429 with Retry-After, and decisions are made meanwhile; when it is over, signals are taken again.
func TestSignalFlood(t *testing.T) {
	s := startSignalled(t)
	limited := 0
	token := s.idp.Sign(t, "k1", "secevent+jwt", s.set(riscEvent+"account-disabled", s.user("eve"), dict{}))
	for range 400 {
		x := s.push(token)
		switch x.status {
		case 202:
		case 429:
			limited++
			if x.header.Get("Retry-After") == "" || x.at("err") != "invalid_request" {
				t.Fatalf("429 without Retry-After or as no error of RFC 8935: %s", x.body)
			}
		default:
			x.ok(202)
		}
	}
	if limited == 0 {
		t.Error("400 at once were all taken")
	}
	s.expect("permitted", "ann", nil)
	s.clock.move(time.Minute)
	s.push(token).ok(202)

	refused := 0
	for range 100 {
		if s.push("garbage").status == 429 {
			refused++
		}
	}
	if refused == 0 {
		t.Error("100 tokens that are none were all looked at")
	}
	s.clock.move(time.Minute)
	s.push(token).ok(202)
}

// Administrators tell signals too, and nobody else as shipped; the same id again changes nothing.
func TestSignalsThatAreTold(t *testing.T) {
	s := startSignalled(t)
	report := dict{"id": "SOC-7", "event": "account-disabled", "about": dict{"type": "user", "id": "ann"}, "details": dict{"reason": "hijacking"}, "reason": "SOC-7"}
	s.as(aver.RolePEP, "POST", "/v1/signals", report).problem(403, "denied")
	s.expect("permitted", "ann", nil)
	x := s.admin("POST", "/v1/signals", report).ok(201)
	if x.at("in_force") != true || x.at("event", "data", "source") != `credential::"admin"` || x.at("event", "decision") == nil {
		t.Errorf("%s", x.body)
	}
	if x := s.admin("POST", "/v1/signals", report).ok(200); x.at("repeated") != true {
		t.Errorf("again: %s", x.body)
	}
	s.expect("denied baseline/account-disabled", "ann", nil)
	late := dict{"event": "account-enabled", "about": dict{"type": "user", "id": "ann"}, "at": aver.TimeOf(s.clock.Now().Add(-time.Hour)).String()}
	if x := s.admin("POST", "/v1/signals", late).ok(201); x.at("in_force") != false {
		t.Errorf("late: %s", x.body)
	}
	s.expect("denied baseline/account-disabled", "ann", nil)
	for name, body := range map[string]dict{
		"is not one that Aver understands": {"event": "weather-change", "about": dict{"type": "user", "id": "ann"}},
		"is about a device":                {"event": "device-compliance-change", "about": dict{"type": "user", "id": "ann"}, "details": dict{"current_status": "compliant"}},
		"has a member current_level":       {"event": "risk-level-change", "about": dict{"type": "user", "id": "ann"}},
		"about":                            {"event": "account-disabled"},
	} {
		s.admin("POST", "/v1/signals", body).problem(400, "invalid-request", name)
	}
	s.admin("POST", "/v1/signals", dict{"event": "account-disabled", "about": dict{"type": "user", "id": "ann"}, "at": aver.TimeOf(s.clock.Now().Add(time.Hour)).String()}).
		problem(422, "refused", "in the future")
}

// A signal can't take the last administrator's power away; who else is disabled changes nothing any more.
func TestSignalsAboutAdministrators(t *testing.T) {
	s := startSignalled(t)
	disabled := func(name string) dict {
		return dict{"event": "account-disabled", "about": dict{"type": "credential", "id": name}}
	}
	s.admin("POST", "/v1/signals", disabled("admin")).problem(422, "refused", "nobody could change the policies")
	token := s.admin("POST", "/v1/credentials", dict{"name": "second", "role": "admin"}).ok(201).at("token").(string)
	s.admin("POST", "/v1/signals", disabled("second")).ok(201)
	s.request("PUT", "/v1/entities/doc/1", dict{}, bearer(token)).problem(403, "denied", "The account of this identity was disabled")
}

// A signal ends what is under way of those whom it concerns, and the enforcement point is told (B5).
func TestSignalsEndWhatIsUnderWay(t *testing.T) {
	s := startSignalled(t)
	run := func(user string, context dict) string {
		return s.as(aver.RolePEP, "POST", "/access/v1/evaluation", dict{
			"subject": dict{"type": "user", "id": user}, "action": dict{"name": "pay"}, "resource": dict{"type": "payment", "id": "p-1"}, "context": context,
		}).ok(200).at("context", "evaluation_id").(string)
	}
	disabled, revoked, held := run("ann", dict{}), run("ben", dict{"session": "s-1"}), run("ben", dict{"session": "s-2"})
	s.pushed(s.set(riscEvent+"account-disabled", s.user("ann"), dict{})).ok(202)
	s.pushed(s.set(caepEvent+"session-revoked", dict{"format": "opaque", "id": "s-1"}, dict{})).ok(202)
	deadline := time.Now().Add(10 * time.Second)
	told := map[string]bool{}
	for cursor := ""; len(told) < 2 && time.Now().Before(deadline); {
		x := s.as(aver.RolePEP, "GET", "/v1/withdrawals?wait=1s&cursor="+cursor, nil).ok(200)
		for _, w := range x.at("withdrawals").([]any) {
			told[w.(dict)["evaluation_id"].(string)] = true
		}
		cursor, _ = x.at("cursor").(string)
	}
	if !told[disabled] || !told[revoked] || told[held] {
		t.Errorf("told of %v, want %s and %s", told, disabled, revoked)
	}
	for id, want := range map[string]string{disabled: "lapsed", revoked: "lapsed", held: "held"} {
		x := s.as(aver.RolePEP, "POST", "/v1/activities", dict{"evaluation_id": id, "status": "completed"}).ok(201)
		if x.at("continuity") != want {
			t.Errorf("continuity: %s, want %s", x.body, want)
		}
	}
}
