package aver

import (
	"encoding/json"
	"strconv"
	"strings"
)

// members reads what an [object] wrote: members in the order in which they are
// given, which is the canonical one, without the search for names and types that
// encoding/json makes (measured on records: a fifth of its time).
//
// It takes texts that no object writes, and gives up on others that mean the same.
// So whoever reads with it compares what was read, written again, with the text,
// and leaves what differs to encoding/json, which can tell what is wrong with it.
type members struct {
	text   string
	pos    int
	share  bool // strings may be parts of the text
	failed bool
}

func readMembers(text []byte) members {
	return members{text: string(text), share: len(text) <= maxShared}
}

// next goes to the value of the next member, if that has the name.
func (m *members) next(name string) bool {
	rest := m.text[m.pos:] // { or a comma first
	n := len(name) + len(`{"":`)
	if len(rest) < n || rest[1] != '"' || rest[2:n-2] != name || rest[n-2:n] != `":` {
		return false
	}
	m.pos += n
	return true
}

// end goes behind an object.
func (m *members) end() {
	switch rest := m.text[m.pos:]; {
	case strings.HasPrefix(rest, "}"):
		m.pos++
	case strings.HasPrefix(rest, "{}"):
		m.pos += 2
	default:
		m.failed = true
	}
}

// closing is where the string ends whose opening quotation mark stands at the
// offset; -1 if it does not.
func (m *members) closing(at int) int {
	for i := at + 1; i < len(m.text); i++ {
		n := strings.IndexByte(m.text[i:], '"')
		if n < 0 {
			break
		}
		i += n
		before := m.text[at+1 : i]
		if escapes := len(before) - len(strings.TrimRight(before, `\`)); escapes%2 == 0 {
			return i
		}
	}
	return -1
}

// value is the text of a string.
func (m *members) value() string {
	if m.pos >= len(m.text) || m.text[m.pos] != '"' {
		m.failed = true
		return ""
	}
	end := m.closing(m.pos)
	if end < 0 {
		m.failed = true
		return ""
	}
	text := m.text[m.pos : end+1]
	m.pos = end + 1
	switch s := text[1 : len(text)-1]; {
	case strings.IndexByte(s, '\\') >= 0:
		return m.unescaped(text)
	case m.share:
		return s
	default:
		return strings.Clone(s)
	}
}

func (m *members) unescaped(text string) (s string) {
	m.failed = json.Unmarshal([]byte(text), &s) != nil || m.failed
	return s
}

func (m *members) number() string {
	start := m.pos
	for m.pos < len(m.text) && (m.text[m.pos] == '-' || '0' <= m.text[m.pos] && m.text[m.pos] <= '9') {
		m.pos++
	}
	return m.text[start:m.pos]
}

func (m *members) unsigned() uint64 {
	n, err := strconv.ParseUint(m.number(), 10, 64)
	m.failed = m.failed || err != nil
	return n
}

func (m *members) signed() int64 {
	n, err := strconv.ParseInt(m.number(), 10, 64)
	m.failed = m.failed || err != nil
	return n
}

func (m *members) outcome() Outcome {
	text := m.value()
	for i, name := range outcomeNames {
		if name == text {
			return Outcome(i)
		}
	}
	m.failed = true
	return Denied
}

// string reads a member that is left out if it is empty, as do those below.
func (m *members) string(name string) (s string) {
	if m.next(name) {
		s = m.value()
	}
	return s
}

func (m *members) uint(name string) (n uint64) {
	if m.next(name) {
		n = m.unsigned()
	}
	return n
}

func (m *members) int(name string) (n int64) {
	if m.next(name) {
		n = m.signed()
	}
	return n
}

func (m *members) time(name string) (t Time) {
	if m.next(name) {
		var err error
		t, err = ParseTime(m.value())
		m.failed = m.failed || err != nil
	}
	return t
}

// skip goes behind a value in an object, of any kind, and returns its text.
func (m *members) skip() string {
	start, depth := m.pos, 0
	for ; m.pos < len(m.text); m.pos++ {
		switch c := m.text[m.pos]; {
		case c == '"':
			end := m.closing(m.pos)
			if end < 0 {
				m.failed = true
				return ""
			}
			m.pos = end
		case depth == 0 && (c == ',' || c == '}'): // of the object around
			return m.text[start:m.pos]
		case c == '{', c == '[':
			depth++
		case c == '}', c == ']':
			depth--
		}
	}
	m.failed = true
	return ""
}

// seek goes to the value of the next member of that name, and over those before; if
// there is none, to the end of the object.
func (m *members) seek(name string) bool {
	for !m.failed && !m.next(name) {
		if m.pos+1 >= len(m.text) || m.text[m.pos+1] != '"' {
			return false
		}
		end := m.closing(m.pos + 1)
		if end < 0 {
			return false
		}
		m.pos = end + len(`":`)
		m.skip()
	}
	return !m.failed
}

// unmarshal reads a member that has no canonical form of its own.
func (m *members) unmarshal(name string, into any) {
	if m.next(name) {
		m.failed = json.Unmarshal([]byte(m.skip()), into) != nil || m.failed
	}
}

// readList reads a list with the function for one element.
func readList[T any](m *members, name string, one func(*members, *T)) (list []T) {
	if !m.next(name) || m.pos >= len(m.text) {
		return nil
	}
	for more := true; more && !m.failed; {
		m.pos++ // [ or a comma
		list = append(list, *new(T))
		one(m, &list[len(list)-1])
		more = m.pos < len(m.text) && m.text[m.pos] == ','
	}
	if m.pos >= len(m.text) || m.text[m.pos] != ']' {
		m.failed = true
		return list
	}
	m.pos++
	return list
}

func (m *members) strings(name string) []string {
	return readList(m, name, func(m *members, s *string) { *s = m.value() })
}

// read is [Record.AppendCanonical] the other way round. What follows from the rest
// is not there yet.
func (r *Record) read(m *members) {
	if m.next("authority") {
		r.Authority.read(m)
	}
	if m.next("decision") {
		r.Decision.read(m)
	}
	r.Engine = m.string("engine")
	if m.next("facts") {
		r.Facts.Absent = readList(m, "absent", func(m *members, r *Ref) { r.read(m) })
		r.Facts.Events = readList(m, "events", func(m *members, n *uint64) { *n = m.unsigned() })
		m.end()
	}
	r.ID = m.string("id")
	r.Kind = m.string("kind")
	if m.next("omitted") {
		r.Omitted.read(m)
	}
	if m.next("pep") {
		m.unmarshal("authentication", &r.PEP.Authentication)
		r.PEP.Credential = m.string("credential")
		r.PEP.Instance = m.string("instance")
		r.PEP.RequestID = m.string("request_id")
		r.PEP.Sequence = m.uint("sequence")
		m.end()
	}
	r.Policies = m.string("policies")
	if m.next("request") {
		r.Request = json.RawMessage(m.skip())
	}
	r.Full = m.string("request_digest")
	r.Salt = m.string("salt")
	r.Semantics = m.string("semantics")
	r.Time = m.time("time")
	m.unmarshal("token", &r.Token)
	m.end()
}

func (h *TreeHead) read(m *members) {
	h.Root = m.string("root")
	h.Size = m.uint("size")
	m.end()
}

func (d *Decision) read(m *members) {
	if m.next("actor") {
		if m.next("event") {
			d.Actor.Event = new(m.unsigned())
		}
		d.Actor.Kind = Kind(m.string("kind"))
		m.end()
	}
	d.Counters = readList(m, "counters", func(m *members, c *Counter) {
		c.After = m.int("after")
		c.Before = m.int("before")
		c.Grant = m.string("grant")
		c.Max = m.int("max")
		c.Name = m.string("name")
		m.end()
	})
	d.Ruling.readFirst(m)
	d.Ruling.readOutcome(m)
	d.Parts = readList(m, "parts", func(m *members, p *PartDecision) {
		p.Ruling.readFirst(m)
		p.ID = m.string("id")
		p.Ruling.readOutcome(m)
		p.Ruling.readLast(m)
		m.end()
	})
	d.Ruling.readLast(m)
	m.end()
}

func (r *Ruling) readFirst(m *members) {
	r.Frames = readList(m, "frames", func(m *members, f *Frame) {
		if f.Allowed = !m.next("allowed"); !f.Allowed {
			rest, said := strings.CutPrefix(m.text[m.pos:], "false")
			m.pos, m.failed = len(m.text)-len(rest), m.failed || !said
		}
		if m.next("entity") {
			f.Entity.read(m)
		}
		f.Errors = readList(m, "errors", func(m *members, e *PolicyError) {
			e.Message = m.string("message")
			e.Policy = m.string("policy")
			m.end()
		})
		f.Exception = m.string("exception")
		f.Grant = m.string("grant")
		f.Policies = m.strings("policies")
		m.end()
		f.As = f.kind()
	})
}

func (r *Ruling) readOutcome(m *members) {
	r.Obligations = readList(m, "obligations", func(m *members, o *Obligation) {
		o.ID = m.string("id")
		m.unmarshal("properties", &o.Properties)
		o.Type = m.string("type")
		m.end()
	})
	if m.next("outcome") {
		r.Outcome = m.outcome()
	}
}

func (r *Ruling) readLast(m *members) {
	r.Reasons = readList(m, "reasons", func(m *members, r *Reason) {
		r.Code = ReasonCode(m.string("code"))
		r.Detail = m.string("detail")
		r.Grant = m.string("grant")
		r.Policy = m.string("policy")
		m.end()
	})
	r.Requirements = readList(m, "requirements", func(m *members, r *Requirement) {
		r.ACRValues = m.strings("acr_values")
		r.AMRValues = m.strings("amr_values")
		r.Approvals = int(m.int("approvals"))
		r.Approvers = m.strings("approvers")
		r.Gate = Gate(m.string("gate"))
		if m.next("max_age") {
			r.MaxAge = new(m.signed())
		}
		r.Policy = m.string("policy")
		r.Present = m.string("present")
		r.Within = m.int("within")
		m.end()
	})
}

func (r *Ref) read(m *members) {
	r.ID = m.string("id")
	r.Type = m.string("type")
	m.end()
}

func (l *Leaf) read(m *members) {
	l.Class = m.string("class")
	l.ID = m.string("id")
	l.Kind = m.string("kind")
	if m.next("outcome") {
		l.Outcome = new(m.outcome())
	}
	l.Payload = m.string("payload")
	l.Time = m.time("time")
	l.Type = m.string("type")
	m.end()
}

// CitedAuthority is the prefix of the authority log that a record was decided at,
// without the rest of the record. It is false of payloads that do not begin with
// one, as canonical ones do.
func CitedAuthority(payload []byte) (head TreeHead, ok bool) {
	const usual = 128 // bytes; enough for the hash and the number
	for _, n := range []int{min(len(payload), usual), len(payload)} {
		m := readMembers(payload[:n])
		if !m.next("authority") {
			break
		}
		if head.read(&m); !m.failed {
			return head, true
		}
	}
	return TreeHead{}, false
}
