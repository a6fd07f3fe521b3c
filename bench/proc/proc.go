// Package proc reads from /proc what a process has used, and what machine this is. Elsewhere than on Linux nothing can be
// read, and the functions say so.
package proc

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used so far.
type Usage struct {
	CPU     time.Duration // user and system time of all its threads, in steps of 10 ms
	RSS     int64         // bytes of memory, now
	PeakRSS int64         // bytes of memory, at most so far
	Files   int           // open file descriptors
}

// ticksPerSecond is the unit of times in /proc (USER_HZ), the same on all of Linux's architectures that Go runs on.
const ticksPerSecond = 100

// Of returns the usage of a process.
func Of(pid int) (Usage, error) { return usage(os.DirFS("/proc"), pid) }

func usage(fsys fs.FS, pid int) (Usage, error) {
	dir := strconv.Itoa(pid)
	var u Usage
	stat, err := fs.ReadFile(fsys, path.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	if u.CPU, err = parseStat(stat); err != nil {
		return u, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	status, err := fs.ReadFile(fsys, path.Join(dir, "status"))
	if err != nil {
		return u, err
	}
	if u.RSS, err = kilobytes(status, "VmRSS"); err != nil {
		return u, fmt.Errorf("/proc/%d/status: %w", pid, err)
	}
	if u.PeakRSS, err = kilobytes(status, "VmHWM"); err != nil {
		return u, fmt.Errorf("/proc/%d/status: %w", pid, err)
	}
	files, err := fs.ReadDir(fsys, path.Join(dir, "fd"))
	if err != nil {
		return u, err
	}
	u.Files = len(files)
	return u, nil
}

// parseStat adds utime and stime, the 14th and 15th field of proc_pid_stat(5). The second, the program's name in
// parentheses, may hold blanks and parentheses itself.
func parseStat(text []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return 0, fmt.Errorf("no program name in %q", text)
	}
	fields := strings.Fields(string(text[end+1:])) // from the third on
	if len(fields) < 13 {
		return 0, fmt.Errorf("only %d fields after the program's name", len(fields))
	}
	var ticks uint64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / ticksPerSecond), nil
}

// kilobytes finds a line such as "VmRSS:	  1234 kB" and returns its value in bytes.
func kilobytes(text []byte, name string) (int64, error) {
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(line, ":")
		if !ok || key != name {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("there is no %s", name)
}
