package aver

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func TestParseJSONRefuses(t *testing.T) {
	const (
		notWhole = ` is not a whole number, and Cedar has no floating point; send {"__extn":{"fn":"decimal","arg":"…"}} (up to four decimals), smaller units, or a string`
		tooLarge = ` is beyond the whole numbers that JSON holds exactly everywhere (up to 9007199254740991); send it as a string`
		half     = ` is half of a surrogate pair, and the other half is missing`
	)
	for _, c := range []struct {
		name, text   string
		offset       int
		line, column int
		path, reason string
	}{
		// Nothing, or more than one value.
		{"nothing", "", 0, 1, 1, "", "the text is empty"},
		{"only space", " \t\r\n ", 5, 2, 2, "", "the text is empty"},
		{"byte order mark", "\uFEFF{}", 0, 1, 1, "", "the text begins with a byte order mark, which JSON does not have"},
		{"trailing text", "{} x", 3, 1, 4, "", "more follows after the end of the JSON value"},
		{"two values", "1\n2", 2, 2, 1, "", "more follows after the end of the JSON value"},
		{"trailing NUL", "{}\x00", 2, 1, 3, "", "more follows after the end of the JSON value"},

		// Not JSON.
		{"lone nul", "nul", 0, 1, 1, "", "'n' does not begin a JSON value"},
		{"capital True", `{"a":True}`, 5, 1, 6, "/a", "'T' does not begin a JSON value"},
		{"literal with a tail", "[truex]", 5, 1, 6, "", "the array that begins at byte 0 is not closed: a comma or ] should stand here"},
		{"comment", "{/*a*/}", 1, 1, 2, "", "a member name in double quotes should stand here"},
		{"single quotes", "'a'", 0, 1, 1, "", `'\'' does not begin a JSON value`},
		{"byte beyond ASCII", "[\xe2]", 1, 1, 2, "/0", "the byte 0xe2 does not begin a JSON value"},
		{"vertical tab is no space", "\v1", 0, 1, 1, "", `'\v' does not begin a JSON value`},
		{"no-break space is no space", "\u00a01", 0, 1, 1, "", "the byte 0xc2 does not begin a JSON value"},
		{"plus sign", "+1", 0, 1, 1, "", "'+' does not begin a JSON value"},
		{"leading point", ".5", 0, 1, 1, "", "'.' does not begin a JSON value"},
		{"infinity", "-Infinity", 0, 1, 1, "", `"-" is not a number of JSON`},

		// Objects and arrays.
		{"unterminated object", `{"a":1`, 6, 1, 7, "", "the object that begins at byte 0 is not closed: a comma or } should stand here"},
		{"object without an end", `{`, 1, 1, 2, "", "a member name in double quotes should stand here"},
		{"object closed by a bracket", `{"a":1]`, 6, 1, 7, "", "the object that begins at byte 0 is not closed: a comma or } should stand here"},
		{"comma before the first member", `{,"a":1}`, 1, 1, 2, "", "a member name in double quotes should stand here"},
		{"trailing comma in an object", `{"a":1,}`, 7, 1, 8, "", "a member name in double quotes should stand here"},
		{"name without quotes", `{a:1}`, 1, 1, 2, "", "a member name in double quotes should stand here"},
		{"name without a colon", `{"a" 1}`, 5, 1, 6, "", `a colon should stand after the member name "a"`},
		{"name without a value", `{"a":}`, 5, 1, 6, "/a", "'}' does not begin a JSON value"},
		{"text ends before the value", `{"a":`, 5, 1, 6, "/a", "the text ends where a value should stand"},
		{"unterminated array", "{\n \"a\": [1", 10, 2, 9, "/a", "the array that begins at byte 8 is not closed: a comma or ] should stand here"},
		{"trailing comma in an array", `[1,]`, 3, 1, 4, "/1", "']' does not begin a JSON value"},
		{"array without an end", `[`, 1, 1, 2, "/0", "the text ends where a value should stand"},

		// One meaning only.
		{"duplicate member", `{"a":1,"b":2,"a":3}`, 13, 1, 14, "", `the member "a" stands twice in one object`},
		{"duplicate member, escaped", `{"a":1,"\u0061":3}`, 7, 1, 8, "", `the member "a" stands twice in one object`},
		{"duplicate member, deep", `{"x/~":[0,{"a":1,"a":1}]}`, 17, 1, 18, "/x~1~0/1", `the member "a" stands twice in one object`},
		{"duplicate empty name", `{"":1,"":2}`, 6, 1, 7, "", `the member "" stands twice in one object`},
		{"case variant", `{"id":1,"ID":2}`, 8, 1, 9, "", `the members "id" and "ID" differ only in case`},
		{"case variant, Kelvin sign", "{\"k\":1,\"\u212a\":2}", 7, 1, 8, "", "the members \"k\" and \"\u212a\" differ only in case"},
		{"case variant, long s", "{\"\u017fubject\":1,\"subject\":2}", 14, 1, 15, "", "the members \"\u017fubject\" and \"subject\" differ only in case"},
		{"case variant, sigmas", `{"ς":1,"Σ":2}`, 8, 1, 9, "", `the members "ς" and "Σ" differ only in case`},
		{"case variant beyond the BMP", `{"𐐀":1,"𐐨":2}`, 10, 1, 11, "", `the members "𐐀" and "𐐨" differ only in case`},

		{"duplicate among many", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"b":1}`, 61, 1, 62, "", `the member "b" stands twice in one object`},
		{"ninth is a duplicate", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"a":1}`, 49, 1, 50, "", `the member "a" stands twice in one object`},
		{"case variant among many", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"J":1}`, 61, 1, 62, "", `the members "j" and "J" differ only in case`},

		// Strings.
		{"unterminated string", `{"a":"b`, 5, 1, 6, "/a", "the string that begins here is not closed"},
		{"unterminated string after an escape", `"\n`, 0, 1, 1, "", "the string that begins here is not closed"},
		{"string ends in a backslash", `"a\`, 2, 1, 3, "", "the text ends in the middle of an escape"},
		{"unknown escape", `"\x41"`, 1, 1, 2, "", "'x' after a backslash is not an escape of JSON"},
		{"unknown escape of a raw byte", "\"\\\xff\"", 1, 1, 2, "", "the byte 0xff after a backslash is not an escape of JSON"},
		{"escaped quote of JavaScript", `"\'"`, 1, 1, 2, "", `'\'' after a backslash is not an escape of JSON`},
		{"three hexadecimal digits", `"\u12"`, 1, 1, 2, "", `\u must be followed by four hexadecimal digits`},
		{"hexadecimal digits at the end", `"\u12`, 1, 1, 2, "", `\u must be followed by four hexadecimal digits`},
		{"hexadecimal with a sign", `"\u+123"`, 1, 1, 2, "", `\u must be followed by four hexadecimal digits`},
		{"hexadecimal with an underscore", `"\u1_23"`, 1, 1, 2, "", `\u must be followed by four hexadecimal digits`},
		{"control character", "\"a\x01\"", 2, 1, 3, "", `a control character stands in a string; write it as \u0001`},
		{"line feed", "[\"a\nb\"]", 3, 1, 4, "/0", `a control character stands in a string; write it as \u000a`},
		{"NUL", "\"\x00\"", 1, 1, 2, "", `a control character stands in a string; write it as \u0000`},

		// Surrogates.
		{"lone high surrogate", `"\ud83d"`, 1, 1, 2, "", `\ud83d` + half},
		{"lone low surrogate", `"a\uDE00"`, 2, 1, 3, "", `\ude00` + half},
		{"high before text", `"\ud83dx"`, 1, 1, 2, "", `\ud83d` + half},
		{"high before another escape", `"\ud83d\n"`, 1, 1, 2, "", `\ud83d` + half},
		{"high before high", `"\ud83d\ud83d\ude00"`, 1, 1, 2, "", `\ud83d` + half},
		{"high before a BMP escape", `"\ud83d\u0041"`, 1, 1, 2, "", `\ud83d` + half},
		{"low before high", `"\ude00\ud83d"`, 1, 1, 2, "", `\ude00` + half},
		{"high before a cut escape", `"\ud83d\ude`, 1, 1, 2, "", `\ud83d` + half},
		{"high at the end of the text", `"\ud83d`, 1, 1, 2, "", `\ud83d` + half},
		{"first and last of the range", `"\udbff\udfff\udfff"`, 13, 1, 14, "", `\udfff` + half},
		{"in a name", `{"\ud800":1}`, 2, 1, 3, "", `\ud800` + half},
		{"surrogate in UTF-8", "\"\xed\xa0\xbd\"", 0, 1, 1, "", notUTF8},
		{"surrogate pair in UTF-8 (CESU-8)", "\"\xed\xa0\xbd\xed\xb8\x80\"", 0, 1, 1, "", notUTF8},

		// UTF-8.
		{"lone continuation byte", "\"\x80\"", 0, 1, 1, "", notUTF8},
		{"overlong", "\"\xc0\x80\"", 0, 1, 1, "", notUTF8},
		{"beyond U+10FFFF", "\"\xf4\x90\x80\x80\"", 0, 1, 1, "", notUTF8},
		{"Latin-1", "{\"a\":\"caf\xe9\"}", 5, 1, 6, "/a", notUTF8},
		{"in a name", "{\"\xff\":1}", 1, 1, 2, "", notUTF8},
		{"after an escape", "\"\\n\xff\"", 0, 1, 1, "", notUTF8},
		{"before an escape", "\"\xff\\n\"", 0, 1, 1, "", notUTF8},
		{"around an escape, as if it completed it", "\"\xc3\\u00a9\"", 0, 1, 1, "", notUTF8},
		{"torn by an escape", "\"\xf0\x9f\\n\x98\x80\"", 0, 1, 1, "", notUTF8},

		// Numbers.
		{"leading zero", `[01]`, 1, 1, 2, "/0", `"01" is not a number of JSON`},
		{"leading zeros, negative", `-00`, 0, 1, 1, "", `"-00" is not a number of JSON`},
		{"leading zero with a fraction", `01.0`, 0, 1, 1, "", `"01.0" is not a number of JSON`},
		{"minus alone", `-`, 0, 1, 1, "", `"-" is not a number of JSON`},
		{"minus before a point", `-.5`, 0, 1, 1, "", `"-.5" is not a number of JSON`},
		{"point without digits", `1.`, 0, 1, 1, "", `"1." is not a number of JSON`},
		{"point before an exponent", `1.e2`, 0, 1, 1, "", `"1.e2" is not a number of JSON`},
		{"exponent without digits", `1e`, 0, 1, 1, "", `"1e" is not a number of JSON`},
		{"exponent with a sign only", `1e+`, 0, 1, 1, "", `"1e+" is not a number of JSON`},
		{"hexadecimal", `0x10`, 1, 1, 2, "", "more follows after the end of the JSON value"},
		{"fraction", `{"amount":1.5}`, 10, 1, 11, "/amount", `1.5` + notWhole},
		{"negative fraction", `-0.1`, 0, 1, 1, "", `-0.1` + notWhole},
		{"exponent makes a fraction", `15e-1`, 0, 1, 1, "", `15e-1` + notWhole},
		{"fraction that floating point rounds off", `9007199254740990.9`, 0, 1, 1, "", `9007199254740990.9` + notWhole},
		{"fraction too small for floating point", `1e-400`, 0, 1, 1, "", `1e-400` + notWhole},
		{"fraction beyond precision", `1.00000000000000000001`, 0, 1, 1, "", `1.00000000000000000001` + notWhole},
		{"exponent beyond 64 bits, negative", `1e-99999999999999999999`, 0, 1, 1, "", `1e-99999999999999999999` + notWhole},
		{"exponent of 64 bits, negative", `0.01e-9223372036854775808`, 0, 1, 1, "", `0.01e-9223372036854775808` + notWhole},
		{"2^53", `9007199254740992`, 0, 1, 1, "", `9007199254740992` + tooLarge},
		{"-2^53", `-9007199254740992`, 0, 1, 1, "", `-9007199254740992` + tooLarge},
		{"2^63", `9223372036854775808`, 0, 1, 1, "", `9223372036854775808` + tooLarge},
		{"2^53 by exponent", `9007199254740992e0`, 0, 1, 1, "", `9007199254740992e0` + tooLarge},
		{"just above 2^53-1 with a fraction of zeros", `9007199254740992.0`, 0, 1, 1, "", `9007199254740992.0` + tooLarge},
		{"1e16", `1e16`, 0, 1, 1, "", `1e16` + tooLarge},
		{"1e400", `1e400`, 0, 1, 1, "", `1e400` + tooLarge},
		{"exponent beyond 64 bits", `-1E+99999999999999999999`, 0, 1, 1, "", `-1E+99999999999999999999` + tooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := ParseJSON([]byte(c.text), Limits{})
			var got *JSONError
			if !errors.As(err, &got) {
				t.Fatalf("ParseJSON(%q) = %v, %v; want a *JSONError", c.text, v, err)
			}
			if v != nil {
				t.Errorf("ParseJSON(%q) = %v, and yet it is refused", c.text, v)
			}
			want := JSONError{c.offset, c.line, c.column, c.path, c.reason}
			if *got != want {
				t.Errorf("ParseJSON(%q)\n got %+v\nwant %+v", c.text, *got, want)
			}
		})
	}
}

func TestParseJSONLimits(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		name, text string
		limits     Limits
		offset     int
		path       string
		reason     string // "" where the text is within the limits
	}{
		{"as long as allowed", `"12345678"`, Limits{Bytes: 10}, 0, "", ""},
		{"one byte longer", `"123456789"`, Limits{Bytes: 10}, 10, "", "the text is longer than 10 bytes"},
		{"space counts", `"1234567"   `, Limits{Bytes: 10}, 10, "", "the text is longer than 10 bytes"},
		{"default length", `"` + strings.Repeat("x", 1<<20-2) + `"`, Limits{}, 0, "", ""},
		{"longer than the default", `"` + strings.Repeat("x", 1<<20-1) + `"`, Limits{}, 1 << 20, "", "the text is longer than 1048576 bytes"},
		{"as deep as allowed", `{"a":[{"b":1}]}`, Limits{Depth: 3}, 0, "", ""},
		{"an array deeper", `{"a":[{"b":[]}]}`, Limits{Depth: 3}, 11, "/a/0/b", "nested deeper than 3 levels"},
		{"an object deeper", `[[[{}]]]`, Limits{Depth: 3}, 3, "/0/0/0", "nested deeper than 3 levels"},
		{"default depth", nested(32), Limits{}, 0, "", ""},
		{"deeper than the default", nested(33), Limits{}, 32, strings.Repeat("/0", 32), "nested deeper than 32 levels"},
		{"far deeper", strings.Repeat("[", 1<<19), Limits{}, 32, strings.Repeat("/0", 32), "nested deeper than 32 levels"},
		{"as many as allowed", `{"a":[1,2],"b":{"c":3}}`, Limits{Members: 5}, 0, "", ""},
		{"a member more", `{"a":[1,2],"b":{"c":3}}`, Limits{Members: 4}, 16, "/b", "more than 4 members and elements"},
		{"an element more", `{"a":[1,2]}`, Limits{Members: 2}, 8, "/a", "more than 2 members and elements"},
		{"default count", "[" + strings.Repeat("1,", 19_999) + "1]", Limits{}, 0, "", ""},
		{"more than the default", "[" + strings.Repeat("1,", 20_000) + "1]", Limits{}, 40_001, "", "more than 20000 members and elements"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseJSON([]byte(c.text), c.limits)
			if c.reason == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			want := &JSONError{c.offset, 1, c.offset + 1, c.path, c.reason}
			if !reflect.DeepEqual(err, error(want)) {
				t.Errorf("\n got %+v\nwant %+v", err, want)
			}
		})
	}
}

func TestParseJSONAccepts(t *testing.T) {
	for _, c := range []struct {
		text string
		want any
	}{
		{` null `, nil},
		{"\t\r\n true", true},
		{`false`, false},
		{`""`, ""},
		{`"\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00"`, "\"\\/\b\f\n\r\tAé€😀"},
		{`"\uFB33\uDBFF\uDFFF\ud800\udc00"`, "\ufb33\U0010ffff\U00010000"},
		{`"a\nb"`, "a\nb"},
		{`"\u0000"`, "\x00"},
		{`"\ufffd\uffff\ufdd0"`, "\ufffd\uffff\ufdd0"},
		{"\"\uFEFF\x7f\u2028\"", "\uFEFF\x7f\u2028"}, // only at the beginning is it a byte order mark
		{`"é"`, "é"},
		{`0`, int64(0)},
		{`-0`, int64(0)},
		{`-0.00e-5`, int64(0)},
		{`0e99999999999999999999`, int64(0)},
		{`1e2`, int64(100)},
		{`1.50e2`, int64(150)},
		{`-1500e-2`, int64(-15)},
		{`7.0`, int64(7)},
		{`0.0012E+4`, int64(12)},
		{`100E-2`, int64(1)},
		{`9007199254740991`, int64(MaxInteger)},
		{`-9007199254740991`, int64(-MaxInteger)},
		{`9007199254740991.000e0`, int64(MaxInteger)},
		{`9.007199254740991e15`, int64(MaxInteger)},
		{`1e15`, int64(1e15)},
		{`1` + strings.Repeat("0", 400) + `e-400`, int64(1)},
		{`0.` + strings.Repeat("0", 399) + `1e400`, int64(1)},
		{`[]`, []any{}},
		{`{}`, map[string]any{}},
		{`[ 1 , [ ] , { } ]`, []any{int64(1), []any{}, map[string]any{}}},
		{`{"":0,"a":{"A":1},"aa":null}`, map[string]any{"": int64(0), "a": map[string]any{"A": int64(1)}, "aa": nil}},
		// Neither is a case variant under simple folding.
		{`{"ß":1,"ss":2,"i":3,"İ":4,"ı":5}`, map[string]any{"ß": int64(1), "ss": int64(2), "i": int64(3), "İ": int64(4), "ı": int64(5)}},
	} {
		got, err := ParseJSON([]byte(c.text), Limits{})
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseJSON(%s) = %#v, %v; want %#v", c.text, got, err, c.want)
		}
	}
}

// An error may be logged and sent back, so it must stay short whatever the
// text holds.
func TestJSONErrorStaysShort(t *testing.T) {
	long := strings.Repeat("é", 1000)
	for _, text := range []string{
		`{"` + long + `":1,"` + long + `":2}`,
		`{"` + long + `":1,"` + strings.ToUpper(long) + `":2}`,
		`{"` + long + `"}`,
		strings.Repeat("9", 10_000),
		strings.Repeat("0", 10_000),
		"0." + strings.Repeat("9", 10_000),
	} {
		_, err := ParseJSON([]byte(text), Limits{})
		if err == nil || len(err.Error()) > 400 || !strings.Contains(err.Error(), "…") {
			t.Errorf("%.20q…: %v", text, err)
		}
		if strings.ContainsRune(fmt.Sprint(err), '\ufffd') {
			t.Errorf("%.20q…: a character is cut: %v", text, err)
		}
	}
}

func TestJSONErrorText(t *testing.T) {
	_, err := ParseJSON([]byte("{\n  \"a\": [1, 2.5]}"), Limits{Bytes: 100})
	if want := "line 2, column 12 at /a/1: 2.5 is not a whole number"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %q, want it to begin with %q", err, want)
	}
	_, err = ParseJSON([]byte("}"), Limits{})
	if want := "line 1, column 1: '}' does not begin a JSON value"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestPropertiesUnmarshalJSON(t *testing.T) {
	for _, c := range []struct {
		text string
		want Properties
		fail string // part of the error
	}{
		{`{"a":1,"b":{"c":[]}}`, Properties{"a": int64(1), "b": map[string]any{"c": []any{}}}, ""},
		{`{}`, Properties{}, ""},
		{`null`, nil, ""},
		{`[]`, nil, "properties must be an object"},
		{`{"a":1.5}`, nil, "not a whole number"},
		{`{"a":1,"A":2}`, nil, "differ only in case"},
	} {
		var got Properties
		err := json.Unmarshal([]byte(c.text), &got)
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) {
				t.Errorf("%s: error %v, want %q in it", c.text, err, c.fail)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v, %v; want %#v", c.text, got, err, c.want)
		}
	}
}

// Who keeps a name out of a large text, as what follows open authorizations does,
// does not keep the text with it.
func TestNamesDoNotKeepALargeText(t *testing.T) {
	text := []byte(`{"id":"alice","padding":"` + strings.Repeat("x", 1<<20-100) + `"}`)
	var before, after runtime.MemStats
	kept := make([]string, 32)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range kept {
		v, err := ParseJSON(text, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		kept[i] = v.(map[string]any)["id"].(string)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("%d names of 5 bytes keep %d bytes", len(kept), grown)
	}
	runtime.KeepAlive(kept)
}
