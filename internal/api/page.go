package api

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"sort"
	"strconv"

	"github.com/aver-authz/aver"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

func badParameter(name, format string, args ...any) error {
	return &problem{Slug: "invalid-request", Status: http.StatusBadRequest, Detail: "?" + name + ": " + fmt.Sprintf(format, args...)}
}

// limit is how many entries of a list the caller wants.
func (c *call) limit() (int, error) {
	n, err := c.number("limit", defaultLimit)
	if err != nil || n < 1 || n > maxLimit {
		return 0, badParameter("limit", "a number from 1 to %d", maxLimit)
	}
	return int(n), nil
}

// number is a parameter that is an index or a size.
func (c *call) number(name string, missing uint64) (uint64, error) {
	text := c.URL.Query().Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseUint(text, 10, 62)
	if err != nil {
		return 0, badParameter(name, "%q is not a whole number of 0 or more", text)
	}
	return n, nil
}

// page cuts a list, which is sorted by key, to what ?limit= and ?after= ask for. next is what to send as ?after= for the
// following page, "" at the end. It holds a key, not a position, so entries that come and go meanwhile do no harm.
func page[T any](c *call, list []T, key func(T) string) (items []T, next string, err error) {
	limit, err := c.limit()
	if err != nil {
		return nil, "", err
	}
	from := 0
	if text := c.URL.Query().Get("after"); text != "" {
		after, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return nil, "", badParameter("after", "send what the page before gave as next")
		}
		from = sort.Search(len(list), func(i int) bool { return key(list[i]) > string(after) })
	}
	to := min(from+limit, len(list))
	if to < len(list) {
		next = base64.RawURLEncoding.EncodeToString([]byte(key(list[to-1])))
	}
	return list[from:to], next, nil
}

// writePage answers with a page of a list under a name.
func writePage[T, R any](c *call, name string, list []T, key func(T) string, render func(T) R) error {
	items, next, err := page(c, list, key)
	if err != nil {
		return err
	}
	rendered := make([]R, len(items))
	for i, item := range items {
		rendered[i] = render(item)
	}
	return c.writeList(name, rendered, next)
}

func (c *call) writeList(name string, items any, next string) error {
	answer := map[string]any{name: items}
	if next != "" {
		answer["next"] = next
	}
	return c.writeJSON(http.StatusOK, answer)
}

// refKey orders as the lists of the authority are ordered: a type holds no character below a letter but the digits and
// the colon.
func refKey(r aver.Ref) string { return r.Type + "\x00" + r.ID }

// indexKey orders by the index of an event, or another number.
func indexKey(n uint64) string { return fmt.Sprintf("%020d", n) }

func same[T any](v T) T { return v }
