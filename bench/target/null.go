package target

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/aver-authz/aver/bench/workload"
)

func startNull(ctx context.Context, program, dir string, o Options) (*Server, error) {
	policies := filepath.Join(dir, "policies")
	if err := writeFiles(policies, workload.Cedar(o.Policies)); err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, dialect: authzen{}}
	var err error
	if s.process, err = launch(ctx, dir, program, "--policies", policies); err != nil {
		return nil, err
	}
	url, err := s.announced(ctx)
	s.Address = strings.TrimPrefix(url, "http://")
	return s, err
}
