package trail

import (
	"context"
	"fmt"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
)

// events adds the events that matter: about the grants, approvals and exceptions
// of the story at any time, and since its first decision those about who is in it
// and about which policies were in force. It reads the leaves of the whole
// authority log, and the payloads of those types.
func (b *builder) events(ctx context.Context) error {
	if b.Decisions == 0 {
		return nil
	}
	size, _ := b.from.Authority.Head()
	last := b.Steps[len(b.Steps)-1].Time
	for _, s := range b.Steps {
		last = max(last, s.Time)
	}
	for e, err := range b.from.Authority.Entries(0, size) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Index, err)
		}
		noun, _, _ := strings.Cut(leaf.Type, ".")
		switch noun {
		case "grant", "approval", "exception":
		case "identity", "signal":
			if leaf.Time < b.first {
				continue
			}
		case "policy":
			if leaf.Time < b.first || leaf.Time > last || leaf.Type == string(aver.EventPolicyPublished) {
				continue
			}
		default:
			continue
		}
		if e.Erased {
			continue
		}
		if err := b.event(e); err != nil {
			return fmt.Errorf("event %d: %w", e.Index, err)
		}
	}
	return nil
}

// event adds one event, if it is about something in the story.
func (b *builder) event(e ledger.Indexed) error {
	event, err := aver.ParseEvent(e.Payload)
	if err != nil {
		return err
	}
	out := &Event{ID: event.ID, Type: event.Type, By: event.By.Principal().String(), Reason: event.Reason, allowed: event.Decision}
	if event.By.Method == aver.MethodInternal {
		out.By = aver.Self
	}
	matters, err := b.about(event, out)
	if err != nil || !matters {
		return err
	}
	b.Events++
	b.Steps = append(b.Steps, Step{Time: event.Time, Log: authorityLog, Index: e.Index, Event: out})
	return nil
}

// about says in words what an event is about, and whether that is in the story.
func (b *builder) about(event *aver.Event, out *Event) (matters bool, err error) {
	noun, verb, _ := strings.Cut(string(event.Type), ".")
	decode := func(into any) {
		if err == nil {
			err = event.DecodeData(into)
		}
	}
	say := func(key, format string, args ...any) {
		out.subject, out.About = noun+" "+key, fmt.Sprintf(format, args...)
	}
	switch event.Type {
	case aver.EventGrantIssued:
		var g aver.Grant
		decode(&g)
		say(g.ID, "grant %s: %s lets %s do %s", g.ID, g.From, g.To, strings.Join(g.Actions, ", "))
		return b.grants[g.ID], err
	case aver.EventApprovalRequested:
		var a aver.ApprovalRequest
		decode(&a)
		say(a.ID, "approval %s is asked for", a.ID)
		if b.evaluations[a.Evaluation] {
			b.approvals[a.ID] = true
			out.allowed = a.Evaluation // it follows from the decision that escalated
		}
		return b.approvals[a.ID], err
	case aver.EventApprovalGranted, aver.EventApprovalRefused:
		var v aver.ApprovalVote
		decode(&v)
		say(v.ID, "approval %s: %s by %s", v.ID, verb, v.Approver)
		return b.approvals[v.ID], err
	case aver.EventExceptionRequested:
		var x aver.ExceptionRequest
		decode(&x)
		say(x.ID, "exception %s (%s) for %s: %s", x.ID, x.Kind, x.Subject, x.Justification)
		return b.exceptions[x.ID], err
	case aver.EventSignalReceived:
		var s aver.Signal
		decode(&s)
		say(s.ID, "signal about %s from %s: %s", s.About, s.Source, s.Type)
		return b.isParty(s.About) || b.isParty(s.Party), err
	}
	named, err := members(event.Data)
	if err != nil {
		return false, err
	}
	id := named["id"]
	switch noun {
	case "identity":
		who := aver.Ref{Type: named["type"], ID: id}
		say(who.String(), "identity %s %s", who, verb)
		return b.isParty(who), nil
	case "policy":
		say(named["name"], "policies %s %s", named["name"], verb)
		return true, nil
	case "approval":
		say(id, "approval %s %s", id, verb)
		return b.approvals[id], nil
	case "grant":
		say(id, "grant %s %s", id, verb)
		return b.grants[id], nil
	case "exception":
		say(id, "exception %s %s", id, verb)
		return b.exceptions[id], nil
	}
	return false, nil
}

// members are the texts among the members of an event's data.
func members(data []byte) (map[string]string, error) {
	v, err := aver.ParseJSON(data, aver.Limits{Bytes: len(data)})
	if err != nil {
		return nil, err
	}
	object, _ := v.(map[string]any)
	out := map[string]string{}
	for name, value := range object {
		if s, ok := value.(string); ok {
			out[name] = s
		}
	}
	return out, nil
}

func (b *builder) isParty(r aver.Ref) bool {
	_, ok := b.parties[r]
	return ok && !r.IsZero()
}
