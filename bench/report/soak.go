package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/aver-authz/aver/bench/proc"
)

// Soak is what happened in a long run under mixed load, and what was found afterwards.
type Soak struct {
	Command      string         `json:"command"`
	Version      string         `json:"version"`
	Time         time.Time      `json:"time"`
	Machine      proc.Machine   `json:"machine"`
	Seed         uint64         `json:"seed"`
	OK           bool           `json:"ok"`
	Kills        int            `json:"kills"`
	SlowestStart float64        `json:"slowest_start_seconds"`
	Changes      map[string]int `json:"injected"` // what happened :: how often
	Answers      int            `json:"answers"`
	Missing      int            `json:"missing"`   // answers that do not stand in the log where their receipts say
	Decisions    uint64         `json:"decisions"` // in the log
	Events       uint64         `json:"events"`    // in the authority log
	Samples      []Sample       `json:"samples"`   // one a second
}

// Sample is the server at one moment.
type Sample struct {
	Seconds float64 `json:"seconds"`
	RSS     int64   `json:"rss_bytes"`
	Files   int     `json:"files"`
	Answers uint64  `json:"answers"`
}

// fifths returns the second and the last fifth of the samples: the first is warming up.
func (s *Soak) fifths() (early, late []Sample) {
	n := len(s.Samples) / 5
	return s.Samples[n : 2*n], s.Samples[len(s.Samples)-n:]
}

func highest(samples []Sample) (rss int64, files int) {
	for _, x := range samples {
		rss, files = max(rss, x.RSS), max(files, x.Files)
	}
	return rss, files
}

// The bounds of what still counts as flat. The authority state grows with each change, rightly.
const (
	rssGrowth   = 1.25
	rssSlack    = 48 << 20
	filesGrowth = 8
	// flatAfter is how long a run must be, in seconds, for its memory to say something: what is followed and remembered
	// fills up first, and each kill begins anew.
	flatAfter = 600
)

// Flat is an error if open files, or in a run of ten minutes and more memory, grew from the second fifth to the last.
func (s *Soak) Flat() error {
	early, late := s.fifths()
	if len(early) == 0 {
		return fmt.Errorf("the run was too short to tell whether memory is flat: %d samples", len(s.Samples))
	}
	rss, files := highest(early)
	rssLate, filesLate := highest(late)
	if late[len(late)-1].Seconds >= flatAfter && float64(rssLate) > rssGrowth*float64(rss)+rssSlack {
		return fmt.Errorf("memory grew from %s to %s", megabytes(rss), megabytes(rssLate))
	}
	if filesLate > files+filesGrowth {
		return fmt.Errorf("open files grew from %d to %d", files, filesLate)
	}
	return nil
}

// Markdown writes the result for people.
func (s *Soak) Markdown(w io.Writer) {
	heading(w, s.Command, s.Version, s.Time, s.Machine)
	t := table{{"what was done to it", "how often"}, {"kill -9, each followed by a start", thousands(float64(s.Kills))}}
	for _, what := range slices.Sorted(maps.Keys(s.Changes)) {
		t = append(t, []string{what, thousands(float64(s.Changes[what]))})
	}
	t.write(w)
	early, late := s.fifths()
	rss, files := highest(early)
	rssLate, filesLate := highest(late)
	verdict := "Nothing was wrong: both logs verify and every decision replays to a match."
	if !s.OK {
		verdict = "SOMETHING WAS WRONG."
	}
	fmt.Fprintf(w, "%s Of %s answers that were received, %s do not stand in the log, once, where their receipts say. "+
		"The log holds %s decisions, the authority log %s events. Memory was at most %s in the second fifth of the run and %s in the last; "+
		"open files %d and %d. The slowest start took %s. Seed %d.\n\n",
		verdict, thousands(float64(s.Answers)), thousands(float64(s.Missing)), thousands(float64(s.Decisions)), thousands(float64(s.Events)),
		megabytes(rss), megabytes(rssLate), files, filesLate, micros(s.SlowestStart*1e6), s.Seed)
}
