package verify

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/witness"
)

// Witnessed says up to where a witness that the reader named has cosigned a log.
type Witnessed struct {
	Name string `json:"name"`
	// Size of the checkpoint, at which the log here has the same root; 0: the witness has cosigned none of it.
	Size uint64    `json:"size"`
	Time aver.Time `json:"time,omitzero"` // when, by the witness's clock
}

// checkpoints compares the logs with checkpoints from elsewhere: those that the reader brought, which two histories under
// one key can't both have, and those that witnesses cosigned. Unwitnessed tells whether a witness whom the reader named
// has not cosigned one of the logs.
func (v *verifier) checkpoints(keys chosen, logs [2]*Log, dirs [2]string) (unwitnessed bool, err error) {
	witnesses := make([]*witness.Verifier, len(v.o.Witnesses))
	for i, key := range v.o.Witnesses {
		if witnesses[i], err = witness.ParseKey(key); err != nil {
			return false, err
		}
	}
	kept := [2][]byte{}
	if kept[0], kept[1], err = datadir.Cosigned(v.o.Dir); err != nil {
		return false, err
	}
	used := make([]bool, len(v.o.Checkpoints))
	for i, k := range []key{keys.authority, keys.decisions} {
		known := [][]byte{}
		if kept[i] != nil {
			known = append(known, kept[i])
		}
		for j, cp := range v.o.Checkpoints {
			if origin, _, _ := bytes.Cut(cp, []byte("\n")); string(origin) == k.Origin {
				known, used[j] = append(known, cp), true
			}
		}
		if logs[i].Witnessed, err = v.compare(k, logs[i], dirs[i], known, witnesses); err != nil {
			return false, err
		}
		for _, w := range logs[i].Witnessed {
			unwitnessed = unwitnessed || w.Size == 0
		}
	}
	for j := range used {
		if !used[j] {
			return false, errors.New("a checkpoint that you brought is of neither of these logs")
		}
	}
	return unwitnessed, nil
}

// compare checks checkpoints against one log, and lists up to where each witness has cosigned it.
func (v *verifier) compare(k key, log *Log, dir string, checkpoints [][]byte, witnesses []*witness.Verifier) ([]Witnessed, error) {
	out := make([]Witnessed, len(witnesses))
	for i, w := range witnesses {
		out[i].Name = w.Name()
	}
	if len(checkpoints) == 0 {
		return out, nil
	}
	reader, err := ledger.OpenReader(dir, ledger.Options{Origin: k.Origin, Verifier: k.Verifier})
	if err != nil {
		return out, nil // the log's own report says what is wrong with it
	}
	defer reader.Close()
	wrong := func(format string, args ...any) {
		log.Findings = append(log.Findings, ledger.Finding{Offset: -1, What: fmt.Sprintf(format, args...)})
	}
	for _, cp := range checkpoints {
		size, root, err := ledger.ParseCheckpoint(cp, k.Origin, k.Verifier)
		if err != nil {
			wrong("a checkpoint from elsewhere: %s", err)
			continue
		}
		here, err := reader.TreeHash(size)
		switch {
		case errors.Is(err, ledger.ErrNotFound):
			wrong("the log's key has signed a checkpoint of %d entries, which lie elsewhere, and here are fewer: this is an older copy, or another history", size)
			continue
		case err != nil:
			return nil, err
		case here != root:
			wrong("TWO HISTORIES UNDER ONE KEY: a checkpoint of %d entries from elsewhere, signed by this log's key, has the root %s, and here it is %s", size, root, here)
			continue
		}
		for i, w := range witnesses {
			if at, err := w.Cosigned(cp); err == nil && size > out[i].Size {
				out[i].Size, out[i].Time = size, aver.TimeOf(at.Truncate(time.Second))
			}
		}
	}
	return out, nil
}
