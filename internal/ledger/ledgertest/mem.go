// Package ledgertest holds what tests of the ledger and of its users need: a file system in memory that forgets what
// was not synced, one that fails on demand, and the suite that every file system under the ledger runs.
package ledgertest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"

	"github.com/aver-authz/aver/internal/ledger/disk"
)

// ErrDead is what a file system answers after Kill or PowerLoss: its process is gone.
var ErrDead = errors.New("this process was killed")

// Mem is a file system in memory. It keeps apart what was written and what was synced, as a disk does: file contents
// by File.Sync, names by SyncDir. Use NewMem.
type Mem struct {
	mu       sync.Mutex
	dead     bool
	names    map[string]*node // path -> file or directory
	durable  map[string]*node // the names that a power loss leaves
	locks    map[string]bool
	capacity int64 // bytes; 0 means no limit
}

type node struct {
	dir    bool
	data   []byte
	synced []byte // content that a power loss leaves
}

// NewMem returns an empty file system.
func NewMem() *Mem {
	return &Mem{names: map[string]*node{}, durable: map[string]*node{}, locks: map[string]bool{}}
}

// SetCapacity limits the bytes of all files together; what is beyond fails with ENOSPC. 0 lifts the limit.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Used is the number of bytes of all files together.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used()
}

func (m *Mem) used() int64 {
	var n int64
	for _, f := range m.names {
		n += int64(len(f.data))
	}
	return n
}

// Kill ends the process that uses the file system, as kill -9 does, and returns the file system as the next process
// finds it: nothing that was written is lost.
func (m *Mem) Kill() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	after := NewMem()
	copies := map[*node]*node{}
	for p, n := range m.names {
		after.names[p] = n.copy(copies)
	}
	for p, n := range m.durable {
		after.durable[p] = n.copy(copies)
	}
	return after
}

func (n *node) copy(done map[*node]*node) *node {
	if c := done[n]; c != nil {
		return c
	}
	c := &node{dir: n.dir, data: append([]byte(nil), n.data...), synced: append([]byte(nil), n.synced...)}
	done[n] = c
	return c
}

// PowerLoss cuts the power and returns the file system as it is found afterwards. Of what was written and not synced,
// rnd decides which sectors of 512 bytes are kept, and which names are new or gone, each on its own; nil keeps nothing.
func (m *Mem) PowerLoss(rnd *rand.Rand) *Mem {
	after := m.Kill()
	written := after.names
	after.names = map[string]*node{}
	all := map[string]bool{}
	for p := range written {
		all[p] = true
	}
	for p := range after.durable {
		all[p] = true
	}
	paths := slices.Sorted(maps.Keys(all)) // parents first
	for _, p := range paths {
		n := after.durable[p]
		if rnd != nil && rnd.IntN(2) == 0 {
			n = written[p]
		}
		if n == nil || !after.parent(p) {
			continue
		}
		after.names[p] = n
	}
	settled := map[*node]bool{} // a file may have two names, an old one and a new one
	for _, p := range paths {
		if n := after.names[p]; n != nil && !settled[n] {
			n.data = survive(n, rnd)
			n.synced = append([]byte(nil), n.data...)
			settled[n] = true
		}
	}
	after.durable = maps.Clone(after.names)
	return after
}

// survive is the content of a file after a power loss.
func survive(n *node, rnd *rand.Rand) []byte {
	const sector = 512
	data := append([]byte(nil), n.synced...)
	if rnd == nil {
		return data
	}
	for off := 0; off < len(n.data) && off < len(data); off += sector {
		end := min(off+sector, len(n.data), len(data))
		if rnd.IntN(2) == 0 {
			copy(data[off:end], n.data[off:end])
		}
	}
	return data
}

// Files lists all files, by path.
func (m *Mem) Files() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var files []string
	for p, n := range m.names {
		if !n.dir {
			files = append(files, p)
		}
	}
	sort.Strings(files)
	return files
}

// Read returns a copy of a file's content; nil if there is none.
func (m *Mem) Read(p string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[path.Clean(p)]
	if n == nil {
		return nil
	}
	return append([]byte{}, n.data...)
}

// Put sets a file's content behind the ledger's back, durably.
func (m *Mem) Put(p string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p = path.Clean(p)
	n := &node{data: append([]byte(nil), data...), synced: append([]byte(nil), data...)}
	for {
		m.names[p], m.durable[p] = n, n
		if p = path.Dir(p); p == "/" || p == "." || m.names[p] != nil {
			return
		}
		n = &node{dir: true}
	}
}

// Flip inverts bits of one byte of a file, as bit rot or an attacker does.
func (m *Mem) Flip(p string, offset int, mask byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names[path.Clean(p)].data[offset] ^= mask
}

func pathError(op, p string, err error) error { return &fs.PathError{Op: op, Path: p, Err: err} }

// MkdirAll implements [disk.FS].
func (m *Mem) MkdirAll(p string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return pathError("mkdir", p, ErrDead)
	}
	for p = path.Clean(p); p != "/" && p != "."; p = path.Dir(p) {
		if n := m.names[p]; n != nil && !n.dir {
			return pathError("mkdir", p, fs.ErrExist)
		}
		if m.names[p] == nil {
			m.names[p] = &node{dir: true}
		}
	}
	return nil
}

func (m *Mem) parent(p string) bool {
	d := path.Dir(p)
	return d == "/" || d == "." || m.names[d] != nil && m.names[d].dir
}

// Create implements [disk.FS].
func (m *Mem) Create(p string) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p = path.Clean(p)
	switch {
	case m.dead:
		return nil, pathError("create", p, ErrDead)
	case m.names[p] != nil:
		return nil, pathError("create", p, fs.ErrExist)
	case !m.parent(p):
		return nil, pathError("create", p, fs.ErrNotExist)
	}
	n := &node{}
	m.names[p] = n
	return &memFile{m: m, n: n, name: p}, nil
}

// Open implements [disk.FS].
func (m *Mem) Open(p string) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p = path.Clean(p)
	if m.dead {
		return nil, pathError("open", p, ErrDead)
	}
	n := m.names[p]
	if n == nil {
		return nil, pathError("open", p, fs.ErrNotExist)
	}
	return &memFile{m: m, n: n, name: p}, nil
}

// Rename implements [disk.FS]. It renames files only.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = path.Clean(from), path.Clean(to)
	switch {
	case m.dead:
		return pathError("rename", from, ErrDead)
	case m.names[from] == nil || !m.parent(to):
		return pathError("rename", from, fs.ErrNotExist)
	case m.names[from].dir:
		return pathError("rename", from, syscall.EISDIR)
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

// Remove implements [disk.FS].
func (m *Mem) Remove(p string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p = path.Clean(p)
	n := m.names[p]
	switch {
	case m.dead:
		return pathError("remove", p, ErrDead)
	case n == nil:
		return pathError("remove", p, fs.ErrNotExist)
	}
	if n.dir {
		for q := range m.names {
			if strings.HasPrefix(q, p+"/") {
				return pathError("remove", p, syscall.ENOTEMPTY)
			}
		}
	}
	delete(m.names, p)
	return nil
}

// ReadDir implements [disk.FS].
func (m *Mem) ReadDir(p string) ([]disk.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p = path.Clean(p)
	if m.dead {
		return nil, pathError("readdir", p, ErrDead)
	}
	if n := m.names[p]; n == nil || !n.dir {
		return nil, pathError("readdir", p, fs.ErrNotExist)
	}
	var infos []disk.Info
	for q, n := range m.names {
		if path.Dir(q) == p {
			infos = append(infos, disk.Info{Name: path.Base(q), Size: int64(len(n.data)), Dir: n.dir})
		}
	}
	sort.Slice(infos, func(i, j int) bool { return infos[i].Name < infos[j].Name })
	return infos, nil
}

// SyncDir implements [disk.FS].
func (m *Mem) SyncDir(p string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p = path.Clean(p)
	if m.dead {
		return pathError("fsync", p, ErrDead)
	}
	for q := range m.durable {
		if path.Dir(q) == p && m.names[q] == nil {
			delete(m.durable, q)
		}
	}
	for q, n := range m.names {
		if path.Dir(q) == p {
			m.durable[q] = n
		}
	}
	return nil
}

// Free implements [disk.FS].
func (m *Mem) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.capacity == 0 {
		return 1 << 40, nil
	}
	return max(m.capacity-m.used(), 0), nil
}

// Lock implements [disk.FS].
func (m *Mem) Lock(p string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p = path.Clean(p)
	if m.dead {
		return nil, pathError("lock", p, ErrDead)
	}
	if m.locks[p] {
		return nil, fmt.Errorf("%s: %w", p, disk.ErrLocked)
	}
	if m.names[p] == nil {
		m.names[p] = &node{}
	}
	m.locks[p] = true
	return memLock{m, p}, nil
}

// Locked implements [disk.FS].
func (m *Mem) Locked(p string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.locks[path.Clean(p)], nil
}

type memLock struct {
	m *Mem
	p string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.p)
	return nil
}

type memFile struct {
	m      *Mem
	n      *node
	name   string
	closed bool
}

func (f *memFile) check(op string) error {
	if f.m.dead {
		return pathError(op, f.name, ErrDead)
	}
	if f.closed {
		return pathError(op, f.name, fs.ErrClosed)
	}
	return nil
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("read"); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write"); err != nil {
		return 0, err
	}
	if grow := off + int64(len(b)) - int64(len(f.n.data)); grow > 0 {
		if f.m.capacity > 0 && f.m.used()+grow > f.m.capacity {
			return 0, pathError("write", f.name, syscall.ENOSPC)
		}
		f.n.data = append(f.n.data, make([]byte, grow)...)
	}
	return copy(f.n.data[off:], b), nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("fdatasync"); err != nil {
		return err
	}
	f.n.synced = append(f.n.synced[:0], f.n.data...)
	return nil
}

func (f *memFile) StartSync() {}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate"); err != nil {
		return err
	}
	if size > int64(len(f.n.data)) {
		return pathError("truncate", f.name, fs.ErrInvalid)
	}
	f.n.data = f.n.data[:size:size]
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("stat"); err != nil {
		return 0, err
	}
	return int64(len(f.n.data)), nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.closed = true
	return nil
}
