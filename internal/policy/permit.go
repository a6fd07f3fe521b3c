package policy

import (
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// A Permit is one Cedar permit by itself, such as a grant's. It does not
// change and may be used concurrently.
type Permit struct {
	rule    *Rule
	group   *group
	context ContextReads
}

// CompilePermit reads text that consists of exactly one permit. It has no
// annotation that Aver gives a meaning to, apart from @id and @reason; id is
// what results call it by.
func CompilePermit(id, text string) (*Permit, error) {
	if len(text) > MaxFileBytes {
		return nil, fmt.Errorf("the permit has %d bytes, more than the %d allowed", len(text), MaxFileBytes)
	}
	statements := splitStatements(text)
	if len(statements) != 1 {
		return nil, fmt.Errorf("expected exactly one permit statement, got %d statements", len(statements))
	}
	p, perr := statements[0].parse()
	if perr != nil {
		return nil, perr
	}
	r := newRule(id, p)
	if r.Effect != EffectPermit {
		return nil, fmt.Errorf("expected a permit statement, got a %s", r.Effect)
	}
	var errs Errors
	annotate(r, func(format string, args ...any) { errs.add("", 0, 0, format, args...) })
	if err := errs.orNil(); err != nil {
		return nil, err
	}
	r.Position = 1
	return &Permit{rule: r, group: newGroup([]*Rule{r}, false), context: contextReads([]*Rule{r})}, nil
}

// ContextReads tells what the permit can read of the context.
func (p *Permit) ContextReads() ContextReads { return p.context }

// Rule gives the policy, for explanations and for what it can read.
func (p *Permit) Rule() *Rule { return p.rule }

// Authorize evaluates the permit alone: it allows, or denies for no reason, or
// denies because its evaluation failed.
func (p *Permit) Authorize(entities types.EntityGetter, req types.Request) Result {
	if entities == nil {
		entities = types.EntityMap(nil)
	}
	return authorize(p.group, entities, req)
}

// ValidateCondition checks that text is one Cedar expression, which may stand
// between the braces of a when clause. Text that would close the braces and go
// on is no expression. Positions in the error count from the text's beginning.
func ValidateCondition(text string) error {
	const before, after = "permit(principal,action,resource) when {\n", "\n};"
	if len(text) > MaxFileBytes {
		return fmt.Errorf("the condition has %d bytes, more than the %d allowed", len(text), MaxFileBytes)
	}
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("1:1: the condition is empty")
	}
	// Each bracket that closes must have been opened in the text, so that none
	// can end the clause around it.
	if e := checkBalance(text); e != nil {
		return e
	}
	st := statement{text: before + text + after, line: 0, column: 1}
	p, perr := st.parse()
	if perr != nil {
		// What is wrong with the braces around the text is that it ends.
		end := cursor{text: text, line: 1, column: 1}
		for end.pos < len(text) {
			end.advance()
		}
		if perr.line > end.line {
			perr.line, perr.column = end.line, end.column
			perr.message, _, _ = strings.Cut(perr.message, ", got ")
			perr.message += ", but the condition ends"
		}
		perr.line = max(perr.line, 1)
		return perr
	}
	if c := p.AST().Conditions; len(c) != 1 {
		return fmt.Errorf("1:1: expected one expression, got %d conditions", len(c))
	}
	return nil
}

// checkBalance refuses text with brackets that do not pair, an unfinished
// string, or a semicolon. A comment must end within the text.
func checkBalance(text string) *parseError {
	closing := map[byte]byte{'(': ')', '[': ']', '{': '}'}
	type opened struct {
		want byte
		at   parseError
	}
	var open []opened
	c := cursor{text: text, line: 1, column: 1}
	for c.pos < len(text) {
		at, pos := parseError{line: c.line, column: c.column}, c.pos
		switch ch := c.step(); ch {
		case '(', '[', '{':
			open = append(open, opened{closing[ch], at})
		case ')', ']', '}':
			if len(open) == 0 || open[len(open)-1].want != ch {
				at.message = fmt.Sprintf("%q closes nothing that is open here", string(ch))
				return &at
			}
			open = open[:len(open)-1]
		case ';':
			at.message = "a condition is one expression, without a semicolon"
			return &at
		case '"':
			if s := text[pos:c.pos]; len(s) < 2 || !endsString(s) {
				at.message = "the string does not end"
				return &at
			}
		}
	}
	if len(open) > 0 {
		at := open[len(open)-1].at
		at.message = fmt.Sprintf("nothing closes this bracket, %q is missing", string(open[len(open)-1].want))
		return &at
	}
	return nil
}

// endsString tells whether the quote at the end of s is not escaped.
func endsString(s string) bool {
	if s[len(s)-1] != '"' {
		return false
	}
	body := s[1 : len(s)-1]
	slashes := len(body) - len(strings.TrimRight(body, `\`))
	return slashes%2 == 0
}
