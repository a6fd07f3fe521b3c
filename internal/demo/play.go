package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

// A tally is what was seen while the script was played.
type tally struct {
	decisions int
	changes   int
	refused   int
	outcomes  []aver.Outcome                  // of the script, in its order
	byOutcome map[string]map[aver.Outcome]int // workflow :: outcome :: how often
	failures  []string                        // what was not as expected, in words
	escalated string                          // evaluation id of the first payment to be approved that an agent submitted
	denied    string                          // and of one that was denied for its chain
	last      string                          // of the last decision
}

const mostFailures = 20

func (t *tally) wrong() error {
	if len(t.failures) == 0 {
		return nil
	}
	list := t.failures
	if len(list) > mostFailures {
		list = append(slices.Clone(list[:mostFailures]), fmt.Sprintf("and %d more", len(t.failures)-mostFailures))
	}
	return fmt.Errorf("%w:\n  %s", ErrWrong, strings.Join(list, "\n  "))
}

// play takes the steps one by one, or a batch at a time. What is not as expected is kept, so that all of it can be told.
func (d *demonstration) play(ctx context.Context, s *script, admin *office, pep *client.Client) (*tally, error) {
	seen := &tally{byOutcome: map[string]map[aver.Outcome]int{}}
	said := ""
	for i := 0; i < len(s.steps); {
		if w := s.steps[i].workflow; w != said {
			if said = w; len(seen.byOutcome[w]) == 0 {
				d.say("  %s …\n", w)
			}
		}
		n := 1
		for s.steps[i].batch != 0 && i+n < len(s.steps) && s.steps[i+n].batch == s.steps[i].batch {
			n++
		}
		if err := take(ctx, s.steps[i:i+n], admin, pep, seen); err != nil {
			return seen, fmt.Errorf("%s: %s: %w", s.steps[i].workflow, s.steps[i].shows, err)
		}
		i += n
	}
	return seen, nil
}

// take takes one step, or the steps of one batch.
func take(ctx context.Context, steps []step, admin *office, pep *client.Client, seen *tally) error {
	first := &steps[0]
	switch {
	case first.wait:
		return admin.wait(ctx)
	case first.change != nil:
		err := first.change(ctx, admin)
		var problem *client.Problem
		switch {
		case first.refuse && err == nil:
			seen.failures = append(seen.failures, fmt.Sprintf("%s: %s: was not refused", first.workflow, first.shows))
		case first.refuse && errors.As(err, &problem):
			seen.refused++
		case err != nil:
			return err
		default:
			seen.changes++
		}
	case first.batch == 0:
		answer, err := pep.Decide(ctx, first.request)
		if err != nil {
			return err
		}
		seen.note(first, answer)
	default:
		requests := make([]*aver.Request, len(steps))
		for i := range steps {
			requests[i] = steps[i].request
		}
		answers, err := pep.DecideBatch(ctx, client.ExecuteAll, requests...)
		if err != nil {
			return err
		}
		for i := range answers {
			seen.note(&steps[i], &answers[i].Answer)
		}
	}
	return nil
}

// note compares an answer with what was expected, and counts it.
func (t *tally) note(s *step, a *aver.Answer) {
	t.decisions++
	t.last = a.EvaluationID
	t.outcomes = append(t.outcomes, a.Outcome)
	if t.byOutcome[s.workflow] == nil {
		t.byOutcome[s.workflow] = map[aver.Outcome]int{}
	}
	t.byOutcome[s.workflow][a.Outcome]++
	reasons := a.Reasons
	for _, p := range a.Parts {
		reasons = append(slices.Clone(reasons), p.Reasons...)
	}
	found := s.code == "" || slices.ContainsFunc(reasons, func(r aver.Reason) bool { return r.Code == s.code })
	if a.Outcome != s.want || !found {
		t.failures = append(t.failures, fmt.Sprintf("%s: %s (%s): expected %s (%s), got %s (%s)",
			s.workflow, s.shows, a.EvaluationID, s.want, s.code, a.Outcome, describe(reasons)))
	}
	delegated := len(s.request.Delegation()) > 1
	if t.escalated == "" && a.Outcome == aver.Escalated && delegated {
		t.escalated = a.EvaluationID
	}
	if t.denied == "" && a.Outcome == aver.Denied && delegated {
		t.denied = a.EvaluationID
	}
}

func describe(reasons []aver.Reason) string {
	var all []string
	for _, r := range reasons {
		text := r.Text
		if text == "" {
			text = string(r.Code) + " " + r.Policy + r.Grant
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, " ")
}

// columns is the order of the table.
var columns = []struct {
	head    string
	outcome aver.Outcome
}{
	{"permitted", aver.Permitted}, {"restricted", aver.Restricted}, {"partial", aver.PartiallyAuthorized},
	{"challenged", aver.Challenged}, {"escalated", aver.Escalated}, {"denied", aver.Denied},
}

// writeTable writes how often each outcome came up in each workflow.
func (t *tally) writeTable(out io.Writer) {
	fmt.Fprintf(out, "%-24s", "workflow")
	for _, c := range columns {
		fmt.Fprintf(out, "%12s", c.head)
	}
	fmt.Fprintf(out, "%8s\n", "all")
	sums := map[aver.Outcome]int{}
	row := func(name string, counts map[aver.Outcome]int) {
		all := 0
		fmt.Fprintf(out, "%-24s", name)
		for _, c := range columns {
			fmt.Fprintf(out, "%12d", counts[c.outcome])
			all += counts[c.outcome]
		}
		fmt.Fprintf(out, "%8d\n", all)
	}
	rows := workflows
	if len(t.byOutcome[randomRow]) > 0 {
		rows = append(slices.Clone(rows), randomRow)
	}
	for _, name := range rows {
		row(name, t.byOutcome[name])
		for outcome, n := range t.byOutcome[name] {
			sums[outcome] += n
		}
	}
	row("all", sums)
}
