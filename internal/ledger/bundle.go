package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/mod/sumdb/tlog"
)

// Entry bundles (C2SP tlog-tiles) are made from the segments when somebody asks for them. Earlier versions stored them
// in bundleDir.

// entriesLevel is the level of entry bundles, as in tlog.Tile.
const entriesLevel = -1

const bundleDir = tileDir + "/entries"

// bundle makes an entry bundle: for each entry a big-endian uint16 length, then the leaf. Its entries must be committed.
func (r *reader) bundle(t tlog.Tile) ([]byte, error) {
	from := uint64(t.N) * tileWidth
	b := make([]byte, 0, t.W*256) // about what leaves of decisions take
	err := r.leaves(from, from+uint64(t.W), func(_ uint64, leaf []byte) {
		b = binary.BigEndian.AppendUint16(b, uint16(len(leaf)))
		b = append(b, leaf...)
	})
	return b, err
}

// removeBundles removes the entry bundles that an earlier version has stored, and reports how many there were. What is
// not an entry bundle stays.
func (l *Log) removeBundles(dir string) (int, error) {
	infos, err := l.fs.ReadDir(l.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, info := range infos {
		name := path.Join(dir, info.Name)
		if info.Dir {
			n, err := l.removeBundles(name)
			if removed += n; err != nil {
				return removed, err
			}
		} else if _, ok := parseTilePath(name); ok {
			if err := l.fs.Remove(l.path(name)); err != nil {
				return removed, fmt.Errorf("removing a stored entry bundle: %w", err)
			}
			removed++
		}
	}
	_ = l.fs.Remove(l.path(dir)) // stays if it is not empty
	return removed, nil
}
