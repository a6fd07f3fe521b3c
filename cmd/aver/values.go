package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/aver-authz/aver"
)

// parseRef reads type:id. A type may have Cedar's double colons ("App::User:ann"), an id anything.
func parseRef(text string) (aver.Ref, error) {
	for i := 0; i < len(text); i++ {
		if text[i] != ':' {
			continue
		}
		if i+1 < len(text) && text[i+1] == ':' {
			i++
			continue
		}
		if i == 0 || i == len(text)-1 {
			break
		}
		return aver.Ref{Type: text[:i], ID: text[i+1:]}, nil
	}
	return aver.Ref{}, fmt.Errorf("%q is not of the form type:id, such as user:ann", text)
}

func parseRefs(list []string) ([]aver.Ref, error) {
	var refs []aver.Ref
	for _, text := range list {
		ref, err := parseRef(text)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// refText is the inverse of parseRef.
func refText(r aver.Ref) string { return r.Type + ":" + r.ID }

// parseProperties reads name=value pairs. A value that is JSON is taken as such (amount=100, vip=true), any other as text;
// text that looks like JSON needs quotes of its own (zip='"01234"').
func parseProperties(pairs []string) (map[string]any, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	properties := map[string]any{}
	for _, pair := range pairs {
		name, text, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not of the form name=value", pair)
		}
		if _, ok := properties[name]; ok {
			return nil, fmt.Errorf("the property %q is given twice", name)
		}
		if !json.Valid([]byte(text)) {
			properties[name] = text
			continue
		}
		value, err := aver.ParseJSON([]byte(text), aver.Limits{})
		if err != nil {
			return nil, fmt.Errorf("property %q: %w", name, err)
		}
		properties[name] = value
	}
	return properties, nil
}

// parseWhen reads a time as RFC 3339, or as a time from now on ("90m", "24h"). "" is never.
func parseWhen(text string) (aver.Time, error) {
	if text == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		if d <= 0 {
			return 0, fmt.Errorf("%q is not a time in the future", text)
		}
		return aver.TimeOf(time.Now().Add(d)), nil
	}
	t, err := aver.ParseTime(text)
	if err != nil {
		return 0, fmt.Errorf("%w, or from now on, such as 24h", err)
	}
	return t, nil
}

// maxInput bounds a file of the caller's, in bytes.
const maxInput = 8 << 20

// readInput reads a file, or the standard input for "-".
func (c *cli) readInput(name string) ([]byte, error) {
	var in io.Reader = c.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxInput {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, maxInput)
	}
	return text, nil
}

// readList reads a JSON or YAML file that holds one thing or a list of them. Members that the type does not have are
// refused.
func readList[T any](c *cli, name string) ([]T, error) {
	text, err := c.readInput(name)
	if err != nil {
		return nil, err
	}
	wrong := func(err error) ([]T, error) { return nil, fmt.Errorf("%s: %w", name, err) }
	if begin := bytes.TrimSpace(text); len(begin) == 0 || begin[0] != '{' && begin[0] != '[' {
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			return wrong(err)
		}
		if text, err = json.Marshal(v); err != nil {
			return wrong(errors.New("the names of its members must be text"))
		}
	}
	v, err := aver.ParseJSON(text, aver.Limits{Bytes: 2 * maxInput, Members: 1_000_000})
	if err != nil {
		return wrong(err)
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]T, len(list))
	for i, item := range list {
		d := json.NewDecoder(bytes.NewReader(aver.AppendCanonical(nil, item)))
		d.DisallowUnknownFields()
		if err := d.Decode(&out[i]); err != nil {
			return wrong(fmt.Errorf("item %d: %s", i+1, strings.TrimPrefix(err.Error(), "json: ")))
		}
	}
	return out, nil
}

// timeText is a time for people, "-" if there is none.
func timeText(t aver.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Std().Format("2006-01-02 15:04:05Z")
}

// oneOf completes a flag's value from a list.
func oneOf[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	slices.Sort(out)
	return out
}
