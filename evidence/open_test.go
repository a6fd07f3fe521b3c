package evidence_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/ledger"
)

// The keys of a log that is nobody's. They are always the same, so that seeds of fuzzing are.
const (
	authoritySecret = "PRIVATE+KEY+example.com/authority+b629aad3+AWTKg2N/Y3B9XhiYxj7Mry0cRUUHeTlTsFbTZtzZ/x/O"
	decisionsSecret = "PRIVATE+KEY+example.com/decisions+f6965005+Ac9V+XbNYf8m04fXbSw7tbkSQgIVI/QstARQq0P2ZtQU"
)

// small is the smallest pack there is: no entries, and a checkpoint that is missing.
func small(t testing.TB) map[string][]byte {
	t.Helper()
	authority, err := ledger.ParseKey(authoritySecret)
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := ledger.ParseKey(decisionsSecret)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{evidence.ReadmeFile: []byte("read me")}
	manifest, err := evidence.Sign(files, evidence.Predicate{
		Format: evidence.Format, Made: 1_795_521_600_000, Authority: "cited",
		Logs: map[evidence.LogName]evidence.Log{
			evidence.AuthorityLog: {Origin: "example.com/authority", Key: authority.VKey},
			evidence.DecisionLog:  {Origin: "example.com/decisions", Key: decisions.VKey},
		},
		Decisions: []evidence.Decision{},
	}, decisions.Signer)
	if err != nil {
		t.Fatal(err)
	}
	files[evidence.ManifestFile] = manifest
	return files
}

type member struct {
	name    string
	content []byte
	method  uint16
	mode    uint32
}

func archive(t testing.TB, files map[string][]byte, more ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		more = append(more, member{name, files[name], zip.Deflate, 0})
	}
	for _, m := range more {
		h := &zip.FileHeader{Name: m.name, Method: m.method}
		if m.mode != 0 {
			h.ExternalAttrs, h.CreatorVersion = m.mode<<16, 3<<8
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(m.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func page(archive []byte) []byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(archive)
	z.Close()
	return fmt.Appendf(nil, `<!doctype html><p>x</p><script type="%s" id="pack">%s</script><script id="verifier">alert(1)</script>`,
		evidence.PageDataType, base64.StdEncoding.EncodeToString(packed.Bytes()))
}

func TestOpen(t *testing.T) {
	content := archive(t, small(t))
	for form, content := range map[evidence.Form][]byte{evidence.FormZIP: content, evidence.FormHTML: page(content)} {
		p, err := evidence.Open(content)
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if p.Form != form || !slices.Equal(p.Files(), []string{"README.txt", "manifest.json"}) {
			t.Errorf("%s: form %s, files %v", form, p.Form, p.Files())
		}
		if p.Page != nil && (len(p.Page.Verifier) != 64 || len(p.Page.Shell) != 64) {
			t.Errorf("page %+v", p.Page)
		}
		r, err := p.Verify(evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK || r.Integrity {
			t.Errorf("%s: a pack without checkpoints is said to be whole", form)
		}
	}
}

// What comes from outside has limits: no path leads out, nothing unpacks without end.
func TestOpenRefuses(t *testing.T) {
	good := small(t)
	manifest := good[evidence.ManifestFile]
	without := maps.Clone(good)
	delete(without, evidence.ManifestFile)
	other := func(old, with string) map[string][]byte {
		files := maps.Clone(good)
		files[evidence.ManifestFile] = bytes.Replace(manifest, []byte(old), []byte(with), 1)
		return files
	}
	for name, tc := range map[string]struct {
		content []byte
		says    string
	}{
		"nothing":          {nil, "neither"},
		"text":             {[]byte("hello"), "neither"},
		"cut off":          {archive(t, good)[:200], "neither"},
		"up":               {archive(t, good, member{"../evil", nil, zip.Store, 0}), `"../evil"`},
		"up within":        {archive(t, good, member{"decisions/../../evil", nil, zip.Store, 0}), "evil"},
		"absolute":         {archive(t, good, member{"/etc/passwd", nil, zip.Store, 0}), "passwd"},
		"drive":            {archive(t, good, member{`C:\evil`, nil, zip.Store, 0}), "evil"},
		"control":          {archive(t, good, member{"a\nb", nil, zip.Store, 0}), "no pack has"},
		"long name":        {archive(t, good, member{strings.Repeat("a", 201), nil, zip.Store, 0}), "no pack has"},
		"directory":        {archive(t, good, member{"decisions/", nil, zip.Store, 0}), "no pack has"},
		"twice":            {archive(t, good, member{"README.txt", []byte("other"), zip.Store, 0}), "twice"},
		"link":             {archive(t, good, member{"link", []byte("/etc/passwd"), zip.Store, 0o120777}), "no ordinary file"},
		"no manifest":      {archive(t, without), "no manifest.json"},
		"payload type":     {archive(t, other("application/vnd.in-toto+json", "application/json")), "application/json"},
		"unknown member":   {archive(t, other(`"payloadType"`, `"extra": 1, "payloadType"`)), "extra"},
		"page cut off":     {page(archive(t, good))[:300], "cut off"},
		"page of two":      {append(page(archive(t, good)), page(archive(t, good))...), "neither"},
		"page not base64":  {[]byte(`<script type="application/vnd.aver.pack" id="pack">!</script>`), "base64"},
		"page not gzipped": {[]byte(`<script type="application/vnd.aver.pack" id="pack">AAAA</script>`), "data"},
	} {
		_, err := evidence.Open(tc.content)
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, tc.says)
		}
	}
}

// Nothing unpacks without end, in one file or in many.
func TestUnzipStopsAtTheLimit(t *testing.T) {
	const most = 1 << 20
	for _, files := range []int{1, 4} {
		var more []member
		for i := range files {
			more = append(more, member{fmt.Sprintf("decisions/%d", i), make([]byte, most/files), zip.Deflate, 0})
		}
		content := archive(t, nil, more...)
		if len(content) > most/100 {
			t.Fatalf("%d bytes are no bomb", len(content))
		}
		if _, err := evidence.Unzip(content, most); err != nil {
			t.Errorf("%d files up to the limit: %v", files, err)
		}
		if _, err := evidence.Unzip(content, most-1); err == nil || !strings.Contains(err.Error(), "holds more than") {
			t.Errorf("%d files beyond the limit: %v", files, err)
		}
	}
}

// What a member of a ZIP says about its size is not believed.
func TestOpenCountsWhatItUnpacks(t *testing.T) {
	content := archive(t, small(t))
	at := bytes.Index(content, []byte("PK\x01\x02"))
	for i := 24; i < 28; i++ {
		content[at+i] = 0
	}
	if _, err := evidence.Open(content); err == nil {
		t.Error("a wrong size went through")
	}
}

func TestKeysOfTheReaderAreRead(t *testing.T) {
	p, err := evidence.Open(archive(t, small(t)))
	if err != nil {
		t.Fatal(err)
	}
	good := p.Statement.Predicate.Logs[evidence.DecisionLog].Key
	for _, bad := range []string{"", "x", strings.Replace(good, "+", "++", 1), good[:len(good)-4], strings.Replace(good, "example.com", "example.org", 1)} {
		if _, err := p.Verify(evidence.Options{Keys: []string{bad}}); err == nil {
			t.Errorf("%q was taken for a key", bad)
		}
	}
	if r, err := p.Verify(evidence.Options{Keys: []string{" " + good + "\n"}}); err != nil || r.Trust != evidence.TrustEstablished {
		t.Errorf("%v, %v", r, err)
	}
}

func FuzzOpen(f *testing.F) {
	content := archive(f, small(f))
	f.Add(content)
	f.Add(page(content))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := evidence.Open(content)
		if err != nil {
			return
		}
		r, err := p.Verify(evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK {
			t.Error("a pack without checkpoints is said to be whole")
		}
	})
}
