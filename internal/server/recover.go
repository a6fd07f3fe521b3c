package server

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/policy"
)

// Recovery is what [Recover] did.
type Recovery struct {
	Activated  bool   `json:"policies_activated"`   // the shipped administration bundle, which was not in force
	Credential string `json:"credential,omitempty"` // name of the new administrator's credential
	Token      string `json:"token,omitempty"`      // of it; it is nowhere else
	Events     uint64 `json:"events"`               // in the authority log now
}

// Recover is the break-glass of administration, for whoever can write in a data directory that no server uses: it lets
// the shipped administration bundle decide again, and issues an administrator's token. No decision precedes these
// changes; their events say who did it on this machine, by the method [aver.MethodLocal], and why. keepPolicies and
// noToken leave one of the two out.
func Recover(ctx context.Context, cfg Config, reason string, keepPolicies, noToken bool) (out Recovery, err error) {
	if strings.TrimSpace(reason) == "" {
		return out, errors.New("say why the administration has to be recovered: it stands in the authority log")
	}
	if cfg, err = cfg.withDefaults(); err != nil {
		return out, err
	}
	if _, err := datadir.VerifierKeys(cfg.DataDir); err != nil { // there is nothing to recover
		return out, err
	}
	s := &Server{cfg: cfg}
	if s.dir, err = datadir.Open(cfg.DataDir, ""); err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.authority, err = s.openLog(s.dir.AuthorityLog()); err != nil {
		return out, fmt.Errorf("authority log: %w", err)
	}
	s.pap, err = pap.Open(ctx, s.authority, pap.Options{SnapshotPath: s.dir.State("authority.snapshot"), Now: cfg.Now, Logger: cfg.Logger})
	if err != nil {
		return out, err
	}
	who := pap.Administrator{By: aver.By{Name: localUser(), Method: aver.MethodLocal}}
	if !keepPolicies {
		if out.Activated, err = s.recoverPolicies(ctx, who, reason); err != nil {
			return out, err
		}
	}
	if !noToken {
		out.Credential = "recovered-" + cfg.Now().UTC().Format("20060102T150405.000Z")
		out.Token, _, err = s.pap.IssueCredential(ctx, who, reason, aver.Credential{Name: out.Credential, Role: aver.RoleAdmin})
		if err != nil && !errors.Is(err, pap.ErrNotIncluded) {
			return out, err
		}
	}
	out.Events = s.pap.Current().State.Size()
	return out, nil
}

// recoverPolicies lets the shipped administration bundle decide, if it does not already.
func (s *Server) recoverPolicies(ctx context.Context, who pap.Administrator, reason string) (activated bool, err error) {
	b := policy.Administration()
	st := s.pap.Current().State
	if digest, _, _ := st.Active(b.Name()); digest == b.Digest() {
		return false, nil
	}
	if _, ok := st.Bundle(b.Name(), b.Digest()); !ok {
		if _, err := s.pap.Publish(ctx, who, reason, b); err != nil && !errors.Is(err, pap.ErrNotIncluded) {
			return false, err
		}
	}
	_, err = s.pap.Do(ctx, who, reason, aver.EventPolicyActivated, aver.PolicyRef{Name: b.Name(), Digest: b.Digest()})
	if err != nil && !errors.Is(err, pap.ErrNotIncluded) {
		return false, err
	}
	return true, nil
}

// localUser is who runs this program, as the machine knows them.
func localUser() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}
