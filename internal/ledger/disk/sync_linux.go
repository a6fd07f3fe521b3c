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

// StartSync makes the kernel allocate and write the file's blocks, so that the first Sync of many files commits the
// metadata of all of them.
func (f osFile) StartSync() {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) // it is only a hint
}
