package query

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestCanonicalForm(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"  \t\n", ""},
		{"outcome:denied", "outcome:denied"},
		{"outcome:denied actor:ap-agent", "actor:ap-agent outcome:denied"},
		{"actor:ap-agent AND outcome:denied outcome:denied", "actor:ap-agent outcome:denied"},
		{"b OR a OR b", "a OR b"},
		{"a b OR c", "a b OR c"},
		{"(b OR c) a", "a (b OR c)"},
		{"((a)) ((b c))", "a b c"},
		{"NOT outcome:denied", "-outcome:denied"},
		{"--a", "a"},
		{"-(a b)", "-(a b)"},
		{"-(a OR b) c", "-(a OR b) c"},
		{`actor:"agent/with space"`, `actor:"agent/with space"`},
		{`actor:"agent"`, `actor:agent`},
		{`policy:a\*b`, `policy:a\*b`},
		{`policy:a**b`, `policy:a*b`},
		{`policy:"a\"b\\"`, `policy:"a\"b\\"`},
		{`resource.amount:>=100`, `resource.amount:>=100`},
		{`resource.amount:">=100"`, `resource.amount:">=100"`},
		{`resource.amount:100`, `resource.amount:100`},
		{"index:<=5", "index:<=5"},
		{"after:2026-11-01", "after:2026-11-01T00:00:00.000Z"},
		{"before:2026-11-01T01:00:00+01:00", "before:2026-11-01T00:00:00.000Z"},
		{"Treasury", "treasury"},
		{"*treasury*", "treasury"},
		{`"not permitted"`, `"not permitted"`},
		{`"Aver::Policy"`, `"aver::policy"`},
		{`"OR"`, "or"},
		{"or", "or"},
		{"outcome:*ed", "outcome:*ed"},
		{"trace:00-4bf:x", "trace:00-4bf:x"},
	} {
		q, err := Parse(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if got := q.String(); got != tt.want {
			t.Errorf("%q is %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestErrorsPointAtTheCharacter(t *testing.T) {
	var out strings.Builder
	for _, in := range []string{
		"actor:a outcom:denied", "actor:a colour:red", "outcome:escalatd", "outcome:", "after:yesterday", "index:>many", "resource.amount:>1.5",
		"(actor:a", "actor:a)", "()", "a OR", "OR a", "a AND", "-", "- a", "a -", `"open`, `actor:a"b`, `actor:"a"b`, `a\b`, `a\`, "a\x00b",
		`""`, strings.Repeat("(", 20) + "a" + strings.Repeat(")", 20), strings.Repeat("a ", 70), "äöü outcome:nö", "http://example.com",
		"after:1970-01-01", strings.Repeat("-", 20) + "a",
	} {
		q, err := Parse(in)
		var bad *Error
		if !errors.As(err, &bad) {
			t.Errorf("%q: got %v and error %v, want an *Error", in, q, err)
			continue
		}
		fmt.Fprintf(&out, "%s\n%s\n\n", bad.Caret(), bad.Reason)
	}
	for in, reason := range map[string]string{
		strings.Repeat("a", MaxLength+1): "at most 4096 bytes", "a\xff": "UTF-8",
	} {
		if _, err := Parse(in); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q…: error %v, want one about %q", in[:2], err, reason)
		}
	}
	golden(t, "errors.txt", out.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test -update writes it anew\n%s", file, got)
	}
}

// TestFactsOfRecords shows what can be searched of the records in the root package's testdata (A1, A2, B1, C1, C2, E1 to E4, F1, F2).
func TestFactsOfRecords(t *testing.T) {
	files, err := filepath.Glob("../../testdata/record/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no records", err)
	}
	var out strings.Builder
	for i, file := range files {
		f := FactsOf(uint64(i), record(t, file))
		fmt.Fprintf(&out, "%s\n%s", filepath.Base(file), show(f))
	}
	golden(t, "facts.txt", out.String())
}

func show(f *Facts) string {
	var out strings.Builder
	fmt.Fprintf(&out, "  %d %s %s\n", f.Index, f.ID, f.Time)
	for _, x := range f.Terms {
		name := x.Field.String()
		switch {
		case x.Field == Word:
			name = "says"
		case x.Field == Attribute:
			name = x.Type
		case x.Type != "":
			name += ":" + x.Type
		}
		fmt.Fprintf(&out, "  %s %s\n", name, x.Text)
	}
	for _, n := range f.Numbers {
		fmt.Fprintf(&out, "  %s = %d\n", n.Name, n.Value)
	}
	return out.String()
}

func record(t *testing.T, file string) *aver.Record {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := aver.ParseRecord(text)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return r
}

func TestMatch(t *testing.T) {
	f := FactsOf(41, record(t, "../../testdata/record/permitted.json"))
	f.Learn(Reported(&aver.Activity{
		Status: aver.ActivityCompleted, TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Result: "Booked",
		Findings: []aver.Finding{{Code: aver.FindingLate}}, Continuity: &aver.Continuity{State: aver.Held},
	}))
	f.Learn(Asked(&aver.ApprovalRequest{ID: "ap-1"}))
	for in, want := range map[string]bool{
		"":                                 true,
		"actor:ap-agent":                   true,
		"actor:ai_agent/ap-agent":          true,
		"actor:ai_agent/*":                 true,
		"actor:*/ap-agent":                 true,
		"actor:user/ap-agent":              false,
		"actor:ap":                         false,
		"actor:AP-AGENT":                   false,
		"kind:ai_agent":                    true,
		"origin:user/ann":                  true,
		"hop:ann hop:ap-agent":             true,
		"action:payment.*":                 true,
		"action:pay*prove":                 true,
		"action:pay*approve*x":             false,
		"tool:erp":                         true,
		"resource:payment/p-20931":         true,
		"resource:payment/*":               true,
		"outcome:permitted":                true,
		"allowed:true":                     true,
		"-outcome:denied":                  true,
		"outcome:denied OR grant:g-ap-ann": true,
		"outcome:denied grant:g-ap-ann":    false,
		"policy:payments/*":                true,
		"-policy:payments/clerks-approve":  false,
		"resource.amount:125000":           true,
		"resource.amount:>125000":          false,
		"resource.amount:>=125000 resource.amount:<200000": true,
		"resource.creditor_iban:*":                         false, // withheld
		"context.trace:*":                                  false, // not kept
		"trace:4bf92f3577b34da6a3ce929d0e0e4736":           true,
		"index:41":                                         true,
		"index:>41":                                        false,
		"authority:>=214":                                  true,
		"after:2026-11-24 before:2026-11-25":               true,
		"after:2026-11-25":                                 false,
		"after:2026-11-24T07:33:49.123Z":                   true,
		"before:2026-11-24T07:33:49.123Z":                  false,
		"activity:completed":                               true,
		"activity:failed":                                  false,
		"finding:late continuity:held":                     true,
		"approval:ap-1":                                    true,
		"-exception:*":                                     true,
		"BOOKED":                                           true,
		"permits it":                                       true,
		`"clerks it"`:                                      false,
		"pep:payments-gateway request:bfe9eb29*":           true,
		"id:0193a1b2-c3d4-7e5f-8a6b-000000000001":          true,
		"id:0193a1b2-*":                                    true,
		"id:0193a1b3-*":                                    false,
	} {
		q, err := Parse(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if got := q.Match(f); got != want {
			t.Errorf("%q: match %v, want %v", in, got, want)
		}
		if again, err := Parse(q.String()); err != nil || again.Match(f) != want {
			t.Errorf("%q: its canonical form %q: %v", in, q, err)
		}
	}
}

func TestFinalQueriesReadTheRecordOnly(t *testing.T) {
	for in, want := range map[string]bool{
		"outcome:denied -(actor:a OR resource.amount:>5)": true, "activity:completed": false, "outcome:denied -(a OR actor:b)": false,
		"-approval:*": false, "trace:x": false, "finding:late": false, "continuity:held OR index:5": false, "after:2026-01-01": true,
	} {
		q, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := q.Final(); got != want {
			t.Errorf("%q: final %v, want %v", in, got, want)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no []string
	}{
		{"a", []string{"a"}, []string{"", "aa", "A"}},
		{"a*", []string{"a", "ab", "a*"}, []string{"", "ba"}},
		{"*a", []string{"a", "ba"}, []string{"ab"}},
		{"a*a", []string{"aa", "aba"}, []string{"a"}},
		{"a*b*c", []string{"abc", "axbxc", "abbc"}, []string{"ac", "acb"}},
		{"*", []string{"", "x"}, nil},
		{`a\*`, []string{"a*"}, []string{"ab"}},
	} {
		q, err := Parse("policy:" + tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		p := q.Expr.(Is).Pattern
		for _, s := range tt.yes {
			if !p.Match(s) {
				t.Errorf("%s does not match %q", tt.pattern, s)
			}
		}
		for _, s := range tt.no {
			if p.Match(s) {
				t.Errorf("%s matches %q", tt.pattern, s)
			}
		}
	}
}

// TestRandomQueriesKeepTheirMeaning parses the canonical forms of random trees: the meaning and the form stay.
func TestRandomQueriesKeepTheirMeaning(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		e := randomExpr(random, 4)
		q := &Query{normal(e)}
		again, err := Parse(q.String())
		if err != nil {
			t.Fatalf("%q: %v", q, err)
		}
		if again.String() != q.String() {
			t.Fatalf("%q became %q", q, again)
		}
		for range 10 {
			f := randomFacts(random)
			if got, want := again.Match(f), e.Match(f); got != want {
				t.Fatalf("%q of %s: match %v, want %v", q, show(f), got, want)
			}
		}
	}
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func randomPattern(r *rand.Rand) Pattern {
	switch r.IntN(4) {
	case 0:
		return Pattern{[]string{pick(r, "", "a", "b/"), pick(r, "", "a", "b")}}
	case 1:
		return Pattern{[]string{pick(r, "", "a"), "b", pick(r, "", "-", ">")}}
	}
	return Literal(pick(r, "a", "b", "a/b", "-a", "a b", `"`, `\`, "*", "(", ">1", "a:b", "7"))
}

func randomExpr(r *rand.Rand, depth int) Expr {
	if depth > 0 && r.IntN(3) > 0 {
		list := make([]Expr, 2+r.IntN(2))
		for i := range list {
			list[i] = randomExpr(r, depth-1)
		}
		return pick[Expr](r, And(list), Or(list), Not{list[0]})
	}
	return pick[Expr](r,
		Is{pick(r, Actor, Hop, Action, Policy), randomPattern(r)}, Has{"resource.x", randomPattern(r)},
		Compare{pick(r, Index, Authority), "", pick(r, Equal, Less, AtMost, More, AtLeast), int64(r.IntN(10))},
		Compare{Attribute, "resource.x", pick(r, Less, More), int64(r.IntN(10))},
		When{pick(r, After, Before), aver.Time(1 + r.IntN(10))}, Says{randomPattern(r).word()})
}

func randomFacts(r *rand.Rand) *Facts {
	f := &Facts{Index: r.Uint64N(10), Time: aver.Time(1 + r.IntN(10))}
	for range r.IntN(6) {
		x := Term{pick(r, Actor, Hop, Action, Policy, Word), "", pick(r, "a", "b", "ab", "b/a", "-a", "a b", "*", "a:b")}
		if x.Field.IsRef() {
			x.Type = pick(r, "a", "b")
		}
		f.Terms = append(f.Terms, x, Term{Attribute, "resource.x", pick(r, "a", "b")})
	}
	f.Numbers = append(f.Numbers, Number{"authority", r.Int64N(10)}, Number{"resource.x", r.Int64N(10)})
	f.settle()
	return f
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`actor:agent/payments outcome:escalated action:payment.* -policy:baseline after:2026-11-01`, `(a OR "b c") -resource.amount:>5`, `a\*b -( c`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || bad.Length < 1 || bad.Position < 0 || bad.Position > len([]rune(bad.Query)) {
				t.Fatalf("%q: %v", text, err)
			}
			_ = bad.Caret()
			return
		}
		again, err := Parse(q.String())
		if err != nil && len(q.String()) <= MaxLength {
			t.Fatalf("%q, in canonical form %q: %v", text, q, err)
		}
		if err == nil && again.String() != q.String() {
			t.Fatalf("%q: %q became %q", text, q, again)
		}
	})
}

func TestFieldsAreExplained(t *testing.T) {
	for _, f := range Fields() {
		if f.About == "" || f.Name == "" || fieldsByName[f.Name].Field != f.Field {
			t.Errorf("field %+v", f)
		}
	}
}
