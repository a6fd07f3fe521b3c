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
		e.message = "cannot read the policy: " + plainSyntax(e.message)
		return nil, s.place(e)
	}
	tree := (*ast.Policy)(p.AST())
	tree.Position.Offset = 0
	tree.Position.Line, tree.Position.Column = s.line, s.column
	if d := depthOf(tree); d > MaxDepth {
		return nil, &parseError{line: s.line, column: s.column, message: "the policy's expressions nest too deeply: split it"}
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

func (s statement) checkNesting() *parseError {
	c := cursor{text: s.text, line: 1, column: 1}
	depth := 0
	for c.pos < len(c.text) {
		line, column := c.line, c.column
		switch c.step() {
		case '(', '[', '{':
			if depth++; depth > MaxNesting {
				return s.place(&parseError{line: line, column: column, message: fmt.Sprintf("more than %d brackets are open here", MaxNesting)})
			}
		case ')', ']', '}':
			depth--
		}
	}
	return nil
}

var exactError = regexp.MustCompile(`^(".*"): exact got (.*) want (.*)$`)

// plainSyntax makes the parser's messages fit for people.
func plainSyntax(msg string) string {
	if m := exactError.FindStringSubmatch(msg); m != nil {
		if m[2] == "" {
			return fmt.Sprintf("expected %q, but the text ends", m[3])
		}
		return fmt.Sprintf("expected %q, got %q", m[3], m[2])
	}
	if near, rest, ok := strings.Cut(msg, `": `); ok && strings.HasPrefix(near, `"`) {
		if near == `"` {
			return rest + ", at the end of the text"
		}
		return fmt.Sprintf("%s, near %s\"", rest, near)
	}
	return msg
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
