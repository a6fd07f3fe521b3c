package pdp

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// DecideAndEncode does what a Point does between parsing and the disk, and
// returns the size of the payload.
func DecideAndEncode(t testing.TB, st *authority.State, req *aver.Request, now aver.Time) int {
	return Recording(t, st, req, now)()
}

// Keep saves the usage of limits as KeepUsage does, if there are so many entries since.
func (p *Point) Keep(ctx context.Context, every uint64) error { return p.keep(ctx, every) }

// Recording decides a request and returns what makes a log entry of the decision,
// as a Point does, and returns the size of the payload.
func Recording(t testing.TB, st *authority.State, req *aver.Request, now aver.Time) func() int {
	q := NewQuery(req)
	d, evidence := Decide(st, q, now, nil)
	return func() int {
		r, disclosures, err := NewRecord(st, q, d, evidence, Circumstances{
			ID: evaluationID(now), Time: now, Random: rand.Reader,
			Head: aver.TreeHead{Size: 129, Root: "/J5quAU3ING28QiaZzl25RyqGd1wD0raVqoOjFaEun8="},
			PEP:  aver.PEP{Credential: "gateway", RequestID: "d5fb5a22-dc0a-4a64-abeb-cbfdea426fb6"},
		})
		if err != nil {
			t.Fatal(err)
		}
		w := encoders.Get().(*encoder)
		defer w.free()
		return len(w.entry(r, RetentionClass(st, q), disclosures).Payload)
	}
}

// DecideWhole decides with all of the context made, whether or not a policy reads
// it.
func DecideWhole(st *authority.State, q *Query, now aver.Time, used Usage) aver.Decision {
	d, _ := decide(&decider{st: st, q: q, now: now, used: used, evidence: &Evidence{}, whole: true})
	return d
}

// SearchPage searches a state at a time, with no limits used.
func SearchPage(st *authority.State, s Search, now aver.Time) (*Found, error) {
	return search(context.Background(), st, s, now, nil, time.Now)
}

// SearchBy searches by another clock.
func SearchBy(ctx context.Context, st *authority.State, s Search, now aver.Time, clock func() time.Time) (*Found, error) {
	return search(ctx, st, s, now, nil, clock)
}

// Sieved counts the candidates of a search that the sieve takes out.
func Sieved(st *authority.State, s Search, now aver.Time) (out int) {
	sieve := newSieve(st, NewQuery(s.complete("*")), s.For, now)
	for _, id := range s.candidates(st, "") {
		if sieve != nil && !sieve.passes(id) {
			out++
		}
	}
	return out
}
