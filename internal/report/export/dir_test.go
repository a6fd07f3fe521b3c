package export_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/report/export"
)

// indexes reads the indexes of a table from all files that the manifest names.
func indexes(t *testing.T, dir string, m *export.Manifest, table export.Table) (out []string) {
	t.Helper()
	for _, f := range m.Files {
		if f.Table != table {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name))
		must(t, err)
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		must(t, err)
		for _, r := range rows[1:] {
			out = append(out, r[0])
		}
	}
	return out
}

// An export goes on where it ended, and never exports anything twice.
func TestExportGoesOn(t *testing.T) {
	svc := start(t)
	svc.some()
	dir := filepath.Join(t.TempDir(), "out")
	run := func() *export.Manifest {
		t.Helper()
		m, err := export.Run(context.Background(), svc.source(), export.Options{Format: export.CSV, Dir: dir, Chunk: 4})
		must(t, err)
		return m
	}
	first := run()
	if again := run(); len(again.Files) != len(first.Files) {
		t.Errorf("nothing new, and %d files instead of %d", len(again.Files), len(first.Files))
	}
	svc.some()
	second := run()
	s := svc.source()
	got := append(indexes(t, dir, second, export.Decisions), indexes(t, dir, second, export.Activities)...)
	if uint64(len(got)) != size(s.Decisions) || len(slices.Compact(slices.Sorted(slices.Values(got)))) != len(got) {
		t.Errorf("%d entries were exported of %d: %v", len(got), size(s.Decisions), got)
	}
	if _, wrong, err := export.CheckDir(dir); err != nil || len(wrong) > 0 {
		t.Errorf("%v %v", wrong, err)
	}
	if parts, _ := filepath.Glob(filepath.Join(dir, ".part-*")); len(parts) > 0 {
		t.Errorf("left over: %v", parts)
	}
}

var errPower = errors.New("the power went")

// Wherever an export is interrupted, the next run completes it: with nothing twice and nothing left out.
func TestInterruptedExports(t *testing.T) {
	svc := start(t)
	svc.some()
	whole := filepath.Join(t.TempDir(), "whole")
	m, err := export.Run(context.Background(), svc.source(), export.Options{Format: export.CSV, Dir: whole, Chunk: 3})
	must(t, err)
	for stop := range len(m.Files) {
		dir := filepath.Join(t.TempDir(), "out")
		ctx, cancel := context.WithCancelCause(context.Background())
		n := 0
		_, err := export.Run(ctx, svc.source(), export.Options{Format: export.CSV, Dir: dir, Chunk: 3, Saved: func(export.File) {
			if n++; n > stop {
				cancel(errPower)
			}
		}})
		if stop < len(m.Files)-1 && err == nil {
			t.Fatalf("it was not interrupted after %d files", stop)
		}
		// The file that would have come next was written, and the manifest was not.
		must(t, os.WriteFile(filepath.Join(dir, "decisions-000000000003.csv"), []byte("half of it"), 0o600))
		again, err := export.Run(context.Background(), svc.source(), export.Options{Format: export.CSV, Dir: dir, Chunk: 3})
		must(t, err)
		names := func(m *export.Manifest) (out []string) {
			for _, f := range m.Files {
				if f.Name != "decisions-000000000003.csv" {
					out = append(out, f.Name+f.SHA256)
				}
			}
			return slices.Sorted(slices.Values(out))
		}
		if a, b := names(again), names(m); !slices.Equal(a, b) {
			t.Errorf("interrupted after %d files:\n%v\n%v", stop, a, b)
		}
	}
}

func TestExportsThatCannotGoOn(t *testing.T) {
	svc := start(t)
	svc.some()
	dir := filepath.Join(t.TempDir(), "out")
	s := svc.source()
	_, err := export.Run(context.Background(), s, export.Options{Format: export.Parquet, Dir: dir, Since: 2})
	must(t, err)
	for name, test := range map[string]struct {
		source *export.Source
		o      export.Options
		want   string
	}{
		"another format":    {svc.source(), export.Options{Format: export.CSV, Dir: dir}, "holds an export in the format parquet"},
		"another beginning": {svc.source(), export.Options{Format: export.Parquet, Dir: dir, Since: 1}, "begins at entry 2"},
		"now with values":   {disclosing(svc.source()), export.Options{Format: export.Parquet, Dir: dir}, "sensitive values withheld"},
		"another log":       {other(t), export.Options{Format: export.Parquet, Dir: dir}, "it was replaced"},
		"beyond the end":    {svc.source(), export.Options{Format: export.Parquet, Dir: filepath.Join(dir, "new"), Since: 1e6}, "no entry 1000000"},
	} {
		if _, err := export.Run(context.Background(), test.source, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	file := filepath.Join(dir, "decisions-000000000002.parquet")
	text, err := os.ReadFile(file)
	must(t, err)
	text[len(text)/2] ^= 1
	must(t, os.WriteFile(file, text, 0o600))
	must(t, os.Remove(filepath.Join(dir, "events-000000000000.parquet")))
	_, wrong, err := export.CheckDir(dir)
	if err != nil || len(wrong) != 2 || !strings.Contains(strings.Join(wrong, "\n"), "was changed") || !strings.Contains(strings.Join(wrong, "\n"), "is missing") {
		t.Errorf("%v %v", wrong, err)
	}
}

func disclosing(s *export.Source) *export.Source {
	s.Disclose = true
	return s
}

// other is a log of the same origin with other entries.
func other(t *testing.T) *export.Source {
	svc := start(t)
	svc.some()
	return svc.source()
}

// A control gap is exported when there is something new to say of it.
func TestFindingsAreExportedOnce(t *testing.T) {
	svc := start(t)
	dir := filepath.Join(t.TempDir(), "out")
	list := findings()
	run := func() (rows int) {
		t.Helper()
		s := svc.source()
		s.Findings = func(context.Context) ([]aver.GapFinding, error) { return list, nil }
		m, err := export.Run(context.Background(), s, export.Options{Format: export.OCSF, Dir: dir})
		must(t, err)
		for _, f := range m.Files {
			if f.Table == export.Findings {
				rows += f.Rows
			}
		}
		return rows
	}
	if n := run(); n != 3 {
		t.Errorf("%d", n)
	}
	if n := run(); n != 3 {
		t.Errorf("again: %d", n)
	}
	list[0].Count++
	if n := run(); n != 4 {
		t.Errorf("changed: %d", n)
	}
	text, err := os.ReadFile(filepath.Join(dir, "findings-000000000001.ndjson"))
	if err != nil || !bytes.Contains(text, []byte(`"activity_name":"Update"`)) {
		t.Errorf("%s %v", text, err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"aver_export":1,"format":"csv","disclosed":false,"logs":{"decisions":{"log":"x","first":0,"next":3,"root":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}},"files":[]}`))
	f.Add([]byte(`{"aver_export":1,"format":"csv","logs":{"decisions":null}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := export.ParseManifest(text)
		if err == nil && len(m.Format.Tables()) == 0 {
			t.Errorf("a format without tables: %s", text)
		}
	})
}
