package report

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A stage whose functions are gone would silently count under another.
func TestStagesAreOfFunctionsThatExist(t *testing.T) {
	const root = "../.."
	var source strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	closure := regexp.MustCompile(`\.func\d+$`)
	for _, stage := range stages {
		for _, part := range stage.any {
			if dir, ok := strings.CutSuffix(part, "."); ok {
				if _, err := os.Stat(filepath.Join(root, dir)); err != nil && dir != "net/http" {
					t.Errorf("%s: %v", stage.name, err)
				}
				continue
			}
			if strings.HasPrefix(part, "runtime.") {
				continue
			}
			part = closure.ReplaceAllString(part, "")
			name := part[strings.LastIndexByte(part, '.')+1:]
			declared := `func (\(\w+ [^)]*\) )?` + name + `\w*[(\[]`
			if typ, ok := strings.CutPrefix(name, "(*"); ok {
				declared = `type ` + strings.TrimSuffix(typ, ")") + ` struct`
			}
			if !regexp.MustCompile(declared).MatchString(source.String()) {
				t.Errorf("%s: there is no %s", stage.name, part)
			}
		}
	}
}

func TestReadStages(t *testing.T) {
	const traces = `File: x
Type: cpu
-----------+-------------------------------------------------------
      10ms   runtime.memmove
             github.com/aver-authz/aver/internal/pdp.Decide
             github.com/aver-authz/aver/internal/api.(*API).run
             net/http.(*conn).serve
-----------+-------------------------------------------------------
      1.50s  internal/runtime/syscall/linux.Syscall6
             github.com/aver-authz/aver/internal/ledger.(*Log).commitLoop
-----------+-------------------------------------------------------
      20ms   runtime.futex
`
	got, err := ReadStages(strings.NewReader(traces), 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []Stage{{"commit groups: assembling, writing, fdatasync", 150_000}, {"other", 2000}, {"deciding besides: chain, context, gates", 1000}}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}
