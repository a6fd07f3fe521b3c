package verify

import (
	"iter"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger"
)

// Following is a log that is read while a server may be writing it, beside another log that cites it. What was committed
// last shows to readers a moment later than to the server, so a citation can be ahead of what this reader has: then it
// looks again, for a few seconds in all. Safe for concurrent use.
type Following struct {
	*ledger.Reader
	mu       sync.Mutex
	patience time.Duration
}

// Follow returns log as one that is looked at again when more of it is asked for than it shows.
func Follow(log *ledger.Reader) *Following {
	// Checkpoints come every second, and settle what is committed.
	return &Following{Reader: log, patience: 5 * time.Second}
}

const lookEvery = 50 * time.Millisecond

// Entries is [ledger.Reader.Entries], of entries that may have come since.
func (f *Following) Entries(from, to uint64) iter.Seq2[ledger.Indexed, error] {
	if err := f.await(to); err != nil {
		return func(yield func(ledger.Indexed, error) bool) { yield(ledger.Indexed{Index: from}, err) }
	}
	return f.Reader.Entries(from, to)
}

// TreeHash is [ledger.Reader.TreeHash], of a tree that may have grown since.
func (f *Following) TreeHash(size uint64) (tlog.Hash, error) {
	if err := f.await(size); err != nil {
		return tlog.Hash{}, err
	}
	return f.Reader.TreeHash(size)
}

// await looks again until there are size entries. That there are fewer in the end is for the caller to find.
func (f *Following) await(size uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if have, _ := f.Head(); have >= size || f.patience <= 0 {
			return nil
		}
		if err := f.Refresh(); err != nil {
			return err
		}
		if have, _ := f.Head(); have < size {
			time.Sleep(lookEvery)
			f.patience -= lookEvery
		}
	}
}
