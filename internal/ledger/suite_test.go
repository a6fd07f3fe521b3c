package ledger_test

import (
	"testing"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

func TestSuiteOS(t *testing.T) {
	ledgertest.Suite(t, func(t *testing.T) (disk.FS, string) { return disk.OS{}, t.TempDir() + "/log" })
}

func TestSuiteMemory(t *testing.T) {
	ledgertest.Suite(t, func(t *testing.T) (disk.FS, string) { return ledgertest.NewMem(), "/log" })
}

func TestSuiteFaultyWithoutFaults(t *testing.T) {
	ledgertest.Suite(t, func(t *testing.T) (disk.FS, string) { return ledgertest.NewFaulty(ledgertest.NewMem()), "/log" })
}
