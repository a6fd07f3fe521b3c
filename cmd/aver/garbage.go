package main

import (
	"os"
	"runtime/debug"
)

// collectSeldom is for commands that decide, which make much garbage and keep little: collecting half as often costs some
// tens of megabytes, and saves a twentieth of a server's processor time (measured: 13 % of it at 100, 5 % at 400) and a
// fifth of a replay's. Who sets GOGC has it otherwise.
func collectSeldom() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
