package api

import (
	"fmt"
	"net/http"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// bundleVersion is a published version of a bundle, without its files.
type bundleVersion struct {
	Name        string                 `json:"name"`
	Digest      string                 `json:"digest"`
	Active      bool                   `json:"active"`
	Published   authority.Mark         `json:"published"`
	History     []authority.Activation `json:"history,omitempty"`
	Description string                 `json:"description,omitempty"`
	Owner       string                 `json:"owner,omitempty"`
	Review      string                 `json:"review,omitempty"`
	Controls    []string               `json:"controls,omitempty"`
	Policies    int                    `json:"policies"` // how many
}

func renderBundle(v *authority.BundleVersion) bundleVersion {
	meta := v.Bundle.Meta()
	return bundleVersion{
		Name: v.Bundle.Name(), Digest: v.Bundle.Digest(), Active: v.Active, Published: v.Mark, History: v.History,
		Description: meta.Description, Owner: meta.Owner, Review: meta.Review, Controls: meta.Controls,
		Policies: len(v.Bundle.Policies()),
	}
}

func (a *API) listPolicies(c *call) error {
	key := func(v *authority.BundleVersion) string { return fmt.Sprintf("%s\x00%020d", v.Bundle.Name(), v.Event) }
	return writePage(c, "policies", a.state().Bundles(), key, renderBundle)
}

// versions lists the versions of a bundle, in the order of their publication.
func (a *API) versions(name string) []bundleVersion {
	versions := []bundleVersion{}
	for _, v := range a.state().Bundles() {
		if v.Bundle.Name() == name {
			versions = append(versions, renderBundle(v))
		}
	}
	return versions
}

func (a *API) getPolicy(c *call) error {
	name := c.PathValue("name")
	versions := a.versions(name)
	if len(versions) == 0 {
		return notFound("no bundle %q is published", name)
	}
	active, _, _ := a.state().Active(name)
	return c.writeJSON(http.StatusOK, struct {
		Name     string          `json:"name"`
		Active   string          `json:"active,omitempty"` // digest
		Versions []bundleVersion `json:"versions"`
	}{name, active, versions})
}

func (a *API) getPolicyVersion(c *call) error {
	v, ok := a.state().Bundle(c.PathValue("name"), c.PathValue("digest"))
	if !ok {
		return notFound("bundle %q is not published in the version %s", c.PathValue("name"), c.PathValue("digest"))
	}
	files := map[string]string{}
	for name, text := range v.Bundle.Files() {
		files[name] = string(text)
	}
	return c.writeJSON(http.StatusOK, struct {
		bundleVersion
		Files map[string]string `json:"files"`
	}{renderBundle(v), files})
}

// maxBundleBody leaves room for the largest bundle, escaped.
const maxBundleBody = 2 * policy.MaxBundleBytes

// publishPolicy makes a bundle known and, if asked to, active. Doing it again changes nothing, so that a pipeline may.
func (a *API) publishPolicy(c *call) error {
	var body struct {
		Name     string            `json:"name,omitempty"` // where bundle.yaml gives none
		Files    map[string]string `json:"files"`
		Activate bool              `json:"activate,omitempty"`
		withReason
	}
	if err := a.decode(c, maxBundleBody, &body); err != nil {
		return err
	}
	if len(body.Files) == 0 {
		return &aver.RequestError{Pointer: "/files", Reason: "the files of the bundle are needed, as {\"name.cedar\": \"text\"}"}
	}
	files := make(map[string][]byte, len(body.Files))
	for name, text := range body.Files {
		files[name] = []byte(text)
	}
	bundle, err := policy.Load(files, body.Name)
	if err != nil {
		return err
	}
	answer := struct {
		Name      string  `json:"name"`
		Digest    string  `json:"digest"`
		Active    bool    `json:"active"`
		Published *change `json:"published,omitempty"` // missing: this version was published before
		Activated *change `json:"activated,omitempty"` // missing: not asked for, or active before
	}{Name: bundle.Name(), Digest: bundle.Digest()}
	status := http.StatusOK
	if _, ok := a.state().Bundle(bundle.Name(), bundle.Digest()); !ok {
		made, err := a.o.PAP.Publish(c.Context(), c.who(), c.reason(body.Reason), bundle)
		if answer.Published, err = a.changed(c, made, err); err != nil {
			return err
		}
		status = http.StatusCreated
	}
	if digest, _, _ := a.state().Active(bundle.Name()); body.Activate && digest != bundle.Digest() {
		ref := aver.PolicyRef{Name: bundle.Name(), Digest: bundle.Digest()}
		if answer.Activated, err = a.do(c, body.Reason, aver.EventPolicyActivated, ref); err != nil {
			return err
		}
	}
	digest, _, _ := a.state().Active(bundle.Name())
	answer.Active = digest == bundle.Digest()
	return c.writeJSON(status, answer)
}

func (a *API) activatePolicy(c *call) error {
	var body struct {
		Digest string `json:"digest"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	name := c.PathValue("name")
	if _, ok := a.state().Bundle(name, body.Digest); !ok {
		return notFound("bundle %q is not published in the version %q", name, body.Digest)
	}
	made, err := a.do(c, body.Reason, aver.EventPolicyActivated, aver.PolicyRef{Name: name, Digest: body.Digest})
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

// retirePolicy takes the active version of a bundle out of force.
func (a *API) retirePolicy(c *call) error {
	name := c.PathValue("name")
	digest, _, ok := a.state().Active(name)
	if !ok && len(a.versions(name)) == 0 {
		return notFound("no bundle %q is published", name)
	}
	if !ok {
		return conflict("bundle %q is not active", name)
	}
	return a.doRef(c, aver.EventPolicyRetired, aver.PolicyRef{Name: name, Digest: digest})
}
