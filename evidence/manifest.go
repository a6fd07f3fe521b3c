package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver"
)

// Envelope is a DSSE envelope (github.com/secure-systems-lab/dsse, version 1).
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"` // standard base64
	Signatures  []Signature `json:"signatures"`
}

// Signature is one signature over [PAE] of an envelope's payload.
type Signature struct {
	KeyID string `json:"keyid"` // a hint: name and hash of the verifier key, "<origin>+<hash>"
	Sig   string `json:"sig"`   // standard base64
}

// PAE is DSSE's pre-authentication encoding: what is signed.
func PAE(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// Statement is an in-toto Statement, version 1, about the files of a pack.
type Statement struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"` // by name
	PredicateType string    `json:"predicateType"`
	Predicate     Predicate `json:"predicate"`
}

// Subject is one file.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"` // "sha256", in lower-case hexadecimal
}

// Predicate says what the pack is.
type Predicate struct {
	Format    string          `json:"format"` // [Format]
	Made      aver.Time       `json:"made"`
	Program   string          `json:"program,omitempty"` // that made it
	Purpose   *Purpose        `json:"purpose,omitempty"`
	Query     string          `json:"query,omitempty"`     // that chose the decisions; "": they were named one by one
	Authority string          `json:"authority"`           // "cited": the events that the entries cite; "whole": all up to the last cited head
	Logs      map[LogName]Log `json:"logs"`                // both
	Decisions []Decision      `json:"decisions"`           // in the order of the log
	Policies  []PolicySet     `json:"policies,omitempty"`  // what each digest of active policies stands for
	Withheld  []Withheld      `json:"withheld,omitempty"`  // what is not here, and why
	Redacted  []string        `json:"redacted,omitempty"`  // what the maker asked to withhold
	Question  string          `json:"question,omitempty"`  // what the pack is to answer, in the words of who asked
	Truncated uint64          `json:"truncated,omitempty"` // decisions that the query matches beyond those packed
}

// Purpose is what a pack is made for, one of [Purposes].
type Purpose struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Log is one of the logs as the pack names it: a claim until the reader has
// compared the key.
type Log struct {
	Origin string `json:"origin"`
	Key    string `json:"key"` // verifier key, C2SP signed-note
}

// Decision is a decision in the pack, with its activities.
type Decision struct {
	ID         string   `json:"evaluation_id"`
	Index      uint64   `json:"index"`
	Activities []uint64 `json:"activities,omitempty"` // their indexes in the decision log
}

// PolicySet says which bundles were active: Digest is the digest of the
// canonical form of Active.
type PolicySet struct {
	Digest string      `json:"digest"`
	Active [][2]string `json:"active"` // name and digest of each, by name
}

// Withheld is something that the pack leaves out.
type Withheld struct {
	Log   LogName `json:"log"`
	Index uint64  `json:"index"`
	What  string  `json:"what"` // "payload", or the digest of a disclosure
	Why   string  `json:"why"`
}

// Sign makes the manifest of files: their digests, and what they are, signed
// with the decision log's key. The signer's name and hash become the key id.
func Sign(files map[string][]byte, predicate Predicate, signer note.Signer) ([]byte, error) {
	s := Statement{Type: StatementType, PredicateType: PredicateType, Predicate: predicate, Subject: []Subject{}}
	for name, content := range files {
		s.Subject = append(s.Subject, Subject{name, map[string]string{"sha256": digest(content)}})
	}
	slices.SortFunc(s.Subject, func(a, b Subject) int { return strings.Compare(a.Name, b.Name) })
	payload, err := aver.CanonicalJSON(s)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	sig, err := signer.Sign(PAE(PayloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("manifest: signing: %w", err)
	}
	return json.MarshalIndent(Envelope{
		PayloadType: PayloadType, Payload: base64.StdEncoding.EncodeToString(payload),
		Signatures: []Signature{{fmt.Sprintf("%s+%08x", signer.Name(), signer.KeyHash()), base64.StdEncoding.EncodeToString(sig)}},
	}, "", " ")
}

// parseManifest reads the envelope and its statement. Nothing of it is verified
// but the form.
func parseManifest(text []byte) (payload []byte, envelope Envelope, statement Statement, err error) {
	if err := strict(text, &envelope); err != nil {
		return nil, envelope, statement, fmt.Errorf("the envelope: %w", err)
	}
	if envelope.PayloadType != PayloadType {
		return nil, envelope, statement, fmt.Errorf("the envelope holds %q, not %s", envelope.PayloadType, PayloadType)
	}
	if payload, err = base64.StdEncoding.Strict().DecodeString(envelope.Payload); err != nil {
		return nil, envelope, statement, errors.New("the envelope's payload is not base64")
	}
	if err := strict(payload, &statement); err != nil {
		return nil, envelope, statement, fmt.Errorf("the statement: %w", err)
	}
	if canonical, err := aver.CanonicalJSON(statement); err != nil || !bytes.Equal(canonical, payload) {
		return nil, envelope, statement, errors.New("the statement is not in the canonical form")
	}
	p := &statement.Predicate
	switch {
	case statement.Type != StatementType || statement.PredicateType != PredicateType:
		return nil, envelope, statement, fmt.Errorf("the statement is a %q about %q, which this version does not know", statement.Type, statement.PredicateType)
	case p.Format != Format:
		return nil, envelope, statement, fmt.Errorf("the pack has the format %q; this version reads %s", p.Format, Format)
	case p.Logs[AuthorityLog].Key == "" || p.Logs[DecisionLog].Key == "" || len(p.Logs) != 2:
		return nil, envelope, statement, errors.New("the statement does not name the keys of both logs")
	}
	return payload, envelope, statement, nil
}

// strict decodes JSON that means one thing: each member is one of v's, spelt as it
// is there and once, and nothing comes after. So what other programs read in it
// is what is read here.
func strict(text []byte, v any) error {
	generic, err := aver.ParseJSON(text, aver.Limits{Bytes: len(text), Members: len(text)})
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	read, err := aver.CanonicalJSON(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(read, aver.AppendCanonical(nil, generic)) {
		return errors.New("a member is not spelt as it should be, or empty where it should be left out")
	}
	return nil
}

// digest is the SHA-256 in hexadecimal.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
