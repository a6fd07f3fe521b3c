package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/verify"
)

func (c *cli) verify() *cobra.Command {
	var data string
	var keys, witnesses, checkpoints []string
	cmd := &cobra.Command{
		Use:   "verify --data DIR | FILE [--key VKEY ...]",
		Short: "Check that both logs, or an evidence pack, are whole, signed and consistent",
		Long: `Checks every byte of both logs: segments, tiles, checkpoints and signatures; that each leaf
commits to its payload; that the authority log's events may follow one another; and that every
decision cites the authority log by its true root. It reads only, and a server may run meanwhile.

Two verdicts, never one. Integrity: the logs are consistent with a key. Trust: it is the key that you
expected. The second needs the verifier keys (aver log key) from somebody you believe, given with --key;
without them the keys are those that lie in the directory itself, and trust is not established.
With --witness it takes the cosignatures of the witnesses that you name as well. With --checkpoint the
logs must lead to a checkpoint that you have from elsewhere, a witness or a mirror: so a second history
under the same key is caught.

With FILE, an evidence pack (aver pack), it checks that instead, ZIP or page: manifest, digests, checkpoints,
inclusion and consistency proofs, payloads, disclosures, policies; and decides every decision again. No script
of a page is run; whether it is a published one is told. Here the decision log's key is enough.

Exit status: 0 nothing wrong; 1 something is wrong, and it is named; 2 the check could not be made.`,
		Example: `  aver verify --data ./data
  aver verify --data ./data --key "$(cat authority.vkey)" --key "$(cat decisions.vkey)"
  aver verify --data ./data --json | jq .logs[].root
  aver verify --data ./data --key "$(cat decisions.vkey)" --witness "$(cat witness.vkey)" --checkpoint from-mirror.txt
  aver verify denials.html --key "$(cat decisions.vkey)"`,
		Args: between(0, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && data != "":
				return errors.New("give --data DIR or the FILE of a pack, not both")
			case len(args) == 1:
				return c.verifyPack(cmd.Context(), args[0], evidence.Options{Keys: keys, Witnesses: witnesses})
			case data == "":
				return errNoData
			}
			o := verify.Options{Dir: data, Keys: keys, Witnesses: witnesses}
			for _, name := range checkpoints {
				text, err := c.readInput(name)
				if err != nil {
					return err
				}
				o.Checkpoints = append(o.Checkpoints, text)
			}
			show, wipe := c.progress("bytes")
			o.Progress = show
			report, err := verify.Run(cmd.Context(), o)
			wipe()
			if err != nil {
				return err
			}
			if c.json {
				err = c.printJSON(report)
			} else {
				c.printVerified(report)
			}
			if err == nil && !report.OK {
				err = &wrongError{}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data directory `DIR`")
	cmd.Flags().StringArrayVar(&witnesses, "witness", nil, "a witness's verifier key `VKEY`: it must have cosigned both logs, or both checkpoints of the pack")
	cmd.Flags().StringArrayVar(&checkpoints, "checkpoint", nil, "a `FILE` with a signed checkpoint of one of the logs that you have from elsewhere: the log must lead to it")
	cmd.Flags().StringArrayVar(&keys, "key", nil, "a verifier key `VKEY` that you trust (C2SP signed-note); repeat for the other log")
	return cmd
}

var errNoData = errors.New("no data directory was named: give --data DIR")

func (c *cli) printVerified(r verify.Report) {
	for _, log := range r.Logs {
		state := "ok"
		if !log.OK() {
			state = "WRONG"
		}
		c.printf("%s: %s\n", log.Origin, state)
		c.printf("  %s, root %s\n", plural(log.Size, "entry", "entries"), log.Root)
		for _, w := range log.Witnessed {
			if w.Size == 0 {
				c.printf("  NOT cosigned by the witness %s\n", w.Name)
			} else {
				c.printf("  cosigned by the witness %s: the first %s, %s\n", w.Name, plural(w.Size, "entry", "entries"), timeText(w.Time))
			}
		}
		for _, f := range log.Findings {
			c.printf("  wrong: %s\n", findingText(f))
		}
		for _, f := range log.Notes {
			c.printf("  note: %s\n", findingText(f))
		}
	}
	for _, e := range r.Erased {
		state := ""
		if !e.Completed {
			state = "; some of it may still be there"
		}
		c.printf("gone: %s of %s: %s%s\n", e.Kind, plural(e.Count, "entry", "entries"), e.Why, state)
	}
	if r.Integrity {
		c.printf("integrity: ok, both logs are consistent with their keys\n")
	} else {
		c.printf("integrity: WRONG, see above\n")
	}
	switch r.Trust {
	case verify.Trusted:
		c.printf("trust: established, both keys are those that you brought")
		if len(r.Logs[0].Witnessed) > 0 {
			c.printf(", and both logs are cosigned by the witnesses that you named")
		}
		c.printf("\n")
	case verify.Distrust:
		why := "a key that you brought is not that of a log here"
		for _, l := range r.Logs {
			if slices.ContainsFunc(l.Witnessed, func(w verify.Witnessed) bool { return w.Size == 0 }) {
				why = "a witness that you named has not cosigned"
			}
		}
		c.printf("trust: REFUSED, %s\n", why)
	case verify.Unchecked:
		which := "the keys come from the directory itself"
		if slices.ContainsFunc(r.Logs, func(l verify.Log) bool { return l.Brought }) {
			which = "one of the keys comes from the directory itself"
		}
		c.printf("trust: not established, %s; bring them with --key\n", which)
	}
}

func findingText(f ledger.Finding) string {
	text := f.String()
	if f.File == "" {
		text = f.What
	}
	if f.Index > 0 {
		text += fmt.Sprintf(" (entry %d)", f.Index)
	}
	return text
}
