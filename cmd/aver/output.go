package main

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/trail"
)

// printJSON prints a value as indented JSON.
func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printf prints text. What is in it can come from anybody who ever asked for a decision, and must not act on a terminal.
func (c *cli) printf(format string, args ...any) {
	lines := strings.Split(fmt.Sprintf(format, args...), "\n")
	for i, line := range lines {
		cells := strings.Split(line, "\t")
		for k, cell := range cells {
			cells[k] = trail.Plain(cell)
		}
		lines[i] = strings.Join(cells, "\t")
	}
	io.WriteString(c.out, strings.Join(lines, "\n"))
}

// table prints rows in columns, the first row being the header. Nothing but the header is said in words.
func (c *cli) table(none string, header []string, rows [][]string) error {
	if len(rows) == 0 {
		c.printf("%s\n", none)
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = trail.Plain(cell)
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return w.Flush()
}

// progress returns a function that shows how far a long run is, on a terminal and nowhere else, and one that wipes it.
func (c *cli) progress(unit string) (show func(what string, done, total int64), wipe func()) {
	if !terminal(c.err) {
		return func(string, int64, int64) {}, func() {}
	}
	var last time.Time
	shown := false
	show = func(what string, done, total int64) {
		if total == 0 || time.Since(last) < 200*time.Millisecond {
			return
		}
		last, shown = time.Now(), true
		fmt.Fprintf(c.err, "\r\033[K%s: %d of %d %s (%d %%)", what, done, total, unit, done*100/total)
	}
	wipe = func() {
		if shown {
			fmt.Fprint(c.err, "\r\033[K")
		}
	}
	return show, wipe
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// plural writes a count and its noun.
func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// printList prints a list: as a JSON array, or as a table with a row for each item.
func printList[T any](c *cli, list iter.Seq2[T, error], none string, header []string, row func(T) []string) error {
	items, rows := []T{}, [][]string{}
	for item, err := range list {
		if err != nil {
			return err
		}
		items, rows = append(items, item), append(rows, row(item))
	}
	if c.json {
		return c.printJSON(items)
	}
	return c.table(none, header, rows)
}

// printChange says what was changed, and by which event.
func (c *cli) printChange(made *client.Change, format string, args ...any) error {
	if c.json {
		return c.printJSON(made)
	}
	c.printf("%s (event %d)\n", fmt.Sprintf(format, args...), made.Index)
	if !made.Included {
		fmt.Fprintln(c.err, "note: it is in effect, but no signed checkpoint covers it yet")
	}
	return nil
}
