package pack_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/report/pack"
)

// resigned makes a pack over as whoever holds the log's key could: files are
// edited, and the manifest is signed again.
func (c *company) resigned(t testing.TB, content []byte, edit func(files map[string][]byte, p *evidence.Predicate)) []byte {
	t.Helper()
	all := maps.Clone(files(t, content))
	p, err := evidence.Open(content)
	if err != nil {
		t.Fatal(err)
	}
	predicate := p.Statement.Predicate
	delete(all, evidence.ManifestFile)
	edit(all, &predicate)
	if all[evidence.ManifestFile], err = evidence.Sign(all, predicate, c.Signer); err != nil {
		t.Fatal(err)
	}
	return zipped(t, all)
}

// framesEdited edits the lines of frames.ndjson. A line that becomes nil goes.
func framesEdited(t testing.TB, edit func(line map[string]any) bool) func(map[string][]byte, *evidence.Predicate) {
	return func(all map[string][]byte, _ *evidence.Predicate) {
		var out []byte
		for line := range bytes.Lines(all[evidence.FramesFile]) {
			d := json.NewDecoder(bytes.NewReader(line))
			d.UseNumber()
			var v map[string]any
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			if !edit(v) {
				continue
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			out = append(append(out, text...), '\n')
		}
		all[evidence.FramesFile] = out
	}
}

// G4: whoever makes a pack, and has the log's key, can't have a decision come out by asking less, or about something
// else, than the record says. Both programs say so.
func TestTheMakerCantChooseWhatIsAsked(t *testing.T) {
	c := northwind(t)
	content := c.make(t, pack.Request{Query: "outcome:escalated", Limit: 20})
	frame := func(v map[string]any) string { s, _ := v["frame"].(string); return s }
	made := []struct {
		name, says string
		edit       func(map[string]any) bool
	}{
		{"no gates", "what was asked as gates:actor is not here", func(v map[string]any) bool { return !strings.HasPrefix(frame(v), "gates:") }},
		{"the gates of one alone", "is not here", func(v map[string]any) bool { return frame(v) != "gates:delegator" }},
		{"another context", "context", func(v map[string]any) bool {
			if m, ok := v["context"].(map[string]any); ok {
				m["workflow"] = "another"
			}
			return true
		}},
		{"another time", "the time", func(v map[string]any) bool {
			if m, ok := v["context"].(map[string]any); ok {
				if own, ok := m["aver"].(map[string]any); ok {
					own["now"] = map[string]any{"__extn": map[string]any{"fn": "datetime", "arg": "2020-01-01T00:00:00.000Z"}}
				}
			}
			return true
		}},
	}
	var pages [][]byte
	for _, m := range made {
		edited := c.resigned(t, content, framesEdited(t, m.edit))
		pages = append(pages, edited)
		t.Run(m.name, func(t *testing.T) {
			_, r := open(t, edited, c.DecisionsKey)
			if r.OK || !slices.ContainsFunc(r.Checks, func(x evidence.Check) bool {
				return x.Kind == evidence.KindAgain && x.State == evidence.Failed && strings.Contains(x.Detail, m.says)
			}) {
				t.Errorf("ok %v: %s", r.OK, strings.Join(lines(r, evidence.Failed), "\n"))
			}
		})
	}
	// What the pack says of entities is not used: the record and the events say it.
	invented := c.resigned(t, content, framesEdited(t, func(v map[string]any) bool {
		list, _ := v["entities"].([]any)
		for _, e := range list {
			if uid, _ := e.(map[string]any)["uid"].(map[string]any); uid["type"] != "Action" {
				e.(map[string]any)["attrs"] = map[string]any{"amount": 1}
			}
		}
		return true
	}))
	if _, r := open(t, invented, c.DecisionsKey); !r.OK {
		t.Errorf("invented entities have an effect: %s", strings.Join(lines(r, evidence.Failed), "\n"))
	}
	t.Run("browser", func(t *testing.T) {
		b := startBrowser(t)
		for i, page := range pages {
			if s := b.look(asPage(t, page, true), "", c.DecisionsKey); s.Green != "no" || s.Integrity != "broken" {
				t.Errorf("%s: integrity %s, green %s", made[i].name, s.Integrity, s.Green)
			}
		}
		if s := b.look(asPage(t, invented, true), "", c.DecisionsKey); s.Green != "yes" {
			t.Errorf("invented entities: integrity %s: %v", s.Integrity, s.bad())
		}
	})
}

// A pack does not say that it holds more than it does.
func TestADecisionCountsOnce(t *testing.T) {
	c := northwind(t)
	twice := c.resigned(t, c.make(t, pack.Request{Query: "outcome:escalated", Limit: 2}), func(_ map[string][]byte, p *evidence.Predicate) {
		p.Decisions = append(p.Decisions, p.Decisions[0])
	})
	_, r := open(t, twice, c.DecisionsKey)
	if r.OK || !strings.Contains(strings.Join(lines(r, evidence.Failed), "\n"), "is listed twice") {
		t.Errorf("ok %v: %v", r.OK, lines(r, evidence.Failed))
	}
	t.Run("browser", func(t *testing.T) {
		if s := startBrowser(t).look(asPage(t, twice, false), "", c.DecisionsKey); s.Green != "no" || s.Integrity != "broken" {
			t.Errorf("integrity %s, green %s", s.Integrity, s.Green)
		}
	})
}

// What one program reads in a manifest, every program does: members are spelt in one way, and nothing follows.
func TestTheManifestMeansOneThing(t *testing.T) {
	c := northwind(t)
	all := files(t, c.make(t, pack.Request{Query: "outcome:escalated", Limit: 1}))
	text := string(all[evidence.ManifestFile])
	for name, changed := range map[string]string{
		"capital":        strings.Replace(text, `"payload"`, `"Payload"`, 1),
		"twice":          strings.Replace(text, `"payload":`, `"payload": "", "payload":`, 1),
		"a brace after":  text + "}",
		"a bracket more": text + "]",
	} {
		if changed == text {
			t.Fatal(name)
		}
		all[evidence.ManifestFile] = []byte(changed)
		if _, err := evidence.Open(zipped(t, all)); err == nil {
			t.Errorf("%s: it is read all the same", name)
		}
	}
}

// A damaged engine is not one that is lacking.
func TestBrowserRefusesAnotherEngine(t *testing.T) {
	b, c := startBrowser(t), northwind(t)
	content := c.make(t, pack.Request{Form: evidence.FormHTML, WithEngine: true, Query: "outcome:escalated", Limit: 2})
	at := bytes.Index(content, []byte(`id="engine">`)) + 200_000
	content[at] ^= 1
	s := b.look(content, "", c.DecisionsKey)
	if s.Green != "no" || s.Integrity != "broken" {
		t.Errorf("integrity %s, green %s: %v", s.Integrity, s.Green, s.bad())
	}
}
