package authority

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/aver-authz/aver"
)

// maxReason bounds the reason of an event, in bytes.
const maxReason = 4096

// maxBy bounds the name of who made a change, in bytes.
const maxBy = 256

// methods are the ways of [aver.By].
var methods = []string{"bearer", aver.MethodOIDC, aver.MethodSPIFFE, aver.MethodSET, "none", aver.MethodInternal, aver.MethodLocal}

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// ParseEntry reads an entry of the authority log. It checks that leaf and payload are canonical, that the leaf commits
// to the payload, and that both say the same; whether the event may follow those before it is for [State.Apply].
func ParseEntry(leaf, payload []byte) (*aver.Event, error) {
	l, err := aver.ParseLeaf(leaf)
	if err != nil {
		return nil, err
	}
	if !l.Matches(payload) {
		return nil, fmt.Errorf("the leaf does not commit to this payload: its SHA-256 differs")
	}
	e, err := aver.ParseEvent(payload)
	if err != nil {
		return nil, err
	}
	switch {
	case l.Kind != "event":
		return nil, fmt.Errorf("the leaf is of kind %q, not an event", l.Kind)
	case l.Outcome != nil:
		return nil, fmt.Errorf("the leaf of an event has no outcome")
	case l.ID != e.ID:
		return nil, fmt.Errorf("the leaf names event %q, its payload %q", l.ID, e.ID)
	case l.Time != e.Time:
		return nil, fmt.Errorf("the leaf has the time %s, its payload %s", l.Time, e.Time)
	case l.Type != string(e.Type):
		return nil, fmt.Errorf("the leaf is of type %q, its payload %q", l.Type, e.Type)
	}
	return e, checkEnvelope(e)
}

// checkEnvelope checks what an event says beside its data.
func checkEnvelope(e *aver.Event) error {
	salt, err := base64.RawURLEncoding.Strict().DecodeString(e.Salt)
	switch {
	case e.Kind != "event":
		return fmt.Errorf("kind %q is not an event", e.Kind)
	case !uuid7.MatchString(e.ID):
		return fmt.Errorf("id %q is not a UUID of version 7 in lower case", e.ID)
	case err != nil || len(salt) != 16:
		return fmt.Errorf("the salt is not 16 random bytes in base64url")
	case e.Time <= 0:
		return fmt.Errorf("the time is missing")
	case e.By.Name == "" || len(e.By.Name) > maxBy:
		return fmt.Errorf("by: the name of who did it has 1 to %d bytes", maxBy)
	case !slices.Contains(methods, e.By.Method):
		return fmt.Errorf("by: method %q is not one of %q", e.By.Method, methods)
	case e.By.ByToken() != (e.By.Authentication != nil) || e.By.ByToken() && e.By.Subject.IsZero():
		return fmt.Errorf("by: with the methods %s and %s, and no others, authentication and subject say who it was", aver.MethodOIDC, aver.MethodSPIFFE)
	case !e.By.Subject.IsZero() && e.By.Subject.Validate() != nil:
		return fmt.Errorf("by: subject: %w", e.By.Subject.Validate())
	case e.Decision != "" && !uuid7.MatchString(e.Decision):
		return fmt.Errorf("decision %q is not a UUID of version 7 in lower case", e.Decision)
	case len(e.Reason) > maxReason || !utf8.ValidString(e.Reason):
		return fmt.Errorf("the reason is longer than %d bytes, or not valid UTF-8", maxReason)
	}
	return nil
}

// decodeData reads an event's data. It has one spelling only: what the type writes must be what was read, so a member
// that is unknown, spelt in another case, or given although it has its default is refused.
func decodeData(e *aver.Event, into any) error {
	if err := e.DecodeData(into); err != nil {
		return fmt.Errorf("the data cannot be read: %w", err)
	}
	again, err := aver.CanonicalJSON(into)
	if err != nil {
		return fmt.Errorf("the data cannot be read: %w", err)
	}
	if !bytes.Equal(again, e.Data) {
		return fmt.Errorf("the data is not in its canonical form")
	}
	return nil
}
