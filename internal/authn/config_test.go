package authn

import (
	"os"
	"strings"
	"testing"
)

const goodIssuer = `issuer: "https://login.example.com", subject: {type: user}`

// A mistake in issuers.yaml is told in words, and never taken for a weaker configuration.
func TestConfigErrors(t *testing.T) {
	issuer := func(text string) string { return "issuers: [{" + text + "}]" }
	spiffe := func(text string) string { return "spiffe: [{" + text + "}]" }
	tokens := `, tokens: {audiences: [pep]}`
	for name, c := range map[string]struct{ text, says string }{
		"empty":                    {"", "neither issuers nor spiffe"},
		"unknown member":           {issuer(goodIssuer + tokens + `, audiance: x`), "audiance"},
		"http":                     {issuer(`issuer: "http://login.example.com", subject: {type: user}` + tokens), "https is needed"},
		"looks like loopback":      {issuer(`issuer: "http://127.0.0.1.example.com", subject: {type: user}` + tokens), "https is needed"},
		"file":                     {issuer(`issuer: "file:///etc/passwd", subject: {type: user}` + tokens), "plain URL"},
		"with a password":          {issuer(`issuer: "https://a:b@login.example.com", subject: {type: user}` + tokens), "plain URL"},
		"keys over http":           {issuer(goodIssuer + `, jwks: "http://keys.example.com"` + tokens), "jwks"},
		"HMAC":                     {issuer(goodIssuer + `, algorithms: [HS256]` + tokens), "HS256"},
		"none":                     {issuer(goodIssuer + `, algorithms: [none]` + tokens), "none"},
		"no algorithm":             {issuer(goodIssuer + `, algorithms: []` + tokens), "at least one"},
		"for nothing":              {issuer(goodIssuer), "what its tokens are for"},
		"no type":                  {issuer(`issuer: "https://login.example.com"` + tokens), "type"},
		"Aver's own type":          {issuer(`issuer: "https://login.example.com", subject: {type: "Aver::Policy"}` + tokens), "Aver's own"},
		"Aver's credentials":       {issuer(`issuer: "https://login.example.com", subject: {type: credential}` + tokens), "Aver's own"},
		"Aver's credentials by":    {issuer(goodIssuer + `, signals: {audience: aver, opaque: {type: credential}}`), "none of Aver's own"},
		"no audience":              {issuer(goodIssuer + `, tokens: {audiences: []}`), "audiences"},
		"no audience for Aver":     {issuer(goodIssuer + `, api: {}`), "audience"},
		"one audience for both":    {issuer(goodIssuer + tokens + `, api: {audience: pep}`), "must differ"},
		"roles without a claim":    {issuer(goodIssuer + `, api: {audience: aver, roles: {admin: [x]}}`), "claim"},
		"twice":                    {`issuers: [{` + goodIssuer + tokens + `}, {` + goodIssuer + tokens + `}]`, "twice"},
		"two who name the same":    {`issuers: [{` + goodIssuer + tokens + `}, {issuer: "https://b.example", subject: {type: user, prefix: "b:"}` + tokens + `}]`, "both name the same user"},
		"an issuer and a workload": {issuer(`issuer: "https://login.example.com", subject: {type: workload}`+tokens) + "\n" + spiffe(`trust_domain: example.org, bundle: x, type: workload`+tokens), "both name the same workload"},
		"actors of nobody":         {issuer(goodIssuer + tokens + `, actors: {type: ai_agent, others: ["https://b.example"]}`), "not another issuer"},
		"trust domain with a path": {spiffe(`trust_domain: example.org/x, bundle: x, type: workload` + tokens), "trust domain"},
		"trust domain as an id":    {spiffe(`trust_domain: "spiffe://example.org", bundle: x, type: workload` + tokens), "write it as"},
		"no bundle":                {spiffe(`trust_domain: example.org, type: workload` + tokens), "bundle"},
	} {
		if _, err := parseConfig([]byte(c.text), ""); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	c, err := parseConfig([]byte(spiffe(`trust_domain: example.org, bundle: nowhere.json, type: workload`+tokens)), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(c, nil, nil); err == nil || !strings.Contains(err.Error(), "nowhere.json") {
		t.Errorf("a bundle that is not there: %v", err)
	}
}

// The example that operators copy is valid.
func TestDocumentedConfig(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```yaml\nissuers:")
	example, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatal("docs/operating.md has no example")
	}
	for name, text := range map[string]string{
		"as it is":               "issuers:" + example,
		"with what is commented": strings.NewReplacer("# jwks", "jwks", "# alg", "alg", "# unt", "unt", "{type: ai_agent}", `{type: ai_agent, others: ["spiffe://example.org"]}`).Replace("issuers:" + example),
	} {
		c, err := parseConfig([]byte(text), "")
		if err != nil || len(c.Issuers) != 1 || len(c.SPIFFE) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
