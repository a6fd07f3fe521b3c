package api

import (
	"net/http"
	"time"

	"github.com/aver-authz/aver"
)

// maxReport bounds the body of a report in bytes: it may hold a whole request.
const maxReport = 1 << 20

// reportActivity records what a PEP says about the use of a decision.
func (a *API) reportActivity(c *call) error {
	var report aver.ActivityReport
	if err := a.decode(c, min(a.o.MaxBody, maxReport), &report); err != nil {
		return err
	}
	if err := report.Validate(); err != nil {
		return err
	}
	pep, err := c.pep()
	if err != nil {
		return err
	}
	answer, err := a.o.Activities.Report(c.Context(), &report, pep)
	if err != nil {
		return err
	}
	a.metrics.reported(answer)
	c.notes = append(c.notes, "activity_id", answer.ID, "status", string(answer.Status), "findings", len(answer.Findings))
	status := http.StatusCreated
	if answer.Repeated {
		status = http.StatusOK
	}
	return c.writeJSON(status, answer)
}

func (a *API) listActivities(c *call) error {
	id := c.PathValue("id")
	index, err := a.o.FindDecision(id)
	if err != nil {
		return err
	}
	list, err := a.o.Activities.Of(c.Context(), id, index)
	if err != nil {
		return err
	}
	entries := make([]entry, 0, len(list))
	for _, r := range list {
		e, err := a.entry(&a.o.Decisions, r.Index)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	return c.writeList("activities", entries, "")
}

// heartbeat takes in what an instance of a PEP says about itself.
func (a *API) heartbeat(c *call) error {
	var beat aver.Heartbeat
	if err := a.decode(c, a.o.MaxBody, &beat); err != nil {
		return err
	}
	if err := beat.Validate(); err != nil {
		return err
	}
	a.o.Tracker.Heartbeat(c.caller.name, &beat)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

const (
	olderThan       = 10 * time.Minute
	instancesListed = 1000
)

// reconciliation says what is missing between decisions and activities.
func (a *API) reconciliation(c *call) error {
	seconds, err := c.number("older_than", uint64(olderThan/time.Second))
	if err != nil {
		return err
	}
	const most = uint64(366 * 24 * time.Hour / time.Second)
	if seconds > most {
		return badParameter("older_than", "at most %d seconds", most)
	}
	return c.writeJSON(http.StatusOK, a.o.Tracker.Reconcile(time.Duration(seconds)*time.Second, instancesListed))
}
