package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pap"
)

// change is the answer to whatever changes the authority: the event and where it stands in the log.
type change struct {
	Event   *aver.Event  `json:"event"`
	Index   uint64       `json:"index"`
	Receipt aver.Receipt `json:"receipt"`
	// Included is whether a signed checkpoint covers the event. If not, the change is in effect all the same, and a
	// checkpoint follows.
	Included bool `json:"included"`
}

func (a *API) state() *authority.State { return a.o.PAP.Current().State }

// do makes a change in the caller's name.
func (a *API) do(c *call, reason string, typ aver.EventType, data any) (*change, error) {
	made, err := a.o.PAP.Do(c.Context(), c.who(), c.reason(reason), typ, data)
	return a.changed(c, made, err)
}

// changed renders what the administration point made.
func (a *API) changed(c *call, made *pap.Change, err error) (*change, error) {
	if made == nil {
		return nil, err
	}
	if err != nil && !errors.Is(err, pap.ErrNotIncluded) {
		return nil, err
	}
	if err != nil {
		a.o.Logger.Warn("a change is in effect, but its checkpoint is late", "event", made.Index, "error", err)
	}
	c.notes = append(c.notes, "event", made.Index, "type", string(made.Event.Type))
	committed, errReceipt := made.Receipt.Committed()
	if errReceipt != nil {
		return nil, fmt.Errorf("receipt of event %d: %w", made.Index, errReceipt)
	}
	out := &change{Event: made.Event, Index: made.Index, Included: err == nil, Receipt: aver.Receipt{
		Origin: a.o.Authority.Origin, Index: made.Index, LeafHash: made.Receipt.LeafHash.String(),
		Commit: &aver.CommitReceipt{Note: committed.Note, Path: []string{}},
	}}
	for _, h := range committed.Path {
		out.Receipt.Commit.Path = append(out.Receipt.Commit.Path, h.String())
	}
	return out, nil
}

// reason is why the caller makes a change: the body's member or the parameter.
func (c *call) reason(body string) string {
	if body != "" {
		return body
	}
	return c.URL.Query().Get("reason")
}

// withReason is the body of changes that need no more.
type withReason struct {
	Reason string `json:"reason,omitempty"`
}

// doRef makes a change whose data only name what it is about, and takes an empty body.
func (a *API) doRef(c *call, typ aver.EventType, data any) error {
	var body withReason
	if err := a.decodeOptional(c, &body); err != nil {
		return err
	}
	made, err := a.do(c, body.Reason, typ, data)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

// pathRef is the entity that the path names.
func (c *call) pathRef() aver.Ref {
	return aver.Ref{Type: c.PathValue("type"), ID: c.PathValue("id")}
}

// samePath fills in what the path says already, and refuses a body that says something else.
func (c *call) samePath(body *aver.Ref) error {
	at := c.pathRef()
	if body.Type != "" && body.Type != at.Type || body.ID != "" && body.ID != at.ID {
		return &aver.RequestError{Pointer: "/id", Reason: fmt.Sprintf("the body names %s, the path %s", *body, at)}
	}
	*body = at
	return nil
}

func notFound(format string, args ...any) error {
	return &problem{Slug: "not-found", Status: http.StatusNotFound, Detail: fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) error {
	return &problem{Slug: "conflict", Status: http.StatusConflict, Detail: fmt.Sprintf(format, args...)}
}
