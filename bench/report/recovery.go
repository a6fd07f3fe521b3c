package report

import (
	"fmt"
	"io"
	"time"

	"github.com/aver-authz/aver/bench/proc"
)

// Recovery is how long starts took with many records.
type Recovery struct {
	Command   string       `json:"command"`
	Version   string       `json:"version"`
	Time      time.Time    `json:"time"`
	Machine   proc.Machine `json:"machine"`
	Starts    []Start      `json:"starts"`
	Decisions uint64       `json:"decisions"` // in the log at the end
	Verify    float64      `json:"verify_records_per_second"`
	Replay    float64      `json:"replay_decisions_per_second"`
}

// Start is one start of the server.
type Start struct {
	What    string  `json:"what"`
	Seconds float64 `json:"seconds"` // from starting the program until it was ready to decide
	PeakRSS int64   `json:"peak_rss_bytes"`
}

// Markdown writes the result for people.
func (r *Recovery) Markdown(w io.Writer) {
	heading(w, r.Command, r.Version, r.Time, r.Machine)
	t := table{{"start", "ready to decide after", "peak memory until then"}}
	for _, s := range r.Starts {
		t = append(t, []string{s.What, micros(s.Seconds * 1e6), megabytes(s.PeakRSS)})
	}
	t.write(w)
	fmt.Fprintf(w, "At the end the log held %s decisions; `aver verify` found nothing wrong (%s records/s) and `aver replay` decided all of them again with the same result (%s decisions/s).\n\n",
		thousands(float64(r.Decisions)), thousands(r.Verify), thousands(r.Replay))
}

func heading(w io.Writer, command, version string, at time.Time, m proc.Machine) {
	fmt.Fprintf(w, "Made by `%s` on %s, at %s.\n\nMachine: %s.\n\n", command, at.UTC().Format("2006-01-02 15:04 UTC"), version, m)
}
