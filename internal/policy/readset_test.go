package policy

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
)

func TestReadSetOfConditions(t *testing.T) {
	for _, tc := range []struct {
		condition string
		want      []Path
	}{
		{`true`, nil},
		{`principal == resource`, nil},
		{`principal in group::"a" && resource is doc`, nil},
		{`resource.amount < 10 && context.aver.now > datetime("2026-01-01") && context.device.trusted`,
			[]Path{"context.aver.now", "context.device.trusted", "resource.amount"}},
		{`if context.a then principal.b else resource.c`, []Path{"context.a", "principal.b", "resource.c"}},
		{`false && resource.a`, []Path{"resource.a"}},
		{`resource.name like "x*"`, []Path{"resource.name"}},
		{`context has ticket`, []Path{"context.ticket"}},
		{`context has device.trusted`, []Path{"context.device.trusted"}},
		{`context has device && context.device.trusted`, []Path{"context.device.trusted"}},
		{`context.device == {trusted: true} && context.device.trusted`, []Path{"context.device"}},
		{`context == {a: 1}`, []Path{"action", "context"}},
		{`principal.address == resource.address`, []Path{"principal.address", "resource.address"}},
		{`[principal.a, 1].contains(resource["line items"])`, []Path{"principal.a", `resource["line items"]`}},
		{`resource.owner.department == "it"`, []Path{"resource.owner.department"}},
		{`(if context.a then principal else resource).b`, []Path{"context.a", "principal.b", "resource.b"}},
		{`{x: context.a, y: principal.b}.x.c`, []Path{"context.a.c", "principal.b"}},
		{`{x: context.a} == {x: 1}`, []Path{"context.a"}},
		{`principal.getTag(context.key) == "x"`, []Path{"context.key"}},
		{`resource.owner.hasTag("a")`, []Path{"resource.owner"}},
		{`context.ip.isInRange(ip("10.0.0.0/8"))`, []Path{"context.ip"}},
		{`-resource.a + 1 > 2 * resource.b`, []Path{"resource.a", "resource.b"}},
		{`context.aver.action.channel == "web"`, []Path{"action.channel", "context.aver.action.channel"}},
		{`context.aver == {}`, []Path{"action", "context.aver"}},
		{`principal is user in resource.group`, []Path{"resource.group"}},
	} {
		t.Run(tc.condition, func(t *testing.T) {
			for _, clause := range []string{"when", "unless"} {
				b := load(t, "permit (principal, action, resource) "+clause+" { "+tc.condition+" };")
				if got := b.rules[0].Reads().Paths(); !slices.Equal(got, tc.want) {
					t.Errorf("%s reads %q, want %q", clause, got, tc.want)
				}
			}
		})
	}
}

func TestReadSetContains(t *testing.T) {
	b := load(t, `permit (principal, action, resource) when { context.device.trusted && context.address == {} && resource.owner.level > 1 };`)
	rs := b.rules[0].Reads().With("principal.id", "context.ticket")
	for path, want := range map[Path]bool{
		"context.device":         true, // part of it
		"context.device.trusted": true,
		"context.device.os":      false,
		"context.address":        true,
		"context.address.city":   true, // below what is read whole
		"principal.id":           true,
		"context.ticket.number":  true,
		"principal.name":         false,
		"principal.level":        true, // the resource's owner may be the principal
		"context.level":          false,
		"resource.owner":         true,
		"nonsense":               false,
	} {
		if got := rs.Contains(path); got != want {
			t.Errorf("Contains(%s) = %t, want %t", path, got, want)
		}
	}
	if (ReadSet{}).Contains("context.device") || (ReadSet{}).Paths() != nil {
		t.Error("the zero ReadSet reads something")
	}
	// Union and With leave their operands as they were.
	if b.rules[0].Reads().Contains("principal.id") {
		t.Error("With changed the set that it was called on")
	}
}

func TestPruneSaysWhatItLeavesOut(t *testing.T) {
	b := load(t, `permit (principal, action, resource) when { context.device.trusted && context has ticket && context.owner.name == "x" };`)
	rec, err := RecordFromJSON(map[string]any{
		"device": map[string]any{"trusted": true, "os": "linux", "serial no": "7"},
		"ticket": map[string]any{"number": 7}, // only its presence is read
		"owner":  map[string]any{"__entity": map[string]any{"type": "user", "id": "bob"}},
		"secret": "s",
	}, "context")
	if err != nil {
		t.Fatal(err)
	}
	kept, omitted := b.rules[0].Reads().prune(rec, "context")
	if got, want := CedarText(kept), `{device: {trusted: true}, owner: user::"bob", ticket: {}}`; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	want := []Path{"context.device.os", `context.device["serial no"]`, "context.secret", "context.ticket.number"}
	if !slices.Equal(omitted, want) {
		t.Errorf("omitted %q, want %q", omitted, want)
	}
	if kept, omitted := b.rules[0].Reads().prune(types.Record{}, "principal"); kept.Len() != 0 || omitted != nil {
		t.Errorf("of nothing was kept %s, omitted %q", kept, omitted)
	}
}

func TestPathsReadAsWritten(t *testing.T) {
	for _, s := range []Path{"resource.amount", `context["line items"].a`, `principal["a\"b"]["c.d"]`, "action.x"} {
		p, err := ParsePath(string(s))
		if err != nil || p != s {
			t.Errorf("%s reads as %s, %v", s, p, err)
		}
	}
	if p, _ := ParsePath(`resource["amount"]`); p != "resource.amount" {
		t.Errorf(`resource["amount"] reads as %s`, p)
	}
}

// TestRecorderCitesWholeMembership has many ways up to the same group, of which
// cedar-go takes one at random.
func TestRecorderCitesWholeMembership(t *testing.T) {
	group := func(i int) types.EntityUID { return types.NewEntityUID("group", types.String(fmt.Sprint(i))) }
	absent := types.NewEntityUID("group", "nowhere")
	b := load(t, `permit (principal in group::"top", action, resource);
		permit (principal, action, resource) when { resource.owner.department == "it" };`)
	set := NewSet(b)
	top := types.NewEntityUID("group", "top")
	for range 30 {
		m := types.EntityMap{top: {UID: top}}
		var parents []types.EntityUID
		for i := range 8 {
			m[group(i)] = types.Entity{UID: group(i), Parents: types.NewEntityUIDSet(top)}
			parents = append(parents, group(i))
		}
		m[bob] = types.Entity{UID: bob, Parents: types.NewEntityUIDSet(append(parents, absent)...)}
		recorder := NewRecorder(m)
		set.Authorize(recorder, types.Request{Principal: bob, Action: pay, Resource: invoice})
		want := []Read{}
		for i := range 8 {
			want = append(want, Read{group(i), true})
		}
		want = append(want, Read{absent, false}, Read{top, true}, Read{invoice, false}, Read{bob, true})
		if got := recorder.Reads(); !slices.Equal(got, want) {
			t.Fatalf("read %v\nwant %v", got, want)
		}
		recorder.Reset(types.EntityMap{})
		if got := recorder.Reads(); len(got) != 0 {
			t.Fatalf("after Reset: %v", got)
		}
	}
}

// TestMembershipAsksTheSameEachTime looks for a group that only one of many
// ways up leads to, at which cedar-go stops.
func TestMembershipAsksTheSameEachTime(t *testing.T) {
	group := func(i int) types.EntityUID { return types.NewEntityUID("group", types.String(fmt.Sprint(i))) }
	permit, err := CompilePermit("grant", `permit (principal in group::"107", action, resource);`)
	if err != nil {
		t.Fatal(err)
	}
	for name, authorize := range map[string]func(types.EntityGetter, types.Request) Result{
		"a set":    NewSet(load(t, `permit (principal, action, resource) when { principal in group::"107" };`)).Authorize,
		"a permit": permit.Authorize,
	} {
		for range 30 {
			m := types.EntityMap{}
			var parents, want []types.EntityUID
			for i := range 8 {
				parents = append(parents, group(i))
				m[group(i)] = types.Entity{UID: group(i), Parents: types.NewEntityUIDSet(group(100 + i))}
				m[group(100+i)] = types.Entity{UID: group(100 + i), Parents: types.NewEntityUIDSet(group(200 + i))}
				want = append(want, group(i), group(100+i), group(200+i))
			}
			m[bob] = types.Entity{UID: bob, Parents: types.NewEntityUIDSet(parents...)}
			want = append(want, bob)
			slices.SortFunc(want, compareUIDs)
			asked := askedFor{m, map[types.EntityUID]bool{}}
			if authorize(asked, types.Request{Principal: bob, Action: pay, Resource: invoice}).Decision != types.Allow {
				t.Fatalf("%s: bob is not in the group", name)
			}
			if got := slices.SortedFunc(maps.Keys(asked.uids), compareUIDs); !slices.Equal(got, want) {
				t.Fatalf("%s asked for %v, want %v", name, got, want)
			}
		}
	}
}

func TestRecorderZeroValue(t *testing.T) {
	var r Recorder
	if _, ok := r.Get(bob); ok {
		t.Error("the zero Recorder found an entity")
	}
}
