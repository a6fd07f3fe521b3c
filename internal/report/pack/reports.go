package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/evidence"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/why"
)

// reports explains each decision as aver why does, with the values that are in
// the pack. Of one that rests on something withheld there is no explanation,
// since it would tell.
func (m *maker) reports(ctx context.Context) error {
	for _, d := range m.decisions {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !m.whole(d) {
			continue
		}
		st, err := m.states.At(d.record.Authority.Size)
		if err != nil {
			return err
		}
		x, err := why.Explain(st, d.record, d.disclosures, why.Place{
			Origin: originOf(m.DecisionsKey), Index: d.Index, LeafHash: tlog.RecordHash(d.Leaf).String(),
		})
		if err != nil {
			return err
		}
		m.files[evidence.WhyDir+"/"+d.leaf.ID+".txt"] = []byte(x.String())
	}
	return nil
}

// frames exports what Cedar was asked. Of a decision that rests on something
// withheld it says that it was skipped, and why.
func (m *maker) frames(ctx context.Context) error {
	whole := map[uint64]bool{}
	entries := func(yield func(ledger.Indexed, error) bool) {
		for _, d := range m.decisions {
			whole[d.Index] = m.whole(d)
			e := d.Indexed
			e.Private = nil
			if len(d.disclosures) > 0 {
				e.Private, _ = json.Marshal(d.disclosures) // a list of strings
			}
			if !yield(e, nil) {
				return
			}
		}
	}
	withheld := func(index uint64) string {
		if whole[index] {
			return ""
		}
		return "something that it rests on is withheld or gone"
	}
	var out bytes.Buffer
	summary, err := m.states.ExportFrames(ctx, entries, withheld, &out)
	if err != nil {
		return fmt.Errorf("frames: %w", err)
	}
	m.out.Frames, m.files[evidence.FramesFile] = summary.Frames, out.Bytes()
	return nil
}
