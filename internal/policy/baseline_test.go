package policy

import (
	"slices"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
)

// TestBaselineGuardsMachinesOnly evaluates the guard rails by themselves. That
// they refuse the right requests through the decision point, its own test cases
// show.
func TestBaselineGuardsMachinesOnly(t *testing.T) {
	set := NewSet(Baseline())
	for _, r := range set.Rules() {
		if r.Effect != EffectForbid || r.Gate != nil || r.Reason == "" {
			t.Errorf("%s is not a forbid with a reason", r.ID)
		}
	}
	actor := func(changes types.RecordMap) types.RecordMap {
		m := types.RecordMap{
			"kind": types.String("ai_agent"), "machine": types.True, "registered": types.True,
			"status": types.String("active"), "expired": types.False,
		}
		for k, v := range changes {
			m[k] = v
		}
		return m
	}
	person := types.RecordMap{
		"kind": types.String("human_user"), "machine": types.False, "registered": types.False,
		"status": types.String("unregistered"), "expired": types.False,
	}
	mail := types.NewSet(types.String("mail"))
	for _, tc := range []struct {
		name  string
		actor types.RecordMap
		aver  types.RecordMap
		want  []string
	}{
		{"a person that nobody registered", person, nil, nil},
		{"a person on behalf of another", person, types.RecordMap{"acting_for": types.True}, nil},
		{"a registered agent", actor(nil), nil, nil},
		{"an agent with a chain", actor(nil), types.RecordMap{"acting_for": types.True, "delegated": types.True}, nil},
		{"an agent without one", actor(nil), types.RecordMap{"acting_for": types.True}, []string{"baseline/no-proof-of-delegation"}},
		{"a permitted tool", actor(types.RecordMap{"tools": mail}), types.RecordMap{"tool": types.String("mail")}, nil},
		{"a tool, unrestricted", actor(nil), types.RecordMap{"tool": types.String("mail")}, nil},
		{"no tool", actor(types.RecordMap{"tools": mail}), nil, nil},
		{"another tool", actor(types.RecordMap{"tools": mail}), types.RecordMap{"tool": types.String("shell")}, []string{"baseline/tool-not-permitted"}},
		{"unregistered software", actor(types.RecordMap{"registered": types.False, "status": types.String("unregistered")}), nil, []string{"baseline/unregistered-machine"}},
		{"suspended and expired", actor(types.RecordMap{"status": types.String("suspended"), "expired": types.True}), nil, []string{"baseline/suspended-or-retired", "baseline/expired"}},
		{"retired", actor(types.RecordMap{"status": types.String("retired")}), nil, []string{"baseline/suspended-or-retired"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := types.RecordMap{"acting_for": types.False, "delegated": types.False, "actor": types.NewRecord(tc.actor)}
			for k, v := range tc.aver {
				m[k] = v
			}
			req := types.Request{Principal: bob, Action: pay, Resource: invoice, Context: types.NewRecord(types.RecordMap{"aver": types.NewRecord(m)})}
			got := set.Authorize(nil, req)
			if !slices.Equal(ids(got.Reasons), tc.want) || len(got.Errors) > 0 {
				t.Errorf("%s, want the reasons %q", show(got), tc.want)
			}
		})
	}
}
