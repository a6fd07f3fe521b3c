package ledger

import "time"

// rhythm is what the committer knows of those who append: it decides how many it lets share a commit.
type rhythm struct {
	sync  time.Duration // how long a sync takes, on average
	pace  time.Duration // from one entry to the next, on average
	taken time.Time     // when the last group was
	last  int           // entries in it
}

// expect tells how many entries to wait for and how long at most, when so many others came while the last group was
// written, and then nobody for a while: who was answered may ask again at once, as every caller does that has the next
// request at hand. To wait is worth it while several entries come in the time of a sync, since each that comes along
// saves one. Who is alone never waits.
func (r *rhythm) expect(waiting int, idle time.Duration) (entries int, patience time.Duration) {
	if 2*r.pace > r.sync || idle > gatherFor {
		return 0, 0
	}
	entries = min(r.last+waiting, gatherMost)
	return entries, min(2*time.Duration(entries)*r.pace, gatherFor)
}

// took notes that a group was taken.
func (r *rhythm) took(entries int) {
	now := time.Now()
	r.pace += (min(now.Sub(r.taken), time.Second)/time.Duration(entries) - r.pace) / 8
	r.taken, r.last = now, entries
}

// synced notes how long a sync took.
func (r *rhythm) synced(d time.Duration) { r.sync += (d - r.sync) / 8 }

const (
	gatherMost = 256              // entries that are worth a sync of their own
	gatherFor  = time.Millisecond // the longest that anybody waits for others
)
