package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// long runs the exhaustive forms of tests that otherwise take a sample: AVER_LONG=1 go test ./internal/ledger
var long = os.Getenv("AVER_LONG") != ""

// stride is by how much a sample steps through n cases.
func stride(n, sample int) int {
	if long {
		return 1
	}
	return max(n/sample, 1)
}

const workloadEntries = 32

// TestEveryFault lets each operation of a workload fail in turn, before, halfway and after it took effect, and once more
// with the process killed or the power cut at the end.
func TestEveryFault(t *testing.T) {
	plain := ledgertest.NewFaulty(ledgertest.NewMem())
	ledgertest.Workload(plain, "/log", workloadEntries)
	n := plain.Count("any") + 5 // recovery adds some
	injected := 0
	endings := []string{"closed", "killed", "power cut"}
	for k := 1; k <= n; k += stride(n, 60) {
		for i, when := range []string{"before", "torn", "after"} {
			ending := endings[(k+i)%3]
			injected++
			description := fmt.Sprintf("any %d %s EIO", k, when)
			mem := ledgertest.NewMem()
			fsys := ledgertest.NewFaulty(mem)
			if err := fsys.Inject(description); err != nil {
				t.Fatal(err)
			}
			out := ledgertest.Workload(fsys, "/log", workloadEntries)
			switch ending {
			case "killed":
				mem = mem.Kill()
			case "power cut":
				mem = mem.PowerLoss(rand.New(rand.NewPCG(uint64(k), uint64(i))))
			}
			ledgertest.CheckOutcome(t, mem, "/log", out)
			if len(out.Acked) == 0 && k > 30 {
				t.Error("nothing was acknowledged, so nothing was tested")
			}
			if t.Failed() {
				trace := fsys.Trace()
				t.Fatalf("after %q, then %s; the operation was %q", description, ending, trace[min(k, len(trace))-1])
			}
		}
	}
	t.Logf("%d faults injected", injected)
}

// TestPowerLossAnywhere cuts the power before each operation of a workload: with nothing kept but what was synced, and
// with a random choice of the other sectors kept.
func TestPowerLossAnywhere(t *testing.T) {
	plain := ledgertest.NewFaulty(ledgertest.NewMem())
	ledgertest.Workload(plain, "/log", workloadEntries)
	n := plain.Count("any")
	most := 0
	for k := 1; k <= n; k += stride(n, 80) {
		for seed := range uint64(3) {
			var rnd *rand.Rand
			if seed > 0 {
				rnd = rand.New(rand.NewPCG(uint64(k), seed))
			}
			mem := ledgertest.NewMem()
			var after *ledgertest.Mem
			fsys := ledgertest.NewFaulty(mem)
			fsys.Before(k, func() { after = mem.PowerLoss(rnd) })
			out := ledgertest.Workload(fsys, "/log", workloadEntries)
			if after == nil {
				continue // fewer operations this time
			}
			most = max(most, ledgertest.CheckOutcome(t, after, "/log", out))
			if t.Failed() {
				t.Fatalf("after a power loss before operation %d, %q, seed %d", k, fsys.Trace()[k-1], seed)
			}
		}
	}
	if most < workloadEntries/2 {
		t.Errorf("at most %d entries were there: the power was never cut late", most)
	}
}

// TestKillAnywhere ends the process before each operation of a workload, as kill -9 does, and verifies before anybody
// has repaired anything.
func TestKillAnywhere(t *testing.T) {
	plain := ledgertest.NewFaulty(ledgertest.NewMem())
	ledgertest.Workload(plain, "/log", workloadEntries)
	n := plain.Count("any")
	for k := 20; k <= n; k += stride(n, 80) {
		mem := ledgertest.NewMem()
		var after *ledgertest.Mem
		fsys := ledgertest.NewFaulty(mem)
		fsys.Before(k, func() { after = mem.Kill() })
		out := ledgertest.Workload(fsys, "/log", workloadEntries)
		if after == nil {
			continue
		}
		if r := ledgertest.Verify(t, after, "/log"); !r.OK() {
			t.Errorf("verify before recovery: %+v", r)
		}
		ledgertest.CheckOutcome(t, after, "/log", out)
		if t.Failed() {
			t.Fatalf("after a kill before operation %d, %q", k, fsys.Trace()[k-1])
		}
	}
}

// TestScenarios runs the faults described in testdata/faults.txt.
func TestScenarios(t *testing.T) {
	b, err := os.ReadFile("testdata/faults.txt")
	if err != nil {
		t.Fatal(err)
	}
	for scenario := range strings.SplitSeq(string(b), "\n\n") {
		lines := strings.Split(strings.TrimSpace(scenario), "\n")
		name := strings.TrimPrefix(lines[0], "# ")
		t.Run(name, func(t *testing.T) {
			mem := ledgertest.NewMem()
			fsys := ledgertest.NewFaulty(mem)
			var expect string
			for _, line := range lines[1:] {
				if want, ok := strings.CutPrefix(line, "expect "); ok {
					expect = want
				} else if err := fsys.Inject(line); err != nil {
					t.Fatal(err)
				}
			}
			out := ledgertest.Workload(fsys, "/log", workloadEntries)
			got := fmt.Sprintf("%d acknowledged, %d in doubt", len(out.Acked), len(out.Doubtful))
			if got != expect {
				t.Errorf("%s, want %s", got, expect)
			}
			ledgertest.CheckOutcome(t, mem.Kill(), "/log", out)
		})
	}
}
