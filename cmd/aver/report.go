package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/report/gaps"
	"github.com/aver-authz/aver/internal/report/onepage"
	"github.com/aver-authz/aver/internal/verify"
)

func (c *cli) reports() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "report",
		Short: "Answer the questions about a decision, agent, workflow or partner on one page",
		Long: `Puts the answers to what auditors, customers and regulators ask on one page, made from the two logs alone:
each question with its answer, by which entries of the logs it is known, and what the evidence does not
say. Nothing that is only partly known is shown as good, and what has to be looked at is marked.

As text, as JSON (--json), or as a page of HTML that needs no network (--html FILE). docs/reports.md lists
the questions.`,
		Example: `  aver report decision 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f --data ./data
  aver report agent ai_agent:payments-agent --data ./data --html agent.html
  aver report workflow payment-processing --data ./data
  aver report partner all --server http://127.0.0.1:8470 --json`,
	},
		c.reportOf(onepage.Decision, "ID", "the ID of an evaluation", "Who decided what on whose authority, by which policies, and whether it held (J1)",
			`  aver report decision 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f --data ./data`),
		c.reportOf(onepage.Agent, "TYPE:ID", "an identity (TYPE:ID)", "What an agent may do, by whose grant, what it reaches and did (J2)",
			`  aver report agent ai_agent:payments-agent --data ./data --html agent.html`),
		c.reportOf(onepage.Workflow, "NAME", "the NAME of a workflow", "Who acts in a workflow, by which delegation and policies (J3)",
			`  aver report workflow payment-processing --data ./data
  aver report workflow invoice --data ./data                 actions that begin with invoice.`),
		c.reportOf(onepage.Partner, "NAME", "the NAME of a partner", "Whether a partner's identities are governed and in their bounds (J4)",
			`  aver report partner api_client:acme-marketplace --data ./data
  aver report partner partner-management --data ./data       all that this owner answers for
  aver report partner all --data ./data                      everything, as for a regulator`))
}

func (c *cli) reportOf(kind, use, what, short, example string) *cobra.Command {
	var t target
	var html, thresholds string
	cmd := &cobra.Command{Use: kind + " " + use, Short: short, Example: example, Args: exactly(what)}
	t.serverFlags(cmd)
	t.dataFlag(cmd)
	cmd.Flags().StringVar(&html, "html", "", "write a page of HTML to this `FILE`")
	cmd.Flags().StringVar(&thresholds, "thresholds", "", "`FILE` that replaces some of the thresholds of control gaps and workflows; with --data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if html != "" && c.json {
			return errors.New("give --html or --json, not both")
		}
		s, done, err := c.source(&t)
		if err != nil {
			return err
		}
		defer done()
		return c.printReport(cmd.Context(), s, kind, args[0], html, thresholds)
	}
	return cmd
}

func (c *cli) printReport(ctx context.Context, s source, kind, of, html, thresholds string) error {
	var text string
	var body []byte
	var err error
	switch s := s.(type) {
	case *directory:
		page, failed := s.report(ctx, kind, of, thresholds)
		switch {
		case failed != nil:
			return failed
		case c.json:
			return c.printJSON(page)
		case html != "":
			body, err = page.HTML()
		default:
			text = page.String()
		}
	case *client.Client:
		switch {
		case thresholds != "":
			return errors.New("--thresholds: a server has its own (aver serve --thresholds); with --data they can be others")
		case c.json:
			var page json.RawMessage
			if page, err = s.ReportJSON(ctx, kind, of); err == nil {
				return c.printJSON(page)
			}
		case html != "":
			body, err = s.ReportHTML(ctx, kind, of)
		default:
			text, err = s.Report(ctx, kind, of)
		}
	}
	if err != nil {
		return err
	}
	if html == "" {
		c.printf("%s", text)
		return nil
	}
	if err := os.WriteFile(html, body, 0o600); err != nil {
		return err
	}
	c.printf("%s: the page of %s %s\n", html, kind, of)
	return nil
}

// report makes a page from both logs.
func (d *directory) report(ctx context.Context, kind, of, file string) (*onepage.Page, error) {
	thresholds, err := gaps.ThresholdsOf(file, d.path)
	if err != nil {
		return nil, err
	}
	if kind == onepage.Decision {
		if _, err := d.find(of); err != nil { // waits for one that was just made
			return nil, fmt.Errorf("decision %s: %w", of, err)
		}
	}
	authority, now := verify.Follow(d.logs.Authority), aver.TimeOf(time.Now())
	source := &onepage.Source{
		Authority: authority, Decisions: d.logs.Decisions, Thresholds: thresholds, Now: now,
		AuthorityOrigin: d.logs.Keys.Authority.Origin, DecisionsOrigin: d.logs.Keys.Decisions.Origin,
		Gaps: func(ctx context.Context) (*aver.GapReport, error) {
			return gaps.Find(ctx, authority, d.logs.Decisions, thresholds, now)
		},
	}
	return source.Report(ctx, kind, of)
}
