package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/client"
)

func (c *cli) log() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "log",
		Short: "Keys, checkpoints, proofs and entries of both logs",
		Long: `Aver keeps two logs, both C2SP tlog-tiles with signed checkpoints: "authority" holds every change of what
may be done, "decisions" every decision. These commands hand out what others need to check them.`,
		Example: `  aver log key > keys.txt
  aver log proof 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f
  aver log entries --log authority --data ./data | jq .payload.type`,
	}, c.logKey(), c.logCheckpoint(), c.logProof(), c.logEntries(), c.logWitnesses())
}

// logFlag is the log that a command is about.
type logFlag struct{ name string }

func (f *logFlag) add(cmd *cobra.Command) {
	names := oneOf(client.Authority, client.Decisions)
	cmd.Flags().StringVar(&f.name, "log", string(client.Decisions), "`NAME`: authority or decisions")
	_ = cmd.RegisterFlagCompletionFunc("log", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

func (f *logFlag) value() (client.LogName, error) {
	switch name := client.LogName(f.name); name {
	case client.Authority, client.Decisions:
		return name, nil
	}
	return "", fmt.Errorf("there is no log %q: it is authority or decisions", f.name)
}

func (c *cli) logKey() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:   "key",
		Short: "Print the verifier keys of both logs",
		Long: `Prints the verifier keys (C2SP signed-note), the authority log's first. Give them to everybody who is to
check the logs, by some other way than the logs themselves come: aver verify --key.`,
		Example: "  aver log key --data ./data\n  aver log key --json | jq -r .decisions",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		heads, err := s.Logs(ctx)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[client.LogName]string{
				client.Authority: heads[client.Authority].VerifierKey, client.Decisions: heads[client.Decisions].VerifierKey,
			})
		}
		c.printf("%s\n%s\n", heads[client.Authority].VerifierKey, heads[client.Decisions].VerifierKey)
		return nil
	})
}

func (c *cli) logCheckpoint() *cobra.Command {
	var f logFlag
	cmd := &cobra.Command{
		Use:     "checkpoint",
		Short:   "Print the latest signed checkpoint of a log",
		Long:    "Prints the latest signed checkpoint (C2SP tlog-checkpoint): who keeps it can prove later that the log\nwas only ever appended to, see aver log proof --consistency.",
		Example: "  aver log checkpoint > decisions.checkpoint\n  aver log checkpoint --log authority --data ./data",
		Args:    cobra.NoArgs,
	}
	f.add(cmd)
	return c.reads(cmd, func(ctx context.Context, s source, _ []string) error {
		name, err := f.value()
		if err != nil {
			return err
		}
		heads, err := s.Logs(ctx)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(heads[name])
		}
		if heads[name].Checkpoint == "" {
			return fmt.Errorf("the log %s has no signed checkpoint yet", heads[name].Origin)
		}
		c.printf("%s", heads[name].Checkpoint)
		return nil
	})
}

func (c *cli) logProof() *cobra.Command {
	var f logFlag
	var consistency, witnessed bool
	cmd := &cobra.Command{
		Use:   "proof EVALUATION_ID | EVENT_INDEX | --consistency OLD [NEW]",
		Short: "Prove that an entry is in a log, or that a log only grew",
		Long: `Prints a proof as JSON, with the signed checkpoint that it leads to: of a decision by its evaluation id; of
an event by its index, with --log authority; of a decision by its index, with --log decisions. With
--consistency, that the log of OLD entries is the beginning of that of NEW, by default of the latest
checkpoint. Hashes are RFC 6962's, in standard base64.`,
		Example: `  aver log proof 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f
  aver log proof 12 --log authority
  aver log proof --consistency 100 --log decisions`,
		Args: between(1, "an evaluation id or an index", "a second size"),
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&witnessed, "witnessed", false, "prove it in the last checkpoint that witnesses have cosigned")
	cmd.Flags().BoolVar(&consistency, "consistency", false, "prove that the log of OLD entries is the beginning of that of NEW")
	return c.reads(cmd, func(ctx context.Context, s source, args []string) error {
		name, err := f.value()
		if err != nil {
			return err
		}
		if consistency {
			var sizes [2]uint64
			for i, arg := range args {
				if sizes[i], err = parseIndex(arg); err != nil {
					return err
				}
			}
			proof, err := s.Consistency(ctx, name, sizes[0], sizes[1])
			if err != nil {
				return err
			}
			return c.printJSON(proof)
		}
		if len(args) > 1 {
			return errors.New("one entry is proved at a time; two sizes need --consistency")
		}
		id := args[0]
		index, err := parseIndex(id)
		var proof *client.Proof
		ofDecision, ofEvent := s.DecisionProof, s.EventProof
		if witnessed {
			ofDecision, ofEvent = s.WitnessedDecisionProof, s.WitnessedEventProof
		}
		switch {
		case err != nil:
			proof, err = ofDecision(ctx, id)
		case name == client.Authority:
			proof, err = ofEvent(ctx, index)
		default:
			if id, err = decisionAt(ctx, s, index); err != nil {
				return err
			}
			proof, err = ofDecision(ctx, id)
		}
		if err != nil {
			return err
		}
		return c.printJSON(proof)
	})
}

// decisionAt returns the evaluation id of the decision with that index.
func decisionAt(ctx context.Context, s source, index uint64) (string, error) {
	e, err := s.Entry(ctx, client.Decisions, index)
	if err != nil {
		return "", err
	}
	var leaf struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(e.Leaf, &leaf); err != nil {
		return "", fmt.Errorf("entry %d: %w", index, err)
	}
	return leaf.ID, nil
}

func parseIndex(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 62)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number of 0 or more", text)
	}
	return n, nil
}

func (c *cli) logEntries() *cobra.Command {
	var f logFlag
	var from, to uint64
	cmd := &cobra.Command{
		Use:   "entries",
		Short: "Print a log's entries, a JSON line each",
		Long: `Prints {"index": …, "leaf": …, "payload": …}, one line an entry, oldest first. Leaf and payload are the very
bytes of the log, so that the SHA-256 of the payload is the one that stands in its leaf.`,
		Example: `  aver log entries --data ./data | jq -r '.payload.decision.outcome' | sort | uniq -c
  aver log entries --log authority --from 10 --to 20`,
		Args: cobra.NoArgs,
	}
	f.add(cmd)
	cmd.Flags().Uint64Var(&from, "from", 0, "first entry, by its `INDEX`")
	cmd.Flags().Uint64Var(&to, "to", 0, "`INDEX` of the entry after the last; 0 is the end of the log")
	return c.reads(cmd, func(ctx context.Context, s source, _ []string) error {
		name, err := f.value()
		if err != nil {
			return err
		}
		out := bufio.NewWriter(c.out)
		defer out.Flush()
		for e, err := range s.Entries(ctx, name, from) {
			if err != nil {
				return err
			}
			if to > 0 && e.Index >= to {
				break
			}
			// Written by hand: the encoder would escape characters and so change the bytes.
			payload, erased := e.Payload, ""
			if len(e.Erased) > 0 {
				text, err := json.Marshal(e.Erased)
				if err != nil {
					return err
				}
				erased = `,"erased":` + string(text)
			}
			if len(payload) == 0 {
				payload = json.RawMessage("null")
			}
			if _, err := fmt.Fprintf(out, `{"index":%d,"leaf":%s,"payload":%s%s}`+"\n", e.Index, e.Leaf, payload, erased); err != nil {
				return err
			}
		}
		return nil
	})
}
