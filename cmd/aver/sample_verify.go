package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/internal/report/sample"
)

func (c *cli) sampleVerify() *cobra.Command {
	var key, data string
	var full bool
	cmd := &cobra.Command{
		Use:   "verify POPULATION [SAMPLE] [--key VKEY] [--data DIR [--full]]",
		Short: "Check a population, and a sample drawn from it",
		Long: `Checks that the population is complete and says what was signed, logged and proved, with the file alone; and
draws the sample again. With --data it is compared with the logs themselves, and with --full the query is
asked again of every record of the period, and every leaf of the log is looked at.

Two verdicts, never one. Integrity: nothing is wrong. Trust: the key is the one that you expected, which needs
--key from somebody you believe. What could not be checked is said, and is not ok.

Exit status: 0 nothing wrong; 1 something is wrong, and it is named; 2 the check could not be made.`,
		Example: `  aver sample verify population.json sample.json --key "$(cat decisions.vkey)"
  aver sample verify population.json --data ./data --full`,
		Args: between(1, "the file of a population", "the file of a sample"),
	}
	cmd.Flags().StringVar(&key, "key", "", "the verifier key (`VKEY`) of the decision log that you trust")
	cmd.Flags().StringVar(&data, "data", "", "compare with the data directory `DIR`")
	cmd.Flags().BoolVar(&full, "full", false, "ask the query again of every record of the period (needs --data)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if full && data == "" {
			return errors.New("--full reads every record of the period: name where they are with --data DIR")
		}
		doc, err := c.readPopulation(args[0])
		if err != nil {
			return err
		}
		what := &sampled{c: c}
		if data != "" {
			if what.dir, err = c.openDirectory(data); err != nil {
				return err
			}
			defer what.close()
		}
		r := doc.Verify(strings.TrimSpace(key))
		if what.dir != nil {
			r.Checks = append(r.Checks, what.compare(doc)...)
		}
		if full {
			show, wipe := c.progress("entries")
			r.Checks = append(r.Checks, doc.VerifyFull(cmd.Context(), what.dir.logs.Decisions, func(done, total int64) { show("asking the query", done, total) }))
			wipe()
		} else {
			r.Checks = append(r.Checks, sample.Check{Name: "full", State: sample.Unchecked, Detail: "that the rows are all that the query wants takes --data and --full"})
		}
		if len(args) > 1 {
			checks, err := what.verifySample(args[1], doc)
			if err != nil {
				return err
			}
			r.Checks = append(r.Checks, checks...)
		}
		for _, check := range r.Checks {
			r.Integrity = r.Integrity && check.State != sample.Wrong
		}
		return c.printSampleReport(r)
	}
	return cmd
}

// compare checks a population against the logs of the data directory.
func (s *sampled) compare(d *sample.Document) []sample.Check {
	tree := sample.Check{Name: "log", State: sample.OK, Detail: "the statement's tree is the beginning of the log here"}
	root, err := s.dir.logs.Decisions.TreeHash(d.Statement.Tree.Size)
	if err != nil {
		tree.State, tree.Detail = sample.Wrong, err.Error()
	} else if root.String() != d.Statement.Tree.Root {
		tree.State, tree.Detail = sample.Wrong, "the log here is another one: its tree of that size has another root"
	}
	return append([]sample.Check{tree}, d.VerifyLogged(s.dir.logs.Authority)...)
}

func (s *sampled) verifySample(file string, d *sample.Document) ([]sample.Check, error) {
	text, err := s.c.readInput(file)
	if err != nil {
		return nil, err
	}
	var drawn sample.Sample
	if err := json.Unmarshal(text, &drawn); err != nil || drawn.Drawn == nil {
		return nil, fmt.Errorf("%s is no sample", file)
	}
	by := drawn.SampleDrawn.Strata
	if by != "" && by != "outcome" && s.dir == nil {
		return []sample.Check{{Name: "sample", State: sample.Unchecked, Detail: "it is stratified by " + by + ", which takes the records: --data DIR"}}, nil
	}
	value, err := s.strata(d, by)
	if err != nil {
		return nil, err
	}
	checks := drawn.Verify(d, value)
	if s.dir != nil {
		st, err := s.dir.state()
		if err != nil {
			return nil, err
		}
		checks = append(checks, drawn.VerifyLogged(d, s.dir.logs.Authority, st)...)
	}
	return checks, nil
}

func (c *cli) printSampleReport(r *sample.Report) error {
	if c.json {
		if err := c.printJSON(r); err != nil {
			return err
		}
	} else {
		for _, check := range r.Checks {
			state := string(check.State)
			if check.State == sample.Wrong {
				state = "WRONG"
			}
			c.printf("%-12s %-9s  %s\n", check.Name, state, check.Detail)
		}
		verdict := "ok"
		if !r.Integrity {
			verdict = "WRONG, see above"
		}
		c.printf("integrity: %s\n", verdict)
		switch r.Trust {
		case "established":
			c.printf("trust: established, the key is the one that you brought\n")
		case "refused":
			c.printf("trust: REFUSED, the key that you brought is not that of the log\n")
		default:
			c.printf("trust: not established, the key comes from the file itself; bring it with --key\n")
		}
	}
	if !r.Integrity {
		return &wrongError{}
	}
	return nil
}
