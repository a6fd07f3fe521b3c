package pdp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
)

// usage is the usage of limits as of a generation of the decision log. It
// follows from the log alone.
type usage struct {
	Usage
	generation uint64
	saved      uint64 // the size of the log that the file has it for
}

func (u *usage) add(counters []aver.Counter) {
	for _, c := range counters {
		u.Usage[LimitKey{c.Grant, c.Name}] = c.After
	}
}

// usageFile is a saved usage. It holds for the log with this root at this size
// and is worth nothing for any other.
type usageFile struct {
	Size uint64       `json:"size"`
	Root string       `json:"root"`
	Used []usageEntry `json:"used"`
}

type usageEntry struct {
	Grant string `json:"grant"`
	Name  string `json:"name"`
	Used  int64  `json:"used"`
}

// loadUsage reads the saved usage, if it belongs to this log, and adds what the
// log has since. Records that were erased are known by what was carried over of
// them: what was used stays used.
func loadUsage(log *ledger.Log, file string, carried []aver.Counter, logger *slog.Logger) (*usage, error) {
	generation := log.Generation()
	size, _ := log.Head()
	u := &usage{Usage: Usage{}, generation: generation}
	from := uint64(0)
	saved, err := readUsage(file)
	switch {
	case err == nil && saved.Size <= size && rootIs(log, saved):
		for _, e := range saved.Used {
			u.Usage[LimitKey{e.Grant, e.Name}] = e.Used
		}
		from, u.saved = saved.Size, saved.Size
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		logger.Warn("the saved usage of limits can't be read; reading the log instead", "error", err)
	}
	for e, err := range log.Entries(from, size) {
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(e.Payload, []byte(`"counters":[`)) {
			continue
		}
		record, err := aver.ParseRecord(e.Payload)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		u.add(record.Decision.Counters)
	}
	for _, c := range carried {
		key := LimitKey{c.Grant, c.Name}
		u.Usage[key] = max(u.Usage[key], c.After)
	}
	return u, nil
}

func rootIs(log *ledger.Log, saved usageFile) bool {
	root, err := log.TreeHash(saved.Size)
	return err == nil && root.String() == saved.Root
}

func readUsage(file string) (u usageFile, err error) {
	if file == "" {
		return u, fs.ErrNotExist
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return u, err
	}
	return u, json.Unmarshal(text, &u)
}

// When the usage is saved: what a start after a crash has to read is what came since.
const (
	keepEvery = 50_000          // entries
	keepCheck = 5 * time.Second // how often is looked whether there are so many
	keepRetry = time.Minute     // after a failure
)

// KeepUsage saves the usage of limits every so many entries until ctx ends, so that a start after a crash need not
// read the whole log either.
func (p *Point) KeepUsage(ctx context.Context) {
	for p.o.UsageFile != "" && ctx.Err() == nil {
		wait := keepCheck
		if err := p.keep(ctx, keepEvery); err != nil && ctx.Err() == nil {
			p.o.Logger.Warn("the usage of limits can't be saved; the next start may have to read more of the log", "error", err)
			wait = keepRetry
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// keep saves the usage as of now, while others decide, if there are so many entries since it was.
func (p *Point) keep(ctx context.Context, every uint64) error {
	st, _ := p.o.State()
	p.counted.Lock()
	if err := p.renewUsage(st); err != nil {
		p.counted.Unlock()
		return err
	}
	used, last := p.usage, p.last
	size, _ := p.log.Head() // whatever counts before it is in used, and after it up to last as well
	if size-used.saved < every {
		p.counted.Unlock()
		return nil
	}
	copied := usage{Usage: maps.Clone(used.Usage)}
	p.counted.Unlock()
	if last != nil {
		if _, err := last.Wait(ctx); err != nil { // and with it, what counted may be gone
			return err
		}
		size = max(size, last.Index()+1)
	}
	root, err := p.log.TreeHash(size)
	if err != nil {
		return err
	}
	if err := copied.save(size, root, p.o.UsageFile); err != nil {
		return err
	}
	p.counted.Lock()
	used.saved = size
	p.counted.Unlock()
	return nil
}

// renewUsage reads the usage again if records were dropped by a failure of the disk: their uses never were. The lock
// is held.
func (p *Point) renewUsage(st *authority.State) error {
	if p.usage.generation == p.log.Generation() {
		return nil
	}
	fresh, err := loadUsage(p.log, p.o.UsageFile, st.ErasedCounters(), p.o.Logger)
	if err != nil {
		return fmt.Errorf("usage of limits: %w", err)
	}
	p.usage, p.last = fresh, nil
	return nil
}

// save writes the usage as of a size of the log, with the root that it has there.
func (u *usage) save(size uint64, root tlog.Hash, file string) error {
	out := usageFile{Size: size, Root: root.String(), Used: []usageEntry{}}
	if root == (tlog.Hash{}) && size > 0 {
		return errors.New("the log has no root")
	}
	for key, used := range u.Usage {
		out.Used = append(out.Used, usageEntry{key.Grant, key.Name, used})
	}
	text, err := json.Marshal(out)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".usage-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err := temp.Write(text); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), file)
}
