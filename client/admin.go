package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"

	"github.com/aver-authz/aver"
)

// Mark says by which event of the authority log something was set, and by whom, when and why.
type Mark struct {
	Event  uint64    `json:"event"` // its index
	Time   aver.Time `json:"time"`
	By     aver.By   `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// Change is an event that was made: it is in effect, and committed to the authority log.
type Change struct {
	Event   aver.Event   `json:"event"`
	Index   uint64       `json:"index"`
	Receipt aver.Receipt `json:"receipt"`
	// Included tells whether a signed checkpoint covers the event. If not, one follows.
	Included bool `json:"included"`
}

// Bundle is a published version of a policy bundle.
type Bundle struct {
	Name        string            `json:"name"`
	Digest      string            `json:"digest"`
	Active      bool              `json:"active"`
	Published   Mark              `json:"published"`
	History     []Activation      `json:"history,omitempty"` // oldest first
	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Review      string            `json:"review,omitempty"` // date of the next review
	Controls    []string          `json:"controls,omitempty"`
	Policies    int               `json:"policies"`        // how many
	Files       map[string]string `json:"files,omitempty"` // name :: text; only of [Client.BundleVersion]
}

// Activation is a time from which a bundle's version was active or no longer was.
type Activation struct {
	Mark
	Active bool `json:"active"`
}

// Publication is the answer to [Client.Publish].
type Publication struct {
	Name      string  `json:"name"`
	Digest    string  `json:"digest"`
	Active    bool    `json:"active"`
	Published *Change `json:"published,omitempty"` // nil: this version was published before
	Activated *Change `json:"activated,omitempty"` // nil: not asked for, or active before
}

// Identity is a registered identity and where it stands in its life.
type Identity struct {
	aver.Identity
	Status     aver.Status `json:"status"`
	Mark                   // of the last event that set it, status included
	Registered Mark        `json:"registered"`
}

// Entity is a registered fact about something that is not an identity.
type Entity struct {
	aver.Entity
	Mark // of the event that last put it
}

// Grant is a grant that was issued, and whether it was revoked.
type Grant struct {
	aver.Grant
	Mark          // of the event that issued it
	Revoked *Mark `json:"revoked,omitempty"`
}

// Credential is a bearer token as the server keeps it, and whether it was revoked.
type Credential struct {
	aver.Credential
	Mark          // of the event that issued it
	Revoked *Mark `json:"revoked,omitempty"`
}

// pages yields the items of a list, page by page. param is the parameter by which the next page is asked for.
func pages[T any](ctx context.Context, c *Client, path, name, param string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		q := url.Values{"limit": {"1000"}}
		for k, v := range query {
			q[k] = v
		}
		for {
			var page map[string]json.RawMessage
			var items []T
			var next string
			err := c.get(ctx, path, q, &page)
			if err == nil {
				err = json.Unmarshal(page[name], &items)
			}
			if raw := page["next"]; err == nil && raw != nil {
				err = json.Unmarshal(raw, &next)
			}
			if err != nil {
				yield(zero, fmt.Errorf("list of %s: %w", name, err))
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" || next == q.Get(param) {
				return
			}
			q.Set(param, next)
		}
	}
}

// change makes a change. It is never repeated by itself: an error may come after it was made.
func (c *Client) change(ctx context.Context, method, path string, body any) (*Change, error) {
	var made Change
	if err := c.doJSON(ctx, call{method: method, path: path, body: body}, &made); err != nil {
		return nil, err
	}
	return &made, nil
}

type reasonBody struct {
	Reason string `json:"reason,omitempty"`
}

func at(parts ...string) string {
	path := "/v1"
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// Bundles lists all published versions of policy bundles, by name and then in the order of their publication.
func (c *Client) Bundles(ctx context.Context) iter.Seq2[Bundle, error] {
	return pages[Bundle](ctx, c, "/v1/policies", "policies", "after", nil)
}

// BundleVersion returns a published version with its files.
func (c *Client) BundleVersion(ctx context.Context, name, digest string) (*Bundle, error) {
	var b Bundle
	if err := c.get(ctx, at("policies", name, digest), nil, &b); err != nil {
		return nil, err
	}
	return &b, nil
}

// Publish makes a bundle known, given by its files' names and texts, and active if asked to. The name counts where
// bundle.yaml gives none. A bundle that has errors is a [*Problem] with its Errors, and changes nothing. Publishing the
// same again changes nothing either.
func (c *Client) Publish(ctx context.Context, name string, files map[string]string, activate bool, reason string) (*Publication, error) {
	body := struct {
		Name     string            `json:"name,omitempty"`
		Files    map[string]string `json:"files"`
		Activate bool              `json:"activate,omitempty"`
		reasonBody
	}{name, files, activate, reasonBody{reason}}
	var made Publication
	if err := c.doJSON(ctx, call{method: http.MethodPost, path: "/v1/policies", body: body}, &made); err != nil {
		return nil, err
	}
	return &made, nil
}

// Activate makes a published version the one that decides, in place of the active version of its name.
func (c *Client) Activate(ctx context.Context, name, digest, reason string) (*Change, error) {
	body := struct {
		Digest string `json:"digest"`
		reasonBody
	}{digest, reasonBody{reason}}
	return c.change(ctx, http.MethodPost, at("policies", name, "activate"), body)
}

// Retire takes the active version of a bundle out of force.
func (c *Client) Retire(ctx context.Context, name, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("policies", name, "retire"), reasonBody{reason})
}

// Identities lists all registered identities, retired ones included, by type and id.
func (c *Client) Identities(ctx context.Context) iter.Seq2[Identity, error] {
	return pages[Identity](ctx, c, "/v1/identities", "identities", "after", nil)
}

// Identity returns what is registered about a party that can act.
func (c *Client) Identity(ctx context.Context, ref aver.Ref) (*Identity, error) {
	var i Identity
	if err := c.get(ctx, at("identities", ref.Type, ref.ID), nil, &i); err != nil {
		return nil, err
	}
	return &i, nil
}

type identityBody struct {
	aver.Identity
	reasonBody
}

// RegisterIdentity registers an identity.
func (c *Client) RegisterIdentity(ctx context.Context, i aver.Identity, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, "/v1/identities", identityBody{i, reasonBody{reason}})
}

// PutIdentity registers an identity, or replaces what is registered of it; its status stays.
func (c *Client) PutIdentity(ctx context.Context, i aver.Identity, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPut, at("identities", i.Type, i.ID), identityBody{i, reasonBody{reason}})
}

// SuspendIdentity takes an identity's permissions away until it is resumed.
func (c *Client) SuspendIdentity(ctx context.Context, ref aver.Ref, reason string) (*Change, error) {
	return c.turn(ctx, ref, "suspend", reason)
}

// ResumeIdentity ends a suspension.
func (c *Client) ResumeIdentity(ctx context.Context, ref aver.Ref, reason string) (*Change, error) {
	return c.turn(ctx, ref, "resume", reason)
}

// RetireIdentity ends an identity for good.
func (c *Client) RetireIdentity(ctx context.Context, ref aver.Ref, reason string) (*Change, error) {
	return c.turn(ctx, ref, "retire", reason)
}

func (c *Client) turn(ctx context.Context, ref aver.Ref, verb, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("identities", ref.Type, ref.ID, verb), reasonBody{reason})
}

// Entities lists the registered entities that are not identities, by type and id.
func (c *Client) Entities(ctx context.Context) iter.Seq2[Entity, error] {
	return pages[Entity](ctx, c, "/v1/entities", "entities", "after", nil)
}

// Entity returns what is registered about something that is not an identity.
func (c *Client) Entity(ctx context.Context, ref aver.Ref) (*Entity, error) {
	var e Entity
	if err := c.get(ctx, at("entities", ref.Type, ref.ID), nil, &e); err != nil {
		return nil, err
	}
	return &e, nil
}

// PutEntity registers a fact about something, or replaces it.
func (c *Client) PutEntity(ctx context.Context, e aver.Entity, reason string) (*Change, error) {
	body := struct {
		aver.Entity
		reasonBody
	}{e, reasonBody{reason}}
	return c.change(ctx, http.MethodPut, at("entities", e.Type, e.ID), body)
}

// RemoveEntity takes a registered fact away.
func (c *Client) RemoveEntity(ctx context.Context, ref aver.Ref, reason string) (*Change, error) {
	return c.change(ctx, http.MethodDelete, at("entities", ref.Type, ref.ID), reasonBody{reason})
}

// Grants lists all grants ever issued, by id.
func (c *Client) Grants(ctx context.Context) iter.Seq2[Grant, error] {
	return pages[Grant](ctx, c, "/v1/grants", "grants", "after", nil)
}

// Grant returns a grant, revoked or not.
func (c *Client) Grant(ctx context.Context, id string) (*Grant, error) {
	var g Grant
	if err := c.get(ctx, at("grants", id), nil, &g); err != nil {
		return nil, err
	}
	return &g, nil
}

// IssueGrant issues a grant. Without an id it gets one; it is in the data of the change's event.
func (c *Client) IssueGrant(ctx context.Context, g aver.Grant, reason string) (*Change, error) {
	body := struct {
		aver.Grant
		reasonBody
	}{g, reasonBody{reason}}
	return c.change(ctx, http.MethodPost, "/v1/grants", body)
}

// RevokeGrant ends a grant, and with it all that was delegated under it.
func (c *Client) RevokeGrant(ctx context.Context, id, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("grants", id, "revoke"), reasonBody{reason})
}

// Credentials lists all credentials ever issued, by name.
func (c *Client) Credentials(ctx context.Context) iter.Seq2[Credential, error] {
	return pages[Credential](ctx, c, "/v1/credentials", "credentials", "after", nil)
}

// IssueCredential makes a bearer token. It is returned here and is nowhere else. A zero expires is never.
func (c *Client) IssueCredential(ctx context.Context, k aver.Credential, reason string) (token string, made *Change, err error) {
	body := struct {
		Name    string    `json:"name"`
		Role    aver.Role `json:"role"`
		Expires aver.Time `json:"expires,omitzero"`
		Subject *aver.Ref `json:"subject,omitempty"`
		reasonBody
	}{k.Name, k.Role, k.Expires, k.Subject, reasonBody{reason}}
	var answer struct {
		Token string `json:"token"`
		Change
	}
	if err := c.doJSON(ctx, call{method: http.MethodPost, path: "/v1/credentials", body: body}, &answer); err != nil {
		return "", nil, err
	}
	return answer.Token, &answer.Change, nil
}

// RevokeCredential ends a bearer token.
func (c *Client) RevokeCredential(ctx context.Context, name, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("credentials", name, "revoke"), reasonBody{reason})
}
