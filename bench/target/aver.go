package target

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/bench/workload"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/datadir"
)

// NewAver builds Aver.
func NewAver(ctx context.Context, work string) (Target, error) {
	program, err := build(ctx, work, "aver", "./cmd/aver")
	if err != nil {
		return Target{}, err
	}
	return Target{Name: Aver, Record: "complete, on the disk before the answer", Keeps: true, Version: SourceVersion(ctx),
		start: func(ctx context.Context, dir string, o Options) (*Server, error) {
			s, err := StartAver(ctx, program, filepath.Join(dir, "data"))
			if err != nil {
				return nil, err
			}
			return s.Server, s.Prepare(ctx, o)
		}}, nil
}

// SourceVersion is the commit of the source tree, with "-dirty" if it was changed since; "unknown" outside of git.
func SourceVersion(ctx context.Context) string {
	v, err := output(ctx, "git", "describe", "--always", "--dirty")
	if err != nil {
		return "unknown"
	}
	return v
}

// Program is the binary that [NewAver] built.
func Program(work string) string { return filepath.Join(work, "aver") }

// AverServer is a running Aver.
type AverServer struct {
	*Server
	Admin   *client.Client
	Started time.Duration // from the start of the program until it was ready to decide
}

// StartAver starts Aver on a data directory, new or not, with the settings it has by default. Beside the directory lie
// the files with what it says.
func StartAver(ctx context.Context, program, data string) (*AverServer, error) {
	parent := filepath.Dir(data)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	// An earlier start in the same place announced another address.
	if err := os.Remove(filepath.Join(parent, "stdout.log")); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	begin := time.Now()
	p, err := launch(ctx, parent, program, "serve", "--json", "--data", data, "--listen", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var serving struct {
		URL string `json:"url"`
	}
	if err := p.announced(ctx, func(text []byte) error { return json.Unmarshal(text, &serving) }); err != nil {
		return nil, err
	}
	if err := p.ready(ctx, serving.URL+"/readyz"); err != nil {
		return nil, err
	}
	started := time.Since(begin)
	s, err := Attach(strings.TrimPrefix(serving.URL, "http://"), data)
	if err != nil {
		p.Kill()
		return nil, err
	}
	s.Started, s.process = started, p
	return s, nil
}

// Attach is for a server that runs already, on that address and data directory. It can't be stopped or killed from here.
func Attach(address, data string) (*AverServer, error) {
	s := &AverServer{Server: &Server{
		Address: address, Dir: data, LogDir: data, dialect: authzen{batches: true, chains: true},
		kept: func(context.Context) (map[string]bool, error) { return AverKept(data) },
	}}
	token, err := os.ReadFile(datadir.AdminToken(data))
	if err != nil {
		return nil, err
	}
	if s.Admin, err = client.New(client.Options{URL: "http://" + address, Token: strings.TrimSpace(string(token)), Timeout: time.Minute}); err != nil {
		return nil, err
	}
	// Later starts ask with the token that the first one got.
	if pep, err := os.ReadFile(pepToken(data)); err == nil {
		s.authenticate(string(pep))
	}
	return s, nil
}

func pepToken(data string) string { return filepath.Join(filepath.Dir(data), "pep.token") }

func (s *AverServer) authenticate(token string) {
	s.header = []string{"Authorization: Bearer " + token}
}

const why = "benchmark"

// Prepare publishes the policies, registers the chains, and gets the token that checks are sent with.
func (s *AverServer) Prepare(ctx context.Context, o Options) error {
	token, _, err := s.Admin.IssueCredential(ctx, aver.Credential{Name: "bench", Role: aver.RolePEP}, why)
	if err != nil {
		return err
	}
	if err := os.WriteFile(pepToken(s.Dir), []byte(token), 0o600); err != nil {
		return err
	}
	s.authenticate(token)
	if err := s.Publish(ctx, o.Policies); err != nil {
		return err
	}
	return s.RegisterChains(ctx, 0, o.Chains)
}

// Publish publishes the payments bundle with so many policies, and activates it.
func (s *AverServer) Publish(ctx context.Context, policies int) error {
	_, err := s.Admin.Publish(ctx, "payments", workload.Cedar(policies), true, why)
	return err
}

// RegisterChains registers the chains from the from-th to before the to-th: a person, an orchestrator and a worker each,
// and the two grants by which the one acts for the other.
func (s *AverServer) RegisterChains(ctx context.Context, from, to int) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(32) // they share commits
	for i := from; i < to && ctx.Err() == nil; i++ {
		work.Go(func() error { return s.registerChain(ctx, i) })
	}
	return work.Wait()
}

func (s *AverServer) registerChain(ctx context.Context, i int) error {
	person := workload.PersonAt(i)
	identity := func(kind aver.Kind, typ, id string) aver.Identity {
		out := aver.Identity{
			Ref: aver.Ref{Type: typ, ID: id}, Kind: kind,
			Properties: aver.Properties{"department": person.Department, "login": person.Login},
		}
		for _, g := range person.Groups() {
			out.Parents = append(out.Parents, aver.Ref{Type: "group", ID: g})
		}
		if kind.Machine() {
			out.Owner, out.Purpose = "treasury", "payments for "+person.Login
		}
		return out
	}
	identities := []aver.Identity{
		identity(aver.HumanUser, "user", user(i)),
		identity(aver.AIAgent, "ai_agent", orchestrator(i)),
		identity(aver.AIAgent, "ai_agent", worker(i)),
	}
	for _, id := range identities {
		if _, err := s.Admin.RegisterIdentity(ctx, id, why); err != nil {
			return err
		}
	}
	for _, g := range Grants(i) {
		if _, err := s.Admin.IssueGrant(ctx, g, why); err != nil {
			return err
		}
	}
	return nil
}

// Grants are the two grants of a chain.
func Grants(i int) [2]aver.Grant {
	first := aver.Grant{
		ID:   firstGrant(i),
		From: aver.Ref{Type: "user", ID: user(i)}, To: aver.Ref{Type: "ai_agent", ID: orchestrator(i)},
		Actions: []string{"payment.*"}, Resources: []aver.ResourceScope{{Type: "*"}}, Purpose: "payments", Depth: 1,
	}
	second := first
	second.ID, second.Parent, second.Depth = secondGrant(i), first.ID, 0
	second.From, second.To = first.To, aver.Ref{Type: "ai_agent", ID: worker(i)}
	return [2]aver.Grant{first, second}
}

// AverKept lists the ids of all decisions in a data directory.
func AverKept(data string) (map[string]bool, error) {
	logs, err := datadir.OpenReaders(data)
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	size, _ := logs.Decisions.Head()
	ids := make(map[string]bool, size)
	for e, err := range logs.Decisions.Entries(0, size) {
		if err != nil {
			return nil, err
		}
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			return nil, err
		}
		ids[leaf.ID] = true
	}
	return ids, nil
}
