package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aver-authz/aver/internal/ledger/disk"
)

// Nothing of the index is synced while it is written: a sync of it would keep the logs' own waiting, and it can be made
// again. So after a loss of power its files may hold anything. A mark says in which run of the system they are being
// written; a mark of another run means that all of it is made again. That a process was killed does no harm.

const markName = "writing"

// bootID names this run of the system; "" where nothing does, which is no run that a mark is of.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// begin throws away what was being written in another run of the system, and marks that it is being written in this.
func begin(dir, boot string) error {
	mark := filepath.Join(dir, markName)
	was, err := os.ReadFile(mark)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("index: %w", err)
	case boot == "" || string(was) != boot:
		firsts, err := partitions(dir)
		if err != nil {
			return err
		}
		for _, first := range firsts {
			if err := removePartition(dir, first); err != nil {
				return fmt.Errorf("index: %w", err)
			}
		}
	default:
		return nil
	}
	f, err := os.OpenFile(mark, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	_, err = f.WriteString(boot)
	err = errors.Join(err, f.Sync(), f.Close(), (disk.OS{}).SyncDir(dir))
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// end syncs what was written, and takes the mark away. The files are closed.
func end(dir string) error {
	firsts, err := partitions(dir)
	if err != nil {
		return err
	}
	for _, first := range firsts {
		f, err := os.Open(filepath.Join(dir, fileName(first)))
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("index: %w", err)
		}
	}
	if err := (disk.OS{}).SyncDir(dir); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, markName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}
