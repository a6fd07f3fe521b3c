package api

import "net/http"

// logWitnesses says how both logs are witnessed.
func (a *API) logWitnesses(c *call) error {
	answer := map[string]any{}
	for name, log := range map[string]*Log{"authority": &a.o.Authority, "decisions": &a.o.Decisions} {
		if log.Witnesses != nil {
			answer[name] = log.Witnesses()
		}
	}
	return c.writeJSON(http.StatusOK, answer)
}

// witnessedCheckpoint is the last checkpoint that witnesses have cosigned, if it covers an entry.
func witnessedCheckpoint(log *Log, index uint64) (note []byte, size uint64, err error) {
	if log.Witnessed == nil {
		return nil, 0, notFound("no witnesses are configured here")
	}
	if note, size = log.Witnessed(); size <= index {
		return nil, 0, &problem{Slug: "not-found", Status: http.StatusNotFound, Detail: "no checkpoint that witnesses have cosigned covers the entry yet: try again in a few seconds"}
	}
	return note, size, nil
}
