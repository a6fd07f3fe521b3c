package aver

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"
)

// The samples of RFC 8785, sections 3.2.2 and 3.2.3, without the numbers that
// Aver refuses.
func TestCanonicalRFC8785(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{
			"section 3.2.3, sorting of properties",
			`{
			  "\u20ac": "Euro Sign",
			  "\r": "Carriage Return",
			  "\ufb33": "Hebrew Letter Dalet With Dagesh",
			  "1": "One",
			  "\ud83d\ude00": "Emoji: Grinning Face",
			  "\u0080": "Control",
			  "\u00f6": "Latin Small Letter O With Diaeresis"
			}`,
			`{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","ö":"Latin Small Letter O With Diaeresis",` +
				`"€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`,
		},
		{
			"section 3.2.2, strings and literals",
			`{
			  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
			  "literals": [null, true, false]
			}`,
			`{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		},
		{
			"section 3.2.2.2, every control character",
			`"\u0000\u0001\u0007\u0008\u0009\u000a\u000b\u000c\u000d\u000e\u001F\u0020\u007f\u2028"`,
			`"\u0000\u0001\u0007\b\t\n\u000b\f\r\u000e\u001f ` + "\x7f\u2028" + `"`,
		},
		{
			"whole numbers in any notation",
			`[0, -0, 1e2, 10.0, -1.50e1, 9007199254740991]`,
			`[0,0,100,10,-15,9007199254740991]`,
		},
		{"nothing is normalized", `"A\u030a</script>&"`, "\"A\u030a</script>&\""},
		{"empty ones", ` { "b" : [ ] , "a" : { } } `, `{"a":{},"b":[]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := ParseJSON([]byte(c.text), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(AppendCanonical(nil, v)); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
			oracle, err := jcs.Transform([]byte(c.text))
			if err != nil || string(oracle) != c.want {
				t.Errorf("gowebpki/jcs does not agree: %s, %v", oracle, err)
			}
		})
	}
}

func TestMemberOrderIsThatOfUTF16(t *testing.T) {
	// Each name sorts before the next in UTF-16 code units. In UTF-8 the
	// private-use and Hebrew ones would stand before those beyond the BMP.
	names := []string{
		"", "\x00", "a", "a\x00", "aa", "a\U0001F600", "a\ue000", "b", "\u20ac", "\ud7ff",
		"\U00010000", "\U00010001", "\U0001F600", "\U0001F600\U0001F600", "\U0001F600\uffff", "\U0010ffff",
		"\ue000", "\ufb33", "\ufb33\U0001F600", "\ufb33\ufb33", "\uffff",
	}
	for i, a := range names {
		for j, b := range names {
			if got := compareUTF16(a, b); sign(got) != sign(i-j) {
				t.Errorf("compareUTF16(%+q, %+q) = %d", a, b, got)
			}
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

// drawString draws strings of the characters at which implementations differ.
func drawString() *rapid.Generator[string] {
	return rapid.StringOf(rapid.OneOf(
		rapid.RuneFrom([]rune("aAkKsSbß\"\\/<>&{}[]:, \x00\x01\b\f\n\r\t\x1f\x7f\u0080é\u017f\u212a\u2028\ud7ff\ue000\ufb33\ufeff\ufffd\uffff\U00010000\U0001F600\U0010ffff")),
		rapid.Rune(),
	))
}

// drawValue draws values as ParseJSON makes them.
func drawValue(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Int64Range(-MaxInteger, MaxInteger).AsAny(),
		drawString().AsAny(),
	)
	if depth == 0 {
		return scalar
	}
	return rapid.OneOf(
		scalar,
		rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(drawValue(depth-1), 0, 4).Draw(t, "array") }),
		rapid.Custom(func(t *rapid.T) any { return drawObject(depth-1).Draw(t, "object") }),
	)
}

func drawObject(depth int) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		object := map[string]any{}
	names:
		for _, name := range rapid.SliceOfN(drawString(), 0, 6).Draw(t, "names") {
			for other := range object {
				if strings.EqualFold(other, name) {
					continue names
				}
			}
			object[name] = drawValue(depth).Draw(t, "value")
		}
		return object
	})
}

func TestCanonicalAgreesWithJCSAndParsesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawValue(4).Draw(t, "v")
		text := AppendCanonical([]byte("kept"), v)
		text, kept := bytes.CutPrefix(text, []byte("kept"))
		if !kept {
			t.Fatalf("AppendCanonical overwrote what stood before")
		}
		oracle, err := jcs.Transform(text)
		if err != nil || !bytes.Equal(oracle, text) {
			t.Fatalf("not canonical:\n got %s\nwant %s (%v)", text, oracle, err)
		}
		again, err := ParseJSON(text, Limits{})
		if err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("%s parses to %#v, %v", text, again, err)
		}
	})
}

func TestFoldNameIsEqualFold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawString().Draw(t, "a"), drawString().Draw(t, "b")
		for _, b := range []string{b, strings.ToUpper(a), strings.ToLower(a), strings.ToTitle(a)} {
			if (foldName(a) == foldName(b)) != strings.EqualFold(a, b) {
				t.Fatalf("%+q and %+q", a, b)
			}
		}
	})
}

func TestAppendCanonicalOfGoIntegers(t *testing.T) {
	got := string(AppendCanonical(nil, []any{int(-1), int64(-2), uint64(1 << 63)}))
	if want := `[-1,-2,9223372036854775808]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAppendCanonicalPanicsOnOtherTypes(t *testing.T) {
	defer func() {
		if got, want := recover(), "aver: float64 has no canonical JSON form here"; got != want {
			t.Errorf("recovered %v, want %q", got, want)
		}
	}()
	AppendCanonical(nil, map[string]any{"a": []any{1.5}})
}

func TestAppendStringReplacesInvalidUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"a\xffb":           `"a` + "\ufffd" + `b"`,
		"\xff\xfe":         `"` + "\ufffd\ufffd" + `"`,
		"é\xc3":            `"é` + "\ufffd" + `"`,
		"\xed\xa0\x80\n":   `"` + "\ufffd\ufffd\ufffd" + `\n"`,
		"\ufffd and plain": `"` + "\ufffd" + ` and plain"`,
	} {
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("AppendString(%+q) = %+q, want %+q", in, got, want)
		}
	}
}

// A byte is written alike wherever in a string it stands, though plain ones are
// looked at eight at a time.
func TestAppendStringAtAnyPlace(t *testing.T) {
	const around = "plain text of thirty-two letters"
	for c := range 256 {
		alone := string(AppendString(nil, string([]byte{byte(c)})))
		for at := range len(around) {
			in := around[:at] + string([]byte{byte(c)}) + around[at+1:]
			if got, want := string(AppendString(nil, in)), `"`+around[:at]+alone[1:len(alone)-1]+around[at+1:]+`"`; got != want {
				t.Fatalf("AppendString(%+q) = %+q, want %+q", in, got, want)
			}
		}
	}
}
