package pap_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pap"
)

func TestReopen(t *testing.T) {
	p := newPlace(t)
	point, _, stop := p.open(t)
	put(t, point, "1")
	want := point.Current()
	stop()
	if _, err := point.Do(context.Background(), root, "", aver.EventEntityPut, doc("2")); !errors.Is(err, pap.ErrClosed) {
		t.Errorf("a change after Close: %v", err)
	}
	if err := point.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	info, err := os.Stat(p.snapshot())
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("snapshot %v, %v", info.Mode(), err)
	}

	damage := map[string]func() error{
		"with its snapshot":       func() error { return nil },
		"with an older snapshot":  nil, // set below
		"without a snapshot":      func() error { return os.Remove(p.snapshot()) },
		"with a damaged snapshot": func() error { return os.WriteFile(p.snapshot(), []byte("{}\n"), 0o600) },
		"with another log's snapshot": func() error {
			q := newPlace(t)
			point, _, stop := q.open(t)
			put(t, point, "1")
			stop()
			return os.Rename(q.snapshot(), p.snapshot())
		},
		"with a snapshot from after a rollback": func() error {
			var file bytes.Buffer
			next, err := want.State.Apply(put(t, mustOpen(t), "9").Event)
			if err != nil {
				return err
			}
			if err := next.WriteSnapshot(&file, want.Head.Root); err != nil {
				return err
			}
			return os.WriteFile(p.snapshot(), file.Bytes(), 0o600)
		},
	}
	older, err := os.ReadFile(p.snapshot())
	if err != nil {
		t.Fatal(err)
	}
	damage["with an older snapshot"] = func() error { return os.WriteFile(p.snapshot(), older, 0o600) }
	for name, prepare := range damage {
		t.Run(name, func(t *testing.T) {
			point, _, stop := p.open(t)
			put(t, point, "1")
			want = point.Current()
			stop()
			if err := prepare(); err != nil {
				t.Fatal(err)
			}
			point, log, _ := p.open(t)
			if got := point.Current(); got.State.Digest() != want.State.Digest() || got.Head != want.Head {
				t.Errorf("head %v, want %v", got.Head, want.Head)
			}
			checkCurrent(t, point, log)
		})
	}
}

func mustOpen(t testing.TB) *pap.Point {
	point, _, _ := newPlace(t).open(t)
	return point
}

func TestSnapshotsAreWrittenOnTheWay(t *testing.T) {
	p := newPlace(t)
	log := p.openLog(t)
	defer log.Close()
	point, err := pap.Open(t.Context(), log, pap.Options{SnapshotPath: p.snapshot(), SnapshotEvery: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer point.Close()
	for i := 0; ; i++ { // one of them starts the writing; it has ended at the latest with the test's time
		put(t, point, fmt.Sprint(i))
		if _, err := os.Stat(p.snapshot()); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	file, err := os.Open(p.snapshot())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	st, hash, err := authority.ReadSnapshot(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := log.TreeHash(st.Size())
	if err != nil || hash != base64.StdEncoding.EncodeToString(want[:]) {
		t.Errorf("snapshot of %d events with root %s, want %s, %v", st.Size(), hash, want, err)
	}
	if st.Size() < 3 {
		t.Errorf("a snapshot of %d events", st.Size())
	}
}
