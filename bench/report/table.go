package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is rows of cells; the first row is the head.
type table [][]string

// write writes a Markdown table whose columns stand under each other, so that it can be read as it is.
func (t table) write(w io.Writer) {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range t {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				fmt.Fprintf(w, "| %s%s ", cell, pad)
			} else {
				fmt.Fprintf(w, "| %s%s ", pad, cell)
			}
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for i, width := range widths {
				if i == 0 {
					fmt.Fprintf(w, "|:%s", strings.Repeat("-", width+1))
				} else {
					fmt.Fprintf(w, "|%s:", strings.Repeat("-", width+1))
				}
			}
			fmt.Fprintln(w, "|")
		}
	}
	fmt.Fprintln(w)
}

// Markdown writes the report for people. Ratios are to the baseline target, within this one run.
func (r *Report) Markdown(w io.Writer, baseline string) {
	fmt.Fprintf(w, "Made by `%s` on %s, at %s, in %s.\n\n", r.Command, r.Time.UTC().Format("2006-01-02 15:04 UTC"), r.Version, duration(r.Took))
	fmt.Fprintf(w, "Machine: %s. The load generator runs on the same cores. ", r.Machine)
	if r.Rounds > 1 {
		fmt.Fprintf(w, "Each figure is the median of %d rounds, in which the targets took turns.\n\n", r.Rounds)
	} else {
		fmt.Fprint(w, "Each figure was measured once.\n\n")
	}
	for _, line := range slices.Concat(r.Warnings, r.Skipped) {
		fmt.Fprintf(w, "> %s\n\n", line)
	}
	r.figures(w)
	r.targets(w)
	for _, s := range r.scenarios() {
		r.scenario(w, s, baseline)
	}
	r.kept(w)
	r.storage(w)
	r.inProcess(w)
}

func (r *Report) figures(w io.Writer) {
	if len(r.Figures) == 0 {
		return
	}
	fmt.Fprint(w, "### Figures that were to be reached\n\n")
	t := table{{"what", "measured", "goal", "reached"}}
	for _, f := range r.Figures {
		bound, reached := "at least ", "no"
		if f.AtMost {
			bound = "at most "
		}
		if f.Reached {
			reached = "yes"
		}
		t = append(t, []string{f.What, withUnit(f.Value, f.Unit), bound + withUnit(f.Goal, f.Unit), reached})
	}
	t.write(w)
}

func withUnit(v float64, unit string) string {
	switch unit {
	case "x":
		return ratio(v)
	case "%":
		return strconv.FormatFloat(v, 'f', 0, 64) + " %"
	case "bytes":
		return thousands(v) + " bytes"
	}
	return thousands(v)
}

func (r *Report) targets(w io.Writer) {
	fmt.Fprint(w, "### What was compared\n\n")
	t := table{{"target", "version", "what becomes of the record of a decision"}}
	for _, x := range r.Targets {
		t = append(t, []string{x.Name, cmpOr(x.Version, "-"), x.Record})
	}
	t.write(w)
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// scenarios lists the scenarios in the order in which they were measured first.
func (r *Report) scenarios() []string {
	var out []string
	for _, run := range r.Runs {
		if !slices.Contains(out, run.Scenario) {
			out = append(out, run.Scenario)
		}
	}
	return out
}

// scenario writes one table: all targets in one scenario.
func (r *Report) scenario(w io.Writer, name, baseline string) {
	var runs []Run
	for _, run := range r.Runs {
		if run.Scenario == name {
			runs = append(runs, run)
		}
	}
	base, hasBase := r.Find(baseline, name)
	fmt.Fprintf(w, "### %s\n\n%s\n\n", name, describe(runs[0]))
	head := []string{"target", "requests/s", "of " + baseline + "'s", "p50", "p99", "p99.9", "CPU/request", "to " + baseline + "'s", "peak memory"}
	if r.Rounds > 1 {
		head = append(head, "lowest-highest rate")
	}
	t := table{head}
	for _, run := range runs {
		rate, cpu := "-", "-"
		if hasBase {
			rate, cpu = ratio(run.RPS/base.RPS), ratio(run.CPU/base.CPU)
		}
		row := []string{run.Target, thousands(run.RPS), rate, micros(run.P50), micros(run.P99), micros(run.P999),
			thousands(run.CPU) + " us", cpu, megabytes(run.PeakRSS)}
		if r.Rounds > 1 {
			row = append(row, thousands(run.RPSMin)+"-"+thousands(run.RPSMax))
		}
		t = append(t, row)
	}
	t.write(w)
	for _, run := range runs {
		if run.Failed > 0 {
			fmt.Fprintf(w, "%s: %s requests got no answer, or a wrong one.\n\n", run.Target, thousands(float64(run.Failed)))
		}
	}
}

func describe(r Run) string {
	what := "One check a request"
	if r.Batch > 1 {
		what = fmt.Sprintf("%d checks a request", r.Batch)
	}
	if r.Delegated {
		what += ", asked by an agent that acts for a person over two grants"
	}
	loop := fmt.Sprintf("closed loop on %d connections", r.Connections)
	if r.OpenRate > 0 {
		loop = fmt.Sprintf("open loop: requests come at a constant rate, on up to %d connections, and their latency counts from when they were due", r.Connections)
	}
	return fmt.Sprintf("%s; %s policies; %s.", what, thousands(float64(r.Policies)), loop)
}

func (r *Report) kept(w io.Writer) {
	if len(r.Kept) == 0 {
		return
	}
	fmt.Fprint(w, "### What the log held after `kill -9` under load\n\n")
	t := table{{"target", "answers received", "of those, in the log", "missing"}}
	for _, k := range r.Kept {
		t = append(t, []string{k.Target, thousands(float64(k.Answered)), thousands(float64(k.Answered - k.Missing)), thousands(float64(k.Missing))})
	}
	t.write(w)
}

func (r *Report) storage(w io.Writer) {
	if len(r.Storage) == 0 {
		return
	}
	fmt.Fprint(w, "### What a record takes on the disk\n\nAfter the server has stopped, Aver's last segment sealed: all files of the log, by their length and by the blocks they take.\n\n")
	t := table{{"target", "scenario", "decisions", "bytes/decision", "in blocks", "payload alone", "leaf alone"}}
	for _, s := range r.Storage {
		payload, leaf := "-", "-"
		if s.Payload > 0 {
			payload, leaf = thousands(s.Payload), thousands(s.Leaf)
		}
		t = append(t, []string{s.Target, s.Scenario, thousands(float64(s.Decisions)), thousands(s.Bytes), thousands(s.Allocated), payload, leaf})
	}
	t.write(w)
}

func (r *Report) inProcess(w io.Writer) {
	p := r.InProc
	if p == nil {
		return
	}
	fmt.Fprint(w, "### Without a network\n\n")
	t := table{{"what", "measured"}}
	if p.Bare > 0 {
		t = append(t,
			[]string{"durable decisions, 256 callers", thousands(p.Durable) + "/s"},
			[]string{fmt.Sprintf("bare group commit of the same bytes (%s each), 256 callers", thousands(p.EntryBytes)), thousands(p.Bare) + "/s"})
	}
	if p.IndexedNS > 0 {
		t = append(t,
			[]string{fmt.Sprintf("one evaluation at %s policies, indexed", thousands(float64(p.EvalPolicies))), micros(p.IndexedNS / 1000)},
			[]string{"the same by cedar-go alone", micros(p.UnindexedNS / 1000)})
	}
	if p.ReplayRecords > 0 {
		t = append(t,
			[]string{fmt.Sprintf("`aver replay` of %s decisions, start included", thousands(float64(p.ReplayRecords))), thousands(p.Replay) + "/s"},
			[]string{"`aver verify` of the same", thousands(p.Verify) + "/s"})
	}
	t.write(w)
}
