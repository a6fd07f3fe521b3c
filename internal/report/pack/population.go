package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/report/sample"
)

// population packs the population that was brought, if all decisions are of it.
func (m *maker) population() error {
	if m.r.Population == nil {
		return nil
	}
	var indexes []uint64
	for _, d := range m.decisions {
		indexes = append(indexes, d.Index)
	}
	if _, err := drawnFrom(m.r.Population, m.DecisionsKey, indexes); err != nil {
		return bad("the population: %v", err)
	}
	m.files[evidence.PopulationFile] = m.r.Population
	return nil
}

// Population adds a check of the population that a pack says its decisions were
// drawn from, if it says so.
func Population(p *evidence.Pack, r *evidence.Report) {
	text, ok := p.File(evidence.PopulationFile)
	if !ok {
		return
	}
	c := evidence.Check{
		Kind: evidence.KindPopulation, State: evidence.Passed, File: evidence.PopulationFile,
		What: "the decisions are of a population that is complete for its period",
	}
	var indexes []uint64
	for _, d := range p.Statement.Predicate.Decisions {
		indexes = append(indexes, d.Index)
	}
	var err error
	if c.Detail, err = drawnFrom(text, p.Statement.Predicate.Logs[evidence.DecisionLog].Key, indexes); err != nil {
		c.State, c.Detail = evidence.Failed, err.Error()
	}
	r.Add(c)
}

// drawnFrom checks that decisions are rows of a population, as aver sample
// population writes it, that is complete and of the log with a key.
func drawnFrom(population []byte, key string, decisions []uint64) (string, error) {
	// The page reads it, too, and must read the same: no member twice, and nothing after.
	if _, err := aver.ParseJSON(population, aver.Limits{Bytes: len(population), Members: len(population)}); err != nil {
		return "", fmt.Errorf("it is no population: %w", err)
	}
	var d sample.Document
	decoder := json.NewDecoder(bytes.NewReader(population))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil || d.Proof == nil {
		return "", errors.New("it is no population as aver sample population writes it")
	}
	for _, check := range d.Verify(key).Checks {
		if check.State == sample.Wrong {
			return "", fmt.Errorf("%s: %s", check.Name, check.Detail)
		}
	}
	if d.VerifierKey != key {
		return "", errors.New("it is one of another log")
	}
	is := map[uint64]bool{}
	for _, row := range d.Rows {
		is[row] = true
	}
	others := 0
	for _, index := range decisions {
		if !is[index] {
			others++
		}
	}
	if others > 0 {
		return "", fmt.Errorf("%d decisions here are none of its rows", others)
	}
	return fmt.Sprintf("%d of its %d rows are here; that the rows are all that its query wants takes the log", len(decisions), d.Statement.Count), nil
}
