package query

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestThePageIsTrue holds docs/search.md to the fields that there are, and its examples to the parser.
func TestThePageIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/search.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	_, table, _ := strings.Cut(page, "| field | |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, f := range Fields() {
		if !regexp.MustCompile("(?m)^\\|[^|]*`" + f.Name + "`").MatchString(table) {
			t.Errorf("the table of fields lacks %s", f.Name)
		}
	}
	for _, name := range regexp.MustCompile(`(?m)^\| ([^|]*) \|`).FindAllStringSubmatch(table, -1) {
		for _, n := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(name[1], -1) {
			if fieldsByName[n[1]] == nil {
				t.Errorf("the table names %s, which is no field", n[1])
			}
		}
	}
	examples := regexp.MustCompile(`(?m)^\$ aver (?:search|trail) .*\'(.+)\'`).FindAllStringSubmatch(page, -1)
	if len(examples) < 3 {
		t.Fatal("there are no examples")
	}
	for _, m := range examples {
		if _, err := Parse(m[1]); err != nil && !strings.Contains(page, err.Error()) { // one shows a mistake
			t.Errorf("%s: %v", m[1], err)
		}
	}
}
