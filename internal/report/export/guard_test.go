package export

import "testing"

// No cell begins with a formula, in whatever spreadsheet (CWE-1236).
func TestGuarded(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "",
		"plain; text":       "plain; text",
		"=1":                "'=1",
		"\uff1dcmd":         "'\uff1dcmd",
		"a;=cmd|' /C calc'": "a;'=cmd|' /C calc'",
		"a\n@SUM(1)":        "a\n'@SUM(1)",
		"\t-1":              "'\t'-1",
		"1-1=0":             "1-1=0",
	} {
		if got := guarded(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
