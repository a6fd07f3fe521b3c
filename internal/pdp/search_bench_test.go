package pdp_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

// searchWorld has 10,000 documents of 100 people, and 500 policies of which a few matter.
func searchWorld(b *testing.B) *world {
	var policies strings.Builder
	policies.WriteString(`@id("own") permit (principal, action == Action::"read", resource is doc) when { resource.owner == principal };
@id("team") permit (principal, action == Action::"skim", resource is doc) when { principal.team == resource.team };
@id("all") permit (principal, action == Action::"list", resource is doc);
@id("sealed") forbid (principal, action, resource) when { resource has sealed && resource.sealed };
@id("agents") permit (principal is ai_agent, action, resource) when { context.aver.delegated };
@id("big") @gate("escalate") @approvers("leads") forbid (principal, action, resource) when { resource has size && resource.size > 1000 };
`)
	for i := range 500 {
		fmt.Fprintf(&policies, "permit (principal == user::\"u%d\", action == Action::\"read\", resource == doc::\"%05d\");\n", i%100, i*7)
	}
	w := newWorld(b, policies.String())
	for i := range 100 {
		w.do(aver.EventIdentityRegistered, aver.Identity{
			Ref: aver.Ref{Type: "user", ID: fmt.Sprintf("u%d", i)}, Kind: aver.HumanUser, Properties: aver.Properties{"team": fmt.Sprintf("t%d", i%10)},
		})
	}
	w.agent("bot", nil)
	w.grant(aver.Grant{ID: "g1", From: aver.Ref{Type: "user", ID: "u1"}, To: bot, Actions: []string{"*"}, Resources: []aver.ResourceScope{{Type: "doc"}}})
	for i := range 10_000 {
		w.do(aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "doc", ID: fmt.Sprintf("%05d", i)}, Properties: aver.Properties{
			"owner": entityRef("user", fmt.Sprintf("u%d", i%100)), "team": fmt.Sprintf("t%d", i%10), "size": int64(i % 1500),
		}})
		w.do(aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "user", ID: fmt.Sprintf("guest%05d", i)}, Properties: aver.Properties{"team": fmt.Sprintf("t%d", i%10)}})
	}
	return w
}

// The cost of a whole search over 10,000 candidates, in pages of 1,000; "each" decides them one by one instead.
func BenchmarkSearch(b *testing.B) {
	w := searchWorld(b)
	for _, c := range []struct {
		name string
		of   pdp.Searched
		text string
	}{
		{"resources/few", pdp.Resources, `{"subject":{"type":"user","id":"u1"},"action":{"name":"read"},"resource":{"type":"doc"}}`},
		{"resources/tenth", pdp.Resources, `{"subject":{"type":"user","id":"u1"},"action":{"name":"skim"},"resource":{"type":"doc"}}`},
		{"resources/most", pdp.Resources, `{"subject":{"type":"user","id":"u1"},"action":{"name":"list"},"resource":{"type":"doc"}}`},
		{"resources/delegated", pdp.Resources, `{"subject":{"type":"ai_agent","id":"bot"},"action":{"name":"read"},"resource":{"type":"doc"},"context":{"delegation":["g1"]}}`},
		{"subjects/few", pdp.Subjects, `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"doc","id":"00007"}}`},
		{"subjects/tenth", pdp.Subjects, `{"subject":{"type":"user"},"action":{"name":"skim"},"resource":{"type":"doc","id":"00007"}}`},
		{"actions", pdp.Actions, `{"subject":{"type":"user","id":"u1"},"resource":{"type":"doc","id":"00001"}}`},
	} {
		s := pdp.Search{For: c.of, Request: request(b, c.text), Limit: 1000}
		b.Run(c.name, func(b *testing.B) {
			var found int
			var first time.Duration
			for b.Loop() {
				found = 0
				began, page := time.Now(), s
				for n := 0; ; n++ {
					out, err := pdp.SearchPage(w.st, page, start+100_000)
					if err != nil {
						b.Fatal(err)
					}
					if n == 0 {
						first += time.Since(began)
					}
					found += len(out.IDs)
					if page.From = out.Next; page.From == nil {
						break
					}
				}
			}
			b.ReportMetric(float64(found), "found")
			b.ReportMetric(float64(first.Microseconds())/1000/float64(b.N), "ms/first-page")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/search")
			b.ReportMetric(0, "ns/op")
		})
		if c.of == pdp.Actions {
			continue
		}
		b.Run(c.name+"/each", func(b *testing.B) {
			found := 0
			for b.Loop() {
				found = len(bruteForce(w.st, s))
			}
			b.ReportMetric(float64(found), "found")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/search")
			b.ReportMetric(0, "ns/op")
		})
	}
}
