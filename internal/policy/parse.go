package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A statement is the text of one policy and where it begins.
type statement struct {
	text         string
	line, column int // from 1
}

// A parseError is a problem with Cedar text at a place in it.
type parseError struct {
	line, column int
	message      string
}

func (e *parseError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.line, e.column, e.message)
}

// A cursor walks over Cedar text and knows which parts are strings and
// comments.
type cursor struct {
	text         string
	pos          int
	line, column int // of pos, from 1
}

// step moves over one character, a whole string or a whole comment. It gives
// the character, or 0 for a comment, or '"' for a string.
func (c *cursor) step() byte {
	ch := c.text[c.pos]
	switch {
	case strings.HasPrefix(c.text[c.pos:], "//"):
		for c.pos < len(c.text) && c.text[c.pos] != '\n' {
			c.advance()
		}
		return 0
	case ch == '"':
		c.advance()
		for c.pos < len(c.text) && c.text[c.pos] != '"' {
			if c.text[c.pos] == '\\' && c.pos+1 < len(c.text) {
				c.advance()
			}
			c.advance()
		}
		if c.pos < len(c.text) {
			c.advance()
		}
		return '"'
	}
	c.advance()
	return ch
}

func (c *cursor) advance() {
	ch := c.text[c.pos]
	c.pos++
	switch {
	case ch == '\n':
		c.line++
		c.column = 1
	case ch&0xC0 != 0x80: // the first byte of a character; those after it do not count
		c.column++
	}
}

// splitStatements cuts Cedar text after each semicolon that is not within a
// string or a comment: no expression of Cedar holds one. What is left at the
// end is a statement too, unless it is only space and comments.
func splitStatements(text string) []statement {
	var out []statement
	c := cursor{text: text, line: 1, column: 1}
	start := statement{line: 1, column: 1}
	from, blank := 0, true
	for c.pos < len(text) {
		line, column, pos := c.line, c.column, c.pos
		ch := c.step()
		if ch == 0 || ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' {
			continue
		}
		if blank {
			start, from, blank = statement{line: line, column: column}, pos, false
		}
		if ch == ';' {
			start.text = text[from:c.pos]
			out = append(out, start)
			blank = true
		}
	}
	if !blank {
		start.text = text[from:]
		out = append(out, start)
	}
	return out
}

var cedarError = regexp.MustCompile(`^(?:parser error: )?(?:parse error at )?(?:<input>:|:)?(\d+):(\d+):? ?(.*)$`)

// parse reads the statement as exactly one policy, with the positions of the
// whole text.
func (s statement) parse() (*cedar.Policy, *parseError) {
	if e := s.checkNesting(); e != nil {
		return nil, e
	}
	p, err := parseOne(s.text)
	if err != nil {
		e := &parseError{line: 1, column: 1, message: err.Error()}
		if m := cedarError.FindStringSubmatch(err.Error()); m != nil {
			e.line, _ = strconv.Atoi(m[1])
			e.column, _ = strconv.Atoi(m[2])
			e.message = m[3]
		}
		s.explain(e)
		return nil, s.place(e)
	}
	tree := (*ast.Policy)(p.AST())
	tree.Position.Offset = 0
	tree.Position.Line, tree.Position.Column = s.line, s.column
	if d := depthOf(tree); d > MaxDepth {
		return nil, &parseError{line: s.line, column: s.column, message: "its expressions nest too deeply: split it"}
	}
	return p, nil
}

// parseOne guards against a panic of the parser, which works on text that
// strangers send.
func parseOne(text string) (p *cedar.Policy, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("the parser failed: %v", r)
		}
	}()
	list, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("expected one policy, got %d", len(list))
	}
	return list[0], nil
}

// place turns a position within the statement into one within the whole text.
func (s statement) place(e *parseError) *parseError {
	if e.line <= 1 {
		e.column += s.column - 1
	}
	e.line += s.line - 1
	return e
}

// checkNesting refuses text on which the parser would spend too much stack or
// memory: it recurses at brackets, and writes "x has a.b.c" out as "x has a &&
// x.a has b && x.a.b has c".
func (s statement) checkNesting() *parseError {
	c := cursor{text: s.text, line: 1, column: 1}
	fail := func(what string) *parseError {
		return s.place(&parseError{line: c.line, column: c.column, message: what})
	}
	open, dots := 0, 0
	var last byte // the kind of the last token: a name, a dot, or something else
	inName := false
	for c.pos < len(c.text) {
		before := c
		ch := c.step()
		name := ch == '_' || ch >= '0' && ch <= '9' || ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z'
		switch {
		case name:
			if !inName && last == 'n' {
				dots = 0 // two names in a row do not belong together
			}
			last = 'n'
		case ch == 0, ch == ' ', ch == '\t', ch == '\r', ch == '\n':
		case ch == '.':
			last = '.'
			if dots++; dots > MaxNesting {
				c = before
				return fail(fmt.Sprintf("more than %d attributes follow one another here", MaxNesting))
			}
		default:
			last, dots = 0, 0
			switch ch {
			case '(', '[', '{':
				if open++; open > MaxNesting {
					c = before
					return fail(fmt.Sprintf("more than %d brackets are open here", MaxNesting))
				}
			case ')', ']', '}':
				open--
			}
		}
		inName = name
	}
	return nil
}

var (
	exactError = regexp.MustCompile(`^exact got (.*) want (.*)$`)
	// lateErrors are those that the parser reports one token too late.
	lateErrors = regexp.MustCompile(`^(exact got|expected|unexpected|invalid primary)`)
	cedarToken = regexp.MustCompile(`^(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|"(?:[^"\\]|\\.)*"|::|[=!<>]=|&&|\|\||.)`)
)

// explain makes a message of the parser fit for people, and puts it where the
// offending token is.
func (s statement) explain(e *parseError) {
	quoted, err := strconv.QuotedPrefix(e.message)
	msg, ok := strings.CutPrefix(e.message[len(quoted):], ": ")
	if err != nil || !ok {
		return
	}
	token, err := strconv.Unquote(quoted)
	if err != nil {
		return
	}
	late := lateErrors.MatchString(msg)
	if token != "" && late {
		if line, column, text, ok := s.tokenBefore(e.line, e.column); ok {
			e.line, e.column, token = line, column, text
		}
	}
	if m := exactError.FindStringSubmatch(msg); m != nil {
		msg = fmt.Sprintf("expected %q", m[2])
	}
	if msg == "invalid primary" {
		msg = "expected an expression"
	}
	if token == "" {
		e.message = msg + ", but the text ends"
		return
	}
	joint := ", near "
	if late {
		joint = ", got "
	}
	e.message = msg + joint + strconv.Quote(token)
}

// tokenBefore finds the last token that begins before a place in the text.
func (s statement) tokenBefore(line, column int) (int, int, string, bool) {
	c := cursor{text: s.text, line: 1, column: 1}
	var foundLine, foundColumn int
	var found string
	for c.pos < len(c.text) && (c.line < line || c.line == line && c.column < column) {
		at, rest := c, c.text[c.pos:]
		switch {
		case strings.HasPrefix(rest, "//"):
			c.step()
			continue
		case strings.ContainsRune(" \t\r\n", rune(rest[0])):
			c.advance()
			continue
		}
		token := cedarToken.FindString(rest)
		if token == "" {
			token = rest[:1]
		}
		foundLine, foundColumn, found = at.line, at.column, token
		for end := c.pos + len(token); c.pos < end; {
			c.advance()
		}
	}
	return foundLine, foundColumn, found, found != ""
}

// depthOf is the height of the policy's tallest condition. It gives up, with a
// number that is too large, below MaxDepth.
func depthOf(p *ast.Policy) int {
	deepest := 0
	for _, c := range p.Conditions {
		deepest = max(deepest, nodeDepth(c.Body, 0))
	}
	return deepest
}

func nodeDepth(n ast.IsNode, above int) int {
	if above > MaxDepth {
		return above
	}
	deepest := above + 1
	for _, child := range children(n) {
		deepest = max(deepest, nodeDepth(child, above+1))
	}
	return deepest
}
