package pack_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/report/pack"
)

// K1: what was packed verifies, in both forms, and every decision comes out again (G3).
func TestPackVerifies(t *testing.T) {
	c := northwind(t)
	for form, whole := range map[evidence.Form]bool{evidence.FormZIP: true, evidence.FormHTML: false} {
		t.Run(fmt.Sprint(form, " whole ", whole), func(t *testing.T) {
			p, r := open(t, c.make(t, pack.Request{Form: form, Whole: whole, Purpose: "regulatory-examination"}), c.DecisionsKey)
			for _, l := range lines(r, evidence.Failed, evidence.Unknown) {
				t.Error(l)
			}
			if !r.OK || !r.Integrity || r.Trust != evidence.TrustEstablished {
				t.Errorf("ok %v, integrity %v, trust %s", r.OK, r.Integrity, r.Trust)
			}
			again := 0
			for _, check := range r.Checks {
				if check.Kind == evidence.KindAgain && check.State == evidence.Passed {
					again++
				}
			}
			if n := len(p.Statement.Predicate.Decisions); n < leastDecisions || again != n {
				t.Errorf("%d of %d decisions were decided again", again, n)
			}
			if r.Purpose == nil || r.Purpose.ID != "regulatory-examination" {
				t.Errorf("purpose %v", r.Purpose)
			}
		})
	}
}

func TestPackHoldsActivities(t *testing.T) {
	c := northwind(t)
	p, _ := open(t, c.make(t, pack.Request{}))
	activities, explained := 0, 0
	for _, d := range p.Statement.Predicate.Decisions {
		activities += len(d.Activities)
		if text, ok := p.File(evidence.WhyDir + "/" + d.ID + ".txt"); ok && bytes.Contains(text, []byte(d.ID)) {
			explained++
		}
	}
	if explained != len(p.Statement.Predicate.Decisions) {
		t.Errorf("%d of %d decisions are explained", explained, len(p.Statement.Predicate.Decisions))
	}
	size, _ := c.Decisions.Head()
	logged := 0
	for e, err := range c.Decisions.Entries(0, size) {
		if err != nil {
			t.Fatal(err)
		}
		if a, err := aver.ParseActivity(e.Payload); err == nil && a.Decision != nil { // one without a decision is of none here
			logged++
		}
	}
	if activities != logged || logged == 0 {
		t.Errorf("%d activities are packed, the log has %d", activities, logged)
	}
}

// The same request makes the same bytes: nothing of the machine is in a pack.
func TestPackIsReproducible(t *testing.T) {
	c := northwind(t)
	for _, form := range []evidence.Form{evidence.FormZIP, evidence.FormHTML} {
		r := pack.Request{Form: form, Query: "outcome:denied"}
		if !bytes.Equal(c.make(t, r), c.make(t, r)) {
			t.Errorf("%s: two packs of the same differ", form)
		}
	}
}

// Verifying the same pack says the same, line by line: a report can be compared with an earlier one.
func TestReportIsReproducible(t *testing.T) {
	c := northwind(t)
	content := c.make(t, pack.Request{Query: "outcome:escalated"})
	_, first := open(t, content, c.DecisionsKey)
	for range 5 {
		if _, r := open(t, content, c.DecisionsKey); !slices.Equal(r.Checks, first.Checks) {
			t.Fatalf("two reports on one pack differ:\n%v\n%v", r.Checks, first.Checks)
		}
	}
}

// change is a pack in which something was changed, and the line that must say so.
type change struct {
	name, file string
	kind       evidence.Kind
	content    []byte
}

// changes flips a byte of each kind of file, as somebody would who also makes the digests of the manifest fit; the
// manifest itself they can't sign.
func changes(t testing.TB, content []byte) []change {
	t.Helper()
	original := files(t, content)
	first := func(prefix, suffix string, is func([]byte) bool) string {
		for _, name := range slices.Sorted(maps.Keys(original)) {
			if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) && (is == nil || is(original[name])) {
				return name
			}
		}
		t.Fatalf("the pack has no %s…%s", prefix, suffix)
		return ""
	}
	has := func(text string) func([]byte) bool {
		return func(b []byte) bool { return bytes.Contains(b, []byte(text)) }
	}
	var out []change
	add := func(name string, kind evidence.Kind, file string, edit func([]byte) []byte) {
		changed := maps.Clone(original)
		before := bytes.Clone(original[file])
		if changed[file] = edit(bytes.Clone(before)); bytes.Equal(changed[file], before) {
			t.Fatalf("%s: nothing was changed", name)
		}
		reported := file
		switch kind {
		case evidence.KindAgain:
			reported = "" // of the decision, not of the frames
		case evidence.KindPolicies, evidence.KindListed:
			reported = ""
		}
		out = append(out, change{name, reported, kind, zipped(t, changed)})
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	replace := func(old, with string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(with), 1) }
	}
	record := first("decisions/", "/payload.json", has(`"kind":"decision"`))
	add("record", evidence.KindPayload, record, replace(`"outcome":"escalated"`, `"outcome":"permitted"`))
	add("record digest", evidence.KindFiles, record, flip)
	leaf := first("decisions/", "/leaf.json", nil)
	add("leaf", evidence.KindProof, strings.TrimSuffix(leaf, "leaf.json")+"leaf.json", replace(`"outcome":"escalated"`, `"outcome":"permitted"`))
	out[len(out)-1].file = strings.TrimSuffix(leaf, "leaf.json") + "proof"
	proof := first("authority/", "/proof", nil)
	add("proof", evidence.KindProof, proof, func(b []byte) []byte {
		at := bytes.IndexByte(b[len("c2sp.org/tlog-proof@v1\n"):], '\n') + len("c2sp.org/tlog-proof@v1\n") + 5
		if b[at]++; b[at] == '{' || b[at] == ':' || b[at] == '[' || b[at] == '0' || b[at] == ',' {
			b[at] = 'Q'
		}
		return b
	})
	add("checkpoint root", evidence.KindCheckpoint, "decisions/checkpoint", func(b []byte) []byte {
		at := bytes.Index(b, []byte("\n\n")) - 10
		if b[at] == 'A' {
			b[at] = 'B'
		} else {
			b[at] = 'A'
		}
		return b
	})
	add("checkpoint signature", evidence.KindCheckpoint, "authority/checkpoint", func(b []byte) []byte {
		at := len(b) - 20
		if b[at] == 'A' {
			b[at] = 'B'
		} else {
			b[at] = 'A'
		}
		return b
	})
	add("consistency", evidence.KindCitation, "authority/consistency.json", func(b []byte) []byte {
		at := bytes.Index(b, []byte(`"proof":["`)) + 14
		if b[at] == 'A' {
			b[at] = 'B'
		} else {
			b[at] = 'A'
		}
		return b
	})
	policies := first("authority/", "/payload.json", has(`"type":"policy.published"`))
	add("policy", evidence.KindPayload, policies, replace("permit", "forbid"))
	grant := first("authority/", "/payload.json", has(`"type":"grant.issued"`))
	add("grant", evidence.KindPayload, grant, replace(`"depth":`, `"depth": `))
	add("disclosure", evidence.KindDisclosures, first("decisions/", "/disclosures.json", nil), func(b []byte) []byte {
		if b[40] == 'A' {
			b[40] = 'B'
		} else {
			b[40] = 'A'
		}
		return b
	})
	add("frames", evidence.KindAgain, evidence.FramesFile, replace(`"principal":{"id":"`, `"principal":{"id":"x`))
	add("explanation", evidence.KindFiles, first("reports/why/", ".txt", nil), flip)
	manifest := func(edit func([]byte) []byte) func([]byte) []byte {
		return func(b []byte) []byte {
			var e evidence.Envelope
			if err := json.Unmarshal(b, &e); err != nil {
				t.Fatal(err)
			}
			payload, err := base64.StdEncoding.DecodeString(e.Payload)
			if err != nil {
				t.Fatal(err)
			}
			e.Payload = base64.StdEncoding.EncodeToString(edit(payload))
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	add("manifest", evidence.KindManifest, evidence.ManifestFile, manifest(replace(`"query":"outcome:escalated"`, `"query":"outcome:permitted"`)))
	add("manifest's list", evidence.KindListed, evidence.ManifestFile, manifest(func(b []byte) []byte {
		at := bytes.Index(b, []byte(`"evaluation_id":"`)) + len(`"evaluation_id":"`)
		b[at] ^= 1
		return b
	}))
	// What is taken out, and what is put in.
	removed := maps.Clone(original)
	delete(removed, record)
	out = append(out, change{"record removed", record, evidence.KindPayload, zipped(t, removed)})
	added := maps.Clone(original)
	added["reports/summary.txt"] = []byte("all is well")
	out = append(out, change{"file added", "reports/summary.txt", evidence.KindFiles, zipped(t, added)})
	return out
}

// Issue 5: flipping any byte of a record, proof, checkpoint, policy or manifest turns the right line red.
func TestEveryChangeIsFound(t *testing.T) {
	c := northwind(t)
	for _, ch := range changes(t, c.make(t, pack.Request{Query: "outcome:escalated"})) {
		t.Run(ch.name, func(t *testing.T) {
			_, r := open(t, ch.content, c.DecisionsKey)
			if r.OK || r.Integrity {
				t.Error("the pack is said to be whole")
			}
			if !slices.ContainsFunc(r.Checks, func(check evidence.Check) bool {
				return check.Kind == ch.kind && check.State == evidence.Failed && strings.Contains(check.File, ch.file)
			}) {
				t.Errorf("no line of %s says that %s is wrong:\n%s", ch.kind, ch.file, strings.Join(lines(r, evidence.Failed), "\n"))
			}
		})
	}
}

// No byte of what is signed or hashed can be changed without a check failing, wherever it is.
func TestEveryByteCounts(t *testing.T) {
	if raceDetector {
		t.Skip("nothing runs beside anything else here, and it takes minutes with the detector")
	}
	c := northwind(t)
	original := files(t, c.make(t, pack.Request{Query: "outcome:escalated", Limit: 1}))
	for name, content := range original {
		step := max(1, len(content)/8)
		for at := step / 2; at < len(content); at += step {
			changed := maps.Clone(original)
			changed[name] = bytes.Clone(content)
			changed[name][at] ^= 0x04
			p, err := evidence.Open(zipped(t, changed))
			if err != nil {
				continue // not even a pack
			}
			r, err := p.Verify(evidence.Options{Keys: []string{c.DecisionsKey}})
			if err != nil || r.OK {
				// White space of the envelope is outside of what is signed.
				if name == evidence.ManifestFile && sameJSON(content, changed[name]) {
					continue
				}
				t.Fatalf("%s, byte %d: ok %v, %v", name, at, r != nil && r.OK, err)
			}
		}
	}
}

func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

func otherKey(t testing.TB) string {
	t.Helper()
	k, _, err := ledger.NewKey("aver.local/other/decisions")
	if err != nil {
		t.Fatal(err)
	}
	return k.VKey
}

// forged makes a pack over under keys of somebody else: both logs get new checkpoints, the records stay.
func forged(t testing.TB, content []byte) []byte {
	t.Helper()
	all := files(t, content)
	p, err := evidence.Open(content)
	if err != nil {
		t.Fatal(err)
	}
	predicate := p.Statement.Predicate
	var signer note.Signer
	for _, log := range []evidence.LogName{evidence.AuthorityLog, evidence.DecisionLog} {
		k, _, err := ledger.NewKey(predicate.Logs[log].Origin)
		if err != nil {
			t.Fatal(err)
		}
		old := all[string(log)+"/checkpoint"]
		text, _, _ := bytes.Cut(old, []byte("\n\n"))
		signed, err := note.Sign(&note.Note{Text: string(text) + "\n"}, k.Signer)
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range all {
			if strings.HasPrefix(name, string(log)+"/") {
				all[name] = bytes.ReplaceAll(content, old, signed)
			}
		}
		predicate.Logs[log] = evidence.Log{Origin: predicate.Logs[log].Origin, Key: k.VKey}
		signer = k.Signer
	}
	delete(all, evidence.ManifestFile)
	manifest, err := evidence.Sign(all, predicate, signer)
	if err != nil {
		t.Fatal(err)
	}
	all[evidence.ManifestFile] = manifest
	return zipped(t, all)
}

// Issue 5: a pack made over under another key never turns green for the right key.
func TestAnotherKeyIsRefused(t *testing.T) {
	c := northwind(t)
	content := forged(t, c.make(t, pack.Request{Query: "outcome:escalated"}))
	_, r := open(t, content)
	if !r.Integrity || r.Trust != evidence.TrustNotEstablished {
		t.Errorf("without a key: integrity %v, trust %s\n%s", r.Integrity, r.Trust, strings.Join(lines(r, evidence.Failed), "\n"))
	}
	for _, keys := range [][]string{{c.DecisionsKey}, {c.DecisionsKey, c.AuthorityKey}, {otherKey(t)}} {
		if _, r := open(t, content, keys...); r.OK || r.Trust != evidence.TrustRefused {
			t.Errorf("with %v: ok %v, trust %s", keys, r.OK, r.Trust)
		}
	}
}

// The authority log's key alone vouches for no decision.
func TestTheDecisionLogsKeyIsNeeded(t *testing.T) {
	c := northwind(t)
	if _, r := open(t, c.make(t, pack.Request{Query: "outcome:escalated"}), c.AuthorityKey); r.Trust != evidence.TrustNotEstablished {
		t.Errorf("trust %s", r.Trust)
	}
}

func cosign(t testing.TB, checkpoint []byte, name string, key ed25519.PrivateKey) (cosigned []byte, vkey string) {
	t.Helper()
	text, _, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	const at = 1795521600
	raw := append([]byte{4}, key.Public().(ed25519.PublicKey)...)
	hash := tlogHash(name + "\n" + string(raw))
	body := append(slices.Clone(hash[:4]), 0, 0, 0, 0, at>>24&0xff, at>>16&0xff, at>>8&0xff, at&0xff)
	body = append(body, ed25519.Sign(key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", at, text))...)
	return fmt.Appendf(bytes.Clone(checkpoint), "— %s %s\n", name, base64.StdEncoding.EncodeToString(body)),
		fmt.Sprintf("%s+%x+%s", name, hash[:4], base64.StdEncoding.EncodeToString(raw))
}

func tlogHash(text string) [32]byte { return sum256([]byte(text)) }

// A witness that the reader names must have cosigned both checkpoints (C2SP tlog-cosignature).
func TestWitnesses(t *testing.T) {
	c := northwind(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var vkey string
	witness := func(log pack.Log) []byte {
		text, k := cosign(t, log.Checkpoint(), "witness.example/w", key)
		vkey = k
		return text
	}
	both, one := *c, *c
	both.AuthorityCosigned, both.DecisionsCosigned = witness(c.Authority), witness(c.Decisions)
	one.DecisionsCosigned = both.DecisionsCosigned
	for _, tc := range []struct {
		name string
		c    *company
		want evidence.Trust
	}{{"both", &both, evidence.TrustEstablished}, {"one", &one, evidence.TrustRefused}, {"none", c, evidence.TrustRefused}} {
		p, err := evidence.Open(tc.c.make(t, pack.Request{Query: "outcome:escalated"}))
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Verify(evidence.Options{Keys: []string{c.DecisionsKey}, Witnesses: []string{vkey}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Trust != tc.want || !r.Integrity {
			t.Errorf("%s: integrity %v, trust %s, want %s", tc.name, r.Integrity, r.Trust, tc.want)
		}
	}
}

// D3: what is withheld is unknown, and the rest still verifies.
func TestRedaction(t *testing.T) {
	c := northwind(t)
	p, r := open(t, c.make(t, pack.Request{Redact: []string{pack.RedactSensitive}}), c.DecisionsKey)
	if !r.OK || r.Trust != evidence.TrustEstablished {
		t.Errorf("ok %v, trust %s:\n%s", r.OK, r.Trust, strings.Join(lines(r, evidence.Failed), "\n"))
	}
	for _, name := range p.Files() {
		if strings.HasSuffix(name, "/"+evidence.DisclosuresFile) {
			t.Errorf("%s is still there", name)
		}
	}
	undetermined := 0
	for _, check := range r.Checks {
		if check.Kind == evidence.KindAgain && check.State == evidence.Unknown && strings.Contains(check.Detail, "undetermined") {
			undetermined++
		}
	}
	if undetermined == 0 || len(p.Statement.Predicate.Withheld) == 0 {
		t.Errorf("%d decisions are undetermined, %d values withheld", undetermined, len(p.Statement.Predicate.Withheld))
	}
	// Nothing of the values may be left anywhere.
	full, _ := open(t, c.make(t, pack.Request{}))
	for _, name := range full.Files() {
		if !strings.HasSuffix(name, "/"+evidence.DisclosuresFile) {
			continue
		}
		text, _ := full.File(name)
		var list []string
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			plain, _ := base64.RawURLEncoding.DecodeString(d)
			var triple []any
			if err := json.Unmarshal(plain, &triple); err != nil {
				t.Fatal(err)
			}
			value, ok := triple[2].(string)
			if !ok || len(value) < 8 {
				continue
			}
			id := strings.Split(name, "/")[1]
			for _, other := range p.Files() {
				if content, _ := p.File(other); strings.Contains(other, id) && bytes.Contains(content, []byte(value)) {
					t.Errorf("%s still tells %v of %s", other, triple[1], name)
				}
			}
		}
	}
}

// An attribute that stands in a record as it is takes the payload with it; the proof that the record exists stays.
func TestRedactionOfAPlainAttribute(t *testing.T) {
	c := northwind(t)
	p, r := open(t, c.make(t, pack.Request{Redact: []string{"resource.amount"}}), c.DecisionsKey)
	if !r.OK {
		t.Errorf("not ok:\n%s", strings.Join(lines(r, evidence.Failed), "\n"))
	}
	gone := 0
	for _, w := range p.Statement.Predicate.Withheld {
		if w.What == "payload" && w.Log == evidence.DecisionLog {
			gone++
			if _, ok := p.File(evidence.EntryDir(w.Log, w.Index) + "/" + evidence.ProofFile); !ok {
				t.Errorf("entry %d has no proof", w.Index)
			}
		}
	}
	if gone == 0 {
		t.Error("no payload was withheld")
	}
	kept := 0
	for _, name := range p.Files() {
		content, _ := p.File(name)
		if record, err := aver.ParseRecord(content); err == nil {
			kept++
			var request struct {
				Resource struct{ Properties map[string]any }
			}
			if err := json.Unmarshal(record.Request, &request); err != nil || request.Resource.Properties["amount"] != nil {
				t.Errorf("%s still has an amount: %v", name, err)
			}
		}
	}
	if kept == 0 {
		t.Error("no payload was kept")
	}
}

func TestRequestsThatCantBeMet(t *testing.T) {
	c := northwind(t)
	for name, r := range map[string]pack.Request{
		"nothing chosen":     {},
		"both":               {Query: everything, Decisions: []string{"x"}},
		"unknown decision":   {Decisions: []string{"0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f"}},
		"query of no sense":  {Query: "outcome:"},
		"no match":           {Query: "actor:user/nobody-of-that-name"},
		"purpose":            {Query: everything, Purpose: "fun"},
		"redact":             {Query: everything, Redact: []string{"amount"}},
		"too many":           {Query: everything, Limit: pack.MaxDecisions + 1},
		"engine in a ZIP":    {Query: everything, WithEngine: true},
		"population no JSON": {Query: everything, Population: []byte("x")},
	} {
		r.Form = evidence.FormZIP
		var out bytes.Buffer
		_, err := pack.Make(t.Context(), c.Source, r, &out)
		var bad *pack.RequestError
		if !errors.As(err, &bad) || out.Len() > 0 {
			t.Errorf("%s: %v, %d bytes written", name, err, out.Len())
		}
	}
}

func TestLimitIsTold(t *testing.T) {
	c := northwind(t)
	p, r := open(t, c.make(t, pack.Request{Limit: 3}), c.DecisionsKey)
	if !r.OK || len(p.Statement.Predicate.Decisions) != 3 || p.Statement.Predicate.Truncated < 100 {
		t.Errorf("%d decisions, %d more", len(p.Statement.Predicate.Decisions), p.Statement.Predicate.Truncated)
	}
}

// The pages of this version are published, in the program and in docs/packs.md: go test ./internal/report/pack -update.
func TestPagesArePublished(t *testing.T) {
	plain, withEngine := pack.PageDigests()
	file, docs := filepath.Join("page", "published.txt"), filepath.Join("..", "..", "..", "docs", "packs.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := strings.Fields(lines[len(lines)-1])
	want := []string{pack.VerifierDigest(), plain, withEngine}
	if len(last) != 4 || !slices.Equal(last[1:], want) {
		if !*update {
			t.Fatal("the page was changed: publish it with -update")
		}
		version := "1"
		if len(last) == 4 && !strings.HasPrefix(last[0], "#") {
			lines = lines[:len(lines)-1] // until a release
			version = last[0]
		}
		lines = append(lines, version+" "+strings.Join(want, " "))
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	block := fmt.Sprintf("```text verifier\nverifier script  %s\npage             %s\npage with engine %s\n```", want[0], want[1], want[2])
	if bytes.Contains(page, []byte(block)) {
		return
	}
	if !*update {
		t.Fatalf("docs/packs.md does not publish the digests; run with -update")
	}
	before, rest, _ := strings.Cut(string(page), "```text verifier\n")
	_, after, _ := strings.Cut("\n"+rest, "\n```")
	if err := os.WriteFile(docs, []byte(before+block+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The engine is the one that third_party/vendor took from npm.
func TestEngineIsTheOneRecorded(t *testing.T) {
	dir := filepath.Join("page", "third_party")
	want, err := os.ReadFile(filepath.Join(dir, "cedar.wasm.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	wasm := gunzip(t, filepath.Join(dir, "cedar.wasm.gz"))
	if got := fmt.Sprintf("%x\n", sum256(wasm)); got != string(want) {
		t.Errorf("SHA-256 %s, recorded %s", got, want)
	}
}
