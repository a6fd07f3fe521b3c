package witness_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/witness"
	"github.com/aver-authz/aver/internal/witness/witnesstest"
)

// stand is a log with witnesses.
type stand struct {
	t         *testing.T
	log       *ledger.Log
	key       ledger.Key
	witnesses []*witnesstest.Witness
	config    *witness.Config
	kept      atomic.Pointer[[]byte]
}

func newKey(t *testing.T) ledger.Key {
	t.Helper()
	k, _, err := ledger.NewKey("witness.example/log")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func openLog(t *testing.T, k ledger.Key) *ledger.Log {
	t.Helper()
	l, err := ledger.Open(t.TempDir()+"/log", ledger.Options{Origin: k.Signer.Name(), Signer: k.Signer, Verifier: k.Verifier, CheckpointEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func newStand(t *testing.T, quorum int, names ...string) *stand {
	s := &stand{t: t, key: newKey(t)}
	s.log = openLog(t, s.key)
	text := fmt.Sprintf("quorum: %d\nwitnesses:\n", quorum)
	for _, name := range names {
		w := witnesstest.New(name, s.key.Verifier)
		server := httptest.NewServer(w)
		t.Cleanup(server.Close)
		s.witnesses = append(s.witnesses, w)
		text += "  - {key: " + w.Key() + ", url: '" + server.URL + "'}\n"
	}
	var err error
	if s.config, err = witness.ParseConfig([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stand) start(log witness.Log, last []byte) *witness.Cosigner {
	s.t.Helper()
	c, err := witness.Start(witness.Options{
		Log: log, Verifier: s.key.Verifier, Config: s.config, Last: last, Every: 5 * time.Millisecond,
		Keep: func(cp []byte) error { s.kept.Store(&cp); return nil },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *stand) append(log *ledger.Log, from, to int) {
	s.t.Helper()
	ledgertest.Append(s.t, log, from, to)
	if _, err := log.CheckpointNow(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for something that happens behind.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	// The cosigner works by itself; its state is all that shows.
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// Checkpoints are cosigned by a quorum of witnesses, with a proof from what each knows, whoever is away meanwhile (G2).
func TestCosigned(t *testing.T) {
	s := newStand(t, 2, "w1.example", "w2.example", "w3.example")
	s.append(s.log, 0, 5)
	s.witnesses[2].Fail(503)
	c := s.start(s.log, nil)
	sizeIs := func(n uint64) func() bool { return func() bool { _, size := c.Latest(); return size == n } }
	until(t, "5 entries are cosigned", sizeIs(5))
	s.append(s.log, 5, 300)
	until(t, "300 entries are cosigned", sizeIs(300))
	s.witnesses[0].Fail(500)
	s.append(s.log, 300, 310)
	s.witnesses[2].Fail(0)
	until(t, "another witness comes in", sizeIs(310))
	checkpoint, _ := c.Latest()
	for i, want := range []bool{false, true, true} {
		v, err := witness.ParseKey(s.witnesses[i].Key())
		if err != nil {
			t.Fatal(err)
		}
		at, err := v.Cosigned(checkpoint)
		if (err == nil) != want || want && time.Since(at) > time.Minute {
			t.Errorf("witness %d: %v, %v", i, at, err)
		}
	}
	if size, _, err := ledger.ParseCheckpoint(checkpoint, s.log.Origin(), s.key.Verifier); err != nil || size != 310 {
		t.Errorf("the log's own signature: %d, %v", size, err)
	}
	if with := c.With(s.log.Checkpoint()); string(with) != string(checkpoint) {
		t.Errorf("the log's checkpoint is shown without cosignatures: %s", with)
	}
	until(t, "it is kept", func() bool { kept := s.kept.Load(); return kept != nil && string(*kept) == string(checkpoint) })
	status := c.Status()
	if status.Size != 310 || status.Witnesses[0].Error == "" || status.Witnesses[1].Size != 310 || status.Witnesses[1].Error != "" {
		t.Errorf("%+v", status)
	}

	// A new process that has lost what it knew learns it from the witness (409).
	c.Close()
	s.witnesses[0].Fail(0)
	s.append(s.log, 310, 320)
	c = s.start(s.log, nil)
	until(t, "cosigned after a restart", sizeIs(320))
}

// Nothing is asked while there is nothing new.
func TestQuietWhenIdle(t *testing.T) {
	s := newStand(t, 0, "w1.example")
	s.append(s.log, 0, 3)
	c := s.start(s.log, nil)
	until(t, "cosigned", func() bool { _, size := c.Latest(); return size == 3 })
	before := s.witnesses[0].Asked()
	time.Sleep(50 * time.Millisecond) // ten rounds
	if asked := s.witnesses[0].Asked() - before; asked > 0 {
		t.Errorf("%d requests", asked)
	}
}

// Two histories under one key: the witness cosigns the first and refuses the second, and says so for good (G2).
func TestSplitViewIsCaught(t *testing.T) {
	s := newStand(t, 1, "w1.example")
	s.append(s.log, 0, 20)
	c := s.start(s.log, nil)
	until(t, "the first history is cosigned", func() bool { _, size := c.Latest(); return size == 20 })
	c.Close()

	other := openLog(t, s.key) // who holds the key can sign another history
	for i := range 30 {
		if _, err := other.Append(context.Background(), ledgertest.Entry(1000+i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := other.CheckpointNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.kept.Store(nil)
	c = s.start(other, nil)
	until(t, "the alarm", func() bool { return c.Status().Witnesses[0].OtherHistory })
	if cp, _ := c.Latest(); cp != nil || s.kept.Load() != nil {
		t.Error("the second history is witnessed")
	}
	if status := c.Status().Witnesses[0]; !strings.Contains(status.Error, "another history") {
		t.Errorf("%+v", status)
	}
	c.Close()

	short := openLog(t, s.key) // the same, with fewer entries than the witness has seen: an older copy
	s.append(short, 0, 5)
	c = s.start(short, nil)
	until(t, "the alarm", func() bool { return c.Status().Witnesses[0].OtherHistory })
}

func TestConfigRefuses(t *testing.T) {
	key := witnesstest.New("w.example").Key()
	for text, want := range map[string]string{
		"witnesses: [{key: x, url: 'https://a'}]":                                                 "not the verifier key",
		"witnesses: [{key: " + key + ", url: 'http://example.com'}]":                              "https, or http on this machine",
		"witnesses: [{key: " + key + ", url: 'https://a?x=1'}]":                                   "https",
		"quorum: 2\nwitnesses: [{key: " + key + ", url: 'https://a'}]":                            "2 of 1",
		"witnesses: [{key: " + key + ", url: 'https://a'}, {key: " + key + ", url: 'https://b'}]": "twice",
		"witness: []": "field witness not found",
	} {
		if _, err := witness.ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	c, err := witness.ParseConfig([]byte("witnesses: [{key: " + key + ", url: 'https://a/'}]"))
	if err != nil || c.Quorum != 1 || c.Witnesses[0].URL != "https://a" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := witness.ParseConfig(nil); err != nil {
		t.Error(err)
	}
}

// What is not the witness's own valid cosignature of this checkpoint is not one.
func TestOnlyValidCosignaturesCount(t *testing.T) {
	s := newStand(t, 1, "w1.example")
	s.append(s.log, 0, 3)
	c := s.start(s.log, nil)
	until(t, "cosigned", func() bool { _, size := c.Latest(); return size == 3 })
	checkpoint, _ := c.Latest()
	v, err := witness.ParseKey(s.witnesses[0].Key())
	if err != nil {
		t.Fatal(err)
	}
	other, err := witness.ParseKey(witnesstest.New("w1.example").Key())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Cosigned(checkpoint); err == nil {
		t.Error("a cosignature by another key of the same name counts")
	}
	changed := strings.Replace(string(checkpoint), "\n3\n", "\n4\n", 1)
	if _, err := v.Cosigned([]byte(changed)); err == nil {
		t.Error("a cosignature of another checkpoint counts")
	}
	if _, err := v.Cosigned(s.log.Checkpoint()); err == nil {
		t.Error("a checkpoint without cosignatures counts")
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(witnesstest.New("w.example").Key())
	f.Add("a+00000000+BA==")
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := witness.ParseKey(text); err == nil && v.Key() != strings.TrimSpace(text) {
			t.Error("the key is another one")
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("quorum: 1\nwitnesses: [{key: " + witnesstest.New("w.example").Key() + ", url: 'https://a'}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := witness.ParseConfig(text); err == nil && c.Quorum > len(c.Witnesses) {
			t.Error("a quorum that can't be reached")
		}
	})
}
