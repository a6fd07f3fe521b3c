package report

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// thousands writes a number with separators; small ones get a decimal.
func thousands(v float64) string {
	if math.Abs(v) < 10 && v != math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	text := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	var b strings.Builder
	if v < 0 {
		b.WriteByte('-')
	}
	for i, r := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// micros writes a time that is given in microseconds.
func micros(us float64) string {
	switch {
	case us < 10:
		return strconv.FormatFloat(us, 'f', 1, 64) + " us"
	case us < 1000:
		return strconv.FormatFloat(us, 'f', 0, 64) + " us"
	case us < 1e6:
		return strconv.FormatFloat(us/1e3, 'f', 2, 64) + " ms"
	}
	return strconv.FormatFloat(us/1e6, 'f', 2, 64) + " s"
}

func megabytes(bytes int64) string { return thousands(math.Round(float64(bytes)/1e6)) + " MB" }

func ratio(v float64) string {
	if v >= 100 {
		return thousands(v) + " x"
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + " x"
}

func duration(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}
