package pdp

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/policy"
)

// sdMember is the member that holds the digests of withheld members, and
// nothing else may be called that (RFC 9901, section 4.2.4.1).
const sdMember = "_sd"

// minimise returns, in canonical form, the members of the request that an
// evaluation can have read, what bundles retain, and what Aver itself reads; and
// the paths of what it left out. Deciding the result gives the same decision as
// deciding the request.
func minimise(st *authority.State, q *Query, e *Evidence) (kept []byte, omitted []string) {
	if e.everything || q.administrative { // Aver's own question says nothing that is not meant to be kept
		return aver.AppendCanonical(nil, q.Request.JSON()), nil
	}
	others := slices.Clip(e.others)
	for _, g := range e.grants {
		if g.Limits != nil {
			for _, s := range g.Limits.Sums {
				others = append(others, policy.ReadSet{}.With(policy.Path(s.Attribute)))
			}
		}
	}
	read := q.Policies(st).Sieves(e.results, others, e.twoParts)
	read.Action, read.Context = read.Action.With(actionNames...), read.Context.With(contextNames...)
	var instead map[string]any
	// Policies that read the parts in the context must find them as they were sent.
	if q.parts[0].id != "" && !read.Context.Keeps("parts") {
		instead = map[string]any{"parts": reduceParts(q.Request.Parts(), read.Resource, &omitted)}
	}
	kept = q.Request.AppendReduced(make([]byte, 0, 512), func(dst []byte, of string, values map[string]any) ([]byte, bool) {
		switch of {
		case "subject":
			return read.Subject.Append(dst, values, nil, &omitted, "principal")
		case "resource":
			return read.Resource.Append(dst, values, nil, &omitted, "resource")
		case "action":
			return read.Action.Append(dst, values, nil, &omitted, "action")
		}
		return read.Context.Append(dst, values, instead, &omitted, "context")
	})
	slices.Sort(omitted)
	return kept, slices.Compact(omitted)
}

// What Aver itself reads of the action and of the context.
var (
	actionNames  = []string{"tool"}
	contextNames = []string{"on_behalf_of", "delegation", "parts", "supported_obligations", "approval", "challenge"}
)

// reduceParts keeps of the parts what a sieve keeps.
func reduceParts(parts []aver.Part, s policy.Sieve, omitted *[]string) []any {
	list := make([]any, len(parts))
	for i, p := range parts {
		list[i] = p.ID
		text, some := s.Append(nil, p.Properties, nil, omitted, "resource")
		if !some {
			continue
		}
		properties, err := aver.ParseJSON(text, aver.Limits{Bytes: len(text)})
		if err != nil {
			panic(fmt.Sprintf("pdp: part %q: %v", p.ID, err)) // it was made canonical a line above
		}
		list[i] = map[string]any{"id": p.ID, "properties": properties}
	}
	return list
}

// withhold moves the sensitive members out of a request: each is replaced by a
// salted digest in the "_sd" list of its object, and stands in a disclosure
// (RFC 9901). Objects on the way are copied, never changed.
func withhold(request map[string]any, sensitive []policy.Path, random io.Reader) (map[string]any, []string, error) {
	if len(sensitive) == 0 {
		return request, nil, nil
	}
	var disclosures []string
	for _, p := range sensitive {
		elements := p.Elements()
		places := [][]string{{"context"}}
		switch elements[0] {
		case "principal":
			places = [][]string{{"subject", "properties"}}
		case "action":
			places = [][]string{{"action", "properties"}}
		case "resource":
			places = [][]string{{"resource", "properties"}}
			if context, ok := request["context"].(map[string]any); ok {
				list, _ := context["parts"].([]any)
				parts := slices.Clone(list)
				for i, part := range parts {
					object, ok := part.(map[string]any)
					if !ok {
						continue
					}
					var err error
					var out any
					if out, disclosures, err = withholdAt(object, append([]string{"properties"}, elements[1:]...), disclosures, random); err != nil {
						return nil, nil, err
					}
					parts[i] = out
				}
				if parts != nil {
					request, context = maps.Clone(request), maps.Clone(context)
					context["parts"], request["context"] = parts, context
				}
			}
		}
		for _, place := range places {
			out, more, err := withholdAt(request, append(place, elements[1:]...), disclosures, random)
			if err != nil {
				return nil, nil, err
			}
			request, disclosures = out.(map[string]any), more
		}
	}
	slices.Sort(disclosures)
	return request, disclosures, nil
}

func withholdAt(v any, path, disclosures []string, random io.Reader) (any, []string, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return v, disclosures, nil
	}
	value, ok := object[path[0]]
	if !ok {
		return v, disclosures, nil
	}
	object = maps.Clone(object)
	if len(path) > 1 {
		inner, more, err := withholdAt(value, path[1:], disclosures, random)
		object[path[0]] = inner
		return object, more, err
	}
	salt := make([]byte, 16)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, nil, fmt.Errorf("salt of a disclosure: %w", err)
	}
	plain := aver.AppendCanonical(nil, []any{base64.RawURLEncoding.EncodeToString(salt), path[0], value})
	disclosure := base64.RawURLEncoding.EncodeToString(plain)
	delete(object, path[0])
	digests, _ := object[sdMember].([]any)
	digests = append(slices.Clone(digests), aver.Digest([]byte(disclosure)))
	slices.SortFunc(digests, func(a, b any) int {
		if a.(string) < b.(string) {
			return -1
		}
		return 1
	})
	object[sdMember] = digests
	return object, append(disclosures, disclosure), nil
}

// Disclose puts the disclosed members back into a recorded request. Missing
// lists the places, as JSON pointers, where a digest has no disclosure: what
// stood there was withheld or erased.
//
// The token that came with the request stands beside it: see [Reopen].
func Disclose(request []byte, disclosures []string) (disclosed *aver.Request, missing []string, err error) {
	v, err := aver.ParseJSON(request, aver.Limits{Bytes: len(request)})
	if err != nil {
		return nil, nil, fmt.Errorf("recorded request: %w", err)
	}
	return discloseIn(v, disclosures)
}

// discloseIn is [Disclose] in a request that was parsed; it changes that.
func discloseIn(v any, disclosures []string) (disclosed *aver.Request, missing []string, err error) {
	by := make(map[string][]any, len(disclosures))
	for _, d := range disclosures {
		list, err := parseDisclosure(d)
		if err != nil {
			return nil, nil, err
		}
		by[aver.Digest([]byte(d))] = list
	}
	if withholds(v) {
		if v, missing, err = disclose(v, "", by); err != nil {
			return nil, nil, err
		}
	}
	disclosed, err = aver.ParseRequest(v)
	return disclosed, missing, err
}

// withholds tells whether there is anything to disclose in a request; few have any.
func withholds(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v[sdMember]; ok {
			return true
		}
		for _, inner := range v {
			if withholds(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, withholds)
	}
	return false
}

// Reopen returns what was decided: the recorded request with what was disclosed
// of it, and the token that was verified with it (nil: none came). Missing is
// that of [Disclose].
func Reopen(request []byte, token *aver.Token, disclosures []string) (req *aver.Request, missing []string, err error) {
	if req, missing, err = Disclose(request, disclosures); err == nil {
		req.Token = token
	}
	return req, missing, err
}

// ReadEntry reads an entry of the decision log: the record, and what was decided, as
// [Reopen] has it.
func ReadEntry(e ledger.Entry) (record *aver.Record, req *aver.Request, missing []string, err error) {
	record, request, err := aver.ReadRecord(e.Payload)
	if err != nil {
		return nil, nil, nil, err
	}
	disclosures, err := ParseDisclosures(e.Private)
	if err != nil {
		return nil, nil, nil, err
	}
	if req, missing, err = discloseIn(request, disclosures); err != nil {
		return nil, nil, nil, err
	}
	req.Token = record.Token
	return record, req, missing, nil
}

func disclose(v any, pointer string, by map[string][]any) (any, []string, error) {
	object, ok := v.(map[string]any)
	if !ok {
		list, _ := v.([]any)
		var missing []string
		for i, e := range list {
			inner, more, err := disclose(e, fmt.Sprintf("%s/%d", pointer, i), by)
			if err != nil {
				return nil, nil, err
			}
			list[i], missing = inner, append(missing, more...)
		}
		return v, missing, nil
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if name == sdMember {
			continue
		}
		inner, more, err := disclose(object[name], pointer+"/"+name, by)
		if err != nil {
			return nil, nil, err
		}
		object[name], missing = inner, append(missing, more...)
	}
	digests, _ := object[sdMember].([]any)
	delete(object, sdMember)
	for _, digest := range digests {
		text, _ := digest.(string)
		d, ok := by[text]
		if !ok {
			missing = append(missing, pointer+"/"+sdMember+"/"+text)
			continue
		}
		name, ok := d[1].(string)
		if _, twice := object[name]; !ok || twice || name == sdMember {
			return nil, nil, fmt.Errorf("disclosure at %s: the name %v can't stand there", pointer, d[1])
		}
		object[name] = d[2]
	}
	return object, missing, nil
}

// ParseDisclosures reads the private part of a record's entry.
func ParseDisclosures(private []byte) ([]string, error) {
	if len(private) == 0 {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal(private, &list); err != nil {
		return nil, fmt.Errorf("disclosures: %w", err)
	}
	return list, nil
}

// DisclosedValue reads the value of a disclosure.
func DisclosedValue(disclosure string) (any, error) {
	list, err := parseDisclosure(disclosure)
	if err != nil {
		return nil, err
	}
	return list[2], nil
}

// parseDisclosure reads the array [salt, name, value] of a disclosure.
func parseDisclosure(disclosure string) ([]any, error) {
	plain, err := base64.RawURLEncoding.DecodeString(disclosure)
	if err != nil {
		return nil, fmt.Errorf("disclosure: %w", err)
	}
	parsed, err := aver.ParseJSON(plain, aver.Limits{})
	if err != nil {
		return nil, fmt.Errorf("disclosure: %w", err)
	}
	list, ok := parsed.([]any)
	if !ok || len(list) != 3 {
		return nil, fmt.Errorf("disclosure: it is not [salt, name, value]")
	}
	return list, nil
}

// salt returns 128 random bits in base64url. crypto/rand never fails.
func salt() string {
	var b [16]byte
	rand.Read(b[:])
	var text [22]byte
	base64.RawURLEncoding.Encode(text[:], b[:])
	return string(text[:])
}

// Lacks returns which of the omitted paths of a record the decision could have
// read. When there are any, the decision shows nothing about the record.
func (e *Evidence) Lacks(omitted []string) []string {
	if len(omitted) == 0 {
		return nil
	}
	var lacks []string
	for _, path := range omitted {
		if e.couldRead(policy.Path(path)) {
			lacks = append(lacks, path)
		}
	}
	return lacks
}

// couldRead tells whether what was omitted at a path can have been read: there, or as
// what stands at the same place of the other part that the same entity plays.
func (e *Evidence) couldRead(path policy.Path) bool {
	if e.mayRead(path) {
		return true
	}
	if !e.twoParts {
		return false
	}
	for _, parts := range [][2]string{{"principal", "resource"}, {"resource", "principal"}} {
		if rest, ok := strings.CutPrefix(string(path), parts[0]); ok {
			return e.mayRead(policy.Path(parts[1] + rest))
		}
	}
	return false
}
