package sample

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/query"
)

// VerifyFull fixes the population again from the log itself and compares, asking the query of every record of the
// period; and it looks at every leaf of the log, so that none with a time of the period lies elsewhere.
func (d *Document) VerifyFull(ctx context.Context, log Log, progress func(done, total int64)) Check {
	if err := d.full(ctx, log, progress); err != nil {
		return Check{"full", Wrong, err.Error()}
	}
	return Check{"full", OK, fmt.Sprintf("the query was asked again of all %d leaves of the period, and no other of the %d in the tree has a time of it",
		d.Statement.End-d.Statement.First, d.Statement.Tree.Size)}
}

func (d *Document) full(ctx context.Context, log Log, progress func(done, total int64)) error {
	s := d.Statement
	if log.Origin() != s.Log {
		return fmt.Errorf("this is the log %s, and the population one of %s", log.Origin(), s.Log)
	}
	q, err := query.Parse(s.Query)
	if err != nil {
		return err
	}
	again, err := Fix(ctx, log, Request{ID: s.ID, Query: q, From: s.From, To: s.To, Tree: s.Tree, Since: s.Since, Progress: progress})
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what string
		same bool
	}{
		{"the leaves of the period", again.First == s.First && again.End == s.End},
		{"the payloads that are gone: some went, or came back, since it was fixed", slices.Equal(gone(again.Missing), gone(s.Missing))},
		{"the rows", slices.Equal(again.Indexes, d.Rows)},
		{"the numbers that are missing", slices.Equal(again.Gaps, s.Gaps)},
		{"the leaves that are no rows", again.Excluded == s.Excluded},
	} {
		if !c.same {
			return errors.New("fixed again, the population differs in " + c.what)
		}
	}
	for e, err := range log.Entries(0, s.Tree.Size) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if e.Index >= s.First && e.Index < s.End {
			continue
		}
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		if leaf.Time >= s.From && leaf.Time < s.To {
			return fmt.Errorf("entry %d has a time of the period and is none of its leaves", e.Index)
		}
	}
	return nil
}

// gone lists runs of missing leaves, whatever the reason.
func gone(list []aver.MissingRange) (out []aver.MissingRange) {
	for _, m := range list {
		if n := len(out); n > 0 && out[n-1].End == m.First {
			out[n-1].End = m.End
			continue
		}
		out = append(out, aver.MissingRange{First: m.First, End: m.End})
	}
	return out
}

// Strata are what a sample can be stratified by.
func Strata() []string {
	return []string{"outcome", "action", "kind", "actor", "resource", "pep", "policies"}
}

// ValueOf reads the stratum of a row from its record.
func ValueOf(log Log, strata string) (func(index uint64) (string, error), error) {
	if !slices.Contains(Strata(), strata) {
		return nil, fmt.Errorf("%q is nothing to stratify by; choose one of %q", strata, Strata())
	}
	return func(index uint64) (string, error) {
		e, err := log.Entry(index)
		if err != nil {
			return "", err
		}
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			return "", err
		}
		r, err := parse(leaf, ledger.Indexed{Index: index, Entry: e})
		if err != nil {
			return "", err
		}
		request, _, err := pdp.Disclose(r.Request, nil)
		if err != nil {
			return "", fmt.Errorf("entry %d: %w", index, err)
		}
		switch strata {
		case "outcome":
			return r.Decision.Outcome.String(), nil
		case "action":
			return request.Action.Name, nil
		case "kind":
			return string(r.Decision.Actor.Kind), nil
		case "actor":
			return r.Decision.Actor.Ref.String(), nil
		case "resource":
			return request.Resource.Type, nil
		case "pep":
			return r.PEP.Credential, nil
		}
		return r.Policies, nil
	}, nil
}

// ValueOfLeaf reads the stratum of a row from the leaves of the document, which say the outcome and nothing else.
func (d *Document) ValueOfLeaf(strata string) func(index uint64) (string, error) {
	return func(index uint64) (string, error) {
		if strata != "outcome" {
			return "", fmt.Errorf("the document tells the outcome of its rows and no more; to stratify by %s, name the log with --data or --server", strata)
		}
		text, err := d.Leaf(index)
		if err != nil {
			return "", err
		}
		leaf, err := aver.ParseLeaf(text)
		if err != nil || leaf.Outcome == nil {
			return "", fmt.Errorf("row %d is no decision", index)
		}
		return leaf.Outcome.String(), nil
	}
}
