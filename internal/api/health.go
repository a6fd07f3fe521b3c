package api

import (
	_ "embed"
	"net/http"
)

// healthz says that the process is alive, whatever the state of its logs: starting it again would not mend a full disk.
func (a *API) healthz(c *call) error {
	return c.writeJSON(http.StatusOK, map[string]string{"status": "ok", "version": a.o.Version})
}

// readyz says whether decisions can be answered.
func (a *API) readyz(c *call) error {
	if err := a.o.Ready(); err != nil {
		return &problem{Slug: "unavailable", Status: http.StatusServiceUnavailable, Detail: err.Error(), retryAfter: a.o.Fault(err).RetryAfter}
	}
	return c.writeJSON(http.StatusOK, map[string]string{"status": "ready"})
}

func (a *API) metricsPage(c *call) error {
	a.o.Metrics.ServeHTTP(&c.w, c.Request)
	return nil
}

//go:embed openapi.yaml
var openAPI []byte

// openapi serves the description of all this.
func (a *API) openapi(c *call) error {
	c.writeBody(http.StatusOK, "application/yaml", openAPI)
	return nil
}
