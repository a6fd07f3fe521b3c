package aver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Paths names attributes by the part of the request that they stand in and the way
// to them, such as resource.amount; in the order of bytes. In JSON they stand by
// part, each without it (docs/formats.md, "Minimised request").
type Paths []string

// pathRoots are what a path can begin with, in the canonical order.
var pathRoots = [...]string{"action", "context", "principal", "resource"}

// rootOf is what a path begins with.
func rootOf(path string) string {
	for i := range len(path) {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return path
}

// withRoot appends the paths of what stands below a root. They share memory.
func (p Paths) withRoot(root string, rests []string) Paths {
	size := 0
	for _, rest := range rests {
		size += len(root) + len(rest) + 1
	}
	var all strings.Builder
	all.Grow(size)
	for _, rest := range rests {
		all.WriteString(root)
		if rest != "" && rest[0] != '[' {
			all.WriteByte('.')
		}
		all.WriteString(rest)
	}
	text := all.String()
	p = slices.Grow(p, len(rests))
	for _, rest := range rests {
		n := len(root) + len(rest)
		if rest != "" && rest[0] != '[' {
			n++
		}
		p, text = append(p, text[:n]), text[n:]
	}
	return p
}

// appendCanonical appends the paths by what they begin with. They must be sorted.
func (p Paths) appendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	for i := 0; i < len(p); {
		root := rootOf(p[i])
		n := 1
		for i+n < len(p) && below(p[i+n], root) {
			n++
		}
		appendList(&o, root, p[i:i+n], func(path string, dst []byte) []byte {
			return AppendString(dst, strings.TrimPrefix(path[len(root):], "."))
		})
		i += n
	}
	return o.close()
}

// below tells whether a path begins with a root.
func below(path, root string) bool {
	return strings.HasPrefix(path, root) && (len(path) == len(root) || path[len(root)] == '.' || path[len(root)] == '[')
}

// MarshalJSON implements [json.Marshaler].
func (p Paths) MarshalJSON() ([]byte, error) { return p.appendCanonical(nil), nil }

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Paths) UnmarshalJSON(text []byte) error {
	var by map[string][]string
	if err := json.Unmarshal(text, &by); err != nil {
		return err
	}
	*p = nil
	for _, root := range pathRoots {
		*p = p.withRoot(root, by[root])
		delete(by, root)
	}
	for root := range by {
		return fmt.Errorf("no path begins with %q", root)
	}
	return nil
}

func (p *Paths) read(m *members) {
	for _, root := range pathRoots {
		if rests := m.strings(root); rests != nil {
			*p = p.withRoot(root, rests)
		}
	}
	m.end()
}
