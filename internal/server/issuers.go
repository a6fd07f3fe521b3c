package server

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/aver-authz/aver/internal/authn"
)

// issuersFile is where issuers are configured if nothing else is said, in the data directory.
const issuersFile = "issuers.yaml"

// openTokens returns what verifies the tokens of configured issuers; nil if there are none.
func (s *Server) openTokens() (*authn.Verifier, error) {
	file := s.cfg.Issuers
	if file == "" {
		file = filepath.Join(s.dir.Path(), issuersFile)
	}
	c, err := authn.LoadConfig(file)
	if errors.Is(err, fs.ErrNotExist) && s.cfg.Issuers == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return authn.New(c, s.cfg.Now, s.cfg.Logger)
}
