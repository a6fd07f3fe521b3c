package replay

import (
	"iter"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
)

// Log is a log to read: of a running server, or of a data directory.
type Log interface {
	Head() (size uint64, root tlog.Hash)
	TreeHash(size uint64) (tlog.Hash, error)
	Entry(i uint64) (ledger.Entry, error)
	Entries(from, to uint64) iter.Seq2[ledger.Indexed, error]
}

// StateAt folds the first size events of the authority log.
func StateAt(log Log, size uint64) (*authority.State, error) {
	return authority.Fold(authority.New(), events(log, size))
}

func events(log Log, size uint64) iter.Seq2[*aver.Event, error] {
	return pap.Events(log.Entries(0, size))
}

// states hands out the authority state at any size. Records cite sizes that
// grow nearly always, so it folds forward and remembers the latest few.
type states struct {
	log Log
	// whatIf turns each state into the one to decide with; nil: as it was.
	whatIf func(*authority.State) *authority.State

	mu     sync.Mutex
	latest *authority.State
	recent map[uint64]*version

	lately sync.Once // folds the whole log, for what came after all decisions
	now    *authority.State
	nowErr error
}

// version is the authority at one size.
type version struct {
	state *authority.State
	root  string
}

// statesKept bounds how many states are remembered. Records that are older than
// that many events cost a fold from the beginning each.
const statesKept = 512

func newStates(log Log, whatIf func(*authority.State) *authority.State) *states {
	return &states{log: log, whatIf: whatIf, latest: authority.New(), recent: map[uint64]*version{}}
}

// cited returns the authority that a record's payload cites; nil if none does. All of
// the record is read by whoever decides it again.
func (s *states) cited(payload []byte) (*version, error) {
	head, ok := aver.CitedAuthority(payload)
	if !ok {
		return nil, nil
	}
	return s.at(head.Size)
}

func (s *states) at(size uint64) (*version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.recent[size]; ok {
		return v, nil
	}
	from := s.latest
	if size < from.Size() {
		from = authority.New()
	}
	state, err := authority.Fold(from, pap.Events(s.log.Entries(from.Size(), size)))
	if err != nil {
		return nil, err
	}
	root, err := s.log.TreeHash(size)
	if err != nil {
		return nil, err
	}
	if size > s.latest.Size() {
		s.latest = state
	}
	v := &version{state: state, root: root.String()}
	if s.whatIf != nil {
		v.state = s.whatIf(state)
	}
	if len(s.recent) >= statesKept {
		oldest := size
		for n := range s.recent {
			oldest = min(oldest, n)
		}
		delete(s.recent, oldest)
	}
	s.recent[size] = v
	return v, nil
}
