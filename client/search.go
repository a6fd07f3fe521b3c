package client

import (
	"context"
	"errors"
	"net/http"

	"github.com/aver-authz/aver"
)

// Found is what a search found, all of it as of one authority state and one time.
type Found struct {
	Parties       []aver.Ref // subjects or resources, by id
	Actions       []string   // by name
	More          bool       // there is more than the limit
	AuthoritySize uint64     // of the authority log, as of which all was looked at
	Time          aver.Time  // as of which all was looked at
	// Unknown names the members of the request, subject or resource, of which nothing is registered and nothing was sent:
	// so nothing was found.
	Unknown []string
}

// SearchSubjects finds the registered subjects of the type that the request's subject has, for which the request would be
// allowed. The subject's id is ignored. A search is no decision, and leaves no record: who acts asks [Client.Decide].
//
// At most limit are returned; 0 means all. Errors: [*Problem] for a request that is wrong, or when the server can't go on
// with the search, [*UnavailableError] if there was no answer.
func (c *Client) SearchSubjects(ctx context.Context, req *aver.Request, limit int) (*Found, error) {
	return c.search(ctx, "subject", req, limit)
}

// SearchResources finds the registered resources of the type that the request's resource has, on which the request would
// be allowed. The resource's id is ignored. See [Client.SearchSubjects].
func (c *Client) SearchResources(ctx context.Context, req *aver.Request, limit int) (*Found, error) {
	return c.search(ctx, "resource", req, limit)
}

// SearchActions finds the actions that would be allowed to the request's subject on its resource, among those that the
// policies speak of. The request's action is ignored. See [Client.SearchSubjects].
func (c *Client) SearchActions(ctx context.Context, req *aver.Request, limit int) (*Found, error) {
	return c.search(ctx, "action", req, limit)
}

func (c *Client) search(ctx context.Context, what string, req *aver.Request, limit int) (*Found, error) {
	if req == nil {
		return nil, errors.New("there is no request to search with")
	}
	body, page := req.JSON(), map[string]any{}
	body["page"] = page
	if limit > 0 { // one more, to know whether there is more
		page["limit"] = limit + 1
	}
	var found Found
	for {
		var in struct {
			Page struct {
				Next *string `json:"next_token"`
			} `json:"page"`
			Results []struct {
				aver.Ref
				Name string `json:"name"`
			} `json:"results"`
			Context struct {
				AuthoritySize uint64    `json:"authority_size"`
				EvaluatedAt   aver.Time `json:"evaluated_at"`
				Unknown       []string  `json:"unknown"`
			} `json:"context"`
		}
		err := c.doJSON(ctx, call{method: http.MethodPost, path: "/access/v1/search/" + what, body: body, repeat: true}, &in)
		if err != nil {
			return nil, err
		}
		if in.Page.Next == nil {
			return nil, errors.New("the answer does not say whether it is the last page: is this a server of Aver?")
		}
		found.AuthoritySize, found.Time, found.Unknown = in.Context.AuthoritySize, in.Context.EvaluatedAt, in.Context.Unknown
		for _, r := range in.Results {
			switch {
			case limit > 0 && len(found.Parties)+len(found.Actions) == limit:
				found.More = true
				return &found, nil
			case what == "action":
				found.Actions = append(found.Actions, r.Name)
			default:
				found.Parties = append(found.Parties, r.Ref)
			}
		}
		if *in.Page.Next == "" {
			return &found, nil
		}
		page["token"] = *in.Page.Next
	}
}
