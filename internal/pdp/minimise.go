package pdp

import (
	"bytes"
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

// minimise puts the canonical form of the request into w.full, and into w.kept
// what of it an evaluation can have read, what bundles retain, and what Aver
// itself reads; it returns the paths of what it left out. Deciding what is kept
// gives the same decision as deciding the request.
func (w *encoder) minimise(st *authority.State, q *Query, e *Evidence) (omitted []string) {
	if e.everything || q.administrative { // Aver's own question says nothing that is not meant to be kept
		w.full = q.Request.AppendCanonical(w.full[:0])
		w.kept = append(w.kept[:0], w.full...)
		return nil
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
	var instead map[string][]byte
	// Policies that read the parts in the context must find them as they were sent.
	if q.parts[0].id != "" && !read.Context.Keeps("parts") {
		instead = map[string][]byte{"parts": reduceParts(q.Request.Parts(), read.Resource, &omitted)}
	}
	read.Action, read.Context = read.Action.With(actionNames...), read.Context.With(contextNames...)
	w.full, w.kept = q.Request.AppendReduced(w.full[:0], w.kept[:0], func(full, kept []byte, of string, values map[string]any) ([]byte, []byte, bool) {
		switch of {
		case "subject":
			return read.Subject.Append(full, kept, values, nil, &omitted, "principal")
		case "resource":
			return read.Resource.Append(full, kept, values, nil, &omitted, "resource")
		case "action":
			return read.Action.Append(full, kept, values, nil, &omitted, "action")
		}
		return read.Context.Append(full, kept, values, instead, &omitted, "context")
	})
	slices.Sort(omitted)
	return slices.Compact(omitted)
}

// What Aver itself reads of the action and of the context.
var (
	actionNames  = []string{"tool"}
	contextNames = []string{"on_behalf_of", "delegation", "parts", "supported_obligations", "approval", "challenge"}
)

// reduceParts returns the canonical form of what a sieve keeps of the parts.
func reduceParts(parts []aver.Part, s policy.Sieve, omitted *[]string) []byte {
	text := []byte{'['}
	var full, properties []byte
	for i, p := range parts {
		if i > 0 {
			text = append(text, ',')
		}
		var some bool
		if full, properties, some = s.Append(full[:0], properties[:0], p.Properties, nil, omitted, "resource"); !some {
			text = aver.AppendString(text, p.ID)
			continue
		}
		text = aver.AppendString(append(text, `{"id":`...), p.ID)
		text = append(append(append(text, `,"properties":`...), properties...), '}')
	}
	return append(text, ']')
}

// withhold moves the sensitive members out of a request in canonical form: each is
// replaced by a salted digest in the "_sd" list of its object, and stands in a
// disclosure (RFC 9901). What it returns may be written over the request.
func withhold(request []byte, sensitive []policy.Path, random io.Reader) (out []byte, disclosures []string, err error) {
	var paths [][]string
	var room [64]byte
	for _, p := range sensitive {
		path := p.Elements()
		if bytes.Contains(request, append(aver.AppendString(room[:0], path[len(path)-1]), ':')) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return request, nil, nil
	}
	v, err := aver.ParseJSON(request, aver.Limits{Bytes: len(request)})
	if err != nil {
		return nil, nil, fmt.Errorf("request: %w", err)
	}
	object := v.(map[string]any)
	w := withholder{random: random}
	for _, path := range paths {
		place := []string{"context"}
		switch path[0] {
		case "principal":
			place = []string{"subject", "properties"}
		case "action":
			place = []string{"action", "properties"}
		case "resource":
			place = []string{"resource", "properties"}
			context, _ := object["context"].(map[string]any)
			parts, _ := context["parts"].([]any)
			for _, part := range parts {
				if err := w.move(part, append(place[1:2:2], path[1:]...)); err != nil {
					return nil, nil, err
				}
			}
		}
		if err := w.move(object, append(place, path[1:]...)); err != nil {
			return nil, nil, err
		}
	}
	if len(w.disclosures) > 0 {
		request = aver.AppendCanonical(request[:0], object)
	}
	slices.Sort(w.disclosures)
	return request, w.disclosures, nil
}

type withholder struct {
	random      io.Reader
	salt        [16]byte
	plain, text []byte // of a disclosure
	disclosures []string
}

// move withholds the member at the end of a path, if it is there.
func (w *withholder) move(v any, path []string) error {
	object, _ := v.(map[string]any)
	name := path[0]
	value, ok := object[name]
	switch {
	case !ok:
		return nil
	case len(path) > 1:
		return w.move(value, path[1:])
	}
	if _, err := io.ReadFull(w.random, w.salt[:]); err != nil {
		return fmt.Errorf("salt of a disclosure: %w", err)
	}
	w.plain = base64.RawURLEncoding.AppendEncode(append(w.plain[:0], `["`...), w.salt[:])
	w.plain = aver.AppendString(append(w.plain, `",`...), name)
	w.plain = append(aver.AppendCanonical(append(w.plain, ','), value), ']')
	w.text = base64.RawURLEncoding.AppendEncode(w.text[:0], w.plain)
	w.disclosures = append(w.disclosures, string(w.text))
	delete(object, name)
	digests, _ := object[sdMember].([]any)
	digests = append(digests, aver.Digest(w.text))
	slices.SortFunc(digests, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	object[sdMember] = digests
	return nil
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
	return DiscloseIn(v, disclosures)
}

// DiscloseIn is [Disclose] in a request that was parsed; it changes that.
func DiscloseIn(v any, disclosures []string) (disclosed *aver.Request, missing []string, err error) {
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
	if req, missing, err = DiscloseIn(request, disclosures); err != nil {
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
	elements := path.Elements()
	if e.mayReadAt(elements) {
		return true
	}
	if !e.twoParts || len(elements) == 0 {
		return false
	}
	switch elements[0] {
	case "principal":
		elements[0] = "resource"
	case "resource":
		elements[0] = "principal"
	}
	return e.mayReadAt(elements)
}
