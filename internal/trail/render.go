package trail

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/aver-authz/aver"
)

// Format is a form in which a trail is written.
type Format string

// The formats.
const (
	Text    Format = "text"
	JSON    Format = "json"
	Mermaid Format = "mermaid" // a flowchart
	DOT     Format = "dot"     // Graphviz
)

// Formats lists them.
func Formats() []Format { return []Format{Text, JSON, Mermaid, DOT} }

// Render writes the trail as text, Mermaid or DOT; JSON is what it marshals to.
func (t *Trail) Render(f Format) string {
	switch f {
	case Mermaid:
		return t.mermaid()
	case DOT:
		return t.dot()
	}
	return t.text()
}

// text tells the story for people, a line or two for each step.
func (t *Trail) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %s, %s, %s\n", Plain(t.Query), count(t.Decisions, "decision", "decisions"),
		count(t.Activities, "activity", "activities"), count(t.Events, "change of authority", "changes of authority"))
	if t.More {
		out.WriteString("Earlier decisions match too and are left out; a higher limit shows them.\n")
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		what, details := s.words()
		fmt.Fprintf(&out, "\n%3d  %s  %s\n", s.Number, s.Time, Plain(what))
		for _, d := range details {
			fmt.Fprintf(&out, "     %s\n", Plain(d))
		}
		for _, l := range s.After {
			fmt.Fprintf(&out, "     after %d: %s\n", l.Step, l.Why)
		}
	}
	return out.String()
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Plain keeps what others wrote from acting on a terminal.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return '\ufffd'
		}
		return r
	}, s)
}

// words are what a step is in one line, and what else there is to say.
func (s *Step) words() (what string, details []string) {
	switch {
	case s.Decision != nil:
		d := s.Decision
		if d.Erased {
			return fmt.Sprintf("%s: the record was erased", strings.ToUpper(d.Outcome.String())), []string{s.where(d.EvaluationID)}
		}
		what = fmt.Sprintf("%s  %s: %s on %s", strings.ToUpper(d.Outcome.String()), d.Actor, d.Action, d.Resource)
		if len(d.Via) > 0 {
			details = append(details, "on the authority of "+refs(d.Via))
		}
		if d.Tool != "" && (d.Resource.Type != "tool" || d.Resource.ID != d.Tool) {
			details = append(details, "with the tool "+d.Tool)
		}
		for _, list := range []struct {
			what   string
			values []string
		}{
			{"under grant", d.Grants}, {"by exception", d.Exceptions}, {"because of", texts(d.Reasons)}, {"policy", d.Policies},
		} {
			if len(list.values) > 0 {
				details = append(details, list.what+" "+strings.Join(list.values, ", "))
			}
		}
		if d.Approval != "" {
			details = append(details, "with approval "+d.Approval)
		}
		return what, append(details, s.where(d.EvaluationID))
	case s.Activity != nil:
		a := s.Activity
		what = "activity " + string(a.Status)
		if a.Result != "" {
			what += ": " + a.Result
		}
		if a.Continuity != "" && a.Status.Ends() {
			details = append(details, "its authorization "+map[aver.ContinuityState]string{
				aver.Held: "held until then", aver.Lapsed: "had lapsed", aver.ContinuityUnknown: "may or may not have held: the evidence does not say",
			}[a.Continuity])
		}
		if l := a.Lapse; l != nil {
			details = append(details, fmt.Sprintf("at %s, by %s", l.At, strings.TrimSpace(string(l.Cause)+" "+string(l.Type)+" "+l.Grant+l.Exception)))
		}
		if len(a.Findings) > 0 {
			details = append(details, "found: "+strings.Join(texts(a.Findings), ", "))
		}
		return what, append(details, s.where(a.EvaluationID))
	}
	e := s.Event
	if e.Reason != "" {
		details = append(details, "reason: "+e.Reason)
	}
	return e.About, append(details, fmt.Sprintf("%s by %s, event %d", e.Type, e.By, s.Index))
}

func (s *Step) where(id string) string { return fmt.Sprintf("evaluation %s, entry %d", id, s.Index) }

func refs(list []aver.Ref) string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.String()
	}
	return strings.Join(out, ", then ")
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// label is a step in a graph: a few short lines.
func (s *Step) label() []string {
	lines := []string{fmt.Sprintf("%d · %s", s.Number, s.Time.Std().Format("15:04:05.000"))}
	switch {
	case s.Decision != nil && s.Decision.Erased:
		lines = append(lines, "erased", s.Decision.Outcome.String())
	case s.Decision != nil:
		d := s.Decision
		lines = append(lines, d.Actor.Type+"/"+d.Actor.ID, d.Action+" "+d.Resource.Type+"/"+d.Resource.ID, d.Outcome.String())
	case s.Activity != nil:
		lines = append(lines, "activity "+string(s.Activity.Status))
		if s.Activity.Continuity != "" && s.Activity.Status.Ends() {
			lines = append(lines, string(s.Activity.Continuity))
		}
		lines = append(lines, texts(s.Activity.Findings)...)
	default:
		lines = append(lines, string(s.Event.Type), s.Event.About)
	}
	for i := range lines {
		lines[i] = short(Plain(lines[i]))
	}
	return lines
}

func short(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// class sorts steps by their look.
func (s *Step) class() string {
	switch {
	case s.Event != nil:
		return "event"
	case s.Activity != nil && (s.Activity.Continuity == aver.Lapsed || len(s.Activity.Findings) > 0):
		return "bad"
	case s.Activity != nil:
		return "activity"
	case s.Decision.Outcome.Allowed():
		return "allowed"
	case s.Decision.Outcome == aver.Denied:
		return "denied"
	}
	return "gated"
}

var looks = []struct{ class, fill, line string }{
	{"allowed", "#e3f4e5", "#2e7d32"}, {"denied", "#fde4e1", "#b3261e"}, {"gated", "#fff2d6", "#8a5a00"},
	{"activity", "#e5eefb", "#2457a6"}, {"bad", "#fde4e1", "#b3261e"}, {"event", "#eeeeee", "#555555"},
}

var mermaidText = strings.NewReplacer("&", "#amp;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "#", "#35;", ";", "#59;", "`", "#96;", "\\", "#92;")

// mermaid draws the trail as a flowchart for https://mermaid.js.org.
func (t *Trail) mermaid() string {
	var out strings.Builder
	out.WriteString("flowchart TD\n")
	for i := range t.Steps {
		s := &t.Steps[i]
		lines := s.label()
		for j := range lines {
			lines[j] = mermaidText.Replace(lines[j])
		}
		fmt.Fprintf(&out, "  s%d[\"%s\"]:::%s\n", s.Number, strings.Join(lines, "<br/>"), s.class())
	}
	for i := range t.Steps {
		for _, l := range t.Steps[i].After {
			fmt.Fprintf(&out, "  s%d -->|%s| s%d\n", l.Step, l.Why, t.Steps[i].Number)
		}
	}
	for _, l := range looks {
		fmt.Fprintf(&out, "  classDef %s fill:%s,stroke:%s,color:#111111\n", l.class, l.fill, l.line)
	}
	return out.String()
}

var dotText = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// dot draws the trail as a graph for Graphviz.
func (t *Trail) dot() string {
	var out strings.Builder
	out.WriteString("digraph trail {\n  node [shape=box, style=filled, fontname=\"Helvetica\", fontsize=10]\n  edge [fontname=\"Helvetica\", fontsize=9]\n")
	look := map[string]int{}
	for i, l := range looks {
		look[l.class] = i
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		lines := s.label()
		for j := range lines {
			lines[j] = dotText.Replace(lines[j])
		}
		l := looks[look[s.class()]]
		fmt.Fprintf(&out, "  s%d [label=\"%s\", fillcolor=\"%s\", color=\"%s\"]\n", s.Number, strings.Join(lines, `\n`), l.fill, l.line)
	}
	for i := range t.Steps {
		for _, l := range t.Steps[i].After {
			fmt.Fprintf(&out, "  s%d -> s%d [label=\"%s\"]\n", l.Step, t.Steps[i].Number, l.Why)
		}
	}
	out.WriteString("}\n")
	return out.String()
}
