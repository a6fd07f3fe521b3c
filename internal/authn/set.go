package authn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/aver-authz/aver"
)

// Event is a security event token (RFC 8417) that was verified: what a transmitter of the OpenID Shared Signals Framework
// sends.
type Event struct {
	Issuer string
	KeyID  string // of the key that it was verified with
	ID     string // jti
	Reason string // what the transmitter tells administrators
	// Signal is what there is to record; nil if that is nothing: a verification, or an event that Aver does not understand.
	Signal *aver.Signal
	Types  []string // of its events
}

// EventError says why a security event token is not accepted, as RFC 8935, section 2.4, has it.
type EventError struct {
	Code        string // one of those of RFC 8935
	Description string // one plain sentence
}

func (e *EventError) Error() string { return e.Code + ": " + e.Description }

// The codes of RFC 8935, section 2.4, that are used.
const (
	EventInvalid  = "invalid_request"
	EventKey      = "invalid_key"
	EventIssuer   = "invalid_issuer"
	EventAudience = "invalid_audience"
	EventDenied   = "access_denied"
)

// ErrUnreachable says that the keys of an issuer can't be had: what it signed may be good.
var ErrUnreachable = errUnreachable

// Bounds of security event tokens.
const (
	// MaxEventToken is how long a token may be, in bytes.
	MaxEventToken = 32 << 10
	// MaxEventAge is how long after it was issued a token is taken, in milliseconds: as long as a transmitter may keep it
	// while Aver can't be reached. Within this time repeated ones are known by their jti.
	MaxEventAge aver.Time = 7 * 24 * 3600_000

	maxEventTypes = 16
	maxReason     = 1024
)

var eventTypes = []string{"secevent+jwt", "application/secevent+jwt"}

// Types of events by which transmitters speak of the stream itself.
const ssf = "https://schemas.openid.net/secevent/ssf/event-type/"

func bad(code, format string, args ...any) error {
	return &EventError{code, fmt.Sprintf(format, args...)}
}

// Event verifies a security event token and reads what it says. The error is an [*EventError], or wraps
// [ErrUnreachable].
func (v *Verifier) Event(ctx context.Context, token string) (*Event, error) {
	if len(token) > MaxEventToken || strings.Count(token, ".") != 2 {
		return nil, bad(EventInvalid, "the body is no signed JWT in compact form of at most %d bytes", MaxEventToken)
	}
	parsed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		var wrong *jose.ErrUnexpectedSignatureAlgorithm
		if errors.As(err, &wrong) {
			return nil, bad(EventKey, "it is not signed with a public-key algorithm: none and HMAC are not accepted")
		}
		return nil, bad(EventInvalid, "the body is no signed JWT in compact form")
	}
	// Whose key is to be used has to be read before it is known to be theirs.
	claims, err := eventClaims(parsed.UnsafePayloadWithoutVerification())
	if err != nil {
		return nil, err
	}
	issuer, _ := claims["iss"].(string)
	is, ok := v.issuers[issuer]
	if !ok || is.Signals == nil {
		return nil, bad(EventIssuer, "its issuer is none of the transmitters that are configured here")
	}
	header := parsed.Signatures[0].Protected
	if !slices.Contains(is.Algorithms, header.Algorithm) {
		return nil, bad(EventKey, "its algorithm is not one that is configured for its issuer")
	}
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if !slices.Contains(eventTypes, strings.ToLower(typ)) {
		return nil, bad(EventInvalid, "its header does not say typ secevent+jwt, so it is a JWT for another purpose")
	}
	key, _, err := is.find(ctx, header.KeyID)
	switch {
	case errors.Is(err, errNoKey):
		return nil, bad(EventKey, "its issuer has no key with the kid of its header")
	case err != nil:
		v.log.Warn("the keys of a transmitter can't be had, so what it sends has to wait", "issuer", issuer, "error", err)
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	case key.Algorithm != "" && key.Algorithm != header.Algorithm:
		return nil, bad(EventKey, "its algorithm is not that of its key")
	}
	payload, err := parsed.Verify(key.Key)
	if err != nil {
		return nil, bad(EventKey, "its signature is not that of its issuer's key")
	}
	if claims, err = eventClaims(payload); err != nil {
		return nil, err
	}
	out := &Event{Issuer: issuer, KeyID: header.KeyID}
	return out, v.readEvent(is, claims, token, out)
}

// eventClaims reads the payload as strictly as a request.
func eventClaims(payload []byte) (map[string]any, error) {
	v, err := aver.ParseJSON(payload, aver.Limits{Bytes: MaxEventToken})
	if err != nil {
		return nil, bad(EventInvalid, "its payload is not acceptable JSON: %v", err)
	}
	claims, ok := v.(map[string]any)
	if !ok {
		return nil, bad(EventInvalid, "its payload is no JSON object")
	}
	return claims, nil
}

// readEvent checks the claims of a token whose signature is good.
func (v *Verifier) readEvent(is *issuer, claims map[string]any, token string, out *Event) error {
	now := v.now()
	if !contains(claims["aud"], is.Signals.Audience) {
		return bad(EventAudience, "it is for another audience")
	}
	issued, ok := seconds(claims["iat"])
	switch {
	case !ok:
		return bad(EventInvalid, "iat is missing, or no whole number of seconds")
	case issued > now+aver.TokenLeeway:
		return bad(EventInvalid, "iat is in the future: %s, and here it is %s", issued, now)
	case issued < now-MaxEventAge:
		return bad(EventInvalid, "it is too old: it was issued at %s, and one is taken for 7 days", issued)
	}
	if exp, some := claims["exp"]; some {
		if expires, ok := seconds(exp); !ok || now >= expires+aver.TokenLeeway {
			return bad(EventInvalid, "it has expired")
		}
	}
	if out.ID, _ = claims["jti"].(string); out.ID == "" || len(out.ID) > 256 {
		return bad(EventInvalid, "jti is missing, or has more than 256 bytes")
	}
	events, ok := claims["events"].(map[string]any)
	if !ok || len(events) == 0 || len(events) > maxEventTypes {
		return bad(EventInvalid, "events holds 1 to %d events", maxEventTypes)
	}
	var known []aver.SignalType
	for _, uri := range aver.MemberNames(events) {
		out.Types = append(out.Types, uri)
		if t, ok := aver.SignalTypeOf(uri); ok && t.URI == uri {
			known = append(known, t)
		} else if _, ok := events[uri].(map[string]any); !ok {
			return bad(EventInvalid, "an event is no JSON object")
		}
	}
	switch len(known) {
	case 0:
		return nil // about the stream, or of a type that is not understood: acknowledged (RFC 8417, section 2)
	case 1:
	default:
		return bad(EventInvalid, "it tells of more than one event, and a token of the Shared Signals Framework tells of one")
	}
	t := known[0]
	if !is.Signals.sends(t) {
		return bad(EventDenied, "its issuer may not send events of the type %s here", t.Name)
	}
	event, ok := events[t.URI].(map[string]any)
	if !ok {
		return bad(EventInvalid, "the event is no JSON object")
	}
	g := &aver.Signal{
		ID: out.ID, Source: out.Issuer, Type: t.URI, Fact: t.Fact, At: issued,
		Token: &aver.SignalToken{Digest: aver.Digest([]byte(token)), KeyID: out.KeyID, Issued: issued},
	}
	if err := v.fillSignal(is, t, claims, event, g); err != nil {
		return err
	}
	if g.At > now+aver.SignalLeeway {
		return bad(EventInvalid, "event_timestamp is in the future: %s, and here it is %s", g.At, now)
	}
	if err := g.Validate(); err != nil {
		return bad(EventInvalid, "%v", err)
	}
	out.Signal, out.Reason = g, reasonOf(event["reason_admin"])
	return nil
}

// fillSignal reads the event itself.
func (v *Verifier) fillSignal(is *issuer, t aver.SignalType, claims, event map[string]any, g *aver.Signal) (err error) {
	if g.Values, err = t.Read(event); err != nil {
		return bad(EventInvalid, "%v", err)
	}
	for _, claim := range []any{event["event_timestamp"], claims["toe"]} {
		if claim == nil {
			continue
		}
		at, ok := seconds(claim)
		if !ok {
			return bad(EventInvalid, "event_timestamp and toe are whole numbers of seconds")
		}
		g.At = at
		break
	}
	subject := claims["sub_id"]
	if subject == nil {
		subject = event["subject"] // as drafts of the Shared Signals Framework had it
	}
	parts, err := v.subject(is, t, subject, event)
	if err != nil {
		return err
	}
	if g.About, err = t.Target(parts.SignalParts, event); err != nil {
		return bad(EventInvalid, "%v", err)
	}
	if g.About.Type == aver.SessionType {
		g.Issuer = parts.sessions
	}
	if g.About != parts.Party {
		g.Party = parts.Party
	}
	return nil
}

// Stream reports whether the token speaks of the stream itself: a verification, or a change of its status.
func (e *Event) Stream() bool {
	return slices.ContainsFunc(e.Types, func(t string) bool { return strings.HasPrefix(t, ssf) })
}

// sends tells whether a transmitter may send events of a type.
func (s *Signals) sends(t aver.SignalType) bool {
	return len(s.Events) == 0 || slices.Contains(s.Events, t.Name) || slices.Contains(s.Events, t.URI)
}

func contains(audience any, want string) bool {
	list, _ := audience.([]any)
	return audience == want || slices.Contains(list, any(want))
}

// seconds reads a NumericDate.
func seconds(claim any) (aver.Time, bool) {
	n, ok := claim.(int64)
	return aver.Time(n) * 1000, ok && n > 0 && n <= maxTime
}

// reasonOf reads reason_admin: a text, or texts by language.
func reasonOf(claim any) string {
	text, ok := claim.(string)
	if texts, some := claim.(map[string]any); !ok && some {
		if text, ok = texts["en"].(string); !ok {
			for _, language := range aver.MemberNames(texts) {
				if text, ok = texts[language].(string); ok {
					break
				}
			}
		}
	}
	if len(text) > maxReason {
		return ""
	}
	return text
}
