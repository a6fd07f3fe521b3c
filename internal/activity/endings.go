package activity

import (
	"crypto/rand"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/aver-authz/aver"
)

// endings are the open authorizations that have ended, in the order in which that
// was found. The tracker's lock guards them.
type endings struct {
	epoch   string // of this start: numbers of another mean nothing
	list    []*ending
	last    uint64
	changed chan struct{} // closed when there is one more
	stopped bool
}

type ending struct {
	seq uint64
	*authorization
	lapse aver.Lapse
}

func (e *endings) init() {
	e.epoch, e.changed = strings.ToLower(rand.Text()[:10]), make(chan struct{})
}

func (e *endings) add(a *authorization, lapse aver.Lapse) {
	e.last++
	a.ending = &ending{e.last, a, lapse}
	e.list = append(e.list, a.ending)
	e.wake()
}

func (e *endings) wake() {
	if !e.stopped {
		close(e.changed)
		e.changed = make(chan struct{})
	}
}

// forget lets go of those that are over, and of the oldest beyond the bound.
func (e *endings) forget(most int) {
	n := 0
	for n < len(e.list) && (e.list[n].closed || len(e.list)-n > most) {
		n++
	}
	e.list = e.list[n:]
}

func (t *Tracker) cursor(seq uint64) string { return fmt.Sprintf("%s.%d", t.ended.epoch, seq) }

// position returns the number that a cursor stands for. A cursor of an earlier
// start stands for the beginning: better told twice than never.
func (t *Tracker) position(cursor string) uint64 {
	epoch, text, _ := strings.Cut(cursor, ".")
	seq, err := strconv.ParseUint(text, 10, 63)
	if err != nil || epoch != t.ended.epoch {
		return 0
	}
	return seq
}

// withdrawalsAtOnce bounds one answer.
const withdrawalsAtOnce = 1000

// Withdrawals returns what has ended, behind a cursor, of the authorizations that
// a credential holds, and of these, if an instance is named, that one's; the
// cursor behind them; and a channel that closes when there may be more. More
// tells that there is more already. The channel is nil once the tracker is closed.
func (t *Tracker) Withdrawals(credential, instance, cursor string) (list []aver.Withdrawal, next string, more bool, changed <-chan struct{}) {
	t.listen(credential)
	t.mu.Lock()
	defer t.mu.Unlock()
	after := t.position(cursor)
	all := t.ended.list
	from := sort.Search(len(all), func(i int) bool { return all[i].seq > after })
	for _, e := range all[from:] {
		if e.closed || e.pep.Credential != credential || instance != "" && e.pep.Instance != instance {
			continue
		}
		if len(list) == withdrawalsAtOnce {
			more = true
			break
		}
		after = e.seq
		list = append(list, aver.Withdrawal{
			Cursor: t.cursor(e.seq), EvaluationID: e.id, DecidedAt: e.decided, Instance: e.pep.Instance, Lapse: e.lapse,
		})
	}
	if !more {
		after = t.ended.last
	}
	if t.ended.stopped {
		return list, t.cursor(after), more, nil
	}
	return list, t.cursor(after), more, t.ended.changed
}

// closeStreams wakes all who wait for withdrawals, for the last time.
func (t *Tracker) closeStreams() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended.wake() // nothing, if it was stopped before
	t.ended.stopped = true
}
