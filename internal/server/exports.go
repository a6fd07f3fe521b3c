package server

import (
	"context"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/report/export"
)

// exports is what exports are made of: both logs, the state, and the control gaps as they are found now.
func (s *Server) exports() *export.Source {
	return &export.Source{
		Decisions: s.decisions, Authority: s.authority, Version: s.cfg.Version,
		State: func() (*authority.State, error) { return s.pap.Current().State, nil },
		Findings: func(ctx context.Context) ([]aver.GapFinding, error) {
			report, err := s.gaps.Report(ctx)
			if err != nil {
				return nil, err
			}
			return report.Findings, nil
		},
	}
}
