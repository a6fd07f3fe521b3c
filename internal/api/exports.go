package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/aver-authz/aver/internal/report/export"
)

const (
	defaultExport = 100_000   // entries of one export
	maxExport     = 1_000_000 //
	nextHeader    = "Aver-Export-Next"
)

// export streams entries in the form of another tool. Which access it was is recorded before. How far it reaches stands
// in a header, so that the next one goes on there.
func (a *API) export(c *call) error {
	q := c.URL.Query()
	format, table, err := export.Parse(q.Get("format"), q.Get("table"))
	if err != nil {
		return &problem{Slug: "invalid-request", Status: http.StatusBadRequest, Detail: err.Error()}
	}
	disclose, err := strconv.ParseBool(q.Get("disclose"))
	if q.Get("disclose") != "" && err != nil {
		return badParameter("disclose", "true or false")
	}
	from, err := c.number("from", 0)
	if err != nil {
		return err
	}
	limit, err := c.number("limit", defaultExport)
	if err != nil || limit < 1 || limit > maxExport {
		return badParameter("limit", "a number from 1 to %d", maxExport)
	}
	size := c.asOf // without the record of this access
	if table == export.Events {
		size, _ = a.o.Authority.Head()
	}
	from = min(from, size)
	end := min(from+limit, size)

	source := *a.o.Exports
	source.Disclose, source.Now = disclose, a.now()
	h := c.w.Header()
	h.Set("Content-Type", format.MediaType())
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%012d%s"`, table, from, format.Suffix()))
	h.Set(nextHeader, strconv.FormatUint(end, 10))
	if _, err = source.Write(c.Context(), &c.w, format, table, from, end); err == nil {
		return nil
	}
	if c.w.status == 0 {
		for _, name := range []string{"Content-Disposition", nextHeader} {
			h.Del(name)
		}
		return err
	}
	a.o.Logger.Error("an export was broken off", "format", string(format), "error", err)
	panic(http.ErrAbortHandler) // so that what was sent can't be taken for the whole
}
