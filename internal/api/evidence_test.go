package api_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
)

type logEntry struct {
	Index   uint64
	Leaf    json.RawMessage
	Payload json.RawMessage
}

// rawMembers gives the members of a JSON object byte by byte as they were sent.
func rawMembers(t testing.TB, body []byte) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// The record comes as the log has it: its SHA-256 is what the leaf says, and the leaf's hash is that of the receipt.
func TestDecisionRecord(t *testing.T) {
	s := startDocs(t)
	q := question("user:<ann> & \"co\"", "read", "doc:1") // characters that encoders like to escape
	x := s.evaluate(q).ok(200)
	id := x.at("context", "evaluation_id").(string)
	var e logEntry
	s.as(aver.RoleAuditor, "GET", "/v1/decisions/"+id, nil).ok(200).into(&e)
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(e.Payload)
	if leaf.Payload != hex.EncodeToString(sum[:]) || leaf.ID != id {
		t.Errorf("the leaf %s does not commit to %s", e.Leaf, e.Payload)
	}
	if got := tlog.RecordHash(e.Leaf).String(); got != x.at("context", "receipt", "leaf_hash") || fmt.Sprint(e.Index) != fmt.Sprint(x.at("context", "receipt", "index")) {
		t.Errorf("leaf hash %s, index %d; the receipt says %v", got, e.Index, x.at("context", "receipt"))
	}
	record, err := aver.ParseRecord(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if record.PEP.Credential != "the-pep" || record.Decision.Outcome != aver.Permitted {
		t.Errorf("%+v", record)
	}
	for _, id := range []string{"x", "01a20c99-d64c-790d-a9ce-dedde9505d41", "00000000-0000-0000-0000-000000000000"} {
		for _, tail := range []string{"", "/proof", "/why"} {
			s.admin("GET", "/v1/decisions/"+id+tail, nil).problem(404, "not-found", "evaluation id")
		}
	}
}

// verifier is the public key of a log as GET /v1/log gives it.
func (s *service) verifier(log string) note.Verifier {
	s.t.Helper()
	v, err := note.NewVerifier(s.admin("GET", "/v1/log", nil).at(log, "verifier_key").(string))
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// head reads a checkpoint with nothing but the note and tlog packages.
func head(t testing.TB, checkpoint string, v note.Verifier) tlog.Tree {
	t.Helper()
	n, err := note.Open([]byte(checkpoint), note.VerifierList(v))
	if err != nil {
		t.Fatalf("%v in %q", err, checkpoint)
	}
	lines := strings.Split(n.Text, "\n")
	var tree tlog.Tree
	if _, err := fmt.Sscan(lines[1], &tree.N); err != nil {
		t.Fatal(err)
	}
	if tree.Hash, err = tlog.ParseHash(lines[2]); err != nil || lines[0] != v.Name() {
		t.Fatalf("%v in %q", err, checkpoint)
	}
	return tree
}

func hashes(t testing.TB, v any) (out []tlog.Hash) {
	t.Helper()
	for _, text := range v.([]any) {
		h, err := tlog.ParseHash(text.(string))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

func TestProofs(t *testing.T) {
	s := startDocs(t)
	before := s.recorded()
	var ids []string
	for i := range 20 {
		ids = append(ids, s.evaluate(question("user:ann", "read", fmt.Sprint("doc:", i))).ok(200).at("context", "evaluation_id").(string))
	}
	v := s.verifier("decisions")
	for n, id := range ids {
		i := before + n
		x := s.as(aver.RoleAuditor, "GET", "/v1/decisions/"+id+"/proof", nil).ok(200)
		tree := head(t, x.at("checkpoint").(string), v)
		leaf := tlog.RecordHash(rawMembers(t, x.body)["leaf"])
		if leaf.String() != x.at("leaf_hash") || x.at("origin") != "aver.test/decisions" || number(t, x.at("index")) != i {
			t.Errorf("%s", x.body)
		}
		if err := tlog.CheckRecord(hashes(t, x.at("proof")), tree.N, tree.Hash, int64(i), leaf); err != nil {
			t.Errorf("record %d: %v", i, err)
		}
		// The same as C2SP tlog-proof.
		lines := strings.SplitN(s.text("/v1/decisions/"+id+"/proof"), "\n\n", 2)
		rest, ok := strings.CutPrefix(lines[0], fmt.Sprintf("c2sp.org/tlog-proof@v1\nindex %d\n", i))
		if !ok {
			t.Fatalf("%q", lines[0])
		}
		var path []tlog.Hash
		for line := range strings.Lines(rest) {
			h, err := tlog.ParseHash(strings.TrimSuffix(line, "\n"))
			if err != nil {
				t.Fatal(err)
			}
			path = append(path, h)
		}
		tree = head(t, lines[1], v)
		if err := tlog.CheckRecord(path, tree.N, tree.Hash, int64(i), leaf); err != nil {
			t.Errorf("record %d, as text: %v", i, err)
		}
	}
	for _, c := range []struct{ older, newer int }{{1, 20}, {7, 13}, {20, 20}} {
		old := s.treeAt(c.older)
		x := s.admin("GET", fmt.Sprintf("/v1/log/decisions/consistency?old=%d&new=%d", c.older, c.newer), nil).ok(200)
		if err := tlog.CheckTree(hashes(t, x.at("proof")), int64(c.newer), s.treeAt(c.newer), int64(c.older), old); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	x := s.admin("GET", "/v1/log/decisions/consistency?old=5", nil).ok(200)
	if tree := head(t, x.at("checkpoint").(string), v); tree.N != int64(number(t, x.at("new"))) {
		t.Errorf("%s", x.body)
	}
	for _, q := range []string{"", "?old=0", "?old=3&new=2", "?old=x"} {
		s.admin("GET", "/v1/log/decisions/consistency"+q, nil).problem(400, "invalid-request")
	}
	s.admin("GET", "/v1/log/decisions/consistency?old=1&new=1000", nil).problem(404, "not-found")
	s.admin("GET", "/v1/log/other/consistency?old=1", nil).problem(404, "not-found", "authority and decisions")
}

// treeAt is the root of the decision log's first n entries, computed from the entries themselves.
func (s *service) treeAt(n int) tlog.Hash {
	s.t.Helper()
	x := s.admin("GET", fmt.Sprintf("/v1/log/decisions/entries?limit=%d", n), nil).ok(200)
	var page struct{ Entries []logEntry }
	x.into(&page)
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, i := range at {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for i, e := range page.Entries {
		h, err := tlog.StoredHashes(int64(i), e.Leaf, reader)
		if err != nil {
			s.t.Fatal(err)
		}
		stored = append(stored, h...)
	}
	root, err := tlog.TreeHash(int64(n), reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return root
}

func TestListDecisions(t *testing.T) {
	s := startDocs(t)
	before := s.recorded()
	for i := range 10 {
		s.evaluate(question("user:ann", []string{"read", "write"}[i%2], "doc:1")).ok(200)
	}
	list := func(query string) (indexes []int, next int) {
		var page struct {
			Decisions []logEntry
			Next      string
		}
		s.as(aver.RoleAuditor, "GET", "/v1/decisions?"+query, nil).ok(200).into(&page)
		for _, e := range page.Decisions {
			indexes = append(indexes, int(e.Index)-before)
		}
		if page.Next != "" {
			next, _ = strconv.Atoi(page.Next)
			next -= before
		}
		return indexes, next
	}
	if got, next := list("limit=3"); fmt.Sprint(got) != "[9 8 7]" || next != 7 {
		t.Errorf("newest first: %v, next %d", got, next)
	}
	if got, next := list(fmt.Sprint("limit=3&before=", before+3)); fmt.Sprint(got) != "[2 1 0]" || next != 0 {
		t.Errorf("behind 3: %v, next %d", got, next)
	}
	if got, _ := list("limit=3&before=3"); fmt.Sprint(got) != fmt.Sprint([]int{2 - before, 1 - before, -before}) {
		t.Errorf("the last page: %v", got)
	}
	var last struct{ Next string }
	s.admin("GET", "/v1/decisions?limit=3&before=3", nil).ok(200).into(&last)
	if last.Next != "" {
		t.Errorf("behind the last page comes %s", last.Next)
	}
	if got, _ := list("outcome=denied"); fmt.Sprint(got) != "[9 7 5 3 1]" {
		t.Errorf("denied: %v", got)
	}
	if got, next := list(fmt.Sprint("outcome=permitted&limit=2&before=", before+7)); fmt.Sprint(got) != "[6 4]" || next != 4 {
		t.Errorf("permitted, before 7: %v, next %d", got, next)
	}
	if got, _ := list("outcome=escalated"); got != nil {
		t.Errorf("escalated: %v", got)
	}
	for _, q := range []string{"outcome=maybe", "before=-1", "limit=0"} {
		s.admin("GET", "/v1/decisions?"+q, nil).problem(400, "invalid-request", "?")
	}
}

func TestEventsAndEntries(t *testing.T) {
	s := startDocs(t)
	var page struct {
		Events []logEntry
		Next   string
	}
	s.as(aver.RoleAuditor, "GET", "/v1/events?limit=2", nil).ok(200).into(&page)
	if len(page.Events) != 2 || page.Events[0].Index != 0 || page.Next != "1" {
		t.Fatalf("%+v", page)
	}
	event, err := aver.ParseEvent(page.Events[0].Payload)
	if err != nil || event.Type != aver.EventPolicyPublished {
		t.Errorf("%v %+v", err, event)
	}
	seen := 2
	for page.Next != "" {
		next := page.Next
		page.Next = ""
		s.admin("GET", "/v1/events?limit=2&after="+next, nil).ok(200).into(&page)
		for _, e := range page.Events {
			if int(e.Index) != seen {
				t.Errorf("event %d where %d was due", e.Index, seen)
			}
			seen++
		}
	}
	if size := number(t, s.admin("GET", "/v1/log", nil).at("authority", "size")); size != seen {
		t.Errorf("%d of %d events", seen, size)
	}
	one, same := s.admin("GET", "/v1/events/2", nil).ok(200), s.admin("GET", "/v1/log/authority/entries/2", nil).ok(200)
	if string(one.body) != string(same.body) {
		t.Errorf("%s\n%s", one.body, same.body)
	}
	x := s.admin("GET", "/v1/events/2/proof", nil).ok(200)
	tree := head(t, x.at("checkpoint").(string), s.verifier("authority"))
	if err := tlog.CheckRecord(hashes(t, x.at("proof")), tree.N, tree.Hash, 2, tlog.RecordHash(rawMembers(t, x.body)["leaf"])); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/v1/events/999", "/v1/events/x", "/v1/events/999/proof", "/v1/log/decisions/entries/999", "/v1/log/x/entries"} {
		s.admin("GET", path, nil).problem(404, "not-found")
	}
	s.admin("GET", "/v1/events?after=x", nil).problem(400, "invalid-request")
	if x := s.admin("GET", "/v1/events?after=999", nil).ok(200); len(x.at("events").([]any)) != 0 {
		t.Errorf("%s", x.body)
	}
}

// A page ends early where its payloads grow large, and the next one goes on behind it.
func TestPagesOfLargeEntries(t *testing.T) {
	s := start(t)
	files := map[string]string{}
	for i := range 8 {
		files[fmt.Sprintf("f%d.cedar", i)] = "// " + strings.Repeat("x", 200<<10) + "\n"
	}
	for i := range 4 { // 1.6 MB each
		files["docs.cedar"] = fmt.Sprintf("permit (principal, action == Action::\"a%d\", resource);", i)
		s.admin("POST", "/v1/policies", map[string]any{"name": "docs", "files": files}).ok(201)
	}
	size := number(t, s.admin("GET", "/v1/log", nil).at("authority", "size"))
	seen, pages, query := 0, 0, ""
	for {
		x := s.admin("GET", "/v1/events"+query, nil).ok(200)
		if len(x.body) > 8<<20 {
			t.Fatalf("a page of %d bytes", len(x.body))
		}
		for _, e := range x.at("events").([]any) {
			if number(t, e.(map[string]any)["index"]) != seen {
				t.Fatalf("entry %v where %d was due", e.(map[string]any)["index"], seen)
			}
			seen++
		}
		pages++
		next, ok := x.at("next").(string)
		if !ok {
			break
		}
		query = "?after=" + next
	}
	if seen != size || pages < 2 {
		t.Errorf("%d of %d events in %d pages", seen, size, pages)
	}
}

func TestWhy(t *testing.T) {
	s := startDocs(t)
	id := s.evaluate(question("user:ann", "write", "doc:1")).ok(200).at("context", "evaluation_id").(string)
	s.publish("later", `permit (principal, action, resource);`) // the state it was decided at is not the current one
	x := s.as(aver.RoleAuditor, "GET", "/v1/decisions/"+id+"/why", nil).ok(200)
	if x.at("evaluation_id") != id || x.at("outcome") != "denied" || x.at("decided_again", "verdict") != "match" {
		t.Errorf("%s", x.body)
	}
	if text := s.text("/v1/decisions/" + id + "/why"); !strings.Contains(text, "ann") || !strings.Contains(text, "write") {
		t.Errorf("%s", text)
	}
}

// The logs can be read as C2SP tlog-tiles by a client that knows nothing of Aver.
func TestTiles(t *testing.T) {
	s := startDocs(t)
	items := make([]any, 300-s.recorded())
	for i := range items {
		items[i] = map[string]any{}
	}
	body := question("user:ann", "read", "doc:1")
	body["evaluations"] = items
	x := s.evaluations(body).ok(200)
	last := x.at("evaluations").([]any)[len(items)-1].(map[string]any)["context"].(map[string]any)["evaluation_id"].(string)
	s.admin("GET", "/v1/decisions/"+last+"/proof", nil).ok(200) // so a checkpoint covers all

	get := func(path string) []byte { return s.as(aver.RolePEP, "GET", "/log/decisions/"+path, nil).ok(200).body }
	tree := head(t, string(get("checkpoint")), s.verifier("decisions"))
	if tree.N != 300 {
		t.Fatalf("checkpoint of %d", tree.N)
	}
	level0 := append(get("tile/0/000"), get("tile/0/001.p/44")...)
	reader := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, i := range at {
			level, n := tlog.SplitStoredHashIndex(i)
			out = append(out, subtree(level0, n<<level, 1<<level))
		}
		return out, nil
	})
	if root, err := tlog.TreeHash(tree.N, reader); err != nil || root != tree.Hash {
		t.Errorf("the tiles lead to %v, %v", root, err)
	}
	if bundle := get("tile/entries/001.p/44"); !strings.Contains(string(bundle), last) {
		t.Error("the last entry is not in the last bundle")
	}
	s.as(aver.RolePEP, "GET", "/log/decisions/tile/0/002", nil).ok(404)
	s.as(aver.RoleAuditor, "GET", "/log/authority/checkpoint", nil).ok(200)
}

func subtree(hashes []byte, from, n int64) (h tlog.Hash) {
	if n == 1 {
		copy(h[:], hashes[from*tlog.HashSize:])
		return h
	}
	return tlog.NodeHash(subtree(hashes, from, n/2), subtree(hashes, from+n/2, n/2))
}

// The commit receipt of an answer is the log's signature over the group it was written in.
func TestCommitReceipt(t *testing.T) {
	s := startDocs(t)
	body := question("user:ann", "read", "doc:1")
	body["evaluations"] = []any{map[string]any{}, map[string]any{}, map[string]any{}}
	v := s.verifier("decisions")
	for _, a := range s.evaluations(body).ok(200).at("evaluations").([]any) {
		receipt := a.(map[string]any)["context"].(map[string]any)["receipt"].(map[string]any)
		commit := receipt["commit"].(map[string]any)
		n, err := note.Open([]byte(commit["note"].(string)), note.VerifierList(v))
		if err != nil {
			t.Fatal(err)
		}
		var first, count int64
		var root64 string
		text := strings.TrimPrefix(n.Text, v.Name()+"/commit\n")
		if _, err := fmt.Sscan(text, &first, &count, &root64); err != nil {
			t.Fatalf("%v in %q", err, n.Text)
		}
		root, err := tlog.ParseHash(root64)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := base64.StdEncoding.DecodeString(receipt["leaf_hash"].(string))
		if err != nil {
			t.Fatal(err)
		}
		index := int64(number(t, receipt["index"]))
		if err := tlog.CheckRecord(hashes(t, commit["path"]), count, root, index-first, tlog.Hash(leaf)); err != nil {
			t.Error(err)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := startDocs(t)
	before := s.recorded()
	s.evaluate(question("user:ann", "read", "doc:1")).ok(200)
	s.evaluate(question("user:ann", "write", "doc:1")).ok(200)
	s.evaluate("{").ok(400)
	req, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer req.Body.Close()
	text, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`aver_decisions_total{outcome="permitted"} 1`, `aver_decisions_total{outcome="denied"} 1`, `aver_decisions_total{outcome="escalated"} 0`,
		`aver_evaluation_duration_seconds_count 2`, `aver_http_requests_total{route="POST /access/v1/evaluation",status="400"} 1`,
		fmt.Sprintf(`aver_log_entries{log="decisions"} %d`, before+2), `aver_log_checkpoint_entries{log="authority"} `, `aver_log_lag_entries{log="decisions"} `,
		`aver_log_writable{log="decisions"} 1`, `aver_unavailable_total 0`, `aver_clock_behind_seconds 0`, `aver_build_info{`,
		`aver_http_requests_in_flight 1`, `go_goroutines `, `process_open_fds `,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(string(text), "ann") {
		t.Error("a subject's id stands in the metrics")
	}
}
