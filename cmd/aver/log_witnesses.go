package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/witness"
)

func (c *cli) logWitnesses() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:   "witnesses",
		Short: "Show which witnesses cosign the logs, and how far they are",
		Long: `Witnesses cosign checkpoints, so that the operator can't show two histories (C2SP tlog-witness). They
are configured in witnesses.yaml in the data directory. From a server it shows what their last answers
were; from a data directory what was kept of them.

Exit status: 1 if a witness has seen another history of a log under its key.`,
		Example: "  aver log witnesses\n  aver log witnesses --data ./data --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		logs, err := s.Witnesses(ctx)
		if err != nil {
			return err
		}
		bad := false
		var rows [][]string
		for _, name := range []client.LogName{client.Authority, client.Decisions} {
			for _, w := range logs[name].Witnesses {
				state, last := "cosigns", "-"
				switch {
				case w.OtherHistory:
					state, bad = "HAS SEEN ANOTHER HISTORY", true
				case w.Error != "":
					state = w.Error
				case w.Size == 0:
					state = "has not cosigned yet"
				}
				if !w.Last.IsZero() {
					last = w.Last.UTC().Format("2006-01-02 15:04:05Z")
				}
				rows = append(rows, []string{string(name), w.Name, fmt.Sprint(w.Size), last, state})
			}
		}
		if c.json {
			err = c.printJSON(logs)
		} else {
			err = c.table("no witnesses are configured", []string{"LOG", "WITNESS", "COSIGNED", "LAST", "STATE"}, rows)
		}
		if err == nil && bad {
			err = &wrongError{}
		}
		return err
	})
}

// Witnesses says what was kept of the witnesses that are configured.
func (d *directory) Witnesses(context.Context) (map[client.LogName]client.WitnessStatus, error) {
	text, err := os.ReadFile(datadir.WitnessesFile(d.path))
	if errors.Is(err, fs.ErrNotExist) {
		return map[client.LogName]client.WitnessStatus{}, nil
	}
	if err != nil {
		return nil, err
	}
	config, err := witness.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", datadir.WitnessesFile(d.path), err)
	}
	out := map[client.LogName]client.WitnessStatus{}
	for _, name := range []client.LogName{client.Authority, client.Decisions} {
		checkpoint, size, err := d.cosigned(name)
		if err != nil {
			return nil, err
		}
		_, key := d.log(name)
		status := client.WitnessStatus{Origin: key.Origin, Quorum: config.Quorum, Size: size}
		for _, w := range config.Witnesses {
			v, err := witness.ParseKey(w.Key)
			if err != nil {
				return nil, err
			}
			one := client.WitnessMember{Name: v.Name(), Key: w.Key, URL: w.URL}
			if at, err := v.Cosigned(checkpoint); err == nil && size > 0 {
				one.Size, one.Last = size, at.Truncate(time.Second)
			}
			status.Witnesses = append(status.Witnesses, one)
		}
		out[name] = status
	}
	return out, nil
}

// cosigned is the last checkpoint of a log that a quorum of witnesses has cosigned, and its size; 0 if there is none.
func (d *directory) cosigned(name client.LogName) ([]byte, uint64, error) {
	authority, decisions, err := datadir.Cosigned(d.path)
	if err != nil {
		return nil, 0, err
	}
	checkpoint := decisions
	if name == client.Authority {
		checkpoint = authority
	}
	if checkpoint == nil {
		return nil, 0, nil
	}
	_, key := d.log(name)
	size, _, err := ledger.ParseCheckpoint(checkpoint, key.Origin, key.Verifier)
	return checkpoint, size, err
}

func (d *directory) WitnessedDecisionProof(_ context.Context, evaluationID string) (*client.Proof, error) {
	index, err := d.find(evaluationID)
	if err != nil {
		return nil, err
	}
	return d.proveWitnessed(client.Decisions, index)
}

func (d *directory) WitnessedEventProof(_ context.Context, index uint64) (*client.Proof, error) {
	return d.proveWitnessed(client.Authority, index)
}

// proveWitnessed proves an entry in the tree of the last checkpoint that witnesses have cosigned.
func (d *directory) proveWitnessed(name client.LogName, index uint64) (*client.Proof, error) {
	log, key := d.log(name)
	checkpoint, size, err := d.cosigned(name)
	if err != nil {
		return nil, err
	}
	if index >= size {
		return nil, fmt.Errorf("no checkpoint that witnesses have cosigned covers entry %d: they have cosigned %d entries", index, size)
	}
	leaf, err := log.Leaf(index)
	if err != nil {
		return nil, err
	}
	hashes, err := log.InclusionProof(index, size)
	if err != nil {
		return nil, err
	}
	return &client.Proof{Origin: key.Origin, Index: index, Leaf: leaf, LeafHash: tlog.RecordHash(leaf).String(),
		Proof: texts(hashes), Checkpoint: string(checkpoint)}, nil
}
