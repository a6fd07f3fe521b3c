package gaps

import (
	"fmt"
	"strings"

	"github.com/aver-authz/aver"
)

// valueAt returns the text of the value at a path of a request, such as
// context.workload.id. It is false where there is none, or no text: an object
// counts if it names an entity.
func valueAt(req *aver.Request, path string) (string, bool) {
	v, ok := anyAt(req, path)
	if !ok {
		return "", false
	}
	switch v := v.(type) {
	case string:
		return v, v != ""
	case int64, bool:
		return fmt.Sprint(v), true
	case map[string]any:
		if inner, ok := v["__entity"].(map[string]any); ok {
			v = inner
		}
		typ, ok1 := v["type"].(string)
		id, ok2 := v["id"].(string)
		return aver.Ref{Type: typ, ID: id}.String(), ok1 && ok2
	}
	return "", false
}

// textsAt returns the texts at a path: a list of them, or one.
func textsAt(req *aver.Request, path string) []string {
	v, _ := anyAt(req, path)
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, item := range v {
			if text, ok := item.(string); ok {
				out = append(out, text)
			}
		}
		return out
	}
	return nil
}

func anyAt(req *aver.Request, path string) (any, bool) {
	root, rest, _ := strings.Cut(path, ".")
	var at map[string]any
	switch root {
	case "context":
		at = req.Context
	case "subject":
		at = req.Subject.Properties
	case "resource":
		at = req.Resource.Properties
	case "action":
		at = req.Action.Properties
	}
	for {
		name, more, deeper := strings.Cut(rest, ".")
		v, ok := at[name]
		if !ok || v == nil {
			return nil, false
		}
		if !deeper {
			return v, true
		}
		if at, ok = v.(map[string]any); !ok {
			return nil, false
		}
		rest = more
	}
}

// firstAt returns the text at the first of the paths that has one.
func firstAt(req *aver.Request, paths []string) (string, bool) {
	for _, p := range paths {
		if text, ok := valueAt(req, p); ok {
			return text, true
		}
	}
	return "", false
}
