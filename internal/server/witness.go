package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver/internal/api"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/witness"
)

// cosigners show the checkpoints of both logs to witnesses; nil where none are configured.
type cosigners struct{ authority, decisions *witness.Cosigner }

// startWitnesses begins to have checkpoints cosigned, if witnesses are configured.
func (s *Server) startWitnesses() error {
	file := datadir.WitnessesFile(s.dir.Path())
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("witnesses: %w", err)
	}
	config, err := witness.ParseConfig(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(config.Witnesses) == 0 {
		return nil
	}
	authority, decisions, err := datadir.Cosigned(s.dir.Path())
	if err != nil {
		return fmt.Errorf("witnesses: %w", err)
	}
	start := func(log *ledger.Log, last []byte, dir string, key ledger.Key) (*witness.Cosigner, error) {
		return witness.Start(witness.Options{
			Log: log, Verifier: key.Verifier, Config: config, Last: last, Every: s.cfg.WitnessEvery, Logger: s.cfg.Logger,
			Keep: func(checkpoint []byte) error { return s.dir.KeepCosigned(dir, checkpoint) },
		})
	}
	dir, key := s.dir.AuthorityLog()
	if s.cosigners.authority, err = start(s.authority, authority, dir, key); err != nil {
		return fmt.Errorf("witnesses: authority log: %w", err)
	}
	dir, key = s.dir.DecisionLog()
	if s.cosigners.decisions, err = start(s.decisions, decisions, dir, key); err != nil {
		return fmt.Errorf("witnesses: decision log: %w", err)
	}
	return nil
}

func (c cosigners) close() {
	for _, one := range []*witness.Cosigner{c.authority, c.decisions} {
		if one != nil {
			one.Close()
		}
	}
}

// witnessed adds to what the API may use of a log what its witnesses say.
func witnessed(l api.Log, c *witness.Cosigner) api.Log {
	if c == nil {
		return l
	}
	plain, tiles := l.Checkpoint, l.Tiles
	l.Checkpoint = func(ctx context.Context, atLeast uint64) ([]byte, uint64, error) {
		note, size, err := plain(ctx, atLeast)
		return c.With(note), size, err
	}
	l.Witnessed = c.Latest
	l.Witnesses = func() any { return c.Status() }
	l.Tiles = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/checkpoint" {
			tiles.ServeHTTP(w, r)
			return
		}
		note, _, err := l.Checkpoint(r.Context(), 0)
		if err != nil || note == nil {
			tiles.ServeHTTP(w, r) // which says why there is none
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(note)
	})
	return l
}

// witnessMetrics are what is measured of witnesses; none where none are configured.
func (s *Server) witnessMetrics() []prometheus.Collector {
	var out []prometheus.Collector
	of := func(name string, log *ledger.Log, c *witness.Cosigner) {
		if c == nil {
			return
		}
		gauge := func(metric, help string, labels prometheus.Labels, value func() float64) {
			labels["log"] = name
			out = append(out, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric, Help: help, ConstLabels: labels}, value))
		}
		gauge("aver_witnessed_entries", "Entries that the last checkpoint covers that a quorum of witnesses has cosigned.", prometheus.Labels{}, func() float64 {
			_, size := c.Latest()
			return float64(size)
		})
		gauge("aver_witness_lag_entries", "Committed entries that no checkpoint covers that a quorum of witnesses has cosigned.", prometheus.Labels{}, func() float64 {
			_, size := c.Latest()
			head, _ := log.Head()
			return float64(head) - float64(size)
		})
		for i, m := range c.Status().Witnesses {
			status := func() witness.MemberStatus { return c.Status().Witnesses[i] }
			labels := func() prometheus.Labels { return prometheus.Labels{"witness": m.Name} }
			gauge("aver_witness_last_cosignature_age_seconds", "Since when the witness has cosigned nothing; -1: it never has.", labels(), func() float64 {
				if last := status().Last; !last.IsZero() {
					return time.Since(last).Seconds()
				}
				return -1
			})
			gauge("aver_witness_other_history", "1 if the witness has seen another history of the log under its key.", labels(), func() float64 {
				if status().OtherHistory {
					return 1
				}
				return 0
			})
		}
	}
	of("authority", s.authority, s.cosigners.authority)
	of("decisions", s.decisions, s.cosigners.decisions)
	return out
}
