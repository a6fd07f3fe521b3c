// Package policy turns folders of Cedar policies into something that can
// decide, and can say what it read and why it decided so.
//
// A [Bundle] is a folder of policies with its metadata, schema and tests,
// checked as a whole. A [Set] is the policies of all active bundles behind an
// index; [Set.Authorize] and [Set.Gates] evaluate them. A [ReadSet] says which
// attributes an evaluation can read, a [Recorder] which entities it did read,
// and [Explain] why a policy held or failed, clause by clause.
//
// The package is pure: no clock, no randomness, no I/O (but [LoadDir]), and no
// output that depends on the order of a map. It is also the only package that
// may import cedar-go's x/exp packages, which promise no compatibility.
package policy

import (
	"fmt"
	"slices"
	"strings"
)

// EngineVersion names the engine that evaluates policies. It stands in every
// decision record, since cedar-go's diagnostics have changed between minor
// versions.
const EngineVersion = "cedar-go/v1.9.0"

// Limits on what a bundle may hold. They bound the work of loading and the
// depth of the recursion over syntax trees.
const (
	MaxFiles       = 1000    // files in a bundle
	MaxFileBytes   = 1 << 20 // bytes in one file
	MaxBundleBytes = 4 << 20 // bytes in all files together
	MaxPolicies    = 10_000  // policies in a bundle
	MaxNesting     = 100     // open brackets at any place in Cedar text, and attributes in a row
	MaxDepth       = 1000    // height of a policy's syntax tree
)

// An Error is one problem with a bundle, and where it is.
type Error struct {
	File    string // name within the bundle, with slashes
	Line    int    // from 1; 0 if the problem is with the file as a whole
	Column  int    // from 1, in characters; 0 if only the line is known
	Message string // one plain sentence without a full stop
}

// Error gives "file:line:column: message", without what is not known.
func (e Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
		if e.Line > 0 {
			fmt.Fprintf(&b, "%d:", e.Line)
			if e.Column > 0 {
				fmt.Fprintf(&b, "%d:", e.Column)
			}
		}
		b.WriteByte(' ')
	}
	b.WriteString(e.Message)
	return b.String()
}

// Errors are all the problems of a bundle, by file and position.
type Errors []Error

// Error gives one problem a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// maxErrors bounds how many problems are listed; nobody mends more at a time.
const maxErrors = 500

func (es *Errors) add(file string, line, column int, format string, args ...any) {
	switch {
	case len(*es) > maxErrors:
		return
	case len(*es) == maxErrors:
		*es = append(*es, Error{Message: "there are more problems, which are not listed"})
		return
	}
	*es = append(*es, Error{File: file, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// orNil sorts the problems and drops repeated ones. It gives an untyped nil if
// there are none, so that the result can be returned as an error.
func (es Errors) orNil() error {
	if len(es) == 0 {
		return nil
	}
	slices.SortFunc(es, func(a, b Error) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		if a.Column != b.Column {
			return a.Column - b.Column
		}
		return strings.Compare(a.Message, b.Message)
	})
	return slices.Compact(es)
}
