package pack

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/policy"
)

// RedactSensitive withholds all that bundles classify as sensitive.
const RedactSensitive = "sensitive"

const maxRedact = 100

func checkRedact(list []string) error {
	if len(list) > maxRedact {
		return bad("at most %d attributes can be named", maxRedact)
	}
	for _, path := range list {
		if path == RedactSensitive {
			continue
		}
		if e := policy.Path(path).Elements(); len(e) < 2 || !slices.Contains([]string{"principal", "action", "resource", "context"}, e[0]) {
			return bad("%q can't be withheld: give sensitive, or an attribute such as resource.amount, principal.email or context.ip", path)
		}
	}
	return nil
}

// redact takes out what the request asks to withhold: a disclosure alone, where a record commits to the value by a digest
// of its own; else the whole payload that holds it. The leaf, and its proof, always stay.
func (m *maker) redact(context.Context) error {
	if len(m.r.Redact) == 0 {
		return nil
	}
	all := slices.Contains(m.r.Redact, RedactSensitive)
	var paths [][]string
	registered := map[policy.Path][]string{} // what events must not tell
	for _, p := range m.r.Redact {
		if p != RedactSensitive {
			path := policy.Path(p)
			paths = append(paths, path.Elements())
			registered[path] = path.Elements()
		}
	}
	for _, d := range m.decisions {
		if d.record == nil {
			continue
		}
		if all {
			st, err := m.states.At(d.record.Authority.Size)
			if err != nil {
				return err
			}
			for _, v := range st.ActiveBundles() {
				for _, p := range v.Bundle.Meta().Sensitive {
					registered[p] = p.Elements()
				}
			}
		}
		if err := m.redactDecision(d, all, paths); err != nil {
			return fmt.Errorf("decision %s: %w", d.leaf.ID, err)
		}
	}
	attributes := slices.SortedFunc(maps.Values(registered), slices.Compare)
	for index, e := range m.loaded {
		if m.gone[index] != "" {
			continue
		}
		event, err := aver.ParseEvent(e.Payload)
		if err != nil {
			return fmt.Errorf("authority log, entry %d: %w", index, err)
		}
		for _, p := range attributes {
			if eventHolds(event, p) {
				m.gone[index] = "withheld in this pack: " + strings.Join(p, ".") + " stands in it"
				break
			}
		}
	}
	return nil
}

func (m *maker) redactDecision(d *decision, all bool, paths [][]string) error {
	request, err := aver.ParseJSON(d.record.Request, aver.Limits{Bytes: len(d.record.Request)})
	if err != nil {
		return err
	}
	for _, p := range paths {
		if requestHolds(request, p) {
			d.withheld = "withheld in this pack: " + strings.Join(p, ".") + " stands in it"
			return nil
		}
	}
	places := map[string][]string{}
	digestsIn(request, nil, places)
	kept := []string{}
	for _, disclosure := range d.disclosures {
		digest := aver.Digest([]byte(disclosure))
		at, value, err := disclosed(disclosure, places[digest])
		if err != nil {
			return err
		}
		withhold := all
		for _, p := range paths {
			withhold = withhold || covers(p, at) || holds(value, after(at, p))
		}
		if withhold {
			m.withheld = append(m.withheld, evidence.Withheld{Log: evidence.DecisionLog, Index: d.Index, What: digest, Why: "withheld in this pack"})
		} else {
			kept = append(kept, disclosure)
		}
	}
	d.disclosures = kept
	return nil
}

// erased says of values that records commit to and whose disclosures the log has no more that they are gone.
func (m *maker) erased(context.Context) error {
	said := map[string]bool{}
	for _, w := range m.withheld {
		said[w.What] = true
	}
	for _, d := range m.decisions {
		if d.record == nil || d.withheld != "" {
			continue
		}
		request, err := aver.ParseJSON(d.record.Request, aver.Limits{Bytes: len(d.record.Request)})
		if err != nil {
			return err
		}
		committed := map[string][]string{}
		digestsIn(request, nil, committed)
		for _, disclosure := range d.disclosures {
			delete(committed, aver.Digest([]byte(disclosure)))
		}
		for digest := range committed {
			if !said[digest] {
				m.withheld = append(m.withheld, evidence.Withheld{Log: evidence.DecisionLog, Index: d.Index, What: digest, Why: "it was erased from the log"})
			}
		}
	}
	return nil
}

// disclosed reads a disclosure that is committed to in an object at a place of
// the request, and returns the path of its attribute and the value.
func disclosed(disclosure string, place []string) (path []string, value any, err error) {
	plain, err := base64.RawURLEncoding.DecodeString(disclosure)
	if err != nil {
		return nil, nil, fmt.Errorf("disclosure: %w", err)
	}
	triple, err := aver.ParseJSON(plain, aver.Limits{})
	if err != nil {
		return nil, nil, fmt.Errorf("disclosure: %w", err)
	}
	list, _ := triple.([]any)
	if len(list) != 3 {
		return nil, nil, fmt.Errorf("disclosure: it is not [salt, name, value]")
	}
	name, _ := list[1].(string)
	return append(attributePath(place), name), list[2], nil
}

// attributePath turns a place in a request into the path of an attribute, as
// policies name it: properties of parts are the resource's.
func attributePath(place []string) []string {
	switch {
	case len(place) >= 2 && place[1] == "properties":
		first := place[0]
		if first == "subject" {
			first = "principal"
		}
		return append([]string{first}, place[2:]...)
	case len(place) >= 4 && place[0] == "context" && place[1] == "parts" && place[3] == "properties":
		return append([]string{"resource"}, place[4:]...)
	}
	return slices.Clone(place)
}

// digestsIn finds the objects in which digests of disclosures stand.
func digestsIn(v any, at []string, out map[string][]string) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			digestsIn(e, append(slices.Clip(at), fmt.Sprint(i)), out)
		}
	case map[string]any:
		for name, e := range v {
			if list, ok := e.([]any); ok && name == "_sd" {
				for _, d := range list {
					if digest, ok := d.(string); ok {
						out[digest] = at
					}
				}
				continue
			}
			digestsIn(e, append(slices.Clip(at), name), out)
		}
	}
}

// covers reports whether p names the attribute at a path, or what it is in.
func covers(p, path []string) bool { return len(p) <= len(path) && slices.Equal(p, path[:len(p)]) }

// after is the rest of p below a path; nil if it does not lie below.
func after(path, p []string) []string {
	if len(p) > len(path) && slices.Equal(path, p[:len(path)]) {
		return p[len(path):]
	}
	return nil
}

func holds(v any, path []string) bool {
	for i, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return false
		}
		if v, ok = object[name]; !ok {
			return false
		}
		if i == len(path)-1 {
			return true
		}
	}
	return false
}

// requestHolds reports whether an attribute stands in a request as it is.
func requestHolds(request any, p []string) bool {
	switch p[0] {
	case "principal":
		return holds(request, append([]string{"subject", "properties"}, p[1:]...))
	case "context":
		return holds(request, p)
	}
	if holds(request, append([]string{p[0], "properties"}, p[1:]...)) {
		return true
	}
	object, _ := request.(map[string]any)
	context, _ := object["context"].(map[string]any)
	parts, _ := context["parts"].([]any)
	return p[0] == "resource" && slices.ContainsFunc(parts, func(part any) bool {
		return holds(part, append([]string{"properties"}, p[1:]...))
	})
}

// eventHolds reports whether an attribute of an entity, or of a request that
// somebody is to approve, stands in an event as it is.
func eventHolds(e *aver.Event, p []string) bool {
	var data map[string]any
	if json.Unmarshal(e.Data, &data) != nil {
		return false
	}
	switch e.Type {
	case aver.EventIdentityRegistered, aver.EventIdentityUpdated, aver.EventEntityPut:
		return (p[0] == "principal" || p[0] == "resource") && holds(data["properties"], p[1:])
	case aver.EventApprovalRequested:
		return requestHolds(data["request"], p)
	}
	return false
}
