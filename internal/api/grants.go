package api

import (
	"net/http"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

func (a *API) listGrants(c *call) error {
	key := func(g *authority.Grant) string { return g.ID }
	return writePage(c, "grants", a.state().Grants(), key, same)
}

func (a *API) getGrant(c *call) error {
	g, ok := a.state().Grant(c.PathValue("id"))
	if !ok {
		return notFound("no grant %q was ever issued", c.PathValue("id"))
	}
	return c.writeJSON(http.StatusOK, g)
}

// issueGrant issues a grant, under an id of ours if the caller gives none.
func (a *API) issueGrant(c *call) error {
	var body struct {
		aver.Grant
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if body.ID == "" {
		body.ID = randomID("g-")
	}
	if _, ok := a.state().Grant(body.ID); ok {
		return conflict("a grant %q was already issued", body.ID)
	}
	made, err := a.do(c, body.Reason, aver.EventGrantIssued, body.Grant)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusCreated, made)
}

func (a *API) revokeGrant(c *call) error {
	id := c.PathValue("id")
	if _, ok := a.state().Grant(id); !ok {
		return notFound("no grant %q was ever issued", id)
	}
	return a.doRef(c, aver.EventGrantRevoked, aver.GrantRef{ID: id})
}

func (a *API) listCredentials(c *call) error {
	key := func(k *authority.Credential) string { return k.Name }
	return writePage(c, "credentials", a.state().Credentials(), key, same)
}

// issueCredential makes a bearer token. The answer is the only place where it ever stands.
func (a *API) issueCredential(c *call) error {
	var body struct {
		Name    string    `json:"name"`
		Role    aver.Role `json:"role"`
		Expires aver.Time `json:"expires,omitzero"`
		Subject *aver.Ref `json:"subject,omitempty"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if _, ok := a.state().CredentialNamed(body.Name); ok {
		return conflict("the name %q was already used; names of credentials stand in records, so they are used once", body.Name)
	}
	token, made, err := a.o.PAP.IssueCredential(c.Context(), c.who(), c.reason(body.Reason),
		aver.Credential{Name: body.Name, Role: body.Role, Expires: body.Expires, Subject: body.Subject})
	changed, err := a.changed(c, made, err)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusCreated, struct {
		Token string `json:"token"`
		*change
	}{token, changed})
}

func (a *API) revokeCredential(c *call) error {
	name := c.PathValue("name")
	if _, ok := a.state().CredentialNamed(name); !ok {
		return notFound("there is no credential %q", name)
	}
	return a.doRef(c, aver.EventCredentialRevoked, aver.CredentialRef{Name: name})
}
