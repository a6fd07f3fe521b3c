// Package query is the one language in which decisions are searched: in the API,
// on the command line, in saved queries and in the populations of samples. It
// holds the language, the facts of a decision that it speaks about, and by
// [Query.Match] what a query means; an index only gets there faster.
//
// docs/search.md describes the language.
package query

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aver-authz/aver"
)

// Query is a parsed query. It is never changed.
type Query struct{ Expr Expr }

// String returns the canonical form: queries that differ only in order,
// repetition, spelling or superfluous parentheses have the same, and parsing it
// gives the same query. "" matches everything.
func (q *Query) String() string {
	if and, ok := q.Expr.(And); ok && len(and) == 0 {
		return ""
	}
	return q.Expr.String()
}

// Match says whether the query holds of a decision. It is the reference for
// every index.
func (q *Query) Match(f *Facts) bool { return q.Expr.Match(f) }

// Final reports whether a decision's record alone says if it matches: nothing
// that is reported afterwards changes it.
func (q *Query) Final() bool { return final(q.Expr) }

func final(e Expr) bool {
	switch e := e.(type) {
	case And:
		return !slices.ContainsFunc(e, func(x Expr) bool { return !final(x) })
	case Or:
		return !slices.ContainsFunc(e, func(x Expr) bool { return !final(x) })
	case Not:
		return final(e.Expr)
	case Is:
		return !slices.Contains(reported, e.Field)
	case Says:
		return false
	}
	return true
}

// reported are the fields that grow after the decision.
var reported = []Field{Approval, Trace, Activity, Finding, Continuity, Word}

// Expr is a node of a query: [And], [Or], [Not], [Is], [Has], [Compare], [When]
// or [Says].
type Expr interface {
	String() string
	Match(*Facts) bool
	rank() int // of the outermost operator: what binds less tightly needs parentheses
}

// The nodes.
type (
	And []Expr // all; empty: everything
	Or  []Expr // at least one, of two or more
	Not struct{ Expr }

	// Is holds if one of the decision's values of a field matches. Of a party or a
	// resource the pattern is compared with the id, or before its first slash with
	// the type and after it with the id.
	Is struct {
		Field   Field
		Pattern Pattern
	}
	// Has holds if an attribute of the request, as far as it was kept, matches: a
	// text, true or false, a number in decimal digits, or one element of a list.
	Has struct {
		Name    string // resource.amount
		Pattern Pattern
	}
	// Compare holds of a number.
	Compare struct {
		Field Field  // Index, Authority or Attribute
		Name  string // of an attribute
		Op    Op
		Value int64
	}
	// When holds of decisions at or after, or before, a time.
	When struct {
		Field Field // After or Before
		Time  aver.Time
	}
	// Says holds if a text about the reasons contains the pattern, in any case.
	Says struct{ Pattern Pattern }
)

// Op compares a number with that of the query.
type Op string

// The comparisons.
const (
	Equal   Op = "="
	Less    Op = "<"
	AtMost  Op = "<="
	More    Op = ">"
	AtLeast Op = ">="
)

// Holds reports whether a and b compare like that.
func (o Op) Holds(a, b int64) bool {
	switch o {
	case Less:
		return a < b
	case AtMost:
		return a <= b
	case More:
		return a > b
	case AtLeast:
		return a >= b
	}
	return a == b
}

func (And) rank() int     { return 1 }
func (Or) rank() int      { return 0 }
func (Not) rank() int     { return 2 }
func (Is) rank() int      { return 3 }
func (Has) rank() int     { return 3 }
func (Compare) rank() int { return 3 }
func (When) rank() int    { return 3 }
func (Says) rank() int    { return 3 }

func within(e Expr, rank int) string {
	if s := e.String(); e.rank() > rank {
		return s
	}
	return "(" + e.String() + ")"
}

func join(list []Expr, between string, rank int) string {
	texts := make([]string, len(list))
	for i, e := range list {
		texts[i] = within(e, rank)
	}
	return strings.Join(texts, between)
}

func (e And) String() string  { return join(e, " ", 1) }
func (e Or) String() string   { return join(e, " OR ", 0) }
func (e Not) String() string  { return "-" + within(e.Expr, 2) }
func (e Is) String() string   { return e.Field.String() + ":" + e.Pattern.String() }
func (e Has) String() string  { return e.Name + ":" + e.Pattern.String() }
func (e When) String() string { return e.Field.String() + ":" + e.Time.String() }

func (e Compare) String() string {
	name, op := e.Name, string(e.Op)
	if e.Field != Attribute {
		name = e.Field.String()
	}
	if e.Op == Equal {
		op = ""
	}
	return name + ":" + op + strconv.FormatInt(e.Value, 10)
}

func (e Says) String() string {
	s := e.Pattern.String()
	if s[0] != '"' && strings.Contains(s, ":") { // it would be a field's
		return `"` + s + `"`
	}
	return s
}

// normal returns a query's normal form: operators of one kind are not nested,
// and their operands are in the order of their texts, each once.
func normal(e Expr) Expr {
	switch e := e.(type) {
	case Not:
		inner := normal(e.Expr)
		if twice, ok := inner.(Not); ok {
			return twice.Expr
		}
		return Not{inner}
	case And:
		var list []Expr
		for _, x := range e {
			if x = normal(x); x.rank() == e.rank() {
				list = append(list, x.(And)...)
			} else {
				list = append(list, x)
			}
		}
		if list = distinct(list); len(list) == 1 {
			return list[0]
		}
		return And(list)
	case Or:
		var list []Expr
		for _, x := range e {
			if x = normal(x); x.rank() == e.rank() {
				list = append(list, x.(Or)...)
			} else {
				list = append(list, x)
			}
		}
		if list = distinct(list); len(list) == 1 {
			return list[0]
		}
		return Or(list)
	}
	return e
}

func distinct(list []Expr) []Expr {
	texts := map[string]Expr{}
	for _, e := range list {
		texts[e.String()] = e
	}
	out := make([]Expr, 0, len(texts))
	for s := range texts {
		out = append(out, texts[s])
	}
	slices.SortFunc(out, func(a, b Expr) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// Match implements [Expr].
func (e And) Match(f *Facts) bool {
	return !slices.ContainsFunc(e, func(x Expr) bool { return !x.Match(f) })
}

// Match implements [Expr].
func (e Or) Match(f *Facts) bool {
	return slices.ContainsFunc(e, func(x Expr) bool { return x.Match(f) })
}

// Match implements [Expr].
func (e Not) Match(f *Facts) bool { return !e.Expr.Match(f) }

// Match implements [Expr].
func (e Is) Match(f *Facts) bool {
	if e.Field == ID {
		return e.Pattern.Match(f.ID)
	}
	return slices.ContainsFunc(f.Terms, e.Term)
}

// Term reports whether one of a decision's terms is what is looked for.
func (e Is) Term(t Term) bool {
	if t.Field != e.Field {
		return false
	}
	if e.Pattern.Match(t.Text) {
		return true
	}
	typ, id, ok := e.Party()
	return ok && typ.Match(t.Type) && id.Match(t.Text)
}

// Party returns the patterns of type and id, if the field's values have both and
// the pattern has a slash.
func (e Is) Party() (typ, id Pattern, ok bool) {
	if !e.Field.IsRef() {
		return typ, id, false
	}
	return e.Pattern.cut()
}

// Match implements [Expr].
func (e Has) Match(f *Facts) bool {
	return slices.ContainsFunc(f.Terms, e.Term) || slices.ContainsFunc(f.Numbers, e.Number)
}

// Term reports whether one of a decision's terms is what is looked for.
func (e Has) Term(t Term) bool {
	return t.Field == Attribute && t.Type == e.Name && e.Pattern.Match(t.Text)
}

// Number reports whether one of a decision's numbers is what is looked for.
func (e Has) Number(n Number) bool {
	return n.Name == e.Name && e.Pattern.Match(strconv.FormatInt(n.Value, 10))
}

// Match implements [Expr].
func (e Compare) Match(f *Facts) bool {
	if e.Field == Index {
		return e.Op.Holds(int64(f.Index), e.Value)
	}
	return slices.ContainsFunc(f.Numbers, e.Number)
}

// Number reports whether one of a decision's numbers is what is looked for.
func (e Compare) Number(n Number) bool {
	return n.Name == e.NumberName() && e.Op.Holds(n.Value, e.Value)
}

// NumberName is the name of the number that is compared, as [Facts] has it.
func (e Compare) NumberName() string {
	if e.Field == Attribute {
		return e.Name
	}
	return e.Field.String()
}

// Match implements [Expr].
func (e When) Match(f *Facts) bool { return f.Time >= e.Time == (e.Field == After) }

// Match implements [Expr].
func (e Says) Match(f *Facts) bool { return slices.ContainsFunc(f.Terms, e.Term) }

// Term reports whether one of a decision's terms is what is looked for.
func (e Says) Term(t Term) bool { return t.Field == Word && e.Pattern.contained(t.Text) }
