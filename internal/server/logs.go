package server

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/api"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/why"
)

// logView is what the API may use of a log.
func logView(l *ledger.Log, key ledger.Key) api.Log {
	return api.Log{
		Origin: l.Origin(), VerifierKey: key.VKey, Head: l.Head,
		Entry: func(index uint64) (leaf, payload []byte, err error) {
			e, err := l.Entry(index)
			return e.Leaf, e.Payload, err
		},
		Leaf: l.Leaf,
		Checkpoint: func(ctx context.Context, atLeast uint64) ([]byte, uint64, error) {
			return checkpoint(ctx, l, key, atLeast)
		},
		Inclusion: l.InclusionProof, Consistency: l.ConsistencyProof, Tiles: l.Handler(),
	}
}

// checkpoint returns the last checkpoint, or a new one if that does not reach far enough yet. A log without entries may
// have none.
func checkpoint(ctx context.Context, l *ledger.Log, key ledger.Key, atLeast uint64) (note []byte, size uint64, err error) {
	if head, _ := l.Head(); atLeast > head {
		return nil, 0, fmt.Errorf("a tree of %d entries: %w", atLeast, ledger.ErrNotFound)
	}
	if note = l.Checkpoint(); note != nil {
		if size, err = covered(note, key); err != nil || size >= atLeast {
			return note, size, err
		}
	}
	if atLeast == 0 {
		return nil, 0, nil
	}
	if note, err = l.CheckpointNow(ctx); err != nil {
		return nil, 0, err
	}
	size, err = covered(note, key)
	return note, size, err
}

func covered(note []byte, key ledger.Key) (uint64, error) {
	size, _, err := ledger.ParseCheckpoint(note, key.Signer.Name(), key.Verifier)
	return size, err
}

// why explains the decision at an index of the decision log, with all values: who may read records may read those that
// stand in them as digests.
func (s *Server) why(_ context.Context, index uint64) (*why.Explanation, error) {
	e, err := s.decisions.Entry(index)
	if err != nil {
		return nil, err
	}
	record, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return nil, err
	}
	disclosures, err := pdp.ParseDisclosures(e.Private)
	if err != nil {
		return nil, err
	}
	state := s.pap.Current().State
	if state.Size() != record.Authority.Size {
		if state, err = replay.StateAt(s.authority, record.Authority.Size); err != nil {
			return nil, err
		}
	}
	return why.Explain(state, record, disclosures, why.Place{
		Origin: s.decisions.Origin(), Index: index, LeafHash: tlog.RecordHash(e.Leaf).String(),
	})
}

// fault sorts the ledger's errors for the API, which does not know them.
func fault(err error) api.Fault {
	var unavailable *ledger.UnavailableError
	switch {
	case errors.As(err, &unavailable):
		return api.Fault{Kind: api.Unavailable, RetryAfter: unavailable.RetryAfter}
	case errors.Is(err, ledger.ErrUnavailable), errors.Is(err, ledger.ErrClosed):
		return api.Fault{Kind: api.Unavailable}
	case errors.Is(err, ledger.ErrErased):
		return api.Fault{Kind: api.Erased}
	case errors.Is(err, ledger.ErrNotFound):
		return api.Fault{Kind: api.NotFound}
	case errors.Is(err, ledger.ErrTooLarge):
		return api.Fault{Kind: api.TooLarge}
	}
	return api.Fault{}
}
