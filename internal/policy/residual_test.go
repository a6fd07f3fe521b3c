package policy

import (
	"slices"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
	"pgregory.net/rapid"
)

// What the policies allow, what remains of them never calls impossible.
func TestResidualNeverMissesWhatIsAllowed(t *testing.T) {
	possible, impossible := 0, 0
	check(t, func(t *rapid.T) {
		set, entities, model := genSet(t), genEntities(t), genRequest(t)
		unknown := Unknown{Principal: rapid.Bool().Draw(t, "principal"), Context: rapid.Bool().Draw(t, "context")}
		open := model
		if unknown.Principal {
			open.Principal.ID = ""
		} else {
			open.Resource.ID = ""
		}
		if unknown.Context {
			open.Context = types.Record{}
		}
		res := set.Residual(entities, open, unknown)
		for _, id := range []types.String{"0", "1", "2"} {
			req := model
			if unknown.Principal {
				req.Principal.ID = id
			} else {
				req.Resource.ID = id
			}
			if unknown.Context {
				req.Context = genRecord(t, 2)
			}
			full := set.Authorize(entities, req)
			allowed := full.Decision == types.Allow && len(full.Errors) == 0
			switch got := res.Possible(entities, req); {
			case allowed && !got:
				t.Fatalf("%v is allowed, and the residual calls it impossible", req)
			case got:
				possible++
			default:
				impossible++
			}
		}
	})
	if possible == 0 || impossible == 0 {
		t.Errorf("the draws show nothing: %d possible, %d impossible", possible, impossible)
	}
	t.Logf("%d possible, %d impossible", possible, impossible)
}

func TestActionsOfASet(t *testing.T) {
	b, err := Load(map[string][]byte{
		"x.cedarschema": []byte(`entity user; entity doc; action all; action read in [all] appliesTo {principal: user, resource: doc};
action write appliesTo {principal: user, resource: doc}; action never appliesTo {principal: user, resource: doc};`),
		"x.cedar": []byte(`permit (principal is user, action in Action::"all", resource is doc); permit (principal is user, action == Action::"write", resource is doc);`),
	}, "x")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Load(map[string][]byte{"y.cedar": []byte(`forbid (principal, action in [Action::"print", Action::"read"], resource); forbid (principal, action in Action::"group", resource);`)}, "y")
	if err != nil {
		t.Fatal(err)
	}
	got := NewSet(b, other).Actions()
	want := []string{"group", "never", "print", "read", "write"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// cedar-go's partial evaluation looks at the group of "is … in …" even where the type is another one.
func TestResidualOfIsIn(t *testing.T) {
	b, err := Load(map[string][]byte{"x.cedar": []byte(`permit (principal, action, resource)
when { [if principal is team in resource.missing then {a: 1} else {a: 2}].contains({a: 2}) || false };`)}, "x")
	if err != nil {
		t.Fatal(err)
	}
	req := types.Request{
		Principal: types.NewEntityUID("user", "ann"), Action: types.NewEntityUID("Action", "read"), Resource: types.NewEntityUID("doc", "1"),
	}
	set := NewSet(b)
	if full := set.Authorize(types.EntityMap{}, req); full.Decision != types.Allow || len(full.Errors) > 0 {
		t.Fatalf("%+v", full)
	}
	for _, unknown := range []Unknown{{}, {Principal: true}, {Context: true}} {
		if !set.Residual(types.EntityMap{}, req, unknown).Possible(types.EntityMap{}, req) {
			t.Errorf("%+v: called impossible", unknown)
		}
	}
}
