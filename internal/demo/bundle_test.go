package demo

import (
	"testing"

	"github.com/aver-authz/aver/internal/policytest"
)

func TestBundleIsValidAndItsOwnTestsPass(t *testing.T) {
	b, err := Bundle()
	if err != nil {
		t.Fatal(err)
	}
	if !b.HasSchema() || b.Meta().Owner == "" || len(b.Tests()) < 20 {
		t.Errorf("the bundle should bring a schema, an owner and tests; it has %d tests", len(b.Tests()))
	}
	for _, r := range policytest.Run(b) {
		if !r.OK {
			t.Errorf("%s", r)
		}
	}
}
