package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/query"
)

func TestSavedQueries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "searches.json")
	s, err := OpenSaved(file, os.WriteFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []SavedQuery{{Name: "refused", Query: "outcome:denied", By: "ann"}, {Name: "big", Query: "resource.amount:>5", Description: "above five"}} {
		if err := s.Put(q); err != nil {
			t.Fatal(err)
		}
	}
	var bad *query.Error
	if err := s.Put(SavedQuery{Name: "x", Query: "colour:red"}); !errors.As(err, &bad) {
		t.Errorf("a wrong query: %v", err)
	}
	for _, name := range []string{"", "A", "../x", "-x", strings.Repeat("a", 65)} {
		if err := s.Put(SavedQuery{Name: name}); !errors.Is(err, ErrSavedName) {
			t.Errorf("the name %q: %v", name, err)
		}
	}
	if err := s.Put(SavedQuery{Name: "x", Description: strings.Repeat("d", 501)}); !errors.Is(err, ErrSavedText) {
		t.Error(err)
	}
	if err := s.Delete("nothing"); !errors.Is(err, ErrNotSaved) {
		t.Error(err)
	}
	again, err := OpenSaved(file, os.WriteFile)
	if err != nil {
		t.Fatal(err)
	}
	if list := again.List(); len(list) != 2 || list[0].Name != "big" || list[1].Query != "outcome:denied" || list[1].By != "ann" {
		t.Errorf("%+v", list)
	}
	// What could not be written is not there.
	again.write = func(string, []byte, fs.FileMode) error { return errors.New("the disk is full") }
	if err := again.Delete("big"); err == nil {
		t.Error("no error")
	}
	if _, err := again.Get("big"); err != nil {
		t.Error(err)
	}
	for i := range MaxSaved {
		s.list[fmt.Sprint("n", i)] = SavedQuery{}
	}
	if err := s.Put(SavedQuery{Name: "onemore"}); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSaved(file, os.WriteFile); err == nil {
		t.Error("a broken file was read")
	}
}
