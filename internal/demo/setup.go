package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/policytest"
)

// Setup makes Northwind Pay known to a server that knows nothing of it: the policies, who acts and on what, the grants,
// and the credential of an enforcement point, whose token is returned. say prints progress; it may be nil.
func Setup(ctx context.Context, admin *client.Client, say func(format string, args ...any)) (pepToken string, err error) {
	if say == nil {
		say = func(string, ...any) {}
	}
	const reason = "Northwind Pay starts to work"
	if err := publish(ctx, admin, reason, say); err != nil {
		return "", err
	}
	now := time.Now()
	kinds := map[aver.Kind]int{}
	all := identities(now)
	for _, i := range all {
		kinds[i.Kind]++
	}
	err = together(all, func(i aver.Identity) error {
		if _, err := admin.RegisterIdentity(ctx, i, reason); err != nil {
			return fmt.Errorf("register %s: %w", i.Ref, err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	var counts []string
	for _, k := range aver.Kinds() {
		counts = append(counts, fmt.Sprintf("%d %s", kinds[k], k))
	}
	say("  %-12s %d registered: %s\n", "identities", len(all), strings.Join(counts, ", "))
	facts := entities()
	err = together(facts, func(e aver.Entity) error {
		if _, err := admin.PutEntity(ctx, e, reason); err != nil {
			return fmt.Errorf("put %s: %w", e.Ref, err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	say("  %-12s %d registered: teams, accounts, customers, services, roles, tools\n", "entities", len(facts))
	issued := grants(now)
	issue := func(g aver.Grant) error {
		if _, err := admin.IssueGrant(ctx, g, g.Purpose); err != nil {
			return fmt.Errorf("issue grant %s: %w", g.ID, err)
		}
		return nil
	}
	var first []aver.Grant // those that delegate nothing further
	for _, g := range issued {
		if g.Parent == "" {
			first = append(first, g)
		}
	}
	if err := together(first, issue); err != nil {
		return "", err
	}
	for _, g := range issued {
		if g.Parent == "" {
			continue
		}
		if err := issue(g); err != nil {
			return "", err
		}
	}
	say("  %-12s %d issued, in chains of one to three hops\n", "grants", len(issued))
	pepToken, _, err = admin.IssueCredential(ctx, aver.Credential{Name: "northwind-gateway", Role: aver.RolePEP}, reason)
	if err != nil {
		return "", fmt.Errorf("issue the credential of the gateway: %w", err)
	}
	return pepToken, nil
}

// publish tests the bundle and lets it decide.
func publish(ctx context.Context, admin *client.Client, reason string, say func(string, ...any)) error {
	bundle, err := Bundle()
	if err != nil {
		return err
	}
	tested := policytest.Run(bundle)
	if i := slices.IndexFunc(tested, func(r policytest.Result) bool { return !r.OK }); i >= 0 {
		return fmt.Errorf("%w: a test of the bundle fails\n%s", ErrWrong, tested[i])
	}
	files := map[string]string{}
	for name, text := range bundle.Files() {
		files[name] = string(text)
	}
	published, err := admin.Publish(ctx, bundle.Name(), files, true, reason)
	if err != nil {
		return fmt.Errorf("publish the bundle %s: %w", bundle.Name(), err)
	}
	say("  %-12s bundle %s %.12s: %d policies published and activated, its %d tests pass\n",
		"policies", published.Name, published.Digest, len(bundle.Policies()), len(tested))
	return nil
}

// together makes changes that do not depend on each other, some at a time: each waits for a checkpoint, which they share.
func together[T any](list []T, do func(T) error) error {
	var g errgroup.Group
	g.SetLimit(12)
	for _, item := range list {
		g.Go(func() error { return do(item) })
	}
	return g.Wait()
}
