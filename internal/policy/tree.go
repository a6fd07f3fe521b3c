package policy

import (
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// operands gives the operands of the operators that have two and always
// evaluate both.
func operands(n xast.IsNode) (xast.BinaryNode, bool) {
	switch v := n.(type) {
	case xast.NodeTypeLessThan:
		return v.BinaryNode, true
	case xast.NodeTypeLessThanOrEqual:
		return v.BinaryNode, true
	case xast.NodeTypeGreaterThan:
		return v.BinaryNode, true
	case xast.NodeTypeGreaterThanOrEqual:
		return v.BinaryNode, true
	case xast.NodeTypeNotEquals:
		return v.BinaryNode, true
	case xast.NodeTypeEquals:
		return v.BinaryNode, true
	case xast.NodeTypeIn:
		return v.BinaryNode, true
	case xast.NodeTypeHasTag:
		return v.BinaryNode, true
	case xast.NodeTypeGetTag:
		return v.BinaryNode, true
	case xast.NodeTypeSub:
		return v.BinaryNode, true
	case xast.NodeTypeAdd:
		return v.BinaryNode, true
	case xast.NodeTypeMult:
		return v.BinaryNode, true
	case xast.NodeTypeContains:
		return v.BinaryNode, true
	case xast.NodeTypeContainsAll:
		return v.BinaryNode, true
	case xast.NodeTypeContainsAny:
		return v.BinaryNode, true
	}
	return xast.BinaryNode{}, false
}

// children are the sub-expressions of n in the order of their evaluation.
func children(n xast.IsNode) []xast.IsNode {
	if b, ok := operands(n); ok {
		return []xast.IsNode{b.Left, b.Right}
	}
	switch v := n.(type) {
	case xast.NodeTypeAnd:
		return []xast.IsNode{v.Left, v.Right}
	case xast.NodeTypeOr:
		return []xast.IsNode{v.Left, v.Right}
	case xast.NodeTypeIfThenElse:
		return []xast.IsNode{v.If, v.Then, v.Else}
	case xast.NodeTypeNot:
		return []xast.IsNode{v.Arg}
	case xast.NodeTypeNegate:
		return []xast.IsNode{v.Arg}
	case xast.NodeTypeIsEmpty:
		return []xast.IsNode{v.Arg}
	case xast.NodeTypeAccess:
		return []xast.IsNode{v.Arg}
	case xast.NodeTypeHas:
		return []xast.IsNode{v.Arg}
	case xast.NodeTypeLike:
		return []xast.IsNode{v.Arg}
	case xast.NodeTypeIs:
		return []xast.IsNode{v.Left}
	case xast.NodeTypeIsIn:
		return []xast.IsNode{v.Left, v.Entity}
	case xast.NodeTypeExtensionCall:
		return v.Args
	case xast.NodeTypeSet:
		return v.Elements
	case xast.NodeTypeRecord:
		out := make([]xast.IsNode, len(v.Elements))
		for i, e := range v.Elements {
			out[i] = e.Value
		}
		return out
	case xast.NodeValue, xast.NodeTypeVariable:
		return nil
	}
	panic(fmt.Sprintf("policy: a syntax tree of cedar-go has an unknown node %T", n))
}

// withChildren is n over other sub-expressions.
func withChildren(n xast.IsNode, c []xast.IsNode) xast.IsNode {
	switch v := n.(type) {
	case xast.NodeTypeLessThan:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeLessThanOrEqual:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeGreaterThan:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeGreaterThanOrEqual:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeNotEquals:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeEquals:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeIn:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeHasTag:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeGetTag:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeSub:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeAdd:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeMult:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeContains:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeContainsAll:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeContainsAny:
		v.Left, v.Right = c[0], c[1]
		return v
	case xast.NodeTypeNot:
		v.Arg = c[0]
		return v
	case xast.NodeTypeNegate:
		v.Arg = c[0]
		return v
	case xast.NodeTypeIsEmpty:
		v.Arg = c[0]
		return v
	case xast.NodeTypeAccess:
		v.Arg = c[0]
		return v
	case xast.NodeTypeHas:
		v.Arg = c[0]
		return v
	case xast.NodeTypeLike:
		v.Arg = c[0]
		return v
	case xast.NodeTypeIs:
		v.Left = c[0]
		return v
	case xast.NodeTypeExtensionCall:
		v.Args = c
		return v
	case xast.NodeTypeSet:
		v.Elements = c
		return v
	}
	panic(fmt.Sprintf("policy: %T is evaluated by itself", n))
}

// evaluate evaluates an expression as cedar-go does, node by node, with
// cedar-go itself doing each single operation. Unlike cedar-go, it gives the
// same error each time: elements of a record are taken in the order of the
// text, members of a set in canonical order.
func evaluate(n xast.IsNode, env eval.Env) (types.Value, error) {
	switch v := n.(type) {
	case xast.NodeValue:
		return v.Value, nil
	case xast.NodeTypeVariable:
		return eval.Eval(v, env)
	case xast.NodeTypeAnd:
		return evaluateShort(v.Left, v.Right, false, env)
	case xast.NodeTypeOr:
		return evaluateShort(v.Left, v.Right, true, env)
	case xast.NodeTypeIfThenElse:
		cond, err := evaluateBool(v.If, env)
		if err != nil {
			return nil, err
		}
		if cond {
			return evaluate(v.Then, env)
		}
		return evaluate(v.Else, env)
	case xast.NodeTypeIsIn:
		return evaluateIsIn(v, env)
	case xast.NodeTypeRecord:
		return evaluateRecord(v, env)
	}
	// A sub-expression that fails is replaced by its error, so that cedar-go
	// decides what comes first: that error, or something wrong with another
	// operand, or with their number.
	kids := children(n)
	values := make([]types.Value, len(kids))
	nodes := make([]xast.IsNode, len(kids))
	for i, kid := range kids {
		value, err := evaluate(kid, env)
		if err != nil {
			nodes[i] = eval.PartialError(err)
			continue
		}
		values[i], nodes[i] = value, xast.NodeValue{Value: value}
	}
	if _, ok := n.(xast.NodeTypeIn); ok {
		if err := checkMembers(values[0], values[1]); err != nil {
			return nil, err
		}
	}
	return eval.Eval(withChildren(n, nodes), env)
}

func evaluateBool(n xast.IsNode, env eval.Env) (bool, error) {
	v, err := evaluate(n, env)
	if err != nil {
		return false, err
	}
	// The double negation is cedar-go's own check that v is a boolean.
	v, err = eval.Eval(xast.NodeTypeNot{UnaryNode: xast.UnaryNode{Arg: xast.NodeValue{Value: v}}}, env)
	if err != nil {
		return false, err
	}
	return !bool(v.(types.Boolean)), nil
}

func evaluateShort(left, right xast.IsNode, stop bool, env eval.Env) (types.Value, error) {
	l, err := evaluateBool(left, env)
	if err != nil {
		return nil, err
	}
	if l == stop {
		return types.Boolean(l), nil
	}
	r, err := evaluateBool(right, env)
	if err != nil {
		return nil, err
	}
	return types.Boolean(r), nil
}

func evaluateIsIn(v xast.NodeTypeIsIn, env eval.Env) (types.Value, error) {
	left, err := evaluate(v.Left, env)
	if err != nil {
		return nil, err
	}
	is, err := eval.Eval(xast.NodeTypeIs{Left: xast.NodeValue{Value: left}, EntityType: v.EntityType}, env)
	if err != nil || is == types.False {
		return is, err
	}
	return evaluate(xast.NodeTypeIn{BinaryNode: xast.BinaryNode{Left: xast.NodeValue{Value: left}, Right: v.Entity}}, env)
}

// evaluateRecord evaluates all elements even after an error, so that the same
// entities are read each time; the first error in the text counts.
func evaluateRecord(v xast.NodeTypeRecord, env eval.Env) (types.Value, error) {
	var first error
	m := make(types.RecordMap, len(v.Elements))
	for _, e := range v.Elements {
		value, err := evaluate(e.Value, env)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		m[e.Key] = value
	}
	if first != nil {
		return nil, first
	}
	return types.NewRecord(m), nil
}

// checkMembers finds what cedar-go would find wrong with a set on the right of
// "in", but always the same member.
func checkMembers(left, right types.Value) error {
	set, ok := right.(types.Set)
	if _, entity := left.(types.EntityUID); !ok || !entity {
		return nil
	}
	for _, m := range sortedValues(set) {
		if _, ok := m.(types.EntityUID); !ok {
			return fmt.Errorf("%w: expected (entity of type `any_entity_type`), got %v", eval.ErrType, eval.TypeName(m))
		}
	}
	return nil
}

// anyNode tells whether something is true of any node of a policy, the tests of
// its scope included.
func anyNode(p *xast.Policy, is func(xast.IsNode) bool) bool {
	found := false
	var walk func(xast.IsNode)
	walk = func(n xast.IsNode) {
		found = found || is(n)
		for _, kid := range children(n) {
			walk(kid)
		}
	}
	walk(eval.PolicyToNode(p).AsIsNode())
	return found
}

// isMembership tells of tests whether an entity is in another.
func isMembership(n xast.IsNode) bool {
	switch n.(type) {
	case xast.NodeTypeIn, xast.NodeTypeIsIn:
		return true
	}
	return false
}

// isUnstable tells of expressions whose error may read differently from one
// evaluation to the next in cedar-go, which walks over a map to evaluate a
// record, and to look for members of a set that are no entities.
func isUnstable(n xast.IsNode) bool {
	switch v := n.(type) {
	case xast.NodeTypeRecord:
		return true
	case xast.NodeTypeIn:
		return !allEntities(v.Right)
	case xast.NodeTypeIsIn:
		return !allEntities(v.Entity)
	}
	return false
}

// allEntities tells of an entity in the text of a policy, or of a set of them,
// as they stand in scopes.
func allEntities(n xast.IsNode) bool {
	v, ok := n.(xast.NodeValue)
	if !ok {
		return false
	}
	set, ok := v.Value.(types.Set)
	if !ok {
		return isEntity(n)
	}
	for m := range set.All() {
		if _, ok := m.(types.EntityUID); !ok {
			return false
		}
	}
	return true
}

func isEntity(n xast.IsNode) bool {
	v, ok := n.(xast.NodeValue)
	if !ok {
		return false
	}
	_, ok = v.Value.(types.EntityUID)
	return ok
}

// stableError is the error of a policy whose evaluation failed, the same each
// time.
func stableError(r *Rule, env eval.Env, got string) string {
	if _, err := evaluate(eval.PolicyToNode(r.ast).AsIsNode(), env); err != nil {
		return err.Error()
	}
	return got
}

// textOf is the Cedar text of an expression.
func textOf(n xast.IsNode) string {
	const before, after = "permit ( principal, action, resource )\nwhen { ", " };"
	tree := xast.Permit().When(xast.NewNode(n))
	text := string(cedar.NewPolicyFromAST((*ast.Policy)(tree)).MarshalCedar())
	return strings.TrimSuffix(strings.TrimPrefix(text, before), after)
}
