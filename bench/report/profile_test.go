package report

import (
	"strings"
	"testing"
)

func TestReadStages(t *testing.T) {
	const traces = `File: x
Type: cpu
-----------+-------------------------------------------------------
      10ms   runtime.memmove
             github.com/aver-authz/aver/internal/pdp.Decide
             github.com/aver-authz/aver/internal/api.(*API).run
             net/http.(*conn).serve
-----------+-------------------------------------------------------
      1.50s  internal/runtime/syscall/linux.Syscall6
             github.com/aver-authz/aver/internal/ledger.(*Log).commitLoop
-----------+-------------------------------------------------------
      20ms   runtime.futex
`
	got, err := ReadStages(strings.NewReader(traces), 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []Stage{{"commit groups: assembling, writing, fdatasync", 150_000}, {"other", 2000}, {"deciding besides: chain, context, gates", 1000}}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}
