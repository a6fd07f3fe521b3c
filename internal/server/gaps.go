package server

import (
	"context"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/report/gaps"
	"github.com/aver-authz/aver/internal/report/onepage"
)

// gapsEvery is how long the background rests between two reports of control gaps, if nothing else is said.
const gapsEvery = 10 * time.Minute

// reportsMost bounds how many of the latest entries of the decision log a report looks at here, so that it is made while
// somebody waits. aver report --data looks at all.
const reportsMost = 50_000

// report answers the questions about one decision, agent, workflow or partner.
func (s *Server) report(ctx context.Context, kind, of string) (*onepage.Page, error) {
	source := &onepage.Source{
		Authority: s.authority, Decisions: s.decisions, AuthorityOrigin: s.authority.Origin(), DecisionsOrigin: s.decisions.Origin(),
		Thresholds: s.gaps.Thresholds(), Gaps: s.gaps.Report, Now: aver.TimeOf(s.cfg.Now()), Most: reportsMost,
	}
	return source.Report(ctx, kind, of)
}

// watchGaps looks for control gaps now and then, until the server closes.
func (s *Server) watchGaps() error {
	thresholds, err := gaps.ThresholdsOf(s.cfg.Thresholds, s.dir.Path())
	if err != nil {
		return err
	}
	s.gaps = gaps.NewWatcher(gaps.New(s.authority, s.decisions, thresholds), s.cfg.Now, s.cfg.Logger)
	s.stopGaps = background(func(ctx context.Context) { s.gaps.Run(ctx, s.cfg.GapsEvery) })
	return nil
}
