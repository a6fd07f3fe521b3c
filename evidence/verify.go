package evidence

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
)

// Options are what the reader brings.
type Options struct {
	// Keys are verifier keys of logs (C2SP signed-note) that the reader expects. The decision log's is enough where all
	// that the pack has of the authority log is cited by entries of the decision log, which commit to it.
	Keys []string
	// Witnesses are verifier keys of witnesses, each of whom must have cosigned both checkpoints.
	Witnesses []string
}

// Verify checks everything that the pack alone shows. An error means that a key
// the reader brought can't be read; what is wrong with the pack is in the report.
func (p *Pack) Verify(o Options) (*Report, error) {
	v := &verifier{
		p: p, checkpoints: map[LogName]checkpoint{}, entries: map[LogName]map[uint64]*entry{AuthorityLog: {}, DecisionLog: {}},
		withheld: map[string]string{}, heads: map[aver.TreeHead]bool{},
	}
	predicate := &p.Statement.Predicate
	v.r = &Report{Form: p.Form, Trust: TrustNotEstablished, Made: predicate.Made, Purpose: predicate.Purpose, Query: predicate.Query, Decisions: len(predicate.Decisions)}
	for _, w := range predicate.Withheld {
		v.withheld[EntryDir(w.Log, w.Index)+"/"+w.What] = w.Why
	}
	v.manifest()
	v.files()
	v.logs()
	v.readEntries()
	v.citations()
	v.policies()
	v.cited()
	v.listed()
	if err := v.trust(o); err != nil {
		return nil, err
	}
	v.r.Conclude()
	return v.r, nil
}

// verifier is one run.
type verifier struct {
	p           *Pack
	r           *Report
	keys        map[LogName]key
	checkpoints map[LogName]checkpoint
	entries     map[LogName]map[uint64]*entry
	withheld    map[string]string      // directory, slash, what -> why
	heads       map[aver.TreeHead]bool // of the authority log that entries cite; true: shown to be one
}

// entry is one entry, as far as it was found to be good.
type entry struct {
	leaf     aver.Leaf
	record   *aver.Record
	activity *aver.Activity
	event    *aver.Event
}

func (v *verifier) manifest() {
	v.keys = map[LogName]key{}
	for _, name := range []LogName{AuthorityLog, DecisionLog} {
		l := v.p.Statement.Predicate.Logs[name]
		k, err := parseKey(l.Key)
		if err == nil && (k.name != l.Origin || k.alg != algEd25519) {
			err = errors.New("it is not a key of that log")
		}
		if err != nil {
			v.r.check(KindManifest, ManifestFile, fmt.Sprintf("names the key of %s", l.Origin), err)
			continue
		}
		v.keys[name] = k
		v.r.Logs = append(v.r.Logs, LogReport{Name: name, Origin: l.Origin, Key: l.Key})
	}
	v.r.check(KindManifest, ManifestFile, "is signed with the decision log's key", verifyEnvelope(&v.p.envelope, v.p.payload, v.keys[DecisionLog]))
}

// files compares the digests of all files.
func (v *verifier) files() {
	listed := map[string]bool{ManifestFile: true}
	good := 0
	for _, s := range v.p.Statement.Subject {
		content, ok := v.p.files[s.Name]
		var err error
		switch {
		case listed[s.Name]:
			err = errors.New("the manifest lists it twice")
		case !ok:
			err = errors.New("it is missing")
		case s.Digest["sha256"] != digest(content):
			err = errors.New("its SHA-256 is not the one in the manifest")
		}
		listed[s.Name] = true
		if err == nil {
			good++
			continue
		}
		v.r.check(KindFiles, s.Name, "is what the manifest lists", err)
	}
	for _, name := range v.p.Files() {
		if !listed[name] {
			v.r.check(KindFiles, name, "is what the manifest lists", errors.New("the manifest does not list it"))
		}
	}
	v.r.check(KindFiles, "", fmt.Sprintf("%d files have the digests that the manifest lists", good), nil)
}

func (v *verifier) logs() {
	for i := range v.r.Logs {
		l := &v.r.Logs[i]
		file := path.Join(string(l.Name), CheckpointFile)
		text, ok := v.p.files[file]
		err := errors.New("it is missing")
		var c checkpoint
		if ok {
			if c, err = parseCheckpoint(text, l.Origin); err == nil {
				err = c.signedBy(v.keys[l.Name])
			}
		}
		if v.r.check(KindCheckpoint, file, fmt.Sprintf("is signed with the key of %s", l.Origin), err) {
			v.checkpoints[l.Name] = c
			l.Size, l.Root = c.size, c.root.String()
		}
	}
}

// readEntries checks each entry by itself.
func (v *verifier) readEntries() {
	dirs := map[string]bool{}
	for name := range v.p.files {
		if dir := path.Dir(name); strings.Count(name, "/") == 2 && (strings.HasPrefix(name, string(AuthorityLog)+"/") || strings.HasPrefix(name, string(DecisionLog)+"/")) {
			dirs[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		log, number, _ := strings.Cut(dir, "/")
		index, err := strconv.ParseUint(number, 10, 62)
		if err != nil || EntryDir(LogName(log), index) != dir {
			v.r.check(KindProof, dir, "is the directory of an entry", errors.New("its name is no index"))
			continue
		}
		e := &entry{}
		leaf, err := v.included(LogName(log), index, dir)
		if !v.r.check(KindProof, path.Join(dir, ProofFile), fmt.Sprintf("entry %d is in the log %s", index, log), err) {
			continue
		}
		e.leaf = leaf
		v.payload(LogName(log), dir, e)
		v.entries[LogName(log)][index] = e
	}
}

// included checks that the leaf is in the tree of the checkpoint.
func (v *verifier) included(log LogName, index uint64, dir string) (aver.Leaf, error) {
	text, ok := v.p.files[path.Join(dir, LeafFile)]
	if !ok {
		return aver.Leaf{}, errors.New("the leaf is missing")
	}
	proofText, ok := v.p.files[path.Join(dir, ProofFile)]
	if !ok {
		return aver.Leaf{}, errors.New("the proof is missing")
	}
	leaf, err := aver.ParseLeaf(text)
	if err != nil {
		return leaf, err
	}
	pr, err := parseProof(proofText)
	if err != nil {
		return leaf, err
	}
	c, ok := v.checkpoints[log]
	switch {
	case !ok:
		return leaf, errors.New("there is no good checkpoint to lead to")
	case pr.index != index:
		return leaf, fmt.Errorf("the proof is one of entry %d", pr.index)
	case index >= c.size:
		return leaf, fmt.Errorf("the checkpoint covers %d entries", c.size)
	}
	// The checkpoint in the proof is the one beside it, which is verified, or says the same; signatures may differ.
	if pr.checkpoint != string(v.p.files[path.Join(string(log), CheckpointFile)]) {
		in, err := parseCheckpoint([]byte(pr.checkpoint), v.keys[log].name)
		if err == nil && in.text != c.text {
			err = errors.New("it is another one than that of the pack")
		}
		if err == nil {
			err = in.signedBy(v.keys[log])
		}
		if err != nil {
			return leaf, fmt.Errorf("the checkpoint in the proof: %w", err)
		}
	}
	if err := tlog.CheckRecord(pr.hashes, int64(c.size), c.root, int64(index), tlog.RecordHash(text)); err != nil {
		return leaf, errors.New("the proof does not lead from the leaf to the root that was signed")
	}
	return leaf, nil
}

// payload checks that the payload is what the leaf commits to, and says the same.
func (v *verifier) payload(log LogName, dir string, e *entry) {
	file := path.Join(dir, PayloadFile)
	text, ok := v.p.files[file]
	if !ok {
		if why, told := v.withheld[dir+"/payload"]; told {
			v.r.unknown(KindPayload, file, "is what the log commits to", "it is not here: %s. That the entry exists is proved", why)
		} else {
			v.r.check(KindPayload, file, "is what the log commits to", errors.New("it is missing, and the manifest does not say why"))
		}
		return
	}
	if !v.r.check(KindPayload, file, "is what the log commits to", e.parse(log, text)) {
		*e = entry{leaf: e.leaf}
		return
	}
	if e.record != nil {
		v.heads[e.record.Authority] = false
		v.disclosures(dir, e.record)
	}
	if e.activity != nil {
		v.heads[e.activity.Authority] = false
	}
}

func (e *entry) parse(log LogName, text []byte) error {
	l := &e.leaf
	if !l.Matches(text) {
		return errors.New("its SHA-256 is not the one in the leaf")
	}
	var err error
	var id, typ string
	var at aver.Time
	switch {
	case log == AuthorityLog && l.Kind == aver.KindEvent:
		if e.event, err = aver.ParseEvent(text); err == nil {
			id, at, typ = e.event.ID, e.event.Time, string(e.event.Type)
		}
	case log == DecisionLog && l.Kind == aver.KindDecision:
		if e.record, err = aver.ParseRecord(text); err == nil {
			id, at = e.record.ID, e.record.Time
			if l.Outcome == nil || *l.Outcome != e.record.Decision.Outcome {
				return errors.New("the leaf has another outcome")
			}
		}
	case log == DecisionLog && l.Kind == aver.KindActivity:
		if e.activity, err = aver.ParseActivity(text); err == nil {
			id, at, typ = e.activity.ID, e.activity.Time, string(e.activity.Status)
		}
	default:
		return fmt.Errorf("the leaf is of kind %q, which that log does not have", l.Kind)
	}
	switch {
	case err != nil:
		return err
	case l.ID != id || l.Time != at || l.Type != typ:
		return errors.New("the leaf says something else than it")
	}
	return nil
}

// disclosures checks that what is disclosed is what the record commits to, and
// tells what is not.
func (v *verifier) disclosures(dir string, record *aver.Record) {
	request, err := aver.ParseJSON(record.Request, aver.Limits{Bytes: len(record.Request)})
	if err != nil {
		return // it was read a moment ago
	}
	committed := map[string]string{} // digest -> where
	digestsOf(request, "", committed)
	file := path.Join(dir, DisclosuresFile)
	text, ok := v.p.files[file]
	if !ok && len(committed) == 0 {
		return
	}
	var list []string
	if ok {
		err = strict(text, &list)
		for _, d := range list {
			plain, bad := base64.RawURLEncoding.Strict().DecodeString(d)
			var triple []json.RawMessage
			switch at := aver.Digest([]byte(d)); {
			case err != nil:
			case committed[at] == "":
				err = errors.New("it has a disclosure that the record does not commit to, or has it twice")
			case bad != nil || json.Unmarshal(plain, &triple) != nil || len(triple) != 3:
				err = errors.New("a disclosure is not [salt, name, value]")
			default:
				delete(committed, at)
			}
		}
		v.r.check(KindDisclosures, file, "are what the record commits to", err)
	}
	for _, d := range slices.Sorted(maps.Keys(committed)) {
		why := "the pack does not say why"
		if told, ok := v.withheld[dir+"/"+d]; ok {
			why = told
		}
		v.r.unknown(KindDisclosures, file, "discloses all values", "the value at %s is not here: %s", committed[d], why)
	}
}

// digestsOf finds the digests of SD-JWT in a request, and where they stand.
func digestsOf(v any, at string, out map[string]string) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			digestsOf(e, fmt.Sprintf("%s/%d", at, i), out)
		}
	case map[string]any:
		for name, e := range v {
			if list, ok := e.([]any); ok && name == "_sd" {
				for _, d := range list {
					if text, ok := d.(string); ok {
						out[text] = at + "/_sd/" + text
					}
				}
				continue
			}
			digestsOf(e, at+"/"+name, out)
		}
	}
}

// Consistency is one line of consistency.json: a head of the authority log that
// entries cite, and the proof that the checkpoint's tree grew from it.
type Consistency struct {
	aver.TreeHead
	Proof []string `json:"proof"`
}

// citations checks that every head that is cited is one of the log.
func (v *verifier) citations() {
	file := path.Join(string(AuthorityLog), ConsistencyFile)
	var list []Consistency
	text, ok := v.p.files[file]
	if ok {
		if err := strict(text, &list); err != nil {
			v.r.check(KindCitation, file, "holds consistency proofs", err)
		}
	}
	proofs := map[aver.TreeHead]Consistency{}
	for _, c := range list {
		proofs[c.TreeHead] = c
	}
	c, have := v.checkpoints[AuthorityLog]
	for _, head := range slices.SortedFunc(maps.Keys(v.heads), func(a, b aver.TreeHead) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), strings.Compare(a.Root, b.Root))
	}) {
		proof, ok := proofs[head]
		err := errors.New("there is no proof of it")
		if ok && have {
			err = proof.check(c)
		} else if ok {
			err = errors.New("there is no good checkpoint to lead to")
		}
		v.heads[head] = v.r.check(KindCitation, file, fmt.Sprintf("the authority of %d events that entries cite is what the log grew from", head.Size), err)
	}
}

func (c *Consistency) check(to checkpoint) error {
	root, err := parseHash(c.Root)
	if err != nil {
		return err
	}
	hashes := make(tlog.TreeProof, len(c.Proof))
	for i, text := range c.Proof {
		if hashes[i], err = parseHash(text); err != nil {
			return err
		}
	}
	if c.Size < 1 || c.Size > to.size || tlog.CheckTree(hashes, int64(to.size), to.root, int64(c.Size), root) != nil {
		return fmt.Errorf("the tree of %d that was signed is not one that the cited tree of %d grew into", to.size, c.Size)
	}
	return nil
}

// trust compares what the pack names with what the reader brought.
func (v *verifier) trust(o Options) error {
	brought := map[string]bool{}
	for _, text := range o.Keys {
		k, err := parseKey(text)
		if err != nil {
			return err
		}
		brought[k.text] = true
	}
	refused, all := false, true
	used := map[string]bool{}
	needed := map[LogName]bool{DecisionLog: true, AuthorityLog: v.beyond()}
	for i := range v.r.Logs {
		l := &v.r.Logs[i]
		l.Brought, used[l.Key] = brought[l.Key], true
		c := Check{Kind: KindKey, State: Passed, File: ManifestFile, What: fmt.Sprintf("the key of %s is one that you brought", l.Origin)}
		switch {
		case l.Brought:
		case needed[l.Name]:
			all = false
			c.State, c.Detail = NotChecked, "bring it, from somebody you believe"
		default:
			c.State, c.Detail = NotChecked, "it is not needed: entries of the decision log commit to all that is here of this log"
		}
		v.r.Add(c)
	}
	for _, text := range slices.Sorted(maps.Keys(brought)) {
		if !used[text] {
			refused = true
			name, _, _ := strings.Cut(text, "+")
			v.r.Add(Check{KindKey, Failed, ManifestFile, "every key that you brought is that of a log here", "the one of " + name + " is not"})
		}
	}
	for _, text := range o.Witnesses {
		k, err := parseKey(text)
		if err != nil {
			return err
		}
		for _, l := range v.r.Logs {
			c, ok := v.checkpoints[l.Name]
			check := Check{KindWitness, Failed, path.Join(string(l.Name), CheckpointFile), fmt.Sprintf("is cosigned by the witness %s", k.name), "there is no good checkpoint"}
			if ok {
				at, err := c.cosignedBy(k)
				if err == nil {
					check.State, check.Detail = Passed, ""
					if !at.IsZero() {
						check.Detail = "at " + at.Format(time.RFC3339)
					}
				} else {
					check.Detail = err.Error()
				}
			}
			refused = refused || check.State == Failed
			v.r.Add(check)
		}
	}
	switch {
	case refused:
		v.r.Trust = TrustRefused
	case all && len(v.r.Logs) == 2:
		v.r.Trust = TrustEstablished
	}
	return nil
}

// beyond reports whether the pack has events that no cited head covers: the key
// of the authority log alone vouches for those.
func (v *verifier) beyond() bool {
	covered := uint64(0)
	for head, good := range v.heads {
		if good {
			covered = max(covered, head.Size)
		}
	}
	for index := range v.entries[AuthorityLog] {
		if index >= covered {
			return true
		}
	}
	return false
}

// listed compares the decisions with those of the manifest.
func (v *verifier) listed() {
	listed := map[uint64]string{}
	var wrong []string
	list := func(index uint64, id string) {
		if _, twice := listed[index]; twice {
			wrong = append(wrong, fmt.Sprintf("entry %d is listed twice", index))
		}
		listed[index] = id
	}
	for _, d := range v.p.Statement.Predicate.Decisions {
		e := v.entries[DecisionLog][d.Index]
		if e == nil || e.leaf.Kind != aver.KindDecision || e.leaf.ID != d.ID {
			wrong = append(wrong, fmt.Sprintf("decision %s is not entry %d", d.ID, d.Index))
		}
		list(d.Index, d.ID)
		for _, i := range d.Activities {
			a := v.entries[DecisionLog][i]
			if a == nil || a.leaf.Kind != aver.KindActivity || a.activity != nil && a.activity.EvaluationID != d.ID {
				wrong = append(wrong, fmt.Sprintf("entry %d is not an activity of %s", i, d.ID))
			}
			list(i, d.ID)
		}
	}
	for i := range v.entries[DecisionLog] {
		if _, ok := listed[i]; !ok {
			wrong = append(wrong, fmt.Sprintf("entry %d is not listed", i))
		}
	}
	var err error
	if len(wrong) > 0 {
		slices.Sort(wrong)
		err = errors.New(strings.Join(wrong[:min(len(wrong), 5)], "; "))
	}
	v.r.check(KindListed, ManifestFile, "lists the decisions and activities that are here", err)
}
