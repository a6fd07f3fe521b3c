package authority

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
)

// Signal is a signal that is in force: nothing newer was said of the same.
type Signal struct {
	aver.Signal
	Mark // of the event that received it

	record types.Record
}

// Record is what policies see of the signal.
func (g *Signal) Record() types.Record { return g.record }

// Bounds of what is kept of signals.
const (
	maxSignals        = 100_000                       // in force, of each source
	maxSignalIDs      = 20_000                        // the latest, whose repetition is noticed by their ids
	sessionSignalKept = aver.Time(30 * 24 * 3600_000) // how long what is said of a session is kept; it has ended by then
)

// signals are what was received, as far as it counts.
type signals struct {
	about   table[aver.Ref, []*Signal] // in force; sorted by fact, then issuer of the session
	sources table[string, int]         // how many of each source are in force
	ids     table[signalID, uint64]    // the events that received the latest
	latest  queue[signalID]
	ending  queue[*Signal] // about sessions, in the order in which they are let go
}

type signalID struct{ source, id string }

func (s *signals) freeze() {
	s.about.freeze()
	s.sources.freeze()
	s.ids.freeze()
	s.latest.items.freeze()
	s.ending.items.freeze()
}

// queue is a list whose copies are cheap, that grows at one end and shrinks at the other.
type queue[V any] struct {
	items       table[uint64, V]
	first, next uint64
}

func (q *queue[V]) push(v V) {
	q.items.put(q.next, v)
	q.next++
}

func (q *queue[V]) pop() (V, bool) {
	v, ok := q.items.get(q.first)
	if ok {
		q.items.delete(q.first)
		q.first++
	}
	return v, ok
}

// head is the oldest.
func (q *queue[V]) head() (V, bool) { return q.items.get(q.first) }

// HasSignals tells whether any signal is in force.
func (s *State) HasSignals() bool { return s.signals.about.len > 0 }

// SignalsAbout lists the signals in force about a party, a session or a device. The list is not to be changed.
func (s *State) SignalsAbout(ref aver.Ref) []*Signal {
	if s.signals.about.len == 0 {
		return nil
	}
	list, _ := s.signals.about.get(ref)
	return list
}

// Disabled tells whether a signal in force says that a party's account was disabled or purged.
func (s *State) Disabled(who aver.Ref) bool {
	for _, g := range s.SignalsAbout(who) {
		if g.Fact == aver.FactAccount && g.Values["status"] != "enabled" {
			return true
		}
	}
	return false
}

// Signals lists all signals in force, in the order in which they were received.
func (s *State) Signals() []*Signal {
	var all []*Signal
	s.signals.about.each(func(_ aver.Ref, list []*Signal) { all = append(all, list...) })
	slices.SortFunc(all, func(a, b *Signal) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

// SignalReceived returns the event that received the signal of a source with an id, if it is among the latest.
func (s *State) SignalReceived(source, id string) (uint64, bool) {
	return s.signals.ids.get(signalID{source, id})
}

func (s *State) signalReceived(g *aver.Signal, m Mark) error {
	if err := g.Validate(); err != nil {
		return err
	}
	if _, err := cedarUID(g.About); err != nil {
		return fmt.Errorf("about: %w", err)
	}
	if who := SignalSource(m.By); g.Source != who {
		return fmt.Errorf("source: it was told by %q, not by %q", who, g.Source)
	}
	if (g.Token != nil) != (m.By.Method == aver.MethodSET) {
		return fmt.Errorf("token: what a transmitter sends comes with one, and nothing else does")
	}
	if g.At > m.Time+aver.SignalLeeway {
		return fmt.Errorf("at: %s is in the future", g.At)
	}
	if n, ok := s.SignalReceived(g.Source, g.ID); ok {
		return fmt.Errorf("signal %q of %s was received already, by event %d", g.ID, g.Source, n)
	}
	next := newSignal(*g, m)
	if count, _ := s.signals.sources.get(g.Source); count >= maxSignals && s.signals.known(next) == nil {
		return fmt.Errorf("%s has %d signals in force, and no more are taken", g.Source, count)
	}
	s.signals.forget(m.Time)
	s.signals.remember(signalID{g.Source, g.ID}, m.Event)
	if was := s.signals.known(next); was == nil || g.At >= was.At { // else it was received, and changes nothing
		s.signals.set(next)
	}
	return nil
}

// SignalSource is how somebody who tells signals is called in them.
func SignalSource(by aver.By) string {
	if by.Method == aver.MethodSET {
		return by.Name
	}
	return by.Principal().String()
}

func newSignal(g aver.Signal, m Mark) *Signal {
	record := types.RecordMap{"at": types.NewDatetimeFromMillis(int64(g.At)), "source": types.String(g.Source)}
	for name, value := range g.Values {
		record[types.String(name)] = types.String(value)
	}
	return &Signal{Signal: g, Mark: m, record: types.NewRecord(record)}
}

// same tells whether two signals speak of the same.
func (g *Signal) same(o *Signal) bool {
	return g.About == o.About && g.Fact == o.Fact && g.Issuer == o.Issuer
}

// known is the signal in force that speaks of the same, nil if none does.
func (s *signals) known(g *Signal) *Signal {
	list, _ := s.about.get(g.About)
	if i := slices.IndexFunc(list, g.same); i >= 0 {
		return list[i]
	}
	return nil
}

// set puts a signal in force.
func (s *signals) set(g *Signal) {
	s.drop(g)
	list, _ := s.about.get(g.About)
	list = append(slices.Clone(list), g)
	slices.SortFunc(list, func(a, b *Signal) int { return cmp.Or(cmp.Compare(a.Fact, b.Fact), cmp.Compare(a.Issuer, b.Issuer)) })
	s.about.put(g.About, list)
	n, _ := s.sources.get(g.Source)
	s.sources.put(g.Source, n+1)
	if g.About.Type == aver.SessionType {
		s.ending.push(g)
	}
}

// drop takes what speaks of the same as a signal out of force.
func (s *signals) drop(g *Signal) {
	was := s.known(g)
	if was == nil {
		return
	}
	if n, _ := s.sources.get(was.Source); n > 1 {
		s.sources.put(was.Source, n-1)
	} else {
		s.sources.delete(was.Source)
	}
	list, _ := s.about.get(g.About)
	if list = slices.DeleteFunc(slices.Clone(list), g.same); len(list) == 0 {
		s.about.delete(g.About)
	} else {
		s.about.put(g.About, list)
	}
}

// forget lets go of what was said of sessions that have ended long ago.
func (s *signals) forget(now aver.Time) {
	for {
		g, ok := s.ending.head()
		if !ok || now-g.Mark.Time < sessionSignalKept {
			return
		}
		s.ending.pop()
		if s.known(g) == g {
			s.drop(g)
		}
	}
}

func (s *signals) remember(id signalID, event uint64) {
	s.ids.put(id, event)
	s.latest.push(id)
	if s.ids.len > maxSignalIDs {
		old, _ := s.latest.pop()
		s.ids.delete(old)
	}
}

// snapshotSignalID is a line of a snapshot.
type snapshotSignalID struct {
	Source string `json:"source"`
	ID     string `json:"id"`
	Event  uint64 `json:"event"`
}

// receivedIDs lists the ids that are remembered, oldest first.
func (s *signals) receivedIDs() []snapshotSignalID {
	out := make([]snapshotSignalID, 0, s.ids.len)
	for n := s.latest.first; n < s.latest.next; n++ {
		id, _ := s.latest.items.get(n)
		event, _ := s.ids.get(id)
		out = append(out, snapshotSignalID{id.source, id.id, event})
	}
	return out
}
