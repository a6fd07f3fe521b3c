package main

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aver-authz/aver/internal/ledger/disk"
)

// bareCommits is the yardstick for durable decisions: the same number of callers, entries of the same size, group commit
// into a preallocated file, and nothing else: no leaves, no hashes, no signatures, no new segments.
func bareCommits(ctx context.Context, dir string, entryBytes int, d time.Duration) (rate float64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	b, err := newBare(filepath.Join(dir, "file"))
	if err != nil {
		return 0, err
	}
	defer b.close()
	entry := make([]byte, entryBytes)
	rand.Read(entry)
	commit := func(int) error { return b.commit(entry) }
	if _, err := repeat(d/4, commit); err != nil {
		return 0, err
	}
	if rate, err = repeat(d, commit); err != nil {
		return 0, err
	}
	return rate, ctx.Err()
}

const bareSize = 64 << 20

// bare commits groups: one write and one sync for all who wait.
type bare struct {
	file  disk.File
	mu    sync.Mutex
	work  sync.Cond
	group *group // that takes more
	end   bool
	ended chan struct{}
}

type group struct {
	bytes []byte
	done  chan struct{}
	err   error
}

func newBare(file string) (*bare, error) {
	f, err := disk.OS{}.Create(file)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(make([]byte, bareSize), 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	b := &bare{file: f, group: newGroup(nil), ended: make(chan struct{})}
	b.work.L = &b.mu
	go b.run()
	return b, nil
}

func newGroup(buffer []byte) *group { return &group{bytes: buffer[:0], done: make(chan struct{})} }

func (b *bare) run() {
	defer close(b.ended)
	var off int64
	var spare []byte
	for {
		b.mu.Lock()
		for len(b.group.bytes) == 0 && !b.end {
			b.work.Wait()
		}
		g := b.group
		b.group = newGroup(spare)
		b.mu.Unlock()
		if len(g.bytes) == 0 {
			return
		}
		if off+int64(len(g.bytes)) > bareSize {
			off = 0
		}
		if _, g.err = b.file.WriteAt(g.bytes, off); g.err == nil {
			g.err = b.file.Sync()
		}
		off += int64(len(g.bytes))
		spare = g.bytes
		close(g.done)
	}
}

func (b *bare) commit(entry []byte) error {
	b.mu.Lock()
	g := b.group
	g.bytes = append(g.bytes, entry...)
	b.mu.Unlock()
	b.work.Signal()
	<-g.done
	return g.err
}

func (b *bare) close() {
	b.mu.Lock()
	b.end = true
	b.mu.Unlock()
	b.work.Signal()
	<-b.ended
	b.file.Close()
}
