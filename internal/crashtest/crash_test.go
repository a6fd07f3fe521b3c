// Package crashtest kills real servers and fills real disks, and then looks
// whether anybody was told something that the logs do not hold.
package crashtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/server"
	"github.com/aver-authz/aver/internal/verify"
)

// The test binary is also the server that gets killed.
const serveEnv = "AVER_CRASHTEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		return
	}
	os.Exit(m.Run())
}

func serve(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log, err := server.NewLogger(os.Stderr, "warn", "text")
	if err != nil {
		return err
	}
	s, err := server.Open(ctx, server.Config{
		DataDir: dir, Listen: "127.0.0.1:0", InsecureNoAuth: true, Logger: log,
		FirstSegment: 256 << 10, MaxSegment: 1 << 20, CheckpointEvery: 50 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	return s.Serve(ctx, l)
}

// process is a server in a process of its own.
type process struct {
	cmd  *exec.Cmd
	url  string
	err  *bytes.Buffer
	dead sync.Once
}

func start(t *testing.T, dir string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(exe), err: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), serveEnv+"="+dir)
	p.cmd.Stderr = p.err
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.cmd.Wait()
		t.Fatalf("the server did not start: %v\n%s", err, p.err)
	}
	p.url = strings.TrimSpace(line)
	t.Cleanup(func() { p.kill() })
	return p
}

// kill is kill -9.
func (p *process) kill() {
	p.dead.Do(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
}

// stop ends the server as an operator would.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.dead.Do(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.cmd.Wait(); err != nil {
			t.Fatalf("the server did not stop cleanly: %v\n%s", err, p.err)
		}
	})
}

func (p *process) post(path string, body any) (int, []byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.Post(p.url+path, "application/json", bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func (p *process) change(t *testing.T, path string, body any) {
	t.Helper()
	status, answer, err := p.post(path, body)
	if err != nil || status/100 != 2 {
		t.Fatalf("%s: %d %s %v", path, status, answer, err)
	}
}

// setUp publishes policies, and grants a limited authority, so that records
// depend on each other.
func setUp(t *testing.T, p *process) {
	p.change(t, "/v1/policies", map[string]any{"activate": true, "name": "crash", "files": map[string]string{
		"main.cedar": `@id("small") permit (principal, action, resource) when { resource.amount < 900 };`,
	}})
	p.change(t, "/v1/identities", aver.Identity{Ref: aver.Ref{Type: "ai_agent", ID: "bot"}, Kind: aver.AIAgent, Owner: "ops", Purpose: "crash"})
	p.change(t, "/v1/grants", aver.Grant{
		ID: "g", From: aver.Ref{Type: "user", ID: "alice"}, To: aver.Ref{Type: "ai_agent", ID: "bot"}, Actions: []string{"*"},
		Resources: []aver.ResourceScope{{Type: "payment"}},
		Limits:    &aver.GrantLimits{Uses: 1_000_000, Sums: []aver.SumLimit{{Attribute: "resource.amount", Max: 1 << 40}}},
	})
}

// told is an answer that a client received.
type told struct {
	Decision bool `json:"decision"`
	Context  struct {
		Outcome      string       `json:"outcome"`
		EvaluationID string       `json:"evaluation_id"`
		Receipt      aver.Receipt `json:"receipt"`
	} `json:"context"`
}

func ask(p *process, client *http.Client, n int) (*told, int, error) {
	context := `{}`
	subject := `{"type":"user","id":"alice"}`
	if n%3 == 0 {
		context, subject = `{"delegation":["g"]}`, `{"type":"ai_agent","id":"bot"}`
	}
	body := fmt.Sprintf(`{"subject":%s,"action":{"name":"pay"},"resource":{"type":"payment","id":"p%d","properties":{"amount":%d}},"context":%s}`,
		subject, n, n%1000, context)
	resp, err := client.Post(p.url+"/access/v1/evaluation", "application/json", strings.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode, nil
	}
	out := new(told)
	return out, resp.StatusCode, json.Unmarshal(answer, out)
}

// load asks from several clients until ctx ends or the server is gone, and
// returns every answer that arrived whole.
func load(ctx context.Context, p *process, clients int) []*told {
	var mu sync.Mutex
	var all []*told
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			for n := c; ctx.Err() == nil; n += clients {
				answer, _, err := ask(p, client, n)
				if err != nil {
					return
				}
				if answer != nil {
					mu.Lock()
					all = append(all, answer)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return all
}

// long says whether to run the whole: AVER_LONG=1, as CI does.
func long() bool { return os.Getenv("AVER_LONG") != "" }

// G1, G2: kill -9 at random moments under load. Every answer that a client
// received is in the log, once, at the index its receipt names; the logs verify
// and every decision replays to a match.
func TestKilledServersLoseNothing(t *testing.T) {
	rounds := 4
	if long() {
		rounds = 50
	}
	random := rand.New(rand.NewPCG(1, 2))
	dir := filepath.Join(t.TempDir(), "data")
	var answers []*told
	for round := range rounds {
		p := start(t, dir)
		if round == 0 {
			setUp(t, p)
		}
		ctx, cancel := context.WithCancel(context.Background())
		timer := time.AfterFunc(time.Duration(20+random.IntN(400))*time.Millisecond, p.kill)
		answers = append(answers, load(ctx, p, 8)...)
		timer.Stop()
		cancel()
		p.kill()
	}
	t.Logf("%d kills, %d answers received", rounds, len(answers))
	if len(answers) < rounds {
		t.Fatal("hardly any answer was received, so hardly anything was tested")
	}
	check(t, dir, answers) // as the last kill left it
	p := start(t, dir)
	p.stop(t)
	check(t, dir, answers) // after recovery and a clean stop
}

// check compares what clients were told with what the logs hold.
func check(t *testing.T, dir string, answers []*told) {
	t.Helper()
	ctx := context.Background()
	report, err := verify.Run(ctx, verify.Options{Dir: dir})
	if err != nil || !report.OK {
		text, _ := json.MarshalIndent(report, "", " ")
		t.Fatalf("verify: %v\n%s", err, text)
	}
	logs, err := datadir.OpenReaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	summary, err := replay.Run(ctx, logs.Authority, logs.Decisions, replay.Options{})
	if err != nil || summary.Match != summary.Decisions {
		t.Fatalf("replay: %+v %v", summary, err)
	}
	size, _ := logs.Decisions.Head()
	at := make(map[string]uint64, size) // evaluation id :: index
	hashes := make([]string, 0, size)
	for e, err := range logs.Decisions.Entries(0, size) {
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := at[leaf.ID]; twice {
			t.Errorf("%s stands in the log twice, at %d and %d", leaf.ID, other, e.Index)
		}
		at[leaf.ID] = e.Index
		hash := sha256.Sum256(append([]byte{0}, e.Leaf...)) // RFC 6962, section 2.1
		hashes = append(hashes, base64.StdEncoding.EncodeToString(hash[:]))
	}
	for _, a := range answers {
		index, ok := at[a.Context.EvaluationID]
		switch {
		case !ok:
			t.Errorf("the answer %s was received, and is not in the log", a.Context.EvaluationID)
		case index != a.Context.Receipt.Index || hashes[index] != a.Context.Receipt.LeafHash:
			t.Errorf("the receipt of %s names index %d, it stands at %d", a.Context.EvaluationID, a.Context.Receipt.Index, index)
		}
	}
}
