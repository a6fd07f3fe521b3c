package evidence

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Form is how a pack was handed over.
type Form string

// The forms.
const (
	FormZIP  Form = "zip"
	FormHTML Form = "html"
)

// Pack is an opened pack: its files, of which nothing is verified yet.
type Pack struct {
	Form      Form
	Statement Statement // as the manifest says; a claim until [Pack.Verify]
	Page      *Page     // of a page

	files    map[string][]byte
	envelope Envelope
	payload  []byte // of the envelope
}

// Page is what an HTML page is apart from the pack in it.
type Page struct {
	Shell    string // SHA-256 of the page without its data, in hexadecimal: see [Shell]
	Verifier string // SHA-256 of its verifier script, in hexadecimal; "" if it has none
}

// OpenFile opens the pack in a file.
func OpenFile(name string) (*Pack, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	p, err := Open(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// Open reads a pack, a ZIP or a page. An error means that it is no pack, or
// breaks a limit; whether its content holds is for [Pack.Verify]. No script of a
// page is run.
func Open(content []byte) (*Pack, error) {
	if len(content) > MaxFile {
		return nil, fmt.Errorf("it is larger than %d MiB", MaxFile>>20)
	}
	p := &Pack{Form: FormZIP}
	archive := content
	if !bytes.HasPrefix(content, []byte("PK")) {
		p.Form = FormHTML
		var err error
		if archive, p.Page, err = openPage(content); err != nil {
			return nil, err
		}
	}
	var err error
	if p.files, err = unzip(archive, MaxContent); err != nil {
		return nil, err
	}
	manifest, ok := p.files[ManifestFile]
	switch {
	case !ok:
		return nil, fmt.Errorf("it holds no %s, so it is no evidence pack", ManifestFile)
	case len(manifest) > MaxManifest:
		return nil, fmt.Errorf("%s is larger than %d MiB", ManifestFile, MaxManifest>>20)
	}
	if p.payload, p.envelope, p.Statement, err = parseManifest(manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", ManifestFile, err)
	}
	return p, nil
}

// File returns a file of the pack.
func (p *Pack) File(name string) (content []byte, ok bool) {
	content, ok = p.files[name]
	return content, ok
}

// Files are the names of all files, in order.
func (p *Pack) Files() []string {
	names := make([]string, 0, len(p.files))
	for name := range p.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// EntryDir is the directory of an entry in a pack.
func EntryDir(log LogName, index uint64) string { return fmt.Sprintf("%s/%010d", log, index) }

// unzip reads all files of an archive, within the limits: most bytes in all.
func unzip(archive []byte, most int64) (map[string][]byte, error) {
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, fmt.Errorf("it is neither a ZIP file nor a page with one: %w", err)
	}
	if len(r.File) > MaxFiles {
		return nil, fmt.Errorf("it holds more than %d files", MaxFiles)
	}
	files := make(map[string][]byte, len(r.File))
	left := most
	for _, f := range r.File {
		if err := checkName(f.Name); err != nil {
			return nil, err
		}
		switch _, twice := files[f.Name]; {
		case twice:
			return nil, fmt.Errorf("%s stands in it twice", f.Name)
		case !f.Mode().IsRegular():
			return nil, fmt.Errorf("%s is no ordinary file", f.Name)
		case f.Method != zip.Store && f.Method != zip.Deflate:
			return nil, fmt.Errorf("%s is compressed by a method (%d) that packs do not use", f.Name, f.Method)
		}
		content, err := readMember(f, left)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		left -= int64(len(content))
		files[f.Name] = content
	}
	return files, nil
}

var errTooMuch = fmt.Errorf("unpacked, it holds more than %d MiB", MaxContent>>20)

// readMember unpacks one file. What it says about its size is not believed.
func readMember(f *zip.File, left int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, left+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(content)) > left:
		return nil, errTooMuch
	}
	return content, nil
}

// checkName refuses names that lead out of a directory, or that mean another
// file somewhere.
func checkName(name string) error {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-/", r)
	}
	if len(name) > 200 || !fs.ValidPath(name) || name == "." || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("it holds a file with the name %q, which no pack has", name)
	}
	return nil
}

// The elements of a page that matter. The data's is the only one whose content
// differs from page to page.
const (
	dataOpen     = `<script type="` + PageDataType + `" id="pack">`
	verifierOpen = `<script id="verifier">`
	scriptClose  = `</script>`
)

// SplitPage cuts a page into what stands before its data, the data, and what
// stands after. Data is base64 of a gzip file of the ZIP.
func SplitPage(page []byte) (before, data, after []byte, err error) {
	at := bytes.Index(page, []byte(dataOpen))
	if at < 0 || bytes.Count(page, []byte(dataOpen)) != 1 {
		return nil, nil, nil, errors.New("it is neither a ZIP file nor a page with one")
	}
	at += len(dataOpen)
	end := bytes.Index(page[at:], []byte(scriptClose))
	if end < 0 {
		return nil, nil, nil, errors.New("the page is cut off")
	}
	return page[:at], page[at : at+end], page[at+end:], nil
}

// Shell is the SHA-256 of a page without its data. One version of Aver makes
// pages of two: with the engine, and without.
func Shell(before, after []byte) string {
	h := sha256.New()
	h.Write(before)
	h.Write(after)
	return hex.EncodeToString(h.Sum(nil))
}

func openPage(page []byte) (archive []byte, p *Page, err error) {
	before, data, after, err := SplitPage(page)
	if err != nil {
		return nil, nil, err
	}
	p = &Page{Shell: Shell(before, after)}
	for _, side := range [][]byte{before, after} {
		if at := bytes.Index(side, []byte(verifierOpen)); at >= 0 && p.Verifier == "" {
			at += len(verifierOpen)
			if end := bytes.Index(side[at:], []byte(scriptClose)); end >= 0 {
				p.Verifier = digest(side[at : at+end])
			}
		}
	}
	packed, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSpace(data)))
	if err != nil {
		return nil, nil, errors.New("the page's data is not base64")
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, nil, fmt.Errorf("the page's data: %w", err)
	}
	archive, err = io.ReadAll(io.LimitReader(z, MaxContent+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("the page's data: %w", err)
	case len(archive) > MaxContent:
		return nil, nil, errTooMuch
	}
	return archive, p, nil
}
