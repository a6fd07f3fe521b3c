package authority_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

var rewrite = flag.Bool("update", false, "rewrite the golden files")

// life is a short history with every type of event in it.
func life() []change {
	anna := user("anna", "group:finance")
	anna.Name = "Anna Ek"
	anna.Properties = aver.Properties{"clearance": int64(3), "since": map[string]any{"__extn": map[string]any{"fn": "datetime", "arg": "2024-05-01"}}}
	tools := []string{"search", "pay"}
	agent := aver.Identity{Ref: ref("ai_agent:bot"), Kind: aver.AIAgent, Owner: "anna", Purpose: "pays small invoices", Expires: start + 1e10, Tools: &tools}
	return []change{
		publish(first), activate(first),
		publish(second), activate(second),
		publish(other), activate(other), retire(other),
		{aver.EventEntityPut, aver.Entity{Ref: ref("group:finance"), Properties: aver.Properties{"note": "<&> \u2028"}, Parents: refs("group:all")}},
		register(anna), register(agent), suspend("ai_agent:bot"), resume("ai_agent:bot"),
		update(anna), register(user("bob")), retireID("user:bob"),
		put("doc:1"), put("doc:2"), remove("doc:2"),
		grant("g-1", "user:anna", "ai_agent:bot", depth(1), expires(start+1e9), condition("resource.amount < 100")),
		grant("g-2", "ai_agent:bot", "ai_agent:helper", under("g-1"), expires(start+1e8)),
		revoke("g-1"),
		credential("admin", aver.RoleAdmin, digests[0]),
		credential("gateway", aver.RolePEP, digests[1]),
		revokeCredential("gateway"),
	}
}

func TestStateAfterEvents(t *testing.T) {
	s := after(t, life()...)
	if s.Size() != 24 || s.Time() != start+23000 {
		t.Errorf("size %d, time %s", s.Size(), s.Time())
	}

	if digest, event, ok := s.Active("payments"); digest != second.Digest || event != 3 || !ok {
		t.Errorf("active: %s %d %v", digest, event, ok)
	}
	if _, _, ok := s.Active("data"); ok {
		t.Error("a retired bundle is active")
	}
	old, _ := s.Bundle("payments", first.Digest)
	if got, want := history(old), "+1 -3"; got != want || old.Event != 0 || old.Active {
		t.Errorf("history of the replaced version: %s, want %s", got, want)
	}
	var names []string
	for _, v := range s.Bundles() {
		names = append(names, fmt.Sprint(v.Bundle.Name(), v.Event))
	}
	if got := strings.Join(names, " "); got != "data4 payments0 payments2" {
		t.Errorf("bundles: %s", got)
	}
	if got := s.Policies().Rules(); len(got) != 1 || got[0].ID != "payments/main#1" {
		t.Errorf("active policies: %v", got)
	}
	if want := aver.Digest([]byte(`[["payments","` + second.Digest + `"]]`)); s.PoliciesDigest() != want {
		t.Errorf("policies digest %s, want %s", s.PoliciesDigest(), want)
	}
	if want := aver.Digest([]byte(`[]`)); authority.New().PoliciesDigest() != want {
		t.Errorf("policies digest of nothing: %s, want %s", authority.New().PoliciesDigest(), want)
	}

	bot, ok := s.Identity(ref("ai_agent:bot"))
	if !ok || bot.Status != aver.Active || bot.Event != 11 || bot.Registered.Event != 9 || bot.Reason != "reason 11" || bot.By.Name != "root" {
		t.Errorf("bot: %+v", bot)
	}
	var ids []string
	for _, i := range s.Identities() {
		ids = append(ids, i.ID+" "+string(i.Status))
	}
	if diff := cmp.Diff([]string{"bot active", "anna active", "bob retired"}, ids); diff != "" {
		t.Error(diff)
	}
	anna, event, ok := s.Entity(types.NewEntityUID("user", "anna"))
	clearance, _ := anna.Attributes.Get("clearance")
	if !ok || event != 12 || clearance != types.Long(3) || !anna.Parents.Contains(types.NewEntityUID("group", "finance")) {
		t.Errorf("anna in Cedar: %v, event %d", anna, event)
	}
	if _, event, ok := s.Entity(types.NewEntityUID("doc", "1")); !ok || event != 15 {
		t.Errorf("doc 1: event %d", event)
	}
	for _, gone := range []string{"2", "3"} {
		if _, _, ok := s.Entity(types.NewEntityUID("doc", types.String(gone))); ok {
			t.Errorf("doc %s is there", gone)
		}
	}

	g, _ := s.Grant("g-1")
	if g.Event != 18 || g.Revoked == nil || g.Revoked.Event != 20 || g.Revoked.Reason != "reason 20" || g.Permit == nil {
		t.Errorf("g-1: %+v", g)
	}
	if g, _ := s.Grant("g-2"); g.Event != 19 || g.Revoked != nil {
		t.Errorf("g-2: %+v", g)
	}
	if c, ok := s.Credential(digests[1]); !ok || c.Name != "gateway" || c.Revoked.Event != 23 {
		t.Errorf("gateway: %+v", c)
	}
	if c, ok := s.Credential(digests[0]); !ok || c.Role != aver.RoleAdmin || c.Revoked != nil {
		t.Errorf("admin: %+v", c)
	}
}

func history(v *authority.BundleVersion) string {
	var out []string
	for _, a := range v.History {
		sign := "-"
		if a.Active {
			sign = "+"
		}
		out = append(out, fmt.Sprint(sign, a.Event))
	}
	return strings.ReplaceAll(strings.Join(out, " "), "  ", " ")
}

// A version that was retired can be activated again, which is how one goes back.
func TestActivateAgain(t *testing.T) {
	s := after(t, publish(first), publish(second), activate(first), activate(second), activate(first), retire(first), activate(first))
	v, _ := s.Bundle("payments", first.Digest)
	if got, want := history(v), "+2 -3 +4 -5 +6"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
	if _, event, _ := s.Active("payments"); event != 6 {
		t.Errorf("active since event %d", event)
	}
}

// Compiling policies is slow, so it happens once for each change of them.
func TestPoliciesAreCompiledOncePerChange(t *testing.T) {
	s := after(t, publish(first), activate(first))
	set := s.Policies()
	later, err := s.Apply(eventAt(2, put("doc:1")))
	if err != nil {
		t.Fatal(err)
	}
	if later.Policies() != set {
		t.Error("an event about an entity compiled the policies again")
	}
	later, err = later.Apply(eventAt(3, retire(first)))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(later.Policies().Rules()); n != 0 {
		t.Errorf("%d policies are left after the retirement", n)
	}
	if n := len(s.Policies().Rules()); n != 1 {
		t.Errorf("the state before has %d policies", n)
	}
}

// randomChanges draws attempts over few names, so that many collide and are refused.
func randomChanges(t *rapid.T) []change {
	names := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	user1 := rapid.Custom(func(t *rapid.T) aver.Identity {
		i := user(names.Draw(t, "user"))
		if rapid.Bool().Draw(t, "grouped") {
			i.Parents = refs("g:" + names.Draw(t, "group"))
		}
		i.Properties = aver.Properties{"n": int64(rapid.IntRange(0, 3).Draw(t, "n"))}
		return i
	})
	bundles := rapid.SampledFrom([]aver.PolicyPublished{first, second, other})
	one := rapid.Custom(func(t *rapid.T) change {
		switch rapid.IntRange(0, 13).Draw(t, "type") {
		case 0:
			return publish(bundles.Draw(t, "bundle"))
		case 1:
			return activate(bundles.Draw(t, "bundle"))
		case 2:
			return retire(bundles.Draw(t, "bundle"))
		case 3:
			return register(user1.Draw(t, "identity"))
		case 4:
			return update(user1.Draw(t, "identity"))
		case 5:
			return suspend("user:" + names.Draw(t, "user"))
		case 6:
			return resume("user:" + names.Draw(t, "user"))
		case 7:
			return retireID("user:" + names.Draw(t, "user"))
		case 8:
			return put(rapid.SampledFrom([]string{"g:", "user:"}).Draw(t, "type")+names.Draw(t, "id"), "g:"+names.Draw(t, "parent"))
		case 9:
			return remove("g:" + names.Draw(t, "id"))
		case 10:
			return grant(names.Draw(t, "grant"), "user:"+names.Draw(t, "from"), "user:"+names.Draw(t, "to"), depth(rapid.IntRange(0, 2).Draw(t, "depth")),
				under(rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "parent")))
		case 11:
			return revoke(names.Draw(t, "grant"))
		case 12:
			return credential(names.Draw(t, "name"), aver.RolePEP, rapid.SampledFrom(digests).Draw(t, "digest"))
		}
		return revokeCredential(names.Draw(t, "name"))
	})
	return rapid.SliceOfN(one, 0, 60).Draw(t, "changes")
}

// The fold is the same however the log is cut into batches, and however often it went through a snapshot. States that
// were handed out before never change.
func TestFoldIsTheSameForAnyBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		oneByOne := authority.New()
		var valid []*aver.Event
		states, dumps := []*authority.State{oneByOne}, []string{oneByOne.Digest()}
		for _, c := range randomChanges(t) {
			e := eventAt(oneByOne.Size(), c)
			next, err := oneByOne.Apply(e)
			var invalid *authority.InvalidEventError
			switch {
			case err == nil:
				valid, oneByOne = append(valid, e), next
				states, dumps = append(states, next), append(dumps, next.Digest())
			case !errors.As(err, &invalid):
				t.Fatal(err)
			}
		}

		batched := authority.New()
		for rest := valid; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "batch")
			next, err := authority.Fold(batched, events(rest[:n]))
			if err != nil {
				t.Fatal(err)
			}
			batched, rest = next, rest[n:]
			if rapid.Bool().Draw(t, "snapshot") {
				batched = throughSnapshot(t, batched)
			}
			if batched.Digest() != dumps[batched.Size()] {
				t.Fatalf("after %d events the batched state differs", batched.Size())
			}
			if batched.PoliciesDigest() != states[batched.Size()].PoliciesDigest() {
				t.Fatalf("after %d events the active policies differ", batched.Size())
			}
		}
		for i, s := range states {
			if s.Digest() != dumps[i] {
				t.Fatalf("the state after %d events changed later", i)
			}
		}
	})
}

func throughSnapshot(t rapid.TB, s *authority.State) *authority.State {
	var file bytes.Buffer
	if err := s.WriteSnapshot(&file, "root"); err != nil {
		t.Fatal(err)
	}
	again, root, err := authority.ReadSnapshot(&file)
	if err != nil || root != "root" {
		t.Fatal(root, err)
	}
	return again
}

// What is compiled is not in a snapshot and must come back all the same.
func TestSnapshotBringsBackWhatIsCompiled(t *testing.T) {
	s := after(t, life()...)
	again := throughSnapshot(t, s)
	if got, want := again.Policies().Rules()[0].Text, s.Policies().Rules()[0].Text; got != want {
		t.Errorf("policies: %q, want %q", got, want)
	}
	uid := types.NewEntityUID("user", "anna")
	got, gotEvent, _ := again.Entity(uid)
	want, wantEvent, _ := s.Entity(uid)
	if !got.Equal(want) || gotEvent != wantEvent {
		t.Errorf("entity %v of event %d, want %v of %d", got, gotEvent, want, wantEvent)
	}
	g, _ := again.Grant("g-1")
	h, _ := s.Grant("g-1")
	if g.Permit.Rule().Text != h.Permit.Rule().Text {
		t.Errorf("permit %q", g.Permit.Rule().Text)
	}
	if again.Time() != s.Time() {
		t.Errorf("time %s", again.Time())
	}
}

func TestSnapshotFormat(t *testing.T) {
	var got bytes.Buffer
	if err := after(t, life()...).WriteSnapshot(&got, "cm9vdA=="); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/snapshot.golden"
	if *rewrite {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestDamagedSnapshotIsRefused(t *testing.T) {
	var file bytes.Buffer
	if err := after(t, life()...).WriteSnapshot(&file, "root"); err != nil {
		t.Fatal(err)
	}
	good := file.Bytes()
	refused := func(what string, text []byte) {
		t.Helper()
		if s, _, err := authority.ReadSnapshot(bytes.NewReader(text)); err == nil || s != nil {
			t.Errorf("%s was accepted", what)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		i, bit := rng.IntN(len(good)), byte(1)<<rng.IntN(8)
		bad := bytes.Clone(good)
		bad[i] ^= bit
		refused(fmt.Sprintf("bit %d of byte %d flipped", bit, i), bad)
		refused(fmt.Sprintf("the first %d bytes", i), good[:i])
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	for i := range len(lines) - 1 {
		refused(fmt.Sprintf("line %d missing", i+1), bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil))
	}
	refused("more at the end", append(bytes.Clone(good), '\n'))
}

// Readers hold a state while the next ones are made from it; run with -race.
func TestReadersWhileWriting(t *testing.T) {
	s := after(t, life()...)
	want := s.Digest()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 20 {
				s.Identity(ref("user:anna"))
				s.Grant("g-1")
				s.Policies()
				if s.Digest() != want {
					t.Error("the state changed under a reader")
				}
			}
		})
	}
	next := s
	for i := range 200 {
		var err error
		if next, err = next.Apply(eventAt(next.Size(), put(fmt.Sprint("doc:new-", i)))); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
}

func TestFoldStopsAtAnInvalidEvent(t *testing.T) {
	list := []*aver.Event{eventAt(0, put("doc:1")), eventAt(1, remove("doc:2")), eventAt(2, put("doc:3"))}
	s, err := authority.Fold(authority.New(), events(list))
	if s != nil || err == nil || !strings.HasPrefix(err.Error(), "authority log, event 1: entity.removed: there is no entity") {
		t.Errorf("got %v, %v", s, err)
	}
	broken := errors.New("disk gone")
	s, err = authority.Fold(authority.New(), func(yield func(*aver.Event, error) bool) { yield(nil, broken) })
	if s != nil || !errors.Is(err, broken) {
		t.Errorf("got %v, %v", s, err)
	}
}

// many yields n events: identities, each with a grant.
func many(n int) iter.Seq2[*aver.Event, error] {
	return func(yield func(*aver.Event, error) bool) {
		for i := range n / 2 {
			id := fmt.Sprintf("u%d", i)
			if !yield(eventAt(uint64(2*i), register(user(id))), nil) {
				return
			}
			if !yield(eventAt(uint64(2*i+1), grant("g"+id, "user:"+id, "user:other")), nil) {
				return
			}
		}
	}
}

func BenchmarkFold(b *testing.B) {
	for b.Loop() {
		if _, err := authority.Fold(authority.New(), many(20_000)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyTo200000(b *testing.B) {
	s, err := authority.Fold(authority.New(), many(200_000))
	if err != nil {
		b.Fatal(err)
	}
	e := eventAt(s.Size(), update(user("u77", "group:x")))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Apply(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshotOf20000(b *testing.B) {
	s, err := authority.Fold(authority.New(), many(20_000))
	if err != nil {
		b.Fatal(err)
	}
	var file bytes.Buffer
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			file.Reset()
			if err := s.WriteSnapshot(&file, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := authority.ReadSnapshot(bytes.NewReader(file.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
