package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Bundle is a checked set of policies with its metadata, its schema and its
// tests. It does not change after loading and may be used concurrently.
type Bundle struct {
	name   string
	meta   Meta
	files  map[string][]byte
	digest string
	rules  []*Rule
	tests  []TestCase
	schema *schemaFile
}

const (
	metaFile = "bundle.yaml"
	// digestDomain separates the digests of bundles from any other SHA-256.
	digestDomain = "aver.bundle.v1\n"
)

var (
	bundleName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	policyID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// Load checks the files of a bundle, given by their names relative to the
// bundle's folder, with slashes: bundle.yaml, *.cedar, at most one
// *.cedarschema, tests/*.yaml. Anything else is refused, so that a misspelt
// name cannot silently drop a policy. The bundle is named by its bundle.yaml,
// else defaultName. Load keeps the contents: do not change them afterwards.
//
// The error, if any, is of type [Errors] and lists every problem found.
func Load(files map[string][]byte, defaultName string) (*Bundle, error) {
	var errs Errors
	b := &Bundle{name: defaultName, files: maps.Clone(files)}
	names := slices.Sorted(maps.Keys(files))
	if len(names) > MaxFiles {
		errs.add("", 0, 0, "the bundle has %d files, more than the %d allowed", len(names), MaxFiles)
		return nil, errs.orNil()
	}
	total := 0
	for _, name := range names {
		content := files[name]
		total += len(content)
		switch {
		case len(content) > MaxFileBytes:
			errs.add(name, 0, 0, "the file has %d bytes, more than the %d allowed", len(content), MaxFileBytes)
		case !utf8.Valid(content):
			errs.add(name, 0, 0, "the file is not valid UTF-8")
		case kindOf(name) == fileUnknown:
			errs.add(name, 0, 0, "not part of a bundle, which holds bundle.yaml, *.cedar, *.cedarschema and tests/*.yaml")
		}
	}
	if total > MaxBundleBytes {
		errs.add("", 0, 0, "the bundle has %d bytes, more than the %d allowed", total, MaxBundleBytes)
	}
	if len(errs) > 0 {
		return nil, errs.orNil()
	}

	if content, ok := files[metaFile]; ok {
		b.meta = parseMeta(content, &errs)
		if b.meta.Name != "" {
			b.name = b.meta.Name
		}
	}
	if !bundleName.MatchString(b.name) {
		errs.add(metaFile, 0, 0, "%q cannot be a bundle's name: set name in bundle.yaml to 1-64 letters, digits, dots, underscores or hyphens", b.name)
	}
	b.meta.Name = b.name
	for _, name := range names {
		switch kindOf(name) {
		case fileCedar:
			b.rules = append(b.rules, parseRules(b.name, name, files[name], &errs)...)
		case fileSchema:
			if b.schema != nil {
				errs.add(name, 0, 0, "a second schema beside %s: keep one", b.schema.name)
				continue
			}
			b.schema = parseSchema(name, files[name], &errs)
		}
	}
	if len(b.rules) > MaxPolicies {
		errs.add("", 0, 0, "the bundle has %d policies, more than the %d allowed", len(b.rules), MaxPolicies)
		return nil, errs.orNil()
	}
	b.checkIDs(&errs)
	if b.schema != nil {
		b.schema.validate(b.rules, &errs)
	}
	for _, name := range names {
		if kindOf(name) == fileTest {
			b.tests = append(b.tests, parseTests(b, name, files[name], &errs)...)
		}
	}
	b.digest = digestFiles(names, files)
	if err := errs.orNil(); err != nil {
		return nil, err
	}
	return b, nil
}

// LoadDir loads the bundle in a folder. Its default name is the folder's.
// Files whose names begin with a dot, and *.md and LICENSE, are left aside.
func LoadDir(dir string) (*Bundle, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("load bundle: %w", err)
	}
	root, err := os.OpenRoot(abs) // a link that leads out of the folder is not followed
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: %w", dir, err)
	}
	defer root.Close()
	files, err := readFiles(root.FS())
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: %w", dir, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("load bundle %s: the folder holds no policies: add a .cedar file", dir)
	}
	return Load(files, filepath.Base(abs))
}

// readFiles reads a bundle's files, and no more of them than a bundle may
// have.
func readFiles(fsys fs.FS) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if name != "." && strings.HasPrefix(base, ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			if strings.Count(name, "/") > 1 {
				return fmt.Errorf("%s: folders nest too deeply for a bundle", name)
			}
			return nil
		}
		if strings.HasSuffix(base, ".md") || base == "LICENSE" {
			return nil
		}
		info, err := fs.Stat(fsys, name)
		switch {
		case err != nil:
			return fmt.Errorf("%s can't be read; links may not lead out of the folder: %w", name, err)
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s: not a regular file", name)
		case info.Size() > MaxFileBytes:
			return fmt.Errorf("%s: the file has %d bytes, more than the %d allowed", name, info.Size(), MaxFileBytes)
		case len(files) >= MaxFiles:
			return errors.New("more files than a bundle may have")
		}
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		files[name] = content
		return nil
	})
	return files, err
}

type fileKind int

const (
	fileUnknown fileKind = iota
	fileMeta
	fileCedar
	fileSchema
	fileTest
)

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

func kindOf(name string) fileKind {
	dir, base := path.Split(name)
	switch {
	case !plainName.MatchString(base):
		return fileUnknown
	case name == metaFile:
		return fileMeta
	case dir == "" && strings.HasSuffix(base, ".cedar"):
		return fileCedar
	case dir == "" && strings.HasSuffix(base, ".cedarschema"):
		return fileSchema
	case dir == "tests/" && (strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml")):
		return fileTest
	}
	return fileUnknown
}

// digestFiles is the SHA-256, in hex, over the domain "aver.bundle.v1\n"
// followed, for each file in the order of their names (bytewise), by the name
// and the content, each preceded by its length in bytes as an unsigned 64-bit
// big-endian integer.
func digestFiles(names []string, files map[string][]byte) string {
	h := sha256.New()
	h.Write([]byte(digestDomain))
	var length [8]byte
	for _, name := range names {
		for _, part := range [][]byte{[]byte(name), files[name]} {
			binary.BigEndian.PutUint64(length[:], uint64(len(part)))
			h.Write(length[:])
			h.Write(part)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// checkIDs refuses an @id that two policies share, since reasons, records and
// tests refer to policies by it.
func (b *Bundle) checkIDs(errs *Errors) {
	first := make(map[string]*Rule, len(b.rules))
	for _, r := range b.rules {
		if f, ok := first[r.ID]; ok {
			errs.add(r.File, r.Line, r.Column, "the id %q is already used at %s:%d", strings.TrimPrefix(r.ID, b.name+"/"), f.File, f.Line)
			continue
		}
		first[r.ID] = r
	}
}

// Name is the bundle's name, the first part of its policies' ids.
func (b *Bundle) Name() string { return b.name }

// Digest is the SHA-256 over the bundle's files in lower-case hex:
// SHA-256("aver.bundle.v1\n" + for each file by name: length, name, length,
// content), lengths as unsigned 64-bit big-endian integers.
func (b *Bundle) Digest() string { return b.digest }

// Files gives the files as loaded, by name. The map is the caller's; the
// contents are shared and must not be changed.
func (b *Bundle) Files() map[string][]byte { return maps.Clone(b.files) }

// Meta is what bundle.yaml says, with Name filled in.
func (b *Bundle) Meta() Meta { return b.meta.clone() }

// Policies are the bundle's policies, by file name and position.
func (b *Bundle) Policies() []*Rule { return slices.Clone(b.rules) }

// HasSchema tells whether the bundle brings a schema, against which its
// policies were validated.
func (b *Bundle) HasSchema() bool { return b.schema != nil }

// Tests are the bundle's test cases, by file name and position.
func (b *Bundle) Tests() []TestCase { return slices.Clone(b.tests) }
