package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/report/sample"
)

// maxSampleTime bounds a call that goes through all records of a period.
const maxSampleTime = time.Minute

func (c *cli) sample() *cobra.Command {
	var f populationFlags
	var d drawFlags
	cmd := &cobra.Command{
		Use:   "sample",
		Short: "Fix populations of decisions, prove them complete, draw samples",
		Long: `A sample shows something about a control if three things hold: the list it was drawn from is complete, it
was fixed before anybody could know what would be drawn, and nobody could steer the draw. So first fix a
population, then let the auditor name a nonce, then draw: the commands below. Without any of them this does
all of it in one go, and says that it shows less.

Sizes that auditors use, for a control that runs many times a day (confidence if no row deviates):
  25  a first look: 93 % confidence that at most 10 % deviate
  40  96 % confidence that at most 7.5 % deviate
  45  90 % confidence that at most 5 % deviate
  60  95 % confidence that at most 5 % deviate
In general 1 - (1 - p)^n. A control that did not change and runs by itself needs a test of one, together with
the history of its policies. A row is never replaced because of what it shows.

docs/sampling.md has every byte, and a program in Python that draws the same rows.`,
		Example: `  aver sample population --query 'action:payment.*' --from 2026-07-01 --to 2026-10-01 -o population.json
  aver sample draw --population population.json --nonce 7f3a-91c2 --size 25 -o sample.json
  aver sample verify population.json sample.json --key "$(cat decisions.vkey)"
  aver sample --data ./data --query outcome:escalated --size 25 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(cmd, args[0])
			}
			return nil
		},
	}
	f.add(cmd)
	d.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		what, err := f.open(c)
		if err != nil {
			return err
		}
		defer what.close()
		warning := "fixed and drawn in one go: the nonce should come from the auditor, after the population was fixed"
		if d.nonce == "" {
			d.nonce = rand.Text()
			warning = "the nonce is a random one, chosen here: have the auditor name it, after the population was fixed"
		}
		doc, err := what.fix(cmd.Context(), &f)
		if err != nil {
			return err
		}
		drawn, err := what.draw(cmd.Context(), doc, &d)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(struct {
				Warning    string          `json:"warning"`
				Population aver.Population `json:"population"`
				Digest     string          `json:"population_digest"`
				Sample     *sample.Sample  `json:"sample"`
			}{warning, doc.Statement, doc.Digest, drawn})
		}
		c.printPopulation(doc)
		c.printf("\n")
		c.printSample(drawn)
		fmt.Fprintln(c.err, "note: "+warning)
		return nil
	}
	cmd.AddCommand(c.samplePopulation(), c.sampleDraw(), c.sampleVerify())
	return cmd
}

// populationFlags say what a population is to be, and of which log.
type populationFlags struct {
	target
	id, query, from, to, since, reason string
}

func (f *populationFlags) add(cmd *cobra.Command) {
	f.serverFlags(cmd)
	f.dataFlag(cmd)
	f.timeout = maxSampleTime
	fl := cmd.Flags()
	fl.StringVar(&f.query, "query", "", "`QUERY` that its decisions match, as of aver search; default: every decision")
	fl.StringVar(&f.from, "from", "", "beginning of the period, included (`TIME`: a day or RFC 3339); default: the log's")
	fl.StringVar(&f.to, "to", "", "end of the period, excluded (`TIME`: a day or RFC 3339); default: now")
	fl.StringVar(&f.since, "since", "", "`FILE` with the last checkpoint of the decision log that you have, to prove that the log only grew")
	fl.StringVar(&f.id, "id", "", "an `ID` of your choice; default: a random one")
	fl.StringVar(&f.reason, "reason", "", "why (`TEXT`), in your words; it stands in the authority log of a server")
}

func (f *populationFlags) wish(c *cli) (w sample.Wish, err error) {
	w = sample.Wish{ID: f.id, Query: f.query}
	if w.From, err = parseDay(f.from); err != nil {
		return w, fmt.Errorf("--from: %w", err)
	}
	if w.To, err = parseDay(f.to); err != nil {
		return w, fmt.Errorf("--to: %w", err)
	}
	if f.since != "" {
		text, err := c.readInput(f.since)
		if err != nil {
			return w, err
		}
		w.Since = string(text)
	}
	return w, nil
}

// parseDay reads a day as the first moment of it in UTC, or a time of RFC 3339. "" is 0.
func parseDay(text string) (aver.Time, error) {
	if text == "" {
		return 0, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return aver.TimeOf(day), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a day (2026-07-01) nor a time (2026-07-01T08:00:00Z)", text)
	}
	return aver.TimeOf(t), nil
}

// drawFlags say how a sample is to be drawn.
type drawFlags struct {
	nonce, strata string
	size          int
	interval      bool
	discard       []string
}

func (d *drawFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&d.nonce, "nonce", "", "the auditor's `NONCE`, chosen after the population was fixed")
	fl.IntVar(&d.size, "size", 25, "how many `ROWS`")
	fl.StringVar(&d.strata, "stratify", "", "some of each, in proportion, `BY` "+strings.Join(sample.Strata(), ", "))
	fl.BoolVar(&d.interval, "interval", false, "every so many rows, from a start that the nonce leads to")
	fl.StringArrayVar(&d.discard, "discard", nil, "set a drawn row aside, `INDEX=REASON`; it stays on the list; repeat for more")
	_ = cmd.RegisterFlagCompletionFunc("stratify", cobra.FixedCompletions(sample.Strata(), cobra.ShellCompDirectiveNoFileComp))
}

func (d *drawFlags) spec() (sample.Spec, error) {
	s := sample.Spec{Nonce: d.nonce, Method: aver.SampleSimple, Strata: d.strata, Size: d.size}
	switch {
	case d.strata != "" && d.interval:
		return s, errors.New("give --stratify or --interval, not both")
	case d.strata != "":
		s.Method = aver.SampleStratified
	case d.interval:
		s.Method = aver.SampleInterval
	}
	for _, text := range d.discard {
		index, why, _ := strings.Cut(text, "=")
		n, err := strconv.ParseUint(index, 10, 62)
		if err != nil || why == "" {
			return s, fmt.Errorf("--discard: %q is not of the form INDEX=REASON", text)
		}
		s.Discarded = append(s.Discarded, aver.DiscardedSample{Index: n, Why: why})
	}
	return s, nil
}

// sampled is what samples are made from: a server, a data directory, or a population's file alone.
type sampled struct {
	c      *cli
	server *client.Client
	dir    *directory
}

func (s *sampled) close() {
	if s.dir != nil {
		s.dir.close()
	}
}

// open opens what the flags name.
func (f *populationFlags) open(c *cli) (*sampled, error) {
	s, _, err := c.source(&f.target)
	if err != nil {
		return nil, err
	}
	what := &sampled{c: c}
	what.server, _ = s.(*client.Client)
	what.dir, _ = s.(*directory)
	return what, nil
}

// decisions is the decision log of a data directory, for populations.
func (d *directory) decisions() *sample.Source {
	key := d.logs.Keys.Decisions
	state := sync.OnceValues(d.state)
	return &sample.Source{
		Log: d.logs.Decisions, VKey: key.VKey, Verifier: key.Verifier,
		Checkpoint: func(context.Context) ([]byte, error) {
			if d.logs.Decisions.Checkpoint() == nil {
				return nil, fmt.Errorf("the log %s has no signed checkpoint yet: nothing was decided", key.Origin)
			}
			return d.logs.Decisions.Checkpoint(), nil
		},
		Now: func() aver.Time { return aver.TimeOf(time.Now()) },
		Why: func(index uint64) string {
			if st, err := state(); err == nil {
				return sample.WhyGone(st)(index)
			}
			return "erased"
		},
	}
}

func (s *sampled) fix(ctx context.Context, f *populationFlags) (*sample.Document, error) {
	wish, err := f.wish(s.c)
	if err != nil {
		return nil, err
	}
	if s.server != nil {
		text, err := s.server.FixPopulation(ctx, client.PopulationRequest{
			ID: wish.ID, Query: wish.Query, From: wish.From, To: wish.To, Since: wish.Since, Reason: f.reason,
		})
		if err != nil {
			return nil, err
		}
		return readDocument(text)
	}
	show, wipe := s.c.progress("entries")
	wish.Progress = func(done, total int64) { show("asking the query", done, total) }
	d, err := s.dir.decisions().Fix(ctx, wish)
	wipe()
	return d, withCaret(err)
}

func readDocument(text []byte) (*sample.Document, error) {
	var d sample.Document
	err := json.Unmarshal(text, &d)
	if err == nil && d.Proof == nil {
		err = errors.New("it has no proof")
	}
	if err != nil {
		return nil, fmt.Errorf("this is no population: %w", err)
	}
	return &d, nil
}

func (s *sampled) draw(ctx context.Context, d *sample.Document, flags *drawFlags) (*sample.Sample, error) {
	spec, err := flags.spec()
	if err != nil {
		return nil, err
	}
	if s.server != nil {
		text, err := s.server.DrawSample(ctx, d.Statement.ID, client.SampleRequest{
			Nonce: spec.Nonce, Size: spec.Size, Method: spec.Method, Strata: spec.Strata, Discarded: spec.Discarded,
		})
		if err != nil {
			return nil, err
		}
		var out sample.Sample
		if err := json.Unmarshal(text, &out); err != nil {
			return nil, fmt.Errorf("the server's sample can't be read: %w", err)
		}
		return &out, nil
	}
	value, err := s.strata(d, spec.Strata)
	if err != nil {
		return nil, err
	}
	drawn, err := sample.Draw(&d.Statement, d.Rows, value, spec)
	if err != nil {
		return nil, err
	}
	return sample.NewSample(drawn, d.Leaf)
}

// strata tells the stratum of a row, from the records or else from the leaves of the document.
func (s *sampled) strata(d *sample.Document, by string) (func(uint64) (string, error), error) {
	switch {
	case by == "":
		return nil, nil
	case s.dir != nil:
		return sample.ValueOf(s.dir.logs.Decisions, by)
	}
	return d.ValueOfLeaf(by), nil
}

func (c *cli) samplePopulation() *cobra.Command {
	var f populationFlags
	var out string
	cmd := &cobra.Command{
		Use:   "population [--query QUERY] [--from TIME] [--to TIME] -o FILE",
		Short: "Fix a population and prove it complete",
		Long: `Finds out which decisions of the period match, and writes a file with the statement of it, the leaves of the
period in a row with a few neighbours, and what proves that none is missing. A server logs the statement
(population.fixed) and signs it; a data directory is only read, so that nobody vouches for the time.`,
		Example: `  aver sample population --query 'action:payment.*' --from 2026-07-01 --to 2026-10-01 -o population.json
  aver sample population --data ./data --since decisions.checkpoint -o population.json`,
		Args: cobra.NoArgs,
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "`FILE` to write the population to; with --json it may go to the standard output")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if out == "" && !c.json {
			return errors.New("name a file for the population: -o FILE (or --json for the standard output)")
		}
		what, err := f.open(c)
		if err != nil {
			return err
		}
		defer what.close()
		d, err := what.fix(cmd.Context(), &f)
		if err != nil {
			return err
		}
		if err := c.writeOut(out, d); err != nil || out == "" {
			return err
		}
		if c.json {
			return c.printJSON(d.Statement)
		}
		c.printPopulation(d)
		return nil
	}
	return cmd
}

// writeOut writes JSON to a file, or to the standard output if none is named.
func (c *cli) writeOut(file string, v any) error {
	if file == "" {
		return c.printJSON(v)
	}
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

func (c *cli) printPopulation(d *sample.Document) {
	s := &d.Statement
	c.printf("population %s of %s\n", s.ID, s.Log)
	which := "every decision"
	if s.Query != "" {
		which = s.Query
	}
	from := "the beginning"
	if s.From != 0 {
		from = s.From.String()
	}
	c.printf("  %s, from %s up to %s\n", which, from, s.To)
	c.printf("  %s of %s in a row (%d to %d), proved in the tree of %d\n", plural(s.Count, "row", "rows"), plural(s.End-s.First, "leaf", "leaves"),
		s.First, s.End, s.Tree.Size)
	c.printf("  no rows: %d activities, %d that do not match, %d outside of the period\n", s.Excluded.Activities, s.Excluded.NotMatching, s.Excluded.Outside)
	for _, m := range s.Missing {
		c.printf("  gone: the payloads of %d to %d, %s\n", m.First, m.End, m.Why)
	}
	for _, g := range s.Gaps {
		c.printf("  never arrived: requests %d to %d of %s/%s\n", g.First, g.Last, g.Credential, g.Instance)
	}
	c.printf("  digest %s\n", d.Digest)
	if d.Event != nil {
		c.printf("  fixed by event %d of the authority log\n", d.Event.Index)
	} else {
		c.printf("  not logged: fix it on a server to have it on record\n")
	}
}

func (c *cli) sampleDraw() *cobra.Command {
	var t target
	var d drawFlags
	var file, out string
	cmd := &cobra.Command{
		Use:   "draw --population FILE --nonce NONCE [--size ROWS]",
		Short: "Draw a sample from a population",
		Long: `Draws by the auditor's nonce, which is chosen after the population was fixed. On a server the draw is logged
(sample.drawn), so that drawing again until the result pleases does not stay hidden. With a data directory, or
with the file alone, nothing is logged; the file alone can be stratified by outcome only.`,
		Example: `  aver sample draw --population population.json --nonce 7f3a-91c2 --size 25
  aver sample draw --population population.json --nonce 7f3a-91c2 --size 60 --stratify action --data ./data
  aver sample draw --population population.json --nonce 7f3a-91c2 --interval --discard 4711='supplier has left'`,
		Args: cobra.NoArgs,
	}
	t.serverFlags(cmd)
	t.dataFlag(cmd)
	t.timeout = maxSampleTime
	d.add(cmd)
	cmd.Flags().StringVar(&file, "population", "", "`FILE` of the population")
	cmd.Flags().StringVarP(&out, "output", "o", "", "`FILE` to write the sample to")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case file == "":
			return errors.New("name the population: --population FILE (aver sample population writes it)")
		case d.nonce == "":
			return errors.New("a nonce is needed: --nonce NONCE, chosen by the auditor after the population was fixed")
		}
		doc, err := c.readPopulation(file)
		if err != nil {
			return err
		}
		what := &sampled{c: c}
		if t.server != "" || t.data != "" || c.env("AVER_SERVER") != "" && doc.Event != nil {
			if what, err = (&populationFlags{target: t}).open(c); err != nil {
				return err
			}
		}
		defer what.close()
		drawn, err := what.draw(cmd.Context(), doc, &d)
		if err != nil {
			return err
		}
		if out != "" {
			if err := c.writeOut(out, drawn); err != nil {
				return err
			}
		}
		if c.json {
			return c.printJSON(drawn)
		}
		c.printSample(drawn)
		return nil
	}
	return cmd
}

// maxPopulationFile bounds a population's file, in bytes.
const maxPopulationFile = 1 << 30

func (c *cli) readPopulation(file string) (*sample.Document, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxPopulationFile {
		err = fmt.Errorf("%s is longer than %d bytes", file, maxPopulationFile)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	d, err := readDocument(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return d, nil
}

func (c *cli) printSample(s *sample.Sample) {
	c.printf("%s sample of %s, nonce %s\n", s.Method, plural(uint64(len(s.Rows)), "row", "rows"), s.Nonce)
	c.printf("seed %s\n", s.Seed)
	for _, stratum := range s.Drawn.Strata {
		c.printf("  %s: %d of %d\n", stratum.Value, stratum.Drawn, stratum.Count)
	}
	for i, item := range s.Items {
		c.printf("%4d  entry %d  %s  %s  %s\n", i+1, item.Index, item.ID, timeText(item.Time), item.Outcome)
	}
	for _, d := range s.Discarded {
		c.printf("   -  entry %d  set aside: %s\n", d.Index, d.Why)
	}
	if s.EarlierDraws != nil && *s.EarlierDraws > 0 {
		c.printf("%s drawn from this population before\n", plural(uint64(*s.EarlierDraws), "sample was", "samples were"))
	}
}
