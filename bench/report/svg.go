package report

import (
	"fmt"
	"html"
	"io"
	"math"
)

// The picture of a dimension: one small panel for each curve, three in a row.
const (
	panelWidth, panelHeight = 300, 190
	panelsInRow             = 3
	left, right, top, under = 30, 40, 44, 34 // margins within a panel
)

// SVG draws the curves of a dimension. The horizontal axes are logarithmic, the vertical ones linear and begin at 0, so
// that a flat curve looks flat and nothing looks steeper than it is.
func (d Dimension) SVG(w io.Writer) error {
	rows := (len(curves) + panelsInRow - 1) / panelsInRow
	e := &errWriter{w: w}
	e.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="11" role="img" aria-label="%s">
<style>
text { fill: #1f2328 } .axis { stroke: #8c959f; stroke-width: 1 } .name { font-size: 13px; font-weight: 600 } .dim { fill: #656d76 }
.line { fill: none; stroke: #0969da; stroke-width: 2 } .dot { fill: #0969da }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .dim { fill: #8b949e } .line { stroke: #58a6ff } .dot { fill: #58a6ff } .axis { stroke: #6e7681 } }
</style>
`, panelWidth*panelsInRow, panelHeight*rows, html.EscapeString("what Aver costs by "+d.Axis))
	for i, c := range curves {
		d.panel(e, c, float64(i%panelsInRow*panelWidth), float64(i/panelsInRow*panelHeight))
	}
	e.printf("</svg>\n")
	return e.err
}

func (d Dimension) panel(e *errWriter, c curve, x0, y0 float64) {
	bottom := y0 + panelHeight - under
	e.printf(`<text class="name" x="%.0f" y="%.0f">%s</text>`+"\n", x0+left-10, y0+18, html.EscapeString(c.title))
	e.printf(`<path class="axis" d="M%.0f %.0fH%.0f"/>`+"\n", x0+left-10, bottom, x0+panelWidth-right+20)
	highest := 0.0
	for _, p := range d.Points {
		highest = max(highest, c.value(p))
	}
	if highest == 0 {
		return
	}
	low, high := math.Log(d.Points[0].N), math.Log(d.Points[len(d.Points)-1].N)
	path := ""
	for i, p := range d.Points {
		x := x0 + left
		if high > low {
			x += (math.Log(p.N) - low) / (high - low) * (panelWidth - left - right)
		}
		y := bottom - c.value(p)/highest*(panelHeight-top-under)
		command := "L"
		if i == 0 {
			command = "M"
		}
		path += fmt.Sprintf("%s%.1f %.1f", command, x, y)
		e.printf(`<circle class="dot" cx="%.1f" cy="%.1f" r="3"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text><text class="dim" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n",
			x, y, x, y-8, html.EscapeString(c.format(c.value(p))), x, bottom+15, short(p.N))
	}
	e.printf(`<path class="line" d="%s"/>`+"\n", path)
	e.printf(`<text class="dim" x="%.0f" y="%.0f" text-anchor="middle">%s</text>`+"\n", x0+left+(panelWidth-left-right)/2, bottom+28, html.EscapeString(d.Axis))
}

// short writes a number for an axis: 10k, 1M.
func short(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.3gM", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.3gk", n/1e3)
	}
	return fmt.Sprintf("%.3g", n)
}

// errWriter remembers the first error.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) printf(format string, args ...any) {
	if e.err == nil {
		_, e.err = fmt.Fprintf(e.w, format, args...)
	}
}
