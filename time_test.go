package aver

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimeText(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Time
		text string
	}{
		{"2026-11-24T07:33:49.123Z", 1795505629123, "2026-11-24T07:33:49.123Z"},
		{"2026-11-24T07:33:49Z", 1795505629000, "2026-11-24T07:33:49.000Z"},
		{"2026-11-24T08:33:49.1+01:00", 1795505629100, "2026-11-24T07:33:49.100Z"},
		{"2026-11-24T07:33:49.123999999Z", 1795505629123, "2026-11-24T07:33:49.123Z"},
		{"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z"},
		{"1969-12-31T23:59:59.9999Z", -1, "1969-12-31T23:59:59.999Z"}, // cut towards the past
		{"0000-01-01T00:00:00Z", -62167219200000, "0000-01-01T00:00:00.000Z"},
		{"9999-12-31T23:59:59.999Z", 253402300799999, "9999-12-31T23:59:59.999Z"},
		{"2024-02-29T00:00:00Z", 1709164800000, "2024-02-29T00:00:00.000Z"},
	} {
		got, err := ParseTime(c.in)
		if err != nil || got != c.want || got.String() != c.text {
			t.Errorf("%s: %d (%s), %v; want %d (%s)", c.in, got, got, err, c.want, c.text)
		}
		if std := got.Std(); TimeOf(std) != got || std.Location() != time.UTC {
			t.Errorf("%s: Std() = %v", c.in, std)
		}
		if got.IsZero() != (c.want == 0) {
			t.Errorf("%s: IsZero() = %v", c.in, got.IsZero())
		}
	}
}

// Times are written as the standard library writes them, in any year.
func TestTimeTextIsThatOfTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := Time(rapid.OneOf(
			rapid.Int64Range(-62167219200000, 253402300799999), // the years 0 to 9999
			rapid.Int64Range(-1<<53, 1<<53),
		).Draw(t, "milliseconds"))
		if got, want := at.String(), at.Std().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Fatalf("%d is written as %s, want %s", at, got, want)
		}
		if got := string(at.append([]byte("at "))); got != "at "+at.String() {
			t.Fatalf("%d is appended as %s", at, got)
		}
	})
}

func TestParseTimeRefuses(t *testing.T) {
	for _, in := range []string{
		"", "now", "2026-11-24", "2026-11-24 07:33:49Z", "2026-11-24T07:33:49", "2026-11-24T7:33:49Z", "2026-11-24T07:33Z",
		"2026-11-24T07:33:49,123Z", "2026-11-24T07:33:49.Z", "2026-11-24T07:33:49+24:00", "2026-11-24T07:33:49+01:60", "2026-11-24T07:33:49+0100",
		"2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-24T24:00:00Z", "2026-11-24T07:33:60Z", "2026-11-24t07:33:49z",
		"2026-11-24T07:33:49Z ", "12026-11-24T07:33:49Z", "-026-11-24T07:33:49Z",
		strings.Repeat("\x80", 100),
		// In UTC these stand before the year 0 and after 9999, which RFC 3339 can't write.
		"0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-00:01",
	} {
		if got, err := ParseTime(in); err == nil {
			t.Errorf("%q is read as %s", in, got)
		}
		kept := Time(7)
		if err := kept.UnmarshalText([]byte(in)); err == nil || kept != 7 {
			t.Errorf("UnmarshalText(%q) = %v, %v", in, kept, err)
		}
	}
}

func TestTimeInJSON(t *testing.T) {
	type both struct {
		Set   Time `json:"set"`
		Unset Time `json:"unset,omitzero"`
	}
	text, err := json.Marshal(both{Set: 1795505629123})
	if want := `{"set":"2026-11-24T07:33:49.123Z"}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
	var back both
	if err := json.Unmarshal([]byte(`{"set":"2026-11-24T07:33:49.1239+00:00"}`), &back); err != nil || back.Set != 1795505629123 || !back.Unset.IsZero() {
		t.Errorf("%+v, %v", back, err)
	}
}
