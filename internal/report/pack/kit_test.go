package pack_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/demo"
	"github.com/aver-authz/aver/internal/report/pack"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// company is the data directory that the demo leaves, made once for all tests.
type company struct {
	dir string
	pack.Source
}

var theCompany = sync.OnceValues(func() (*company, error) {
	dir, err := os.MkdirTemp("", "aver-pack-test-")
	if err != nil {
		return nil, err
	}
	c := &company{dir: filepath.Join(dir, "data")}
	if err := demo.Run(context.Background(), demo.Options{Data: c.dir, Exit: true, Requests: randomRequests}); err != nil {
		return c, err
	}
	logs, err := datadir.OpenReaders(c.dir)
	if err != nil {
		return c, err
	}
	key, err := datadir.DecisionKey(c.dir)
	if err != nil {
		return c, err
	}
	c.Source = pack.Source{
		Authority: logs.Authority, Decisions: logs.Decisions,
		AuthorityKey: logs.Keys.Authority.VKey, DecisionsKey: logs.Keys.Decisions.VKey, Signer: key.Signer,
	}
	return c, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if c, _ := theCompany(); c != nil {
		os.RemoveAll(filepath.Dir(c.dir))
	}
	os.Exit(code)
}

func northwind(t testing.TB) *company {
	t.Helper()
	c, err := theCompany()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const everything = "after:2020-01-01"

var noon = aver.Time(1_795_521_600_000)

// make makes a pack and returns its bytes.
func (c *company) make(t testing.TB, r pack.Request) []byte {
	t.Helper()
	if r.Query == "" && r.Decisions == nil {
		r.Query = everything
	}
	if r.Form == "" {
		r.Form = evidence.FormZIP
	}
	if r.Limit == 0 {
		r.Limit = pack.MaxDecisions
	}
	r.Now = noon
	var out bytes.Buffer
	if _, err := pack.Make(t.Context(), c.Source, r, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// open opens a pack, verifies it and decides it again, as aver verify does.
func open(t testing.TB, content []byte, keys ...string) (*evidence.Pack, *evidence.Report) {
	t.Helper()
	p, err := evidence.Open(content)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Verify(evidence.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := pack.Again(t.Context(), p, r, nil); err != nil {
		t.Fatal(err)
	}
	pack.Population(p, r)
	r.Conclude()
	return p, r
}

// lines are the checks of a state, as text.
func lines(r *evidence.Report, states ...evidence.State) []string {
	var out []string
	for _, c := range r.Checks {
		if slices.Contains(states, c.State) {
			out = append(out, strings.Join([]string{string(c.Kind), string(c.State), c.File, c.What, c.Detail}, " | "))
		}
	}
	return out
}

// files unpacks a ZIP.
func files(t testing.TB, content []byte) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if out[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// zipped packs files again.
func zipped(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(files[name])
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

func sum256(b []byte) [32]byte { return sha256.Sum256(b) }

func gunzip(t testing.TB, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// asPage puts a ZIP into a page, as it is.
func asPage(t testing.TB, archive []byte, withEngine bool) []byte {
	t.Helper()
	c := northwind(t)
	before, _, after, err := evidence.SplitPage(c.make(t, pack.Request{Form: evidence.FormHTML, WithEngine: withEngine, Query: "outcome:escalated", Limit: 1}))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err = z.Write(archive); err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(before, []byte(base64.StdEncoding.EncodeToString(packed.Bytes())), after)
}
