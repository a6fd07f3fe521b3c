package authority_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

func population(id string, edit ...func(*aver.Population)) change {
	p := aver.Population{
		ID: id, QueryDigest: aver.Digest(nil), To: start, Log: "example.com/decisions", Tree: aver.TreeHead{Root: "r", Size: 100},
		First: 10, End: 20, Count: 7, Rows: aver.Digest([]byte("...")), Excluded: aver.Excluded{Activities: 3},
	}
	for _, f := range edit {
		f(&p)
	}
	return change{aver.EventPopulationFixed, p}
}

// digestOf is the digest of a population as it stands in the state.
func digestOf(t *testing.T, c change) string {
	t.Helper()
	p := c.data.(aver.Population)
	text, err := p.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return aver.Digest(text)
}

func draw(digest string, edit ...func(*aver.SampleDrawn)) change {
	d := aver.SampleDrawn{Population: "p", Digest: digest, Nonce: "n", Method: aver.SampleSimple, Size: 2, Rows: []uint64{12, 19}}
	for _, f := range edit {
		f(&d)
	}
	return change{aver.EventSampleDrawn, d}
}

// G2: every draw stays with its population, so that who drew again until the result pleased can't hide it.
func TestPopulationsKeepTheirDraws(t *testing.T) {
	p := population("p")
	d := digestOf(t, p)
	second := draw(d, func(s *aver.SampleDrawn) { s.Nonce = "m" })
	s := after(t, p, draw(d), second)
	got, ok := s.Population("p")
	if !ok || got.Digest != d || len(got.Draws) != 2 || got.Draws[0].Nonce != "n" || got.Draws[1].Nonce != "m" || got.Draws[1].Event != 2 {
		t.Fatalf("%+v", got)
	}
	if before := after(t, p, draw(d)); len(before.Populations()[0].Draws) != 1 {
		t.Error("a later draw shows in an earlier state")
	}
	var snapshot bytes.Buffer
	if err := s.WriteSnapshot(&snapshot, "root"); err != nil {
		t.Fatal(err)
	}
	back, _, err := authority.ReadSnapshot(&snapshot)
	if err != nil || back.Digest() != s.Digest() {
		t.Errorf("the snapshot reads back otherwise: %v", err)
	}
}

func TestRefusedPopulationsAndSamples(t *testing.T) {
	p := population("p")
	d := digestOf(t, p)
	for name, test := range map[string]struct {
		before []change
		change change
		want   string
	}{
		"id used before":       {[]change{p}, p, `the id "p" was already used, by event 0`},
		"period in the future": {nil, population("p", func(p *aver.Population) { p.To = start + 1e9 }), "the period has not ended"},
		"counts do not add up": {nil, population("p", func(p *aver.Population) { p.Count = 8 }), "are 11, and the period has 10"},
		"leaves beyond the tree": {nil, population("p", func(p *aver.Population) { p.Tree.Size = 19 }),
			"the leaves lie within the tree of 19"},
		"another query's digest":       {nil, population("p", func(p *aver.Population) { p.Query = "outcome:denied" }), "query_digest"},
		"missing leaves outside":       {nil, population("p", func(p *aver.Population) { p.Missing = []aver.MissingRange{{First: 9, End: 10, Why: "expired"}} }), "missing:"},
		"sample of nothing":            {nil, draw(d), `there is no population "p"`},
		"sample of another":            {[]change{p}, draw("x"), "that of \"p\" is " + d},
		"sample without a nonce":       {[]change{p}, draw(d, func(s *aver.SampleDrawn) { s.Nonce = "" }), "nonce:"},
		"sample of a row elsewhere":    {[]change{p}, draw(d, func(s *aver.SampleDrawn) { s.Rows[1] = 20 }), "entry 20 is none of the population's"},
		"sample larger than asked for": {[]change{p}, draw(d, func(s *aver.SampleDrawn) { s.Size = 1 }), "size:"},
		"strata of a simple sample":    {[]change{p}, draw(d, func(s *aver.SampleDrawn) { s.Strata = "action" }), "strata:"},
		"discarded without a reason":   {[]change{p}, draw(d, func(s *aver.SampleDrawn) { s.Discarded = []aver.DiscardedSample{{Index: 13}} }), "why was row 13 set aside"},
	} {
		t.Run(name, func(t *testing.T) {
			s := after(t, test.before...)
			if _, err := s.Apply(eventAt(s.Size(), test.change)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
