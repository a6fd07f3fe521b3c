package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aver-authz/aver"
)

const (
	withdrawalsRoute = "GET /v1/withdrawals"

	maxWait = time.Minute // of a long poll

	// withdrawalStreamsEach is how many calls of one credential may stay: enough for many instances of a PEP, and not so
	// many that the PEPs with another credential learn of no revocation.
	withdrawalStreamsEach = maxStreams / 2
)

// withdrawals tells a PEP which of the authorizations that it holds have ended: as server-sent events, or to who asks
// for JSON, after waiting for some up to ?wait=. What came behind the cursor comes first.
func (a *API) withdrawals(c *call) error {
	leave, err := a.streams.enter("withdrawals "+c.caller.name, withdrawalStreamsEach)
	if err != nil {
		return err
	}
	defer leave()
	q := c.URL.Query()
	instance, cursor := c.Header.Get(instanceHeader), q.Get("after")
	if text := q.Get("instance"); text != "" {
		instance = text
	}
	if instance != "" {
		if err := aver.ValidateInstance(instance); err != nil {
			return badParameter("instance", "%v", err)
		}
	}
	if last := c.Header.Get("Last-Event-ID"); last != "" {
		cursor = last
	}
	if strings.Contains(c.Header.Get("Accept"), "text/event-stream") {
		return a.streamWithdrawals(c, instance, cursor)
	}
	wait := time.Duration(0)
	if text := q.Get("wait"); text != "" {
		var err error
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 || wait > maxWait {
			return badParameter("wait", "a duration up to %s, such as 30s", maxWait)
		}
	}
	return a.pollWithdrawals(c, instance, cursor, wait)
}

// pollWithdrawals answers as soon as there is something to tell, or when the time is over.
func (a *API) pollWithdrawals(c *call, instance, cursor string, wait time.Duration) error {
	control := http.NewResponseController(c.w.ResponseWriter)
	_ = control.SetReadDeadline(time.Time{}) // where there is none to set, none ends the wait
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		list, next, more, changed := a.o.Tracker.Withdrawals(c.caller.name, instance, cursor)
		if len(list) == 0 && changed != nil && wait > 0 {
			select {
			case <-changed:
				continue
			case <-c.Context().Done():
				return c.Context().Err()
			case <-timeout.C:
			}
		}
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		return c.writeJSON(http.StatusOK, struct {
			Withdrawals []aver.Withdrawal `json:"withdrawals"`
			Cursor      string            `json:"cursor"`
			More        bool              `json:"more"`
		}{append([]aver.Withdrawal{}, list...), next, more})
	}
}

// streamWithdrawals sends them as server-sent events.
func (a *API) streamWithdrawals(c *call, instance, cursor string) error {
	return a.stream(c, func() (string, bool, <-chan struct{}, error) {
		list, next, more, changed := a.o.Tracker.Withdrawals(c.caller.name, instance, cursor)
		cursor = next
		var events strings.Builder
		for _, w := range list {
			data, err := json.Marshal(w)
			if err != nil {
				return "", false, nil, err
			}
			fmt.Fprintf(&events, "id: %s\nevent: withdrawal\ndata: %s\n\n", w.Cursor, data)
		}
		return events.String(), more, changed, nil
	})
}
