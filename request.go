package aver

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
)

// Party is an AuthZEN subject or resource: an entity and what the caller says
// about it.
type Party struct {
	Ref
	Properties map[string]any // as ParseJSON makes them; nil when none were sent
}

// Action is an AuthZEN action.
type Action struct {
	Name       string
	Properties map[string]any
}

// Request is one AuthZEN evaluation request (Authorization API 1.0, section 6).
// The subject is the acting party.
//
// Context members that Aver gives a meaning:
//
//	on_behalf_of           {type, id} of the originating user the subject acts for
//	delegation             [grant ids], from the originating user to the subject
//	parts                  [{id, properties}] or [id], each decided by itself
//	supported_obligations  [types] of obligations the caller can carry out
//	approval               {id} of the approval that lets it through an escalate gate
//	challenge              {evaluation_id} of the decision whose challenge the caller has met
//	token                  the caller's access token, which becomes SubjectToken
//
// The member "aver" is reserved: what Aver itself vouches for stands there when
// policies are evaluated, so a request that brings it is refused.
type Request struct {
	Subject  Party
	Action   Action
	Resource Party
	Context  map[string]any

	// SubjectToken is the access token that the subject showed to the PEP; "" if
	// none was sent. It is in no JSON form of a request and not in its digest.
	SubjectToken string
	// Token is what was verified of it. It comes from whoever checked the token or,
	// when a record is decided again, from the record; never from a request.
	Token *Token
}

// MaxToken bounds a token, in bytes.
const MaxToken = 16 << 10

// Part is one part of what a request asks for: a field of an export, an item of
// a batch payment. When it is decided, its properties stand in for the
// resource's of the same name.
type Part struct {
	ID         string
	Properties map[string]any
}

// MaxParts bounds the parts of one request.
const MaxParts = 100

// RequestError says what is wrong with a request, and where.
type RequestError struct {
	Pointer string // RFC 6901, "/subject/id"
	Reason  string // one plain sentence, without a full stop
}

func (e *RequestError) Error() string { return e.Pointer + ": " + e.Reason }

// ParseRequest reads a request from what [ParseJSON] made of it. Members it does
// not know are ignored (AuthZEN), but not those whose name is that of a known
// member in another case: they are a mistake that would go unnoticed. The error
// is a [*RequestError].
//
// Missing members are no error here, see [Request.Validate]: in a batch they
// concern one item, not the whole.
func ParseRequest(v any) (*Request, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, &RequestError{"", "the request must be a JSON object"}
	}
	if _, err := checkCase("", object, "subject", "action", "resource", "context", "evaluations", "options"); err != nil {
		return nil, err
	}
	var r Request
	var err error
	if r.Subject, err = parseParty("/subject", object["subject"]); err != nil {
		return nil, err
	}
	if r.Resource, err = parseParty("/resource", object["resource"]); err != nil {
		return nil, err
	}
	if r.Action, err = parseAction(object["action"]); err != nil {
		return nil, err
	}
	if c := object["context"]; c != nil {
		if r.Context, ok = c.(map[string]any); !ok {
			return nil, &RequestError{"/context", "must be an object"}
		}
	}
	if err := r.takeToken(); err != nil {
		return nil, err
	}
	if err := r.checkContext(); err != nil {
		return nil, err
	}
	if err := r.checkReserved(); err != nil {
		return nil, err
	}
	return &r, nil
}

// takeToken moves context.token out of the context, so that nothing that keeps or
// shows a request has it. The map that was parsed is left as it is: the items of
// a batch share it.
func (r *Request) takeToken() error {
	v, ok := r.Context["token"]
	if !ok {
		return nil
	}
	r.Context = maps.Clone(r.Context)
	delete(r.Context, "token")
	if v == nil {
		return nil
	}
	if r.SubjectToken, ok = v.(string); !ok || r.SubjectToken == "" || len(r.SubjectToken) > MaxToken {
		return &RequestError{"/context/token", fmt.Sprintf("must be a token of 1 to %d bytes", MaxToken)}
	}
	return nil
}

// withheldMember marks, in a record, what is withheld of an object (RFC 9901,
// section 4.2.4.1). Nothing that is sent may be called that: a record with it
// would look as if something had been withheld.
const withheldMember = "_sd"

func (r *Request) checkReserved() error {
	for _, m := range []struct {
		pointer string
		values  map[string]any
	}{
		{"/subject/properties", r.Subject.Properties}, {"/action/properties", r.Action.Properties},
		{"/resource/properties", r.Resource.Properties}, {"/context", r.Context},
	} {
		if pointer, found := findMember(m.values, withheldMember, m.pointer); found {
			return &RequestError{pointer, "the name is reserved for withheld values (RFC 9901)"}
		}
	}
	return nil
}

// findMember returns the pointer of a member of that name, at any depth.
func findMember(v any, name, at string) (pointer string, found bool) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v[name]; ok {
			return at + "/" + name, true
		}
		for member, inner := range v {
			switch inner.(type) {
			case map[string]any, []any:
				if p, ok := findMember(inner, name, at+"/"+pointerEscaper.Replace(member)); ok && (!found || p < pointer) {
					pointer, found = p, true // of several, the same each time
				}
			}
		}
	case []any:
		for i, inner := range v {
			switch inner.(type) {
			case map[string]any, []any:
				if p, ok := findMember(inner, name, at+"/"+strconv.Itoa(i)); ok {
					return p, true
				}
			}
		}
	}
	return pointer, found
}

func parseParty(pointer string, v any) (p Party, err error) {
	if v == nil {
		return p, nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return p, &RequestError{pointer, "must be an object"}
	}
	if _, err := checkCase(pointer, object, "type", "id", "properties"); err != nil {
		return p, err
	}
	if p.Type, err = parseName(pointer, object, "type"); err != nil {
		return p, err
	}
	if p.ID, err = parseName(pointer, object, "id"); err != nil {
		return p, err
	}
	p.Properties, err = parseProperties(pointer, object)
	return p, err
}

func parseAction(v any) (a Action, err error) {
	if v == nil {
		return a, nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return a, &RequestError{"/action", "must be an object"}
	}
	if _, err := checkCase("/action", object, "name", "properties"); err != nil {
		return a, err
	}
	if a.Name, err = parseName("/action", object, "name"); err != nil {
		return a, err
	}
	a.Properties, err = parseProperties("/action", object)
	return a, err
}

func parseName(pointer string, object map[string]any, name string) (string, error) {
	v, ok := object[name]
	if !ok || v == nil {
		return "", nil
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return "", &RequestError{pointer + "/" + name, "must be a string"}
	case s == "":
		return "", &RequestError{pointer + "/" + name, "must not be empty"}
	case len(s) > maxNameSize:
		return "", &RequestError{pointer + "/" + name, fmt.Sprintf("is longer than %d bytes", maxNameSize)}
	}
	return s, nil
}

func parseProperties(pointer string, object map[string]any) (map[string]any, error) {
	v, ok := object["properties"]
	if !ok || v == nil {
		return nil, nil
	}
	properties, ok := v.(map[string]any)
	if !ok {
		return nil, &RequestError{pointer + "/properties", "must be an object"}
	}
	return properties, nil
}

// checkCase refuses members that differ from a known name only in case, and tells
// whether any has a known name.
func checkCase(pointer string, object map[string]any, known ...string) (any bool, err error) {
	wrong := false
	for name := range object {
		for _, k := range known {
			if strings.EqualFold(name, k) {
				any, wrong = any || name == k, wrong || name != k
				break
			}
		}
	}
	if !wrong {
		return any, nil
	}
	for _, name := range MemberNames(object) { // so that of several mistakes the same is told each time
		for _, k := range known {
			if name != k && strings.EqualFold(name, k) {
				return any, &RequestError{pointer + "/" + name, fmt.Sprintf("did you mean %q? Names are case-sensitive", k)}
			}
		}
	}
	return any, nil
}

func (r *Request) checkContext() error {
	if r.Context == nil {
		return nil
	}
	if _, ok := r.Context["aver"]; ok {
		return &RequestError{"/context/aver", "the name is reserved: what stands there is vouched for by Aver, so callers can't send it"}
	}
	any, err := checkCase("/context", r.Context, "aver", "on_behalf_of", "delegation", "parts", "supported_obligations", "approval", "challenge", "token")
	if err != nil || !any {
		return err
	}
	if v, ok := r.Context["on_behalf_of"]; ok && v != nil {
		p, err := parseParty("/context/on_behalf_of", v)
		if err != nil {
			return err
		}
		if p.Type == "" || p.ID == "" {
			return &RequestError{"/context/on_behalf_of", "needs a type and an id"}
		}
	}
	if err := checkStrings("/context/delegation", r.Context["delegation"], 100); err != nil {
		return err
	}
	if err := checkStrings("/context/supported_obligations", r.Context["supported_obligations"], 100); err != nil {
		return err
	}
	if err := r.checkCited(); err != nil {
		return err
	}
	_, err = r.parts()
	return err
}

func checkStrings(pointer string, v any, most int) error {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return &RequestError{pointer, "must be a list of strings"}
	}
	if len(list) > most {
		return &RequestError{pointer, fmt.Sprintf("has more than %d entries", most)}
	}
	for i, e := range list {
		if s, ok := e.(string); !ok || s == "" || len(s) > maxNameSize {
			return &RequestError{pointer + "/" + strconv.Itoa(i), fmt.Sprintf("must be a string of 1 to %d bytes", maxNameSize)}
		}
	}
	return nil
}

func (r *Request) parts() ([]Part, error) {
	v := r.Context["parts"]
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, &RequestError{"/context/parts", "must be a list of at least one part, each an id or {\"id\", \"properties\"}"}
	}
	if len(list) > MaxParts {
		return nil, &RequestError{"/context/parts", fmt.Sprintf("has more than %d parts; split the request", MaxParts)}
	}
	parts := make([]Part, len(list))
	seen := make(map[string]bool, len(list))
	for i, e := range list {
		at := "/context/parts/" + strconv.Itoa(i)
		var err error
		switch e := e.(type) {
		case string:
			parts[i].ID = e
		case map[string]any:
			if _, err := checkCase(at, e, "id", "properties"); err != nil {
				return nil, err
			}
			if parts[i].ID, err = parseName(at, e, "id"); err != nil {
				return nil, err
			}
			if parts[i].Properties, err = parseProperties(at, e); err != nil {
				return nil, err
			}
		default:
			return nil, &RequestError{at, "must be an id or an object"}
		}
		switch id := parts[i].ID; {
		case id == "" || len(id) > maxNameSize:
			return nil, &RequestError{at, fmt.Sprintf("needs an id of 1 to %d bytes", maxNameSize)}
		case seen[id]:
			return nil, &RequestError{at, "has the id of an earlier part"}
		}
		seen[parts[i].ID] = true
	}
	return parts, nil
}

// Validate reports the first required member that is missing (AuthZEN 1.0,
// section 5) as a [*RequestError].
func (r *Request) Validate() error {
	for _, m := range []struct{ pointer, value string }{
		{"/subject/type", r.Subject.Type}, {"/subject/id", r.Subject.ID},
		{"/action/name", r.Action.Name},
		{"/resource/type", r.Resource.Type}, {"/resource/id", r.Resource.ID},
	} {
		if m.value == "" {
			return &RequestError{m.pointer, "is required"}
		}
	}
	return nil
}

// OnBehalfOf returns the originating user that the caller names, and whether it
// names one.
func (r *Request) OnBehalfOf() (Ref, bool) {
	object, ok := r.Context["on_behalf_of"].(map[string]any)
	if !ok {
		return Ref{}, false
	}
	typ, _ := object["type"].(string)
	id, _ := object["id"].(string)
	return Ref{Type: typ, ID: id}, true
}

// Delegation returns the ids of the grants the caller cites, from the
// originating user to the subject.
func (r *Request) Delegation() []string { return r.contextStrings("delegation") }

// SupportedObligations returns the types of obligations that the caller can
// carry out (AuthZEN obligations profile).
func (r *Request) SupportedObligations() []string { return r.contextStrings("supported_obligations") }

func (r *Request) contextStrings(name string) []string {
	list, _ := r.Context[name].([]any)
	out := make([]string, 0, len(list))
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// Parts returns the parts the request names, nil when it is to be decided as a
// whole.
func (r *Request) Parts() []Part {
	parts, _ := r.parts()
	return parts
}

// Tool returns the tool that the request names (C2): the action property
// "tool", or the id of a resource of type "tool"; "" when it names none.
func (r *Request) Tool() string {
	if tool, ok := r.Action.Properties["tool"].(string); ok {
		return tool
	}
	if r.Resource.Type == "tool" {
		return r.Resource.ID
	}
	return ""
}

// JSON returns the request in its AuthZEN form, made of the types of
// [AppendCanonical]. It shares the maps of r.
func (r *Request) JSON() map[string]any {
	object := map[string]any{}
	action := map[string]any{}
	if r.Action.Name != "" {
		action["name"] = r.Action.Name
	}
	if r.Action.Properties != nil {
		action["properties"] = r.Action.Properties
	}
	for name, member := range map[string]map[string]any{
		"subject": r.Subject.json(), "action": action, "resource": r.Resource.json(),
	} {
		if len(member) > 0 { // one without its required members is kept: what was sent is evidence
			object[name] = member
		}
	}
	if r.Context != nil {
		object["context"] = r.Context
	}
	return object
}

func (p *Party) json() map[string]any {
	object := map[string]any{}
	if p.Type != "" {
		object["type"] = p.Type
	}
	if p.ID != "" {
		object["id"] = p.ID
	}
	if p.Properties != nil {
		object["properties"] = p.Properties
	}
	return object
}

// AppendCanonical appends the canonical form of [Request.JSON].
func (r *Request) AppendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	if r.Action.Name != "" || r.Action.Properties != nil {
		o.name("action")
		a := object{dst: o.dst}
		if r.Action.Name != "" {
			a.string("name", r.Action.Name)
		}
		a.values("properties", r.Action.Properties)
		o.dst = a.close()
	}
	o.values("context", r.Context)
	o.party("resource", &r.Resource)
	o.party("subject", &r.Subject)
	return o.close()
}

func (o *object) party(name string, p *Party) {
	if p.Type == "" && p.ID == "" && p.Properties == nil {
		return
	}
	o.name(name)
	m := object{dst: o.dst}
	if p.ID != "" {
		m.string("id", p.ID)
	}
	m.values("properties", p.Properties)
	if p.Type != "" {
		m.string("type", p.Type)
	}
	o.dst = m.close()
}

// values writes an object, and nothing for one that is nil.
func (o *object) values(name string, values map[string]any) {
	if values != nil {
		o.name(name)
		o.dst = AppendCanonical(o.dst, values)
	}
}

// MarshalJSON returns the canonical form of the request. Unlike [Request.JSON]
// and [Request.Digest] it takes properties of any type that encoding/json can
// write, so a request can be put together in Go; the error says which value has
// no canonical form.
func (r *Request) MarshalJSON() ([]byte, error) { return CanonicalJSON(r.JSON()) }

// UnmarshalJSON reads a request as strictly as [ParseJSON] and [ParseRequest].
func (r *Request) UnmarshalJSON(text []byte) error {
	parsed, err := ReadRequest(text, Limits{})
	if err == nil {
		*r = *parsed
	}
	return err
}

// Digest is the SHA-256 of the canonical request, with all members that AuthZEN
// defines, in unpadded base64url. Members that Aver ignores do not count, nor
// do those of AuthZEN that are null.
func (r *Request) Digest() string {
	buf := digestBuffers.Get().(*[]byte)
	defer digestBuffers.Put(buf)
	*buf = r.AppendCanonical((*buf)[:0])
	return Digest(*buf)
}

var digestBuffers = sync.Pool{New: func() any { buf := make([]byte, 0, 1024); return &buf }}

// Digest is the form in which Aver writes SHA-256 values: unpadded base64url,
// 43 characters.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	var text [43]byte
	base64.RawURLEncoding.Encode(text[:], sum[:])
	return string(text[:])
}
