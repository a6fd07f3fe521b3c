package server

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/api"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/query"
	"github.com/aver-authz/aver/internal/trail"
)

// searchIndex keeps the search index beside the logs. Whatever becomes of it, decisions go on.
type searchIndex struct {
	current atomic.Pointer[index.Index] // nil while it can't be opened
	saved   *index.Saved
	stop    context.CancelFunc
	done    chan struct{}
}

// reopenIndex is how long the server waits after the index could not be opened.
const reopenIndex = 5 * time.Second

// followIndex opens the index and follows the logs with it, in the background.
func (s *Server) followIndex() error {
	if s.cfg.NoIndex {
		return nil
	}
	x := &searchIndex{done: make(chan struct{})}
	var err error
	if x.saved, err = index.OpenSaved(datadir.Searches(s.dir.Path()), datadir.WriteFile); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	x.stop = stop
	options := index.Options{
		Dir: datadir.Index(s.dir.Path()), Decisions: s.decisions, Authority: s.authority, Handed: &s.handed, Logger: s.cfg.Logger,
	}
	go func() {
		defer close(x.done)
		for {
			opened, err := index.Open(ctx, options)
			if err == nil {
				x.current.Store(opened)
				opened.Run(ctx)
				return
			}
			s.cfg.Logger.Warn("the search index can't be opened; decisions are made and recorded nevertheless", "dir", filepath.Base(options.Dir), "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(reopenIndex):
			}
		}
	}()
	s.index = x
	return nil
}

// recorded hands on what the decision point recorded.
func (s *Server) recorded(r *aver.Record, e *pdp.Evidence, ticket *ledger.Ticket) {
	s.tracker.Recorded(r, e, ticket)
	s.handed.Add(r, ticket)
}

func (x *searchIndex) close() error {
	if x == nil {
		return nil
	}
	x.stop()
	<-x.done
	if opened := x.current.Load(); opened != nil {
		return opened.Close()
	}
	return nil
}

// finder is what the API may use of the index; nil if there is none.
func (s *Server) finder() *api.Finder {
	if s.index == nil {
		return nil
	}
	return &api.Finder{
		Index: s.index.current.Load, Saved: s.index.saved,
		Follow: func(ctx context.Context, x *index.Index, q *query.Query, limit int) (*trail.Trail, error) {
			return trail.Follow(ctx, trail.Source{Index: x, Decisions: s.decisions, Authority: s.authority}, q, limit)
		},
	}
}

// forget takes erased payloads out of the index. If it is not open, it learns of them from the authority log.
func (s *Server) forget(ctx context.Context, e *authority.Erased) error {
	if s.index == nil || e.Kind != aver.ErasePayloads {
		return nil
	}
	x := s.index.current.Load()
	if x == nil {
		return nil
	}
	err := x.Forget(ctx, e.Ranges)
	if errors.Is(err, index.ErrClosed) {
		return nil
	}
	return err
}

func (x *searchIndex) metrics() []prometheus.Collector {
	gauge := func(name, help string, value func(index.Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if opened := x.current.Load(); opened != nil {
				return value(opened.Status())
			}
			return -1
		})
	}
	return []prometheus.Collector{
		gauge("aver_index_lag_entries", "Entries of the decision log that can't be searched yet; -1 while the index can't be used.",
			func(s index.Status) float64 { return float64(s.Lag()) }),
		gauge("aver_index_entries", "Entries of the decision log that can be searched.", func(s index.Status) float64 { return float64(s.Indexed) }),
		gauge("aver_index_bytes", "Size of the search index on the disk.", func(s index.Status) float64 { return float64(s.Bytes) }),
	}
}
