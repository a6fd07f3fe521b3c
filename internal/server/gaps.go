package server

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/aver-authz/aver/internal/report/gaps"
)

// gapsFile is where thresholds for control gaps are set if nothing else is said, in the data directory.
const gapsFile = "gaps.yaml"

// gapsEvery is how long the background rests between two reports of control gaps, if nothing else is said.
const gapsEvery = 10 * time.Minute

// watchGaps looks for control gaps now and then, until the server closes.
func (s *Server) watchGaps() error {
	file := s.cfg.Thresholds
	if file == "" {
		file = filepath.Join(s.dir.Path(), gapsFile)
	}
	thresholds, err := gaps.ReadThresholds(file)
	if errors.Is(err, fs.ErrNotExist) && s.cfg.Thresholds == "" {
		thresholds, err = gaps.Defaults(), nil
	}
	if err != nil {
		return err
	}
	s.gaps = gaps.NewWatcher(gaps.New(s.authority, s.decisions, thresholds), s.cfg.Now, s.cfg.Logger)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.gaps.Run(ctx, s.cfg.GapsEvery)
	}()
	s.stopGaps = func() {
		stop()
		<-done
	}
	return nil
}
