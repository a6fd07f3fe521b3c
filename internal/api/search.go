package api

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

const (
	searchSubjectPath  = "/access/v1/search/subject"
	searchResourcePath = "/access/v1/search/resource"
	searchActionPath   = "/access/v1/search/action"
)

// maxResults bounds the results on one page of a search, whatever its limit.
const maxResults = 1000

// The search APIs of AuthZEN (section 8). What they find is no decision, and leaves no record.
func (a *API) searchSubjects(c *call) error  { return a.search(c, pdp.Subjects) }
func (a *API) searchResources(c *call) error { return a.search(c, pdp.Resources) }
func (a *API) searchActions(c *call) error   { return a.search(c, pdp.Actions) }

// searchPage is the page of an answer. Its place before the results is what AuthZEN recommends.
type searchPage struct {
	NextToken string `json:"next_token"` // "" at the end
	Count     int    `json:"count"`      // of the results here
}

func (a *API) search(c *call, searched pdp.Searched) error {
	object, err := a.readObject(c)
	if err != nil {
		return err
	}
	s, bound, err := a.parseSearch(object, searched)
	if err != nil {
		return err
	}
	a.takeToken(c, s.Request)
	found, err := a.o.PDP.Search(c.Context(), s)
	if errors.Is(err, pdp.ErrSearchGone) {
		return &aver.RequestError{Pointer: "/page/token", Reason: err.Error()}
	}
	if err != nil {
		return err
	}
	page := searchPage{Count: len(found.IDs)}
	if found.Next != nil {
		page.NextToken = a.pages.token(found.Next, bound)
	}
	c.notes = append(c.notes, "results", page.Count, "authority_size", found.Size)
	type context struct {
		AuthoritySize uint64    `json:"authority_size"`
		EvaluatedAt   aver.Time `json:"evaluated_at"`
		Unknown       []string  `json:"unknown,omitempty"`
	}
	return c.writeJSON(http.StatusOK, struct {
		Page    searchPage `json:"page"`
		Context context    `json:"context"`
		Results []any      `json:"results"`
	}{page, context{found.Size, found.Time, found.Unknown}, results(s, found.IDs)})
}

// results are in the form of what was searched for.
func results(s pdp.Search, ids []string) []any {
	list := make([]any, len(ids))
	for i, id := range ids {
		switch s.For {
		case pdp.Subjects:
			list[i] = aver.Ref{Type: s.Request.Subject.Type, ID: id}
		case pdp.Resources:
			list[i] = aver.Ref{Type: s.Request.Resource.Type, ID: id}
		case pdp.Actions:
			list[i] = struct {
				Name string `json:"name"`
			}{id}
		}
	}
	return list
}

// parseSearch reads the request for a search. bound is what has to stay the same from page to page.
func (a *API) parseSearch(object map[string]any, searched pdp.Searched) (s pdp.Search, bound []byte, err error) {
	s = pdp.Search{For: searched, Limit: maxResults}
	request := maps.Clone(object)
	switch searched { // what is searched for is left out: AuthZEN has it ignored, whatever stands there
	case pdp.Subjects:
		withoutID(request, "subject")
	case pdp.Resources:
		withoutID(request, "resource")
	case pdp.Actions:
		delete(request, "action")
	}
	if s.Request, err = aver.ParseRequest(request); err != nil {
		return s, nil, err
	}
	token := ""
	if v := object["page"]; v != nil {
		page, ok := v.(map[string]any)
		if !ok {
			return s, nil, &aver.RequestError{Pointer: "/page", Reason: "must be an object"}
		}
		if token, s.Limit, err = parsePage(page); err != nil {
			return s, nil, err
		}
		page = maps.Clone(page)
		delete(page, "token")
		request["page"] = page
	}
	bound = aver.AppendCanonical([]byte{byte(searched)}, request)
	if token != "" {
		if s.From = a.pages.cursor(token, bound); s.From == nil {
			return s, nil, &aver.RequestError{Pointer: "/page/token", Reason: "is not one that this server gave for this request: " +
				"repeat entities, context and limit as they were, or begin again without a token"}
		}
	}
	return s, bound, nil
}

func withoutID(request map[string]any, name string) {
	if party, ok := request[name].(map[string]any); ok {
		party = maps.Clone(party)
		delete(party, "id")
		request[name] = party
	}
}

func parsePage(page map[string]any) (token string, limit int, err error) {
	if v := page["token"]; v != nil {
		var ok bool
		if token, ok = v.(string); !ok {
			return "", 0, &aver.RequestError{Pointer: "/page/token", Reason: "must be a string"}
		}
	}
	limit = maxResults
	if v := page["limit"]; v != nil {
		n, ok := v.(int64)
		if !ok || n < 0 {
			return "", 0, &aver.RequestError{Pointer: "/page/limit", Reason: "must be a whole number of 0 or more"}
		}
		limit = int(min(n, maxResults))
	}
	if v := page["properties"]; v != nil {
		if _, ok := v.(map[string]any); !ok {
			return "", 0, &aver.RequestError{Pointer: "/page/properties", Reason: "must be an object"}
		}
	}
	return token, limit, nil
}

// pageTokens make and read the tokens of pages. A token is encrypted, since it holds an id that is perhaps none of the
// results, and it is good for one request only. The key is the process's own: after a restart, searches begin again.
type pageTokens struct{ seal cipher.AEAD }

func newPageTokens() (pageTokens, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return pageTokens{}, fmt.Errorf("page tokens: %w", err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return pageTokens{}, fmt.Errorf("page tokens: %w", err)
	}
	return pageTokens{seal}, nil
}

func (p pageTokens) token(at *pdp.Cursor, bound []byte) string {
	plain := binary.BigEndian.AppendUint64(nil, at.Size)
	plain = binary.BigEndian.AppendUint64(plain, uint64(at.Time))
	plain = append(plain, at.After...)
	return base64.RawURLEncoding.EncodeToString(p.seal.Seal(nil, nil, plain, bound))
}

// cursor returns nil for what is no token of this request.
func (p pageTokens) cursor(token string, bound []byte) *pdp.Cursor {
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil
	}
	plain, err := p.seal.Open(nil, nil, sealed, bound)
	if err != nil || len(plain) < 16 {
		return nil
	}
	return &pdp.Cursor{
		Size: binary.BigEndian.Uint64(plain), Time: aver.Time(binary.BigEndian.Uint64(plain[8:])), After: string(plain[16:]),
	}
}
