package authn

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aver-authz/aver"
)

// provider is oidc-provider, an OpenID provider that is not ours, in a process of its own.
type provider struct {
	t      *testing.T
	url    string
	lines  *bufio.Scanner
	rotate func()
}

// startProvider installs and starts the provider. It takes the network and some seconds, so it is for AVER_LONG, and for
// machines that have Node.js.
func startProvider(t *testing.T) *provider {
	if os.Getenv("AVER_LONG") == "" {
		t.Skip("set AVER_LONG to install and run a real OpenID provider")
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "provider.mjs"} {
		text, err := os.ReadFile(filepath.Join("..", "..", ".ci", "oidc", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.Command("npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	node := exec.Command("node", "provider.mjs")
	node.Dir = dir
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // it ends with its input
		in.Close()
		if err := node.Wait(); err != nil {
			t.Errorf("the provider: %v", err)
		}
	})
	p := &provider{t: t, lines: bufio.NewScanner(out)}
	p.url = p.line()
	p.rotate = func() {
		fmt.Fprintln(in)
		p.line()
	}
	return p
}

func (p *provider) line() string {
	if !p.lines.Scan() {
		p.t.Fatalf("the provider says nothing: %v", p.lines.Err())
	}
	return p.lines.Text()
}

// token asks the provider for an access token, as one of its clients.
func (p *provider) token(client, grant string, form url.Values) string {
	p.t.Helper()
	form.Set("grant_type", grant)
	req, err := http.NewRequest(http.MethodPost, p.url+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, client+"-secret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		p.t.Fatalf("%s: %v %s", resp.Status, err, answer.Error)
	}
	return answer.Token
}

const (
	userGrant     = "urn:aver:test:user"
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// A3, B1: what a real provider issues is understood: discovery, access tokens of users and clients, two exchanges with
// their act chain, authorization_details, and a rotation of its keys.
func TestRealProvider(t *testing.T) {
	p := startProvider(t)
	c, err := parseConfig(fmt.Appendf(nil, `
issuers:
  - issuer: %s
    subject: {type: user}
    clients: {type: application}
    actors: {type: ai_agent}
    api: {audience: %s, roles: {claim: groups, admin: [aver-admins]}}
    tokens: {audiences: [%s]}
`, p.url, aboutAver, aboutPEP), "")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	v, err := New(c, func() time.Time { return now }, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	payments := func(more ...string) url.Values {
		form := url.Values{"resource": {aboutPEP}, "scope": {"pay"}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	first := p.token("portal", userGrant, payments("user", "alice", "details", `[{"type":"payment","actions":["pay"]}]`))
	got := v.Check(ctx, first)
	want := []aver.Properties{{"type": "payment", "actions": []any{"pay"}}}
	if got.Fault != "" || got.Party != (aver.Ref{Type: "user", ID: "alice"}) || got.Client != "portal" || !got.Detailed || !cmp.Equal(got.Details, want) ||
		got.Issuer != p.url || got.KeyID != "k1" || !cmp.Equal(got.Scope, []string{"pay"}) {
		t.Errorf("a user's: %+v", got)
	}
	second := p.token("assistant", exchangeGrant, payments("subject_token", first, "subject_token_type", "urn:ietf:params:oauth:token-type:access_token"))
	third := p.token("tool", exchangeGrant, payments("subject_token", second, "subject_token_type", "urn:ietf:params:oauth:token-type:access_token"))
	parties := []aver.Ref{{Type: "user", ID: "alice"}, {Type: "ai_agent", ID: "assistant"}, {Type: "ai_agent", ID: "tool"}}
	if got := v.Check(ctx, third); !cmp.Equal(got.Parties(), parties) {
		t.Errorf("after two exchanges: %+v", got)
	}
	if got := v.Check(ctx, p.token("assistant", "client_credentials", payments())); got.Party != (aver.Ref{Type: "application", ID: "assistant"}) {
		t.Errorf("a client's own: %+v", got)
	}
	admin := p.token("portal", userGrant, url.Values{"resource": {aboutAver}, "user": {"carol"}, "groups": {"staff aver-admins"}})
	if id, err := v.Authenticate(ctx, admin); err != nil || id.Role != aver.RoleAdmin || id.Ref.ID != "carol" {
		t.Errorf("an administrator's: %+v, %v", id, err)
	}
	if got := v.Check(ctx, admin); got.Fault != aver.TokenAudience {
		t.Errorf("an administrator's, beside a request: %+v", got)
	}
	if id, err := v.Authenticate(ctx, first); err == nil {
		t.Errorf("a user's gives access to Aver: %+v", id)
	}
	p.rotate()
	now = now.Add(keysAgain)
	if got := v.Check(ctx, p.token("portal", userGrant, payments("user", "alice"))); got.Fault != "" || got.KeyID != "k2" {
		t.Errorf("after the keys were rotated: %+v", got)
	}
	if got := v.Check(ctx, first); got.Fault != aver.TokenKey {
		t.Errorf("signed with the key before: %+v", got)
	}
}
