package gaps_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver"

	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/report/gaps"
)

// In a company in which all is well nothing is found, and nothing is unknown.
func TestNothingIsFoundWhereAllIsWell(t *testing.T) {
	report := scene(t).found(gaps.Defaults())
	if diff := cmp.Diff([]string{}, names(report)); diff != "" {
		t.Errorf("found:\n%s", diff)
	}
	if len(report.Unknown) > 0 {
		t.Errorf("unknown: %+v", report.Unknown)
	}
}

// A data directory in which gaps of every kind were planted: all of them are
// found, and nothing else.
func TestAllThatWasPlantedIsFound(t *testing.T) {
	s := newStory(t, nil)
	company(s)
	var planted []func(*story)
	var want []string
	for n, x := range scenarios() {
		planted = append(planted, x.gap)
		want = append(want, x.found(n)...)
	}
	tellOf(s, planted...)
	path := s.dir.Path()
	s.close()

	logs, err := datadir.OpenReaders(path)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	report, err := gaps.Find(t.Context(), logs.Authority, logs.Decisions, gaps.Defaults(), start+end*day)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(slices.Compact(want), names(report)); diff != "" {
		t.Errorf("planted and found (-planted +found):\n%s", diff)
	}
	seen := map[string]bool{}
	for _, f := range report.Findings {
		if seen[f.ID] {
			t.Errorf("two findings are called %s", f.ID)
		}
		seen[f.ID] = true
	}
}

// What is read in several goes, interrupted and all, is the same as what is read
// at once.
func TestReadingGoesOn(t *testing.T) {
	s := newStory(t, ledgertest.NewMem())
	company(s)
	var planted []func(*story)
	for _, x := range scenarios() {
		planted = append(planted, x.gap)
	}
	for n, f := range planted {
		story := &story{s.world, storyName(n)}
		story.on(0, func() { story.person(story.name + "dan") })
		f(story)
	}
	scanner := gaps.New(s.authority, s.decisions, gaps.Defaults())
	for d := 0.0; d < end; d += 20 {
		s.on(d+0.5, func() {
			if err := scanner.Advance(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := scanner.Report(t.Context(), s.now); err != nil {
				t.Fatal(err)
			}
		})
	}
	s.tell()
	if err := scanner.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := scanner.Report(t.Context(), start+end*day)
	if err != nil {
		t.Fatal(err)
	}
	want := s.found(gaps.Defaults())
	for i := range got.Findings { // what was proved before holds of more of the past
		if p, q := got.Findings[i].Proposal, want.Findings[i].Proposal; p != nil && q != nil {
			q.Proof = p.Proof
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-at once +in goes:\n%s", diff)
	}
}

// Acceptance and closing are events: an acceptance ends, and evidence that is
// later than the closing opens a gap again.
func TestGapsAreAcceptedAndClosed(t *testing.T) {
	nobody := asked{subject: assistant, action: "document.read", resource: document}
	id := gaps.ID(gaps.Rule{Gap: "I3", Name: "no-chain"}, aver.GapSubject{Kind: "identity", ID: assistant.String()})
	accept := func(s *story, at float64, until aver.Time) {
		s.on(at, func() {
			s.as("lena").event(aver.EventGapAccepted, aver.GapAcceptance{ID: id, Gap: "I3", Rule: "no-chain", Subject: assistant, Until: until}, "until the migration")
		})
	}
	closing := func(s *story, at float64) {
		s.on(at, func() {
			s.as("lena").event(aver.EventGapClosed, aver.GapClosing{ID: id, Gap: "I3", Rule: "no-chain", Subject: assistant}, "it has a grant now")
		})
	}
	for name, x := range map[string]struct {
		after func(*story)
		want  aver.GapState
	}{
		"nothing":                     {func(*story) {}, aver.GapOpen},
		"accepted":                    {func(s *story) { accept(s, 91, start+200*day) }, aver.GapAccepted},
		"accepted until yesterday":    {func(s *story) { accept(s, 91, start+99*day) }, aver.GapOpen},
		"closed":                      {func(s *story) { closing(s, 91) }, aver.GapClosed},
		"closed, and seen again":      {func(s *story) { closing(s, 91); s.on(92, func() { s.carryOut(nobody) }) }, aver.GapOpen},
		"accepted, and seen again":    {func(s *story) { accept(s, 91, start+200*day); s.on(92, func() { s.carryOut(nobody) }) }, aver.GapAccepted},
		"closed, and accepted anyway": {func(s *story) { closing(s, 91); accept(s, 92, start+200*day) }, aver.GapAccepted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := scene(t, func(s *story) {
				s.on(90, func() { s.carryOut(nobody) })
				x.after(s)
			}).found(gaps.Defaults())
			if len(report.Findings) != 1 || report.Findings[0].ID != id || report.Findings[0].State != x.want {
				t.Fatalf("%+v, want %s %s", report.Findings, id, x.want)
			}
			if a := report.Findings[0].Answer; name != "nothing" && (a == nil || a.By != `user::"lena"` || a.Reason == "") {
				t.Errorf("answer: %+v", a)
			}
		})
	}
}

// What holds at the moment is not mended by saying so.
func TestWhatStillHoldsStaysOpen(t *testing.T) {
	report := scene(t, func(s *story) {
		s.on(1, func() { s.credential("batch", aver.RolePEP, nil) })
		s.on(99, func() {
			id := gaps.ID(gaps.Rule{Gap: "I1", Name: "no-rotation"}, aver.GapSubject{Kind: "credential", ID: "batch"})
			s.event(aver.EventGapClosed, aver.GapClosing{ID: id, Gap: "I1", Rule: "no-rotation"}, "rotated, I think")
		})
	}).found(gaps.Defaults())
	if len(report.Findings) != 1 || report.Findings[0].State != aver.GapOpen || report.Findings[0].Answer == nil {
		t.Errorf("%+v", report.Findings)
	}
}

// A narrower grant is proposed with what the past says about it: here, that what
// was used a while ago would have been refused.
func TestProposalsAreDecidedWithThePast(t *testing.T) {
	for name, x := range map[string]struct {
		privileged bool // was used, 40 days ago
		want       aver.GapProof
	}{
		"harmless": {false, aver.GapProof{Verdict: aver.ProofHarmless, Decided: 1, Same: 1}},
		"changes":  {true, aver.GapProof{Verdict: aver.ProofChanges, Decided: 2, Same: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			used := ""
			s := scene(t, func(s *story) {
				r := bot(s, "clerk", 20, func(g *aver.Grant) {
					g.Actions = []string{"document.*", "iam.assign"}
					g.Resources = append(g.Resources, aver.ResourceScope{Type: "archive"})
				})
				do := func(action string) string {
					return s.carryOut(asked{subject: r, action: action, resource: document}.by(s.name + "g-clerk"))
				}
				if x.privileged {
					s.on(60, func() { used = do("iam.assign") })
				}
				s.on(90, func() { do("document.read") })
			})
			report := s.found(gaps.Defaults())
			if len(report.Findings) != 1 || report.Findings[0].Proposal == nil || report.Findings[0].Proposal.Grant == nil {
				t.Fatalf("%+v", report.Findings)
			}
			p := report.Findings[0].Proposal
			if !slices.Equal(p.Grant.Actions, []string{"document.read"}) || len(p.Grant.Resources) != 1 || p.Grant.Resources[0].Type != "document" {
				t.Errorf("proposed %+v", p.Grant)
			}
			x.want.From, x.want.To = p.Proof.From, report.Decisions
			if x.privileged {
				x.want.Changed = []string{used}
			}
			if diff := cmp.Diff(x.want, p.Proof); diff != "" {
				t.Errorf("proof (-want +got):\n%s", diff)
			}
		})
	}
}

// What no record says is unknown, and nothing is found from it.
func TestWhatNoRecordSaysIsUnknown(t *testing.T) {
	s := newStory(t, ledgertest.NewMem())
	s.on(0, func() {
		s.publish(policy.Baseline())
		b, err := policy.Load(map[string][]byte{"main.cedar": []byte(policies)}, "company") // which retains nothing
		if err != nil {
			t.Fatal(err)
		}
		s.publish(b)
		s.person("ben")
		s.machine(sync)
	})
	for _, workload := range []string{"one", "other"} {
		s.on(99, func() {
			s.carryOut(asked{subject: sync, action: "customer.copy", resource: document, context: map[string]any{"workload": workload}})
		})
	}
	s.tell()
	report := s.found(gaps.Defaults())
	if got := names(report); len(got) > 0 {
		t.Errorf("found %q in records that do not say", got)
	}
	var unknown []string
	for _, u := range report.Unknown {
		unknown = append(unknown, u.Gap+" "+u.Rule)
	}
	if want := []string{"I1 shared-identity", "I1 overlapping-sessions", "I1 human-on-machine"}; !slices.Equal(unknown, want) {
		t.Errorf("unknown %q, want %q", unknown, want)
	}
}

// docs/gaps.md has each rule with its worst severity, and no others.
func TestDocsListTheRules(t *testing.T) {
	text, err := os.ReadFile("../../../docs/gaps.md")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (low|medium|high|critical) \\|").FindAllStringSubmatch(string(text), -1) {
		got = append(got, m[1]+" "+m[2])
	}
	for _, r := range gaps.Rules() {
		want = append(want, r.Name+" "+string(r.Severity))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-rules +docs:\n%s", diff)
	}
}
