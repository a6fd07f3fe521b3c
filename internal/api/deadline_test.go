package api

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// No call's context ends before its time, though many share one, and none lasts
// much longer; afterwards nothing of it is left (else synctest finds who waits).
func TestSharedDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 15 * time.Second
		var d deadline
		contexts := map[context.Context]bool{}
		check := func(start time.Time) {
			ctx := d.after(start, timeout)
			contexts[ctx] = true
			end, ok := ctx.Deadline()
			if !ok || ctx.Err() != nil || end.Before(start.Add(timeout)) || end.After(start.Add(timeout+time.Second)) {
				t.Errorf("begun at %s, it ends at %s (%v)", start, end, ctx.Err())
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		check(time.Now())
		time.Sleep(time.Second - time.Nanosecond) // the last moment of the first context
		check(time.Now())
		time.Sleep(time.Nanosecond)
		check(time.Now())
		for range 1000 {
			time.Sleep(time.Duration(r.Int64N(int64(100 * time.Millisecond))))
			check(time.Now())
		}
		if len(contexts) > 60 { // in about 50 s
			t.Errorf("%d contexts for 1,003 calls", len(contexts))
		}
		// One that was held up before it got its context has its time from then on.
		held := time.Now().Add(-time.Minute)
		if end, _ := d.after(held, timeout).Deadline(); end.Before(time.Now().Add(timeout - time.Second)) {
			t.Errorf("it has until %s", end)
		}
		ctx := d.after(time.Now(), timeout)
		<-ctx.Done()
		if ctx.Err() != context.DeadlineExceeded {
			t.Error(ctx.Err())
		}
		check(time.Now()) // the context of long ago serves nobody any more
	})
}

// Calls that begin at once get contexts without a race.
func TestSharedDeadlinesOfManyAtOnce(t *testing.T) {
	var d deadline
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				start := time.Now()
				if end, _ := d.after(start, time.Minute).Deadline(); end.Before(start.Add(time.Minute)) {
					t.Errorf("begun at %s, it ends at %s", start, end)
					return
				}
			}
		})
	}
	wg.Wait()
}
