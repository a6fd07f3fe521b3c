package evidence

import (
	"fmt"

	"github.com/aver-authz/aver"
)

// State is what became of one check.
type State string

// The states. Unknown: what it takes was withheld or is gone. NotChecked: it
// could have been checked, with more than there was. Neither is passed.
const (
	Passed     State = "passed"
	Failed     State = "failed"
	NotChecked State = "not_checked"
	Unknown    State = "unknown"
)

// Kind sorts checks.
type Kind string

// The kinds of checks, in the order in which they are made.
const (
	KindManifest    Kind = "manifest"    // the manifest is signed with the decision log's key
	KindFiles       Kind = "files"       // all files are those that the manifest lists
	KindCheckpoint  Kind = "checkpoint"  // the checkpoint of a log is signed with its key
	KindProof       Kind = "proof"       // an entry is in the tree of its log's checkpoint
	KindPayload     Kind = "payload"     // a payload is the one that its leaf commits to
	KindDisclosures Kind = "disclosures" // disclosures are those that the record commits to
	KindCitation    Kind = "citation"    // a head of the authority log that entries cite is one that its checkpoint grew from
	KindPolicies    Kind = "policies"    // the policies are those that records commit to
	KindCited       Kind = "cited"       // what a decision cites of the authority log is here
	KindListed      Kind = "listed"      // the decisions are those that the manifest lists
	KindPopulation  Kind = "population"  // the decisions are of a population that is complete; not by this package
	KindAgain       Kind = "again"       // a decision comes out as it is recorded; not by this package
	KindPage        Kind = "page"        // the page's scripts are published ones; not by this package
	KindKey         Kind = "key"         // trust: the log's key is the one the reader brought
	KindWitness     Kind = "witness"     // trust: a witness that the reader named has cosigned
)

// Check is one line of a report.
type Check struct {
	Kind   Kind   `json:"check"`
	State  State  `json:"state"`
	File   string `json:"file,omitempty"` // that it is about
	What   string `json:"what"`           // what was checked, in words
	Detail string `json:"detail,omitempty"`
}

// Trust is the second verdict.
type Trust string

// The trusts.
const (
	TrustEstablished    Trust = "established"     // the keys are those that the reader brought, and all named witnesses have cosigned
	TrustNotEstablished Trust = "not_established" // the reader brought too little
	TrustRefused        Trust = "refused"         // a key that the reader brought is another one, or a witness has not cosigned
)

// Report is what verifying a pack showed.
type Report struct {
	OK        bool          `json:"ok"`        // integrity, and trust not refused
	Integrity bool          `json:"integrity"` // the pack is consistent with the keys that it names
	Trust     Trust         `json:"trust"`
	Form      Form          `json:"form"`
	Made      aver.Time     `json:"made"`
	Purpose   *Purpose      `json:"purpose,omitempty"`
	Query     string        `json:"query,omitempty"`
	Decisions int           `json:"decisions"`
	Logs      []LogReport   `json:"logs"`
	Page      *PageReport   `json:"page,omitempty"`
	Counts    map[State]int `json:"counts"` // of the checks
	Checks    []Check       `json:"checks"`
}

// LogReport is one log, as the pack has it.
type LogReport struct {
	Name    LogName `json:"log"`
	Origin  string  `json:"origin"`
	Key     string  `json:"key"`
	Size    uint64  `json:"size"` // of the checkpoint; 0 if that does not verify
	Root    string  `json:"root,omitempty"`
	Brought bool    `json:"brought"` // the key is one that the reader brought
}

// PageReport is about the scripts of an HTML page, which verifying ignores.
type PageReport struct {
	Shell     string `json:"page_sha256"` // of the page without its data
	Verifier  string `json:"verifier_sha256"`
	Published string `json:"published,omitempty"` // the version that they were published as; "": none that this program knows
}

// Add takes in a check that was made elsewhere. Call [Report.Conclude] after the
// last.
func (r *Report) Add(c Check) { r.Checks = append(r.Checks, c) }

// Conclude counts the checks and draws the verdict on integrity. Every check but
// those of trust and of the page counts: one that failed, and one of a kind that
// must be made and was not, speak against it. Unknown does not, and is told.
func (r *Report) Conclude() {
	r.Counts = map[State]int{Passed: 0, Failed: 0, NotChecked: 0, Unknown: 0}
	r.Integrity = true
	for _, c := range r.Checks {
		r.Counts[c.State]++
		switch c.Kind {
		case KindKey, KindWitness, KindPage:
			continue
		}
		if c.State == Failed || c.State == NotChecked && c.Kind != KindAgain {
			r.Integrity = false
		}
	}
	r.OK = r.Integrity && r.Trust != TrustRefused
}

func (r *Report) check(k Kind, file, what string, err error) bool {
	c := Check{Kind: k, State: Passed, File: file, What: what}
	if err != nil {
		c.State, c.Detail = Failed, err.Error()
	}
	r.Add(c)
	return err == nil
}

func (r *Report) unknown(k Kind, file, what, format string, args ...any) {
	r.Add(Check{k, Unknown, file, what, fmt.Sprintf(format, args...)})
}
