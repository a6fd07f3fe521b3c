package pdp

import (
	"sort"
	"time"

	"github.com/google/uuid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
)

// Leaves is a log by its leaves.
type Leaves interface {
	Leaf(i uint64) ([]byte, error)
}

// Find returns the index of the record with an evaluation id, among the first
// size entries of the decision log. Evaluation ids are UUIDs of version 7: they
// begin with the time of the record, and records stand in the order of their
// times, nearly. So no index is needed: look where that time stands, then ever
// wider around it. The error is
// [ErrNotFound], or one of reading the log.
func Find(log Leaves, size uint64, id string) (uint64, error) {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.Version() != 7 {
		return 0, ErrNotFound
	}
	sec, nsec := parsed.Time().UnixTime()
	at := aver.TimeOf(time.Unix(sec, nsec))
	var failed error
	leafAt := func(i uint64) aver.Leaf {
		text, err := log.Leaf(i)
		if err == nil {
			var leaf aver.Leaf
			if leaf, err = aver.ParseLeaf(text); err == nil {
				return leaf
			}
		}
		failed = err
		return aver.Leaf{}
	}
	middle := uint64(sort.Search(int(size), func(i int) bool { return leafAt(uint64(i)).Time >= at }))
	if failed != nil {
		return 0, failed
	}
	low, high := middle, middle // searched: [low, high)
	for step := uint64(64); low > 0 || high < size; step *= 4 {
		for ; high < size && high < middle+step; high++ {
			if leaf := leafAt(high); failed != nil {
				return 0, failed
			} else if leaf.ID == id && leaf.Kind == aver.KindDecision {
				return high, nil
			}
		}
		for ; low > 0 && low+step > middle; low-- {
			if leaf := leafAt(low - 1); failed != nil {
				return 0, failed
			} else if leaf.ID == id && leaf.Kind == aver.KindDecision {
				return low - 1, nil
			}
		}
		if step > findReach {
			break
		}
	}
	return 0, ErrNotFound
}

// findReach bounds how far from its time a record is looked for, in entries.
const findReach = 1 << 16

var _ Leaves = (*ledger.Log)(nil)
