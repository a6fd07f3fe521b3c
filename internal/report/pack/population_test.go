package pack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/report/pack"
	"github.com/aver-authz/aver/internal/report/sample"
)

// population fixes one of the company, from an hour ago to now.
func (c *company) population(t testing.TB, query string) *sample.Document {
	t.Helper()
	verifier, err := note.NewVerifier(c.DecisionsKey)
	if err != nil {
		t.Fatal(err)
	}
	source := sample.Source{
		Log: c.Decisions.(sample.Log), VKey: c.DecisionsKey, Verifier: verifier, Now: func() aver.Time { return aver.TimeOf(time.Now()) },
	}
	source.Checkpoint = func(context.Context) ([]byte, error) { return c.Decisions.Checkpoint(), nil }
	d, err := source.Fix(t.Context(), sample.Wish{ID: "p-1", Query: query})
	if err == nil {
		err = d.Sign(c.Signer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func text(t testing.TB, d *sample.Document) []byte {
	t.Helper()
	out, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A pack says how much of a population it holds, and can't say more than the population does (K1, G2).
func TestPopulationOfAPack(t *testing.T) {
	c := northwind(t)
	d := c.population(t, "outcome:escalated")
	with := func(p []byte) []byte {
		return c.make(t, pack.Request{Query: "outcome:escalated", Limit: 4, Population: p})
	}
	good := with(text(t, d))
	_, r := open(t, good, c.DecisionsKey)
	says := fmt.Sprintf("4 of its %d rows are here", d.Statement.Count)
	if !r.OK || !slices.ContainsFunc(r.Checks, func(x evidence.Check) bool {
		return x.Kind == evidence.KindPopulation && x.State == evidence.Passed && strings.Contains(x.Detail, says)
	}) {
		t.Fatalf("ok %v: %s", r.OK, strings.Join(lines(r, evidence.Failed, evidence.Passed), "\n"))
	}

	var made [][]byte
	cases := map[string]func(d *sample.Document){
		"a row less":        func(d *sample.Document) { d.Rows = d.Rows[1:] },
		"more rows":         func(d *sample.Document) { d.Statement.Count += 100 },
		"more rows, signed": func(d *sample.Document) { d.Statement.Count += 100; again(t, d, c.Signer) },
		"a leaf left out":   func(d *sample.Document) { d.Proof.Leaves = slices.Delete(d.Proof.Leaves, 50, 51) },
		"a leaf changed":    func(d *sample.Document) { d.Proof.Leaves[50] = strings.Replace(d.Proof.Leaves[50], "2", "3", 1) },
		"leaves moved": func(d *sample.Document) {
			d.Proof.Leaves[50], d.Proof.Leaves[51] = d.Proof.Leaves[51], d.Proof.Leaves[50]
		},
		"a shorter period":   func(d *sample.Document) { d.Statement.End -= 10; again(t, d, c.Signer) },
		"another checkpoint": func(d *sample.Document) { d.Checkpoint = strings.Replace(d.Checkpoint, "\n", "\n1", 1) },
		"nobody's key":       func(d *sample.Document) { d.VerifierKey = otherKey(t) },
		"another query's":    func(d *sample.Document) { *d = *c.population(t, "outcome:denied") },
		"leaves by a hash": func(d *sample.Document) { // of which the proof shows the subtree alone
			d.Proof.Nodes = append(d.Proof.Nodes, sample.Node{Level: 0, N: 50})
		},
	}
	for name, text := range map[string]string{
		"nothing ends it": string(text(t, d)) + "}",
		"rows twice":      strings.Replace(string(text(t, d)), `"rows":`, `"rows":[],"rows":`, 1),
	} {
		content := c.resigned(t, good, func(files map[string][]byte, _ *evidence.Predicate) {
			files[evidence.PopulationFile] = []byte(text)
		})
		if _, r := open(t, content, c.DecisionsKey); r.OK || r.Integrity {
			t.Errorf("%s: the pack is said to be whole", name)
		}
	}
	var names []string
	for name, edit := range cases {
		names = append(names, name)
		var changed sample.Document
		if err := json.Unmarshal(text(t, d), &changed); err != nil {
			t.Fatal(err)
		}
		edit(&changed)
		var out bytes.Buffer
		_, err := pack.Make(t.Context(), c.Source, pack.Request{Query: "outcome:escalated", Limit: 4, Population: text(t, &changed), Form: evidence.FormZIP, Now: noon}, &out)
		var bad *pack.RequestError
		if !errors.As(err, &bad) {
			t.Errorf("%s: it is packed: %v", name, err)
		}
		content := c.resigned(t, good, func(files map[string][]byte, _ *evidence.Predicate) {
			files[evidence.PopulationFile] = text(t, &changed)
		})
		made = append(made, content)
		if _, r := open(t, content, c.DecisionsKey); r.OK || r.Integrity {
			t.Errorf("%s: the pack is said to be whole", name)
		}
	}
	t.Run("browser", func(t *testing.T) {
		b := startBrowser(t)
		if s := b.look(asPage(t, good, false), "", c.DecisionsKey); s.Green != "yes" || !strings.Contains(s.Text, "Population") {
			t.Errorf("integrity %s, green %s: %v", s.Integrity, s.Green, s.bad())
		}
		for i, content := range made {
			if s := b.look(asPage(t, content, false), "", c.DecisionsKey); s.Green != "no" || s.Integrity != "broken" {
				t.Errorf("%s: integrity %s, green %s", names[i], s.Integrity, s.Green)
			}
		}
	})
}

// again makes digest and note of a statement over, as the holder of the key can.
func again(t testing.TB, d *sample.Document, signer note.Signer) {
	t.Helper()
	var err error
	if d.Digest, err = sample.Digest(&d.Statement); err == nil {
		err = d.Sign(signer)
	}
	if err != nil {
		t.Fatal(err)
	}
}
