package pack

import (
	"context"
	"fmt"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/query"
)

// maxLater bounds the terms that are kept of what came after decisions.
const maxLater = 2_000_000

// later finds out, by evaluation id, what was reported about decisions and which approvals were asked for because of
// them, as far as the checkpoints cover it: what a query that is not [query.Query.Final] asks about besides records.
func (m *maker) later(ctx context.Context) (map[string][]query.Term, error) {
	terms, count := map[string][]query.Term{}, 0
	note := func(evaluation string, more []query.Term) error {
		if count += len(more); count > maxLater {
			return bad("too much was reported about decisions to choose them by that; name them with --decision")
		}
		terms[evaluation] = append(terms[evaluation], more...)
		return nil
	}
	read := func(name string, log Log, size uint64, one func(aver.Leaf, ledger.Entry) error) error {
		for e, err := range log.Entries(0, size) {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil && !e.Erased {
				var leaf aver.Leaf
				if leaf, err = aver.ParseLeaf(e.Leaf); err == nil {
					err = one(leaf, e.Entry)
				}
			}
			if err != nil {
				return fmt.Errorf("%s, entry %d: %w", name, e.Index, err)
			}
		}
		return nil
	}
	err := read("decision log", m.Decisions, m.decisionsCheckpoint.size, func(leaf aver.Leaf, e ledger.Entry) error {
		if leaf.Kind != aver.KindActivity {
			return nil
		}
		a, err := pdp.ParseActivityEntry(e)
		if err != nil {
			return err
		}
		return note(a.EvaluationID, query.Reported(a))
	})
	if err != nil {
		return nil, err
	}
	return terms, read("authority log", m.Authority, m.authorityCheckpoint.size, func(leaf aver.Leaf, e ledger.Entry) error {
		if leaf.Type != string(aver.EventApprovalRequested) {
			return nil
		}
		event, err := aver.ParseEvent(e.Payload)
		if err != nil {
			return err
		}
		var a aver.ApprovalRequest
		if err := event.DecodeData(&a); err != nil {
			return err
		}
		return note(a.Evaluation, query.Asked(&a))
	})
}
