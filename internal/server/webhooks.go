package server

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/webhook"
)

// webhooksFile is where receivers of webhooks are configured if nothing else is said, in the data directory;
// webhookCursors is how far each was told.
const (
	webhooksFile   = "webhooks.yaml"
	webhookCursors = "webhooks.json"
)

// openWebhooks starts what tells others of what happens; nil if nobody is to be told.
func (s *Server) openWebhooks(registry prometheus.Registerer) (*webhook.Deliverer, error) {
	file := s.cfg.Webhooks
	if file == "" {
		file = filepath.Join(s.dir.Path(), webhooksFile)
	}
	c, err := webhook.LoadConfig(file)
	if errors.Is(err, fs.ErrNotExist) && s.cfg.Webhooks == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	cursors := s.dir.State(webhookCursors)
	return webhook.Open(webhook.Options{
		Config: c, Current: s.pap.Current,
		Events: func(from, to uint64) iter.Seq2[*aver.Event, error] {
			return pap.Events(s.authority.Entries(from, to))
		},
		Load:        func() ([]byte, error) { return os.ReadFile(cursors) },
		Save:        func(text []byte) error { return datadir.WriteFile(cursors, text, 0o600) },
		ExternalURL: s.cfg.ExternalURL, Registry: registry, Now: s.cfg.Now, Logger: s.cfg.Logger,
	})
}
