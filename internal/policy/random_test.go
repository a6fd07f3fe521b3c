package policy

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"pgregory.net/rapid"

	"github.com/aver-authz/aver"
)

// check runs a property. It draws the same worlds each time, unless AVER_LONG=1
// in the environment, as in .ci/run, asks for more of them, and for other ones.
func check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	settings := map[string]string{"rapid.nofailfile": "true", "rapid.seed": "20261124", "rapid.checks": "400"}
	if os.Getenv("AVER_LONG") == "1" {
		settings = map[string]string{"rapid.nofailfile": "true", "rapid.checks": "3000"}
	}
	for name, value := range settings {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := f.Value.Set(value); err != nil {
				t.Fatal(err)
			}
		}
	}
	rapid.Check(t, property)
}

// The generators make small worlds in which much collides: few names, entities
// that refer to one another and to the request's own, expressions of the wrong
// type, attributes that are not there.

var attrNames = []string{"a", "b", "c", "line items"}

func genUID(t *rapid.T) types.EntityUID {
	typ := rapid.SampledFrom([]string{"user", "group", "doc", "Action"}).Draw(t, "type")
	return types.NewEntityUID(types.EntityType(typ), types.String(rapid.SampledFrom([]string{"0", "1", "2"}).Draw(t, "id")))
}

func genValue(t *rapid.T, depth int) types.Value {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	if depth == 0 && kind > 6 {
		kind = 0
	}
	switch kind {
	case 0, 1:
		return types.Boolean(rapid.Bool().Draw(t, "bool"))
	case 2:
		return types.Long(rapid.Int64Range(0, 2).Draw(t, "long"))
	case 3:
		return types.String(rapid.SampledFrom(attrNames).Draw(t, "string"))
	case 4, 5:
		return genUID(t)
	case 6:
		d, _ := types.ParseDecimal("1.5")
		return d
	case 7:
		var vs []types.Value
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			vs = append(vs, genValue(t, depth-1))
		}
		return types.NewSet(vs...)
	}
	return genRecord(t, depth-1)
}

func genRecord(t *rapid.T, depth int) types.Record {
	m := types.RecordMap{}
	for _, name := range attrNames {
		if rapid.IntRange(0, 3).Draw(t, "present") > 0 {
			m[types.String(name)] = genValue(t, depth)
		}
	}
	return types.NewRecord(m)
}

func genEntities(t *rapid.T) types.EntityMap {
	m := types.EntityMap{}
	for _, typ := range []types.EntityType{"user", "group", "doc", "Action"} {
		for _, id := range []types.String{"0", "1", "2"} {
			if rapid.IntRange(0, 4).Draw(t, "known") == 0 {
				continue
			}
			var parents []types.EntityUID
			for range rapid.IntRange(0, 2).Draw(t, "parents") {
				parents = append(parents, genUID(t))
			}
			uid := types.NewEntityUID(typ, id)
			m[uid] = types.Entity{
				UID: uid, Parents: types.NewEntityUIDSet(parents...),
				Attributes: genRecord(t, 2), Tags: genRecord(t, 1),
			}
		}
	}
	return m
}

func genRequest(t *rapid.T) types.Request {
	req := types.Request{Principal: genUID(t), Action: genUID(t), Resource: genUID(t), Context: genRecord(t, 2)}
	if rapid.Bool().Draw(t, "aver") {
		m := req.Context.Map()
		m["aver"] = types.NewRecord(types.RecordMap{
			"origin": genUID(t), "hops": types.Long(1), "action": genRecord(t, 1), "actor": types.NewRecord(types.RecordMap{"a": types.True}),
		})
		req.Context = types.NewRecord(m)
	}
	return req
}

// genExpr makes the text of an expression, most often a boolean.
func genExpr(t *rapid.T, depth int) string {
	e := func() string { return genExpr(t, depth-1) }
	attr := func() string { return rapid.SampledFrom([]string{".a", ".b", ".c", `["line items"]`}).Draw(t, "attr") }
	kind := rapid.IntRange(0, 20).Draw(t, "expr")
	if depth == 0 {
		kind %= 7
	}
	switch kind {
	case 0:
		return rapid.SampledFrom([]string{"true", "false", "1", `"a"`, "-2"}).Draw(t, "literal")
	case 1:
		return genUID(t).String()
	case 2, 3, 4, 5:
		s := rapid.SampledFrom([]string{
			"principal", "resource", "action", "context", "context.aver.origin", "context.aver.action", "context.aver.actor", "context.aver",
		}).Draw(t, "variable")
		for range rapid.IntRange(0, 3).Draw(t, "attrs") {
			s += attr()
		}
		return s
	case 6:
		return rapid.SampledFrom([]string{"principal", "resource", "context"}).Draw(t, "variable") + ` has ` +
			rapid.SampledFrom([]string{"a", "b.c", `"line items"`, "aver.origin"}).Draw(t, "has")
	case 7:
		return "(" + e() + ")" + attr()
	case 8:
		return "(" + e() + ") has " + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "has")
	case 9:
		return "(if " + e() + " then " + e() + " else " + e() + ")"
	case 10:
		return "[" + e() + ", " + e() + "]"
	case 11:
		return "{a: " + e() + ", b: " + e() + ", \"c\": " + e() + "}"
	case 12:
		return "(" + e() + ")." + rapid.SampledFrom([]string{"contains", "containsAll", "containsAny", "hasTag", "getTag"}).Draw(t, "method") + "(" + e() + ")"
	case 13:
		return "(" + e() + ").getTag(\"a\")" + attr()
	case 14:
		return "!(" + e() + ")"
	case 15:
		return "((" + e() + ") like \"*a\")"
	case 16:
		return "((" + e() + ") is user in (" + e() + "))"
	case 17:
		return "decimal(\"1.5\").lessThan(" + e() + ")"
	}
	op := rapid.SampledFrom([]string{"==", "!=", "<", ">=", "in", "&&", "||", "&&", "||", "+", "*", "=="}).Draw(t, "op")
	return "((" + e() + ") " + op + " (" + e() + "))"
}

func genPolicy(t *rapid.T) string {
	var b strings.Builder
	scope := func(variable string) string {
		switch rapid.IntRange(0, 6).Draw(t, variable) {
		case 0:
			return variable + " == " + genUID(t).String()
		case 1:
			return variable + " in " + genUID(t).String()
		case 2:
			if variable == "action" {
				return variable + " in [" + genUID(t).String() + ", " + genUID(t).String() + "]"
			}
			return variable + " is " + string(genUID(t).Type)
		case 3:
			if variable != "action" {
				return variable + " is " + string(genUID(t).Type) + " in " + genUID(t).String()
			}
		}
		return variable
	}
	b.WriteString(rapid.SampledFrom([]string{"permit", "forbid"}).Draw(t, "effect"))
	fmt.Fprintf(&b, " (%s, %s, %s)", scope("principal"), scope("action"), scope("resource"))
	for range rapid.IntRange(0, 2).Draw(t, "clauses") {
		fmt.Fprintf(&b, " %s { %s }", rapid.SampledFrom([]string{"when", "unless"}).Draw(t, "clause"), genExpr(t, 3))
	}
	b.WriteString(";\n")
	return b.String()
}

func genSet(t *rapid.T) *Set {
	var bundles []*Bundle
	for _, name := range []string{"b", "a"} {
		files := map[string][]byte{}
		for _, file := range []string{"x.cedar", "y.cedar"} {
			var text strings.Builder
			for range rapid.IntRange(0, 4).Draw(t, "policies") {
				text.WriteString(genPolicy(t))
			}
			files[file] = []byte(text.String())
		}
		b, err := Load(files, name)
		if err != nil {
			t.Fatalf("%v\n%s", err, files)
		}
		bundles = append(bundles, b)
	}
	return NewSet(bundles...)
}

// unindexed is what cedar-go says of the same policies without the index.
func unindexed(s *Set, entities types.EntityGetter, req types.Request) (cedar.Decision, map[string]bool, map[string]string) {
	m := cedar.PolicyMap{}
	for _, r := range s.rules {
		m[types.PolicyID(r.ID)] = r.policy
	}
	decision, diag := cedar.Authorize(m, entities, req)
	reasons, errs := map[string]bool{}, map[string]string{}
	for _, r := range diag.Reasons {
		reasons[string(r.PolicyID)] = true
	}
	for _, e := range diag.Errors {
		errs[string(e.PolicyID)] = e.Message
	}
	return decision, reasons, errs
}

func TestIndexAgreesWithCedar(t *testing.T) {
	check(t, func(t *rapid.T) {
		set, entities, req := genSet(t), genEntities(t), genRequest(t)
		got := set.Authorize(entities, req)
		decision, reasons, errs := unindexed(set, entities, req)
		if got.Decision != decision || len(got.Reasons) != len(reasons) || len(got.Errors) != len(errs) {
			t.Fatalf("%v with %d reasons, %d errors; cedar-go: %v with %d, %d",
				got.Decision, len(got.Reasons), len(got.Errors), decision, len(reasons), len(errs))
		}
		place := map[*Rule]int{}
		for i, r := range set.rules {
			place[r] = i
		}
		last := -1
		for _, r := range got.Reasons {
			if !reasons[r.ID] || place[r] <= last {
				t.Fatalf("the reason %s is not one, or not in its place", r.ID)
			}
			last = place[r]
		}
		last = -1
		for _, e := range got.Errors {
			msg, ok := errs[e.Rule.ID]
			if !ok || place[e.Rule] <= last || msg != e.Message && !e.Rule.unstable {
				t.Fatalf("the error %s: %s is not one, or not in its place; cedar-go: %s", e.Rule.ID, e.Message, msg)
			}
			last = place[e.Rule]
		}
	})
}

// genReading makes a boolean expression that looks at attributes, seldom of
// the wrong type, in all the ways in which a value can come about.
func genReading(t *rapid.T) string {
	path := func() string {
		s := rapid.SampledFrom([]string{
			"principal", "resource", "action", "context", "context.aver.origin", "context.aver.action",
			`{a: principal, b: context}.a`, `{a: resource.b}.a`, `(if principal == resource then principal else resource)`,
			`(if context has a then context else resource)`, `principal.getTag("a")`, `resource.a.getTag("b")`,
			`user::"0"`, `doc::"1"`,
		}).Draw(t, "start")
		for range rapid.IntRange(0, 3).Draw(t, "attrs") {
			s += rapid.SampledFrom([]string{".a", ".a", ".b", `["line items"]`}).Draw(t, "attr")
		}
		return s
	}
	switch rapid.IntRange(0, 5).Draw(t, "reading") {
	case 0:
		return path() + " has " + rapid.SampledFrom([]string{"a", "b.a", `"line items"`}).Draw(t, "has")
	case 1:
		return path() + " == " + path()
	case 2:
		return "[" + path() + "].contains(" + path() + ")"
	case 3:
		return "{a: " + path() + "} == {a: " + path() + "}"
	case 4:
		return path() + ".hasTag(\"a\")"
	}
	return path()
}

// genLinked makes values that are mostly entities and records, so that paths
// lead somewhere.
func genLinked(t *rapid.T, depth int) types.Record {
	m := types.RecordMap{}
	for _, name := range []string{"a", "b", "line items"} {
		switch kind := rapid.IntRange(0, 6).Draw(t, "link"); {
		case kind == 0:
		case kind == 1:
			m[types.String(name)] = types.Boolean(rapid.Bool().Draw(t, "bool"))
		case kind < 4 || depth == 0:
			m[types.String(name)] = types.NewEntityUID(
				types.EntityType(rapid.SampledFrom([]string{"user", "doc"}).Draw(t, "type")),
				types.String(rapid.SampledFrom([]string{"0", "1"}).Draw(t, "id")))
		default:
			m[types.String(name)] = genLinked(t, depth-1)
		}
	}
	return types.NewRecord(m)
}

// TestReadSetIsSufficient decides again with nothing of the request's own
// entities and context but what the read set keeps.
func TestReadSetIsSufficient(t *testing.T) {
	uid := func(typ, id string) types.EntityUID {
		return types.NewEntityUID(types.EntityType(typ), types.String(id))
	}
	check(t, func(t *rapid.T) {
		entities := types.EntityMap{}
		for _, e := range []types.EntityUID{uid("user", "0"), uid("user", "1"), uid("doc", "0"), uid("doc", "1"), uid("Action", "0")} {
			entities[e] = types.Entity{UID: e, Attributes: genLinked(t, 2), Tags: genLinked(t, 1)}
		}
		req := types.Request{Principal: uid("user", "0"), Action: uid("Action", "0"), Resource: uid("doc", "1")}
		if rapid.IntRange(0, 5).Draw(t, "same") == 0 {
			req.Resource = req.Principal
		}
		m := genLinked(t, 2).Map()
		m["aver"] = types.NewRecord(types.RecordMap{
			"origin": rapid.SampledFrom([]types.EntityUID{req.Principal, uid("user", "1")}).Draw(t, "origin"),
			"action": genLinked(t, 1),
		})
		req.Context = types.NewRecord(m)
		for range 20 {
			text := "permit (principal, action, resource) when { " + genReading(t) + " };"
			p, err := CompilePermit("p", text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			want := p.Authorize(entities, req)
			lean, leanReq := prune(want.Reads(), entities, req)
			if got := p.Authorize(lean, leanReq); show(got) != show(want) {
				t.Fatalf("%s\nover everything:\n%s\nover what the read set %v keeps:\n%s", text, show(want), want.Reads().Paths(), show(got))
			}
		}
	})
}

// prune keeps what the read set says, of the request's own entities and of its
// context.
func prune(reads ReadSet, entities types.EntityMap, req types.Request) (types.EntityMap, types.Request) {
	if req.Principal == req.Resource || req.Action == req.Resource || req.Principal == req.Action {
		reads = reads.same("principal", "action", "resource")
	}
	lean := entities.Clone()
	for variable, uid := range map[string]types.EntityUID{"principal": req.Principal, "action": req.Action, "resource": req.Resource} {
		if e, ok := lean[uid]; ok {
			e.Attributes, _ = reads.prune(e.Attributes, variable)
			lean[uid] = e
		}
	}
	req.Context, _ = reads.prune(req.Context, "context")
	return lean, req
}

func show(r Result) string {
	var b strings.Builder
	fmt.Fprintln(&b, r.Decision)
	for _, reason := range r.Reasons {
		fmt.Fprintln(&b, reason.ID)
	}
	for _, e := range r.Errors {
		fmt.Fprintln(&b, e.Rule.ID, e.Message)
	}
	return b.String()
}

// TestSieveKeepsWhatPruneKeeps holds the two forms of pruning, of Cedar values
// and of the JSON they come from, against each other.
func TestSieveKeepsWhatPruneKeeps(t *testing.T) {
	check(t, func(t *rapid.T) {
		rec := genLinked(t, 2)
		p, err := CompilePermit("p", "permit (principal, action, resource) when { "+genReading(t)+" };")
		if err != nil {
			t.Fatal(err)
		}
		reads := p.Rule().Reads()
		for _, variable := range variables {
			kept, omitted := reads.prune(rec, variable)
			var gotOmitted []string
			sieve := NewSieve([]ReadSet{reads, {}, reads}, variable != "context", []string{variable})
			full, got, some := sieve.Append(nil, nil, RecordToJSON(rec), nil, &gotOmitted, variable)
			if want := aver.AppendCanonical(nil, RecordToJSON(rec)); string(full) != string(want) {
				t.Fatalf("%s: the whole is %s, want %s", variable, full, want)
			}
			slices.Sort(gotOmitted)
			equal := slices.EqualFunc(gotOmitted, omitted, func(got string, want Path) bool { return got == string(want) })
			want := aver.AppendCanonical(nil, RecordToJSON(kept))
			if string(got) != string(want) || some != (kept.Len() > 0) || !equal {
				t.Fatalf("%s: the sieve keeps %s and omits %q; pruning keeps %s and omits %q", variable, got, gotOmitted, want, omitted)
			}
		}
	})
}

// askedFor notes what is asked of it and nothing else, as any EntityGetter may.
type askedFor struct {
	types.EntityMap
	uids map[types.EntityUID]bool
}

func (a askedFor) Get(uid types.EntityUID) (types.Entity, bool) {
	a.uids[uid] = true
	return a.EntityMap.Get(uid)
}

// TestSameBytesEachTime evaluates and explains again and again what depends on
// the order of maps inside of cedar-go: error messages, and entities read.
func TestSameBytesEachTime(t *testing.T) {
	check(t, func(t *rapid.T) {
		set, entities, req := genSet(t), genEntities(t), genRequest(t)
		permit, err := CompilePermit("grant", genPermit(t))
		if err != nil {
			t.Fatal(err)
		}
		var first string
		for i := range 4 {
			// Other maps with the same content, so that orders differ.
			asked := askedFor{entities.Clone(), map[types.EntityUID]bool{}}
			got := show(set.Authorize(asked, req)) + show(permit.Authorize(asked, req))
			got += fmt.Sprintln(slices.SortedFunc(maps.Keys(asked.uids), compareUIDs))
			for _, e := range set.NearMisses(entities, req) {
				got += render(e)
			}
			if i == 0 {
				first = got
			} else if got != first {
				t.Fatalf("first:\n%s\nthen:\n%s", first, got)
			}
		}
	})
}

// genPermit is a permit that looks for a group in a hierarchy of many ways.
func genPermit(t *rapid.T) string {
	return "permit (principal in " + genUID(t).String() + ", action, resource) when { resource in [" +
		genUID(t).String() + "] || principal.a in " + genUID(t).String() + " };"
}

// TestExplanationAgrees holds the evaluation clause by clause against that of
// the whole policy.
func TestExplanationAgrees(t *testing.T) {
	check(t, func(t *rapid.T) {
		set, entities, req := genSet(t), genEntities(t), genRequest(t)
		for _, r := range set.rules {
			e := Explain(r, entities, req)
			_, diag := cedar.Authorize(cedar.PolicyMap{"it": r.policy}, entities, req)
			want := Failed
			switch {
			case len(diag.Errors) > 0:
				want = Errored
			case len(diag.Reasons) > 0:
				want = Held
			}
			if e.State != want || want == Errored && !r.unstable && e.Error != diag.Errors[0].Message {
				t.Fatalf("%s\nexplained as %s %q, evaluated as %s %v", r.Text, e.State, e.Error, want, diag.Errors)
			}
		}
	})
}
