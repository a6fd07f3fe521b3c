package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A GateKind is what it takes to pass a gate.
type GateKind string

// The kinds of gates.
const (
	Challenge GateKind = "challenge" // the caller proves more, and asks again
	Escalate  GateKind = "escalate"  // somebody else approves
	Restrict  GateKind = "restrict"  // the PEP applies an obligation
)

// A Gate is a forbid that says "not like this, but it could be", and what
// would make it so. Only the fields of its kind are set.
type Gate struct {
	Kind GateKind

	// Challenge. ACRValues, AMRValues and MaxAge mean what RFC 9470 and
	// OpenID Connect mean by acr_values, amr and max_age.
	ACRValues []string
	AMRValues []string
	MaxAge    *int64 // seconds since the authentication; nil if it does not matter
	Present   string // free text: what else to present

	// Escalate.
	Approvers []string      // names of groups or entities, any of whom may approve
	Approvals int           // how many of them have to, at least 1
	Within    time.Duration // how long a request for approval stays open; 0 if not limited here

	// Restrict.
	Obligation *Obligation
}

// An Obligation is what a PEP has to do when it lets a request through.
type Obligation struct {
	Type       string
	Properties json.RawMessage // an object, with sorted keys and without spaces; nil if none
}

// gateAnnotations lists which annotations belong to which kind of gate.
var gateAnnotations = map[GateKind][]string{
	Challenge: {"acr_values", "amr_values", "max_age", "present"},
	Escalate:  {"approvers", "approvals", "within"},
	Restrict:  {"obligation", "obligation_properties"},
}

var gateKinds = []GateKind{Challenge, Escalate, Restrict}

var overrideKind = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

// maxApprovals bounds @approvals; more than this is a slip of the pen.
const maxApprovals = 100

// annotate reads the annotations that Aver gives a meaning to. Others are
// kept, and mean nothing here.
func annotate(r *Rule, fail func(format string, args ...any)) {
	a := r.Annotations
	r.Reason = a["reason"]
	if kind, ok := a["overridable"]; ok {
		switch {
		case r.Effect != EffectForbid || a["gate"] != "":
			fail("@overridable belongs on a forbid that is not a gate")
		case !overrideKind.MatchString(kind):
			fail("@overridable(%q) is not a kind of exception such as %q", kind, "break_glass")
		default:
			r.Overridable = kind
		}
	}
	text, gated := a["gate"]
	kind := GateKind(text)
	switch {
	case gated && !slices.Contains(gateKinds, kind):
		fail("@gate(%q) is unknown: use challenge, escalate or restrict", text)
		return
	case gated && r.Effect != EffectForbid:
		fail("@gate belongs on a forbid: a permit cannot hold a request back")
		return
	}
	for _, k := range gateKinds {
		for _, name := range gateAnnotations[k] {
			if _, ok := a[name]; ok && k != kind {
				fail("@%s means something only beside @gate(%q)", name, k)
			}
		}
	}
	switch kind {
	case Challenge:
		r.Gate = challengeOf(a, fail)
	case Escalate:
		r.Gate = escalationOf(a, fail)
	case Restrict:
		r.Gate = restrictionOf(a, fail)
	}
}

func challengeOf(a map[string]string, fail func(string, ...any)) *Gate {
	g := &Gate{
		Kind:      Challenge,
		ACRValues: strings.Fields(a["acr_values"]),
		AMRValues: strings.Fields(a["amr_values"]),
		Present:   strings.TrimSpace(a["present"]),
	}
	if text, ok := a["max_age"]; ok {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			fail("@max_age(%q) is not a whole number of seconds, 0 or more", text)
		}
		g.MaxAge = &n
	}
	if len(g.ACRValues) == 0 && len(g.AMRValues) == 0 && g.MaxAge == nil && g.Present == "" {
		fail("a challenge says what to prove: add @acr_values, @amr_values, @max_age or @present")
	}
	return g
}

func escalationOf(a map[string]string, fail func(string, ...any)) *Gate {
	g := &Gate{Kind: Escalate, Approvals: 1}
	for name := range strings.SplitSeq(a["approvers"], ",") {
		if name = strings.TrimSpace(name); name != "" {
			g.Approvers = append(g.Approvers, name)
		}
	}
	if len(g.Approvers) == 0 {
		fail("an escalation says who may approve: add @approvers, with names separated by commas")
	}
	if text, ok := a["approvals"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxApprovals {
			fail("@approvals(%q) is not a whole number from 1 to %d", text, maxApprovals)
		}
		g.Approvals = n
	}
	if text, ok := a["within"]; ok {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			fail("@within(%q) is not a duration such as 30m or 24h", text)
		}
		g.Within = d
	}
	return g
}

func restrictionOf(a map[string]string, fail func(string, ...any)) *Gate {
	o := &Obligation{Type: strings.TrimSpace(a["obligation"])}
	if o.Type == "" {
		fail("a restriction says what the PEP has to do: add @obligation")
	}
	if text, ok := a["obligation_properties"]; ok {
		properties, err := canonicalObject(text)
		if err != nil {
			fail("@obligation_properties cannot be read as a JSON object: %v", err)
		}
		o.Properties = properties
	}
	return &Gate{Kind: Restrict, Obligation: o}
}

// canonicalObject writes a JSON object with sorted keys and without spaces,
// its numbers as they were.
func canonicalObject(text string) (json.RawMessage, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var parsed any
	if err := dec.Decode(&parsed); err != nil {
		return nil, err
	}
	v, ok := parsed.(map[string]any)
	if !ok {
		return nil, errors.New("it is another kind of JSON value")
	}
	if dec.More() || strings.TrimSpace(text[dec.InputOffset():]) != "" {
		return nil, errors.New("text follows the object")
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}
