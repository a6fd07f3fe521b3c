package target

import (
	"context"
	"errors"
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
	return s, s.announced(ctx, func(text []byte) error {
		line, _, ok := strings.Cut(string(text), "\n")
		if !ok {
			return errors.New("no line yet")
		}
		s.Address = strings.TrimPrefix(line, "http://")
		return nil
	})
}
