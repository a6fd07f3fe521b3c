//go:build !linux

package load

import "time"

func preciseSleep() {}

func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }
