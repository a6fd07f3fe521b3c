package policy

import (
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// A hinter says in words what would make an expression true or false.
type hinter struct{ env eval.Env }

// A relation is a comparison in words, and the opposite of it. The third and
// fourth are for points in time, the fifth and sixth for lengths of time.
var relations = map[string][6]string{
	"<":  {"below", "at least", "before", "no earlier than", "shorter than", "at least"},
	"<=": {"at most", "above", "no later than", "after", "at most", "longer than"},
	">":  {"above", "at most", "after", "no later than", "longer than", "at most"},
	">=": {"at least", "below", "no earlier than", "before", "at least", "shorter than"},
}

var mirrored = map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<="}

// toward says what would make n have the boolean value want.
func (h hinter) toward(n ast.IsNode, want bool) string {
	pick := func(yes, no string) string {
		if want {
			return yes
		}
		return no
	}
	switch v := n.(type) {
	case ast.NodeTypeNot:
		return h.toward(v.Arg, !want)
	case ast.NodeTypeAnd:
		return h.both(v.BinaryNode, want, want)
	case ast.NodeTypeOr:
		return h.both(v.BinaryNode, want, !want)
	case ast.NodeTypeIfThenElse:
		if cond, err := evaluateBool(v.If, h.env); err == nil && !cond {
			return h.toward(v.Else, want)
		}
		return h.toward(v.Then, want)
	case ast.NodeTypeLessThan:
		return h.compare(v.Left, "<", v.Right, want)
	case ast.NodeTypeLessThanOrEqual:
		return h.compare(v.Left, "<=", v.Right, want)
	case ast.NodeTypeGreaterThan:
		return h.compare(v.Left, ">", v.Right, want)
	case ast.NodeTypeGreaterThanOrEqual:
		return h.compare(v.Left, ">=", v.Right, want)
	case ast.NodeTypeEquals:
		return h.equal(v.Left, v.Right, want)
	case ast.NodeTypeNotEquals:
		return h.equal(v.Left, v.Right, !want)
	case ast.NodeTypeHas:
		attr := textOf(ast.NodeTypeAccess{StrOpNode: v.StrOpNode})
		return attr + pick(" present", " absent")
	case ast.NodeTypeHasTag:
		return h.say(v.Left, pick("with", "without")+" the tag "+h.right(v.Right), v.Right)
	case ast.NodeTypeIn:
		if members, ok := h.literalSet(v.Right); ok {
			return h.say(v.Left, pick("in one of ", "in none of ")+members)
		}
		return h.say(v.Left, pick("in ", "not in ")+h.right(v.Right), v.Right)
	case ast.NodeTypeIs:
		return h.say(v.Left, pick("of type ", "not of type ")+string(v.EntityType))
	case ast.NodeTypeIsIn:
		return h.say(v.Left, fmt.Sprintf("%s %s in %s", pick("of type", "not of type"), v.EntityType, h.right(v.Entity)), v.Entity)
	case ast.NodeTypeLike:
		pattern := strings.TrimPrefix(textOf(ast.NodeTypeLike{Arg: ast.NodeTypeVariable{Name: contextVar}, Value: v.Value}), contextVar+" like ")
		return h.say(v.Arg, pick("like ", "not like ")+pattern)
	case ast.NodeTypeContains:
		if members, ok := h.literalSet(v.Left); ok {
			return h.say(v.Right, pick("one of ", "none of ")+members)
		}
		return h.say(v.Left, pick("containing ", "without ")+h.right(v.Right), v.Right)
	case ast.NodeTypeContainsAll:
		return h.say(v.Left, pick("containing all of ", "lacking one of ")+h.right(v.Right), v.Right)
	case ast.NodeTypeContainsAny:
		return h.say(v.Left, pick("containing one of ", "containing none of ")+h.right(v.Right), v.Right)
	case ast.NodeTypeIsEmpty:
		return h.say(v.Arg, pick("empty", "not empty"))
	case ast.NodeTypeExtensionCall:
		return h.extension(v, want)
	}
	if isChain(n) {
		return h.say(n, pick("true", "false"))
	}
	return fmt.Sprintf("%s being %t", textOf(n), want)
}

// both joins what two operands have to become: both of them if all, else any.
// Of an operand that is as it should be, nothing needs to change.
func (h hinter) both(b ast.BinaryNode, want, all bool) string {
	var parts []string
	for _, side := range []ast.IsNode{b.Left, b.Right} {
		if got, err := evaluateBool(side, h.env); err == nil && got == want {
			continue
		}
		parts = append(parts, h.toward(side, want))
	}
	return joinChanges(parts, !all)
}

func (h hinter) compare(left ast.IsNode, op string, right ast.IsNode, want bool) string {
	if len(chainsIn(left)) == 0 && len(chainsIn(right)) > 0 {
		left, right, op = right, left, mirrored[op]
	}
	i := 0
	for _, n := range []ast.IsNode{left, right} {
		switch v, _ := evaluate(n, h.env); v.(type) {
		case types.Datetime:
			i = 2
		case types.Duration:
			i = 4
		}
	}
	if !want {
		i++
	}
	return h.say(left, relations[op][i]+" "+h.right(right), right)
}

func (h hinter) equal(left, right ast.IsNode, want bool) string {
	if len(chainsIn(left)) == 0 && len(chainsIn(right)) > 0 {
		left, right = right, left
	}
	if v, ok := right.(ast.NodeValue); ok {
		if b, ok := v.Value.(types.Boolean); ok {
			return h.say(left, fmt.Sprint(bool(b) == want))
		}
	}
	if want {
		return h.say(left, "equal to "+h.right(right), right)
	}
	return h.say(left, "other than "+h.right(right), right)
}

var addressKinds = map[types.Path]string{
	"isIpv4": "an IPv4 address", "isIpv6": "an IPv6 address",
	"isLoopback": "a loopback address", "isMulticast": "a multicast address",
}

var decimalRelations = map[types.Path]string{
	"lessThan": "<", "lessThanOrEqual": "<=", "greaterThan": ">", "greaterThanOrEqual": ">=",
}

func (h hinter) extension(v ast.NodeTypeExtensionCall, want bool) string {
	not := ""
	if !want {
		not = "not "
	}
	if kind, ok := addressKinds[v.Name]; ok && len(v.Args) == 1 {
		return h.say(v.Args[0], not+kind)
	}
	if len(v.Args) == 2 {
		if op, ok := decimalRelations[v.Name]; ok {
			return h.compare(v.Args[0], op, v.Args[1], want)
		}
		if v.Name == "isInRange" {
			return h.say(v.Args[0], not+"in the range "+h.right(v.Args[1]), v.Args[1])
		}
	}
	return fmt.Sprintf("%s being %t", textOf(v), want)
}

// say puts a subject before a predicate, and after it the value that the
// subject had, with those of others that are not written out already.
func (h hinter) say(subject ast.IsNode, predicate string, others ...ast.IsNode) string {
	out := textOf(subject) + " " + predicate
	var was []string
	for i, n := range append([]ast.IsNode{subject}, others...) {
		if _, plain := n.(ast.NodeTypeVariable); plain || len(chainsIn(n)) == 0 {
			continue // who asks for what is known
		}
		value := "absent"
		if v, err := evaluate(n, h.env); err == nil {
			value = pretty(v)
		} else if !isChain(n) {
			continue
		}
		if i == 0 {
			was = append(was, "was "+value)
		} else if textOf(n) != value {
			was = append(was, textOf(n)+" was "+value)
		}
	}
	if len(was) == 0 {
		return out
	}
	return out + " (" + strings.Join(was, ", ") + ")"
}

// right is the other side of a comparison: its value if it does not depend on
// the request, else its text.
func (h hinter) right(n ast.IsNode) string {
	if len(chainsIn(n)) == 0 {
		if v, err := evaluate(n, h.env); err == nil {
			return pretty(v)
		}
	}
	return textOf(n)
}

func (h hinter) literalSet(n ast.IsNode) (string, bool) {
	if len(chainsIn(n)) > 0 {
		return "", false
	}
	v, err := evaluate(n, h.env)
	set, ok := v.(types.Set)
	if err != nil || !ok || set.Len() == 0 {
		return "", false
	}
	var members []string
	for _, m := range sortedValues(set) {
		members = append(members, pretty(m))
	}
	return strings.Join(members, ", "), true
}

// pretty writes a value for people: extension values without their function.
func pretty(v types.Value) string {
	switch v.(type) {
	case types.Decimal, types.Datetime, types.Duration, types.IPAddr:
		return v.String()
	}
	return CedarText(v)
}
