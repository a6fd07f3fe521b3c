package policy

import "testing"

// Records hold paths, so their spelling must not depend on what Go thinks can
// be printed: names are quoted as in canonical JSON, and read back.
func TestPathsAreQuotedAsJSON(t *testing.T) {
	for name, want := range map[string]Path{
		"line items":       `resource["line items"]`,
		"a\"b\\c":          `resource["a\"b\\c"]`,
		"\x01\n\x1f":       `resource["\u0001\n\u001f"]`,
		"\x7f\u200b\ufeff": "resource[\"\x7f\u200b\ufeff\"]",
		"größe":            `resource["größe"]`,
		"":                 `resource[""]`,
	} {
		p := joinPath([]string{"resource", name})
		if p != want {
			t.Errorf("%+q: path %+q, want %+q", name, p, want)
		}
		if again, err := ParsePath(string(p)); err != nil || again != p || p.Elements()[1] != name {
			t.Errorf("%+q reads back as %+q, %v", p, again, err)
		}
	}
}
