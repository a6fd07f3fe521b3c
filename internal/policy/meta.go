package policy

import (
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"time"

	"bytes"

	"go.yaml.in/yaml/v3"
)

// Meta is what a bundle says about itself in bundle.yaml. Every field may be
// missing.
type Meta struct {
	Name        string   // the bundle's name; its folder's if not given
	Description string   // for readers
	Owner       string   // who answers for these policies
	Review      string   // the date of the next review, YYYY-MM-DD
	Controls    []string // the controls of the organisation that these policies implement
	Retain      []Path   // attributes that records keep even if no policy reads them
	Sensitive   []Path   // attributes that records hold as salted digests only
	Exceptions  []ExceptionRule
}

// An ExceptionRule enables a kind of exceptions: none is allowed without.
type ExceptionRule struct {
	Kind         string   `json:"kind"`                    // break_glass, override or temporary_access
	Max          int64    `json:"max"`                     // seconds that one may last, at most
	Approvers    []string `json:"approvers"`               // names, as in @approvers
	Reviewers    []string `json:"reviewers"`               // who review it afterwards
	ReviewWithin int64    `json:"review_within"`           // seconds after its end
	BlockOverdue bool     `json:"block_overdue,omitempty"` // an overdue review blocks further exceptions
}

func (m Meta) clone() Meta {
	m.Controls = slices.Clone(m.Controls)
	m.Retain = slices.Clone(m.Retain)
	m.Sensitive = slices.Clone(m.Sensitive)
	m.Exceptions = slices.Clone(m.Exceptions)
	return m
}

func parseMeta(content []byte, errs *Errors) Meta {
	var m Meta
	root := parseYAML(metaFile, content, errs)
	if root == nil {
		return m
	}
	y := yamlReader{file: metaFile, errs: errs}
	y.object(root, map[string]func(*yaml.Node){
		"name":        func(n *yaml.Node) { m.Name = y.text(n) },
		"description": func(n *yaml.Node) { m.Description = y.text(n) },
		"owner":       func(n *yaml.Node) { m.Owner = y.text(n) },
		"review": func(n *yaml.Node) {
			m.Review = y.text(n)
			if _, err := time.Parse(time.DateOnly, m.Review); err != nil {
				y.fail(n, "review is a date such as 2027-01-31")
			}
		},
		"controls":  func(n *yaml.Node) { m.Controls = y.texts(n) },
		"retain":    func(n *yaml.Node) { m.Retain = y.paths(n) },
		"sensitive": func(n *yaml.Node) { m.Sensitive = y.paths(n) },
		"exceptions": func(n *yaml.Node) {
			if n.Kind != yaml.SequenceNode {
				y.fail(n, "expected a list of kinds of exceptions")
				return
			}
			for _, c := range n.Content {
				m.Exceptions = append(m.Exceptions, y.exception(c))
			}
		},
	})
	return m
}

// exception reads what enables a kind of exceptions. All of it has to be said.
func (y yamlReader) exception(n *yaml.Node) ExceptionRule {
	var r ExceptionRule
	seconds := func(to *int64) func(*yaml.Node) {
		return func(n *yaml.Node) {
			d, err := time.ParseDuration(y.text(n))
			if err != nil || d < time.Second {
				y.fail(n, "expected a duration such as 4h, of a second or more")
			}
			*to = int64(d.Seconds())
		}
	}
	y.object(n, map[string]func(*yaml.Node){
		"kind": func(n *yaml.Node) {
			if r.Kind = y.text(n); !slices.Contains([]string{"break_glass", "override", "temporary_access"}, r.Kind) {
				y.fail(n, "the kind is break_glass, override or temporary_access")
			}
		},
		"max":           seconds(&r.Max),
		"approvers":     func(n *yaml.Node) { r.Approvers = y.texts(n) },
		"reviewers":     func(n *yaml.Node) { r.Reviewers = y.texts(n) },
		"review_within": seconds(&r.ReviewWithin),
		"block_overdue": func(n *yaml.Node) {
			if text := y.text(n); text != "true" && text != "false" {
				y.fail(n, "block_overdue is true or false")
			}
			r.BlockOverdue = n.Value == "true"
		},
	})
	if r.Kind == "" || r.Max == 0 || len(r.Approvers) == 0 || len(r.Reviewers) == 0 || r.ReviewWithin == 0 {
		y.fail(n, "an exception needs kind, max, approvers, reviewers and review_within")
	}
	return r
}

var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\s*)?(?:line (\d+): )?`)

// parseYAML gives the root of the only document in content, or nil if it is
// empty or (reported) wrong. Anchors and aliases are refused: nothing in a
// bundle needs them, and they can make small files huge.
func parseYAML(file string, content []byte, errs *Errors) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if err = dec.Decode(new(yaml.Node)); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			errs.add(file, 0, 0, "the file holds more than one YAML document: keep one")
			return nil
		}
	}
	if err != nil {
		msg := err.Error()
		m := yamlLine.FindStringSubmatch(msg)
		line := 0
		if m != nil {
			msg = msg[len(m[0]):]
			line, _ = strconv.Atoi(m[1])
		}
		errs.add(file, line, 0, "%s", msg)
		return nil
	}
	if len(doc.Content) == 0 {
		return nil
	}
	root := doc.Content[0]
	if bad := findAlias(root, 0); bad != nil {
		errs.add(file, bad.Line, bad.Column, "YAML anchors, aliases and very deep nesting are not allowed here: write the value out")
		return nil
	}
	return root
}

func findAlias(n *yaml.Node, depth int) *yaml.Node {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || depth > MaxNesting {
		return n
	}
	for _, c := range n.Content {
		if bad := findAlias(c, depth+1); bad != nil {
			return bad
		}
	}
	return nil
}

// A yamlReader reads values and reports what is wrong where it stands.
type yamlReader struct {
	file string
	errs *Errors
}

func (y yamlReader) fail(n *yaml.Node, format string, args ...any) {
	y.errs.add(y.file, n.Line, n.Column, format, args...)
}

// object calls the reader of each member, in their order in the file.
func (y yamlReader) object(n *yaml.Node, members map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		y.fail(n, "expected a mapping of keys to values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := members[key.Value]
		switch {
		case !ok:
			y.fail(key, "unknown key %q", key.Value)
		case seen[key.Value]:
			y.fail(key, "the key %q is given twice", key.Value)
		default:
			seen[key.Value] = true
			read(value)
		}
	}
}

func (y yamlReader) text(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		y.fail(n, "expected text")
		return ""
	}
	return n.Value
}

func (y yamlReader) texts(n *yaml.Node) []string {
	if n.Kind != yaml.SequenceNode {
		y.fail(n, "expected a list")
		return nil
	}
	out := make([]string, 0, len(n.Content))
	for _, c := range n.Content {
		out = append(out, y.text(c))
	}
	return out
}

func (y yamlReader) paths(n *yaml.Node) []Path {
	if n.Kind != yaml.SequenceNode {
		y.fail(n, "expected a list of attribute paths such as resource.amount")
		return nil
	}
	var out []Path
	for _, c := range n.Content {
		p, err := ParsePath(y.text(c))
		if err != nil {
			y.fail(c, "%v", err)
			continue
		}
		out = append(out, p)
	}
	return out
}
