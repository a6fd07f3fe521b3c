package proc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const status = "Name:\taver\nVmPeak:\t 9000 kB\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n"

func files(stat string) fstest.MapFS {
	return fstest.MapFS{
		"42/stat": {Data: []byte(stat)}, "42/status": {Data: []byte(status)},
		"42/fd/0": {}, "42/fd/1": {}, "42/fd/7": {},
	}
}

func TestUsageIsRead(t *testing.T) {
	// The name of the program may look like anything.
	for _, name := range []string{"aver", "a ver", "1 2) S 3 (x", "))"} {
		stat := "42 (" + name + ") S 1 42 42 0 -1 4194560 900 0 0 0 150 75 7 8 20 0 9 0 1234 1000000 256 18446744073709551615\n"
		got, err := usage(files(stat), 42)
		want := Usage{CPU: 2250 * time.Millisecond, RSS: 1 << 20, PeakRSS: 2 << 20, Files: 3}
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", name, got, err, want)
		}
	}
}

func TestUsageRefusesWhatItDoesNotKnow(t *testing.T) {
	for stat, want := range map[string]string{
		"":                 "no program name",
		"42 (aver) S 1 42": "only 3 fields",
		"42 (aver) S 1 2 3 4 5 6 7 8 9 10 x 75 0 0": "invalid syntax",
	} {
		if _, err := usage(files(stat), 42); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", stat, err, want)
		}
	}
	gone := files("")
	delete(gone, "42/stat")
	if _, err := usage(gone, 42); !os.IsNotExist(err) {
		t.Errorf("a process that is gone: %v", err)
	}
}

// The real one, by what must hold of any process.
func TestUsageOfThisProcess(t *testing.T) {
	before, err := Of(os.Getpid())
	if err != nil {
		t.Skipf("there is no /proc: %v", err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; {
	}
	after, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.CPU <= before.CPU || after.Files <= before.Files || after.RSS <= 0 || after.PeakRSS < after.RSS/2 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestMachine(t *testing.T) {
	got, err := machine(fstest.MapFS{
		"cpuinfo":              {Data: []byte("processor\t: 0\nmodel name\t: Some(R)  CPU\nprocessor\t: 1\nmodel name\t: Some(R)  CPU\n")},
		"sys/kernel/osrelease": {Data: []byte("6.18.1\n")},
		"meminfo":              {Data: []byte("MemTotal:        8000000 kB\nMemFree: 1 kB\n")},
		"loadavg":              {Data: []byte("0.25 1.00 2.00 1/100 4242\n")},
		"self/mountinfo": {Data: []byte(`22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /tmp rw shared:5 - tmpfs tmpfs rw
31 22 0:27 / /tmp/a\040b rw - xfs /dev/vdb rw
32 22 0:28 / /tmpx rw - btrfs /dev/vdc rw
`)},
	}, "/tmp/a b/data")
	if err != nil {
		t.Fatal(err)
	}
	got.Cores, got.Go = 2, "go1.26"
	want := "Some(R) CPU, 2 cores, 8.2 GB of memory; Linux 6.18.1; data on xfs (/dev/vdb); go1.26; load before the run 0.25"
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if fs, _ := mountOf("22 1 254:0 / / rw - ext4 /dev/vda rw\n32 22 0:28 / /tmpx rw - btrfs /dev/vdc rw\n", "/tmp/x"); fs != "ext4" {
		t.Errorf("/tmp/x is said to lie on %s", fs)
	}
}

func TestDiskUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"x": 10, "a/y": 5000, "a/b/z": 0} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := DiskUseOf(dir)
	if err != nil || got.Bytes != 5010 || got.Files != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
	if missing, err := DiskUseOf(filepath.Join(dir, "none")); err != nil || missing != (DiskUse{}) {
		t.Errorf("nothing there: %+v, %v", missing, err)
	}
}
