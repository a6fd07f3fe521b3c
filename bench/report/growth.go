package report

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/aver-authz/aver/bench/proc"
)

// Growth is what things cost as the work grows.
type Growth struct {
	Command    string       `json:"command"`
	Version    string       `json:"version"`
	Time       time.Time    `json:"time"`
	Machine    proc.Machine `json:"machine"`
	Dimensions []Dimension  `json:"dimensions"`
}

// Dimension is one thing that grows while the others stay.
type Dimension struct {
	Name   string  `json:"name"` // for file names
	Axis   string  `json:"axis"` // what is counted
	Text   string  `json:"text"` // how it was measured
	Points []Point `json:"points"`
}

// Point is what was measured at one size.
type Point struct {
	N         float64 `json:"n"`
	RPS       float64 `json:"rps"` // single checks, closed loop on 16 connections
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	RSS       float64 `json:"rss_bytes"` // after the load
	Start     float64 `json:"start_seconds"`
	Restart   float64 `json:"start_after_kill_seconds"`
	Replay    float64 `json:"replay_decisions_per_second"`
	Verify    float64 `json:"verify_records_per_second"`
	Disk      float64 `json:"disk_bytes"`              // the whole data directory once stopped
	PerRecord float64 `json:"disk_bytes_per_decision"` // of the decision log alone
}

// curve is one quantity of the points.
type curve struct {
	title  string
	value  func(Point) float64
	format func(float64) string
}

// curves are drawn for each dimension, in this order.
var curves = []curve{
	{"requests/s", func(p Point) float64 { return p.RPS }, thousands},
	{"latency, p50", func(p Point) float64 { return p.P50 }, micros},
	{"latency, p99", func(p Point) float64 { return p.P99 }, micros},
	{"memory", func(p Point) float64 { return p.RSS }, func(v float64) string { return megabytes(int64(v)) }},
	{"start after a stop", func(p Point) float64 { return p.Start * 1e6 }, micros},
	{"start after kill -9", func(p Point) float64 { return p.Restart * 1e6 }, micros},
	{"replay, decisions/s", func(p Point) float64 { return p.Replay }, thousands},
	{"verify, records/s", func(p Point) float64 { return p.Verify }, thousands},
	{"data directory", func(p Point) float64 { return p.Disk }, func(v float64) string { return megabytes(int64(v)) }},
	{"bytes on the disk per decision", func(p Point) float64 { return p.PerRecord }, thousands},
}

// Markdown writes tables and sentences. image returns how the curves of a dimension are to be shown.
func (g *Growth) Markdown(w io.Writer, image func(Dimension) string) {
	heading(w, g.Command, g.Version, g.Time, g.Machine)
	for _, d := range g.Dimensions {
		fmt.Fprintf(w, "### %s\n\n%s\n\n", title(d.Axis), d.Text)
		t := table{{d.Axis}}
		for _, c := range curves {
			t[0] = append(t[0], c.title)
		}
		for _, p := range d.Points {
			row := []string{thousands(p.N)}
			for _, c := range curves {
				row = append(row, c.format(c.value(p)))
			}
			t = append(t, row)
		}
		t.write(w)
		if text := image(d); text != "" {
			fmt.Fprintf(w, "%s\n\n", text)
		}
		for _, c := range curves {
			fmt.Fprintf(w, "- %s\n", c.shape(d))
		}
		fmt.Fprintln(w)
	}
}

func title(s string) string { return string(s[0]-'a'+'A') + s[1:] }

// shape says in a sentence what a curve looks like. The exponent is the slope of the line that fits best where both axes
// are logarithmic: 0 is flat, 1 is proportional.
func (c curve) shape(d Dimension) string {
	first, last := d.Points[0], d.Points[len(d.Points)-1]
	from, to := c.value(first), c.value(last)
	between := fmt.Sprintf("%s at %s, %s at %s", c.format(from), thousands(first.N), c.format(to), thousands(last.N))
	b := exponent(d.Points, c.value)
	size := math.Abs(b)
	verb := "grows"
	if b < 0 {
		verb = "falls"
	}
	var how string
	switch {
	case size < 0.04:
		how = "is flat"
	case size < 0.15:
		how = fmt.Sprintf("%s slightly: %s for each tenfold", verb, factor(b))
	case size < 0.85:
		how = fmt.Sprintf("%s more slowly than in proportion: %s for each tenfold", verb, factor(b))
	case size <= 1.15:
		how = verb + " in proportion"
		if b < 0 {
			how = "falls in inverse proportion"
		}
	default:
		how = fmt.Sprintf("%s faster than in proportion: %s for each tenfold", verb, factor(b))
	}
	return fmt.Sprintf("**%s** %s (%s).", c.title, how, between)
}

func factor(b float64) string { return fmt.Sprintf("x %.2f", math.Pow(10, b)) }

// exponent fits value = a * n^b by least squares of the logarithms.
func exponent(points []Point, value func(Point) float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for _, p := range points {
		v := value(p)
		if v <= 0 || p.N <= 0 {
			continue
		}
		x, y := math.Log(p.N), math.Log(v)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if det := n*sxx - sx*sx; n > 1 && det > 0 {
		return (n*sxy - sx*sy) / det
	}
	return 0
}
