package activity

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/aver-authz/aver"
)

const (
	instancesKept = 10_000
	rangesKept    = 1_000 // of one instance; the oldest gaps are counted and not listed beyond that
	gapsListed    = 100
	examples      = 100
)

// gaps are the numbers that instances of PEPs gave to their requests, and counts
// of what was found about activities. The tracker's lock guards them.
type gaps struct {
	since      aver.Time
	whole      bool // nothing lies before since
	silent     aver.Time
	of         map[[2]string]*instance // by credential and instance
	activities map[aver.ActivityStatus]uint64
	findings   map[aver.FindingCode]uint64
}

type instance struct {
	pep      aver.PEP
	first    uint64
	seen     [][2]uint64 // ranges of numbers, both ends included, in order, apart
	gone     uint64      // missing numbers before the first range
	lastSeen aver.Time
	beat     aver.Heartbeat
	beatAt   aver.Time
}

func (g *gaps) init(silent time.Duration) {
	g.silent = aver.Time(silent.Milliseconds())
	g.of = map[[2]string]*instance{}
	g.activities, g.findings = map[aver.ActivityStatus]uint64{}, map[aver.FindingCode]uint64{}
	for _, s := range aver.ActivityStatuses() {
		g.activities[s] = 0
	}
	for _, c := range aver.FindingCodes() {
		g.findings[c] = 0
	}
}

// saw notes a request of an instance.
func (g *gaps) saw(pep aver.PEP, at aver.Time) {
	if pep.Instance == "" {
		return
	}
	in := g.instance(pep)
	in.lastSeen = max(in.lastSeen, at)
	if pep.Sequence != 0 {
		g.number(in, pep.Sequence)
	}
}

func (g *gaps) instance(pep aver.PEP) *instance {
	key := [2]string{pep.Credential, pep.Instance}
	in := g.of[key]
	if in == nil {
		if len(g.of) >= instancesKept {
			g.forgetOne()
		}
		in = &instance{pep: pep}
		g.of[key] = in
	}
	return in
}

// forgetOne lets go of the instance that was silent for longest.
func (g *gaps) forgetOne() {
	var oldest *instance
	for _, in := range g.of {
		if oldest == nil || in.lastSeen < oldest.lastSeen {
			oldest = in
		}
	}
	delete(g.of, [2]string{oldest.pep.Credential, oldest.pep.Instance})
	g.whole = false // if it comes back, it does not begin at 1
}

func (g *gaps) number(in *instance, n uint64) {
	if in.first == 0 {
		in.first = n
		if g.whole {
			in.first = 1
		}
	}
	// The first range that ends at n-1 or later.
	i := sort.Search(len(in.seen), func(i int) bool { return in.seen[i][1]+1 >= n })
	switch {
	case i == len(in.seen):
		in.seen = append(in.seen, [2]uint64{n, n})
	case in.seen[i][0] > n+1:
		in.seen = slices.Insert(in.seen, i, [2]uint64{n, n})
	default:
		in.seen[i][0], in.seen[i][1] = min(in.seen[i][0], n), max(in.seen[i][1], n)
		if i+1 < len(in.seen) && in.seen[i+1][0] == in.seen[i][1]+1 {
			in.seen[i][1] = in.seen[i+1][1]
			in.seen = slices.Delete(in.seen, i+1, i+2)
		}
	}
	in.first = min(in.first, in.seen[0][0])
	if len(in.seen) > rangesKept {
		in.gone += in.seen[1][0] - in.seen[0][1] - 1
		in.seen[1][0] = in.seen[0][0]
		in.seen = slices.Delete(in.seen, 0, 1)
	}
}

// missing returns the numbers that did not arrive: how many, and the ranges.
func (in *instance) missing() (n uint64, ranges [][2]uint64, last uint64) {
	n = in.gone
	at := in.first
	add := func(to uint64) { // the numbers from at to to are missing
		if at <= to {
			n += to - at + 1
			ranges = append(ranges, [2]uint64{at, to})
		}
	}
	for _, r := range in.seen {
		if r[0] > at {
			add(r[0] - 1)
		}
		at, last = r[1]+1, r[1]
	}
	if said := in.beat.Sequence; said > last {
		if in.first == 0 {
			at = 1
		}
		add(said)
		last = said
	}
	return n, ranges, last
}

// found counts a recorded activity.
func (g *gaps) found(a *aver.Activity) {
	g.activities[a.Status]++
	for _, f := range a.Findings {
		g.findings[f.Code]++
	}
}

// Heartbeat takes in what an instance of a credential says about itself. It is
// kept in memory only: it is no evidence, and the next one comes soon.
func (t *Tracker) Heartbeat(credential string, h *aver.Heartbeat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.gaps.instance(aver.PEP{Credential: credential, Instance: h.Instance})
	in.beatAt = aver.TimeOf(t.o.Now())
	in.beat, in.lastSeen = *h, max(in.lastSeen, in.beatAt)
}

// Reconcile says what is missing. Permits that are older are counted as without
// outcome. Instances are listed by credential and name, up to a bound.
func (t *Tracker) Reconcile(older time.Duration, listed int) aver.Reconciliation {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := aver.TimeOf(t.o.Now())
	out := aver.Reconciliation{
		Since: t.gaps.since, Open: len(t.open), OlderThan: int64(older.Seconds()), Dropped: t.dropped, Examples: []string{},
		Activities: map[aver.ActivityStatus]uint64{}, Findings: map[aver.FindingCode]uint64{}, Instances: []aver.PEPInstance{},
		Orphans: t.gaps.findings[aver.FindingNoDecision],
	}
	for s, n := range t.gaps.activities {
		out.Activities[s] = n
	}
	for c, n := range t.gaps.findings {
		out.Findings[c] = n
	}
	for _, a := range t.order {
		if a.closed {
			continue
		}
		if a.ending != nil {
			out.Withdrawn++
		}
		if a.decided+aver.Time(older.Milliseconds()) <= now {
			out.WithoutOutcome++
			if len(out.Examples) < examples {
				out.Examples = append(out.Examples, a.id)
			}
		}
	}
	for _, in := range t.gaps.of {
		n, ranges, last := in.missing()
		if len(ranges) > gapsListed {
			ranges = ranges[len(ranges)-gapsListed:]
		}
		out.Instances = append(out.Instances, aver.PEPInstance{
			Credential: in.pep.Credential, Instance: in.pep.Instance, First: in.first, Last: last, Missing: n, Gaps: ranges,
			LastSeen: in.lastSeen, Silent: in.lastSeen+t.gaps.silent < now, Heartbeat: in.beatAt, Counts: in.beat.Counts,
		})
	}
	slices.SortFunc(out.Instances, func(a, b aver.PEPInstance) int {
		return cmp.Or(cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.Instance, b.Instance))
	})
	if len(out.Instances) > listed {
		out.Unlisted = len(out.Instances) - listed
		out.Instances = out.Instances[:listed]
	}
	return out
}
