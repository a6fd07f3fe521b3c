package ledgertest

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/aver-authz/aver/internal/ledger/disk"
)

// Faulty is a file system that fails on demand. It counts every operation that changes something (create, write,
// sync, truncate, rename, remove, mkdir, syncdir).
type Faulty struct {
	disk.FS
	mu     sync.Mutex
	faults []*fault
	counts map[string]int
	trace  []string
	hooks  map[int]func()
	on     []hook
}

type hook struct {
	op, match string
	do        func()
}

// NewFaulty wraps a file system.
func NewFaulty(inner disk.FS) *Faulty { return &Faulty{FS: inner, counts: map[string]int{}} }

type fault struct {
	op    string // or "any"
	match string // part of the path
	left  int    // operations that still succeed
	times int    // operations that then fail; -1 for all
	when  when
	err   error
}

// when says what a failing operation does to the disk.
type when int

const (
	before when = iota // nothing
	torn               // half of it; writes only
	after              // all of it
)

// Inject adds a fault from its description, in words:
//
//	OP [N] [of PATH] [before|torn|after] [N times|forever] ERROR
//
// OP is create, write, sync, truncate, rename, remove, mkdir, syncdir or any; N counts from now, the first being 1;
// PATH is a part of the file's path (a file keeps the one it was created with); before (the default) fails without
// effect, after fails although it took effect, torn writes half of it; ERROR is EIO or ENOSPC. "sync 3 of segments after EIO", "write of tile 2 times ENOSPC".
func (f *Faulty) Inject(description string) error {
	words := strings.Fields(description)
	bad := fmt.Errorf("%q is not a fault", description)
	if len(words) < 2 {
		return bad
	}
	ft := &fault{op: words[0], times: 1}
	words = words[1:]
	for i := 0; i < len(words); i++ {
		n, err := strconv.Atoi(words[i])
		switch {
		case err == nil && i+1 < len(words) && words[i+1] == "times":
			ft.times = n
			i++
		case err == nil:
			ft.left = n - 1
		case words[i] == "of" && i+1 < len(words):
			ft.match = words[i+1]
			i++
		case words[i] == "before":
		case words[i] == "torn":
			ft.when = torn
		case words[i] == "after":
			ft.when = after
		case words[i] == "forever":
			ft.times = -1
		case words[i] == "EIO":
			ft.err = syscall.EIO
		case words[i] == "ENOSPC":
			ft.err = syscall.ENOSPC
		default:
			return bad
		}
	}
	if ft.err == nil {
		return bad
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, ft)
	return nil
}

// Before calls do, which must not use f, before the n'th operation from the start, of whatever kind.
func (f *Faulty) Before(n int, do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hooks == nil {
		f.hooks = map[int]func(){}
	}
	f.hooks[n] = do
}

// On calls do before the next operation of that kind on a path that contains match.
func (f *Faulty) On(op, match string, do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = append(f.on, hook{op, match, do})
}

// Heal removes all faults.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Count is how many operations of that kind there have been; of all kinds for "any".
func (f *Faulty) Count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[op]
}

// Trace lists all operations so far, one "op path" each.
func (f *Faulty) Trace() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.trace...)
}

// do runs an operation, or lets it fail.
func (f *Faulty) do(op, p string, effect func() error) error { return f.doTorn(op, p, effect, nil) }

func (f *Faulty) doTorn(op, p string, effect, half func() error) error {
	f.mu.Lock()
	f.counts[op]++
	f.counts["any"]++
	f.trace = append(f.trace, op+" "+p)
	if do := f.hooks[f.counts["any"]]; do != nil {
		do()
	}
	var due func()
	for i, h := range f.on {
		if h.op == op && strings.Contains(p, h.match) {
			due = h.do
			f.on = append(f.on[:i:i], f.on[i+1:]...)
			break
		}
	}
	var hit *fault
	for _, ft := range f.faults {
		if ft.op != "any" && ft.op != op || !strings.Contains(p, ft.match) || ft.times == 0 {
			continue
		}
		if ft.left > 0 {
			ft.left--
			continue
		}
		if hit == nil {
			hit = ft
			if ft.times > 0 {
				ft.times--
			}
		}
	}
	f.mu.Unlock()
	if due != nil {
		due() // without the lock, since it may cause operations itself
	}
	if hit == nil {
		return effect()
	}
	switch {
	case hit.when == after:
		if err := effect(); err != nil {
			return err
		}
	case hit.when == torn && half != nil:
		if err := half(); err != nil {
			return err
		}
	}
	return pathError(op, p, hit.err)
}

// MkdirAll implements [disk.FS].
func (f *Faulty) MkdirAll(p string) error {
	return f.do("mkdir", p, func() error { return f.FS.MkdirAll(p) })
}

// Create implements [disk.FS].
func (f *Faulty) Create(p string) (disk.File, error) {
	var file disk.File
	err := f.do("create", p, func() (err error) { file, err = f.FS.Create(p); return err })
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, err
	}
	return &faultyFile{file, f, p}, nil
}

// Rename implements [disk.FS].
func (f *Faulty) Rename(from, to string) error {
	return f.do("rename", to, func() error { return f.FS.Rename(from, to) })
}

// Remove implements [disk.FS].
func (f *Faulty) Remove(p string) error {
	return f.do("remove", p, func() error { return f.FS.Remove(p) })
}

// SyncDir implements [disk.FS].
func (f *Faulty) SyncDir(p string) error {
	return f.do("syncdir", path.Clean(p), func() error { return f.FS.SyncDir(p) })
}

type faultyFile struct {
	disk.File
	f    *Faulty
	name string
}

func (w *faultyFile) WriteAt(b []byte, off int64) (n int, err error) {
	write := func(b []byte) func() error {
		return func() (err error) { n, err = w.File.WriteAt(b, off); return err }
	}
	err = w.f.doTorn("write", w.name, write(b), write(b[:len(b)/2]))
	return n, err
}

func (w *faultyFile) Sync() error { return w.f.do("sync", w.name, w.File.Sync) }

func (w *faultyFile) Truncate(size int64) error {
	return w.f.do("truncate", w.name, func() error { return w.File.Truncate(size) })
}
