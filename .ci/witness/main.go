// Command witness runs Aver with a witness that we did not write, torchwood's litewitness: both logs are cosigned, its own
// library verifies that, and a second history under the same keys is refused and found.
package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func main() {
	aver := flag.String("aver", "", "the program aver")
	work := flag.String("work", "", "a directory to work in, with the program litewitness in bin/")
	flag.Parse()
	if err := run(*aver, *work); err != nil {
		fmt.Fprintln(os.Stderr, "witness:", err)
		os.Exit(1)
	}
}

func run(program, work string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	t := &trial{aver: program, work: work, listen: "127.0.0.1:17380"}

	// The keys of a first, true history.
	truth := filepath.Join(work, "truth")
	if err := t.serve(ctx, truth, func(string) error { return nil }); err != nil {
		return err
	}
	keys, err := t.out("log", "key", "--data", truth)
	if err != nil {
		return err
	}
	t.keys = strings.Fields(keys)
	stop, err := t.witness(ctx)
	if err != nil {
		return err
	}
	defer stop()

	if err := t.configure(truth); err != nil {
		return err
	}
	cosigned := filepath.Join(work, "cosigned.txt")
	err = t.serve(ctx, truth, func(url string) error {
		for i := range 20 {
			if _, err := t.out("decide", "--server", url, "--token-file", truth+"/admin.token", "--subject", "user:ann", "--action", "read", "--resource", fmt.Sprintf("document:%d", i)); err != nil {
				return err
			}
		}
		if err := t.until(func() error { return t.covers(truth, url, 20) }); err != nil {
			return err
		}
		text, err := t.out("log", "proof", "0", "--log", "decisions", "--witnessed", "--json", "--server", url, "--token-file", truth+"/admin.token")
		if err != nil {
			return err
		}
		var proof struct{ Checkpoint string }
		if err := json.Unmarshal([]byte(text), &proof); err != nil {
			return err
		}
		return errors.Join(t.check(proof.Checkpoint), os.WriteFile(cosigned, []byte(proof.Checkpoint), 0o600))
	})
	if err != nil {
		return err
	}
	report, err := t.verify(truth, "--checkpoint", cosigned)
	if err != nil || report.Trust != "established" || !report.OK {
		return fmt.Errorf("the true history: %+v, %w", report, err)
	}
	fmt.Printf("cosigned by litewitness: %d events, %d decisions; torchwood and aver verify agree\n", report.Logs[0].Witnessed[0].Size, report.Logs[1].Witnessed[0].Size)

	// Another history under the same keys.
	other := filepath.Join(work, "other")
	if err := os.MkdirAll(filepath.Join(other, "keys"), 0o700); err != nil {
		return err
	}
	for _, name := range []string{"authority.key", "decisions.key"} {
		text, err := os.ReadFile(filepath.Join(truth, "keys", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(other, "keys", name), text, 0o600); err != nil {
			return err
		}
	}
	if err := t.configure(other); err != nil {
		return err
	}
	err = t.serve(ctx, other, func(url string) error {
		for i := range 40 {
			if _, err := t.out("decide", "--server", url, "--token-file", other+"/admin.token", "--subject", "user:eve", "--action", "read", "--resource", fmt.Sprintf("secret:%d", i)); err != nil {
				return err
			}
		}
		return t.until(func() error {
			out, err := t.out("log", "witnesses", "--server", url, "--token-file", other+"/admin.token")
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 && strings.Count(out, "HAS SEEN ANOTHER HISTORY") == 2 {
				return nil
			}
			return fmt.Errorf("aver log witnesses: %w, %s", err, out)
		})
	})
	if err != nil {
		return fmt.Errorf("the second history: %w", err)
	}
	if report, err = t.verify(other); err == nil || report.Trust != "refused" {
		return fmt.Errorf("a history that nobody cosigned is trusted: %+v", report)
	}
	if report, err = t.verify(other, "--checkpoint", cosigned); err == nil || report.Integrity || !strings.Contains(fmt.Sprint(report.Logs[1].Findings), "TWO HISTORIES UNDER ONE KEY") {
		return fmt.Errorf("two histories under one key are not found: %+v, %w", report, err)
	}
	fmt.Println("a second history under the same keys: refused by litewitness, found by aver verify")
	return nil
}

type trial struct {
	aver, work, listen, vkey string
	keys                     []string // verifier keys of the logs
}

func (t *trial) out(args ...string) (string, error) {
	cmd := exec.Command(t.aver, args...)
	cmd.Env = append(os.Environ(), "AVER_TOKEN=", "AVER_SERVER=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("aver %s: %w: %s", args[0], err, stderr.String())
	}
	return string(out), err
}

// serve runs a server while do does something with it.
func (t *trial) serve(ctx context.Context, dir string, do func(url string) error) error {
	cmd := exec.CommandContext(ctx, t.aver, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--log-level", "error")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "Aver listens on ")
	if err == nil && !ok {
		err = fmt.Errorf("the server says %q", line)
	}
	if err == nil {
		err = do(url)
	}
	return errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
}

// witness starts litewitness, with a fresh key in an SSH agent of our own, and tells it of both logs.
func (t *trial) witness(ctx context.Context) (stop func(), err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return nil, err
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(t.work, "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keyring, conn)
		}
	}()
	db := filepath.Join(t.work, "witness.db")
	if err := t.tell(db); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(t.work, "bin", "litewitness"),
		"-db", db, "-ssh-agent", socket, "-listen", t.listen, "-name", "witness.example/ci", "-key", ssh.FingerprintSHA256(public))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() { cmd.Process.Kill(); cmd.Wait(); l.Close() }
	found := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		re := regexp.MustCompile(`vkey="?([^" ]+)`)
		for lines.Scan() {
			if m := re.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case found <- m[1]:
				default:
				}
			}
		}
	}()
	select {
	case t.vkey = <-found:
	case <-time.After(20 * time.Second):
		stop()
		return nil, errors.New("litewitness does not say its key")
	}
	err = t.until(func() error {
		res, err := http.Get("http://" + t.listen + "/")
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	if err != nil {
		stop()
	}
	return stop, err
}

// tell writes both logs and their keys into the witness's database, as its witnessctl does (which needs a module that
// can't be had everywhere).
func (t *trial) tell(file string) error {
	db, err := sqlite.OpenConn(file, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return err
	}
	defer db.Close()
	err = sqlitex.ExecScript(db, `
		CREATE TABLE IF NOT EXISTS log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);
		CREATE TABLE IF NOT EXISTS key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));
		CREATE TABLE IF NOT EXISTS bastion (origin TEXT NOT NULL, bastion TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));`)
	empty := sha256.Sum256(nil)
	for _, vkey := range t.keys {
		origin, _, _ := strings.Cut(vkey, "+")
		if err == nil {
			err = sqlitex.Execute(db, "INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)",
				&sqlitex.ExecOptions{Args: []any{origin, base64.StdEncoding.EncodeToString(empty[:])}})
		}
		if err == nil {
			err = sqlitex.Execute(db, "INSERT INTO key (origin, key) VALUES (?, ?)", &sqlitex.ExecOptions{Args: []any{origin, vkey}})
		}
	}
	return err
}

func (t *trial) configure(dir string) error {
	text := fmt.Sprintf("quorum: 1\nwitnesses:\n  - {key: %s, url: 'http://%s'}\n", t.vkey, t.listen)
	return os.WriteFile(filepath.Join(dir, "witnesses.yaml"), []byte(text), 0o600)
}

// until tries something for a while.
func (t *trial) until(try func() error) error {
	var err error
	// Another process: nothing tells when it has come so far, so it is looked at again and again.
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = try(); err == nil {
			return nil
		}
	}
	return err
}

// covers checks that both logs are witnessed, the decision log up to size.
func (t *trial) covers(dir, url string, size uint64) error {
	text, err := t.out("log", "witnesses", "--json", "--server", url, "--token-file", dir+"/admin.token")
	if err != nil {
		return err
	}
	var logs map[string]struct{ Size uint64 }
	if err := json.Unmarshal([]byte(text), &logs); err != nil {
		return err
	}
	if logs["authority"].Size == 0 || logs["decisions"].Size < size {
		return fmt.Errorf("not witnessed yet: %s", text)
	}
	return nil
}

// check verifies a cosigned checkpoint with torchwood.
func (t *trial) check(checkpoint string) error {
	witness, err := torchwood.NewCosignatureVerifier(t.vkey)
	if err != nil {
		return err
	}
	log, err := note.NewVerifier(t.keys[1])
	if err != nil {
		return err
	}
	n, err := note.Open([]byte(checkpoint), note.VerifierList(witness, log))
	if err != nil {
		return err
	}
	if len(n.Sigs) != 2 {
		return fmt.Errorf("%d of 2 signatures are good", len(n.Sigs))
	}
	_, err = torchwood.ParseCheckpoint(n.Text)
	return err
}

type report struct {
	OK, Integrity bool
	Trust         string
	Logs          []struct {
		Findings  []struct{ What string }
		Witnessed []struct{ Size uint64 }
	}
}

func (t *trial) verify(dir string, more ...string) (report, error) {
	var r report
	args := append([]string{"verify", "--json", "--data", dir, "--key", t.keys[0], "--key", t.keys[1], "--witness", t.vkey}, more...)
	text, err := t.out(args...)
	if json.Unmarshal([]byte(text), &r) != nil {
		return r, fmt.Errorf("no report: %w", err)
	}
	return r, err
}
