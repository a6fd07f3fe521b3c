package proc

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// DiskUse is what a directory takes.
type DiskUse struct {
	Bytes     int64 // the lengths of all files
	Allocated int64 // what the file system keeps for them: whole blocks, directories and preallocated space included
	Files     int
}

// DiskUseOf adds up everything below a directory. Files that vanish meanwhile are left out.
func DiskUseOf(dir string) (DiskUse, error) {
	var u DiskUse
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			u.Allocated += st.Blocks * 512 // stat(2): in units of 512 bytes, whatever the file system's blocks
		}
		if d.Type().IsRegular() {
			u.Bytes += info.Size()
			u.Files++
		}
		return nil
	})
	return u, err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
