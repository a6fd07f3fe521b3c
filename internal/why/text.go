package why

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// String is the explanation as people read it.
func (e *Explanation) String() string {
	var b strings.Builder
	p := page{&b}
	p.head(e)
	p.why(e)
	p.authority(e)
	p.values(e)
	p.obstacles(e)
	p.record(e)
	return b.String()
}

// WriteText writes the explanation as people read it.
func (e *Explanation) WriteText(w io.Writer) error {
	_, err := io.WriteString(w, e.String())
	return err
}

// page is a text in the making.
type page struct{ *strings.Builder }

func (p page) line(indent int, format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), " ")
	p.WriteString(strings.Repeat(" ", indent) + text + "\n")
}

func (p page) section(title string) { p.WriteString("\n" + title + "\n") }

// rows writes lines of columns, each as wide as its widest cell but no wider
// than is readable.
func (p page) rows(indent int, rows [][]string) {
	const widest = 60
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if n := utf8.RuneCountInString(cell); n <= widest {
				widths[i] = max(widths[i], n)
			}
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell))+2))
			}
		}
		p.line(indent, "%s", b.String())
	}
}

func (p page) head(e *Explanation) {
	p.line(0, "%s", e.Headline)
	asked := "a PEP that did not say who it is"
	switch e.PEP.Credential {
	case "":
	case aver.Self:
		asked = "Aver itself, about a change of what it decides from"
	default:
		asked = "the PEP " + e.PEP.Credential
	}
	if e.PEP.RequestID != "" {
		asked += ", its request " + e.PEP.RequestID
	}
	p.line(2, "%s, asked by %s", at(e.Decided), asked)
	if a := e.PEP.Authentication; a != nil {
		p.line(4, "the PEP showed a token, of which only this is kept: SHA-256 %s", a.Digest)
		p.authentication(4, a)
	}
	p.line(2, "evaluation %s", e.EvaluationID)
	if e.Again.Verdict == "mismatch" {
		p.line(2, "CAREFUL: decided again from the same state, it does not come out as the record says (now: %s).", e.Again.Outcome)
		p.line(2, "What follows may not be what happened.")
	}
	p.section("What it means")
	p.line(2, "%s", e.Meaning)
	for _, part := range e.Parts {
		may := "may not go ahead"
		if part.Outcome.Allowed() {
			may = "may go ahead"
		}
		p.line(2, "- part %s %s: %s", part.ID, may, strings.ReplaceAll(part.Outcome.String(), "_", " "))
		for _, n := range part.Needed {
			p.line(4, "- %s", n)
		}
	}
	if len(e.Parts) == 0 {
		for _, n := range e.Needed {
			p.line(2, "- %s", n)
		}
	}
}

func (p page) why(e *Explanation) {
	p.section("Why")
	for _, r := range e.Reasons {
		p.line(2, "%s", r)
	}
	for _, part := range e.Parts {
		for _, r := range part.Reasons {
			p.line(2, "Part %s: %s", part.ID, r)
		}
	}
	if len(e.Frames) > 1 {
		p.line(2, "It was decided as each of these, and all had to allow it:")
		var rows [][]string
		for _, f := range e.Frames {
			state := "refused"
			if f.Allowed {
				state = "allowed"
			}
			name := f.Text
			if f.Part != "" {
				name += ", part " + f.Part
			}
			rows = append(rows, []string{state, name, f.Why})
		}
		p.rows(4, rows)
		for _, b := range e.Besides {
			p.line(2, "%s", b)
		}
	}
	for _, q := range e.Policies {
		p.policy(q)
	}
	for i, q := range e.Closest {
		if i == 0 {
			p.WriteString("\n")
			p.line(2, "The permits that came closest:")
		}
		p.policy(q)
	}
	p.versions(append(slices.Clone(e.Policies), e.Closest...))
}

// versions tells each bundle once, in the order in which its policies are told.
func (p page) versions(policies []Policy) {
	told := map[string]bool{}
	for _, q := range policies {
		v := q.Version
		if v == nil || told[v.Bundle] {
			continue
		}
		told[v.Bundle] = true
		p.WriteString("\n")
		p.line(2, "Bundle %s, version %s", v.Bundle, short(v.Digest))
		p.line(4, "published in %s", v.Published)
		if v.Activated != nil {
			p.line(4, "active since %s", v.Activated)
		}
		if v.Reviewed != nil {
			p.line(4, "last reviewed in %s: %s", v.Reviewed, v.Verdict)
		}
		var about []string
		if v.Owner != "" {
			about = append(about, "owner "+v.Owner)
		}
		switch {
		case v.Overdue:
			about = append(about, "its review was due "+v.Review)
		case v.Review != "":
			about = append(about, "next review "+v.Review)
		}
		if len(v.Controls) > 0 {
			about = append(about, "implements "+list(v.Controls))
		}
		if len(about) > 0 {
			p.line(4, "%s", strings.Join(about, ", "))
		}
	}
}

var roleWords = map[Role]string{
	Failed:    "could not be evaluated",
	Forbids:   "forbids it",
	Outside:   "does not cover it",
	Challenge: "asks for more proof",
	Escalate:  "asks for an approval",
	Restrict:  "allows it with an obligation only",
	Permits:   "permits it",
	Missed:    "does not match",
}

func (p page) policy(q Policy) {
	what := "Policy"
	if q.Version == nil && q.File == "" {
		what = "Grant"
	}
	whom := ", for " + list(q.As)
	if len(q.As) == 0 || what == "Grant" {
		whom = ""
	}
	if len(q.Parts) > 0 {
		whom += ", in part " + list(q.Parts)
	}
	p.WriteString("\n")
	where := ""
	if q.File != "" {
		where = fmt.Sprintf(" (%s:%d)", q.File, q.Line)
	}
	p.line(2, "%s %s %s%s%s", what, q.ID, roleWords[q.Role], whom, where)
	if q.Reason != "" {
		p.line(4, "%q", q.Reason)
	}
	if q.Error != "" {
		p.line(4, "error: %s", q.Error)
	}
	if len(q.Conditions) > 0 {
		p.rows(4, conditionRows(q.Conditions, ""))
	}
}

var stateWords = map[policy.State]string{
	policy.Held:       "held",
	policy.Failed:     "failed",
	policy.Errored:    "error",
	policy.NotReached: "not reached",
	Unknown:           "unknown",
}

// stateOf says what became of a condition. One that was not reached is told by
// what it is itself, which may be an error only because an earlier one failed.
func stateOf(c Condition) string {
	switch c.Alone {
	case policy.Held:
		return "would hold"
	case policy.Failed:
		return "would fail"
	}
	return stateWords[c.State]
}

func conditionRows(conditions []Condition, indent string) [][]string {
	var rows [][]string
	for _, c := range conditions {
		text := c.Text
		if c.Kind == "unless" {
			text = "unless " + text
		}
		if len(c.Alternatives) > 0 {
			rows = append(rows, []string{stateOf(c), indent + "any of:"})
			for _, alternative := range c.Alternatives {
				inner := conditionRows(alternative, indent+"    ")
				inner[0][1] = indent + "  - " + strings.TrimPrefix(inner[0][1], indent+"    ")
				rows = append(rows, inner...)
			}
			continue
		}
		row := []string{stateOf(c), indent + text}
		if seen := seenWords(c.Seen); seen != "" {
			row = append(row, seen)
		}
		rows = append(rows, row)
	}
	return rows
}

func seenWords(seen []Seen) string {
	var out []string
	for _, s := range seen {
		value := s.Value
		switch {
		case s.Withheld:
			value = "withheld"
		case s.NotKept:
			value = "not kept"
		case s.Absent:
			value = "absent"
		}
		out = append(out, s.Path+": "+value)
	}
	return strings.Join(out, ", ")
}

func (p page) authority(e *Explanation) {
	p.section("On whose authority")
	p.line(2, "%s", e.Authority.Text)
	for i, hop := range e.Authority.Chain {
		p.hop(i+1, hop)
	}
	p.token(e.Token)
	p.cited(e)
}

func (p page) hop(n int, h Hop) {
	p.WriteString("\n")
	if h.From == nil {
		p.line(2, "%d. grant %s", n, h.Grant)
	} else {
		p.line(2, "%d. %s gave %s grant %s", n, h.From, h.To, h.Grant)
		p.line(5, "issued in %s", h.Issued)
		p.line(5, "it lets %s %s on %s", h.To.ID, actionWords(h.Actions), either(h.Resources))
		if h.Purpose != "" {
			p.line(5, "for the purpose: %s", h.Purpose)
		}
		if len(h.Conditions) > 0 {
			p.line(5, "only if:")
			p.rows(7, conditionRows(h.Conditions, ""))
		}
		p.line(5, "%s; %s; revocable by %s", span(h), onward(h.Depth), either(h.RevocableBy))
		for _, c := range h.Counters {
			p.line(5, "limit on %s: %d of %d before, %d after", c.Name, c.Before, c.Max, c.After)
		}
		if h.Revoked != nil {
			p.line(5, "revoked in %s", h.Revoked)
		}
	}
	for _, problem := range h.Problems {
		p.line(5, "! %s", problem)
	}
}

func actionWords(actions []string) string {
	if len(actions) == 1 && actions[0] == "*" {
		return "do anything"
	}
	return "do " + either(actions)
}

func span(h Hop) string {
	from, until := "valid", "without an end"
	if h.NotBefore != 0 {
		from = "valid from " + at(h.NotBefore)
	}
	if h.Expires != 0 {
		until = "until " + at(h.Expires)
	}
	return from + " " + until
}

func onward(depth int) string {
	if depth == 0 {
		return "not to be delegated on"
	}
	return "may be delegated " + count(depth, "hop") + " further"
}

func (p page) values(e *Explanation) {
	if len(e.Values) > 0 {
		p.section("What was looked at, and who vouches for it")
		var rows [][]string
		for _, v := range e.Values {
			path := v.Path
			if v.Of != nil && path != "resource" && path != "principal" && !strings.HasPrefix(path, "resource") {
				path += " of " + v.Of.ID
			}
			if len(v.Parts) > 0 {
				path += " in part " + list(v.Parts)
			}
			value := v.Value
			switch {
			case v.Withheld:
				value = "withheld"
			case v.NotKept:
				value = "not kept"
			case v.Absent:
				value = "absent"
			}
			who := v.Text
			if who == value {
				who = ""
			}
			rows = append(rows, []string{path, value, who})
		}
		p.rows(2, rows)
	}
	for _, at := range e.Withheld {
		p.line(2, "Withheld from this page: %s", at)
	}
	if len(e.NotKept) > 0 {
		p.line(2, "Sent and not kept, since no policy that could match reads it: %s", strings.Join(e.NotKept, ", "))
	}
}

func (p page) obstacles(e *Explanation) {
	if len(e.Obstacles) == 0 {
		return
	}
	p.section("What would have changed it")
	if len(e.Obstacles) > 1 {
		p.line(2, "All of these stood in the way.")
	}
	for _, o := range e.Obstacles {
		part := ""
		if len(o.Parts) > 0 {
			part = "Part " + list(o.Parts) + ": "
		}
		p.line(2, "%s%s", part, o.What)
		switch len(o.AnyOf) {
		case 0:
			p.line(4, "nothing in the request would have changed that")
		case 1:
		default:
			p.line(4, "any one of these would have removed it:")
		}
		for _, c := range o.AnyOf {
			p.line(4, "- %s", c)
		}
	}
	p.line(2, "(A change is one of the condition it names. The request was not decided again with it.)")
}

func (p page) record(e *Explanation) {
	r := e.Record
	p.section("The record")
	p.line(2, "entry %d of the log %s, leaf hash %s", r.Index, r.Origin, r.LeafHash)
	p.line(2, "decided from the first %d events of the authority log, root %s", r.Authority.Size, r.Authority.Root)
	p.line(2, "policy set %s, request %s", r.Policies, r.Request)
	p.line(2, "semantics %s, engine %s", r.Semantics, r.Engine)
	switch e.Again.Verdict {
	case "match":
		p.line(2, "decided again for this page: the same, to the byte")
	case "mismatch":
		p.line(2, "decided again for this page: NOT THE SAME, it came out %s", e.Again.Outcome)
	default:
		p.line(2, "decided again for this page: undetermined, since this is missing:")
		for _, m := range e.Again.Missing {
			p.line(4, "- %s", m)
		}
	}
	p.line(2, "To check it yourself: aver verify (both logs), aver replay (every decision).")
}
