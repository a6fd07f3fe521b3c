package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/disk"
)

// projection writes tiles and checkpoints behind the commits. Only the holder of Log.projecting uses it.
type projection struct {
	edge edge
	// partials is the size of the last tree whose incomplete tiles were written.
	partials uint64
}

// projectStep is how many entries are written to tiles at once; it bounds the open files.
const projectStep = 64 * tileWidth

// projectLoop keeps the checkpoint close to the head until the log is closed.
func (l *Log) projectLoop() {
	defer close(l.projected)
	t := time.NewTicker(l.o.CheckpointEvery)
	defer t.Stop()
	for {
		select {
		case <-l.closing:
			return
		case <-l.projectKick:
			l.projectSteps()
			continue
		case <-t.C:
		}
		if _, err := l.CheckpointNow(context.Background()); err != nil && !errors.Is(err, ErrUnavailable) {
			l.log.Error("The log's tiles and checkpoint could not be written; trying again.", "origin", l.origin, "error", err)
		}
	}
}

// projectSteps writes the tiles of whole steps, so that under load the work is spread, and little is left to do when a
// checkpoint is due.
func (l *Log) projectSteps() {
	l.projecting <- struct{}{}
	defer func() { <-l.projecting }()
	for size, _ := l.Head(); l.secured.Load() && l.proj.edge.size+projectStep <= size; size, _ = l.Head() {
		if l.projectTo(l.proj.edge.size+projectStep, size+1) != nil {
			return // reported when a checkpoint is due and it still fails
		}
	}
}

// CheckpointNow returns a signed checkpoint that covers every entry committed before the call, writing the tiles that
// are missing. Calls at the same time share the work. ctx bounds the waiting for others, not the writing.
func (l *Log) CheckpointNow(ctx context.Context) ([]byte, error) {
	size, _ := l.Head()
	if cp := l.cp.Load(); cp.note != nil && cp.size >= size {
		return cp.note, nil
	}
	select {
	case l.projecting <- struct{}{}:
		defer func() { <-l.projecting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if cp := l.cp.Load(); cp.note != nil && cp.size >= size {
		return cp.note, nil
	}
	if err := l.project(); err != nil {
		return nil, err
	}
	return l.cp.Load().note, nil
}

// project brings tiles and checkpoint up to the head.
func (l *Log) project() error {
	if !l.secured.Load() {
		// What is in the segments may not be durable yet (see secure); nothing may be signed for it.
		return l.Health()
	}
	target, root := l.Head()
	for l.proj.edge.size < target {
		if err := l.projectTo(min(target, l.proj.edge.size+projectStep), target); err != nil {
			return err
		}
	}
	if cp := l.cp.Load(); cp.note != nil && cp.size == target {
		return nil
	}
	return l.publish(target, root)
}

// projectTo writes the tiles for the entries up to size; partial ones only if size is the target.
func (l *Log) projectTo(size, target uint64) error {
	p := projection{edge: l.proj.edge.clone(), partials: l.proj.partials}
	w := fileBatch{fs: l.fs, dir: l.dir}
	full := func(level int, n uint64, hashes []tlog.Hash) {
		w.add(tilePath(tlog.Tile{H: tileHeight, L: level, N: int64(n), W: tileWidth}), joinHashes(hashes))
	}
	err := l.leafHashes(p.edge.size, size, func(hash tlog.Hash) { p.edge.append(hash, full) })
	if err != nil {
		w.discard()
		return err
	}
	if size == target {
		for level, hashes := range p.edge.levels {
			t := tileAt(level, int64(size>>(tileHeight*(level+1))), size)
			if t.W > 0 && tileAt(level, t.N, p.partials) != t {
				w.add(tilePath(t), joinHashes(hashes))
			}
		}
		p.partials = size
	}
	if err := w.commit(); err != nil {
		return err
	}
	l.proj = p
	l.projectedSize.Store(size)
	l.recent.drop(size)
	return nil
}

// publish signs and writes the checkpoint of what has been projected, then removes the tiles it supersedes. What the
// tiles lead to must be what the committer has computed on its own.
func (l *Log) publish(size uint64, root tlog.Hash) error {
	if f := l.proj.edge.frontier(); f.size != size || f.root() != root {
		return &CorruptError{File: tileDir, Offset: -1, Index: size,
			Reason: "the tiles lead to another root than the committed entries; no checkpoint is signed for them"}
	}
	cp, err := signCheckpoint(l.o.Signer, size, root)
	if err != nil {
		return err
	}
	w := fileBatch{fs: l.fs, dir: l.dir}
	w.add(checkpointName, cp.note)
	if err := w.commit(); err != nil {
		return err
	}
	old := l.cp.Swap(&cp)
	if l.o.OnSigned != nil {
		l.o.OnSigned(cp.note)
	}
	for _, t := range superseded(old.size, size) {
		name := l.path(tilePath(t))
		if err := l.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log.Warn("A superseded partial tile could not be removed.", "file", name, "error", err)
		}
		// The directory <N>.p goes with its last tile.
		if tileAt(t.L, t.N, size).W == tileWidth {
			_ = l.fs.Remove(path.Dir(name)) // left until the next start if it is not empty
		}
	}
	return nil
}

// superseded lists the partial tiles of a tree of size older that a tree of size newer has no more.
func superseded(older, newer uint64) []tlog.Tile {
	var tiles []tlog.Tile
	for level := 0; older>>(tileHeight*level) > 0; level++ {
		t := tileAt(level, int64(older>>(tileHeight*(level+1))), older)
		if t.W > 0 && tileAt(level, t.N, newer) != t {
			tiles = append(tiles, t)
		}
	}
	return tiles
}

// fileBatch writes files so that all of them are complete and durable once commit returns, and each is either absent
// or complete at any time before.
type fileBatch struct {
	fs    disk.FS
	dir   string
	files []pendingFile
	err   error
}

type pendingFile struct {
	name string // relative to dir
	tmp  string
	f    disk.File
}

// add writes a file aside.
func (w *fileBatch) add(name string, data []byte) {
	if w.err != nil {
		return
	}
	p := pendingFile{name: name, tmp: path.Join(w.dir, tmpDir, strings.ReplaceAll(name, "/", "_"))}
	if p.f, w.err = w.fs.Create(p.tmp); errors.Is(w.err, fs.ErrExist) {
		// Left over from an attempt that failed and could not clean up.
		if w.err = w.fs.Remove(p.tmp); w.err == nil {
			p.f, w.err = w.fs.Create(p.tmp)
		}
	}
	if w.err != nil {
		return
	}
	w.files = append(w.files, p)
	_, w.err = p.f.WriteAt(data, 0)
	p.f.StartSync()
}

// commit syncs the files, gives them their names and syncs the directories. On error some files may have got their
// names; that does no harm, since each is complete.
func (w *fileBatch) commit() error {
	if w.err == nil {
		w.err = w.finish()
	}
	if w.err != nil {
		w.discard()
		return fmt.Errorf("writing tiles: %w", w.err)
	}
	return nil
}

func (w *fileBatch) finish() error {
	for _, p := range w.files {
		if err := p.f.Sync(); err != nil {
			return err
		}
	}
	dirs := map[string]bool{}
	for i, p := range w.files {
		err := p.f.Close()
		w.files[i].f = nil
		if err != nil {
			return err
		}
		d := path.Dir(p.name)
		if !dirs[d] {
			if err := w.fs.MkdirAll(path.Join(w.dir, d)); err != nil {
				return err
			}
		}
		if err := w.fs.Rename(p.tmp, path.Join(w.dir, p.name)); err != nil {
			return err
		}
		// A new directory must be durable in its parent, and so on.
		for ; !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	for _, d := range sortedKeys(dirs) {
		if err := w.fs.SyncDir(path.Join(w.dir, d)); err != nil {
			return err
		}
	}
	w.files = nil
	return nil
}

// discard removes what was written aside.
func (w *fileBatch) discard() {
	for _, p := range w.files {
		if p.f != nil {
			p.f.Close()
		}
		_ = w.fs.Remove(p.tmp) // the next start clears the directory
	}
	w.files = nil
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
