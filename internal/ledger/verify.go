package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"sort"
	"sync"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/segment"
)

// VerifyOptions configure [Verify]. Origin and Verifier are needed.
type VerifyOptions struct {
	Origin   string
	Verifier note.Verifier
	// LastSigned is as in [Options].
	LastSigned []byte
	// FS is the file system; nil means the operating system's.
	FS disk.FS
	// CheckEntry checks that the leaf commits to the payload, in whatever way the log's owner has chosen. It is called
	// for every entry, by several goroutines at once, those of one segment in order. nil checks nothing, and the payloads
	// are then covered by checksums only. Whether an entry may be erased (Entry.Erased) is for it to say, too.
	CheckEntry func(Indexed) error
	// Progress is told how many of how many bytes of segments have been checked. It may be nil. Calls don't overlap.
	Progress func(done, total int64)
}

// Report is what [Verify] found. It is about integrity under the given key; whether that is the right key, only the
// reader can know.
type Report struct {
	Origin string `json:"origin"`
	// Size is the number of entries that were checked, Root the base64 root of their tree.
	Size uint64 `json:"size"`
	Root string `json:"root"`
	// Checkpoint is the size the last checkpoint was signed for.
	Checkpoint uint64 `json:"checkpoint"`
	// Findings are what is wrong. There are none if the log is intact.
	Findings []Finding `json:"findings"`
	// Notes are what a crash leaves behind, and what the next start of the writer mends.
	Notes []Finding `json:"notes,omitempty"`
}

// OK reports whether nothing wrong was found.
func (r Report) OK() bool { return len(r.Findings) == 0 }

// Finding is one thing worth knowing about a file.
type Finding struct {
	File   string `json:"file"`            // relative to the log's directory
	Offset int64  `json:"offset"`          // in bytes; -1 if the whole file is meant
	Index  uint64 `json:"index,omitempty"` // of the first entry concerned, if What is about entries
	What   string `json:"what"`            // in plain words
}

func (f Finding) String() string {
	if f.Offset < 0 {
		return fmt.Sprintf("%s: %s", f.File, f.What)
	}
	return fmt.Sprintf("%s, byte %d: %s", f.File, f.Offset, f.What)
}

// Verify checks everything in the directory of a log, on its own terms: each segment's checksums, groups and links,
// each leaf against the tree, each payload with CheckEntry, each tile byte for byte against what the
// segments say, the checkpoint's signature and root. It also works while a writer has the log open. Its error says that
// the check could not be done; what is wrong with the log is in the report.
func Verify(ctx context.Context, dir string, o VerifyOptions) (Report, error) {
	opts, err := Options{Origin: o.Origin, Verifier: o.Verifier, FS: o.FS}.withDefaults()
	if err != nil {
		return Report{}, err
	}
	v := &verifier{dir: dir, fs: opts.FS, o: o, opts: opts, report: Report{Origin: o.Origin}}
	if err := v.run(ctx); err != nil {
		return Report{}, err
	}
	byPlace := func(f []Finding) func(i, j int) bool {
		return func(i, j int) bool {
			return f[i].File < f[j].File || f[i].File == f[j].File && f[i].Offset < f[j].Offset
		}
	}
	sort.SliceStable(v.report.Findings, byPlace(v.report.Findings))
	sort.SliceStable(v.report.Notes, byPlace(v.report.Notes))
	return v.report, nil
}

type verifier struct {
	dir  string
	fs   disk.FS
	o    VerifyOptions
	opts Options
	live bool // somebody may be writing the log
	cp   checkpoint
	// signed is the last checkpoint that is known from elsewhere.
	signed checkpoint

	mu     sync.Mutex
	report Report
	done   int64 // bytes
	total  int64
}

func (v *verifier) finding(file string, offset int64, index uint64, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Findings = append(v.report.Findings, Finding{file, offset, index, fmt.Sprintf(format, args...)})
}

func (v *verifier) note(file string, offset int64, index uint64, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Notes = append(v.report.Notes, Finding{file, offset, index, fmt.Sprintf(format, args...)})
}

func (v *verifier) progress(bytes int64) {
	if v.o.Progress == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done += bytes
	v.o.Progress(v.done, v.total)
}

func (v *verifier) run(ctx context.Context) error {
	var err error
	if v.signed, err = lastSigned(v.o.LastSigned, v.o.Origin, v.o.Verifier); err != nil {
		v.finding("", -1, 0, "%s", err)
		v.signed = checkpoint{root: segment.Root(nil)}
	}
	if _, err := v.fs.ReadDir(v.dir); v.signed.size > 0 && errors.Is(err, fs.ErrNotExist) {
		v.finding(".", -1, 0, "the log is missing, but its key has signed a checkpoint of %d entries", v.signed.size)
		v.report.Root = segment.Root(nil).String()
		return nil
	}
	if v.live, err = v.fs.Locked(path.Join(v.dir, lockName)); err != nil {
		return err
	}
	// On a live log the order matters: what a checkpoint covers has tiles, and what has tiles is in the segments.
	hasCheckpoint, err := v.checkCheckpoint()
	if err != nil {
		return err
	}
	tiles, err := v.listTiles()
	if err != nil {
		return err
	}
	if err := v.checkNames(); err != nil {
		return err
	}
	jobs, err := v.listSegments()
	if err != nil {
		return err
	}
	tree, err := v.checkSegments(ctx, jobs, tiles)
	if err != nil {
		return err
	}
	tree.finish()
	if !hasCheckpoint && tree.size > 0 {
		v.finding(checkpointName, -1, 0, "the checkpoint is missing")
	}
	v.checkRoot(tree)
	return nil
}

func (v *verifier) checkCheckpoint() (exists bool, err error) {
	b, err := readFile(v.fs, path.Join(v.dir, checkpointName), maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	cp, err := parseCheckpoint(b, v.o.Origin, v.o.Verifier)
	if err != nil {
		v.finding(checkpointName, -1, 0, "%s", err)
		return true, nil
	}
	v.cp = cp
	v.report.Checkpoint = cp.size
	return true, nil
}

// checkNames looks for files that don't belong to a log.
func (v *verifier) checkNames() error {
	infos, err := v.fs.ReadDir(v.dir)
	if err != nil {
		return err
	}
	for _, info := range infos {
		switch {
		case info.Dir && (info.Name == segmentsDir || info.Name == tileDir || info.Name == tmpDir):
		case info.Name == checkpointName && !info.Dir:
		case info.Name == lockName && !info.Dir:
			if info.Size > 0 {
				v.finding(lockName, 0, 0, "the lock file is not empty")
			}
		default:
			v.finding(info.Name, -1, 0, "this does not belong to the log")
		}
	}
	return walkFiles(v.fs, v.dir, tmpDir, func(name string, size int64) error {
		if !v.live {
			v.note(name, -1, 0, "left by a write that was interrupted; the next start removes it")
		}
		return nil
	})
}

// checkSegments checks the segments in parallel and hands what they hold to the tree, in order.
func (v *verifier) checkSegments(ctx context.Context, jobs []segmentJob, tiles *tileFiles) (*verifiedTree, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]chan segmentResult, len(jobs))
	for i := range results {
		results[i] = make(chan segmentResult, 1)
	}
	// A slot is held from the start of a segment's check until the tree has taken it in; so memory stays bounded.
	slots := make(chan struct{}, runtime.GOMAXPROCS(0)+1)
	go func() {
		for i, job := range jobs {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				res, err := v.checkSegment(ctx, job)
				if err != nil {
					cancel(err)
					return
				}
				results[i] <- res
			}()
		}
	}()
	tree := newVerifiedTree(v, tiles)
	defer tree.workers.Wait()
	for i := range jobs {
		select {
		case res := <-results[i]:
			tree.add(res)
			<-slots
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return tree, nil
}

// checkRoot compares the checkpoint with the tree.
func (v *verifier) checkRoot(tree *verifiedTree) {
	size := tree.size
	if v.live {
		// The last group may not be acknowledged yet.
		size = max(min(tree.lastGroup, size), min(v.cp.size, size))
	}
	v.report.Size = size
	v.report.Root = tree.root(size).String()
	if tree.broken {
		return // the reason has been found already
	}
	if v.cp.size > tree.size {
		v.finding(segmentsDir, -1, tree.size,
			"the segments hold %d entries, but the checkpoint was signed for %d", tree.size, v.cp.size)
		return
	}
	switch {
	case v.signed.size > tree.size:
		v.finding(segmentsDir, -1, tree.size, "the segments hold %d entries, but the log's key has signed a checkpoint of %d: "+
			"the directory is an older copy", tree.size, v.signed.size)
	case tree.root(v.signed.size) != v.signed.root:
		v.finding(segmentsDir, -1, 0, "%s", otherHistory(v.signed.size))
	case v.cp.note != nil && v.cp.size < v.signed.size: // what is kept of it is written after it
		v.finding(checkpointName, -1, 0, "the checkpoint is of %d entries, but the log's key has signed one of %d: it is an older copy",
			v.cp.size, v.signed.size)
	}
	if v.cp.note != nil && tree.root(v.cp.size) != v.cp.root {
		v.finding(checkpointName, -1, 0,
			"the checkpoint was signed for other entries than the first %d in the segments", v.cp.size)
	}
}
