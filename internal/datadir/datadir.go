// Package datadir is the layout of Aver's data directory, and how to open it.
//
//	DIR/                    0700
//	DIR/lock                held by the process that writes; its text is that process's id
//	DIR/admin.token         0600, the first admin's bearer token, written at the first start
//	DIR/keys/               authority.key and decisions.key (0600, C2SP signed-note secret keys),
//	                        authority.vkey and decisions.vkey (0644, the verifier keys, to be handed out),
//	                        authority.signed and decisions.signed (0600, the last checkpoint that each key signed),
//	                        authority.cosigned and decisions.cosigned (0600, the last that witnesses cosigned)
//	DIR/witnesses.yaml      which witnesses are asked; written by the operator
//	DIR/authority/          the authority log
//	DIR/decisions/          the decision log
//	DIR/state/              snapshots; may be deleted whenever nobody holds the lock
//
// The logs' origins are BASE/authority and BASE/decisions. The base is chosen at the first start and stands in the keys,
// whose names are the origins.
package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
)

const (
	authorityName = "authority"
	decisionsName = "decisions"
)

// LockedError says that another process writes in the data directory.
type LockedError struct {
	Dir string
	PID string // of that process, as it said; "" if it can't be read
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != "" {
		who += " (" + e.PID + ")"
	}
	return fmt.Sprintf("the data directory %s is in use by %s: stop that one first, or choose another directory with --data", e.Dir, who)
}

// NotInitializedError says that a directory holds no data of Aver, or not all of it.
type NotInitializedError struct {
	Dir     string
	Missing string // the file that should be there
}

func (e *NotInitializedError) Error() string {
	return fmt.Sprintf("%s is not a data directory of Aver (%s is missing): start one with aver serve --data %s", e.Dir, e.Missing, e.Dir)
}

// Dir is a data directory that this process holds the lock of.
type Dir struct {
	path                 string
	base                 string
	authority, decisions ledger.Key
	created              bool
	lock                 io.Closer
}

// Open takes the lock and makes what is missing: the directories, the keys, the verifier keys. base is the beginning of
// the logs' origins at the first start, "" for aver.local/ and 8 random hexadecimal digits; later it must be "" or the
// same. The error is a [*LockedError] if another process holds the lock.
func Open(path, base string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: abs}
	for _, dir := range []string{abs, d.join("keys"), d.join("state")} {
		if err := makePrivate(dir); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	if d.lock, err = takeLock(abs); err != nil {
		return nil, err
	}
	if err := d.openKeys(base); err != nil {
		d.lock.Close()
		return nil, err
	}
	return d, nil
}

// makePrivate makes a directory that only its owner may enter, and refuses one that others may.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case info.Mode().Perm()&0o077 == 0:
		return nil
	}
	// One that is still empty may have been made for us with the usual permissions.
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s can be entered by others; run: chmod 700 %s", dir, dir)
	}
	return os.Chmod(dir, 0o700)
}

func takeLock(dir string) (io.Closer, error) {
	file := filepath.Join(dir, "lock")
	lock, err := disk.OS{}.Lock(file)
	if errors.Is(err, disk.ErrLocked) {
		pid, _ := os.ReadFile(file) // only for the message
		return nil, &LockedError{Dir: dir, PID: strings.TrimSpace(string(pid[:min(len(pid), 20)]))}
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.WriteFile(file, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		lock.Close()
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return lock, nil
}

// openKeys reads the keys. A crash during the first start leaves the first of them, the second or none; so the base is
// taken from the one that is there.
func (d *Dir) openKeys(base string) error {
	var found string
	for _, name := range []string{authorityName, decisionsName} {
		key, err := readKey(d.keyFile(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		origin := key.Signer.Name()
		of, ok := strings.CutSuffix(origin, "/"+name)
		if !ok || found != "" && of != found {
			return fmt.Errorf("%s is the key of %q, which does not belong to this data directory", d.keyFile(name), origin)
		}
		found = of
	}
	switch {
	case found != "" && base != "" && base != found:
		return fmt.Errorf("the origin of the logs in %s is %s and can't be changed to %s: start without --origin, or with another directory", d.path, found, base)
	case found != "":
		d.base = found
	case base != "":
		d.base = base
	default:
		b := make([]byte, 4)
		rand.Read(b)
		d.base = "aver.local/" + hex.EncodeToString(b)
	}
	d.created = found == ""
	var err error
	if d.authority, err = d.openKey(authorityName); err != nil {
		return err
	}
	d.decisions, err = d.openKey(decisionsName)
	return err
}

func readKey(file string) (ledger.Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return ledger.Key{}, err
	}
	key, err := ledger.ParseKey(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return ledger.Key{}, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// DecisionKey reads the secret key of the decision log, for what is signed
// besides checkpoints. It is not there in a copy that was made for auditors.
func DecisionKey(dir string) (ledger.Key, error) {
	return readKey(filepath.Join(dir, "keys", decisionsName+".key"))
}

func (d *Dir) openKey(name string) (ledger.Key, error) {
	key, err := ledger.LoadOrCreateKey(d.keyFile(name), d.base+"/"+name)
	if err != nil {
		return key, fmt.Errorf("key of the log %s: %w", name, err)
	}
	file := vkeyFile(d.path, name)
	text, err := os.ReadFile(file)
	if err == nil && strings.TrimSpace(string(text)) == key.VKey {
		return key, nil
	}
	if err == nil {
		return key, fmt.Errorf("%s does not belong to the key beside it; if the key is the right one, delete %s and start again", file, file)
	}
	return key, WriteFile(file, []byte(key.VKey+"\n"), 0o644)
}

// WriteFile writes a small file durably and in one step: it is there as a whole, or not at all.
func WriteFile(file string, content []byte, mode fs.FileMode) error {
	dir := filepath.Dir(file)
	temp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Chmod(mode)
	}
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), file); err != nil {
		return err
	}
	return disk.OS{}.SyncDir(dir)
}

func (d *Dir) join(parts ...string) string {
	return filepath.Join(append([]string{d.path}, parts...)...)
}

func (d *Dir) keyFile(name string) string { return d.join("keys", name+".key") }

func vkeyFile(dir, name string) string { return filepath.Join(dir, "keys", name+".vkey") }

// Path is the directory, absolute.
func (d *Dir) Path() string { return d.path }

// Base is what the origins of both logs begin with.
func (d *Dir) Base() string { return d.base }

// Created reports whether this was the first start in the directory.
func (d *Dir) Created() bool { return d.created }

// AuthorityLog is the directory of the authority log and its key.
func (d *Dir) AuthorityLog() (dir string, key ledger.Key) { return d.join(authorityName), d.authority }

// DecisionLog is the directory of the decision log and its key.
func (d *Dir) DecisionLog() (dir string, key ledger.Key) { return d.join(decisionsName), d.decisions }

// KeepSigned keeps the last checkpoint that the key of the log in that directory has signed. It lies beside the key, so
// that it shows when the log's directory is replaced by an older copy. It is not synced, since it may be lost: then the
// one before it, or none, is known.
func (d *Dir) KeepSigned(logDir string, checkpoint []byte) error {
	file := d.SignedFile(logDir)
	if err := os.WriteFile(file+".new", checkpoint, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// SignedFile is the file of [Dir.KeepSigned].
func (d *Dir) SignedFile(logDir string) string { return signedFile(d.path, filepath.Base(logDir)) }

// LastSigned reads what [Dir.KeepSigned] kept for the log in that directory; nil if there is nothing.
func (d *Dir) LastSigned(logDir string) ([]byte, error) {
	return readIfThere(d.SignedFile(logDir))
}

// KeepCosigned keeps the last checkpoint of the log in that directory that a quorum of witnesses has cosigned, durably.
func (d *Dir) KeepCosigned(logDir string, checkpoint []byte) error {
	return WriteFile(cosignedFile(d.path, filepath.Base(logDir)), checkpoint, 0o600)
}

// Cosigned reads what [Dir.KeepCosigned] kept in a data directory; nil where there is nothing.
func Cosigned(dir string) (authority, decisions []byte, err error) {
	if authority, err = readIfThere(cosignedFile(dir, authorityName)); err == nil {
		decisions, err = readIfThere(cosignedFile(dir, decisionsName))
	}
	return authority, decisions, err
}

func cosignedFile(dir, name string) string { return filepath.Join(dir, "keys", name+".cosigned") }

// WitnessesFile is the file in a data directory that says which witnesses are asked; it need not be there.
func WitnessesFile(dir string) string { return filepath.Join(dir, "witnesses.yaml") }

func signedFile(dir, name string) string { return filepath.Join(dir, "keys", name+".signed") }

// LastSigned reads the last checkpoints that the keys in a data directory have signed, as far as they are known; nil
// where none is.
func LastSigned(dir string) (authority, decisions []byte, err error) {
	if authority, err = readIfThere(signedFile(dir, authorityName)); err == nil {
		decisions, err = readIfThere(signedFile(dir, decisionsName))
	}
	return authority, decisions, err
}

func readIfThere(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// State is the file of a projection, by its name.
func (d *Dir) State(name string) string { return d.join("state", name) }

// AdminToken is the file of the first admin's bearer token.
func (d *Dir) AdminToken() string { return AdminToken(d.path) }

// Close gives up the lock.
func (d *Dir) Close() error { return d.lock.Close() }

// AdminToken is the file of the first admin's bearer token in a data directory.
func AdminToken(dir string) string { return filepath.Join(dir, "admin.token") }

// VerifierKey is the public half of a log's key.
type VerifierKey struct {
	Origin   string
	VKey     string // "<origin>+<hash>+<key>", C2SP signed-note
	Verifier note.Verifier
}

// Keys are the verifier keys of both logs.
type Keys struct {
	Authority, Decisions VerifierKey
}

// VerifierKeys reads the verifier keys that lie in a data directory. Who checks the logs with them learns that the logs
// are consistent, not that they are the right ones: that takes keys which were handed over some other way.
func VerifierKeys(dir string) (Keys, error) {
	var k Keys
	var err error
	if k.Authority, err = readVerifierKey(dir, authorityName); err != nil {
		return k, err
	}
	k.Decisions, err = readVerifierKey(dir, decisionsName)
	return k, err
}

func readVerifierKey(dir, name string) (VerifierKey, error) {
	file := vkeyFile(dir, name)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return VerifierKey{}, &NotInitializedError{Dir: dir, Missing: file}
	}
	if err != nil {
		return VerifierKey{}, err
	}
	v, err := ledger.ParseVerifier(string(text))
	if err != nil {
		return VerifierKey{}, fmt.Errorf("%s: %w", file, err)
	}
	return VerifierKey{Origin: v.Name(), VKey: strings.TrimSpace(string(text)), Verifier: v}, nil
}

// LogDirs are the directories of the authority and the decision log in a data directory.
func LogDirs(dir string) (authority, decisions string) {
	return filepath.Join(dir, authorityName), filepath.Join(dir, decisionsName)
}

// Index is the directory of the search index in a data directory.
func Index(dir string) string { return filepath.Join(dir, "index") }

// Searches is the file of the saved queries in a data directory.
func Searches(dir string) string { return filepath.Join(dir, "searches.json") }

// Readers are both logs of a data directory, for reading.
type Readers struct {
	Authority, Decisions *ledger.Reader
	Keys                 Keys
}

// settleTime is how long OpenReaders waits for what a running server has just answered. Its checkpoints come every
// second.
const settleTime = 3 * time.Second

// OpenReaders opens both logs for reading, whether or not another process is writing them, and shows all that was
// answered before it was called. Nothing is ever written. The error is a [*NotInitializedError] if the directory holds no
// logs.
func OpenReaders(dir string) (*Readers, error) {
	keys, err := VerifierKeys(dir)
	if err != nil {
		return nil, err
	}
	authorityDir, decisionsDir := LogDirs(dir)
	open := func(dir string, k VerifierKey) (*ledger.Reader, error) {
		r, err := ledger.OpenReader(dir, ledger.Options{Origin: k.Origin, Verifier: k.Verifier})
		if err == nil {
			err = r.Settle(settleTime)
		}
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", k.Origin, err)
		}
		return r, nil
	}
	r := &Readers{Keys: keys}
	if r.Authority, err = open(authorityDir, keys.Authority); err != nil {
		return nil, err
	}
	if r.Decisions, err = open(decisionsDir, keys.Decisions); err != nil {
		return nil, errors.Join(err, r.Authority.Close())
	}
	return r, nil
}

// Close closes both.
func (r *Readers) Close() error { return errors.Join(r.Authority.Close(), r.Decisions.Close()) }
