package client

import (
	"net/http"
	"strings"
	"testing"
)

// TestFindingAsksForWhatWasMeant shows how searches, counts, trails and saved queries are asked for, and read.
func TestFindingAsksForWhatWasMeant(t *testing.T) {
	var asked []string
	answers := map[string]string{
		"/v1/decisions":       `{"decisions":[{"index":3,"leaf":{},"payload":{}}],"next":"3","indexed":9,"behind":1}`,
		"/v1/decisions/count": `{"count":2,"buckets":[{"from":"2026-11-24T00:00:00.000Z","count":2}],"indexed":9}`,
		"/v1/trail":           "flowchart TD\n",
		"/v1/searches":        `{"searches":[{"name":"a","query":"b","saved_by":"c","saved_at":"2026-11-24T00:00:00.000Z"}]}`,
		"/v1/searches/a":      `{"name":"a","query":"b","saved_by":"c","saved_at":"2026-11-24T00:00:00.000Z"}`,
		"/v1/index":           `{"indexed":9,"log":10,"lag":1,"events":2,"authority":2,"from":0,"partitions":1,"bytes":4096}`,
	}
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.URL.RawQuery)
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(200, "application/json", answers[r.URL.Path])(w, r)
	})
	page, err := c.SearchDecisions(t.Context(), DecisionSearch{Query: "actor:ann", Limit: 5, Oldest: true, Cursor: "7"})
	if err != nil || page.Next != "3" || page.Behind != 1 || page.Decisions[0].Index != 3 {
		t.Errorf("%+v %v", page, err)
	}
	if _, err := c.SearchDecisions(t.Context(), DecisionSearch{Saved: "a"}); err != nil {
		t.Error(err)
	}
	count, err := c.CountDecisions(t.Context(), DecisionSearch{}, "day")
	if err != nil || count.Count != 2 || count.Buckets[0].Count != 2 {
		t.Errorf("%+v %v", count, err)
	}
	story, err := c.Trail(t.Context(), Story{Actor: "user/ann", Limit: 3}, "mermaid")
	if err != nil || string(story) != answers["/v1/trail"] {
		t.Errorf("%s %v", story, err)
	}
	list, err := c.SavedQueries(t.Context())
	if err != nil || len(list) != 1 || list[0].By != "c" {
		t.Errorf("%+v %v", list, err)
	}
	if saved, err := c.SaveQuery(t.Context(), "a", "b", ""); err != nil || saved.Name != "a" {
		t.Errorf("%+v %v", saved, err)
	}
	if err := c.DeleteQuery(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if status, err := c.IndexStatus(t.Context()); err != nil || status.Lag != 1 {
		t.Errorf("%+v %v", status, err)
	}
	want := `GET /v1/decisions cursor=7&limit=5&order=oldest&q=actor%3Aann
GET /v1/decisions saved=a
GET /v1/decisions/count by=day&q=
GET /v1/trail actor=user%2Fann&format=mermaid&limit=3
GET /v1/searches 
PUT /v1/searches/a 
DELETE /v1/searches/a 
GET /v1/index `
	if got := strings.Join(asked, "\n"); got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
}
