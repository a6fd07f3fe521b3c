package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aver-authz/aver/bench/proc"
)

// Search is what finding decisions costs.
type Search struct {
	Command string       `json:"command"`
	Version string       `json:"version"`
	Time    time.Time    `json:"time"`
	Machine proc.Machine `json:"machine"`

	Records   int           `json:"records"`
	Rebuild   float64       `json:"rebuild_entries_per_second"` // reading and parsing the log included
	PerRecord float64       `json:"index_bytes_per_record"`
	Log       float64       `json:"log_bytes_per_record"` // segments and tiles
	Queries   []SearchQuery `json:"queries"`
	P95       float64       `json:"p95_us"` // of all runs of all queries of pages of 100
	Lag       SearchLag     `json:"lag"`
}

// SearchQuery is how long one query took.
type SearchQuery struct {
	Query string  `json:"query"`
	Count bool    `json:"count,omitempty"` // by day; not in P95 of the report
	Found int     `json:"found"`           // on the page, or counted
	First float64 `json:"first_us"`        // with nothing in the cache of the process
	P50   float64 `json:"p50_us"`
	P95   float64 `json:"p95_us"`
}

// SearchLag is how far the index is behind while decisions are recorded at a rate, and what it does to them.
type SearchLag struct {
	Rate    int     `json:"records_per_second"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_ms"`
	P95     float64 `json:"p95_ms"`
	Max     float64 `json:"max_ms"`
	Commit  float64 `json:"commit_p99_us"`               // from append to durable, with the index
	Without float64 `json:"commit_p99_without_index_us"` // and without
}

// Markdown writes the section for people.
func (s *Search) Markdown(w io.Writer) {
	heading(w, s.Command, s.Version, s.Time, s.Machine)
	fmt.Fprintf(w, "| query of %s records | found | first | p50 | p95 |\n|---|--:|--:|--:|--:|\n", thousands(float64(s.Records)))
	for _, q := range s.Queries {
		what := "`" + q.Query + "`"
		if q.Count {
			what = "count by day of " + what
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", strings.ReplaceAll(what, "|", `\|`), thousands(float64(q.Found)), micros(q.First), micros(q.P50), micros(q.P95))
	}
	fmt.Fprintf(w, "\nThe searches are for pages of 100; over all of their runs p95 is %s. The index takes %s bytes a record (the log %s),\n",
		micros(s.P95), thousands(s.PerRecord), thousands(s.Log))
	fmt.Fprintf(w, "and is made anew at %s entries/s. While %s records/s are written, a record can be searched after %s ms (p50; p95 %s ms, at most\n",
		thousands(s.Rebuild), thousands(float64(s.Lag.Rate)), thousands(s.Lag.P50), thousands(s.Lag.P95))
	fmt.Fprintf(w, "%s ms), and is durable within %s (p99; %s without the index).\n", thousands(s.Lag.Max), micros(s.Lag.Commit), micros(s.Lag.Without))
}
