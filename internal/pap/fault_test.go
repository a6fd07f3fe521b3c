package pap_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/pap"
)

// brokenDisk is a disk whose writes arrive and whose syncs fail while it is broken: the worst case, since what was
// refused may be there after all.
type brokenDisk struct {
	disk.OS
	broken atomic.Bool
}

func (d *brokenDisk) Create(path string) (disk.File, error) {
	if d.broken.Load() {
		return nil, errors.New("the disk is broken")
	}
	f, err := d.OS.Create(path)
	return brokenFile{f, d}, err
}

type brokenFile struct {
	disk.File
	disk *brokenDisk
}

func (f brokenFile) Sync() error {
	if f.disk.broken.Load() {
		return errors.New("the disk is broken")
	}
	return f.File.Sync()
}

func TestFailedAppendTakesNoEffect(t *testing.T) {
	d := &brokenDisk{}
	p := newPlace(t)
	p.fs = d
	point, log, _ := p.open(t)
	put(t, point, "1")
	before := point.Current()

	d.broken.Store(true)
	for range 3 { // the first is in doubt, the others are refused at once
		change, err := point.Do(t.Context(), root, "", aver.EventEntityPut, doc("2"))
		var unavailable *ledger.UnavailableError
		if change != nil || !errors.As(err, &unavailable) {
			t.Fatalf("on a broken disk: %v, %v", change, err)
		}
		if point.Current() != before {
			t.Fatal("a change that failed took effect")
		}
	}
	d.broken.Store(false)
	for log.Health() != nil {
		runtime.Gosched()
	}
	change := put(t, point, "2")
	if size, _ := log.Head(); change.Index != size-1 {
		t.Errorf("index %d in a log of %d", change.Index, size)
	}
	checkCurrent(t, point, log)
}

// An event that is in the log although its append was given up takes effect before anything else is changed.
func TestCatchesUpWithTheLog(t *testing.T) {
	p := newPlace(t)
	point, log, _ := p.open(t)
	change := put(t, mustOpen(t), "from elsewhere")
	payload, err := change.Event.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	leaf := aver.NewLeaf("event", change.Event.ID, change.Event.Time, payload)
	leaf.Type = string(change.Event.Type)
	if _, err := log.Append(t.Context(), ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload}); err != nil {
		t.Fatal(err)
	}
	if got := put(t, point, "1"); got.Index != shipped+1 {
		t.Errorf("index %d", got.Index)
	}
	if _, ok := point.Current().State.EntityFact(doc("from elsewhere").Ref); !ok {
		t.Error("the event that was in the log already has no effect")
	}
	checkCurrent(t, point, log)
}

// crashDir tells the test binary to make changes in a directory until it is killed.
const crashDir = "AVER_PAP_TEST_CRASH_DIR"

// After kill -9 at any moment, every change that was answered is in effect at the index that was told.
func TestKilledWhileChanging(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		changeForever(t, dir)
	}
	p := newPlace(t)
	answered := map[uint64]string{}
	for round := range 4 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWhileChanging$")
		child.Env = append(os.Environ(), crashDir+"="+p.dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			index, id, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "changed "), " ")
			i, err := strconv.ParseUint(index, 10, 64)
			if !ok || err != nil || !strings.HasPrefix(lines.Text(), "changed ") {
				t.Fatalf("the child says %q", lines.Text())
			}
			answered[i] = id
			if n++; n == 5+7*round {
				if err := child.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
	}

	point, log, _ := p.open(t)
	st := point.Current().State
	for index, id := range answered {
		if fact, ok := st.EntityFact(doc(id).Ref); !ok || fact.Event != index {
			t.Errorf("the change answered as event %d is %+v", index, fact)
		}
	}
	if len(answered) < 4*5 {
		t.Errorf("only %d answers", len(answered))
	}
	checkCurrent(t, point, log)
}

func changeForever(t *testing.T, dir string) {
	p := &place{dir: dir}
	log := p.openLog(t)
	point, err := pap.Open(t.Context(), log, pap.Options{SnapshotPath: filepath.Join(dir, "authority.snapshot"), SnapshotEvery: 3})
	if err != nil {
		t.Fatal(err)
	}
	for {
		id := fmt.Sprint("doc-", point.Current().Head.Size)
		change, err := point.Do(context.Background(), root, "", aver.EventEntityPut, doc(id))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("changed", change.Index, id)
	}
}
