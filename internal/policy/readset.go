package policy

import (
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A ReadSet says which attributes of principal, action, resource and context
// an evaluation can read: all that its syntax tree names, in any branch. The
// zero value is empty. A ReadSet is immutable and may be used concurrently.
//
// What is reached through an entity reference belongs to another entity:
// resource.owner.department reads resource.owner of the request. Since that
// owner may well be the principal or the resource of the same request, the
// ReadSet remembers what is read behind references, and a [Sieve] keeps
// such attributes of the request's own entities too.
type ReadSet struct {
	roots  map[string]*readNode // by variable
	behind *readNode            // attributes read of entities behind references
}

// A readNode is a place in the tree of attributes. Present in the tree means
// that the evaluation can look whether the attribute is there.
type readNode struct {
	whole bool // the value is used as it is, with all below it
	kids  map[string]*readNode
}

func (n *readNode) merge(o *readNode) {
	if o == nil || n.whole {
		return
	}
	if o.whole {
		n.whole, n.kids = true, nil
		return
	}
	for k, kid := range o.kids {
		n.at(k).merge(kid)
	}
}

// at gives the node of an attribute, made if needed.
func (n *readNode) at(name string) *readNode {
	if n.kids == nil {
		n.kids = map[string]*readNode{}
	}
	kid := n.kids[name]
	if kid == nil {
		kid = &readNode{}
		n.kids[name] = kid
	}
	return kid
}

// mark adds the attribute at the end of names; whole says that its value is
// used as it is.
func (n *readNode) mark(names []string, whole bool) {
	for _, name := range names {
		if n.whole {
			return
		}
		n = n.at(name)
	}
	if whole {
		n.whole, n.kids = true, nil
	}
}

// Union reads what either reads.
func (rs ReadSet) Union(others ...ReadSet) ReadSet {
	out := ReadSet{roots: make(map[string]*readNode, len(variables)), behind: &readNode{}}
	for _, s := range append([]ReadSet{rs}, others...) {
		out.behind.merge(s.behind)
		for _, v := range variables {
			if n := s.roots[v]; n != nil {
				if out.roots[v] == nil {
					out.roots[v] = &readNode{}
				}
				out.roots[v].merge(n)
			}
		}
	}
	return out
}

// With reads the given paths as well, each with all below it.
func (rs ReadSet) With(paths ...Path) ReadSet {
	out := rs.Union()
	for _, p := range paths {
		if elems := p.Elements(); len(elems) > 0 {
			out.root(elems[0]).mark(elems[1:], true)
		}
	}
	return out
}

func (rs *ReadSet) root(variable string) *readNode {
	if rs.roots[variable] == nil {
		rs.roots[variable] = &readNode{}
	}
	return rs.roots[variable]
}

// Contains tells whether the attribute at a path, or anything below it, can
// be read.
func (rs ReadSet) Contains(p Path) bool { return rs.ContainsElements(p.Elements()) }

// ContainsElements is [ReadSet.Contains] of a path that was split, for who asks
// several sets. Of what is no path, which has no elements, it tells false.
func (rs ReadSet) ContainsElements(elems []string) bool {
	if len(elems) == 0 {
		return false
	}
	if rs.roots[elems[0]].reaches(elems[1:]) {
		return true
	}
	return elems[0] != contextVar && rs.behind.reaches(elems[1:])
}

func (n *readNode) reaches(names []string) bool {
	for _, name := range names {
		if n == nil {
			return false
		}
		if n.whole {
			return true
		}
		n = n.kids[name]
	}
	return n != nil
}

// Paths lists what can be read, sorted. "context" alone stands for all of it.
// What is read behind references is not listed.
func (rs ReadSet) Paths() []Path {
	var out []Path
	for _, v := range variables {
		out = rs.roots[v].paths([]string{v}, out)
	}
	slices.Sort(out)
	return out
}

func (n *readNode) paths(at []string, out []Path) []Path {
	if n == nil {
		return out
	}
	if len(n.kids) == 0 {
		if n.whole || len(at) > 1 {
			out = append(out, joinPath(at))
		}
		return out
	}
	for _, k := range slices.Sorted(maps.Keys(n.kids)) {
		out = n.kids[k].paths(append(slices.Clone(at), k), out)
	}
	return out
}

// readsOf walks over a policy's conditions. Scopes read no attributes.
func readsOf(p *ast.Policy) ReadSet {
	w := readWalker{ReadSet{roots: map[string]*readNode{}, behind: &readNode{}}}
	for _, c := range p.Conditions {
		w.use(w.walk(c.Body))
	}
	return w.rs
}

// An alias is where the value of an expression may come from: places in the
// request, and the fields of a record that the policy builds.
type alias struct {
	paths  [][]string
	fields map[string]alias
}

func (a alias) union(b alias) alias {
	out := alias{paths: append(slices.Clone(a.paths), b.paths...)}
	if len(a.fields)+len(b.fields) > 0 {
		out.fields = maps.Clone(a.fields)
		if out.fields == nil {
			out.fields = map[string]alias{}
		}
		for k, v := range b.fields {
			out.fields[k] = out.fields[k].union(v)
		}
	}
	return out
}

// elsewhere is where values come from that are no part of a request: tags, and
// the policy itself. They may be references to entities of the request.
const elsewhere = "elsewhere"

// averAction is where policies see the properties of the AuthZEN action.
var averAction = []string{contextVar, "aver", "action"}

type readWalker struct{ rs ReadSet }

// use marks all of a value as read.
func (w *readWalker) use(a alias) {
	for _, p := range a.paths {
		w.mark(p, true)
	}
	for _, f := range a.fields {
		w.use(f)
	}
}

func (w *readWalker) mark(path []string, whole bool) {
	if len(path) == 1 && path[0] != contextVar {
		return // the name of an entity, which every request has
	}
	if path[0] != elsewhere {
		w.rs.root(path[0]).mark(path[1:], whole)
	}
	switch n := len(averAction); {
	case len(path) > n && slices.Equal(path[:n], averAction):
		w.rs.root(actionVar).mark(path[n:], whole)
	case len(path) <= n && whole && slices.Equal(path, averAction[:len(path)]):
		w.rs.root(actionVar).mark(nil, true)
	}
	// Each value on the way may be a reference to an entity of the request.
	for i := 2; i < len(path); i++ {
		if !averRecord(path[:i]) {
			w.rs.behind.mark(path[i:], whole)
		}
	}
}

// averRecord tells of a place in what Aver adds to the context whether it
// always holds a record, and never a reference to an entity.
func averRecord(path []string) bool {
	if len(path) < 2 || path[0] != contextVar || path[1] != "aver" {
		return false
	}
	return len(path) == 2 || len(path) == 3 && path[2] != "origin" || len(path) == 4 && path[2] == "signals"
}

// walk marks what the evaluation of an expression reads besides its value, and
// gives where that value may come from.
func (w *readWalker) walk(n ast.IsNode) alias {
	switch v := n.(type) {
	case ast.NodeTypeVariable:
		return alias{paths: [][]string{{string(v.Name)}}}
	case ast.NodeTypeAccess:
		return w.attribute(w.walk(v.Arg), string(v.Value))
	case ast.NodeTypeHas:
		w.attribute(w.walk(v.Arg), string(v.Value))
		return alias{}
	case ast.NodeTypeIfThenElse:
		w.use(w.walk(v.If))
		return w.walk(v.Then).union(w.walk(v.Else))
	case ast.NodeTypeRecord:
		a := alias{fields: map[string]alias{}}
		for _, e := range v.Elements {
			a.fields[string(e.Key)] = w.walk(e.Value)
		}
		return a
	case ast.NodeValue:
		if isEntity(v) { // it may be the name of an entity of the request
			return alias{paths: [][]string{{elsewhere, "value"}}}
		}
		return alias{}
	case ast.NodeTypeGetTag:
		// Tags are not attributes: they only come from registered entities.
		// But what is read of a tag's value may be read behind a reference.
		w.use(w.walk(v.Left))
		w.use(w.walk(v.Right))
		return alias{paths: [][]string{{elsewhere, "value"}}}
	}
	for _, kid := range children(n) {
		w.use(w.walk(kid))
	}
	return alias{}
}

// attribute marks that an attribute is looked for.
func (w *readWalker) attribute(a alias, name string) alias {
	out := a.fields[name]
	for _, p := range a.paths {
		p = append(slices.Clone(p), name)
		w.mark(p, false)
		out.paths = append(slices.Clone(out.paths), p)
	}
	return out
}
