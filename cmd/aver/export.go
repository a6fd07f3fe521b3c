package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/report/export"
)

func (c *cli) export() *cobra.Command {
	var data, format, out string
	var o export.Options
	var disclose, check bool
	cmd := &cobra.Command{
		Use:   "export --format FORMAT --out DIR --data DIR",
		Short: "Hand evidence over in the forms that other tools read",
		Long: `Writes what was added to both logs since the last run into files, and a manifest with their digests. Run it
again to go on; it may be interrupted at any moment, and nothing is exported twice or left out.

  ocsf     OCSF 1.8 events for a SIEM, a JSON line each: decisions and activities (API Activity, with the
           security-control profile), changes (Entity Management), control gaps (IAM Analysis Finding)
  csv      tables for GRC tools: decisions, activities, events
  xlsx     the same for spreadsheets
  parquet  the same for a data lake
  oscal    OSCAL 1.1.2 assessment results: what was counted, by bundle and control, and control gaps

Values that policies classify as sensitive stay digests unless --disclose is given. Text that a spreadsheet
would run as a formula gets an apostrophe before it, in csv and xlsx. docs/exports.md describes each column.

Exit status: 0 done; 1 with --check, a file is not what the manifest says; 2 could not do it.`,
		Example: `  aver export --format ocsf --out ./siem --data ./data
  aver export --format parquet --out ./lake --data ./data --since 120000
  aver export --check --out ./lake
  curl -H "Authorization: Bearer $AVER_TOKEN" "$AVER_SERVER/v1/exports?format=csv&from=0" -o decisions.csv`,
		Args: cobra.NoArgs,
	}
	fl := cmd.Flags()
	fl.StringVar(&format, "format", "", "`FORMAT`: ocsf, csv, xlsx, parquet or oscal")
	fl.StringVar(&out, "out", "", "the directory `DIR` for the files and the manifest")
	fl.StringVar(&data, "data", "", "the data directory `DIR`, of a running or a stopped server")
	fl.Uint64Var(&o.Since, "since", 0, "`INDEX` in the decision log at which a new export begins")
	fl.Uint64Var(&o.Chunk, "chunk", 0, "`ENTRIES` of one file; default: 50000")
	fl.BoolVar(&disclose, "disclose", false, "sensitive values too, as far as they were not erased")
	fl.BoolVar(&check, "check", false, "check the files against the manifest instead")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(oneOf(export.Formats()...), cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if out == "" {
			return errors.New("name a directory for the files: --out DIR")
		}
		if check {
			return c.checkExport(out)
		}
		if o.Format, _, err = export.Parse(format, ""); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		if data == "" {
			return errNoData
		}
		d, err := c.openDirectory(data)
		if err != nil {
			return err
		}
		defer d.close()
		files := []export.File{}
		o.Dir = out
		o.Saved = func(f export.File) {
			files = append(files, f)
			if !c.json {
				c.printf("%s  %s\n", f.Name, plural(uint64(f.Rows), "row", "rows"))
			}
		}
		m, err := export.Run(cmd.Context(), d.exports(disclose), o)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(struct {
				Written  []export.File    `json:"written"`
				Manifest *export.Manifest `json:"manifest"`
			}{files, m})
		}
		if len(files) == 0 {
			c.printf("nothing new\n")
		}
		for _, t := range o.Format.Tables() {
			if p := m.Logs[t]; p != nil {
				c.printf("%s: up to entry %d of %s\n", t, p.Next, p.Log)
			}
		}
		return nil
	}
	return cmd
}

// exports is what exports of a data directory are made of.
func (d *directory) exports(disclose bool) *export.Source {
	return &export.Source{
		Decisions: d.logs.Decisions, Authority: d.logs.Authority, State: d.state, Disclose: disclose, Version: programVersion(), Now: aver.TimeOf(time.Now()),
		Findings: func(ctx context.Context) ([]aver.GapFinding, error) {
			report, err := d.gaps(ctx, "")
			if err != nil {
				return nil, err
			}
			return report.Findings, nil
		},
	}
}

func (c *cli) checkExport(dir string) error {
	m, wrong, err := export.CheckDir(dir)
	if err != nil {
		return err
	}
	if c.json {
		if wrong == nil {
			wrong = []string{}
		}
		err = c.printJSON(struct {
			Wrong    []string         `json:"wrong"`
			Manifest *export.Manifest `json:"manifest"`
		}{wrong, m})
	} else if len(wrong) == 0 {
		c.printf("%s: as the manifest says\n", plural(uint64(len(m.Files)), "file", "files"))
	}
	if err != nil || len(wrong) == 0 {
		return err
	}
	if c.json {
		return &wrongError{}
	}
	return &wrongError{strings.Join(wrong, "\n")}
}
