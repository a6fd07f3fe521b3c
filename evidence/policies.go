package evidence

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

// policies checks that the policies of the pack are those that records commit to: the record names the digest of the
// active bundles, that of a bundle commits to its files, and these are in the event that published it.
func (v *verifier) policies() {
	sets := map[string][][2]string{}
	for _, s := range v.p.Statement.Predicate.Policies {
		sets[s.Digest] = s.Active
	}
	published := map[[2]string]bool{}
	withheld := 0
	for _, index := range slices.Sorted(maps.Keys(v.entries[AuthorityLog])) {
		e := v.entries[AuthorityLog][index]
		if e.leaf.Type != string(aver.EventPolicyPublished) {
			continue
		}
		if e.event == nil {
			withheld++
			continue
		}
		var data aver.PolicyPublished
		if err := json.Unmarshal(e.event.Data, &data); err != nil {
			continue
		}
		file := path.Join(EntryDir(AuthorityLog, index), PayloadFile)
		var err error
		if bundleDigest(data.Files) != data.Digest {
			err = errors.New("its digest is not that of its files")
		}
		if v.r.check(KindPolicies, file, fmt.Sprintf("publishes the bundle %s with the digest %.12s…", data.Name, data.Digest), err) {
			published[[2]string{data.Name, data.Digest}] = true
		}
	}
	used := map[string]int{}
	for _, e := range v.entries[DecisionLog] {
		if e.record != nil {
			used[e.record.Policies]++
		}
	}
	for _, d := range slices.Sorted(maps.Keys(used)) {
		what := fmt.Sprintf("the policies of %d decisions are here in full", used[d])
		active, ok := sets[d]
		text, err := aver.CanonicalJSON(active)
		if !ok || err != nil || aver.Digest(text) != d {
			v.r.check(KindPolicies, ManifestFile, what, fmt.Errorf("the manifest does not say which bundles %s stands for", d))
			continue
		}
		var missing []string
		for _, b := range active {
			if !published[b] {
				missing = append(missing, b[0])
			}
		}
		if len(missing) > 0 && withheld > 0 {
			v.r.unknown(KindPolicies, ManifestFile, what, "withheld: %s", strings.Join(missing, ", "))
			continue
		}
		if len(missing) > 0 {
			err = fmt.Errorf("missing: %s", strings.Join(missing, ", "))
		}
		v.r.check(KindPolicies, ManifestFile, what, err)
	}
}

// bundleDigest is the digest of a bundle by its files: docs/formats-authority.md.
func bundleDigest(files map[string]string) string {
	h := sha256.New()
	h.Write([]byte("aver.bundle.v1\n"))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, text := range []string{name, files[name]} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
			h.Write([]byte(text))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// cited tells of each decision whether the events that it cites are here.
func (v *verifier) cited() {
	ids := map[string]bool{} // "type id" of grants, approvals and exceptions that are here
	for _, e := range v.entries[AuthorityLog] {
		if e.event == nil {
			continue
		}
		var data struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(e.event.Data, &data) == nil {
			ids[string(e.event.Type)+" "+data.ID] = true
		}
	}
	for _, index := range slices.Sorted(maps.Keys(v.entries[DecisionLog])) {
		r := v.entries[DecisionLog][index].record
		if r == nil {
			continue
		}
		var missing []string
		lacks := func(what string) {
			if !slices.Contains(missing, what) {
				missing = append(missing, what)
			}
		}
		events := slices.Clone(r.Facts.Events)
		if r.Decision.Actor.Event != nil {
			events = append(events, *r.Decision.Actor.Event)
		}
		for _, i := range events {
			if e := v.entries[AuthorityLog][i]; e == nil || e.event == nil {
				lacks(fmt.Sprintf("event %d", i))
			}
		}
		frames := slices.Clone(r.Decision.Frames)
		for _, p := range r.Decision.Parts {
			frames = append(frames, p.Frames...)
		}
		for _, f := range frames {
			if f.Grant != "" && !ids[string(aver.EventGrantIssued)+" "+f.Grant] {
				lacks("grant " + f.Grant)
			}
			if f.Exception != "" && !ids[string(aver.EventExceptionRequested)+" "+f.Exception] {
				lacks("exception " + f.Exception)
			}
		}
		file, what := path.Join(EntryDir(DecisionLog, index), PayloadFile), "what the decision cites of the authority log is here"
		if len(missing) > 0 {
			v.r.unknown(KindCited, file, what, "not here: %s", strings.Join(missing, ", "))
			continue
		}
		v.r.check(KindCited, file, what, nil)
	}
}
