package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver"
)

func TestParseRef(t *testing.T) {
	for text, want := range map[string]aver.Ref{
		"user:ann":           {Type: "user", ID: "ann"},
		"user:a:b":           {Type: "user", ID: "a:b"},
		"user:a::b":          {Type: "user", ID: "a::b"},
		"App::User:ann":      {Type: "App::User", ID: "ann"},
		"a::b::c:d":          {Type: "a::b::c", ID: "d"},
		"document:/x y/ü.md": {Type: "document", ID: "/x y/ü.md"},
	} {
		got, err := parseRef(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if refText(got) != text {
			t.Errorf("%s comes back as %s", text, refText(got))
		}
	}
	for _, text := range []string{"", "ann", ":", "user:", ":ann", "App::User", "::", "a::"} {
		if got, err := parseRef(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestParseProperties(t *testing.T) {
	got, err := parseProperties([]string{`n=5`, `t=true`, `s=text`, `q="5"`, `o={"a":[1]}`, `e=`, `eq=a=b`, `date=2026-01-01`, `z=null`})
	want := map[string]any{"n": int64(5), "t": true, "s": "text", "q": "5", "o": map[string]any{"a": []any{int64(1)}},
		"e": "", "eq": "a=b", "date": "2026-01-01", "z": nil}
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for pairs, want := range map[string]string{
		"x":               "not of the form name=value",
		"=x":              "not of the form name=value",
		"a=1 a=2":         `"a" is given twice`,
		"rate=1.5":        `property "rate"`,
		`o={"a":1,"a":2}`: `property "o"`,
	} {
		if got, err := parseProperties(strings.Fields(pairs)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", pairs, got, err)
		}
	}
}

func TestParseWhen(t *testing.T) {
	if got, err := parseWhen("2027-01-31T00:00:00Z"); err != nil || got.String() != "2027-01-31T00:00:00.000Z" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := parseWhen(""); err != nil || got != 0 {
		t.Errorf("nothing is %s, %v", got, err)
	}
	now, _ := parseWhen("1ms")
	if got, err := parseWhen("1h"); err != nil || got-now < 3_599_000 || got-now > 3_660_000 {
		t.Errorf("an hour from now is %d ms away, %v", got-now, err)
	}
	for _, text := range []string{"tomorrow", "-1h", "0s", "2027-01-31"} {
		if got, err := parseWhen(text); err == nil {
			t.Errorf("%q was taken as %s", text, got)
		}
	}
}
