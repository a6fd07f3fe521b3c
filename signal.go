package aver

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Signal is what somebody who watches a party, a session or a device says has
// changed about it (D1, A3): one event of a security event token (RFC 8417) that
// an OpenID Shared Signals transmitter sent, or what was told over the API. When
// it was received is the time of its event.
type Signal struct {
	ID     string            `json:"id"`               // as its source names it: the jti; a source uses each once
	Source string            `json:"source"`           // who vouches for it: the issuer of the token, or who told it, as a [Ref] in text
	Type   string            `json:"type"`             // URI of the event's type, see [SignalTypes]
	About  Ref               `json:"about"`            // the party, or a [SessionType] or [DeviceType]
	Issuer string            `json:"issuer,omitempty"` // of a session: whose sessions have such ids; "": not known
	Party  Ref               `json:"party,omitzero"`   // whose session or device it is, if that is told
	Fact   Fact              `json:"fact"`             // what it says something of
	Values map[string]string `json:"values"`           // what it says, by the names that policies use
	At     Time              `json:"at"`               // since when it is so, as the source says
	Token  *SignalToken      `json:"token,omitempty"`  // nil: it was told over the API
}

// SignalToken is what is kept of the security event token that brought a signal.
// The token is not in it, and can't be made from it.
type SignalToken struct {
	Digest string `json:"digest"` // SHA-256 of the token, see [Digest]
	KeyID  string `json:"key_id"` // of the key that it was verified with
	Issued Time   `json:"issued"` // iat
}

// The types of entities that signals are about besides parties.
const (
	SessionType = "session"
	DeviceType  = "device"
)

// MethodSET is the method of a transmitter, which shows a security event token.
const MethodSET = "set"

// RoleTransmitter is the role of a transmitter of signals. No credential has it.
const RoleTransmitter Role = "transmitter"

// Fact is what a signal says something of. What it says of one and the same
// replaces what was said before, unless it is older.
type Fact string

// The facts that signals set.
const (
	FactAccount    Fact = "account"    // status: disabled, enabled, purged
	FactCredential Fact = "credential" // change: create, revoke, update, delete, compromise, change_required
	FactAssurance  Fact = "assurance"  // level, as the source names it
	FactRisk       Fact = "risk"       // level: LOW, MEDIUM, HIGH
	FactSession    Fact = "session"    // status: revoked; of a party: all its sessions so far
	FactLogin      Fact = "login"      // status: established; a session of the party began
	FactDevice     Fact = "device"     // status: compliant, not-compliant
)

// SignalFacts lists all facts.
func SignalFacts() []Fact {
	return []Fact{FactAccount, FactCredential, FactAssurance, FactRisk, FactSession, FactLogin, FactDevice}
}

// Member is the name under which policies find what a signal says, in
// context.aver.signals.
func (s *Signal) Member() string {
	if t := s.About.Type; (t == SessionType || t == DeviceType) && string(s.Fact) != t {
		return t + "_" + string(s.Fact)
	}
	return string(s.Fact)
}

// Has reports whether what the signal is about can have its fact.
func (s *Signal) Has() bool {
	switch s.About.Type {
	case SessionType:
		return s.Fact == FactSession || s.Fact == FactRisk || s.Fact == FactAssurance
	case DeviceType:
		return s.Fact == FactDevice || s.Fact == FactRisk
	}
	return s.Fact != FactDevice
}

// SignalLeeway is by how much a signal may lie in the future, in milliseconds:
// one that lay further ahead would silence all that come until then.
const SignalLeeway Time = 5 * 60_000

// Validate checks what can be checked of a signal alone. The error is one plain
// sentence.
func (s *Signal) Validate() error {
	for _, text := range []struct{ what, value string }{{"id", s.ID}, {"source", s.Source}, {"type of the event", s.Type}} {
		if err := validateName(text.what, text.value); err != nil {
			return err
		}
	}
	if err := s.About.validate(); err != nil {
		return fmt.Errorf("about: %w", err)
	}
	if !s.Party.IsZero() {
		if err := s.Party.validate(); err != nil {
			return fmt.Errorf("party: %w", err)
		}
	}
	if err := validateText("issuer", s.Issuer); err != nil {
		return err
	}
	switch {
	case !slices.Contains(SignalFacts(), s.Fact):
		return fmt.Errorf("fact %q is not one of %q", brief(string(s.Fact)), SignalFacts())
	case !s.Has():
		return fmt.Errorf("about: nothing is told of the %s of %s", s.Fact, s.About)
	case s.Issuer != "" && s.About.Type != SessionType:
		return fmt.Errorf("issuer: only a session has one")
	case s.At <= 0:
		return fmt.Errorf("at: it is missing")
	case len(s.Values) == 0 || len(s.Values) > maxSignalValues:
		return fmt.Errorf("values: there are 1 to %d", maxSignalValues)
	case s.Values[signalValues[s.Fact][0]] == "":
		return fmt.Errorf("values: %s is missing", signalValues[s.Fact][0])
	}
	for name, value := range s.Values {
		switch {
		case !slices.Contains(signalValues[s.Fact], name):
			return fmt.Errorf("values: %q is not one of %q", brief(name), signalValues[s.Fact])
		case value == "" || len(value) > maxSignalValue || !utf8.ValidString(value):
			return fmt.Errorf("values: %s has 1 to %d bytes of UTF-8", name, maxSignalValue)
		}
	}
	if t := s.Token; t != nil && (t.Digest == "" || t.KeyID == "" || t.Issued <= 0) {
		return fmt.Errorf("token: digest, key_id and issued are needed")
	}
	return nil
}

const (
	maxSignalValues = 8
	maxSignalValue  = 256 // bytes
)

// signalValues are the values that a signal of a fact may have, the one that each
// has first.
var signalValues = map[Fact][]string{
	FactAccount:    {"status", "reason"},
	FactCredential: {"change", "type", "reason"},
	FactAssurance:  {"level", "previous", "direction", "namespace", "reason"},
	FactRisk:       {"level", "previous", "reason"},
	FactSession:    {"status", "reason"},
	FactLogin:      {"status", "reason"},
	FactDevice:     {"status", "previous", "reason"},
}

// SignalValueNames lists the values that signals of a fact can have, the one that
// each has first.
func SignalValueNames(f Fact) []string { return slices.Clone(signalValues[f]) }

// A SignalType is a type of event that Aver understands, and what becomes of it.
type SignalType struct {
	URI   string       `json:"uri"`
	Name  string       `json:"name"` // short, for people: the last part of the URI
	Fact  Fact         `json:"fact"`
	About SignalTarget `json:"about"`

	fixed   map[string]string // values that each has
	members map[string]string // value :: member of the event
	allowed []string          // values of the main member; nil: any
}

// SignalTarget says which of the subject's parts a type of event is about.
type SignalTarget string

// The targets of types of events.
const (
	TargetParty          SignalTarget = "party"
	TargetDevice         SignalTarget = "device"
	TargetSessionOrParty SignalTarget = "session or party" // the session if one is named
	TargetPrincipal      SignalTarget = "principal"        // the one that the event's member "principal" names: USER, SESSION or DEVICE
)

const (
	caep = "https://schemas.openid.net/secevent/caep/event-type/"
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
)

// signalTypes is the table from the types of OpenID CAEP 1.0 and RISC 1.0 to
// facts; docs/signals.md shows it.
var signalTypes = []SignalType{
	{URI: caep + "session-revoked", Fact: FactSession, About: TargetSessionOrParty, fixed: map[string]string{"status": "revoked"}},
	{URI: caep + "session-established", Fact: FactLogin, About: TargetParty, fixed: map[string]string{"status": "established"}},
	{URI: caep + "credential-change", Fact: FactCredential, About: TargetParty,
		members: map[string]string{"change": "change_type", "type": "credential_type"}, allowed: []string{"create", "revoke", "update", "delete"}},
	{URI: caep + "assurance-level-change", Fact: FactAssurance, About: TargetSessionOrParty,
		members: map[string]string{"level": "current_level", "previous": "previous_level", "direction": "change_direction", "namespace": "namespace"}},
	{URI: caep + "device-compliance-change", Fact: FactDevice, About: TargetDevice,
		members: map[string]string{"status": "current_status", "previous": "previous_status"}, allowed: []string{"compliant", "not-compliant"}},
	{URI: caep + "risk-level-change", Fact: FactRisk, About: TargetPrincipal,
		members: map[string]string{"level": "current_level", "previous": "previous_level", "reason": "risk_reason"}, allowed: []string{"LOW", "MEDIUM", "HIGH"}},
	{URI: risc + "account-disabled", Fact: FactAccount, About: TargetParty, fixed: map[string]string{"status": "disabled"}, members: map[string]string{"reason": "reason"}},
	{URI: risc + "account-enabled", Fact: FactAccount, About: TargetParty, fixed: map[string]string{"status": "enabled"}},
	{URI: risc + "account-purged", Fact: FactAccount, About: TargetParty, fixed: map[string]string{"status": "purged"}},
	{URI: risc + "account-credential-change-required", Fact: FactCredential, About: TargetParty, fixed: map[string]string{"change": "change_required"}},
	{URI: risc + "credential-compromise", Fact: FactCredential, About: TargetParty, fixed: map[string]string{"change": "compromise"}, members: map[string]string{"type": "credential_type"}},
	{URI: risc + "sessions-revoked", Fact: FactSession, About: TargetParty, fixed: map[string]string{"status": "revoked"}},
}

func init() {
	for i := range signalTypes {
		t := &signalTypes[i]
		t.Name = t.URI[strings.LastIndexByte(t.URI, '/')+1:]
	}
}

// SignalTypes lists the types of events that Aver understands.
func SignalTypes() []SignalType { return slices.Clone(signalTypes) }

// SignalTypeOf finds a type by its URI or its short name.
func SignalTypeOf(name string) (SignalType, bool) {
	for _, t := range signalTypes {
		if t.URI == name || t.Name == name {
			return t, true
		}
	}
	return SignalType{}, false
}

// Read gives the values of a signal from the members of its event. The error is
// one plain sentence.
func (t SignalType) Read(event map[string]any) (map[string]string, error) {
	out := map[string]string{}
	for name, value := range t.fixed {
		out[name] = value
	}
	for _, name := range SignalValueNames(t.Fact) {
		member := t.members[name]
		value, ok := event[member]
		if member == "" || !ok {
			continue
		}
		text, ok := value.(string)
		if !ok || text == "" || len(text) > maxSignalValue {
			return nil, fmt.Errorf("%s of a %s is a text of 1 to %d bytes", member, t.Name, maxSignalValue)
		}
		out[name] = text
	}
	main := signalValues[t.Fact][0]
	switch {
	case out[main] == "":
		return nil, fmt.Errorf("a %s has a member %s", t.Name, t.members[main])
	case t.allowed != nil && !slices.Contains(t.allowed, out[main]):
		return nil, fmt.Errorf("%s of a %s is one of %q", t.members[main], t.Name, t.allowed)
	}
	return out, nil
}

// SignalParts are the parts of a subject that a signal can be about; those that
// are not named are zero.
type SignalParts struct {
	Party, Session, Device Ref
}

// Target picks the part of a subject that an event of this type is about. The
// error says in one plain sentence which is missing.
func (t SignalType) Target(parts SignalParts, event map[string]any) (Ref, error) {
	pick := func(what string, r Ref) (Ref, error) {
		if r.IsZero() {
			return r, fmt.Errorf("a %s is about a %s, and its subject names none", t.Name, what)
		}
		return r, nil
	}
	switch t.About {
	case TargetDevice:
		return pick("device", parts.Device)
	case TargetSessionOrParty:
		if !parts.Session.IsZero() {
			return parts.Session, nil
		}
		return pick("user or session", parts.Party)
	case TargetPrincipal:
		switch event["principal"] {
		case "USER":
		case "SESSION":
			return pick("session", parts.Session)
		case "DEVICE":
			return pick("device", parts.Device)
		default:
			return Ref{}, fmt.Errorf("principal of a %s is one of %q here", t.Name, []string{"USER", "SESSION", "DEVICE"})
		}
	}
	return pick("user", parts.Party)
}

// SignalReport is a signal as it is told over the API.
type SignalReport struct {
	ID      string         `json:"id,omitempty"`      // so that telling it again changes nothing; "" gets one
	Event   string         `json:"event"`             // URI of the event's type, or its last part, such as "account-disabled"
	About   Ref            `json:"about"`             // the party, or a [SessionType] or [DeviceType]
	Issuer  string         `json:"issuer,omitempty"`  // of a session: who issued its id
	Details map[string]any `json:"details,omitempty"` // members of the event, as CAEP and RISC name them
	At      Time           `json:"at,omitzero"`       // since when it is so; 0: now
}

// Signal makes the signal, told by a source. The error is one plain sentence.
func (r *SignalReport) Signal(source string, now Time) (*Signal, error) {
	t, ok := SignalTypeOf(r.Event)
	if !ok {
		return nil, fmt.Errorf("event: %q is not one that Aver understands", brief(r.Event))
	}
	parts, event := SignalParts{Party: r.About}, map[string]any{"principal": "USER"}
	switch r.About.Type {
	case SessionType:
		parts, event["principal"] = SignalParts{Session: r.About}, "SESSION"
	case DeviceType:
		parts, event["principal"] = SignalParts{Device: r.About}, "DEVICE"
	}
	for name, value := range r.Details {
		event[name] = value
	}
	about, err := t.Target(parts, event)
	if err != nil {
		return nil, fmt.Errorf("about: %w", err)
	}
	values, err := t.Read(event)
	if err != nil {
		return nil, fmt.Errorf("details: %w", err)
	}
	s := &Signal{ID: r.ID, Source: source, Type: t.URI, About: about, Issuer: r.Issuer, Fact: t.Fact, Values: values, At: r.At}
	if s.At == 0 {
		s.At = now
	}
	return s, s.Validate()
}
