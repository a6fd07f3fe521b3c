package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/bench/target"
	"github.com/aver-authz/aver/bench/workload"
	"github.com/aver-authz/aver/client"
)

// change changes the authority now and then, while requests are decided. A change that is broken off by a kill may have
// been made or not; none is made twice.
func (s *soaker) change(ctx context.Context, r *rand.Rand) error {
	type kind struct {
		what string
		make func(context.Context, *target.AverServer, *rand.Rand) error
	}
	kinds := []kind{
		{"chains registered (3 identities, 2 grants)", s.newChain},
		{"policy versions published and activated", s.newPolicies},
		{"grants revoked", s.revokeGrant},
		{"identities suspended and resumed", s.suspend},
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.changeEvery/2 + time.Duration(r.Int64N(int64(s.changeEvery)))):
		}
		k := kinds[r.IntN(len(kinds))]
		err := k.make(ctx, s.server.Load(), r)
		var refused *client.Problem
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			s.count(k.what, 1)
		// 404 and 409: what it is about was broken off itself, or is as it should be already.
		case errors.As(err, &refused) && refused.Status != 404 && refused.Status != 409 && refused.Status < 500:
			return fmt.Errorf("%w: %s: %w", errFound, k.what, err)
		default:
			s.count("changes broken off, or about something that was", 1)
		}
	}
}

// newChain registers one more chain. Whatever came of it, the next one has another number.
func (s *soaker) newChain(ctx context.Context, server *target.AverServer, _ *rand.Rand) error {
	n := int(s.chains.Load())
	defer s.chains.Add(1)
	return server.RegisterChains(ctx, n, n+1)
}

// newPolicies publishes the same rules with one more, whose limit is random.
func (s *soaker) newPolicies(ctx context.Context, server *target.AverServer, r *rand.Rand) error {
	files := workload.Cedar(100)
	files["extra.cedar"] = fmt.Sprintf(`@id("extra")
@reason("No payments in cents that end like this.")
forbid (principal, action == Action::"%s", resource is %s)
when { resource.amount == %d };
`, workload.Create, workload.KindName(r.IntN(10)), r.Int64N(1_000_000))
	_, err := server.Admin.Publish(ctx, "payments", files, true, "soak")
	return err
}

// revokeGrant revokes the second grant of a chain that requests are about.
func (s *soaker) revokeGrant(ctx context.Context, server *target.AverServer, r *rand.Rand) error {
	i := int(s.chains.Load()) - 1 - r.IntN(firstChains)
	_, err := server.Admin.RevokeGrant(ctx, target.Grants(i)[1].ID, "soak")
	return err
}

// suspend suspends the agent at the end of a chain, and lets it work again.
func (s *soaker) suspend(ctx context.Context, server *target.AverServer, r *rand.Rand) error {
	who := target.Grants(int(s.chains.Load()) - 1 - r.IntN(firstChains))[1].To
	if _, err := server.Admin.SuspendIdentity(ctx, who, "soak"); err != nil {
		return err
	}
	_, err := server.Admin.ResumeIdentity(ctx, aver.Ref{Type: who.Type, ID: who.ID}, "soak")
	return err
}
