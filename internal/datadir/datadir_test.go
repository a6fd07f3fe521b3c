package datadir_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger"
)

func open(t testing.TB, path, base string) *datadir.Dir {
	t.Helper()
	d, err := datadir.Open(path, base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestOriginsStayAcrossStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	d := open(t, path, "")
	base := d.Base()
	if !strings.HasPrefix(base, "aver.local/") || len(base) != len("aver.local/")+8 || !d.Created() {
		t.Errorf("base %q, created %v", base, d.Created())
	}
	_, authority := d.AuthorityLog()
	_, decisions := d.DecisionLog()
	if authority.Signer.Name() != base+"/authority" || decisions.Signer.Name() != base+"/decisions" {
		t.Errorf("origins %q, %q", authority.Signer.Name(), decisions.Signer.Name())
	}
	d.Close()
	d = open(t, path, "")
	if _, again := d.AuthorityLog(); d.Base() != base || again.VKey != authority.VKey || d.Created() {
		t.Errorf("after a restart: %q, %q, created %v", d.Base(), again.VKey, d.Created())
	}
	d.Close()
	open(t, path, base).Close()
	if _, err := datadir.Open(path, "example.com"); err == nil || !strings.Contains(err.Error(), "can't be changed") {
		t.Errorf("another origin: %v", err)
	}
	if other := open(t, filepath.Join(t.TempDir(), "data"), ""); other.Base() == base {
		t.Error("two directories have the same origin")
	}
}

// A crash of the first start may leave one key, or keys without their verifier keys.
func TestFirstStartIsTakenUpAgain(t *testing.T) {
	for _, lost := range [][]string{{"decisions.key", "decisions.vkey"}, {"authority.key", "authority.vkey"}, {"authority.vkey"}, {"decisions.vkey"}} {
		path := filepath.Join(t.TempDir(), "data")
		d := open(t, path, "")
		base := d.Base()
		d.Close()
		for _, name := range lost {
			if err := os.Remove(filepath.Join(path, "keys", name)); err != nil {
				t.Fatal(err)
			}
		}
		d = open(t, path, "")
		keys, err := datadir.VerifierKeys(path)
		if err != nil {
			t.Fatal(err)
		}
		_, authority := d.AuthorityLog()
		_, decisions := d.DecisionLog()
		if d.Base() != base || keys.Authority.VKey != authority.VKey || keys.Decisions.VKey != decisions.VKey {
			t.Errorf("without %v: base %q, want %q; %+v", lost, d.Base(), base, keys)
		}
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	d := open(t, path, "")
	_, err := datadir.Open(path, "")
	var locked *datadir.LockedError
	if !errors.As(err, &locked) || locked.PID == "" || !strings.Contains(err.Error(), "--data") {
		t.Fatalf("%v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path, "")
}

func TestDirectoriesThatOthersMayEnter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, path, "").Close() // an empty one is made private
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(path, ""); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(path, "keys", "authority.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(path, ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("%v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(file, ""); err == nil {
		t.Error("a file is opened as a data directory")
	}
}

func TestKeysThatDoNotBelong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	open(t, path, "one").Close()
	other := filepath.Join(t.TempDir(), "data")
	open(t, other, "two").Close()
	copyFile := func(from, to string) {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	copyFile(filepath.Join(other, "keys", "decisions.key"), filepath.Join(path, "keys", "decisions.key"))
	if _, err := datadir.Open(path, ""); err == nil || !strings.Contains(err.Error(), "does not belong") {
		t.Errorf("a key of another directory: %v", err)
	}
	copyFile(filepath.Join(path, "keys", "authority.vkey"), filepath.Join(other, "keys", "authority.vkey"))
	if _, err := datadir.Open(other, ""); err == nil || !strings.Contains(err.Error(), "does not belong") {
		t.Errorf("a verifier key of another directory: %v", err)
	}
}

// Readers see what a running process writes, and write nothing.
func TestReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	var missing *datadir.NotInitializedError
	if _, err := datadir.OpenReaders(path); !errors.As(err, &missing) || !strings.Contains(err.Error(), "aver serve") {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("reading made the directory")
	}
	d := open(t, path, "")
	var running []*ledger.Log
	for i, at := range []func() (string, ledger.Key){d.AuthorityLog, d.DecisionLog} {
		dir, key := at()
		log, err := ledger.Open(dir, ledger.Options{Origin: key.Signer.Name(), Signer: key.Signer, Verifier: key.Verifier})
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, log)
		for range i + 1 {
			if _, err := log.Append(t.Context(), ledger.Entry{Leaf: []byte("leaf"), Payload: []byte("payload")}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := log.CheckpointNow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	read := func() {
		t.Helper()
		logs, err := datadir.OpenReaders(path)
		if err != nil {
			t.Fatal(err)
		}
		authority, _ := logs.Authority.Head()
		decisions, _ := logs.Decisions.Head()
		if authority != 1 || decisions != 2 {
			t.Errorf("%d events, %d decisions", authority, decisions)
		}
		if err := logs.Close(); err != nil {
			t.Error(err)
		}
	}
	read() // while they are written
	for _, log := range running {
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	before := files(t, path)
	read()
	if after := files(t, path); after != before {
		t.Errorf("reading changed the directory:\n%s\n%s", before, after)
	}
}

// files lists all files with their modes, sizes and times.
func files(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&out, path, info.Mode(), info.Size(), info.ModTime())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
