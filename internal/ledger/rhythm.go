package ledger

import "time"

// rhythm is what the committer knows of those who append: it decides how many it lets share a commit.
type rhythm struct {
	sync  time.Duration // how long a sync takes, on average
	pace  time.Duration // from one entry to the next, on average
	taken time.Time     // when the last group was
}

// expect tells how many entries to wait for and how long at most, when the last group was of so many entries and others
// came while it was written: who was answered may ask again at once, as every caller does that has the next request at
// hand. To wait is worth it while several entries come in the time of a sync, since each that comes along saves one; who
// is alone never waits.
func (r *rhythm) expect(last, waiting int) (entries int, patience time.Duration) {
	if 2*r.pace > r.sync {
		return 0, 0
	}
	entries = min(last+waiting, gatherMost)
	return entries, min(2*time.Duration(entries)*r.pace, gatherFor)
}

// took notes that a group was taken.
func (r *rhythm) took(entries int) {
	now := time.Now()
	r.pace += (min(now.Sub(r.taken), time.Second)/time.Duration(entries) - r.pace) / 8
	r.taken = now
}

// synced notes how long a sync took.
func (r *rhythm) synced(d time.Duration) { r.sync += (d - r.sync) / 8 }

const (
	gatherMost = 256              // entries that are worth a sync of their own
	gatherFor  = time.Millisecond // the longest that anybody waits for others
)
