package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aver-authz/aver"
)

// Bounds of a query.
const (
	MaxLength = 4096 // bytes
	MaxTerms  = 64
	MaxDepth  = 16 // of parentheses and negations
)

// Error says what is wrong with a query, and where.
type Error struct {
	Query    string
	Position int    // zero-based, in characters
	Length   int    // of what is meant, in characters; at least 1
	Reason   string // one plain sentence, without a full stop
}

func (e *Error) Error() string { return fmt.Sprintf("query, character %d: %s", e.Position+1, e.Reason) }

// Caret shows the query with a line below that points at the mistake.
func (e *Error) Caret() string {
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, e.Query)
	return line + "\n" + strings.Repeat(" ", e.Position) + strings.Repeat("^", e.Length)
}

// operators are the words that are none when they stand alone.
var operators = []string{"AND", "OR", "NOT"}

// Parse reads a query. The error is an [*Error].
func Parse(text string) (*Query, error) {
	if !utf8.ValidString(text) {
		return nil, &Error{strings.ToValidUTF8(text, "\ufffd"), 0, 1, "is not valid UTF-8"}
	}
	p := &parser{query: text}
	if len(text) > MaxLength {
		return nil, p.fault(MaxLength, MaxLength, "a query has at most %d bytes", MaxLength)
	}
	if err := p.read(); err != nil {
		return nil, err
	}
	if len(p.tokens) == 1 { // the end
		return &Query{And{}}, nil
	}
	e, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if t := p.tokens[0]; t.kind != end {
		return nil, p.fault(t.from, t.to, "there is no opening parenthesis for this one")
	}
	return &Query{normal(e)}, nil
}

type tokenKind int

const (
	end tokenKind = iota
	open
	closing
	minus
	operator // AND, OR, NOT
	item     // word, or name:value
)

type token struct {
	kind     tokenKind
	from, to int    // bytes
	name     string // of an item, "" of a word
	value    int    // where the item's value begins
	text     string // of operator and item, unescaped
	stars    []int  // in text
	quoted   bool
}

type parser struct {
	query  string
	tokens []token
	terms  int
}

func (p *parser) fault(from, to int, format string, args ...any) error {
	from = min(from, len(p.query))
	return &Error{
		Query: p.query, Position: utf8.RuneCountInString(p.query[:from]),
		Length: max(1, utf8.RuneCountInString(p.query[from:max(from, min(to, len(p.query)))])), Reason: fmt.Sprintf(format, args...),
	}
}

func isBare(r rune) bool {
	return r != '(' && r != ')' && r != '"' && !unicode.IsSpace(r) && !unicode.IsControl(r)
}

// read cuts the query into tokens.
func (p *parser) read() error {
	for at := 0; at < len(p.query); {
		r, size := utf8.DecodeRuneInString(p.query[at:])
		switch {
		case unicode.IsSpace(r):
			at += size
		case unicode.IsControl(r):
			return p.fault(at, at+size, "control characters have no place in a query")
		case r == '(' || r == ')' || r == '-':
			p.tokens = append(p.tokens, token{kind: map[rune]tokenKind{'(': open, ')': closing, '-': minus}[r], from: at, to: at + 1})
			at++
		default:
			t, err := p.item(at)
			if err != nil {
				return err
			}
			p.tokens = append(p.tokens, t)
			at = t.to
		}
	}
	p.tokens = append(p.tokens, token{kind: end, from: len(p.query), to: len(p.query)})
	return nil
}

// item reads a word or name:value.
func (p *parser) item(from int) (token, error) {
	t := token{kind: item, from: from, value: from}
	if p.query[from] != '"' {
		if n := strings.IndexFunc(p.query[from:], func(r rune) bool { return !isBare(r) || r == ':' || r == '\\' }); n > 0 && p.query[from+n] == ':' {
			t.name, t.value = p.query[from:from+n], from+n+1
		}
	}
	var b strings.Builder
	at := t.value
	if t.quoted = strings.HasPrefix(p.query[at:], `"`); t.quoted {
		at++
	}
	closed := false
	for at < len(p.query) && !closed {
		r, size := utf8.DecodeRuneInString(p.query[at:])
		switch {
		case r == '\\':
			next, n := utf8.DecodeRuneInString(p.query[at+1:])
			if n == 0 || !strings.ContainsRune(`\*"`, next) {
				return t, p.fault(at, at+1+n, `a backslash stands before \, * or " only; write \\ for a backslash`)
			}
			b.WriteRune(next)
			at += 1 + n
			continue
		case r == '*':
			t.stars = append(t.stars, b.Len())
		case t.quoted && r == '"':
			closed = true
			at += size
			continue
		case t.quoted && unicode.IsControl(r):
			return t, p.fault(at, at+size, "control characters have no place in a query")
		case !t.quoted && r == '"':
			return t, p.fault(at, at+size, "put the whole value into quotes, or write \\\" for a quote in it")
		case !t.quoted && !isBare(r):
			t.to, t.text = at, b.String()
			return p.finish(t)
		}
		b.WriteRune(r)
		at += size
	}
	if t.quoted && !closed {
		return t, p.fault(t.value, t.value+1, "this quote is not closed")
	}
	if r, _ := utf8.DecodeRuneInString(p.query[at:]); closed && at < len(p.query) && isBare(r) || closed && r == '"' {
		return t, p.fault(at, at+1, "after a quoted value comes a space")
	}
	t.to, t.text = at, b.String()
	return p.finish(t)
}

func (p *parser) finish(t token) (token, error) {
	if t.name == "" && !t.quoted && slices.Contains(operators, p.query[t.from:t.to]) {
		t.kind = operator
	}
	if t.text == "" {
		if t.name != "" {
			return t, p.fault(t.from, t.to, "%s: needs a value; any value is %s:*, none is -%s:*", t.name, t.name, t.name)
		}
		return t, p.fault(t.from, t.to, "an empty text is everywhere; leave it out")
	}
	return t, nil
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

func (p *parser) is(op string) bool { return p.peek().kind == operator && p.peek().text == op }

func (p *parser) or(depth int) (Expr, error) {
	var list Or
	for {
		e, err := p.and(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if !p.is("OR") {
			break
		}
		p.next()
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return list, nil
}

func (p *parser) and(depth int) (Expr, error) {
	var list And
	for {
		e, err := p.unary(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		switch t := p.peek(); {
		case t.kind == end || t.kind == closing || p.is("OR"):
			if len(list) == 1 {
				return list[0], nil
			}
			return list, nil
		case p.is("AND"):
			p.next()
		}
	}
}

func (p *parser) unary(depth int) (Expr, error) {
	t := p.next()
	if depth > MaxDepth {
		return nil, p.fault(t.from, t.to, "parentheses and negations are nested at most %d deep", MaxDepth)
	}
	switch {
	case t.kind == minus || t.kind == operator && t.text == "NOT":
		if n := p.peek(); t.kind == minus && n.from != t.to || n.kind == end || n.kind == closing {
			return nil, p.fault(t.from, t.to, "what is not to be there follows directly: -outcome:denied")
		}
		e, err := p.unary(depth + 1)
		if err != nil {
			return nil, err
		}
		return Not{e}, nil
	case t.kind == open:
		if n := p.peek(); n.kind == closing {
			return nil, p.fault(t.from, n.to, "there is nothing between these parentheses")
		}
		e, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.peek().kind != closing {
			return nil, p.fault(t.from, t.to, "this parenthesis is not closed")
		}
		p.next()
		return e, nil
	case t.kind == item:
		if p.terms++; p.terms > MaxTerms {
			return nil, p.fault(t.from, t.to, "a query has at most %d terms", MaxTerms)
		}
		return p.term(t)
	case t.kind == operator:
		return nil, p.fault(t.from, t.to, "%s stands between two terms; the word itself is \"%s\" in quotes", t.text, t.text)
	case t.kind == closing:
		return nil, p.fault(t.from, t.to, "a term is missing before this parenthesis")
	}
	return nil, p.fault(t.from, t.to, "a term is missing at the end")
}

// term makes a node of an item.
func (p *parser) term(t token) (Expr, error) {
	pattern := patternOf(t.text, t.stars)
	if t.name == "" {
		return Says{pattern.word()}, nil
	}
	if isAttribute(t.name) {
		if op, digits := cutOp(t); op != Equal {
			n, err := p.number(t, digits)
			return Compare{Attribute, t.name, op, n}, err
		}
		return Has{t.name, pattern}, nil
	}
	f := fieldsByName[t.name]
	if f == nil {
		return nil, p.unknown(t)
	}
	switch f.sort {
	case number:
		op, digits := cutOp(t)
		n, err := p.number(t, digits)
		return Compare{Field: f.Field, Op: op, Value: n}, err
	case moment:
		at, err := p.time(t)
		return When{f.Field, at}, err
	case choice:
		if !slices.ContainsFunc(f.Values, pattern.Match) {
			return nil, p.fault(t.value, t.to, "%s is one of %s", f.Name, strings.Join(f.Values, ", "))
		}
	}
	return Is{f.Field, pattern}, nil
}

func cutOp(t token) (Op, string) {
	if t.quoted {
		return Equal, t.text
	}
	for _, op := range []Op{AtMost, AtLeast, Less, More} {
		if rest, ok := strings.CutPrefix(t.text, string(op)); ok {
			return op, rest
		}
	}
	return Equal, t.text
}

func (p *parser) number(t token, digits string) (int64, error) {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > aver.MaxInteger || n < -aver.MaxInteger {
		return 0, p.fault(t.value, t.to, "%s is compared with a whole number, as in %s:>100", t.name, t.name)
	}
	return n, nil
}

// time reads a day, which begins at midnight UTC, or a time of RFC 3339.
func (p *parser) time(t token) (aver.Time, error) {
	text := t.text
	if len(text) == len("2026-11-01") {
		text += "T00:00:00Z"
	}
	at, err := aver.ParseTime(text)
	if err != nil || at == 0 {
		return 0, p.fault(t.value, t.to, "%s is followed by a day, 2026-11-01 (from midnight UTC), or a time, 2026-11-01T08:30:00Z", t.name)
	}
	return at, nil
}

func (p *parser) unknown(t token) error {
	for _, f := range fields {
		if strings.EqualFold(f.Name, t.name) || strings.HasPrefix(f.Name, t.name) || strings.HasPrefix(t.name, f.Name) {
			return p.fault(t.from, t.value-1, "there is no field %s; did you mean %s?", t.name, f.Name)
		}
	}
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.Name
	}
	return p.fault(t.from, t.value-1, "there is no field %s; there are %s, and attributes such as resource.amount. A text with a colon stands in quotes",
		t.name, strings.Join(known, ", "))
}
