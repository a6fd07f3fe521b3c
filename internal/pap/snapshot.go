package pap

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// snapshots keeps track of the snapshot file.
type snapshots struct {
	size    uint64      // of the state that was last written, or read; guarded by Point.writer
	writing atomic.Bool // in the background
	running sync.WaitGroup
}

// loadSnapshot returns the state of the snapshot if there is one that belongs to this log, else the empty state.
func (p *Point) loadSnapshot() *Current {
	empty := &Current{State: authority.New(), Head: emptyHead}
	if p.o.SnapshotPath == "" {
		return empty
	}
	c, err := p.readSnapshot()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return empty
	case err != nil:
		p.o.Logger.Warn("the snapshot of the authority is of no use and is made again from the log", "file", p.o.SnapshotPath, "reason", err)
		return empty
	}
	return c
}

// emptyHead is that of a log without entries: SHA-256 of nothing (RFC 6962, section 2.1).
var emptyHead = aver.TreeHead{Root: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}

func (p *Point) readSnapshot() (*Current, error) {
	f, err := os.Open(p.o.SnapshotPath)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, root, err := authority.ReadSnapshot(bufio.NewReader(f))
	if err != nil {
		return nil, err
	}
	if size, _ := p.log.Head(); st.Size() > size {
		return nil, fmt.Errorf("it is of %d events, and the log has %d", st.Size(), size)
	}
	hash, err := p.log.TreeHash(st.Size())
	if err != nil {
		return nil, fmt.Errorf("root of the log at event %d: %w", st.Size(), err)
	}
	c := &Current{State: st, Head: head(st.Size(), hash)}
	if c.Head.Root != root {
		return nil, fmt.Errorf("it belongs to another log: the root at event %d differs", st.Size())
	}
	return c, nil
}

// snapshotIfDue writes a snapshot in the background if enough has changed since the last: so much that writing them
// stays a small part of the work however large the state is. The caller is the writer.
func (p *Point) snapshotIfDue() {
	at := p.Current()
	due := at.Head.Size-p.snapshots.size >= max(p.o.SnapshotEvery, at.Head.Size/8)
	if !due || p.o.SnapshotPath == "" || !p.snapshots.writing.CompareAndSwap(false, true) {
		return
	}
	p.snapshots.size = at.Head.Size
	p.snapshots.running.Go(func() {
		defer p.snapshots.writing.Store(false)
		if err := p.writeSnapshot(at); err != nil {
			p.o.Logger.Warn("the snapshot of the authority was not written, so the next start will take longer", "reason", err)
		}
	})
}

// writeSnapshot replaces the snapshot file in one step.
func (p *Point) writeSnapshot(at *Current) (err error) {
	temporary := p.o.SnapshotPath + ".tmp"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = at.State.WriteSnapshot(f, at.Head.Root)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary, p.o.SnapshotPath)
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
}
