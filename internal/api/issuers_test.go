package api_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver/internal/authn/authntest"
	"github.com/aver-authz/aver/internal/server"
)

// An issuer, or a key, that is taken out of the configuration is refused at once, while the server runs: as who uses the
// API, and beside requests. A file with a mistake changes nothing.
func TestIssuerThatIsTakenOutIsRefusedAtOnce(t *testing.T) {
	first, second := authntest.New(t), authntest.New(t)
	file := filepath.Join(t.TempDir(), "issuers.yaml")
	entry := func(is *authntest.Issuer, typ, more string) string {
		return fmt.Sprintf("- issuer: %s\n  subject: {type: %s}\n  api: {audience: aver, roles: {claim: groups, auditor: [audit]}}\n  tokens: {audiences: [payments]}\n%s", is.URL, typ, more)
	}
	changes := 0
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		changes++ // two changes within one tick of the file system's clock look like one
		at := time.Now().Add(time.Duration(changes) * time.Second)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	both := "issuers:\n" + entry(first, "user", "") + entry(second, "partner", "")
	write(both)
	log := &lockedBuffer{}
	s := start(t, func(cfg *server.Config) {
		cfg.Issuers, cfg.Logger = file, slog.New(slog.NewTextHandler(log, nil))
	})
	s.publish("pay", `permit (principal, action == Action::"pay", resource);`)
	sign := func(is *authntest.Issuer, audience string) string {
		return is.Sign(t, "k1", "at+jwt", dict{"iss": is.URL, "sub": "alice", "aud": audience, "groups": "audit", "iat": time.Now().Unix(), "exp": time.Now().Unix() + 300})
	}
	// Both uses of the token of an issuer, as status and outcome with the reason.
	uses := func(is *authntest.Issuer, typ string) string {
		x := s.request("GET", "/v1/grants", nil, bearer(sign(is, "aver")))
		reason := s.evaluate(billOf(typ+":alice", sign(is, "payments"))).ok(200).at("context", "reasons").([]any)[0].(map[string]any)
		return fmt.Sprint(x.status, " ", reason["code"], " ", reason["detail"])
	}
	const good = "200 permitted <nil>"
	becomes := func(is *authntest.Issuer, typ, want string) {
		t.Helper()
		// The file is looked at about once a second, and nothing tells when.
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			got := uses(is, typ)
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s, want %s", typ, got, want)
			}
		}
	}
	becomes(first, "user", good)
	becomes(second, "partner", good)
	write("issuers:\n" + entry(first, "user", ""))
	becomes(second, "partner", "401 token_invalid issuer")
	becomes(first, "user", good)
	write("issuers:\n" + entry(first, "user", "  revoked_keys: [k1]\n"))
	becomes(first, "user", "401 token_invalid key")
	write(both)
	becomes(first, "user", good)
	write("issuers: [{issuer: 'http://example.com'}]")
	for !strings.Contains(log.String(), "stays in effect") {
		becomes(first, "user", good)
	}
	becomes(first, "user", good)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	becomes(first, "user", "401 token_invalid unchecked")
}
