package policy_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/policytest"
)

var fence = regexp.MustCompile("(?ms)^```([a-z]+) ([^\n]*)\n(.*?)^```$")

// TestDocumentation follows docs/policies.md from top to bottom: blocks with
// file= add to a file of a bundle; what the page claims about
// errors and reads must be so where it stands; and in the end all test cases of
// all bundles must pass.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	bundles := map[string]map[string][]byte{}
	claims := 0
	for _, block := range fence.FindAllStringSubmatch(string(page), -1) {
		text := block[3]
		key, value, _ := strings.Cut(block[2], "=")
		name, rest, _ := strings.Cut(value, "/")
		switch key {
		case "file":
			if bundles[name] == nil {
				bundles[name] = map[string][]byte{}
			}
			if old := bundles[name][rest]; old != nil {
				text = string(old) + "\n" + text
			}
			bundles[name][rest] = []byte(text)
		case "errors":
			claims++
			_, err := policy.Load(bundles[name], name)
			if got := fmt.Sprintln(err); got != text {
				t.Errorf("the page says of %s:\n%s\nit is:\n%s", name, text, got)
			}
		case "reads":
			claims++
			b, err := policy.Load(bundles[name], name)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, r := range b.Policies() {
				if r.ID == value {
					for _, p := range r.Reads().Paths() {
						fmt.Fprintln(&got, p)
					}
				}
			}
			if got.String() != text {
				t.Errorf("the page says that %s reads:\n%s\nit reads:\n%s", value, text, &got)
			}
		default:
			t.Errorf("a block that is no file and no claim: %s", block[2])
		}
	}
	delete(bundles, "broken")
	cases := 0
	for name, files := range bundles {
		b, err := policy.Load(files, name)
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		for _, r := range policytest.Run(b) {
			cases++
			if !r.OK {
				t.Errorf("%s: %s", name, r)
			}
		}
	}
	if claims != 2 || cases != 10 {
		t.Errorf("%d claims and %d test cases found on the page, want 2 and 10", claims, cases)
	}
}
