package policytest_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/policytest"
)

// The table of docs/signals.md is the one in the code, and its bundle does what the page says.
func TestSignalsPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/signals.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	rows := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (session or party|party|device|principal) \\| `([a-z]+)`").FindAllStringSubmatch(page, -1)
	types := aver.SignalTypes()
	if len(rows) != len(types) {
		t.Fatalf("the table has %d rows, there are %d types", len(rows), len(types))
	}
	for i, typ := range types {
		if got, want := fmt.Sprint(rows[i][1:]), fmt.Sprint([]string{typ.Name, string(typ.About), string(typ.Fact)}); got != want {
			t.Errorf("row %d is %s, want %s", i+1, got, want)
		}
		for _, name := range aver.SignalValueNames(typ.Fact) {
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("the page does not name %s of %s", name, typ.Fact)
			}
		}
	}
	files := map[string][]byte{}
	for _, m := range regexp.MustCompile("(?ms)^```[a-z]+ file=watch/([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		files[m[1]] = []byte(m[2])
	}
	b, err := policy.Load(files, "watch")
	if err != nil {
		t.Fatal(err)
	}
	results := policytest.Run(b)
	if len(results) != 4 {
		t.Errorf("%d cases", len(results))
	}
	for _, r := range results {
		if !r.OK {
			t.Errorf("%s: %s", r.Name, r.Detail)
		}
	}
}
