package verify

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/pdp"
)

// Whoever holds the keys can write any event. That no decision allowed it shows.
func TestChangesWithoutTheirDecisionAreFound(t *testing.T) {
	lena := aver.By{Name: "lena", Method: "bearer", Subject: aver.Ref{Type: "user", ID: "lena"}}
	who := pap.Administrator{By: lena, Role: aver.RoleAdmin}
	for name, c := range map[string]struct {
		forge func(forged, former *aver.Event) // forged is to follow, naming no decision; former is the change before
		want  string
	}{
		"none named":   {func(*aver.Event, *aver.Event) {}, "it names no decision that allowed it"},
		"not recorded": {func(e, _ *aver.Event) { e.Decision = e.ID }, "is not in the decision log"},
		"used before":  {func(e, f *aver.Event) { e.Decision = f.Decision }, "was made at 5 events, not at the 6 that it follows"},
		"by nobody":    {func(e, _ *aver.Event) { e.By = aver.By{Name: "aver", Method: aver.MethodInternal} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t, filepath.Join(t.TempDir(), "data"))
			point, err := pdp.Open(e.decisions, pdp.Options{State: func() (*authority.State, aver.TreeHead) {
				c := e.pap.Current()
				return c.State, c.Head
			}})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := e.pap.IssueCredential(t.Context(), pap.Administrator{By: aver.By{Name: "aver", Method: aver.MethodInternal}}, "",
				aver.Credential{Name: "lena", Role: aver.RoleAdmin, Subject: &lena.Subject}); err != nil {
				t.Fatal(err)
			}
			e.pap.Govern(point)
			former, err := e.pap.Do(t.Context(), who, "", aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "doc", ID: "1"}})
			if err != nil {
				t.Fatal(err)
			}
			forged := *former.Event
			forged.ID = "01ffffff-ffff-7fff-8fff-ffffffffffff"
			forged.Decision = ""
			c.forge(&forged, former.Event)
			payload, err := forged.Canonical()
			if err != nil {
				t.Fatal(err)
			}
			leaf := aver.NewLeaf("event", forged.ID, forged.Time, payload)
			leaf.Type = string(forged.Type)
			if _, err := e.authority.Append(t.Context(), ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload}); err != nil {
				t.Fatal(err)
			}
			e.close()
			r := e.run()
			switch {
			case c.want == "" && !r.OK:
				t.Errorf("%+v", r)
			case c.want != "" && (r.OK || len(r.Logs[0].Findings) != 1 || r.Logs[0].Findings[0].Index != former.Index+1 ||
				!strings.Contains(r.Logs[0].Findings[0].What, c.want)):
				t.Errorf("%+v, want %q", r.Logs[0].Findings, c.want)
			}
		})
	}
}

func TestChangeNamesADecisionThatAllowedIt(t *testing.T) {
	v := verifier{allowed: map[string]allowed{}}
	user := func(id string) aver.Ref { return aver.Ref{Type: "user", ID: id} }
	v.allowed["denied"] = allowed{aver.Denied, 7, "entity.put", user("lena")}
	v.allowed["other-action"] = allowed{aver.Permitted, 7, "entity.remove", user("lena")}
	v.allowed["other-person"] = allowed{aver.Permitted, 7, "entity.put", user("tom")}
	v.allowed["right"] = allowed{aver.Permitted, 7, "entity.put", user("lena")}
	for decision, want := range map[string]string{
		"denied": "that it names is denied", "other-action": `allowed entity.remove to user::"lena", not entity.put`,
		"other-person": `allowed entity.put to user::"tom"`, "right": "",
	} {
		v.changes = []change{{7, aver.EventEntityPut, user("lena"), decision}}
		var log Log
		v.checkChanges(&log)
		if want == "" && len(log.Findings) == 0 {
			continue
		}
		if len(log.Findings) != 1 || want == "" || !strings.Contains(log.Findings[0].What, want) {
			t.Errorf("%s: %+v", decision, log.Findings)
		}
	}
}
