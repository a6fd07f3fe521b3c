package index

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// After a loss of power the files may hold anything, so what was being written then is made again; after a kill it is
// kept, and after a proper end there is no mark.
func TestWhatWasNotSyncedIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	there := func() bool {
		t.Helper()
		firsts, err := partitions(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(firsts) > 0
	}
	create := func() {
		t.Helper()
		p, err := openPartition(context.Background(), dir, 0, 1<<18, "test", true)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		what, boot string
		kept       bool
	}{
		{"the first start", "boot-1", false}, {"after a kill", "boot-1", true}, {"after a loss of power", "boot-2", false},
		{"where nobody knows", "", false}, {"where nobody knows, again", "", false},
	} {
		if err := begin(dir, step.boot); err != nil {
			t.Fatal(err)
		}
		if there() != step.kept {
			t.Errorf("%s: kept %t, want %t", step.what, !step.kept, step.kept)
		}
		if !there() {
			create()
		}
	}
	if err := end(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, markName)); !os.IsNotExist(err) {
		t.Errorf("the mark after a proper end: %v", err)
	}
	if err := begin(dir, "boot-9"); err != nil || !there() {
		t.Errorf("after a proper end: kept %t, %v", there(), err)
	}
}
