package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what figures depend on besides the programs.
type Machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	Memory     int64   `json:"memory_bytes"`
	Kernel     string  `json:"kernel"`
	FileSystem string  `json:"file_system"` // of the data directories
	Device     string  `json:"device"`
	Go         string  `json:"go"`
	Load       float64 `json:"load"` // average over the minute before the run; much above 0 means that others were at work
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.1f GB of memory; %s; data on %s (%s); %s; load before the run %.2f",
		m.CPU, m.Cores, float64(m.Memory)/1e9, m.Kernel, m.FileSystem, m.Device, m.Go, m.Load)
}

// ThisMachine describes the machine, and the file system that dir lies on.
func ThisMachine(dir string) (Machine, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Machine{}, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return Machine{}, err
	}
	return machine(os.DirFS("/proc"), abs)
}

func machine(proc fs.FS, dir string) (Machine, error) {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	var errs []error
	read := func(name string) string {
		b, err := fs.ReadFile(proc, name)
		errs = append(errs, err)
		return string(b)
	}
	for line := range strings.Lines(read("cpuinfo")) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			m.CPU = strings.Join(strings.Fields(value), " ")
			break
		}
	}
	m.Kernel = "Linux " + strings.TrimSpace(read("sys/kernel/osrelease"))
	var err error
	m.Memory, err = kilobytes([]byte(read("meminfo")), "MemTotal")
	errs = append(errs, err)
	first, _, _ := strings.Cut(read("loadavg"), " ")
	m.Load, err = strconv.ParseFloat(first, 64)
	errs = append(errs, err)
	m.FileSystem, m.Device = mountOf(read("self/mountinfo"), dir)
	return m, errors.Join(errs...)
}

// mountOf finds the file system that a path lies on: the last of the longest mount points above it, as later mounts hide
// earlier ones. See proc_pid_mountinfo(5).
func mountOf(mountinfo, dir string) (fileSystem, device string) {
	longest := -1
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) < 2 {
			continue
		}
		point := unescape(fields[4])
		within := point == "/" || dir == point || strings.HasPrefix(dir, point+"/")
		if within && len(point) >= longest {
			longest, fileSystem, device = len(point), rest[0], rest[1]
		}
	}
	return fileSystem, device
}

// unescape undoes the octal escapes for blanks, tabs, line ends and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
