// Package verify checks the evidence in a data directory: that both logs are whole and signed, that each entry's leaf
// commits to its payload, that the authority log's events may follow one another, that every decision cites a prefix
// of the authority log by its true root, and that every change names the decision that allowed it.
//
// It gives two verdicts and never one. Integrity says that the logs are consistent with a key; trust says that it is the
// key the reader expected, which only a key that the reader brought can show.
package verify

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
)

// Options say what to verify.
type Options struct {
	Dir string // the data directory, of a running or a stopped server
	// Keys are the verifier keys (C2SP signed-note) that the reader brought. A log whose key is not among them is
	// checked with the one that lies in the directory, and is not trusted for it.
	Keys []string
	// Witnesses are verifier keys of witnesses (C2SP tlog-cosignature): each must have cosigned both logs.
	Witnesses []string
	// Checkpoints are signed ones of these logs that the reader has from elsewhere: from a witness, a mirror, or earlier.
	// Both logs must lead to them.
	Checkpoints [][]byte
	Progress    func(origin string, done, total int64) // in bytes, now and then; may be nil

	patience time.Duration // of [Following]; 0 means the usual
}

// Report is what was found. OK is the verdict on all that was asked for: integrity, and trust if a key was brought.
type Report struct {
	OK        bool  `json:"ok"`
	Integrity bool  `json:"integrity"` // both logs are consistent with the keys they were checked with
	Trust     Trust `json:"trust"`
	Logs      []Log `json:"logs"` // the authority log, then the decision log
	// Erased is what is not there any more, and why, in the order of the events that say so.
	Erased []Erased `json:"erased,omitempty"`
}

// Trust says whether the keys are those that the reader expected.
type Trust string

// The verdicts on trust.
const (
	Trusted   Trust = "established"     // both logs are signed by keys that the reader brought, and all named witnesses have cosigned
	Unchecked Trust = "not_established" // no key was brought for at least one of the logs
	Distrust  Trust = "refused"         // a key was brought that is not that of any log here, or a named witness has not cosigned
)

// Log is what was found about one log.
type Log struct {
	ledger.Report
	Key string `json:"key"` // the verifier key it was checked with
	// Brought tells whether the reader brought that key; else it comes from the directory itself.
	Brought bool `json:"key_brought"`
	// Witnessed says up to where each witness that the reader named has cosigned.
	Witnessed []Witnessed `json:"witnessed,omitempty"`
}

// Run verifies a data directory. The error says why that could not be done; what is wrong with the logs is in the
// report.
func Run(ctx context.Context, o Options) (Report, error) {
	keys, err := chooseKeys(o)
	if err != nil {
		return Report{}, err
	}
	// What a running server has answered until now is to be checked, too. Whatever is wrong here is found below.
	if logs, err := datadir.OpenReaders(o.Dir); err == nil {
		logs.Close()
	}
	v := verifier{o: o, roots: map[uint64]string{}, allowed: map[string]allowed{}}
	authorityDir, decisionsDir := datadir.LogDirs(o.Dir)
	if keys.authority.signed, keys.decisions.signed, err = datadir.LastSigned(o.Dir); err != nil {
		return Report{}, err
	}

	report := Report{Trust: keys.trust}
	events, err := v.log(ctx, authorityDir, keys.authority, pap.CheckEntry)
	if err != nil {
		return Report{}, err
	}
	if events.OK() {
		v.fold(authorityDir, keys.authority, &events)
	}
	decisions, err := v.decisions(ctx, authorityDir, decisionsDir, keys)
	if err != nil {
		return Report{}, err
	}
	if events.OK() && decisions.OK() {
		v.checkChanges(&events)
	}
	if report.Erased, err = v.checkErased(authorityDir, decisionsDir, keys, &decisions); err != nil {
		return Report{}, err
	}
	unwitnessed, err := v.checkpoints(keys, [2]*Log{&events, &decisions}, [2]string{authorityDir, decisionsDir})
	if err != nil {
		return Report{}, err
	}
	if unwitnessed {
		report.Trust = Distrust
	}
	report.Logs = []Log{events, decisions}
	report.Integrity = events.OK() && decisions.OK()
	report.OK = report.Integrity && report.Trust != Distrust
	return report, nil
}

// chosen are the keys that the logs are checked with.
type chosen struct {
	authority, decisions key
	trust                Trust
}

type key struct {
	datadir.VerifierKey
	brought bool
	signed  []byte // the last checkpoint that it has signed, as the directory's keys remember; nil if they don't
}

// chooseKeys takes the keys that were brought, and those of the directory for the logs that have none.
func chooseKeys(o Options) (chosen, error) {
	var c chosen
	strangers := 0
	own, err := datadir.VerifierKeys(o.Dir)
	for _, vkey := range o.Keys {
		vkey = strings.TrimSpace(vkey)
		v, err := ledger.ParseVerifier(vkey)
		if err != nil {
			return c, err
		}
		brought := key{VerifierKey: datadir.VerifierKey{Origin: v.Name(), VKey: vkey, Verifier: v}, brought: true}
		switch {
		case belongs(own.Authority, v.Name(), "/authority"):
			c.authority = brought
		case belongs(own.Decisions, v.Name(), "/decisions"):
			c.decisions = brought
		default:
			strangers++
		}
	}
	if err != nil && (!c.authority.brought || !c.decisions.brought) {
		return c, err
	}
	if !c.authority.brought {
		c.authority = key{VerifierKey: own.Authority}
	}
	if !c.decisions.brought {
		c.decisions = key{VerifierKey: own.Decisions}
	}
	switch {
	case strangers > 0:
		c.trust = Distrust
	case c.authority.brought && c.decisions.brought:
		c.trust = Trusted
	default:
		c.trust = Unchecked
	}
	return c, nil
}

// belongs tells whether a key of that name is for the log: by the directory's own key, or by the name's ending where the
// directory has none.
func belongs(own datadir.VerifierKey, name, ending string) bool {
	if own.Origin != "" {
		return name == own.Origin
	}
	return strings.HasSuffix(name, ending)
}

type verifier struct {
	o       Options
	mu      sync.Mutex
	roots   map[uint64]string  // size of the authority log :: its root
	changes []change           // the events that name a decision, or should
	allowed map[string]allowed // by evaluation id: the decisions about Aver's own administration
	gone    gone
}

func (v *verifier) log(ctx context.Context, dir string, k key, check func(ledger.Indexed) error) (Log, error) {
	var progress func(done, total int64)
	if v.o.Progress != nil {
		progress = func(done, total int64) { v.o.Progress(k.Origin, done, total) }
	}
	var damaged []ledger.Finding
	if len(k.signed) > 0 {
		if _, _, err := ledger.ParseCheckpoint(k.signed, k.Origin, k.Verifier); err != nil {
			damaged = []ledger.Finding{{File: "../keys/" + filepath.Base(dir) + ".signed", Offset: -1, What: err.Error()}}
			k.signed = nil
		}
	}
	report, err := ledger.Verify(ctx, dir, ledger.VerifyOptions{
		Origin: k.Origin, Verifier: k.Verifier, LastSigned: k.signed, CheckEntry: check, Progress: progress,
	})
	if err != nil {
		return Log{}, fmt.Errorf("log %s: %w", k.Origin, err)
	}
	report.Findings = append(report.Findings, damaged...)
	return Log{Report: report, Key: k.VKey, Brought: k.brought}, nil
}

// fold checks that the events may follow one another.
func (v *verifier) fold(dir string, k key, log *Log) {
	wrong := func(index uint64, err error) {
		log.Findings = append(log.Findings, ledger.Finding{Offset: -1, Index: index, What: err.Error()})
	}
	reader, err := ledger.OpenReader(dir, ledger.Options{Origin: k.Origin, Verifier: k.Verifier})
	if err != nil {
		wrong(0, err)
		return
	}
	defer reader.Close()
	var at uint64
	counted := func(yield func(*aver.Event, error) bool) {
		for e, err := range pap.Events(reader.Entries(0, log.Size)) {
			if !yield(e, err) {
				return
			}
			v.event(at, e)
			at++
		}
	}
	if v.gone.before, err = authority.Fold(authority.New(), counted); err != nil {
		wrong(at, err)
	}
}

// decisions verifies the decision log, and that each record cites the authority log as it is.
func (v *verifier) decisions(ctx context.Context, authorityDir, decisionsDir string, keys chosen) (Log, error) {
	reader, err := ledger.OpenReader(authorityDir, ledger.Options{Origin: keys.authority.Origin, Verifier: keys.authority.Verifier})
	if err != nil {
		// The authority log's own report says what is wrong with it.
		log, err2 := v.log(ctx, decisionsDir, keys.decisions, func(e ledger.Indexed) error { _, err := v.citation(e); return err })
		if err2 != nil {
			return log, err2
		}
		log.Findings = append(log.Findings, ledger.Finding{Offset: -1, What: "the authority log can't be read, so what the decisions cite of it was not checked: " + err.Error()})
		return log, nil
	}
	defer reader.Close()
	follow := Follow(reader)
	if v.o.patience > 0 {
		follow.patience = v.o.patience
	}
	return v.log(ctx, decisionsDir, keys.decisions, func(e ledger.Indexed) error {
		cited, err := v.citation(e)
		if err != nil || e.Erased {
			return err
		}
		return v.checkCitation(follow, cited)
	})
}

// checkCitation checks that the authority log has the prefix that a record names.
func (v *verifier) checkCitation(log *Following, cited aver.TreeHead) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	root, ok := v.roots[cited.Size]
	if !ok {
		hash, err := log.TreeHash(cited.Size)
		if err != nil {
			return fmt.Errorf("it cites the authority log at size %d: %w", cited.Size, err)
		}
		root = hash.String()
		v.roots[cited.Size] = root
	}
	if root != cited.Root {
		return fmt.Errorf("it cites the authority log at size %d with the root %s, but there the root is %s", cited.Size, cited.Root, root)
	}
	return nil
}
