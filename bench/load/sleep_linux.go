package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// preciseSleep lets the kernel wake this thread at the nanosecond that was asked for, not some 50 us later.
func preciseSleep() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it sleeps are longer, which Late shows
}

// sleepUntil sleeps in the kernel: the runtime's own timers are late by up to a millisecond when all else sleeps.
func sleepUntil(t time.Time) {
	for {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(left.Nanoseconds())
		_ = unix.Nanosleep(&ts, nil) // interrupted: the loop sleeps the rest
	}
}
