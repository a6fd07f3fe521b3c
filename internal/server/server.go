// Package server puts Aver together and runs it: the data directory, both logs, the administration and the decision
// point, and the HTTP surface.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/api"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/report/gaps"
	"github.com/aver-authz/aver/internal/retention"
	"github.com/aver-authz/aver/internal/webhook"
)

// Server is an open data directory and what answers from it. Close it, or let [Server.Serve] do so.
type Server struct {
	cfg         Config
	dir         *datadir.Dir
	authority   *ledger.Log
	decisions   *ledger.Log
	pap         *pap.Point
	pdp         *pdp.Point
	tracker     *activity.Tracker
	keeper      *retention.Keeper
	cosigners   cosigners
	webhooks    *webhook.Deliverer
	index       *searchIndex // nil: there is none
	handed      index.Handover
	gaps        *gaps.Watcher
	stopGaps    func()
	stopKeeping func() // of the usage of limits
	api         *api.API
	stopping    atomic.Bool

	closing  sync.Once
	closeErr error
}

// Open opens the data directory, and prepares it at the first start. The error is a [*datadir.LockedError] if another
// process has it.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.InsecureNoAuth {
		if err := checkLoopback(ctx, cfg.Listen); err != nil {
			return nil, err
		}
	}
	if cfg.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey); err != nil {
			return nil, fmt.Errorf("TLS certificate: %w", err)
		}
	}
	s := &Server{cfg: cfg}
	if s.dir, err = datadir.Open(cfg.DataDir, cfg.Origin); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if s.authority, err = s.openLog(s.dir.AuthorityLog()); err != nil {
		return fmt.Errorf("authority log: %w", err)
	}
	if s.decisions, err = s.openLog(s.dir.DecisionLog()); err != nil {
		return fmt.Errorf("decision log: %w", err)
	}
	s.pap, err = pap.Open(ctx, s.authority, pap.Options{
		SnapshotPath: s.dir.State("authority.snapshot"), Now: s.cfg.Now, Logger: s.cfg.Logger,
	})
	if err != nil {
		return err
	}
	if err := s.firstCredential(ctx); err != nil {
		return fmt.Errorf("first administrator: %w", err)
	}
	s.tracker, err = activity.Open(activity.Options{
		Decisions: s.decisions, History: activity.NewHistory(s.authority), Now: s.cfg.Now, Logger: s.cfg.Logger,
		State: func() *authority.State { return s.pap.Current().State },
	})
	if err != nil {
		return fmt.Errorf("open authorizations: %w", err)
	}
	s.pdp, err = pdp.Open(s.decisions, pdp.Options{
		State: func() (*authority.State, aver.TreeHead) {
			c := s.pap.Current()
			return c.State, c.Head
		},
		Recorded:  s.recorded,
		UsageFile: s.dir.State("usage.json"), Now: s.cfg.Now, Logger: s.cfg.Logger,
	})
	if err != nil {
		return fmt.Errorf("decision point: %w", err)
	}
	s.stopKeeping = background(s.pdp.KeepUsage)
	s.pap.Govern(s.pdp)
	if err := s.watchGaps(); err != nil {
		return err
	}
	if err := s.followIndex(); err != nil {
		return err
	}
	s.keeper = retention.Start(retention.Options{
		Decisions: s.decisions, PAP: s.pap, Every: s.cfg.RetentionEvery, Forget: s.forget, Now: s.cfg.Now, Logger: s.cfg.Logger,
	})
	if err := s.startWitnesses(); err != nil {
		return err
	}
	return s.openAPI()
}

// background runs something until stop is called, which returns once it has ended.
func background(run func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *Server) openLog(dir string, key ledger.Key) (*ledger.Log, error) {
	last, err := s.dir.LastSigned(dir)
	if err == nil && len(last) > 0 {
		_, _, err = ledger.ParseCheckpoint(last, key.Signer.Name(), key.Verifier)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, the last checkpoint that the log's key signed: %w; put the file back, or delete it if you know that the log is the latest",
			s.dir.SignedFile(dir), err)
	}
	return ledger.Open(dir, ledger.Options{
		LastSigned: last,
		OnSigned: func(note []byte) {
			if err := s.dir.KeepSigned(dir, note); err != nil {
				s.cfg.Logger.Warn("the last checkpoint can't be kept beside its key", "error", err)
			}
		},
		Origin: key.Signer.Name(), Signer: key.Signer, Verifier: key.Verifier, FS: s.cfg.FS,
		FirstSegment: s.cfg.FirstSegment, MaxSegment: s.cfg.MaxSegment, CheckpointEvery: s.cfg.CheckpointEvery,
		Logger: s.cfg.Logger,
	})
}

// adminName is the name of the credential that the first start makes.
const adminName = "admin"

// firstCredential makes an administrator's token if nobody can be authenticated yet. The file is written before the
// event: if a crash comes between them, the next start uses the token that lies there.
func (s *Server) firstCredential(ctx context.Context) error {
	if len(s.pap.Current().State.Credentials()) > 0 {
		return nil
	}
	file := s.dir.AdminToken()
	text, err := os.ReadFile(file)
	token := strings.TrimSpace(string(text))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		token = pap.NewToken()
		if err := datadir.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			return err
		}
	case err != nil:
		return err
	case len(token) < len(pap.NewToken()):
		return fmt.Errorf("%s holds no token: delete the file and start again", file)
	}
	_, err = s.pap.Do(ctx, pap.Administrator{By: aver.By{Name: aver.Self, Method: aver.MethodInternal}}, "the administrator of the first start",
		aver.EventCredentialIssued, aver.Credential{Name: adminName, Role: aver.RoleAdmin, Digest: aver.Digest([]byte(token))})
	if err != nil && !errors.Is(err, pap.ErrNotIncluded) {
		return err
	}
	s.cfg.Logger.Info("made the first administrator's token", "file", file, "credential", adminName)
	return nil
}

func (s *Server) openAPI() (err error) {
	registry := prometheus.NewRegistry()
	if err := s.registerMetrics(registry); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	_, authorityKey := s.dir.AuthorityLog()
	_, decisionsKey := s.dir.DecisionLog()
	tokens, err := s.openTokens()
	if err != nil {
		return fmt.Errorf("issuers: %w", err)
	}
	if s.webhooks, err = s.openWebhooks(registry); err != nil {
		return err
	}
	s.api, err = api.New(api.Options{
		Tokens: tokens.verifier, Webhooks: s.webhooks,
		PDP: s.pdp, PAP: s.pap,
		Activities: activity.NewPoint(s.pdp, s.tracker), Tracker: s.tracker,
		Authority: witnessed(logView(s.authority, authorityKey), s.cosigners.authority),
		Decisions: witnessed(logView(s.decisions, decisionsKey), s.cosigners.decisions),
		FindDecision: func(id string) (uint64, error) {
			size, _ := s.decisions.Head()
			return pdp.Find(s.decisions, size, id)
		},
		Why: s.why, Populations: s.populations(), Exports: s.exports(), Gaps: s.gaps, Report: s.report, Finder: s.finder(), Pack: s.makePack, Fault: fault, Ready: s.Ready,
		Metrics:     promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		Registry:    registry,
		ExternalURL: s.cfg.ExternalURL, NoAuth: s.cfg.InsecureNoAuth, PublicLogs: s.cfg.PublicLogs,
		MaxBody: s.cfg.MaxBody, MaxBatch: s.cfg.MaxBatch, Timeout: s.cfg.Timeout,
		Now: s.cfg.Now, Logger: s.cfg.Logger, Version: s.cfg.Version,
		Retention: keeperView(s.keeper),
	})
	return err
}

// Ready is nil while decisions can be answered; else it says in plain words why not.
func (s *Server) Ready() error {
	if s.stopping.Load() {
		return errors.New("the server is stopping")
	}
	for name, log := range map[string]*ledger.Log{"authority": s.authority, "decision": s.decisions} {
		if err := log.Health(); err != nil {
			return fmt.Errorf("the %s log can't be written: %w", name, err)
		}
	}
	return nil
}

// Handler is the HTTP surface, for who brings a server of their own.
func (s *Server) Handler() http.Handler { return s.api }

// Dir is the data directory.
func (s *Server) Dir() *datadir.Dir { return s.dir }

// Listen opens the configured address.
func (s *Server) Listen() (net.Listener, error) {
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	return l, nil
}

// Serve answers requests until ctx ends. Then it takes no more, finishes those under way, and closes the server; nothing
// that was answered is lost. It returns nil if all of that went well.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.cfg.InsecureNoAuth {
		if err := checkLoopback(ctx, l.Addr().String()); err != nil {
			return errors.Join(err, l.Close(), s.Close())
		}
		s.cfg.Logger.Warn("everybody on this machine is an administrator: authentication is switched off (--insecure-no-auth)")
	}
	h := &http.Server{
		Handler:           s.api,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       s.cfg.Timeout + 15*time.Second,
		WriteTimeout:      s.cfg.Timeout + 45*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12},
	}
	h.RegisterOnShutdown(s.tracker.Close)
	h.RegisterOnShutdown(s.api.EndStreams)
	served := make(chan error, 1)
	go func() {
		if s.cfg.TLSCert != "" {
			served <- h.ServeTLS(l, s.cfg.TLSCert, s.cfg.TLSKey)
		} else {
			served <- h.Serve(l)
		}
	}()
	s.cfg.Logger.Info("serving", "address", l.Addr().String(), "tls", s.cfg.TLSCert != "", "data", s.dir.Path(),
		"authority", s.authority.Origin(), "decisions", s.decisions.Origin())
	select {
	case err := <-served:
		return errors.Join(fmt.Errorf("serve: %w", err), s.Close())
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	s.cfg.Logger.Info("stopping")
	finish, cancel := context.WithTimeout(context.Background(), s.cfg.StopTimeout)
	defer cancel()
	err := h.Shutdown(finish)
	if err != nil {
		err = errors.Join(fmt.Errorf("some requests did not finish within %s: %w", s.cfg.StopTimeout, err), h.Close())
	}
	<-served
	return errors.Join(err, s.Close())
}

// Close closes both points and both logs, with their last checkpoints. It may be called more than once.
func (s *Server) Close() error {
	s.closing.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Server) close() error {
	s.stopping.Store(true)
	var errs []error
	if s.stopGaps != nil {
		s.stopGaps()
	}
	if s.stopKeeping != nil {
		s.stopKeeping()
	}
	if s.tracker != nil {
		s.tracker.Close()
	}
	errs = append(errs, s.webhooks.Close())
	if s.keeper != nil {
		s.keeper.Close()
	}
	s.cosigners.close()
	errs = append(errs, s.index.close())
	if s.pap != nil {
		errs = append(errs, s.pap.Close())
	}
	for _, log := range []*ledger.Log{s.decisions, s.authority} {
		if log != nil {
			errs = append(errs, log.Close())
		}
	}
	if s.pdp != nil { // after its log, so that what it keeps is of all that was recorded
		errs = append(errs, s.pdp.Close())
	}
	return errors.Join(append(errs, s.dir.Close())...)
}
