package api_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authn/authntest"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/server"
)

type dict = map[string]any

// issued is a service that accepts the tokens of an issuer and of a trust domain, and its log.
type issued struct {
	*service
	issuer, domain *authntest.Issuer
	data           string
	log            *lockedBuffer
	shown          []string // all tokens that were made
}

// lockedBuffer is a buffer that many may write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const issuersYAML = `
issuers:
  - issuer: %s
    subject: {type: user}
    actors: {type: ai_agent, others: ["spiffe://example.org"]}
    api:
      audience: aver
      roles: {claim: groups, admin: [aver-admins], approver: [duty], auditor: [audit]}
    tokens: {audiences: [payments]}
spiffe:
  - trust_domain: example.org
    bundle: example.org.json
    type: workload
    api: {audience: aver, roles: {pep: ["spiffe://example.org/pep/*"]}}
    tokens: {audiences: [payments]}
`

func startIssued(t *testing.T) *issued {
	is := &issued{issuer: authntest.New(t), domain: authntest.New(t), log: &lockedBuffer{}}
	dir := t.TempDir()
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("example.org.json", is.domain.JWKS())
	write("issuers.yaml", fmt.Appendf(nil, issuersYAML, is.issuer.URL))
	is.service = start(t, onDisk, func(cfg *server.Config) {
		cfg.Issuers = filepath.Join(dir, "issuers.yaml")
		cfg.Logger = slog.New(slog.NewJSONHandler(is.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		is.data = cfg.DataDir
	})
	is.admin("PUT", "/v1/identities/ai_agent/assistant", dict{
		"kind": "ai_agent", "owner": "ops", "purpose": "pay bills",
	}).ok(201)
	is.publish("pay", `
permit (principal == user::"alice", action == Action::"pay", resource);
permit (principal is ai_agent, action == Action::"pay", resource) when { context.aver has token };
`)
	return is
}

// token is one for an audience, with changes to its claims.
func (is *issued) token(audience string, changes dict) string {
	claims := dict{"iss": is.issuer.URL, "sub": "alice", "aud": audience, "iat": time.Now().Unix(), "exp": time.Now().Unix() + 300}
	for name, v := range changes {
		claims[name] = v
	}
	token := is.issuer.Sign(is.t, "k1", "at+jwt", claims)
	is.shown = append(is.shown, token)
	return token
}

func (is *issued) svid(audience, id string) string {
	token := is.domain.Sign(is.t, "k1", "JWT", dict{"sub": id, "aud": audience, "exp": time.Now().Unix() + 300})
	is.shown = append(is.shown, token)
	return token
}

func billOf(subject, token string) dict {
	typ, id, _ := strings.Cut(subject, ":")
	return dict{
		"subject": dict{"type": typ, "id": id}, "action": dict{"name": "pay"},
		"resource": dict{"type": "bill", "id": "b1"}, "context": dict{"token": token},
	}
}

// A2, A3, B1: the token tells who acts for whom and who vouches for it; nothing of it but its digest is kept anywhere.
func TestTokensBesideRequests(t *testing.T) {
	is := startIssued(t)
	good := is.token("payments", dict{"act": dict{"sub": "assistant"}})
	allowed := is.evaluate(billOf("ai_agent:assistant", good)).ok(200)
	if allowed.at("decision") != true {
		t.Fatalf("refused: %s", allowed.body)
	}
	id := allowed.at("context", "evaluation_id").(string)
	text := is.text("/v1/decisions/" + id + "/why")
	for _, want := range []string{
		"assistant asked on the authority of alice, by a token of " + is.issuer.URL + ": alice > assistant.",
		aver.Digest([]byte(good)), "key k1", "alice let assistant act",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("why does not say %q:\n%s", want, text)
		}
	}
	header := bearer(is.tokens[aver.RolePEP])
	header.Set("Aver-Subject-Token", good)
	request := billOf("ai_agent:assistant", good)
	delete(request["context"].(dict), "token")
	if x := is.request("POST", "/access/v1/evaluation", request, header).ok(200); x.at("decision") != true {
		t.Errorf("in the header: %s", x.body)
	}
	header.Set("Aver-Subject-Token", is.token("payments", nil))
	if x := is.request("POST", "/access/v1/evaluation", billOf("ai_agent:assistant", good), header).ok(200); x.at("decision") != false || !strings.Contains(string(x.body), "sent_twice") && !strings.Contains(string(x.body), "different ones") {
		t.Errorf("two tokens: %s", x.body)
	}
	for name, c := range map[string]struct {
		request dict
		code    string
	}{
		"for Aver":         {billOf("user:alice", is.token("aver", nil)), "token_invalid"},
		"expired":          {billOf("user:alice", is.token("payments", dict{"exp": time.Now().Unix() - 60})), "token_expired"},
		"somebody else's":  {billOf("user:alice", is.token("payments", dict{"sub": "bob"})), "token_mismatch"},
		"in a circle":      {billOf("ai_agent:assistant", is.token("payments", dict{"act": dict{"sub": "assistant", "act": dict{"sub": "x", "act": dict{"sub": "assistant"}}}})), "chain_loop"},
		"a wrong workload": {billOf("workload:spiffe://evil.example/x", is.svid("payments", "spiffe://evil.example/x")), "token_invalid"},
	} {
		x := is.evaluate(c.request).ok(200)
		if x.at("decision") != false || !strings.Contains(string(x.body), `"`+c.code+`"`) {
			t.Errorf("%s: %s", name, x.body)
		}
	}
	// In a batch each item's token is its own, and those beside it stand in for one that lacks it.
	batch := dict{"subject": dict{"type": "user", "id": "alice"}, "action": dict{"name": "pay"}, "resource": dict{"type": "bill", "id": "b1"},
		"context":     dict{"token": is.token("payments", nil)},
		"evaluations": []any{dict{}, dict{"context": dict{"token": is.token("payments", dict{"sub": "bob"})}}, dict{}}}
	x := is.evaluations(batch).ok(200)
	var answers struct {
		Evaluations []struct{ Decision bool }
	}
	x.into(&answers)
	if e := answers.Evaluations; len(e) != 3 || !e[0].Decision || e[1].Decision || !e[2].Decision {
		t.Errorf("batch: %s", x.body)
	}
	is.repeat(11)
	is.nothingKept()
}

// A3: who uses Aver with a token of an issuer has the role that the issuer says, and stands so in records and events.
func TestTokensGiveAccess(t *testing.T) {
	is := startIssued(t)
	admin := is.token("aver", dict{"groups": []string{"aver-admins"}, "acr": "phr"})
	x := is.request("PUT", "/v1/entities/bill/b2", dict{"properties": dict{"amount": 5}}, bearer(admin)).ok(201)
	if by := x.at("event", "by", "authentication", "issuer"); by != is.issuer.URL || x.at("event", "by", "name") != `user::"alice"` {
		t.Errorf("the event says %s", x.body)
	}
	pep := is.svid("aver", "spiffe://example.org/pep/eu")
	x = is.request("POST", "/access/v1/evaluation", billOf("user:alice", is.token("payments", nil)), bearer(pep)).ok(200)
	text := is.text("/v1/decisions/" + x.at("context", "evaluation_id").(string) + "/why")
	if !strings.Contains(text, `workload::"spiffe://example.org/pep/eu"`) || !strings.Contains(text, aver.Digest([]byte(pep))) {
		t.Errorf("the record does not say who asked:\n%s", text)
	}
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"no role":             {is.token("aver", nil), 403},
		"a role for reading":  {is.token("aver", dict{"groups": "audit"}), 403},
		"for another":         {is.token("payments", dict{"groups": "aver-admins"}), 401},
		"expired":             {is.token("aver", dict{"groups": "aver-admins", "exp": time.Now().Unix() - 60}), 401},
		"another signature":   {admin[:len(admin)-8] + "AAAAAAAA", 401},
		"of another workload": {is.svid("aver", "spiffe://example.org/web"), 403},
	} {
		if x := is.request("PUT", "/v1/entities/bill/b3", dict{}, bearer(c.token)); x.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, x.status, c.status, x.body)
		}
	}
	// A4: a credential that is still good, of somebody who was suspended.
	is.admin("PUT", "/v1/identities/user/alice", dict{"kind": "human_user"}).ok(201)
	is.request("PUT", "/v1/entities/bill/b4", dict{}, bearer(admin)).ok(201)
	is.admin("POST", "/v1/identities/user/alice/suspend", dict{"reason": "left"}).ok(200)
	is.request("PUT", "/v1/entities/bill/b5", dict{}, bearer(admin)).ok(403)
	is.nothingKept()
	if log := is.log.String(); strings.Contains(log, "alice") || !strings.Contains(log, "oidc:"+aver.Digest([]byte(`user::"alice"`))[:16]) {
		t.Errorf("the log names people, or tells nobody apart:\n%s", log)
	}
}

// E4: who administers by a token of an issuer does not activate what they published, though nobody else has a credential
// but the first administrator.
func TestAdministratorsByTokenNeedASecondOne(t *testing.T) {
	is := startIssued(t)
	alice := bearer(is.token("aver", dict{"groups": []string{"aver-admins"}}))
	bob := bearer(is.token("aver", dict{"groups": []string{"aver-admins"}, "sub": "bob"}))
	x := is.request("POST", "/v1/policies", dict{"name": "own", "files": dict{"own.cedar": "permit (principal, action, resource);"}}, alice).ok(201)
	activate := dict{"digest": x.at("digest")}
	is.request("POST", "/v1/policies/own/activate", activate, alice).problem(403, "denied", "another administrator does")
	is.request("POST", "/v1/policies/own/activate", activate, bob).ok(200)
}

// E4: an approval binds those whom the token names, is by nobody among them, and by a person whom a token proves.
func TestApprovalsOfWhatTokensShow(t *testing.T) {
	is := startIssued(t)
	is.publish("pay", escalating+`permit (principal, action == Action::"pay", resource is payment);`)
	is.admin("PUT", "/v1/identities/ai_agent/tool", dict{"kind": "ai_agent", "owner": "ops", "purpose": "pay bills"}).ok(201)
	for _, name := range []string{"alice", "lena", "luis"} {
		is.admin("PUT", "/v1/identities/user/"+name, dict{"kind": "human_user", "parents": []any{party("group:leads")}}).ok(201)
	}
	ask := func(actors dict, more dict) *exchange {
		q := payment(500)
		q["subject"] = party("ai_agent:assistant")
		q["context"] = dict{"token": is.token("payments", dict{"act": actors})}
		for name, v := range more {
			q["context"].(dict)[name] = v
		}
		return is.evaluate(q).ok(200)
	}
	direct := dict{"sub": "assistant"}
	escalated := ask(direct, nil)
	again := payment(500)
	again["subject"], again["context"] = party("ai_agent:assistant"), dict{}
	again["denial"] = dict{"evaluation_id": escalated.at("context", "evaluation_id")}
	id := is.as(aver.RolePEP, "POST", "/v1/access-requests", again).ok(201).at("task", "id").(string)
	if same := is.as(aver.RolePEP, "POST", "/v1/access-requests", again).ok(202).at("task", "id"); same != id {
		t.Errorf("asked again: %v", same)
	}
	vote := func(who string, body any) *exchange {
		return is.request("POST", "/v1/approvals/"+id+"/approve", body, bearer(is.token("aver", dict{"sub": who, "groups": "duty"})))
	}
	if x := vote("alice", nil); x.status < 400 {
		t.Errorf("somebody in the chain approved: %s", x.body)
	}
	if x := vote("stranger", nil); x.status < 400 {
		t.Errorf("a stranger approved: %s", x.body)
	}
	if x := vote("lena", dict{"approver": party("user:luis")}); x.status < 400 {
		t.Errorf("lena approved as luis: %s", x.body)
	}
	vote("lena", nil).ok(200)
	vote("luis", nil).ok(200)
	cite := dict{"approval": dict{"id": id}}
	if x := ask(dict{"sub": "assistant", "act": dict{"sub": "tool"}}, cite); x.at("context", "outcome") != "escalated" || !strings.Contains(string(x.body), "approval_out_of_scope") {
		t.Errorf("over another chain: %s", x.body)
	}
	if x := ask(direct, cite); x.at("context", "outcome") != "permitted" {
		t.Errorf("approved: %s", x.body)
	}
	is.repeat(5)
	is.nothingKept()
}

// repeat stops the server and decides everything again, at least so many decisions (D2, G3).
func (is *issued) repeat(least uint64) {
	is.t.Helper()
	if err := is.server.Close(); err != nil {
		is.t.Fatal(err)
	}
	logs, err := datadir.OpenReaders(is.data)
	if err != nil {
		is.t.Fatal(err)
	}
	defer logs.Close()
	summary, err := replay.Run(is.t.Context(), logs.Authority, logs.Decisions, replay.Options{})
	if err != nil || summary.Decisions < least || summary.Match != summary.Decisions {
		is.t.Errorf("replay: %+v, %v", summary, err)
	}
	frames, err := replay.ExportFrames(is.t.Context(), logs.Authority, logs.Decisions, io.Discard, replay.FrameOptions{})
	if err != nil || frames.Skipped > 0 || frames.Frames < least {
		is.t.Errorf("frames for other engines: %+v, %v", frames, err)
	}
}

// nothingKept looks for the tokens in all files of the data directory and in the log.
func (is *issued) nothingKept() {
	is.t.Helper()
	looked := 0
	err := filepath.WalkDir(is.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		looked++
		for _, token := range is.shown {
			_, signature, _ := strings.Cut(token[strings.Index(token, ".")+1:], ".")
			if bytes.Contains(text, []byte(signature)) {
				is.t.Errorf("%s holds a token", path)
			}
		}
		return err
	})
	if err != nil || looked < 5 {
		is.t.Errorf("%d files, %v", looked, err)
	}
	for _, token := range is.shown {
		if log := is.log.String(); strings.Contains(log, token) || !strings.Contains(log, "request_id") {
			is.t.Error("the log holds a token, or nothing at all")
		}
	}
}
