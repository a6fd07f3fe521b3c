package server

import (
	"context"
	"io"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/report/pack"
)

// makePack makes an evidence pack of all that is committed now.
func (s *Server) makePack(ctx context.Context, r pack.Request, w io.Writer) error {
	_, authorityKey := s.dir.AuthorityLog()
	_, decisionsKey := s.dir.DecisionLog()
	decisions, err := signedNow(ctx, s.decisions, decisionsKey)
	if err != nil {
		return err
	}
	authority, err := signedNow(ctx, s.authority, authorityKey) // after the other: it covers what that one's entries cite
	if err != nil {
		return err
	}
	source := pack.Source{
		Authority: authority, Decisions: decisions, AuthorityKey: authorityKey.VKey, DecisionsKey: decisionsKey.VKey, Signer: decisionsKey.Signer,
	}
	if c := s.cosigners; c.authority != nil && c.decisions != nil {
		source.AuthorityCosigned, _ = c.authority.Latest()
		source.DecisionsCosigned, _ = c.decisions.Latest()
	}
	_, err = pack.Make(ctx, source, r, w)
	return err
}

// signedLog is a log with a checkpoint that covers all that was committed.
type signedLog struct {
	*ledger.Log
	checkpoint []byte
}

func signedNow(ctx context.Context, l *ledger.Log, key ledger.Key) (signedLog, error) {
	size, _ := l.Head()
	text, _, err := checkpoint(ctx, l, key, size)
	return signedLog{l, text}, err
}

// Checkpoint is the one that was asked for.
func (l signedLog) Checkpoint() []byte { return l.checkpoint }
