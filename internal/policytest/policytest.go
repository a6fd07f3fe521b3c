// Package policytest runs the test cases of a bundle (tests/*.yaml) with the
// code that decides in production: each case has an authority log of its own,
// made of real events, and its request is decided by [pdp.Decide].
package policytest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// Result is what became of one test case.
type Result struct {
	Name string `json:"name"`
	File string `json:"file"` // within the bundle
	Line int    `json:"line"` // where the case begins
	OK   bool   `json:"ok"`
	Want string `json:"want"`          // the outcome expected, and the reasons if the case names any
	Got  string `json:"got,omitempty"` // the outcome, and its reasons; "" if the case could not be run
	// Detail says in plain words what is wrong: which reasons are missing and
	// why it was decided so, or why the case could not be run.
	Detail string `json:"detail,omitempty"`
}

// String is one line for a case that passed, and the whole story for another.
func (r Result) String() string {
	if r.OK {
		return fmt.Sprintf("ok    %s:%d: %s: %s", r.File, r.Line, r.Name, r.Got)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "FAIL  %s:%d: %s\n      want %s\n", r.File, r.Line, r.Name, r.Want)
	if r.Got != "" {
		fmt.Fprintf(&b, "      got  %s\n", r.Got)
	}
	for line := range strings.Lines(r.Detail) {
		b.WriteString("      " + line)
	}
	return strings.TrimRight(b.String(), "\n")
}

// When things happen in a test, unless its case says otherwise.
var (
	defaultNow = mustTime("2026-01-15T12:00:00Z") // a Thursday
	// The log begins long before any time that a case may name, so that what
	// is expired when the request is made was not yet when it was issued.
	setUpAt = mustTime("2000-01-01T00:00:00Z")
)

func mustTime(s string) aver.Time {
	t, err := aver.ParseTime(s)
	if err != nil {
		panic(err)
	}
	return t
}

// Run runs the test cases of a bundle, in their order, in a world where the
// baseline, the others and the bundle are active (of several with the same name,
// the last), and the case's identities, entities and grants are known. A case
// says nothing of counters, so none of a grant's limits is used up yet.
func Run(b *policy.Bundle, others ...*policy.Bundle) []Result {
	base, err := activate(append(append([]*policy.Bundle{policy.Baseline()}, others...), b))
	results := make([]Result, 0, len(b.Tests()))
	for _, tc := range b.Tests() {
		r := Result{Name: tc.Name, File: tc.File, Line: tc.Line, Want: describe(tc.Outcome, tc.Reasons)}
		if err != nil {
			r.Detail = err.Error()
		} else if d, err := decide(base, tc, b.Name() == policy.AdministrationName); err != nil {
			r.Detail = err.Error()
		} else {
			compare(&r, tc, d)
		}
		results = append(results, r)
	}
	return results
}

// Failed counts the results that are not OK.
func Failed(results []Result) int {
	n := 0
	for _, r := range results {
		if !r.OK {
			n++
		}
	}
	return n
}

func activate(bundles []*policy.Bundle) (*authority.State, error) {
	st := authority.New()
	for i, b := range bundles {
		if slices.ContainsFunc(bundles[i+1:], func(later *policy.Bundle) bool { return later.Name() == b.Name() }) {
			continue
		}
		files := map[string]string{}
		for name, text := range b.Files() {
			files[name] = string(text)
		}
		ref := aver.PolicyRef{Name: b.Name(), Digest: b.Digest()}
		for _, change := range []struct {
			typ  aver.EventType
			data any
		}{
			{aver.EventPolicyPublished, aver.PolicyPublished{Name: ref.Name, Digest: ref.Digest, Files: files}},
			{aver.EventPolicyActivated, ref},
		} {
			var err error
			if st, err = apply(st, change.typ, change.data); err != nil {
				return nil, err
			}
		}
	}
	return st, nil
}

// setUpBy is who makes the events of a case.
const setUpBy = "policytest"

// apply makes the next event. Everything in it follows from its index.
func apply(st *authority.State, typ aver.EventType, data any) (*authority.State, error) {
	e, err := aver.NewEvent(typ, data)
	if err != nil {
		return nil, err
	}
	e.ID = fmt.Sprintf("00dc6acf-ac00-7000-8000-%012x", st.Size())
	e.Time = setUpAt
	e.By = aver.By{Name: setUpBy, Method: "internal"}
	e.Salt = "AAAAAAAAAAAAAAAAAAAAAA"
	return st.Apply(&e)
}

// identity is one of a case's identities. Unlike a registration, a case can say
// where it stands in its life.
type identity struct {
	aver.Identity
	Status aver.Status `json:"status"` // active if not given
}

// grant is one of a case's grants.
type grant struct {
	aver.Grant
	Revoked bool `json:"revoked"`
}

// decide decides the request of a case: one about administration if the bundle is for that.
func decide(st *authority.State, tc policy.TestCase, administration bool) (d aver.Decision, err error) {
	each(tc.Identities, "identities", &err, func(i identity) error {
		if st, err = apply(st, aver.EventIdentityRegistered, i.Identity); err != nil {
			return err
		}
		switch i.Status {
		case "", aver.Active:
		case aver.Suspended:
			st, err = apply(st, aver.EventIdentitySuspended, i.Ref)
		case aver.Retired:
			st, err = apply(st, aver.EventIdentityRetired, i.Ref)
		default:
			err = fmt.Errorf("status %q is not one of active, suspended and retired", i.Status)
		}
		return err
	})
	each(tc.Entities, "entities", &err, func(e aver.Entity) error {
		st, err = apply(st, aver.EventEntityPut, e)
		return err
	})
	each(tc.Grants, "grants", &err, func(g grant) error {
		if st, err = apply(st, aver.EventGrantIssued, g.Grant); err == nil && g.Revoked {
			st, err = apply(st, aver.EventGrantRevoked, aver.GrantRef{ID: g.ID})
		}
		return err
	})
	each(tc.Signals, "signals", &err, func(r aver.SignalReport) error {
		r.ID = cmp.Or(r.ID, fmt.Sprint(st.Size()))
		s, err := r.Signal(aver.By{Name: setUpBy}.Principal().String(), setUpAt)
		if err == nil {
			st, err = apply(st, aver.EventSignalReceived, s)
		}
		return err
	})
	if err != nil {
		return d, err
	}
	parsed, err := aver.ParseJSON(tc.Request, aver.Limits{})
	if err != nil {
		return d, fmt.Errorf("request: %w", err)
	}
	request, err := aver.ParseRequest(parsed)
	if err != nil {
		return d, fmt.Errorf("request: %w", err)
	}
	now := defaultNow
	if !tc.Now.IsZero() {
		now = aver.TimeOf(tc.Now)
	}
	q := pdp.NewQuery(request)
	if administration {
		q = pdp.NewAdministration(request)
	}
	d, _ = pdp.Decide(st, q, now, nil)
	return d, nil
}

// each reads a list of a case and hands out its members, unless something
// failed before. The error says which member is wrong.
func each[T any](list json.RawMessage, name string, err *error, do func(T) error) {
	if list == nil || *err != nil {
		return
	}
	var members []json.RawMessage
	if *err = json.Unmarshal(list, &members); *err != nil {
		*err = fmt.Errorf("%s: %w", name, *err)
		return
	}
	for i, text := range members {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		var member T
		failed := d.Decode(&member)
		if failed == nil {
			failed = do(member)
		}
		if failed != nil {
			*err = fmt.Errorf("%s[%d]: %w", name, i, failed)
			return
		}
	}
}

func compare(r *Result, tc policy.TestCase, d aver.Decision) {
	reasons := d.Reasons
	for _, p := range d.Parts {
		reasons = append(slices.Clone(reasons), p.Reasons...)
	}
	var ids []string
	for _, reason := range reasons {
		if reason.Policy != "" && !slices.Contains(ids, reason.Policy) {
			ids = append(ids, reason.Policy)
		}
	}
	r.Got = describe(d.Outcome.String(), ids)
	var missing []string
	for _, id := range tc.Reasons {
		if !slices.Contains(ids, id) {
			missing = append(missing, id)
		}
	}
	r.OK = d.Outcome.String() == tc.Outcome && len(missing) == 0
	if r.OK {
		return
	}
	var b strings.Builder
	if len(missing) > 0 {
		fmt.Fprintf(&b, "Not among the reasons: %s\n", strings.Join(missing, ", "))
	}
	said := map[string]bool{}
	for _, reason := range reasons {
		if line := "Because: " + reason.Text; !said[line] {
			said[line] = true
			b.WriteString(line + "\n")
		}
	}
	r.Detail = strings.TrimSuffix(b.String(), "\n")
}

func describe(outcome string, reasons []string) string {
	if len(reasons) == 0 {
		return outcome
	}
	return fmt.Sprintf("%s (%s)", outcome, strings.Join(reasons, ", "))
}
