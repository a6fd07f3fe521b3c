package gaps_test

import (
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/report/gaps"
)

// A grant that gives conflicting duties by itself is one finding, about whom it was given to; and a pattern gives the
// duties that there are, not all that could be thought of.
func TestConflictsAreToldOnceAndOfWhatThereIs(t *testing.T) {
	s := scene(t, func(s *story) {
		bot(s, "both", 90, func(g *aver.Grant) {
			g.From, g.Actions, g.Resources = ref("user", "ben"), []string{"payment.create", "payment.approve"}, []aver.ResourceScope{{Type: "payment"}}
		})
		bot(s, "keeper", 90, func(g *aver.Grant) { g.From, g.Actions = ref("user", "cleo"), []string{"access.*"} }) // no policy names such actions
	})
	var got []string
	for _, f := range s.found(gaps.Defaults()).Findings {
		if f.Rule == "conflicting-duties" {
			got = append(got, f.Subject.Ref.ID)
		}
	}
	if len(got) != 1 || got[0] != "s0-both" {
		t.Errorf("found of %q, want of s0-both alone", got)
	}
}

// However much is wrong with a chain, who showed it asked once.
func TestARequestCountsOnce(t *testing.T) {
	s := newStory(t, ledgertest.NewMem())
	company(s)
	s.on(90, func() {
		s.ask(asked{subject: helper, action: "document.read", resource: document, forUser: "ann", grants: []string{"g-never", "g-nor-this", "g-helper"}}, aver.Denied)
	})
	s.tell()
	for _, f := range s.found(gaps.Defaults()).Findings {
		if f.Rule == "hop-without-grant" && (f.Count != 1 || len(f.Details) < 2) {
			t.Errorf("one request is counted %d times: %q", f.Count, f.Details)
		}
	}
}
