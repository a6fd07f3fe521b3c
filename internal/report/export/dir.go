package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
)

// ManifestName is the file in an export's directory that says what is there, and where the next run goes on.
const ManifestName = "manifest.json"

// manifestVersion changes with the form of the manifest.
const manifestVersion = 1

// Manifest is an export so far. A file counts once the manifest names it; it is written after the file, in one step.
type Manifest struct {
	Version   int    `json:"aver_export"`
	Format    Format `json:"format"`
	Disclosed bool   `json:"disclosed"` // whether sensitive values are in it
	// Logs say, by table, up to where entries were exported, and the root of the log at that size, by which the next
	// run knows that it goes on with the same log.
	Logs     map[Table]*Progress `json:"logs"`
	Findings map[string]string   `json:"findings,omitempty"` // of each that was exported: the digest of what was said
	Files    []File              `json:"files"`
}

// Progress is how far a log was exported.
type Progress struct {
	Log   string    `json:"log"`   // origin
	First uint64    `json:"first"` // where the export begins
	Next  uint64    `json:"next"`  // where it goes on
	Root  tlog.Hash `json:"root"`  // of the tree of size Next
}

// File is one file of an export.
type File struct {
	Name   string `json:"name"`
	Table  Table  `json:"table"`
	First  uint64 `json:"first"` // entries [First, End) of the log
	End    uint64 `json:"end"`
	Rows   int    `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // in hexadecimal, as sha256sum prints it
}

// Options are those of [Run].
type Options struct {
	Format Format
	Dir    string // is made if need be
	Since  uint64 // index in the decision log at which a new export begins
	Chunk  uint64 // entries of a file; 0: 50,000
	// Saved is told each file once the manifest names it; it may be nil.
	Saved func(File)
}

const defaultChunk = 50_000

// Run exports what was added to the logs since the last run in a directory, or all from Since on, and returns the
// manifest. It can be interrupted at any moment and run again: nothing is exported twice, and nothing is left out.
func Run(ctx context.Context, s *Source, o Options) (*Manifest, error) {
	if o.Chunk == 0 {
		o.Chunk = defaultChunk
	}
	if o.Format == XLSX {
		o.Chunk = min(o.Chunk, MaxSheetRows)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	m, err := openManifest(s, o)
	if err != nil {
		return nil, err
	}
	r := run{s: s, o: o, m: m}
	for _, t := range o.Format.Tables() {
		if t == Findings {
			err = r.findings(ctx)
		} else {
			err = r.table(ctx, t)
		}
		if err != nil {
			return m, err
		}
	}
	return m, nil
}

// openManifest reads the manifest of the runs before, or begins one.
func openManifest(s *Source, o Options) (*Manifest, error) {
	text, err := os.ReadFile(filepath.Join(o.Dir, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return newManifest(s, o)
	}
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(o.Dir, ManifestName), err)
	}
	switch {
	case m.Format != o.Format:
		return nil, fmt.Errorf("%s holds an export in the format %s: choose another directory for %s", o.Dir, m.Format, o.Format)
	case m.Disclosed != s.Disclose:
		return nil, fmt.Errorf("%s holds an export with sensitive values %s: choose another directory", o.Dir, map[bool]string{true: "disclosed", false: "withheld"}[m.Disclosed])
	}
	for t, p := range m.Logs {
		if o.Since != 0 && t != Events && o.Since != p.First {
			return nil, fmt.Errorf("the export in %s begins at entry %d: leave --since out to go on with it, or choose another directory", o.Dir, p.First)
		}
		if err := p.follows(s.log(t)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func newManifest(s *Source, o Options) (*Manifest, error) {
	m := &Manifest{Version: manifestVersion, Format: o.Format, Disclosed: s.Disclose, Logs: map[Table]*Progress{}, Files: []File{}}
	for _, t := range o.Format.Tables() {
		if t == Findings {
			m.Findings = map[string]string{}
			continue
		}
		p := &Progress{Log: s.log(t).Origin()}
		if t != Events {
			p.First, p.Next = o.Since, o.Since
		}
		var err error
		if p.Root, err = s.log(t).TreeHash(p.Next); err != nil {
			return nil, fmt.Errorf("the log has no entry %d to begin with: %w", p.Next, err)
		}
		m.Logs[t] = p
	}
	return m, nil
}

// ParseManifest reads a manifest.
func ParseManifest(text []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("it is not a manifest of version %d", manifestVersion)
	}
	if _, _, err := Parse(string(m.Format), ""); err != nil {
		return nil, err
	}
	for t, p := range m.Logs {
		if _, _, err := Parse(string(m.Format), string(t)); err != nil || p == nil {
			return nil, fmt.Errorf("its table %q is none of the format %s", t, m.Format)
		}
	}
	return &m, nil
}

// follows checks that a log is the one that was exported so far.
func (p *Progress) follows(log Log) error {
	if log.Origin() != p.Log {
		return fmt.Errorf("the export so far is of the log %s, and this is %s: choose another directory", p.Log, log.Origin())
	}
	root, err := log.TreeHash(p.Next)
	if err != nil {
		return fmt.Errorf("%d entries of %s were exported, and the log has fewer: %w", p.Next, p.Log, err)
	}
	if root != p.Root {
		return fmt.Errorf("the log %s has other entries than those that were exported: it was replaced", p.Log)
	}
	return nil
}

type run struct {
	s *Source
	o Options
	m *Manifest
}

// table exports what a table's log has beyond what was exported, a file at a time.
func (r *run) table(ctx context.Context, t Table) error {
	log, p := r.s.log(t), r.m.Logs[t]
	if p == nil {
		return fmt.Errorf("the manifest does not say how far the table %s was exported", t)
	}
	size, _ := log.Head()
	for p.Next < size {
		end := min(p.Next+r.o.Chunk, size)
		f, err := r.write(ctx, t, p.Next, end)
		if err != nil {
			return fmt.Errorf("entries %d to %d: %w", p.Next, end, err)
		}
		root, err := log.TreeHash(end)
		if err != nil {
			return err
		}
		p.Next, p.Root = end, root
		if err := r.save(f); err != nil {
			return err
		}
	}
	return nil
}

// fileName is that of the file that begins at an entry. It does not name the end, so that a file that was interrupted
// is written over by the one that takes its place.
func (r *run) fileName(t Table, first uint64) string {
	return fmt.Sprintf("%s-%012d%s", t, first, r.o.Format.Suffix())
}

// write writes the file of some entries.
func (r *run) write(ctx context.Context, t Table, first, end uint64) (File, error) {
	return r.put(r.fileName(t, first), func(w io.Writer) (File, error) {
		rows, err := r.s.Write(ctx, w, r.o.Format, t, first, end)
		return File{Table: t, First: first, End: end, Rows: rows}, err
	})
}

// put writes a file, as a whole or not at all.
func (r *run) put(name string, content func(io.Writer) (File, error)) (File, error) {
	temp, err := os.CreateTemp(r.o.Dir, ".part-*")
	if err != nil {
		return File{}, err
	}
	defer os.Remove(temp.Name())
	sum := sha256.New()
	f, err := content(io.MultiWriter(temp, sum))
	if err == nil {
		f.Bytes, err = temp.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return File{}, err
	}
	f.Name, f.SHA256 = name, hex.EncodeToString(sum.Sum(nil))
	return f, os.Rename(temp.Name(), filepath.Join(r.o.Dir, name))
}

// save makes a file count.
func (r *run) save(f File) error {
	if f.Name != "" {
		r.m.Files = append(r.m.Files, f)
	}
	text, err := json.MarshalIndent(r.m, "", "  ")
	if err != nil {
		return err
	}
	_, err = r.put(ManifestName, func(w io.Writer) (File, error) {
		_, err := w.Write(append(text, '\n'))
		return File{}, err
	})
	if err == nil && f.Name != "" && r.o.Saved != nil {
		r.o.Saved(f)
	}
	return err
}

// findings exports the control gaps of which there is something new to say.
func (r *run) findings(ctx context.Context) error {
	if r.s.Findings == nil {
		return nil
	}
	list, err := r.s.Findings(ctx)
	if err != nil {
		return fmt.Errorf("control gaps: %w", err)
	}
	size, _ := r.s.Decisions.Head()
	said := map[string]string{}
	number := uint64(0)
	for _, f := range r.m.Files {
		if f.Table == Findings {
			number++
		}
	}
	name := r.fileName(Findings, number)
	f, err := r.put(name, func(w io.Writer) (File, error) {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		file := File{Table: Findings, End: size}
		for _, finding := range list {
			text, err := aver.CanonicalJSON(finding)
			if err != nil {
				return file, err
			}
			digest := aver.Digest(text)
			before, known := r.m.Findings[finding.ID]
			if before == digest {
				continue
			}
			said[finding.ID] = digest
			file.Rows++
			if err := out.Encode(r.s.ocsfFinding(&finding, !known)); err != nil {
				return file, err
			}
		}
		return file, nil
	})
	if err != nil {
		return err
	}
	if len(said) == 0 {
		return os.Remove(filepath.Join(r.o.Dir, name))
	}
	if r.m.Findings == nil {
		r.m.Findings = map[string]string{}
	}
	for id, digest := range said {
		r.m.Findings[id] = digest
	}
	return r.save(f)
}

// ours are the names of files of exports.
var ours = regexp.MustCompile(`^[a-z]+-[0-9]{12}\.[a-z]+$`)

// CheckDir checks the files of an export against its manifest, and returns what is wrong, one plain sentence each.
func CheckDir(dir string) (m *Manifest, wrong []string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if err != nil {
		return nil, nil, err
	}
	if m, err = ParseManifest(text); err != nil {
		return nil, nil, err
	}
	named := map[string]bool{}
	for _, f := range m.Files {
		named[f.Name] = true
		if !ours.MatchString(f.Name) { // it may lead out of the directory
			wrong = append(wrong, fmt.Sprintf("%q is not the name of a file of an export", f.Name))
			continue
		}
		sum, err := digestFile(filepath.Join(dir, f.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			wrong = append(wrong, f.Name+" is missing")
		case err != nil:
			return nil, nil, err
		case sum != f.SHA256:
			wrong = append(wrong, f.Name+" was changed: its SHA-256 is "+sum)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if ours.MatchString(e.Name()) && !named[e.Name()] {
			wrong = append(wrong, e.Name()+" is none of the export's files; the next run takes its place if it was interrupted")
		}
	}
	return m, wrong, nil
}

func digestFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
