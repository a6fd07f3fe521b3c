package disk

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Sync is fdatasync: for a preallocated file it writes no metadata, which is what makes a commit cheap.
func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}
