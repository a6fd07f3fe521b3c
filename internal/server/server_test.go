package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/server"
)

func open(t testing.TB, cfg server.Config) *server.Server {
	t.Helper()
	s, err := server.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func adminToken(t testing.TB, dir string) string {
	t.Helper()
	text, err := os.ReadFile(datadir.AdminToken(dir))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

const question = `{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`

// ask asks the handler for a decision and returns the answer.
func ask(s *server.Server, token string) *httptest.ResponseRecorder {
	return do(s, token, "POST", "/access/v1/evaluation", question)
}

func do(s *server.Server, token, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// The first start makes an administrator's token, readable by its owner only, and says where it is but not what it is.
// Later starts leave it alone, also when the operator took it away.
func TestFirstStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var log bytes.Buffer
	cfg := server.Config{DataDir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	s := open(t, cfg)
	token := adminToken(t, dir)
	if w := do(s, token, "GET", "/v1/policies", ""); w.Code != 200 {
		t.Fatalf("the token gives no access: %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), datadir.AdminToken(dir)) || strings.Contains(log.String(), token) {
		t.Errorf("the log says %s", &log)
	}
	for name, mode := range map[string]fs.FileMode{
		"": 0o700, "admin.token": 0o600, "lock": 0o600, "keys": 0o700, "keys/authority.key": 0o600, "keys/decisions.key": 0o600,
		"keys/authority.vkey": 0o644, "keys/decisions.vkey": 0o644, "authority": 0o700, "decisions": 0o700, "state": 0o700,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %v", name, info.Mode().Perm(), err, mode)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(datadir.AdminToken(dir)); err != nil {
		t.Fatal(err)
	}
	s = open(t, cfg)
	if _, err := os.Stat(datadir.AdminToken(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a later start made another token")
	}
	if w := do(s, token, "GET", "/v1/policies", ""); w.Code != 200 {
		t.Errorf("the token gives no access after a restart: %d", w.Code)
	}
}

// A crash between the token's file and its event locks nobody out.
func TestFirstStartAfterACrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	token := pap.NewToken()
	if err := os.WriteFile(datadir.AdminToken(dir), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, server.Config{DataDir: dir})
	if adminToken(t, dir) != token {
		t.Error("the token was replaced")
	}
	if w := do(s, token, "GET", "/v1/policies", ""); w.Code != 200 {
		t.Errorf("the token gives no access: %d", w.Code)
	}
}

func TestSecondProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := open(t, server.Config{DataDir: dir})
	_, err := server.Open(t.Context(), server.Config{DataDir: dir})
	var locked *datadir.LockedError
	if !errors.As(err, &locked) || !strings.Contains(err.Error(), "--data") {
		t.Fatalf("%v", err)
	}
	if w := ask(first, adminToken(t, dir)); w.Code != 200 {
		t.Errorf("the first process answers %d after a second was tried", w.Code)
	}
}

// While a log can't be written nobody gets a decision, and readiness says why; when the disk is mended, the service goes
// on by itself, and nothing that was answered is missing.
func TestUnavailable(t *testing.T) {
	for _, log := range []string{"decisions", "authority"} {
		t.Run(log, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			disk := ledgertest.NewFaulty(ledgertest.NewMem())
			s := open(t, server.Config{DataDir: dir, FS: disk})
			token := adminToken(t, dir)
			if w := ask(s, token); w.Code != 200 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if err := disk.Inject("any of data/" + log + " forever ENOSPC"); err != nil {
				t.Fatal(err)
			}
			change := func() *httptest.ResponseRecorder {
				return do(s, token, "PUT", "/v1/entities/doc/1", `{"properties":{"x":1}}`)
			}
			touch := change
			if log == "decisions" {
				touch = func() *httptest.ResponseRecorder { return ask(s, token) }
			}
			for range 3 {
				w := touch()
				if w.Code != 503 || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "decision\":") {
					t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
				}
			}
			w := do(s, "", "GET", "/readyz", "")
			if w.Code != 503 || !strings.Contains(w.Body.String(), "log can't be written") || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("/readyz: %d %s", w.Code, w.Body)
			}
			if w := do(s, "", "GET", "/healthz", ""); w.Code != 200 {
				t.Errorf("/healthz: %d", w.Code)
			}
			if w := do(s, "", "GET", "/metrics", ""); !strings.Contains(w.Body.String(), `aver_log_writable{log="`+log+`"} 0`) || strings.Contains(w.Body.String(), "aver_unavailable_total 0") {
				t.Errorf("/metrics does not show it")
			}
			disk.Heal()
			waitFor(t, func() bool { return touch().Code < 300 })
			if w := do(s, "", "GET", "/readyz", ""); w.Code != 200 {
				t.Errorf("/readyz after it was mended: %d %s", w.Code, w.Body)
			}
		})
	}
}

// waitFor waits for what another goroutine brings about by itself.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it did not come about")
		}
	}
}

// A stop finishes what is under way and keeps what was answered.
func TestGracefulStop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, server.Config{DataDir: dir, Listen: "127.0.0.1:0"})
	token := adminToken(t, dir)
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(ctx, l) }()

	var mu sync.Mutex
	answered := map[string]bool{}
	var clients sync.WaitGroup
	enough := sync.OnceFunc(stop)
	for range 4 {
		clients.Go(func() {
			for {
				req, err := http.NewRequest("POST", "http://"+l.Addr().String()+"/access/v1/evaluation", strings.NewReader(question))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Authorization", "Bearer "+token)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return // the server takes no more
				}
				var answer struct {
					Context struct {
						EvaluationID string `json:"evaluation_id"`
					} `json:"context"`
				}
				err = json.NewDecoder(resp.Body).Decode(&answer)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("a request under way was cut off: %d %v", resp.StatusCode, err)
					return
				}
				mu.Lock()
				answered[answer.Context.EvaluationID] = true
				if len(answered) == 50 {
					enough()
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	logs, err := datadir.OpenReaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	size, _ := logs.Decisions.Head()
	if int(size) != len(answered) {
		t.Errorf("%d records of %d answers", size, len(answered))
	}
	for e, err := range logs.Decisions.Entries(0, size) {
		if err != nil {
			t.Fatal(err)
		}
		record, err := aver.ParseRecord(e.Payload)
		if err != nil || !answered[record.ID] {
			t.Errorf("record %d: %v, not one of the answers", e.Index, err)
		}
	}
	if _, err := logs.Decisions.InclusionProof(0, size); err != nil {
		t.Errorf("the last checkpoint is missing: %v", err)
	}
	open(t, server.Config{DataDir: dir}) // the lock is free again
}

func TestNoAuthListensOnLoopbackOnly(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":8470", "[::]:0", "192.0.2.1:80"} {
		_, err := server.Open(t.Context(), server.Config{DataDir: filepath.Join(t.TempDir(), "data"), Listen: listen, InsecureNoAuth: true})
		if err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v", listen, err)
		}
	}
	// Also when somebody brings another listener than the one configured.
	s := open(t, server.Config{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "localhost:0", InsecureNoAuth: true})
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("%v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for says, cfg := range map[string]server.Config{
		"--data":          {},
		"TLS needs both":  {DataDir: dir, TLSCert: "x"},
		"TLS certificate": {DataDir: dir, TLSCert: "/nowhere", TLSKey: "/nowhere"},
		"external URL":    {DataDir: dir, ExternalURL: "https://pdp.example.com/path"},
		"HOST:PORT":       {DataDir: dir, Listen: "localhost", InsecureNoAuth: true},
		"log's origin":    {DataDir: dir, Origin: "a b"},
	} {
		if _, err := server.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", cfg, err, says)
		}
	}
	for says, args := range map[string][2]string{"log level": {"loud", "text"}, "log format": {"info", "xml"}} {
		if _, err := server.NewLogger(io.Discard, args[0], args[1]); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestTLS(t *testing.T) {
	cert, key, pool := selfSigned(t)
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, server.Config{DataDir: dir, Listen: "127.0.0.1:0", TLSCert: cert, TLSKey: key, FS: disk.FS(ledgertest.NewMem())})
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(ctx, l) }()
	get := func(max uint16) (*http.Response, error) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: max}}}
		return client.Get("https://" + l.Addr().String() + "/.well-known/authzen-configuration")
	}
	resp, err := get(0)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var metadata map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&metadata); err != nil || metadata["policy_decision_point"] != "https://"+l.Addr().String() {
		t.Errorf("%v %v", metadata, err)
	}
	if _, err := get(tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	stop()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func selfSigned(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "aver test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, typ string, der []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", keyDER), pool
}

// The access log names the evaluation, never the subject, the path or the token.
func TestAccessLogHoldsNoPersonalData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var log bytes.Buffer
	logger, err := server.NewLogger(&log, "debug", "json")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, server.Config{DataDir: dir, Logger: logger, FS: disk.FS(ledgertest.NewMem())})
	token := adminToken(t, dir)
	w := ask(s, token)
	var answer struct {
		Context struct {
			ID string `json:"evaluation_id"`
		} `json:"context"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	do(s, token, "PUT", "/v1/identities/user/ann-secret", `{"kind":"human_user","name":"Ann Secret"}`)
	do(s, token, "GET", "/v1/identities/user/ann-secret", "")
	do(s, token, "POST", "/access/v1/evaluation", `{"subject":{"type":"user","id":"ann-secret"}`)
	do(s, "wrong-token", "GET", "/v1/policies", "")
	text := log.String()
	for _, want := range []string{answer.Context.ID, `"outcome":"denied"`, `"credential":"admin"`, `"status":200`, `"type":"identity.registered"`, `"route":"PUT /v1/identities/{type}/{id}"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not say %s", want)
		}
	}
	for _, secret := range []string{"ann", "Ann", token, "wrong-token"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log says %q:\n%s", secret, text)
		}
	}
	log.Reset()
	quiet, err := server.NewLogger(&log, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, server.Config{DataDir: filepath.Join(t.TempDir(), "data"), Logger: quiet, FS: disk.FS(ledgertest.NewMem())})
	log.Reset()
	ask(s, adminToken(t, s.Dir().Path()))
	if log.Len() > 0 {
		t.Errorf("a successful evaluation is logged at level info: %s", &log)
	}
}
