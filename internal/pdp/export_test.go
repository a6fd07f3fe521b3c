package pdp

import (
	"crypto/rand"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// DecideAndEncode does what a Point does between parsing and the disk, and
// returns the size of the payload.
func DecideAndEncode(t testing.TB, st *authority.State, req *aver.Request, now aver.Time) int {
	q := NewQuery(req)
	d, evidence := Decide(st, q, now, nil)
	r, disclosures, err := NewRecord(st, q, d, evidence, Circumstances{
		ID: evaluationID(now), Time: now, Random: rand.Reader,
		Head: aver.TreeHead{Size: 129, Root: "/J5quAU3ING28QiaZzl25RyqGd1wD0raVqoOjFaEun8="},
		PEP:  aver.PEP{Credential: "gateway", RequestID: "d5fb5a22-dc0a-4a64-abeb-cbfdea426fb6"},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := entry(r, disclosures)
	if err != nil {
		t.Fatal(err)
	}
	return len(e.Payload)
}
