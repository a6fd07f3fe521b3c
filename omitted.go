package aver

import (
	"encoding/json"
	"fmt"
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

// withRoot appends the paths of what stands below a root.
func (p Paths) withRoot(root string, rests []string) Paths {
	for _, rest := range rests {
		if !strings.HasPrefix(rest, "[") {
			rest = "." + rest
		}
		p = append(p, root+rest)
	}
	return p
}

// appendCanonical appends the paths by what they begin with. They must be sorted.
func (p Paths) appendCanonical(dst []byte) []byte {
	o := object{dst: dst}
	for i := 0; i < len(p); {
		root := rootOf(p[i])
		n := 1
		for i+n < len(p) && rootOf(p[i+n]) == root {
			n++
		}
		appendList(&o, root, p[i:i+n], func(path string, dst []byte) []byte {
			return AppendString(dst, strings.TrimPrefix(path[len(root):], "."))
		})
		i += n
	}
	return o.close()
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
	if len(by) > 0 {
		return fmt.Errorf("a path begins with one of %q", pathRoots)
	}
	return nil
}

func (p *Paths) read(m *members) {
	for _, root := range pathRoots {
		*p = p.withRoot(root, m.strings(root))
	}
	m.end()
}
