package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/query"
)

// Saved are queries under names. They are no evidence and no projection: they lie
// in a file of their own, which nothing else rebuilds. Safe for concurrent use.
type Saved struct {
	file  string
	write func(file string, content []byte, mode fs.FileMode) error

	mu   sync.Mutex
	list map[string]SavedQuery
}

// SavedQuery is a query that somebody wants to use again.
type SavedQuery struct {
	Name        string    `json:"name"`
	Query       string    `json:"query"` // as it was written
	Description string    `json:"description,omitempty"`
	By          string    `json:"saved_by"`
	Time        aver.Time `json:"saved_at"`
}

// Bounds of saved queries.
const (
	MaxSaved       = 1000
	maxDescription = 500 // bytes
)

var savedName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// Errors of saved queries.
var (
	ErrNotSaved  = errors.New("no query is saved under this name")
	ErrTooMany   = fmt.Errorf("there are %d saved queries already; delete one", MaxSaved)
	ErrSavedName = errors.New("the name of a saved query has 1 to 64 characters: small letters, digits, and . _ - after the first")
	ErrSavedText = fmt.Errorf("a description has at most %d bytes of UTF-8", maxDescription)
)

// OpenSaved reads the file, which need not be there yet. write replaces it, as a
// whole or not at all.
func OpenSaved(file string, write func(file string, content []byte, mode fs.FileMode) error) (*Saved, error) {
	s := &Saved{file: file, write: write, list: map[string]SavedQuery{}}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	var list []SavedQuery
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("saved queries, %s: %w; mend it, or delete it to begin anew", file, err)
	}
	for _, q := range list {
		s.list[q.Name] = q
	}
	return s, nil
}

// List lists the queries by name.
func (s *Saved) List() []SavedQuery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]SavedQuery{}, s.sorted()...) // a list, if an empty one, where it is written as JSON
}

func (s *Saved) sorted() []SavedQuery {
	return slices.SortedFunc(maps.Values(s.list), func(a, b SavedQuery) int { return strings.Compare(a.Name, b.Name) })
}

// Get returns a query; ErrNotSaved if there is none.
func (s *Saved) Get(name string) (SavedQuery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, ok := s.list[name]
	if !ok {
		return q, ErrNotSaved
	}
	return q, nil
}

// Put saves a query, in place of one of the same name. The error is one of this
// package's, a [*query.Error], or that of the file.
func (s *Saved) Put(q SavedQuery) error {
	if !savedName.MatchString(q.Name) {
		return ErrSavedName
	}
	if len(q.Description) > maxDescription || !utf8.ValidString(q.Description) {
		return ErrSavedText
	}
	if _, err := query.Parse(q.Query); err != nil {
		return err
	}
	return s.change(func(list map[string]SavedQuery) error {
		if _, ok := list[q.Name]; !ok && len(list) >= MaxSaved {
			return ErrTooMany
		}
		list[q.Name] = q
		return nil
	})
}

// Delete forgets a query; ErrNotSaved if there is none.
func (s *Saved) Delete(name string) error {
	return s.change(func(list map[string]SavedQuery) error {
		if _, ok := list[name]; !ok {
			return ErrNotSaved
		}
		delete(list, name)
		return nil
	})
}

func (s *Saved) change(do func(map[string]SavedQuery) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := maps.Clone(s.list)
	err := do(s.list)
	if err == nil {
		var text []byte
		if text, err = json.MarshalIndent(s.sorted(), "", "  "); err == nil {
			err = s.write(s.file, append(text, '\n'), 0o600)
		}
	}
	if err != nil {
		s.list = before
	}
	return err
}
