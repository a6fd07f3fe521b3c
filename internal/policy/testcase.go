package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Outcomes are what a test may expect, by design the outcomes of a decision.
var Outcomes = []string{"permitted", "denied", "challenged", "escalated", "partially_authorized", "restricted"}

// A TestCase is one case of a bundle's tests/*.yaml: a request, what is known
// besides, and the outcome expected. Whoever can decide runs it; here it is
// only read. Raw members hold JSON, nil where the case says nothing.
type TestCase struct {
	File         string // name within the bundle
	Line, Column int    // where the case begins, from 1
	Name         string
	Now          time.Time       // when the request is made; zero if not given
	Request      json.RawMessage // an AuthZEN evaluation request
	Entities     json.RawMessage // a list
	Identities   json.RawMessage // a list
	Grants       json.RawMessage // a list
	Signals      json.RawMessage // a list
	Outcome      string          // one of Outcomes
	Reasons      []string        // ids of policies that must be among the reasons; nil if not checked
}

func parseTests(b *Bundle, file string, content []byte, errs *Errors) []TestCase {
	root := parseYAML(file, content, errs)
	if root == nil {
		return nil
	}
	y := yamlReader{file: file, errs: errs}
	if root.Kind != yaml.SequenceNode {
		y.fail(root, "expected a list of test cases")
		return nil
	}
	var out []TestCase
	names := map[string]bool{}
	for _, n := range root.Content {
		tc := TestCase{File: file, Line: n.Line, Column: n.Column}
		y.object(n, map[string]func(*yaml.Node){
			"name":       func(n *yaml.Node) { tc.Name = y.text(n) },
			"now":        func(n *yaml.Node) { tc.Now = y.time(n) },
			"request":    func(n *yaml.Node) { tc.Request = y.json(n, yaml.MappingNode, "an AuthZEN request") },
			"entities":   func(n *yaml.Node) { tc.Entities = y.json(n, yaml.SequenceNode, "a list of entities") },
			"identities": func(n *yaml.Node) { tc.Identities = y.json(n, yaml.SequenceNode, "a list of identities") },
			"grants":     func(n *yaml.Node) { tc.Grants = y.json(n, yaml.SequenceNode, "a list of grants") },
			"signals":    func(n *yaml.Node) { tc.Signals = y.json(n, yaml.SequenceNode, "a list of signals") },
			"expect":     func(n *yaml.Node) { y.expectation(b, n, &tc) },
		})
		if n.Kind == yaml.MappingNode {
			switch {
			case tc.Name == "":
				y.fail(n, "the test case needs a name")
			case names[tc.Name]:
				y.fail(n, "a test case named %q is in this file already", tc.Name)
			case tc.Request == nil:
				y.fail(n, "the test case %q needs a request", tc.Name)
			case tc.Outcome == "":
				y.fail(n, "the test case %q needs expect: outcome", tc.Name)
			}
			names[tc.Name] = true
		}
		out = append(out, tc)
	}
	return out
}

func (y yamlReader) expectation(b *Bundle, n *yaml.Node, tc *TestCase) {
	y.object(n, map[string]func(*yaml.Node){
		"outcome": func(n *yaml.Node) {
			tc.Outcome = y.text(n)
			if !slices.Contains(Outcomes, tc.Outcome) {
				y.fail(n, "the outcome %q is not one of %s", tc.Outcome, strings.Join(Outcomes, ", "))
			}
		},
		"reasons": func(n *yaml.Node) {
			tc.Reasons = y.texts(n)
			for i, id := range tc.Reasons {
				// An id without a bundle is one of this bundle.
				if !strings.Contains(id, "/") {
					id = b.name + "/" + id
					tc.Reasons[i] = id
				}
				own := strings.HasPrefix(id, b.name+"/")
				if own && !slices.ContainsFunc(b.rules, func(r *Rule) bool { return r.ID == id }) {
					y.fail(n, "no policy of this bundle has the id %q", id)
				}
			}
		},
	})
}

func (y yamlReader) time(n *yaml.Node) time.Time {
	t, err := time.Parse(time.RFC3339, y.text(n))
	if err != nil {
		y.fail(n, "expected a time such as 2026-11-24T09:00:00Z")
	}
	return t
}

// json turns YAML into the JSON that it stands for.
func (y yamlReader) json(n *yaml.Node, kind yaml.Kind, what string) json.RawMessage {
	if n.Kind != kind {
		y.fail(n, "expected %s", what)
		return nil
	}
	var out bytes.Buffer
	y.writeJSON(&out, n)
	if !json.Valid(out.Bytes()) {
		return nil // reported by writeJSON
	}
	return out.Bytes()
}

func (y yamlReader) writeJSON(out *bytes.Buffer, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		out.WriteByte('{')
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || seen[key.Value] {
				y.fail(key, "the key %q is not text, or is given twice", key.Value)
			}
			seen[key.Value] = true
			if i > 0 {
				out.WriteByte(',')
			}
			writeString(out, key.Value)
			out.WriteByte(':')
			y.writeJSON(out, n.Content[i+1])
		}
		out.WriteByte('}')
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			y.writeJSON(out, c)
		}
		out.WriteByte(']')
	default:
		y.writeScalar(out, n)
	}
}

func (y yamlReader) writeScalar(out *bytes.Buffer, n *yaml.Node) {
	switch n.ShortTag() {
	case "!!null":
		out.WriteString("null")
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			y.fail(n, "%v", err)
			out.WriteString("null")
			return
		}
		text, err := json.Marshal(v)
		if err != nil {
			y.fail(n, "%v is no JSON value", v)
			text = []byte("null")
		}
		out.Write(text)
	default: // text, and times as they are written
		writeString(out, n.Value)
	}
}

func writeString(out *bytes.Buffer, s string) {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(fmt.Sprintf("policy: encode a string: %v", err)) // cannot happen
	}
	out.Truncate(out.Len() - 1) // the newline
}
