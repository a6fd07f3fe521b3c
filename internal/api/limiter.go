package api

import (
	"sync"
	"time"
)

// limiter holds each of many parties to a rate: a bucket of tokens for each, which fills again as time passes. Safe for
// concurrent use.
type limiter struct {
	rate, burst float64 // tokens a second, and at most
	most        int     // parties that are remembered

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// take takes a token of a party, and tells how long to wait if there is none.
func (l *limiter) take(party string, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.look(party, now)
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) / l.rate * float64(time.Second)), false
	}
	b.tokens--
	l.keep(party, b, now)
	return 0, true
}

// left tells whether a party has a token, and how long to wait if not.
func (l *limiter) left(party string, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.look(party, now)
	return time.Duration((1 - b.tokens) / l.rate * float64(time.Second)), b.tokens >= 1
}

func (l *limiter) look(party string, now time.Time) bucket {
	b, ok := l.buckets[party]
	if !ok {
		return bucket{l.burst, now}
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens, b.at = min(l.burst, b.tokens+passed.Seconds()*l.rate), now
	}
	return b
}

func (l *limiter) keep(party string, b bucket, now time.Time) {
	if l.buckets == nil {
		l.buckets = map[string]bucket{}
	}
	if _, known := l.buckets[party]; !known && len(l.buckets) >= l.most {
		for other := range l.buckets { // those that are full again need not be remembered
			if l.look(other, now).tokens >= l.burst {
				delete(l.buckets, other)
			}
		}
		if len(l.buckets) >= l.most {
			clear(l.buckets)
		}
	}
	l.buckets[party] = b
}
