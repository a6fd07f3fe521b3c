package api_test

import (
	"sync/atomic"
	"time"
)

// testClock is a clock that a test moves while the server looks at it.
type testClock struct{ moved atomic.Int64 } // nanoseconds away from the machine's

func (c *testClock) Now() time.Time       { return time.Now().Add(time.Duration(c.moved.Load())) }
func (c *testClock) move(d time.Duration) { c.moved.Add(int64(d)) }
