package api

import (
	"net/http"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

func (a *API) listIdentities(c *call) error {
	key := func(i *authority.Identity) string { return refKey(i.Ref) }
	return writePage(c, "identities", a.state().Identities(), key, same)
}

func (a *API) getIdentity(c *call) error {
	i, ok := a.state().Identity(c.pathRef())
	if !ok {
		return notFound("%s is not registered as an identity", c.pathRef())
	}
	return c.writeJSON(http.StatusOK, i)
}

type identityBody struct {
	aver.Identity
	withReason
}

func (a *API) registerIdentity(c *call) error {
	var body identityBody
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if _, ok := a.state().Identity(body.Ref); ok {
		return conflict("%s is already registered; PUT changes it", body.Ref)
	}
	made, err := a.do(c, body.Reason, aver.EventIdentityRegistered, body.Identity)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusCreated, made)
}

// putIdentity registers an identity, or replaces what is registered of it.
func (a *API) putIdentity(c *call) error {
	var body identityBody
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if err := c.samePath(&body.Ref); err != nil {
		return err
	}
	typ, status := aver.EventIdentityUpdated, http.StatusOK
	if _, ok := a.state().Identity(body.Ref); !ok {
		typ, status = aver.EventIdentityRegistered, http.StatusCreated
	}
	made, err := a.do(c, body.Reason, typ, body.Identity)
	if err != nil {
		return err
	}
	return c.writeJSON(status, made)
}

func (a *API) suspendIdentity(c *call) error { return a.turn(c, aver.EventIdentitySuspended) }
func (a *API) resumeIdentity(c *call) error  { return a.turn(c, aver.EventIdentityResumed) }
func (a *API) retireIdentity(c *call) error  { return a.turn(c, aver.EventIdentityRetired) }

// turn changes the status of an identity.
func (a *API) turn(c *call, typ aver.EventType) error {
	if _, ok := a.state().Identity(c.pathRef()); !ok {
		return notFound("%s is not registered as an identity", c.pathRef())
	}
	return a.doRef(c, typ, c.pathRef())
}

func (a *API) listEntities(c *call) error {
	key := func(e *authority.Entity) string { return refKey(e.Ref) }
	return writePage(c, "entities", a.state().EntityFacts(), key, same)
}

func (a *API) getEntity(c *call) error {
	e, ok := a.state().EntityFact(c.pathRef())
	if !ok {
		return notFound("nothing is registered about %s", c.pathRef())
	}
	return c.writeJSON(http.StatusOK, e)
}

func (a *API) putEntity(c *call) error {
	var body struct {
		aver.Entity
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if err := c.samePath(&body.Ref); err != nil {
		return err
	}
	status := http.StatusOK
	if _, ok := a.state().EntityFact(body.Ref); !ok {
		status = http.StatusCreated
	}
	made, err := a.do(c, body.Reason, aver.EventEntityPut, body.Entity)
	if err != nil {
		return err
	}
	return c.writeJSON(status, made)
}

func (a *API) removeEntity(c *call) error {
	if _, ok := a.state().EntityFact(c.pathRef()); !ok {
		return notFound("nothing is registered about %s", c.pathRef())
	}
	return a.doRef(c, aver.EventEntityRemoved, c.pathRef())
}
