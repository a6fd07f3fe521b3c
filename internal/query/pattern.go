package query

import (
	"slices"
	"strings"
)

// Pattern is a text in which a star stands for any run of characters, also for
// none. It is compared byte by byte.
type Pattern struct {
	parts []string // the literals between the stars; one: no star
}

// Literal returns the text that the pattern stands for, if it has no star.
func (p Pattern) Literal() (text string, ok bool) {
	if len(p.parts) != 1 {
		return "", false
	}
	return p.parts[0], true
}

// Prefix returns the text before the first star.
func (p Pattern) Prefix() string { return p.parts[0] }

// Any reports whether everything matches.
func (p Pattern) Any() bool { return len(p.parts) == 2 && p.parts[0] == "" && p.parts[1] == "" }

// Match reports whether a text matches.
func (p Pattern) Match(s string) bool {
	last := len(p.parts) - 1
	if last == 0 {
		return s == p.parts[0]
	}
	if len(s) < len(p.parts[0])+len(p.parts[last]) || !strings.HasPrefix(s, p.parts[0]) || !strings.HasSuffix(s, p.parts[last]) {
		return false
	}
	return Pattern{p.parts[1:last]}.contained(s[len(p.parts[0]) : len(s)-len(p.parts[last])])
}

// contained reports whether some part of a text matches.
func (p Pattern) contained(s string) bool {
	for _, part := range p.parts {
		_, after, found := strings.Cut(s, part)
		if !found {
			return false
		}
		s = after
	}
	return true
}

// word is the pattern of a free word: in lower case, and without stars at its
// ends, which change nothing.
func (p Pattern) word() Pattern {
	parts := make([]string, 0, len(p.parts))
	for _, part := range p.parts {
		parts = append(parts, strings.ToLower(part))
	}
	for len(parts) > 1 && parts[0] == "" {
		parts = parts[1:]
	}
	for len(parts) > 1 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	if len(parts) == 1 && parts[0] == "" {
		return Pattern{[]string{"", ""}}
	}
	return Pattern{parts}
}

// cut splits the pattern at the first slash that stands before any star.
func (p Pattern) cut() (before, after Pattern, ok bool) {
	for i, part := range p.parts {
		left, right, found := strings.Cut(part, "/")
		if found {
			return Pattern{append(slices.Clone(p.parts[:i]), left)}, Pattern{append([]string{right}, p.parts[i+1:]...)}, true
		}
	}
	return p, p, false
}

// String returns the pattern as a query has it.
func (p Pattern) String() string {
	bare := true
	var b strings.Builder
	for i, part := range p.parts {
		if i > 0 {
			b.WriteByte('*')
		}
		for _, r := range part {
			switch {
			case r == '\\' || r == '*':
				b.WriteByte('\\')
			case r == '"':
				b.WriteByte('\\')
				bare = false
			case !isBare(r):
				bare = false
			}
			b.WriteRune(r)
		}
	}
	s := b.String()
	if bare && s != "" && !strings.ContainsAny(s[:1], "-<>") {
		return s
	}
	return `"` + s + `"`
}

// patternOf makes a pattern of a text and of the stars in it: the byte offsets
// of those that are not escaped.
func patternOf(text string, stars []int) Pattern {
	var parts []string
	from := 0
	for _, at := range stars {
		if part := text[from:at]; len(parts) == 0 || part != "" { // several stars are one
			parts = append(parts, part)
		}
		from = at + 1
	}
	return Pattern{append(parts, text[from:])}
}

// Literal makes a pattern that only this text matches.
func Literal(text string) Pattern { return Pattern{[]string{text}} }
