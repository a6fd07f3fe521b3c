package aver

import (
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendCanonical appends the canonical form (RFC 8785, JCS) of a value that is
// made of map[string]any, []any, string, bool, nil, int, int64 and uint64.
// It panics on any other type, which is a mistake of the program.
func AppendCanonical(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case string:
		return AppendString(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendCanonical(dst, e)
		}
		return append(dst, ']')
	case map[string]any:
		var few [16]string
		dst = append(dst, '{')
		for i, name := range AppendMemberNames(few[:0], v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, name)
			dst = append(dst, ':')
			dst = AppendCanonical(dst, v[name])
		}
		return append(dst, '}')
	}
	panic(fmt.Sprintf("aver: %T has no canonical JSON form here", v))
}

// MemberNames returns the member names of an object in canonical order, that of
// their UTF-16 code units (RFC 8785, section 3.2.3).
func MemberNames(object map[string]any) []string {
	return AppendMemberNames(make([]string, 0, len(object)), object)
}

// AppendMemberNames is [MemberNames] with room for them: names is empty.
func AppendMemberNames(names []string, object map[string]any) []string {
	for name := range object {
		names = append(names, name)
	}
	if len(names) > 1 {
		slices.SortFunc(names, compareUTF16)
	}
	return names
}

// compareUTF16 orders as UTF-16 code units would. That differs from the order
// of bytes only where a surrogate pair (U+10000 and up) meets U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		if a[0] < utf8.RuneSelf && b[0] < utf8.RuneSelf {
			if a[0] != b[0] {
				return int(a[0]) - int(b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
		if ra != rb {
			if ra >= 0x10000 != (rb >= 0x10000) {
				ra, rb = firstUnit(ra), firstUnit(rb)
			}
			return int(ra) - int(rb)
		}
		a, b = a[na:], b[nb:]
	}
	return len(a) - len(b)
}

func firstUnit(r rune) rune {
	if r >= 0x10000 {
		r, _ = utf16.EncodeRune(r)
	}
	return r
}

// AppendString appends s as a JSON string in canonical form (RFC 8785, section
// 3.2.2.2). Invalid UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0
	for i := plainPrefix(s); i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[plain:i]...), "\uFFFD"...)
				plain = i + 1
			}
			if i += n; i < len(s) && s[i] < utf8.RuneSelf {
				i += plainPrefix(s[i:])
			}
			continue
		}
		dst = append(dst, s[plain:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[c>>4], hex[c&15])
		}
		i++
		plain = i
		i += plainPrefix(s[i:])
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}

// plainPrefix is how many bytes of s stand in JSON as they are, as far as that
// shows by eights: most strings are plain, and records are made of strings.
func plainPrefix(s string) int {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		b := s[n : n+8]
		w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		// In ASCII, subtracting sets the highest bit of the bytes that are less.
		if control, quote, backslash := w-' '*each, w^'"'*each-each, w^'\\'*each-each; (w|control|quote|backslash)&highest != 0 {
			break
		}
	}
	return n
}
