package target

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/aver-authz/aver/bench/workload"
)

func startNull(ctx context.Context, program, dir string, o Options) (*Server, error) {
	policies := filepath.Join(dir, "policies")
	if err := writeFiles(policies, workload.Cedar(o.Policies)); err != nil {
		return nil, err
	}
	people := filepath.Join(dir, "people.json")
	if err := os.WriteFile(people, mustJSON(cedarPeople()), 0o600); err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, dialect: authzen{}}
	var err error
	if s.process, err = launch(ctx, dir, program, "--policies", policies, "--entities", people); err != nil {
		return nil, err
	}
	return s, s.announced(ctx, func(text []byte) error {
		line, _, ok := strings.Cut(string(text), "\n")
		if !ok {
			return errors.New("no line yet")
		}
		s.Address = strings.TrimPrefix(line, "http://")
		return nil
	})
}

// cedarPeople are the people in Cedar's JSON format for entities.
func cedarPeople() []map[string]any {
	var list []map[string]any
	for i := range workload.People {
		p := workload.PersonAt(i)
		parents := []party{}
		for _, g := range p.Groups() {
			parents = append(parents, party{Type: "group", ID: g})
		}
		list = append(list, map[string]any{"uid": party{Type: "user", ID: p.Login}, "attrs": p.Attributes(), "parents": parents})
	}
	return list
}
