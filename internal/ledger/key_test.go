package ledger_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

func TestLoadOrCreateKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys", "log.key")
	k, err := ledger.LoadOrCreateKey(file, "a.example/log")
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(file)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	again, err := ledger.LoadOrCreateKey(file, "a.example/log")
	if err != nil || again.VKey != k.VKey {
		t.Errorf("the second time the key is %s, %v; want %s", again.VKey, err, k.VKey)
	}
	// What the one signs, the other's printed verifier key verifies.
	msg, err := note.Sign(&note.Note{Text: "x\n"}, again.Signer)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ledger.ParseVerifier(k.VKey + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(msg, note.VerifierList(v)); err != nil {
		t.Error(err)
	}
	secret, _ := os.ReadFile(file)

	if _, err := ledger.LoadOrCreateKey(file, "b.example/log"); err == nil {
		t.Error("the key of another origin was taken")
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.LoadOrCreateKey(file, "a.example/log"); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("a key that others can read: %v", err)
	}
	for _, damaged := range []string{"", "x", string(secret[:len(secret)-9]), "PRIVATE+KEY+a+b+c"} {
		bad := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(bad, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ledger.LoadOrCreateKey(bad, "a.example/log")
		if err == nil || damaged != "" && strings.Contains(err.Error(), damaged) && len(damaged) > 20 {
			t.Errorf("a damaged key file: %v", err)
		}
	}
	for _, origin := range []string{"", "a b", "a+b", "a\nb", "\xff", strings.Repeat("x", 256)} {
		if _, _, err := ledger.NewKey(origin); err == nil {
			t.Errorf("a key for the origin %q was made", origin)
		}
	}
}

func TestParseCheckpoint(t *testing.T) {
	mem := ledgertest.NewMem()
	o := ledgertest.Options(mem)
	l := ledgertest.MustOpen(t, o, "/log")
	ledgertest.Append(t, l, 0, 3)
	msg, err := l.CheckpointNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	size, root, err := ledger.ParseCheckpoint(msg, ledgertest.Origin, o.Verifier)
	if head, headRoot := l.Head(); err != nil || size != head || root != headRoot {
		t.Fatalf("size %d, root %s: %v", size, root, err)
	}
	// A witness's signature, of which we know nothing, does no harm.
	k, _, err := ledger.NewKey("witness.example")
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(msg, note.VerifierList(o.Verifier))
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := note.Sign(n, k.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ledger.ParseCheckpoint(cosigned, ledgertest.Origin, o.Verifier); err != nil {
		t.Errorf("with a witness: %v", err)
	}
	if _, _, err := ledger.ParseCheckpoint(msg, "other.example", o.Verifier); err == nil {
		t.Error("a checkpoint of another log passed")
	}
	for i := range msg {
		for bit := range 8 {
			flipped := append([]byte(nil), msg...)
			flipped[i] ^= 1 << bit
			if _, _, err := ledger.ParseCheckpoint(flipped, ledgertest.Origin, o.Verifier); err == nil {
				t.Errorf("bit %d of byte %d flipped, and the checkpoint passed", bit, i)
			}
		}
	}
}
