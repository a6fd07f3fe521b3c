package aver

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits bounds what [ParseJSON] accepts. The zero value of a field means the
// default beside it.
type Limits struct {
	Bytes   int // length of the whole text in bytes; 1 MiB
	Depth   int // nesting of objects and arrays; 32
	Members int // object members and array elements in all; 20,000
}

func (l Limits) orDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = 1 << 20
	}
	if l.Depth == 0 {
		l.Depth = 32
	}
	if l.Members == 0 {
		l.Members = 20_000
	}
	return l
}

// A JSONError says where a JSON text was refused and why.
type JSONError struct {
	Offset int    // zero-based, in bytes
	Line   int    // one-based
	Column int    // one-based, in bytes
	Path   string // RFC 6901 pointer to the value, "" for the whole text
	Reason string // one plain sentence, without a full stop
}

func (e *JSONError) Error() string {
	at := ""
	if e.Path != "" {
		at = " at " + e.Path
	}
	return fmt.Sprintf("line %d, column %d%s: %s", e.Line, e.Column, at, e.Reason)
}

// Properties are attributes of an entity or an action, as [ParseJSON] makes
// them.
type Properties map[string]any

// UnmarshalJSON reads the properties as strictly as [ParseJSON].
func (p *Properties) UnmarshalJSON(text []byte) error {
	v, err := ParseJSON(text, Limits{})
	if err != nil || v == nil {
		return err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return &JSONError{Line: 1, Column: 1, Reason: "properties must be an object"}
	}
	*p = object
	return nil
}

// MaxInteger is the largest magnitude of a number that [ParseJSON] accepts:
// 2^53-1, the largest that every JSON implementation holds exactly (RFC 7493,
// section 2.2). Evidence must read the same everywhere.
const MaxInteger = 1<<53 - 1

// ParseJSON reads one JSON text (RFC 8259) the way evidence needs it: with
// exactly one meaning. Objects become map[string]any, arrays []any, numbers
// int64, and the rest string, bool and nil.
//
// Refused with a [*JSONError], besides what is not JSON: invalid UTF-8,
// unpaired surrogates, two members of one object with the same name or with
// names that differ only in case, numbers that are not whole or beyond
// [MaxInteger], and what exceeds the limits.
func ParseJSON(text []byte, limits Limits) (any, error) {
	p := jsonParser{text: text, limits: limits.orDefault()}
	if len(text) > p.limits.Bytes {
		return nil, p.errorAt(p.limits.Bytes, "the text is longer than %d bytes", p.limits.Bytes)
	}
	p.space()
	if p.pos == len(text) {
		return nil, p.errorAt(p.pos, "the text is empty")
	}
	v, err := p.value(1)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.pos < len(text) {
		return nil, p.errorAt(p.pos, "more follows after the end of the JSON value")
	}
	return v, nil
}

type jsonParser struct {
	text    []byte
	pos     int
	members int
	limits  Limits
	path    []string
}

func (p *jsonParser) errorAt(offset int, format string, args ...any) error {
	before := p.text[:min(offset, len(p.text))]
	var path strings.Builder
	for _, name := range p.path {
		path.WriteByte('/')
		path.WriteString(pointerEscaper.Replace(name))
	}
	return &JSONError{
		Offset: offset,
		Line:   1 + bytes.Count(before, []byte{'\n'}),
		Column: len(before) - bytes.LastIndexByte(before, '\n'),
		Path:   path.String(),
		Reason: fmt.Sprintf(format, args...),
	}
}

var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

func (p *jsonParser) space() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *jsonParser) value(depth int) (any, error) {
	if p.pos >= len(p.text) {
		return nil, p.errorAt(p.pos, "the text ends where a value should stand")
	}
	switch c := p.text[p.pos]; {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.string()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, literal := range literals {
		if bytes.HasPrefix(p.text[p.pos:], literal.text) {
			p.pos += len(literal.text)
			return literal.value, nil
		}
	}
	return nil, p.errorAt(p.pos, "%q does not begin a JSON value", p.text[p.pos])
}

var literals = []struct {
	text  []byte
	value any
}{{[]byte("true"), true}, {[]byte("false"), false}, {[]byte("null"), nil}}

// count counts one more member or element.
func (p *jsonParser) count() error {
	if p.members++; p.members > p.limits.Members {
		return p.errorAt(p.pos, "more than %d members and elements", p.limits.Members)
	}
	return nil
}

func (p *jsonParser) object(depth int) (any, error) {
	start := p.pos
	if depth > p.limits.Depth {
		return nil, p.errorAt(p.pos, "nested deeper than %d levels", p.limits.Depth)
	}
	p.pos++ // {
	object := map[string]any{}
	var folded map[string]string // lower case :: name as written; from the second member on
	for first := true; ; first = false {
		p.space()
		if p.pos < len(p.text) && p.text[p.pos] == '}' && first {
			p.pos++
			return object, nil
		}
		if p.pos >= len(p.text) || p.text[p.pos] != '"' {
			return nil, p.errorAt(p.pos, "a member name in double quotes should stand here")
		}
		at := p.pos
		name, err := p.string()
		if err != nil {
			return nil, err
		}
		if err := p.count(); err != nil {
			return nil, err
		}
		if _, twice := object[name]; twice {
			return nil, p.errorAt(at, "the member %q stands twice in one object", name)
		}
		lower := strings.ToLower(name)
		if folded == nil {
			folded = make(map[string]string, 8)
		}
		if other, ok := folded[lower]; ok {
			return nil, p.errorAt(at, "the members %q and %q differ only in case", other, name)
		}
		folded[lower] = name
		p.space()
		if p.pos >= len(p.text) || p.text[p.pos] != ':' {
			return nil, p.errorAt(p.pos, "a colon should stand after the member name %q", name)
		}
		p.pos++
		p.space()
		p.path = append(p.path, name)
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		object[name] = v
		p.space()
		switch {
		case p.pos < len(p.text) && p.text[p.pos] == ',':
			p.pos++
		case p.pos < len(p.text) && p.text[p.pos] == '}':
			p.pos++
			return object, nil
		default:
			return nil, p.errorAt(p.pos, "the object that begins at byte %d is not closed: a comma or } should stand here", start)
		}
	}
}

func (p *jsonParser) array(depth int) (any, error) {
	start := p.pos
	if depth > p.limits.Depth {
		return nil, p.errorAt(p.pos, "nested deeper than %d levels", p.limits.Depth)
	}
	p.pos++ // [
	array := []any{}
	for {
		p.space()
		if p.pos < len(p.text) && p.text[p.pos] == ']' && len(array) == 0 {
			p.pos++
			return array, nil
		}
		if err := p.count(); err != nil {
			return nil, err
		}
		p.path = append(p.path, strconv.Itoa(len(array)))
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		array = append(array, v)
		p.space()
		switch {
		case p.pos < len(p.text) && p.text[p.pos] == ',':
			p.pos++
		case p.pos < len(p.text) && p.text[p.pos] == ']':
			p.pos++
			return array, nil
		default:
			return nil, p.errorAt(p.pos, "the array that begins at byte %d is not closed: a comma or ] should stand here", start)
		}
	}
}

func (p *jsonParser) string() (string, error) {
	start := p.pos
	p.pos++ // "
	// Most strings hold no escape: take them as they stand.
	for i := p.pos; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			raw := p.text[p.pos:i]
			if !utf8.Valid(raw) {
				return "", p.errorAt(start, "the string is not valid UTF-8")
			}
			p.pos = i + 1
			return string(raw), nil
		case c == '\\' || c < 0x20:
			return p.escapedString(start)
		}
	}
	return "", p.errorAt(start, "the string that begins here is not closed")
}

func (p *jsonParser) escapedString(start int) (string, error) {
	var out []byte
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		switch {
		case c == '"':
			p.pos++
			if !utf8.Valid(out) {
				return "", p.errorAt(start, "the string is not valid UTF-8")
			}
			return string(out), nil
		case c < 0x20:
			return "", p.errorAt(p.pos, "a control character stands in a string; write it as \\u%04x", c)
		case c != '\\':
			out = append(out, c)
			p.pos++
		default:
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", p.errorAt(start, "the string that begins here is not closed")
}

func (p *jsonParser) escape() (rune, error) {
	at := p.pos
	if p.pos+1 >= len(p.text) {
		return 0, p.errorAt(at, "the text ends in the middle of an escape")
	}
	c := p.text[p.pos+1]
	p.pos += 2
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, p.errorAt(at, `\%c is not an escape of JSON`, c)
	}
	r, ok := p.hex4()
	if !ok {
		return 0, p.errorAt(at, `\u must be followed by four hexadecimal digits`)
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if p.pos+1 < len(p.text) && p.text[p.pos] == '\\' && p.text[p.pos+1] == 'u' {
		p.pos += 2
		if low, ok := p.hex4(); ok {
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				return full, nil
			}
		}
	}
	return 0, p.errorAt(at, `\u%04x is half of a surrogate pair, and the other half is missing`, r)
}

func (p *jsonParser) hex4() (rune, bool) {
	if p.pos+4 > len(p.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p.text[p.pos:p.pos+4]), 16, 16)
	if err != nil {
		return 0, false
	}
	p.pos += 4
	return rune(n), true
}

func (p *jsonParser) number() (any, error) {
	start := p.pos
	digits := func() int {
		n := p.pos
		for p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9' {
			p.pos++
		}
		return p.pos - n
	}
	if p.text[p.pos] == '-' {
		p.pos++
	}
	first := p.pos
	n := digits()
	whole := p.pos
	ok := n == 1 || n > 1 && p.text[first] != '0'
	if p.pos < len(p.text) && p.text[p.pos] == '.' {
		p.pos++
		ok = ok && digits() > 0
	}
	if p.pos < len(p.text) && (p.text[p.pos] == 'e' || p.text[p.pos] == 'E') {
		p.pos++
		if p.pos < len(p.text) && (p.text[p.pos] == '+' || p.text[p.pos] == '-') {
			p.pos++
		}
		ok = ok && digits() > 0
	}
	text := string(p.text[start:p.pos])
	if !ok {
		return nil, p.errorAt(start, "%q is not a number of JSON", text)
	}
	if p.pos == whole {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil && i >= -MaxInteger && i <= MaxInteger {
			return i, nil
		}
		return nil, p.errorAt(start, "%s is beyond the whole numbers that JSON holds exactly everywhere (up to %d); send it as a string", text, int64(MaxInteger))
	}
	// 1.50e2 is the whole number 150; the shortest form is what gets recorded.
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > MaxInteger {
		return nil, p.errorAt(start, "%s is not a whole number, and Cedar has no floating point; "+
			`send {"__extn":{"fn":"decimal","arg":"…"}} (up to four decimals), smaller units, or a string`, text)
	}
	return int64(f), nil
}

// AppendCanonical appends the canonical form (RFC 8785, JCS) of a value that is
// made of map[string]any, []any, string, bool, nil, int, int64 and uint64.
// It panics on any other type, which is a mistake of the program.
func AppendCanonical(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case string:
		return AppendString(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendCanonical(dst, e)
		}
		return append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for i, name := range sortedNames(v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, name)
			dst = append(dst, ':')
			dst = AppendCanonical(dst, v[name])
		}
		return append(dst, '}')
	}
	panic(fmt.Sprintf("aver: %T has no canonical JSON form here", v))
}

// sortedNames returns the member names in the order of their UTF-16 code units
// (RFC 8785, section 3.2.3).
func sortedNames(object map[string]any) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.SortFunc(names, compareUTF16)
	return names
}

// compareUTF16 orders as UTF-16 code units would. That differs from the order
// of bytes only where a surrogate pair (U+10000 and up) meets U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
		if ra != rb {
			if ra >= 0x10000 != (rb >= 0x10000) {
				ra, rb = firstUnit(ra), firstUnit(rb)
			}
			return int(ra) - int(rb)
		}
		a, b = a[na:], b[nb:]
	}
	return len(a) - len(b)
}

func firstUnit(r rune) rune {
	if r >= 0x10000 {
		r, _ = utf16.EncodeRune(r)
	}
	return r
}

// AppendString appends s as a JSON string in canonical form (RFC 8785, section
// 3.2.2.2). Invalid UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[plain:i]...), "\uFFFD"...)
				plain = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[plain:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[c>>4], hex[c&15])
		}
		i++
		plain = i
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}
