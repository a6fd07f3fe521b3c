// Package export hands evidence over in the forms that other tools read: OCSF events for SIEMs, CSV and XLSX for GRC
// tools, Parquet for data lakes, OSCAL assessment results. docs/exports.md describes each column and member.
//
// An export is a copy: what proves something are the logs. So every row names the entry that it comes from, with its
// leaf hash and the SHA-256 of its payload. Values that policies classify as sensitive stay digests unless they are
// asked for (D3).
package export

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
)

// Format is a form of export.
type Format string

// The formats.
const (
	OCSF    Format = "ocsf"    // OCSF 1.8 events, a JSON line each
	CSV     Format = "csv"     // RFC 4180, UTF-8, with a header
	XLSX    Format = "xlsx"    // Office Open XML
	Parquet Format = "parquet" // zstd
	OSCAL   Format = "oscal"   // OSCAL 1.1.2 assessment results, JSON
)

// Formats lists all formats.
func Formats() []Format { return []Format{OCSF, CSV, XLSX, Parquet, OSCAL} }

// Table is what one file of an export holds.
type Table string

// The tables.
const (
	Decisions  Table = "decisions"  // records of decisions; with OCSF, activities between them
	Activities Table = "activities" // what PEPs reported
	Events     Table = "events"     // of the authority log
	Findings   Table = "findings"   // control gaps
	Results    Table = "results"    // an assessment over entries of the decision log
)

// Tables lists what a format can hold.
func (f Format) Tables() []Table {
	switch f {
	case OCSF:
		return []Table{Decisions, Events, Findings}
	case CSV, XLSX, Parquet:
		return []Table{Decisions, Activities, Events}
	case OSCAL:
		return []Table{Results}
	}
	return nil
}

// MediaType is the format's.
func (f Format) MediaType() string {
	switch f {
	case OCSF:
		return "application/x-ndjson"
	case CSV:
		return "text/csv; charset=utf-8; header=present"
	case XLSX:
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case Parquet:
		return "application/vnd.apache.parquet"
	}
	return "application/json"
}

// Suffix ends the name of a file, with its full stop.
func (f Format) Suffix() string {
	switch f {
	case OCSF:
		return ".ndjson"
	case OSCAL:
		return ".json"
	}
	return "." + string(f)
}

// Parse reads a format and a table of it; "" for the table is its first.
func Parse(format, table string) (Format, Table, error) {
	f := Format(format)
	if !slices.Contains(Formats(), f) {
		return "", "", fmt.Errorf("%q is no format of exports; choose one of %q", format, Formats())
	}
	if table == "" {
		return f, f.Tables()[0], nil
	}
	if !slices.Contains(f.Tables(), Table(table)) {
		return "", "", fmt.Errorf("the format %s has no table %q; choose one of %q", f, table, f.Tables())
	}
	return f, Table(table), nil
}

// Log is one of the logs, open for writing or for reading only.
type Log interface {
	Origin() string
	Head() (size uint64, root tlog.Hash)
	Entries(from, to uint64) iter.Seq2[ledger.Indexed, error]
	TreeHash(size uint64) (tlog.Hash, error)
}

// Source is what is exported.
type Source struct {
	Decisions, Authority Log
	// State is the authority's state as of now; for OSCAL.
	State func() (*authority.State, error)
	// Findings are the control gaps as of now; nil: nobody looked for any.
	Findings func(ctx context.Context) ([]aver.GapFinding, error)
	Disclose bool      // sensitive values that are still there, too
	Version  string    // of the program
	Now      aver.Time // stands in what is written
}

// log is the log that a table comes from.
func (s *Source) log(t Table) Log {
	if t == Events {
		return s.Authority
	}
	return s.Decisions
}

// Write writes the entries [from, end) of the table's log, and returns how many rows they gave. Findings are those of now,
// whatever the range.
func (s *Source) Write(ctx context.Context, w io.Writer, f Format, t Table, from, end uint64) (rows int, err error) {
	switch {
	case f == OCSF:
		return s.writeOCSF(ctx, w, t, from, end)
	case f == OSCAL:
		return 1, s.writeOSCAL(ctx, w, from, end)
	case t == Decisions:
		return writeTable(ctx, w, f, s.Decisions.Entries(from, end), s.decisionRow)
	case t == Activities:
		return writeTable(ctx, w, f, s.Decisions.Entries(from, end), s.activityRow)
	case t == Events:
		return writeTable(ctx, w, f, s.Authority.Entries(from, end), eventRow)
	}
	return 0, fmt.Errorf("the format %s has no table %s", f, t)
}
