package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"

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
	var out bytes.Buffer
	var skipped bytes.Buffer
	skips := 0
	entries := func(yield func(ledger.Indexed, error) bool) {
		for _, d := range m.decisions {
			if !m.whole(d) {
				line, err := json.Marshal(map[string]any{"skipped": d.leaf.ID, "index": d.Index, "reason": "something that it rests on is withheld or gone"})
				if err != nil {
					yield(d.Indexed, err)
					return
				}
				skips++
				skipped.Write(append(line, '\n'))
				continue
			}
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
	summary, err := m.states.ExportFrames(ctx, iter.Seq2[ledger.Indexed, error](entries), &out)
	if err != nil {
		return fmt.Errorf("frames: %w", err)
	}
	m.out.Frames = summary.Frames
	// The last line counts those that were left out, too.
	content := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	content = content[:bytes.LastIndexByte(content, '\n')+1]
	content = append(content, skipped.Bytes()...)
	content = fmt.Appendf(content, "{\"end\":{\"decisions\":%d,\"frames\":%d,\"skipped\":%d}}\n", len(m.decisions), summary.Frames, int(summary.Skipped)+skips)
	m.files[evidence.FramesFile] = content
	return nil
}
