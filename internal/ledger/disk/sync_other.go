//go:build unix && !linux

package disk

// Sync is the full sync that Go offers on systems other than Linux.
func (f osFile) Sync() error { return f.File.Sync() }

// StartSync does nothing here.
func (f osFile) StartSync() {}
