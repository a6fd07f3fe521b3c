package aver

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
)

// Semantics names the rules by which a decision follows from state, request and
// time. Every released one stays runnable for replay.
const Semantics = "aver/1"

// The kinds of entries. Decisions and activities stand in the decision log,
// events in the authority log.
const (
	KindDecision = "decision"
	KindActivity = "activity"
	KindEvent    = "event"
)

// Record is one entry of the decision log: everything that is needed, with the
// authority log, to decide again (D2, G3). Its canonical form is the payload.
type Record struct {
	ID        string          `json:"id"`   // the evaluation id, a UUIDv7
	Kind      string          `json:"kind"` // "decision"
	Time      Time            `json:"time"` // the time it was decided at
	Semantics string          `json:"semantics"`
	Engine    string          `json:"engine"`    // "cedar-go/v1.9.0"
	Authority TreeHead        `json:"authority"` // the prefix of the authority log it was decided at
	Policies  string          `json:"policies"`  // digest of the active policy set
	PEP       PEP             `json:"pep"`
	Request   json.RawMessage `json:"request"`           // reduced to what policies can read and bundles retain
	Full      string          `json:"request_digest"`    // digest of the request as it was sent
	Omitted   Paths           `json:"omitted,omitempty"` // attribute paths that were sent and are not kept
	Facts     Facts           `json:"facts,omitzero"`    // what was looked up in the state, absent ones included
	Decision  Decision        `json:"decision"`
	Salt      string          `json:"salt"`            // 128 random bits, so that the leaf does not betray the payload
	Token     *Token          `json:"token,omitempty"` // what was verified of the token that came with the request
}

// TreeHead is a size and root hash (RFC 6962) of a log.
type TreeHead struct {
	Root string `json:"root"` // standard base64
	Size uint64 `json:"size"`
}

// PEP is who asked: the policy enforcement point as it authenticated itself.
type PEP struct {
	Credential string `json:"credential"`           // name of the credential, never the credential
	Instance   string `json:"instance,omitempty"`   // which of the PEP's processes, as it says
	RequestID  string `json:"request_id,omitempty"` // as the PEP named the request
	Sequence   uint64 `json:"sequence,omitempty"`   // the instance's number for the request, from 1; 0: not numbered

	Authentication *Authentication `json:"authentication,omitempty"` // by a token of an issuer; nil: by a credential of Aver's own
}

// Facts cites the entities that were looked up in the authority state. Each that
// is registered is cited by the index of the event that last set it, so that
// what many decisions share is not repeated. What is not registered is listed,
// but not where it is named already: the request's own subject, action and
// resource, the delegators of the frames, and the parents of what is registered.
type Facts struct {
	Absent []Ref    `json:"absent,omitempty"` // looked up and not registered; sorted by type, then id
	Events []uint64 `json:"events,omitempty"` // indexes in the authority log, ascending
}

// IsZero reports whether nothing is cited.
func (f Facts) IsZero() bool { return len(f.Absent) == 0 && len(f.Events) == 0 }

// Leaf is what the log's Merkle tree commits to: no personal data, never
// deleted. It commits to the payload by its SHA-256.
type Leaf struct {
	Class   string // retention class, "" for standard
	ID      string
	Kind    string   // "decision", "activity" or "event"
	Outcome *Outcome // of a decision
	Type    string   // of an event; the status of an activity
	Payload string   // SHA-256 of the payload in hexadecimal, as sha256sum prints it
	Time    Time
}

// NewLeaf returns the leaf for a payload; the caller sets Outcome or Type.
func NewLeaf(kind, id string, t Time, payload []byte) Leaf {
	sum := sha256.Sum256(payload)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return Leaf{ID: id, Kind: kind, Payload: string(text[:]), Time: t}
}

// AppendCanonical appends the leaf's canonical bytes.
func (l *Leaf) AppendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	if l.Class != "" {
		o.string("class", l.Class)
	}
	o.string("id", l.ID)
	o.string("kind", l.Kind)
	if l.Outcome != nil {
		o.string("outcome", l.Outcome.String())
	}
	o.string("payload", l.Payload)
	o.time("time", l.Time)
	if l.Type != "" {
		o.string("type", l.Type)
	}
	return o.close()
}

// ParseLeaf reads a leaf and refuses one that is not in canonical form.
func ParseLeaf(text []byte) (Leaf, error) {
	var l Leaf
	m := readMembers(text)
	l.read(&m)
	if !m.failed && l.writes(text) {
		return l, nil
	}
	var in struct {
		Class   string   `json:"class"`
		ID      string   `json:"id"`
		Kind    string   `json:"kind"`
		Outcome *Outcome `json:"outcome"`
		Payload string   `json:"payload"`
		Time    Time     `json:"time"`
		Type    string   `json:"type"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return Leaf{}, fmt.Errorf("leaf: %w", err)
	}
	l = Leaf{in.Class, in.ID, in.Kind, in.Outcome, in.Type, in.Payload, in.Time}
	if !l.writes(text) {
		return Leaf{}, fmt.Errorf("leaf: it is not in the canonical form")
	}
	return l, nil
}

// writes tells whether a text is the leaf's canonical form.
func (l *Leaf) writes(text []byte) bool {
	return bytes.Equal(l.AppendCanonical(make([]byte, 0, len(text))), text)
}

// Matches reports whether the leaf commits to the payload.
func (l *Leaf) Matches(payload []byte) bool {
	sum := sha256.Sum256(payload)
	return l.Payload == hex.EncodeToString(sum[:])
}

// ParseRecord reads a record's payload and refuses one that is not in canonical
// form.
func ParseRecord(payload []byte) (*Record, error) {
	r, _, err := ReadRecord(payload)
	return r, err
}

// ReadRecord is [ParseRecord] for who needs the request, too: as [ParseJSON] reads
// it. The caller may change that.
func ReadRecord(payload []byte) (*Record, any, error) {
	r := &Record{}
	m := readMembers(payload)
	r.read(&m)
	if !m.failed && r.Kind == KindDecision {
		if request, err := r.complete(payload); err == nil {
			return r, request, nil
		}
	}
	// It is refused, but for what members can't read.
	r = &Record{}
	if err := json.Unmarshal(payload, r); err != nil {
		return nil, nil, fmt.Errorf("record: %w", err)
	}
	if r.Kind != KindDecision {
		return nil, nil, fmt.Errorf("record: kind %q is not known to this version", r.Kind)
	}
	request, err := r.complete(payload)
	if err != nil {
		return nil, nil, fmt.Errorf("record: %w", err)
	}
	return r, request, nil
}

// complete puts back what a record that was read from the payload leaves out, and
// checks that the payload is its canonical form.
func (r *Record) complete(payload []byte) (request any, err error) {
	// AppendCanonical takes the request as it stands, so that is checked apart.
	if request, err = ParseJSON(r.Request, eventLimits); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	r.Decision.complete(request)
	again := writtenAgain.Get().(*[]byte)
	defer writtenAgain.Put(again)
	*again = AppendCanonical((*again)[:0], request)
	canonical := bytes.Equal(*again, r.Request)
	*again = r.AppendCanonical((*again)[:0])
	if !canonical || !bytes.Equal(*again, payload) {
		return nil, fmt.Errorf("it is not in the canonical form")
	}
	return request, nil
}

// writtenAgain holds what records are compared with: as much as all else that reading
// one takes.
var writtenAgain = sync.Pool{New: func() any { return new([]byte) }}

// AppendCanonical appends the record's canonical bytes (RFC 8785), its payload.
// Request must be canonical already. Besides what the decision leaves out, frames
// are that follow from the request's chain (docs/formats.md, "What is left out").
func (r *Record) AppendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	o.name("authority")
	a := object{dst: o.dst}
	a.string("root", r.Authority.Root)
	a.uint("size", r.Authority.Size)
	o.dst = a.close()
	o.name("decision")
	o.dst = r.Decision.append(o.dst, &chain{request: r.Request})
	o.string("engine", r.Engine)
	if !r.Facts.IsZero() {
		o.name("facts")
		f := object{dst: o.dst}
		appendList(&f, "absent", r.Facts.Absent, Ref.appendCanonical)
		appendList(&f, "events", r.Facts.Events, func(n uint64, dst []byte) []byte { return strconv.AppendUint(dst, n, 10) })
		o.dst = f.close()
	}
	o.string("id", r.ID)
	o.string("kind", r.Kind)
	if len(r.Omitted) > 0 {
		o.name("omitted")
		o.dst = r.Omitted.appendCanonical(o.dst)
	}
	o.name("pep")
	p := object{dst: o.dst}
	if r.PEP.Authentication != nil {
		p.marshal("authentication", r.PEP.Authentication)
	}
	p.string("credential", r.PEP.Credential)
	if r.PEP.Instance != "" {
		p.string("instance", r.PEP.Instance)
	}
	if r.PEP.RequestID != "" {
		p.string("request_id", r.PEP.RequestID)
	}
	if r.PEP.Sequence != 0 {
		p.uint("sequence", r.PEP.Sequence)
	}
	o.dst = p.close()
	o.string("policies", r.Policies)
	o.name("request")
	o.dst = append(o.dst, r.Request...)
	o.string("request_digest", r.Full)
	o.string("salt", r.Salt)
	o.string("semantics", r.Semantics)
	o.time("time", r.Time)
	if r.Token != nil {
		o.marshal("token", r.Token)
	}
	return o.close()
}

// AppendCanonical appends the canonical bytes of the decision, which is what a
// replay compares. What follows from the rest is left out: who the acting party
// is, which the request says, and its kind where that is what its type says; the
// texts of reasons, and the reasons that only repeat frames or parts; what kind a
// frame is, that it allows, and the policies of a delegator's that are the acting
// party's as well. A record leaves out more, see [Record.AppendCanonical].
func (d *Decision) AppendCanonical(dst []byte) []byte { return d.append(dst, nil) }

// append is AppendCanonical without the frames that follow from a chain (nil: with
// all).
func (d *Decision) append(dst []byte, c *chain) []byte {
	o := object{dst: dst}
	typed := d.Actor.Kind == "" || d.Actor.Kind == KindOfType(d.Actor.Type)
	if d.Actor.Event != nil || !typed {
		o.name("actor")
		a := object{dst: o.dst}
		if d.Actor.Event != nil {
			a.uint("event", *d.Actor.Event)
		}
		if !typed {
			a.string("kind", string(d.Actor.Kind))
		}
		o.dst = a.close()
	}
	appendList(&o, "counters", d.Counters, Counter.appendCanonical)
	d.Ruling.appendFirst(&o, c)
	d.Ruling.appendOutcome(&o)
	appendList(&o, "parts", d.Parts, func(p PartDecision, dst []byte) []byte {
		o := object{dst: dst}
		p.Ruling.appendFirst(&o, c)
		o.string("id", p.ID)
		p.Ruling.appendOutcome(&o)
		p.Ruling.appendLast(&o)
		return o.close()
	})
	if d.repeats() {
		appendList(&o, "requirements", d.Requirements, Requirement.appendCanonical)
	} else {
		d.Ruling.appendLast(&o)
	}
	return o.close()
}

// A ruling's members stand between those of what embeds it: id and parts.

func (r *Ruling) appendFirst(o *object, c *chain) {
	shared := r.shared()
	first, then := r.said(c, o.dst[len(o.dst):])
	appendLists(o, "frames", first, then, func(f Frame, dst []byte) []byte {
		if f.As == FrameDelegator && f.Allowed && slices.Equal(f.Policies, shared) {
			f.Policies = nil
		}
		return f.appendCanonical(dst)
	})
}

func (r *Ruling) appendOutcome(o *object) {
	appendList(o, "obligations", r.Obligations, Obligation.appendCanonical)
	o.string("outcome", r.Outcome.String())
}

func (r *Ruling) appendLast(o *object) {
	before, after := r.kept()
	appendLists(o, "reasons", before, after, Reason.appendCanonical)
	appendList(o, "requirements", r.Requirements, Requirement.appendCanonical)
}

func (f Frame) appendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	if !f.Allowed { // a denial is never left to be understood
		o.bool("allowed", false)
	}
	if f.As == FrameDelegator {
		o.name("entity")
		o.dst = f.Entity.appendCanonical(o.dst)
	}
	appendList(&o, "errors", f.Errors, func(e PolicyError, dst []byte) []byte {
		o := object{dst: dst}
		o.string("message", e.Message)
		o.string("policy", e.Policy)
		return o.close()
	})
	if f.Exception != "" {
		o.string("exception", f.Exception)
	}
	if f.Grant != "" {
		o.string("grant", f.Grant)
	}
	o.strings("policies", f.Policies)
	return o.close()
}

func (r Ref) appendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	o.string("id", r.ID)
	o.string("type", r.Type)
	return o.close()
}

func (r Reason) appendCanonical(dst []byte) []byte {
	r.Text = ""
	return r.appendSpoken(dst)
}

// appendSpoken appends the reason as an answer has it, with its sentence.
func (r Reason) appendSpoken(dst []byte) []byte {
	o := object{dst: dst}
	o.string("code", string(r.Code))
	if r.Detail != "" {
		o.string("detail", r.Detail)
	}
	if r.Grant != "" {
		o.string("grant", r.Grant)
	}
	if r.Policy != "" {
		o.string("policy", r.Policy)
	}
	if r.Text != "" {
		o.string("text", r.Text)
	}
	return o.close()
}

func (r Requirement) appendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	o.strings("acr_values", r.ACRValues)
	o.strings("amr_values", r.AMRValues)
	if r.Approvals != 0 {
		o.int("approvals", int64(r.Approvals))
	}
	o.strings("approvers", r.Approvers)
	o.string("gate", string(r.Gate))
	if r.MaxAge != nil {
		o.int("max_age", *r.MaxAge)
	}
	o.string("policy", r.Policy)
	if r.Present != "" {
		o.string("present", r.Present)
	}
	if r.Within != 0 {
		o.int("within", r.Within)
	}
	return o.close()
}

func (b Obligation) appendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	o.string("id", b.ID)
	if len(b.Properties) > 0 {
		o.name("properties")
		o.dst = AppendCanonical(o.dst, map[string]any(b.Properties))
	}
	o.string("type", b.Type)
	return o.close()
}

func (c Counter) appendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	o.int("after", c.After)
	o.int("before", c.Before)
	o.string("grant", c.Grant)
	o.int("max", c.Max)
	o.string("name", c.Name)
	return o.close()
}

// object writes the members of one JSON object in the order they are given,
// which must be the canonical one.
type object struct {
	dst  []byte
	open bool
}

func (o *object) name(name string) {
	before := byte(',')
	if !o.open {
		before, o.open = '{', true
	}
	// One after the other: nested appends keep the compiler from growing dst in place.
	o.dst = append(o.dst, before, '"')
	o.dst = append(o.dst, name...)
	o.dst = append(o.dst, '"', ':')
}

func (o *object) string(name, value string) {
	o.name(name)
	o.dst = AppendString(o.dst, value)
}

func (o *object) time(name string, t Time) {
	o.name(name)
	o.dst = append(t.append(append(o.dst, '"')), '"')
}

func (o *object) uint(name string, value uint64) {
	o.name(name)
	o.dst = strconv.AppendUint(o.dst, value, 10)
}

func (o *object) int(name string, value int64) {
	o.name(name)
	o.dst = strconv.AppendInt(o.dst, value, 10)
}

func (o *object) bool(name string, value bool) {
	o.name(name)
	o.dst = strconv.AppendBool(o.dst, value)
}

// marshal writes what has no canonical form of its own. The values are ours or
// were parsed by [ParseJSON], so that they have one.
func (o *object) marshal(name string, v any) {
	text, err := CanonicalJSON(v)
	if err != nil {
		panic(fmt.Sprintf("aver: %s: %v", name, err))
	}
	o.name(name)
	o.dst = append(o.dst, text...)
}

// strings writes a list of strings, and nothing for an empty one.
func (o *object) strings(name string, values []string) {
	appendList(o, name, values, func(s string, dst []byte) []byte { return AppendString(dst, s) })
}

func (o *object) close() []byte {
	if !o.open {
		o.dst = append(o.dst, '{')
	}
	return append(o.dst, '}')
}

// appendList writes a list as a member, and nothing for an empty one.
func appendList[T any](o *object, name string, list []T, appendOne func(T, []byte) []byte) {
	appendLists(o, name, list, nil, appendOne)
}

// appendLists writes two lists as one.
func appendLists[T any](o *object, name string, first, then []T, appendOne func(T, []byte) []byte) {
	if len(first) == 0 && len(then) == 0 {
		return
	}
	o.name(name)
	o.dst = append(o.dst, '[')
	for i, list := range [...][]T{first, then} {
		for j, e := range list {
			if j > 0 || i > 0 && len(first) > 0 {
				o.dst = append(o.dst, ',')
			}
			o.dst = appendOne(e, o.dst)
		}
	}
	o.dst = append(o.dst, ']')
}

// SortRefs orders refs by type, then id.
func SortRefs(refs []Ref) {
	slices.SortFunc(refs, func(a, b Ref) int {
		if c := compareUTF16(a.Type, b.Type); c != 0 {
			return c
		}
		return compareUTF16(a.ID, b.ID)
	})
}
