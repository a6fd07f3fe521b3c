// Package disk is the seam between the ledger and the file system.
//
// It offers only what the ledger needs, so that a test can let each write, sync, rename and create fail, before or
// after it took effect, and can cut the power between any two of them. The released binary uses [OS] and pays nothing
// but an interface call for it.
package disk

import (
	"errors"
	"io"
)

// ErrLocked says that another process (or another opener in this one) holds a lock.
var ErrLocked = errors.New("locked by another process")

// FS is a file system. Paths are slash-separated and absolute or relative to the working directory. Errors satisfy
// errors.Is(err, fs.ErrNotExist) and so on, as those of package os do. An FS is safe for concurrent use.
type FS interface {
	// MkdirAll makes a directory and its parents, mode 0700. It is not durable before SyncDir of each parent.
	MkdirAll(path string) error
	// Create makes a new, empty file, mode 0600, for reading and writing. It fails if the file exists.
	// The name is not durable before SyncDir of its directory.
	Create(path string) (File, error)
	// Open opens a file for reading only.
	Open(path string) (File, error)
	// Rename gives a file its new name, replacing what had it. Not durable before SyncDir.
	Rename(from, to string) error
	// Remove removes a file or an empty directory. Not durable before SyncDir.
	Remove(path string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(path string) ([]Info, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
	// Free is how many bytes can still be written below a directory, as far as can be known in advance.
	Free(path string) (int64, error)
	// Lock takes an exclusive lock that ends with Close, or with the process. It creates the file if need be.
	// It returns ErrLocked at once if somebody else holds it.
	Lock(path string) (io.Closer, error)
	// Locked reports whether somebody holds the lock of that name. It takes and changes nothing.
	Locked(path string) (bool, error)
}

// File is an open file. It is safe for concurrent use, except that nobody may use it after Close.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync returns once the file's content and length are durable (fdatasync). After an error nothing is known about
	// what is on the disk, and a second Sync that succeeds proves nothing: don't trust the file again.
	Sync() error
	// StartSync begins to write the file's content to the disk and does not wait for it. It promises nothing; it makes
	// the Syncs of many files cheaper that follow.
	StartSync()
	// Truncate sets the file's length.
	Truncate(size int64) error
	// Size is the file's length in bytes.
	Size() (int64, error)
}

// Info describes one name in a directory.
type Info struct {
	Name string
	Size int64 // bytes; 0 for a directory
	Dir  bool
}
