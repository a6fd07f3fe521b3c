package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/google/uuid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/bench/workload"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// callers is how many goroutines ask in process.
const callers = 256

// inProcess measures what has no network in it.
func (c *comparison) inProcess(ctx context.Context) error {
	if !matches(c.patterns, inProcessStage) {
		return nil
	}
	say("in process")
	p := c.inProc()
	if err := c.evaluation(ctx, 1000); err != nil {
		return err
	}
	var durable, bare []float64
	for range max(c.rounds, 2) {
		dir, err := fresh(c.work, "run", "in-process")
		if err != nil {
			return err
		}
		rate, size, err := durableDecisions(ctx, dir, c.seed, c.timing.measure)
		if err != nil {
			return err
		}
		durable, p.EntryBytes = append(durable, rate), size
		if rate, err = bareCommits(ctx, filepath.Join(dir, "bare"), int(size), c.timing.measure); err != nil {
			return err
		}
		bare = append(bare, rate)
		say("  durable decisions %.0f/s, bare group commit %.0f/s", durable[len(durable)-1], rate)
	}
	p.Durable, p.Bare = middle(durable), middle(bare)
	return nil
}

// middle is the median; of an even number, the upper one.
func middle[T float64 | time.Duration](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// durableDecisions lets many goroutines decide on a real log, and returns decisions/s and the average bytes of an entry.
func durableDecisions(ctx context.Context, dir string, seed uint64, d time.Duration) (rate, entryBytes float64, err error) {
	state, head, err := stateWith(10)
	if err != nil {
		return 0, 0, err
	}
	const origin = "bench.example/decisions"
	key, _, err := ledger.NewKey(origin)
	if err != nil {
		return 0, 0, err
	}
	decisions, err := ledger.Open(dir, ledger.Options{Origin: origin, Signer: key.Signer, Verifier: key.Verifier})
	if err != nil {
		return 0, 0, err
	}
	defer decisions.Close()
	point, err := pdp.Open(decisions, pdp.Options{State: func() (*authority.State, aver.TreeHead) { return state, head }})
	if err != nil {
		return 0, 0, err
	}
	list, err := parsedRequests(seed)
	if err != nil {
		return 0, 0, err
	}
	ask := func(i int) error {
		_, err := point.Decide(ctx, pdp.NewQuery(list[i%len(list)]), aver.PEP{Credential: "bench"})
		return err
	}
	if _, err := repeat(d/4, ask); err != nil {
		return 0, 0, err
	}
	before, _ := decisions.Head()
	if rate, err = repeat(d, ask); err != nil {
		return 0, 0, err
	}
	var bytes, n float64
	size, _ := decisions.Head()
	for e, err := range decisions.Entries(before, min(size, before+1000)) {
		if err != nil {
			return 0, 0, err
		}
		bytes += float64(len(e.Leaf) + len(e.Payload))
		n++
	}
	return rate, bytes / n, nil
}

// repeat lets all callers work for that long and returns how often they did, a second.
func repeat(d time.Duration, work func(i int) error) (rate float64, err error) {
	var next, done atomic.Int64
	var once sync.Once
	var wg sync.WaitGroup
	begin := time.Now()
	end := begin.Add(d)
	for range callers {
		wg.Go(func() {
			for time.Now().Before(end) {
				if e := work(int(next.Add(1))); e != nil {
					once.Do(func() { err = e })
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), err
}

// stateWith is the authority with the baseline, so many payments policies and all people.
func stateWith(policies int) (*authority.State, aver.TreeHead, error) {
	bundle, err := payments(policies)
	if err != nil {
		return nil, aver.TreeHead{}, err
	}
	state := authority.New()
	apply := func(typ aver.EventType, data any) error {
		e, err := aver.NewEvent(typ, data)
		if err != nil {
			return err
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		e.ID, e.Time, e.Salt = id.String(), aver.TimeOf(time.Now()), strings.Repeat("A", 22)
		e.By = aver.By{Name: "bench", Method: aver.MethodInternal}
		state, err = state.Apply(&e)
		return err
	}
	for _, b := range []*policy.Bundle{policy.Baseline(), bundle} {
		files := map[string]string{}
		for name, text := range b.Files() {
			files[name] = string(text)
		}
		if err := apply(aver.EventPolicyPublished, aver.PolicyPublished{Name: b.Name(), Digest: b.Digest(), Files: files}); err != nil {
			return nil, aver.TreeHead{}, err
		}
		if err := apply(aver.EventPolicyActivated, aver.PolicyRef{Name: b.Name(), Digest: b.Digest()}); err != nil {
			return nil, aver.TreeHead{}, err
		}
	}
	for i := range workload.People {
		p := workload.PersonAt(i)
		identity := aver.Identity{Ref: aver.Ref{Type: "user", ID: p.Login}, Kind: aver.HumanUser, Properties: p.Attributes()}
		for _, g := range p.Groups() {
			identity.Parents = append(identity.Parents, aver.Ref{Type: "group", ID: g})
		}
		if err := apply(aver.EventIdentityRegistered, identity); err != nil {
			return nil, aver.TreeHead{}, err
		}
	}
	// There is no authority log behind it; a record holds its head, whatever it is.
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	return state, aver.TreeHead{Size: state.Size(), Root: root}, nil
}

func payments(policies int) (*policy.Bundle, error) {
	files := map[string][]byte{}
	for name, text := range workload.Cedar(policies) {
		files[name] = []byte(text)
	}
	return policy.Load(files, "payments")
}

// parsedRequests are checks as the API hands them to the decision point.
func parsedRequests(seed uint64) ([]*aver.Request, error) {
	var list []*aver.Request
	for _, c := range workload.Checks(requestsKept, workload.Options{Seed: seed, Policies: 10}) {
		who, p := workload.PersonAt(c.Who), c.Payment
		list = append(list, &aver.Request{
			Subject: aver.Party{Ref: aver.Ref{Type: "user", ID: who.Login}},
			Action:  aver.Action{Name: c.Action},
			Resource: aver.Party{Ref: aver.Ref{Type: workload.KindName(c.Kind), ID: p.ID}, Properties: map[string]any{
				"department": p.Department, "country": p.Country, "currency": p.Currency, "created_by": p.CreatedBy,
				"amount": p.Amount, "frozen": p.Frozen,
			}},
			Context: map[string]any{"channel": "api"},
		})
	}
	for _, r := range list {
		if err := pdp.NewQuery(r).Err(); err != nil {
			return nil, fmt.Errorf("the benchmark's own request: %w", err)
		}
	}
	return list, nil
}

// evaluation compares the engine behind the index with cedar-go as it comes, on the same policies, entities and requests.
func (c *comparison) evaluation(ctx context.Context, policies int) error {
	bundle, err := payments(policies)
	if err != nil {
		return err
	}
	set := policy.NewSet(bundle)
	plain := cedar.NewPolicySet()
	for name, text := range workload.Cedar(policies) {
		list, err := cedar.NewPolicyListFromBytes(name, []byte(text))
		if err != nil {
			return err
		}
		for i, p := range list {
			plain.Add(cedar.PolicyID(fmt.Sprintf("%s#%d", name, i)), p)
		}
	}
	type question struct {
		entities cedar.EntityMap
		request  cedar.Request
		allowed  bool
	}
	var list []question
	for _, check := range workload.Checks(1000, workload.Options{Seed: c.seed, Policies: policies}) {
		entities, request := cedarQuestion(check)
		list = append(list, question{entities, request, check.Allowed()})
	}
	indexed := func(q question) cedar.Decision { return set.Authorize(q.entities, q.request).Decision }
	unindexed := func(q question) cedar.Decision { d, _ := cedar.Authorize(plain, q.entities, q.request); return d }
	one := func(decide func(question) cedar.Decision) (float64, error) {
		n := 0
		begin := time.Now()
		for time.Since(begin) < c.timing.measure/4 && ctx.Err() == nil {
			for range 50 {
				q := list[n%len(list)]
				if bool(decide(q)) != q.allowed {
					return 0, fmt.Errorf("%w: a wrong evaluation of %+v", errFound, q.request)
				}
				n++
			}
		}
		return float64(time.Since(begin).Nanoseconds()) / float64(n), ctx.Err()
	}
	var with, without []float64
	for range 5 {
		a, err := one(indexed)
		if err != nil {
			return err
		}
		b, err := one(unindexed)
		if err != nil {
			return err
		}
		with, without = append(with, a), append(without, b)
	}
	p := c.inProc()
	p.EvalPolicies, p.IndexedNS, p.UnindexedNS = policies, middle(with), middle(without)
	say("  evaluation at %d policies: %.1f us indexed, %.1f us by cedar-go alone", policies, p.IndexedNS/1000, p.UnindexedNS/1000)
	return nil
}

func cedarQuestion(c workload.Check) (cedar.EntityMap, cedar.Request) {
	who, p := workload.PersonAt(c.Who), c.Payment
	principal := cedar.NewEntityUID("user", cedar.String(who.Login))
	resource := cedar.NewEntityUID(cedar.EntityType(workload.KindName(c.Kind)), cedar.String(p.ID))
	var groups []cedar.EntityUID
	for _, g := range who.Groups() {
		groups = append(groups, cedar.NewEntityUID("group", cedar.String(g)))
	}
	entities := cedar.EntityMap{
		principal: {UID: principal, Parents: cedar.NewEntityUIDSet(groups...), Attributes: cedar.NewRecord(cedar.RecordMap{
			"department": cedar.String(who.Department), "login": cedar.String(who.Login),
		})},
		resource: {UID: resource, Attributes: cedar.NewRecord(cedar.RecordMap{
			"department": cedar.String(p.Department), "country": cedar.String(p.Country), "currency": cedar.String(p.Currency),
			"created_by": cedar.String(p.CreatedBy), "amount": cedar.Long(p.Amount), "frozen": cedar.Boolean(p.Frozen),
		})},
	}
	return entities, cedar.Request{Principal: principal, Action: cedar.NewEntityUID("Action", cedar.String(c.Action)), Resource: resource}
}
