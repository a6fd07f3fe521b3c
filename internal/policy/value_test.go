package policy

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
)

func decode(t testing.TB, text string) any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestValueFromJSON(t *testing.T) {
	for _, tc := range []struct{ json, cedar, err string }{
		{`"a\"b"`, `"a\"b"`, ""},
		{`true`, `true`, ""},
		{`-9223372036854775808`, `-9223372036854775808`, ""},
		{`[3, 1, "b", "a", true, 3]`, `[true, 1, 3, "a", "b"]`, ""},
		{`[]`, `[]`, ""},
		{`{"b": 1, "a": {"line items": []}, "gone": null}`, `{a: {"line items": []}, b: 1}`, ""},
		{`{"__entity": {"type": "A::user", "id": "x"}}`, `A::user::"x"`, ""},
		{`{"__extn": {"fn": "decimal", "arg": "12.50"}}`, `decimal("12.5")`, ""},
		{`{"__extn": {"fn": "ip", "arg": "10.0.0.1"}}`, `ip("10.0.0.1")`, ""},
		{`{"__extn": {"fn": "datetime", "arg": "2026-01-01"}}`, `datetime("2026-01-01T00:00:00.000Z")`, ""},
		{`{"__extn": {"fn": "duration", "arg": "90m"}}`, `duration("1h30m")`, ""},
		{`{"type": "user", "id": "x"}`, `{id: "x", type: "user"}`, ""},
		{`null`, "", "at: null is not a value"},
		{`[1, null]`, "", "at[1]: a list cannot hold null"},
		{`1.5`, "", "at: 1.5 is not a whole number"},
		{`1e3`, "", "at: 1e3 is not a whole number"},
		{`1.0`, "", "at: 1.0 is not a whole number"},
		{`9223372036854775808`, "", "at: 9223372036854775808 is not a whole number of at most 64 bits"},
		{`{"a": [{"b c": 0.1}]}`, "", `at.a[0]["b c"]: 0.1 is not`},
		{`{"z": 0.1, "a": 0.2}`, "", "at.a: 0.2 is not"},
		{`{"__entity": {"type": "a b", "id": "x"}}`, "", `at.__entity.type: "a b" is not an entity type`},
		{`{"__entity": "user"}`, "", `at.__entity: expected an object of the two strings "type" and "id"`},
		{`{"__entity": {"type": "u", "id": 7}}`, "", `at.__entity: expected`},
		{`{"__entity": {"type": "u", "id": "7", "x": 1}}`, "", `at.__entity: expected`},
		{`{"__extn": {"fn": "money", "arg": "1"}}`, "", `at.__extn.fn: "money" is not one of`},
		{`{"__extn": {"fn": "decimal", "arg": "x"}}`, "", "at.__extn.arg: "},
		{`{"__extn": {"fn": "decimal", "arg": "1.0"}, "a": 1}`, "", "at.__extn: this name is Cedar's own"},
		{strings.Repeat("[", 70) + strings.Repeat("]", 70), "", "nests more than 64 levels"},
	} {
		v, err := ValueFromJSON(decode(t, tc.json), "at")
		if err != nil {
			if tc.err == "" || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: got %v, want %q", tc.json, err, tc.err)
			}
			continue
		}
		if got := CedarText(v); tc.err != "" || got != tc.cedar {
			t.Errorf("%s: got %s, want %s%s", tc.json, got, tc.cedar, tc.err)
		}
	}
}

func TestValueFromGoNumbers(t *testing.T) {
	for _, tc := range []struct {
		v    any
		want types.Value
	}{
		{7, types.Long(7)}, {int64(-7), types.Long(-7)}, {float64(1 << 53), types.Long(1 << 53)},
		{0.5, nil}, {1e30, nil}, {float64(1 << 63), nil}, {uint8(1), nil}, {[]string{"a"}, nil},
	} {
		got, err := ValueFromJSON(tc.v, "at")
		if (err == nil) != (tc.want != nil) || err == nil && !got.Equal(tc.want) {
			t.Errorf("%v (%T): got %v, %v", tc.v, tc.v, got, err)
		}
	}
}

// TestSetsHaveOneOrder builds the same set in different orders, with members
// whose internal hashes collide.
func TestSetsHaveOneOrder(t *testing.T) {
	one, zero := types.Long(1), types.Long(0)
	members := []types.Value{
		types.True, one, zero, types.Long(-5), types.Long(10), types.Long(9), types.String("10"), types.String("9"), bob, pay,
		types.NewSet(one), types.NewSet(zero), types.NewRecord(types.RecordMap{"a": one}),
		types.NewDurationFromMillis(1), types.False,
	}
	want := `[false, true, -5, 0, 1, 9, 10, "10", "9", Action::"pay", user::"bob", duration("1ms"), [0], [1], {a: 1}]`
	for shift := range members {
		rotated := append(append([]types.Value{}, members[shift:]...), members[:shift]...)
		if got := CedarText(types.NewSet(rotated...)); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// FuzzValue goes there and back: what converts, converts back to the same
// value, and then to the same JSON.
func FuzzValue(f *testing.F) {
	for _, s := range []string{
		`{"a": [1, "x", {"b": null}], "__e": {}}`, `{"__entity": {"type": "u", "id": "\u0000"}}`, `[[], [[]], {}]`,
		`{"__extn": {"fn": "ip", "arg": "::1/64"}}`, `{"__extn": {"fn": "datetime", "arg": "-000000001-01-01"}}`,
		`{"__extn": {"fn": "duration", "arg": "-9223372036854775808ms"}}`, `{"__extn": {"fn": "decimal", "arg": "-0.1"}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		var parsed any
		if dec.Decode(&parsed) != nil {
			return
		}
		v, err := ValueFromJSON(parsed, "at")
		if err != nil {
			return
		}
		back := ToJSON(v)
		again, err := ValueFromJSON(back, "at")
		if err != nil {
			t.Fatalf("%v does not convert back: %v", back, err)
		}
		if !again.Equal(v) {
			t.Fatalf("%s became %s", CedarText(v), CedarText(again))
		}
		if !reflect.DeepEqual(ToJSON(again), back) || CedarText(again) != CedarText(v) {
			t.Fatalf("equal values have different JSON or text: %v, %v", back, ToJSON(again))
		}
	})
}
