package pdp_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

// Where all of the context can be read, a caller that sends very much of it takes
// time in proportion: in its square, this would take half a minute.
func TestWideContextIsMadeInProportion(t *testing.T) {
	w := newWorld(t, `permit (principal, action == Action::"pay", resource) unless { context == {} };`)
	req := request(t, pay(aliceJSON, 5, ""))
	req.Context = make(map[string]any, 100_000)
	for i := range 100_000 {
		req.Context[fmt.Sprintf("member-%06d", i)] = true
	}
	q, begin := pdp.NewQuery(req), time.Now()
	if d, _ := pdp.Decide(w.st, q, start+1, nil); d.Outcome != aver.Permitted {
		t.Errorf("%s: %+v", d.Outcome, d.Reasons)
	}
	if len(pdp.Views(w.st, q, start+1)) == 0 {
		t.Error("there is nothing to explain")
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}
