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

// append writes what AppendFormat would, in a third of its time: each decision
// writes its own time several times.
func (t Time) append(dst []byte) []byte {
	std := t.Std()
	year, month, day := std.Date()
	if year < 0 || year > 9999 {
		return std.AppendFormat(dst, timeLayout)
	}
	hour, minute, second := std.Clock()
	dst = append(dst, timeLayout...)
	text := dst[len(dst)-len(timeLayout):]
	putDigits(text[0:4], year)
	putDigits(text[5:7], int(month))
	putDigits(text[8:10], day)
	putDigits(text[11:13], hour)
	putDigits(text[14:16], minute)
	putDigits(text[17:19], second)
	putDigits(text[20:23], std.Nanosecond()/int(time.Millisecond))
	return dst
}

// putDigits writes the last digits of n over all of text.
func putDigits(text []byte, n int) {
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = byte('0' + n%10)
		n /= 10
	}
}

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
