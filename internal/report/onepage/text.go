package onepage

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// marks are how a verdict is shown in text. Nothing but what is answered is shown
// as good.
var marks = map[Verdict]string{Answered: "[ok]", Partly: "[partly]", Unknown: "[unknown]", Wrong: "[attention]"}

// String is the page as people read it.
func (p *Page) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s, as of %s\n", p.Title, p.Scope(), p.AsOf)
	for _, q := range p.Questions {
		fmt.Fprintf(&b, "\n%s %s %s\n", q.ID, q.Question, marks[q.Verdict])
		wrap(&b, "  ", "  ", q.Answer)
		for _, point := range q.Points {
			wrap(&b, "  - ", "    ", point)
		}
		for _, u := range q.Unknown {
			wrap(&b, "  ? not known: ", "    ", u)
		}
		for _, l := range q.Known {
			wrap(&b, "  = ", "    ", l.String())
		}
	}
	return b.String()
}

// Scope says from what a page was made.
func (p *Page) Scope() string {
	text := fmt.Sprintf("From %d events and %d entries", p.Read.AuthoritySize, p.Read.DecisionsSize)
	if p.Kind != Decision && !p.Read.Whole() {
		text += fmt.Sprintf(", of which those from entry %d on were looked at", p.Read.From)
	}
	return text
}

// String names the entry, as in "decisions 17: the record (0193…)".
func (l Link) String() string {
	text := fmt.Sprintf("%s %d: %s", map[string]string{"authority": "event", "decisions": "entry"}[l.Log], l.Index, l.Text)
	if l.ID != "" {
		text += " (" + l.ID + ")"
	}
	return text
}

const width = 110 // of a line, in characters

// wrap writes a text in lines.
func wrap(b *strings.Builder, first, next, text string) {
	line := first
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line, empty = next, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	b.WriteString(line + "\n")
}
