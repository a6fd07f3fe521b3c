package api

import "github.com/aver-authz/aver"

// Route is a line of the routing table, for tests.
type Route struct {
	Pattern string
	Roles   []aver.Role // nil: everybody, also without a token

	Evidence bool // every call is recorded as an access to evidence
}

// Routes is the routing table.
func Routes() []Route {
	out := make([]Route, len(routes))
	for i, r := range routes {
		out[i] = Route{r.pattern, r.access, r.evidence != ""}
	}
	return out
}

// OpenAPI is the document that is served.
func OpenAPI() []byte { return openAPI }
