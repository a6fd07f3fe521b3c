package server

import (
	"context"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/api"
	"github.com/aver-authz/aver/internal/report/sample"
)

// servedLeaves bounds the leaves of a population that is asked for over HTTP, since the answer holds them all: about
// 50 MB.
const servedLeaves = 200_000

// populations makes populations and samples from the decision log.
func (s *Server) populations() *api.Populations {
	_, key := s.dir.DecisionLog()
	return &api.Populations{Signer: key.Signer, Source: sample.Source{
		Log: s.decisions, VKey: key.VKey, Verifier: key.Verifier, Most: servedLeaves,
		Checkpoint: func(ctx context.Context) ([]byte, error) {
			size, _ := s.decisions.Head()
			note, _, err := checkpoint(ctx, s.decisions, key, size)
			return note, err
		},
		Now: func() aver.Time { return max(aver.TimeOf(s.cfg.Now()), s.pap.Current().State.Time()) },
		Why: func(index uint64) string { return sample.WhyGone(s.pap.Current().State)(index) },
	}}
}
