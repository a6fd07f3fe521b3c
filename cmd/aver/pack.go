package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/report/pack"
	"github.com/aver-authz/aver/internal/verify"
)

func (c *cli) pack() *cobra.Command {
	var t target
	var r pack.Request
	var out, population string
	var digest bool
	var purposes strings.Builder
	for _, p := range evidence.Purposes {
		name, what, _ := strings.Cut(p.Text, ": ")
		fmt.Fprintf(&purposes, "  %-23s %s\n%s", p.ID, name, indented(what))
	}
	cmd := &cobra.Command{
		Use:   "pack --query Q -o FILE.html|FILE.zip",
		Short: "Make an evidence pack that others can check without you",
		Long: `Takes decisions out of the logs, with the policies, grants, approvals, exceptions and identities that they
rest on, what was reported about them, the proofs that all of it is in the logs, and an explanation of each
decision, and signs the list of it with the decision log's key.

A .html file is a page that opens in any browser, with no network, checks everything by itself, and shows
integrity and trust as two verdicts; nothing is green until the reader has entered the key that they expect.
With --with-engine it also holds Cedar's own engine in Rust, as WebAssembly, and decides every decision again.
A .zip file holds the same files. aver verify FILE checks both.

Decisions are chosen by a query (aver search explains the language) or named with --decision. --redact
withholds values: "sensitive" for all that bundles classify so, or attributes such as resource.amount. Where
a record commits to a value by a digest of its own, that value alone goes; else the record's payload goes,
and the proof that it exists stays. What rests on something withheld is undetermined, never shown as good.

--purpose says what the pack is for:
` + purposes.String(),
		Example: `  aver pack --query 'actor:ai_agent/payments-agent outcome:denied' -o denials.html --with-engine --data ./data
  aver pack --decision 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f -o one.zip --data ./data
  aver pack --query 'action:payment.*' --redact sensitive --purpose customer-assurance -o customer.html
  aver pack --verifier-digest`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if digest {
				return c.printVerifierDigest()
			}
			switch {
			case out == "":
				return errors.New("the file to write was not named: give -o FILE.html or -o FILE.zip")
			case population != "":
				text, err := os.ReadFile(population)
				if err != nil {
					return fmt.Errorf("the population: %w", err)
				}
				r.Population = text
			}
			r.Form = evidence.Form(strings.ToLower(strings.TrimPrefix(filepath.Ext(out), ".")))
			r.Now, r.Program = aver.TimeOf(time.Now()), "aver "+programVersion()
			return writeNew(out, func(w io.Writer) error {
				summary, err := c.makePack(cmd.Context(), &t, r, w)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(summary)
				}
				c.printPacked(out, summary)
				return nil
			})
		},
	}
	t.serverFlags(cmd)
	t.dataFlag(cmd)
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "`FILE` to write: .html or .zip")
	f.StringVar(&r.Query, "query", "", "query `Q` that chooses decisions")
	f.StringArrayVar(&r.Decisions, "decision", nil, "evaluation id `ID` of a decision; repeat for more")
	f.IntVar(&r.Limit, "limit", pack.DefaultLimit, "how many (`N`) decisions a query may choose")
	f.BoolVar(&r.WithEngine, "with-engine", false, "put Cedar's engine into the page (1.9 MB), so that it decides again by itself")
	f.StringVar(&r.Purpose, "purpose", "", "what the pack is for: `PURPOSE`, see above")
	f.StringVar(&r.Question, "question", "", "what the pack is to answer (`TEXT`), in your words")
	f.StringArrayVar(&r.Redact, "redact", nil, "withhold `ATTRIBUTE`, or all that is sensitive; repeat for more")
	f.BoolVar(&r.Whole, "whole-authority", false, "take all of the authority log, so that aver verify can decide again to the byte")
	f.StringVar(&population, "population", "", "`FILE` of the population that the decisions were drawn from (aver sample population)")
	f.BoolVar(&digest, "verifier-digest", false, "print the SHA-256 of the page's verifier script, and of the pages, and end")
	cmd.MarkFlagsMutuallyExclusive("query", "decision")
	return cmd
}

// makePack makes a pack, from a data directory or by a server.
func (c *cli) makePack(ctx context.Context, t *target, r pack.Request, w io.Writer) (pack.Summary, error) {
	if t.data == "" {
		return c.askForPack(ctx, t, r, w)
	}
	if t.server != "" {
		return pack.Summary{}, errors.New("give --server or --data, not both")
	}
	logs, err := datadir.OpenReaders(t.data)
	if err != nil {
		return pack.Summary{}, err
	}
	defer logs.Close()
	key, err := datadir.DecisionKey(t.data)
	if err != nil {
		return pack.Summary{}, fmt.Errorf("a pack is signed with the decision log's key: %w", err)
	}
	authority, decisions, err := datadir.Cosigned(t.data)
	if err != nil {
		return pack.Summary{}, fmt.Errorf("what witnesses have cosigned: %w", err)
	}
	show, wipe := c.progress("entries")
	defer wipe()
	r.Progress = func(done, total uint64) { show("pack", int64(done), int64(total)) }
	return pack.Make(ctx, pack.Source{
		Authority: verify.Follow(logs.Authority), Decisions: logs.Decisions,
		AuthorityKey: logs.Keys.Authority.VKey, DecisionsKey: logs.Keys.Decisions.VKey, Signer: key.Signer,
		AuthorityCosigned: authority, DecisionsCosigned: decisions,
	}, r, w)
}

// askForPack has a server make the pack, and reads from it what is in it.
func (c *cli) askForPack(ctx context.Context, t *target, r pack.Request, w io.Writer) (pack.Summary, error) {
	t.timeout = 10 * time.Minute
	server, err := c.connect(t)
	if err != nil {
		return pack.Summary{}, err
	}
	content, err := server.Pack(ctx, client.PackRequest{
		Query: r.Query, Decisions: r.Decisions, Limit: r.Limit, Form: string(r.Form), WithEngine: r.WithEngine,
		Purpose: r.Purpose, Question: r.Question, Redact: r.Redact, Whole: r.Whole, Population: string(r.Population),
	})
	if err != nil {
		return pack.Summary{}, err
	}
	p, err := evidence.Open(content)
	if err != nil {
		return pack.Summary{}, fmt.Errorf("what the server sent: %w", err)
	}
	if _, err := w.Write(content); err != nil {
		return pack.Summary{}, err
	}
	return pack.Summarize(p), nil
}

// writeNew writes a file that is there as a whole, or not at all.
func writeNew(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".pack-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (c *cli) printPacked(file string, s pack.Summary) {
	c.printf("%s: %s, %s, %s, %s\n", file, plural(uint64(s.Decisions), "decision", "decisions"), plural(uint64(s.Activities), "activity", "activities"),
		plural(uint64(s.Events), "event", "events"), plural(s.Frames, "authorization", "authorizations"))
	if s.Withheld > 0 {
		c.printf("withheld: %s\n", plural(uint64(s.Withheld), "value or payload", "values and payloads"))
	}
	if s.More > 0 {
		c.printf("note: the query matches %d more, which are not in it; raise --limit\n", s.More)
	}
}

func (c *cli) printVerifierDigest() error {
	plain, withEngine := pack.PageDigests()
	v := struct {
		Version    string `json:"version"`
		Verifier   string `json:"verifier_sha256"`
		Page       string `json:"page_sha256"`
		WithEngine string `json:"page_with_engine_sha256"`
	}{pack.Published(plain), pack.VerifierDigest(), plain, withEngine}
	if c.json {
		return c.printJSON(v)
	}
	c.printf("verifier script  %s\npage             %s\npage with engine %s\n", v.Verifier, v.Page, v.WithEngine)
	return nil
}

// verifyPack checks a pack and prints what was found.
func (c *cli) verifyPack(ctx context.Context, file string, o evidence.Options) error {
	p, err := evidence.OpenFile(file)
	if err != nil {
		return err
	}
	report, err := p.Verify(o)
	if err != nil {
		return err
	}
	show, wipe := c.progress("decisions")
	pack.Population(p, report)
	err = pack.Again(ctx, p, report, func(done, total int) { show("decide again", int64(done), int64(total)) })
	wipe()
	if err != nil {
		return err
	}
	if p.Page != nil {
		report.Page = &evidence.PageReport{Shell: p.Page.Shell, Verifier: p.Page.Verifier, Published: pack.Published(p.Page.Shell)}
		check := evidence.Check{Kind: evidence.KindPage, State: evidence.Passed, What: "the page's scripts are published ones, of version " + report.Page.Published}
		if report.Page.Published == "" {
			check.State, check.What = evidence.Unknown, "the page's scripts are published ones"
			check.Detail = "this program knows of none such: go by what it says here, not by what the page shows"
		}
		report.Add(check)
	}
	report.Conclude()
	if c.json {
		err = c.printJSON(report)
	} else {
		c.printPackReport(report)
	}
	if err == nil && !report.OK {
		err = &wrongError{}
	}
	return err
}

func (c *cli) printPackReport(r *evidence.Report) {
	c.printf("%s of %s, made %s\n", plural(uint64(r.Decisions), "decision", "decisions"), r.Logs[len(r.Logs)-1].Origin, r.Made)
	if r.Purpose != nil {
		c.printf("purpose: %s\n", r.Purpose.Text)
	}
	type group struct {
		kind  evidence.Kind
		state evidence.State
	}
	counts := map[group]int{}
	var order []group
	for _, check := range r.Checks {
		g := group{check.Kind, check.State}
		if counts[g]++; counts[g] == 1 {
			order = append(order, g)
		}
	}
	const most = 10 // lines of each sort that is not passed
	for _, g := range order {
		if g.state == evidence.Passed {
			c.printf("%s: %d passed\n", g.kind, counts[g])
			continue
		}
		shown := 0
		for _, check := range r.Checks {
			if check.Kind != g.kind || check.State != g.state || shown == most {
				continue
			}
			shown++
			c.printf("%s: %s: %s %s: %s\n", g.kind, stateWord(check.State), check.File, check.What, check.Detail)
		}
		if counts[g] > shown {
			c.printf("%s: … and %d more\n", g.kind, counts[g]-shown)
		}
	}
	if r.Integrity {
		c.printf("integrity: ok, all that is here is consistent with the keys that the pack names")
	} else {
		c.printf("integrity: WRONG, see above")
	}
	if n := r.Counts[evidence.Unknown]; n > 0 {
		c.printf("; %s unknown", plural(uint64(n), "line is", "lines are"))
	}
	switch r.Trust {
	case evidence.TrustEstablished:
		c.printf("\ntrust: established, the key is one that you brought\n")
	case evidence.TrustRefused:
		c.printf("\ntrust: REFUSED, a key that you brought is not that of a log here, or a witness has not cosigned\n")
	default:
		c.printf("\ntrust: not established; bring the decision log's key with --key\n")
	}
}

func stateWord(s evidence.State) string {
	switch s {
	case evidence.Failed:
		return "WRONG"
	case evidence.NotChecked:
		return "not checked"
	}
	return string(s)
}

// indented breaks a text into lines that fit a terminal, below the purpose they explain.
func indented(text string) string {
	const width, before = 75, "                            "
	var out strings.Builder
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			fmt.Fprintf(&out, "%s%s\n", before, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	fmt.Fprintf(&out, "%s%s\n", before, line)
	return out.String()
}
