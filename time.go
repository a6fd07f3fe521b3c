package aver

import (
	"fmt"
	"strings"
	"time"
)

// Time is an instant in milliseconds since 1970-01-01T00:00:00Z, in the years 0
// to 9999. The zero Time means "not set". It is written as RFC 3339 in UTC with
// three decimals ("2026-11-24T07:33:49.123Z"), and read from any RFC 3339 time
// in capitals and without leap seconds, whose finer parts are cut.
type Time int64

const timeLayout = "2006-01-02T15:04:05.000Z"

// TimeOf cuts t to milliseconds.
func TimeOf(t time.Time) Time { return Time(t.UnixMilli()) }

// ParseTime reads an RFC 3339 time.
func ParseTime(s string) (Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if year := t.UTC().Year(); err != nil || !isRFC3339(s) || year < 0 || year > 9999 {
		return 0, fmt.Errorf("%q is not a time as RFC 3339 writes it, such as 2026-11-24T07:33:49Z", brief(s))
	}
	return TimeOf(t), nil
}

// isRFC3339 refuses what time.Parse takes beyond RFC 3339: hours of one digit,
// fractions after a comma, and zones that are no time of day
// (https://go.dev/issue/54580).
func isRFC3339(s string) bool {
	date, clock, _ := strings.Cut(s, "T")
	zone := clock[max(0, len(clock)-len("+00:00")):]
	return len(date) == len("2026-11-24") && strings.IndexByte(clock, ':') == 2 && !strings.Contains(clock, ",") &&
		(strings.HasSuffix(zone, "Z") || zone[1:] <= "23:59" && zone[4:] <= "59")
}

// Std returns t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.UnixMilli(int64(t)).UTC() }

// IsZero reports whether t is not set.
func (t Time) IsZero() bool { return t == 0 }

func (t Time) String() string { return string(t.append(nil)) }

func (t Time) append(dst []byte) []byte { return t.Std().AppendFormat(dst, timeLayout) }

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return t.append(nil), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := ParseTime(string(text))
	if err == nil {
		*t = parsed
	}
	return err
}
