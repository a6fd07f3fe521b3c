package client

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver"
)

// searchServer has five documents, and gives two on a page.
func searchServer(t *testing.T, asked *[]string) *Client {
	return serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = append(*asked, r.URL.Path+" "+string(body))
		var in struct {
			Page struct {
				Token string `json:"token"`
				Limit *int   `json:"limit"`
			} `json:"page"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			t.Error(err)
		}
		from, next := len(in.Page.Token), in.Page.Token+"xx"
		var results []string
		for i := from; i < min(from+2, 5); i++ {
			results = append(results, `{"type":"document","id":"`+string(rune('1'+i))+`"}`)
		}
		if from+2 >= 5 {
			next = ""
		}
		answer(200, "application/json", `{"page":{"next_token":"`+next+`"},"context":{"authority_size":9,"evaluated_at":"2026-11-24T09:00:00.000Z"},"results":[`+
			strings.Join(results, ",")+`]}`)(w, r)
	})
}

func ids(f *Found) (out []string) {
	for _, p := range f.Parties {
		out = append(out, p.ID)
	}
	return out
}

func TestSearchFollowsThePages(t *testing.T) {
	var asked []string
	c := searchServer(t, &asked)
	found, err := c.SearchResources(t.Context(), request, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1", "2", "3", "4", "5"}, ids(found)); d != "" || found.More || found.AuthoritySize != 9 {
		t.Errorf("%s %+v", d, found)
	}
	const members = `"action":{"name":"read"},"page":%,"resource":{"id":"1","type":"document"},"subject":{"id":"ann","type":"user"}}`
	var want []string
	for _, page := range []string{`{}`, `{"token":"xx"}`, `{"token":"xxxx"}`} {
		want = append(want, "/access/v1/search/resource {"+strings.Replace(members, "%", page, 1))
	}
	if d := cmp.Diff(want, asked); d != "" {
		t.Error(d)
	}
}

func TestSearchStopsAtTheLimit(t *testing.T) {
	for limit, more := range map[int]bool{1: true, 2: true, 3: true, 4: true, 5: false, 6: false} {
		var asked []string
		found, err := searchServer(t, &asked).SearchSubjects(t.Context(), request, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Parties) != min(limit, 5) || found.More != more {
			t.Errorf("limit %d: %q, more %t", limit, ids(found), found.More)
		}
	}
}

func TestSearchActions(t *testing.T) {
	c := serve(t, Options{}, answer(200, "application/json", `{"page":{"next_token":""},"context":{"authority_size":1,"evaluated_at":"2026-11-24T09:00:00.000Z",
		"unknown":["subject"]},"results":[{"name":"read"},{"name":"write"}]}`))
	found, err := c.SearchActions(t.Context(), request, 0)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := aver.ParseTime("2026-11-24T09:00:00Z")
	if d := cmp.Diff(&Found{Actions: []string{"read", "write"}, AuthoritySize: 1, Time: at, Unknown: []string{"subject"}}, found); d != "" {
		t.Error(d)
	}
}

// An answer that does not say whether there is more is not taken for all there is.
func TestSearchNeedsThePage(t *testing.T) {
	c := serve(t, Options{}, answer(200, "application/json", `{"results":[{"name":"read"}]}`))
	if _, err := c.SearchActions(t.Context(), request, 0); err == nil {
		t.Error("no error")
	}
	if _, err := c.SearchActions(t.Context(), nil, 0); err == nil {
		t.Error("no error without a request")
	}
}
