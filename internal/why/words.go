package why

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

var kindNames = map[aver.Kind]string{
	aver.HumanUser:      "human user",
	aver.ServiceAccount: "service account",
	aver.Application:    "application",
	aver.Workload:       "workload",
	aver.APIClient:      "API client",
	aver.AIAgent:        "AI agent",
}

// name is what the party is called in passing.
func (p Party) name() string {
	if p.ID == "" {
		return "somebody unnamed"
	}
	return p.ID
}

// String says who it is: "payments-agent (AI agent)".
func (p Party) String() string {
	var about []string
	if p.Name != "" && p.Name != p.ID {
		about = append(about, p.Name)
	}
	kind, ok := kindNames[p.Kind]
	if !ok {
		kind = p.Type
	}
	if kind != "" {
		about = append(about, kind)
	}
	if p.Registered == nil {
		about = append(about, "not registered")
	}
	return fmt.Sprintf("%s (%s)", p.name(), strings.Join(about, ", "))
}

var plainVerb = regexp.MustCompile(`^[a-z]+$`)

// phrase says what was asked for: "to approve payment p-77" where the action's
// name is a verb, alone or after the resource's type, and its name otherwise.
func phrase(action string, resource aver.Ref) string {
	what := strings.TrimSpace(resource.Type + " " + resource.ID)
	if what == "" {
		what = "an unnamed resource"
	}
	verb := strings.TrimPrefix(action, resource.Type+".")
	switch {
	case action == "":
		return "for an unnamed action on " + what
	case plainVerb.MatchString(verb):
		return "to " + verb + " " + what
	}
	return "for " + action + " on " + what
}

func meaning(o aver.Outcome) string {
	switch o {
	case aver.Permitted:
		return "The caller may go ahead."
	case aver.Restricted:
		return "The caller may go ahead, and has to do this:"
	case aver.PartiallyAuthorized:
		return "The caller may go ahead with some parts and not with the others:"
	case aver.Escalated:
		return "Not yet. Somebody has to approve it first:"
	case aver.Challenged:
		return "Not yet. More has to be proved first:"
	}
	return "The caller must not let it through."
}

// needed says in words what is still to be met, or to be done.
func needed(r aver.Ruling) []string {
	var out []string
	for _, q := range r.Requirements {
		out = append(out, requirement(q))
	}
	for _, o := range r.Obligations {
		text := "carry out the obligation " + o.Type
		if len(o.Properties) > 0 {
			text += " " + string(aver.AppendCanonical(nil, map[string]any(o.Properties)))
		}
		out = append(out, text+" (policy "+o.ID+")")
	}
	return out
}

func requirement(q aver.Requirement) string {
	return met(q) + " (policy " + q.Policy + ")"
}

// met says what meets a requirement.
func met(q aver.Requirement) string {
	if q.Gate == aver.GateEscalate {
		out := "approved by one of " + either(q.Approvers)
		if len(q.Approvers) == 1 {
			out = "approved by " + q.Approvers[0]
		}
		if q.Approvals > 1 {
			out = fmt.Sprintf("%d approvals by %s", q.Approvals, either(q.Approvers))
		}
		if q.Within > 0 {
			out += ", within " + seconds(q.Within)
		}
		return out
	}
	var parts []string
	if len(q.ACRValues) > 0 {
		parts = append(parts, "with acr "+either(q.ACRValues))
	}
	if len(q.AMRValues) > 0 {
		parts = append(parts, "by "+either(q.AMRValues))
	}
	if q.MaxAge != nil {
		parts = append(parts, fmt.Sprintf("no more than %s before", seconds(*q.MaxAge)))
	}
	out := ""
	if len(parts) > 0 {
		out = "authenticated again " + strings.Join(parts, ", ")
	}
	if q.Present != "" {
		if out != "" {
			out += ", and "
		}
		out += "presented: " + q.Present
	}
	if out == "" {
		return "authenticated anew"
	}
	return out
}

// seconds says a length of time.
func seconds(n int64) string {
	switch {
	case n == 0:
		return "0 seconds"
	case n%86400 == 0:
		return count(int(n/86400), "day")
	case n%3600 == 0:
		return count(int(n/3600), "hour")
	case n%60 == 0:
		return count(int(n/60), "minute")
	}
	return count(int(n), "second")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func list(words []string) string { return join(words, "and") }

func either(words []string) string { return join(words, "or") }

func join(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

func verb(subjects []string, one, many string) string {
	if len(subjects) == 1 {
		return one
	}
	return many
}

// at writes a time for people.
func at(t aver.Time) string {
	if t%1000 == 0 {
		return t.Std().Format("2006-01-02 15:04:05 UTC")
	}
	return t.Std().Format("2006-01-02 15:04:05.000 UTC")
}

// String says which event it was: "event 12, by admin, 2026-09-21 14:13:20 UTC".
func (e *Event) String() string {
	out := fmt.Sprintf("event %d, by %s, %s", e.Index, e.By, at(e.Time))
	if e.Reason != "" {
		out += fmt.Sprintf(": %q", e.Reason)
	}
	return out
}

// short is the beginning of a digest, enough to tell versions apart.
func short(digest string) string {
	return digest[:min(12, len(digest))]
}

func appendNew(list []string, more ...string) []string {
	for _, s := range more {
		if s != "" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
