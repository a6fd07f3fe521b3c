package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aver-authz/aver/internal/authn"
)

// issuersFile is where issuers are configured if nothing else is said, in the data directory.
const issuersFile = "issuers.yaml"

// issuersLook is how often the configuration of issuers is looked at.
const issuersLook = time.Second

// issuers follows the configuration of issuers: what is taken out of it is refused at once, without a restart.
type issuers struct {
	s       *Server
	file    string
	current atomic.Pointer[authn.Verifier] // nil: there are none

	mu     sync.Mutex // held by who looks
	looked time.Time
	read   fs.FileInfo // of the file that current was made from; nil: there was none
	fault  string      // why the file that is there is not in effect; logged once
}

// openTokens returns what verifies the tokens of configured issuers. A mistake in the file keeps the server from starting.
func (s *Server) openTokens() (*issuers, error) {
	i := &issuers{s: s, file: s.cfg.Issuers}
	if i.file == "" {
		i.file = filepath.Join(s.dir.Path(), issuersFile)
	}
	i.looked = time.Now()
	err := i.load()
	if errors.Is(err, fs.ErrNotExist) && s.cfg.Issuers == "" {
		return i, nil
	}
	return i, err
}

// verifier is what verifies tokens now; nil: there are no issuers.
func (i *issuers) verifier() *authn.Verifier {
	if i.mu.TryLock() {
		if now := time.Now(); now.Sub(i.looked) >= issuersLook {
			i.looked = now
			i.look()
		}
		i.mu.Unlock()
	}
	return i.current.Load()
}

// look takes a changed file over. One that is wrong leaves what there is in effect; one that is gone, nobody.
func (i *issuers) look() {
	info, err := os.Stat(i.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if i.read != nil {
			i.read = nil
			i.current.Store(nil)
			i.s.cfg.Logger.Warn("the configuration of issuers is gone, so no tokens of issuers are accepted", "file", i.file)
		}
		return
	case err == nil && i.read != nil && info.ModTime().Equal(i.read.ModTime()) && info.Size() == i.read.Size():
		return
	case err == nil:
		err = i.load()
	}
	if err == nil {
		i.fault = ""
		i.s.cfg.Logger.Info("the configuration of issuers has changed", "file", i.file)
		return
	}
	if i.fault != err.Error() {
		i.fault = err.Error()
		i.s.cfg.Logger.Error("the configuration of issuers can't be used, so what it was before stays in effect", "error", err)
	}
}

func (i *issuers) load() error {
	info, err := os.Stat(i.file) // before it is read, so that a later change shows
	if err != nil {
		return err
	}
	c, err := authn.LoadConfig(i.file)
	if err != nil {
		return err
	}
	var next *authn.Verifier
	if old := i.current.Load(); old != nil {
		next, err = authn.Renew(old, c)
	} else {
		next, err = authn.New(c, i.s.cfg.Now, i.s.cfg.Logger)
	}
	if err != nil {
		return err
	}
	i.current.Store(next)
	i.read = info
	return nil
}
