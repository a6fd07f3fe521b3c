package aver

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode"
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
// names that differ only in case (as [strings.EqualFold] has it), numbers that
// are not whole or beyond [MaxInteger], and what exceeds the limits.
func ParseJSON(text []byte, limits Limits) (any, error) {
	p := jsonParsers.Get().(*jsonParser)
	defer p.free()
	if err := p.begin(text, limits); err != nil {
		return nil, err
	}
	v, err := p.value(1)
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// begin takes a text up to where its value should stand.
func (p *jsonParser) begin(text []byte, limits Limits) error {
	*p = jsonParser{limits: limits.orDefault(), names: p.names[:0]}
	if len(text) > p.limits.Bytes {
		p.text = string(text[:p.limits.Bytes])
		return p.errorAt(p.limits.Bytes, "the text is longer than %d bytes", p.limits.Bytes)
	}
	p.text = string(text) // copied once
	p.share = len(text) <= maxShared
	p.valid = utf8.ValidString(p.text)
	if strings.HasPrefix(p.text, "\uFEFF") {
		return p.errorAt(0, "the text begins with a byte order mark, which JSON does not have")
	}
	p.space()
	if p.pos == len(text) {
		return p.errorAt(p.pos, "the text is empty")
	}
	return nil
}

// end sees to it that nothing follows the value.
func (p *jsonParser) end() error {
	p.space()
	if p.pos < len(p.text) {
		return p.errorAt(p.pos, "more follows after the end of the JSON value")
	}
	return nil
}

// free gives the parser back. Nothing that was sent stays with it.
func (p *jsonParser) free() {
	p.text = ""
	clear(p.names[:cap(p.names)])
	jsonParsers.Put(p)
}

// maxShared is how long a text may be, in bytes, for its strings to be parts of one
// copy: who keeps a name out of it for long keeps all of it.
const maxShared = 4 << 10

var jsonParsers = sync.Pool{New: func() any { return &jsonParser{names: make([]string, 0, 16)} }}

type jsonParser struct {
	text    string
	valid   bool // the whole text is UTF-8
	share   bool // strings in what is returned may be parts of the text
	pos     int
	members int
	limits  Limits
	names   []string // of the objects that are being read, innermost last

	withheld bool // a member was called as [withheldMember]
}

func (p *jsonParser) errorAt(offset int, format string, args ...any) error {
	before := p.text[:min(offset, len(p.text))]
	return &JSONError{
		Offset: offset,
		Line:   1 + strings.Count(before, "\n"),
		Column: len(before) - strings.LastIndexByte(before, '\n'),
		Reason: fmt.Sprintf(format, args...),
	}
}

// under adds the member or element to the path of an error met in it.
func under(name string, err error) error {
	at := err.(*JSONError) // all that the parser returns are
	at.Path = "/" + pointerEscaper.Replace(name) + at.Path
	return at
}

var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

func (p *jsonParser) space() {
	for p.pos < len(p.text) && p.text[p.pos] <= ' ' {
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
		if strings.HasPrefix(p.text[p.pos:], literal.text) {
			p.pos += len(literal.text)
			return literal.value, nil
		}
	}
	return nil, p.errorAt(p.pos, "%s does not begin a JSON value", byteText(p.text[p.pos]))
}

var literals = []struct {
	text  string
	value any
}{{"true", true}, {"false", false}, {"null", nil}}

// byteText shows a byte that may be part of anything.
func byteText(c byte) string {
	if c < utf8.RuneSelf {
		return strconv.QuoteRune(rune(c))
	}
	return fmt.Sprintf("the byte 0x%02x", c)
}

// brief keeps what a caller sent from filling an error message.
func brief(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// count counts one more member or element, which begins at the offset.
func (p *jsonParser) count(at int) error {
	if p.members++; p.members > p.limits.Members {
		return p.errorAt(at, "more than %d members and elements", p.limits.Members)
	}
	return nil
}

// fewNames is up to how many members of an object are compared one by one.
const fewNames = 12

func (p *jsonParser) object(depth int) (any, error) {
	o, err := p.open(depth)
	if err != nil {
		return nil, err
	}
	object := map[string]any{}
	for {
		name, more, err := p.next(&o)
		if !more {
			return object, err
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, under(name, err)
		}
		object[name] = v
	}
}

// jsonObject is an object that is being read.
type jsonObject struct {
	start  int               // where it begins
	above  int               // how many names are those of the objects around it
	folded map[string]string // folded :: as written, once there are more than a few
	later  bool              // a member was read
}

// open begins an object, whose { is next.
func (p *jsonParser) open(depth int) (jsonObject, error) {
	o := jsonObject{start: p.pos, above: len(p.names)}
	if depth > p.limits.Depth {
		return o, p.errorAt(p.pos, "nested deeper than %d levels", p.limits.Depth)
	}
	p.pos++ // {
	return o, nil
}

// next reads up to the value of the next member, and over the end of the object if
// there is none. Two members with the same name, or whose names differ only in case,
// are an error.
func (p *jsonParser) next(o *jsonObject) (name string, more bool, err error) {
	p.space()
	if p.pos < len(p.text) && p.text[p.pos] == '}' && !o.later {
		p.pos++
		return "", false, nil
	}
	if o.later {
		switch {
		case p.pos < len(p.text) && p.text[p.pos] == ',':
			p.pos++
			p.space()
		case p.pos < len(p.text) && p.text[p.pos] == '}':
			p.pos++
			p.names = p.names[:o.above]
			return "", false, nil
		default:
			return "", false, p.errorAt(p.pos, "the object that begins at byte %d is not closed: a comma or } should stand here", o.start)
		}
	}
	o.later = true
	if p.pos >= len(p.text) || p.text[p.pos] != '"' {
		return "", false, p.errorAt(p.pos, "a member name in double quotes should stand here")
	}
	at := p.pos
	if name, err = p.string(); err != nil {
		return "", false, err
	}
	if err := p.count(at); err != nil {
		return "", false, err
	}
	p.withheld = p.withheld || name == withheldMember
	switch other, alike := p.alike(o, name); {
	case alike && other == name:
		return "", false, p.errorAt(at, "the member %q stands twice in one object", brief(name))
	case alike:
		return "", false, p.errorAt(at, "the members %q and %q differ only in case", brief(other), brief(name))
	}
	p.space()
	if p.pos >= len(p.text) || p.text[p.pos] != ':' {
		return "", false, p.errorAt(p.pos, "a colon should stand after the member name %q", brief(name))
	}
	p.pos++
	p.space()
	return name, true, nil
}

// alike returns the earlier member whose name is the same but for case, and
// remembers the name.
func (p *jsonParser) alike(o *jsonObject, name string) (other string, alike bool) {
	if o.folded != nil {
		key := foldName(name)
		other, alike = o.folded[key]
		o.folded[key] = name
		return other, alike
	}
	for _, other := range p.names[o.above:] {
		if strings.EqualFold(other, name) {
			return other, true
		}
	}
	if p.names = append(p.names, name); len(p.names)-o.above > fewNames {
		o.folded = make(map[string]string, 4*fewNames)
		for _, n := range p.names[o.above:] {
			o.folded[foldName(n)] = n
		}
	}
	return "", false
}

// foldName maps names to the same string exactly when [strings.EqualFold] holds
// between them: each character to the least of those that differ from it only
// in case, ASCII to lower case.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return unicode.ToLower(r)
		}
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		if least < utf8.RuneSelf { // K and S have relatives beyond ASCII
			return unicode.ToLower(least)
		}
		return least
	}, name)
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
		if err := p.count(p.pos); err != nil {
			return nil, err
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, under(strconv.Itoa(len(array)), err)
		}
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

const notUTF8 = "the string that begins here is not valid UTF-8"

func (p *jsonParser) string() (string, error) {
	start := p.pos
	p.pos++ // "
	// Most strings hold no escape: take them as they stand.
	for i := p.pos; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			raw := p.text[p.pos:i]
			if !p.valid && !utf8.ValidString(raw) {
				return "", p.errorAt(start, notUTF8)
			}
			p.pos = i + 1
			if !p.share {
				raw = strings.Clone(raw)
			}
			return raw, nil
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
			if !utf8.Valid(out) { // an escape adds whole characters, so it can't mend the bytes around it
				return "", p.errorAt(start, notUTF8)
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
		return 0, p.errorAt(at, "%s after a backslash is not an escape of JSON", byteText(c))
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
	n, err := strconv.ParseUint(p.text[p.pos:p.pos+4], 16, 16)
	if err != nil {
		return 0, false
	}
	p.pos += 4
	return rune(n), true
}

func (p *jsonParser) digits() string {
	start := p.pos
	for p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9' {
		p.pos++
	}
	return p.text[start:p.pos]
}

// small reads a whole number of a few digits as it is written most often, or
// nothing.
func (p *jsonParser) small() (n int64, ok bool) {
	i := p.pos
	for i < len(p.text) && p.text[i] >= '0' && p.text[i] <= '9' && i-p.pos < maxDigits-1 {
		n = 10*n + int64(p.text[i]-'0')
		i++
	}
	if i == p.pos || p.text[p.pos] == '0' && i > p.pos+1 || i < len(p.text) && strings.IndexByte("0123456789.eE", p.text[i]) >= 0 {
		return 0, false
	}
	p.pos = i
	return n, true
}

func (p *jsonParser) number() (any, error) {
	if n, ok := p.small(); ok {
		return n, nil
	}
	start := p.pos
	sign := ""
	if p.text[p.pos] == '-' {
		sign = "-"
		p.pos++
	}
	whole := p.digits()
	ok := len(whole) == 1 || len(whole) > 1 && whole[0] != '0'
	fraction, exponent := "", "0"
	if p.pos < len(p.text) && p.text[p.pos] == '.' {
		p.pos++
		fraction = p.digits()
		ok = ok && fraction != ""
	}
	if p.pos < len(p.text) && (p.text[p.pos] == 'e' || p.text[p.pos] == 'E') {
		p.pos++
		exponentSign := ""
		if p.pos < len(p.text) && (p.text[p.pos] == '+' || p.text[p.pos] == '-') {
			exponentSign = p.text[p.pos : p.pos+1]
			p.pos++
		}
		digits := p.digits()
		ok = ok && digits != ""
		exponent = exponentSign + digits
	}
	text := p.text[start:p.pos]
	if !ok {
		return nil, p.errorAt(start, "%q is not a number of JSON", brief(text))
	}
	digits, zeros := movePoint(whole, fraction, exponent)
	if zeros < 0 {
		return nil, p.errorAt(start, "%s is not a whole number, and Cedar has no floating point; "+
			`send {"__extn":{"fn":"decimal","arg":"…"}} (up to four decimals), smaller units, or a string`, brief(text))
	}
	if len(digits)+zeros <= maxDigits {
		n, err := strconv.ParseInt(sign+digits+strings.Repeat("0", zeros), 10, 64)
		if err == nil && n >= -MaxInteger && n <= MaxInteger {
			return n, nil
		}
	}
	return nil, p.errorAt(start, "%s is beyond the whole numbers that JSON holds exactly everywhere (up to %d); send it as a string", brief(text), int64(MaxInteger))
}

const (
	maxDigits     = 16      // of MaxInteger
	exponentBound = 1 << 30 // more than a text has digits
)

// movePoint returns the significant digits of a number and how many zeros
// follow them; negative: how many of the digits stand behind the point. It
// works on the text because floating point would round 1e-400 and
// 9007199254740990.9 to whole numbers that nobody sent.
func movePoint(whole, fraction, exponent string) (digits string, zeros int) {
	digits = strings.TrimRight(whole+fraction, "0")
	zeros = len(whole) - len(digits)
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return "0", 0
	}
	e, err := strconv.Atoi(exponent)
	if err != nil || e > exponentBound || e < -exponentBound {
		e = exponentBound
		if exponent[0] == '-' {
			e = -exponentBound
		}
	}
	return digits, zeros + e
}
