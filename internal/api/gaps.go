package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/report/gaps"
)

// findGaps brings the report up to date. While the logs are read for the first time, the caller is asked to come back.
func (a *API) findGaps(c *call) (*aver.GapReport, error) {
	ctx, cancel := context.WithTimeout(c.Context(), a.o.Timeout/2)
	defer cancel()
	report, err := a.o.Gaps.Report(ctx)
	if errors.Is(err, gaps.ErrReading) {
		return nil, &problem{Slug: "unavailable", Status: http.StatusServiceUnavailable, Detail: err.Error(), retryAfter: 10 * time.Second}
	}
	return report, err
}

// listGaps answers with what is found now, filtered. What is unknown is always told.
func (a *API) listGaps(c *call) error {
	q := c.URL.Query()
	for _, p := range []struct {
		name  string
		known []string
	}{{"gap", aver.Gaps()}, {"severity", texts(aver.Severities())}, {"state", texts(aver.GapStates())}} {
		if v := q.Get(p.name); v != "" && !slices.Contains(p.known, v) {
			return badParameter(p.name, "one of %q", p.known)
		}
	}
	report, err := a.findGaps(c)
	if err != nil {
		return err
	}
	answer := *report
	answer.Findings = []aver.GapFinding{}
	for _, f := range report.Findings {
		if (q.Get("gap") == "" || q.Get("gap") == f.Gap) && (q.Get("state") == "" || q.Get("state") == string(f.State)) &&
			(q.Get("severity") == "" || f.Severity.Compare(aver.Severity(q.Get("severity"))) >= 0) {
			answer.Findings = append(answer.Findings, f)
		}
	}
	return c.writeJSON(http.StatusOK, answer)
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// gapOf is the finding that the path names, as it is found now.
func (a *API) gapOf(c *call) (*aver.GapFinding, error) {
	report, err := a.findGaps(c)
	if err != nil {
		return nil, err
	}
	for i := range report.Findings {
		if report.Findings[i].ID == c.PathValue("id") {
			return &report.Findings[i], nil
		}
	}
	return nil, notFound("nothing is found under the id %q", c.PathValue("id"))
}

// acceptGap accepts the risk of a finding until a time. Whether the caller may, the administration bundle decides.
func (a *API) acceptGap(c *call) error {
	var body struct {
		Until aver.Time `json:"until"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	longest := a.o.Gaps.Thresholds().Accept
	if body.Until <= a.now() || body.Until > a.now()+aver.Time(longest) {
		return &aver.RequestError{Pointer: "/until", Reason: "must be a time to come, at most " + longest.String() + " from now"}
	}
	f, err := a.gapOf(c)
	if err != nil {
		return err
	}
	made, err := a.do(c, body.Reason, aver.EventGapAccepted, aver.GapAcceptance{ID: f.ID, Gap: f.Gap, Rule: f.Rule, Subject: f.Subject.Ref, Until: body.Until})
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

// closeGap says that a gap is mended.
func (a *API) closeGap(c *call) error {
	f, err := a.gapOf(c)
	if err != nil {
		return err
	}
	return a.doRef(c, aver.EventGapClosed, aver.GapClosing{ID: f.ID, Gap: f.Gap, Rule: f.Rule, Subject: f.Subject.Ref})
}

// registerGaps counts the open findings of the last report, which is made now and then in the background.
func (a *API) registerGaps() error {
	for _, gap := range aver.Gaps() {
		for _, severity := range aver.Severities() {
			err := a.o.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "aver_control_gaps_open", Help: "Control gaps that are neither accepted nor closed, as of the last report.",
				ConstLabels: prometheus.Labels{"gap": gap, "severity": string(severity)},
			}, func() float64 {
				n := 0
				if report := a.o.Gaps.Latest(); report != nil {
					for _, f := range report.Findings {
						if f.Gap == gap && f.Severity == severity && f.State == aver.GapOpen {
							n++
						}
					}
				}
				return float64(n)
			}))
			if err != nil {
				return err
			}
		}
	}
	return a.o.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "aver_control_gaps_timestamp_seconds", Help: "When control gaps were last looked for; 0 if not yet.",
	}, func() float64 {
		if report := a.o.Gaps.Latest(); report != nil {
			return float64(report.AsOf) / 1000
		}
		return 0
	}))
}
