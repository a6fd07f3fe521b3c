package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aver-authz/aver"
)

// The variables of Cedar, where paths begin.
const (
	principalVar = "principal"
	actionVar    = "action"
	resourceVar  = "resource"
	contextVar   = "context"
)

var variables = []string{principalVar, actionVar, resourceVar, contextVar}

// A Path leads to an attribute: resource.amount, context.device.trusted,
// resource["line items"]. It stands for everything below it as well. The first
// element is principal, action, resource or context.
//
// "action" means the properties of the AuthZEN action, which policies see as
// context.aver.action.
type Path string

// isIdentifier tells names that Cedar and paths take without quotes.
func isIdentifier(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c == '_' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z':
		case i > 0 && '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return name != ""
}

// ParsePath checks a path as people write it. It names at least one attribute.
func ParsePath(s string) (Path, error) {
	elems, err := splitPath(s)
	if err != nil {
		return "", err
	}
	return joinPath(elems), nil
}

// Elements are the variable and the attribute names, without quotes.
func (p Path) Elements() []string {
	elems, err := splitPath(string(p))
	if err != nil {
		return nil
	}
	return elems
}

func splitPath(s string) ([]string, error) {
	bad := func(why string) error {
		return fmt.Errorf("%q is not an attribute path such as resource.amount: %s", s, why)
	}
	i := strings.IndexAny(s, ".[")
	if i < 0 {
		if slices.Contains(variables, s) {
			return nil, bad("name an attribute after a dot")
		}
		i = len(s)
	}
	if !slices.Contains(variables, s[:i]) {
		return nil, bad("it must begin with principal, action, resource or context")
	}
	elems := []string{s[:i]}
	for rest := s[i:]; rest != ""; {
		if rest[0] == '[' {
			quoted, err := strconv.QuotedPrefix(rest[1:])
			if err != nil || !strings.HasPrefix(rest[1+len(quoted):], "]") {
				return nil, bad(`a bracket holds a quoted name, as in resource["line items"]`)
			}
			name, err := strconv.Unquote(quoted)
			if err != nil || quoted[0] != '"' {
				return nil, bad("the quoted name cannot be read")
			}
			elems = append(elems, name)
			rest = rest[1+len(quoted)+1:]
			continue
		}
		if rest[0] != '.' {
			return nil, bad("unexpected text after a bracket")
		}
		rest = rest[1:]
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if !isIdentifier(rest[:end]) {
			return nil, bad(`names that are not identifiers are written ["name"]`)
		}
		elems = append(elems, rest[:end])
		rest = rest[end:]
	}
	return elems, nil
}

func joinPath(elems []string) Path {
	if len(elems) == 0 {
		return ""
	}
	var room [64]byte
	path := append(room[:0], elems[0]...)
	for _, e := range elems[1:] {
		path = appendElement(path, e)
	}
	return Path(path)
}

// appendElement appends the name of an attribute to a path.
func appendElement(path []byte, name string) []byte {
	if isIdentifier(name) {
		return append(append(path, '.'), name...)
	}
	// As JSON writes it: records hold paths, and what Go quotes changes with its Unicode tables.
	return append(aver.AppendString(append(path, '['), name), ']')
}
