package authority_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// Each rule of each event, with the sentence that somebody reads who breaks it.
func TestRefusedEvents(t *testing.T) {
	tests := map[string]struct {
		before []change
		change change
		want   string // in the reason
	}{
		"policy that does not parse": {nil, publish(aver.PolicyPublished{Name: "p", Digest: first.Digest,
			Files: map[string]string{"main.cedar": "permit (principal"}}), `bundle "p" cannot be loaded: main.cedar:1:`},
		"policy with a false digest": {nil, publish(aver.PolicyPublished{Name: "payments", Digest: second.Digest, Files: first.Files}),
			"the digest of the files is " + first.Digest + ", the event says " + second.Digest},
		"policy under a false name": {nil, publish(aver.PolicyPublished{Name: "x", Digest: second.Digest,
			Files: map[string]string{"bundle.yaml": "name: y\n", "main.cedar": "permit (principal, action, resource);"}}),
			`the bundle calls itself "y", the event "x"`},
		"policy published twice":       {[]change{publish(first)}, publish(first), `bundle "payments" is already published in this version, by event 0`},
		"unknown policy activated":     {nil, activate(first), `no bundle "payments" is published`},
		"unknown version activated":    {[]change{publish(first)}, activate(second), `bundle "payments" is not published in the version ` + second.Digest},
		"policy activated twice":       {[]change{publish(first), activate(first)}, activate(first), `bundle "payments" is already active in this version`},
		"inactive policy retired":      {[]change{publish(first)}, retire(first), `bundle "payments" is not active in the version ` + first.Digest},
		"replaced policy retired":      {[]change{publish(first), activate(first), publish(second), activate(second)}, retire(first), "is not active in the version"},
		"retired policy retired again": {[]change{publish(first), activate(first), retire(first)}, retire(first), "is not active in the version"},

		"identity without a type":        {nil, register(aver.Identity{Ref: ref(":x"), Kind: aver.HumanUser}), "the type is missing"},
		"identity of no kind":            {nil, register(aver.Identity{Ref: ref("user:x"), Kind: "robot"}), `kind "robot" is not one of`},
		"machine without an owner":       {nil, register(aver.Identity{Ref: ref("app:x"), Kind: aver.Application}), "a machine identity needs an owner"},
		"identity of a type not Cedar's": {nil, register(aver.Identity{Ref: ref("the user:x"), Kind: aver.HumanUser}), `type "the user" is not a name of Cedar`},
		"identity of a reserved type":    {nil, register(aver.Identity{Ref: ref("if:x"), Kind: aver.HumanUser}), `type "if" is not a name of Cedar`},
		"parent of a type not Cedar's":   {nil, register(user("x", "a-b:c")), `parent: type "a-b" is not a name of Cedar`},
		"identity registered twice":      {[]change{register(user("x"))}, register(user("x")), `user::"x" is already registered, by event 0`},
		"suspended identity registered":  {[]change{register(user("x")), suspend("user:x")}, register(user("x")), `user::"x" is already registered, by event 0`},
		"retired identity registered":    {[]change{register(user("x")), retireID("user:x")}, register(user("x")), `user::"x" was retired by event 1, and a retired identity can't be registered again`},
		"entity registered as identity":  {[]change{put("user:x")}, register(user("x")), `user::"x" is already put as an entity, by event 0`},
		"properties Cedar can't hold": {nil, raw(aver.EventIdentityRegistered,
			`{"id":"x","kind":"human_user","properties":{"a":{"b":[1,null]}},"type":"user"}`), "properties.a.b[1]"},
		"update of an unknown identity":  {nil, update(user("x")), `user::"x" is not registered`},
		"update of a retired identity":   {[]change{register(user("x")), retireID("user:x")}, update(user("x")), `user::"x" was retired by event 1`},
		"update to something invalid":    {[]change{register(user("x"))}, update(user("x", "user:x")), `user::"x" can't be its own parent`},
		"unknown identity suspended":     {nil, suspend("user:x"), `user::"x" is not registered`},
		"identity suspended twice":       {[]change{register(user("x")), suspend("user:x")}, suspend("user:x"), `user::"x" is already suspended, by event 1`},
		"retired identity suspended":     {[]change{register(user("x")), retireID("user:x")}, suspend("user:x"), `user::"x" was retired by event 1`},
		"active identity resumed":        {[]change{register(user("x"))}, resume("user:x"), `user::"x" is not suspended`},
		"retired identity resumed":       {[]change{register(user("x")), retireID("user:x")}, resume("user:x"), `user::"x" was retired by event 1`},
		"identity retired twice":         {[]change{register(user("x")), retireID("user:x")}, retireID("user:x"), `user::"x" was retired by event 1`},
		"identity in a circle of groups": {[]change{put("group:a", "group:b"), put("group:b", "user:x")}, register(user("x", "group:a")), `the parents of user::"x" lead back to itself`},

		"entity without an id":       {nil, put("doc:"), "the id is missing"},
		"entity over an identity":    {[]change{register(user("x"))}, put("user:x"), `user::"x" is registered as an identity, by event 0: update that instead`},
		"entity over a retired one":  {[]change{register(user("x")), retireID("user:x")}, put("user:x"), "is registered as an identity"},
		"entity in a circle":         {[]change{put("g:a", "g:b"), put("g:b", "g:c")}, put("g:c", "g:a"), `the parents of g::"c" lead back to itself`},
		"entity under itself":        {nil, put("g:a", "g:a"), `g::"a" can't be its own parent`},
		"entity Cedar can't hold":    {nil, raw(aver.EventEntityPut, `{"id":"1","properties":{"x":{"__extn":{"arg":"1.23456","fn":"decimal"}}},"type":"doc"}`), "properties.x"},
		"unknown entity removed":     {nil, remove("doc:1"), `there is no entity doc::"1"`},
		"entity removed twice":       {[]change{put("doc:1"), remove("doc:1")}, remove("doc:1"), `there is no entity doc::"1"`},
		"identity removed as entity": {[]change{register(user("x"))}, remove("user:x"), `there is no entity user::"x"`},

		"grant to oneself":                               {nil, grant("g", "user:a", "user:a"), `user::"a" can't grant to itself`},
		"grant id used before":                           {[]change{grant("g", "user:a", "user:b"), revoke("g")}, grant("g", "user:c", "user:d"), `the id "g" was already used, by event 0`},
		"grant expired at issue":                         {nil, grant("g", "user:a", "user:b", expires(start)), "which is not after the time of issue"},
		"grant from a retired one":                       {[]change{register(user("a")), retireID("user:a")}, grant("g", "user:a", "user:b"), `user::"a" was retired by event 1`},
		"grant to a retired one":                         {[]change{register(user("b")), retireID("user:b")}, grant("g", "user:a", "user:b"), `user::"b" was retired by event 1`},
		"grant to a type not Cedar's":                    {nil, grant("g", "user:a", "my agent:b"), `type "my agent" is not a name of Cedar`},
		"grant of a type not Cedar's":                    {nil, grant("g", "user:a", "user:b", func(g *aver.Grant) { g.Resources[0].Type = "doc;" }), `resource: type "doc;" is not a name of Cedar`},
		"revoker of a type not Cedar's":                  {nil, grant("g", "user:a", "user:b", func(g *aver.Grant) { g.Revokers = refs("a b:c") }), `type "a b" is not a name of Cedar`},
		"condition not Cedar":                            {nil, grant("g", "user:a", "user:b", condition("resource.amount <")), "the condition is not a Cedar expression"},
		"condition that adds a permit":                   {nil, grant("g", "user:a", "user:b", condition("true }; permit (principal, action, resource) when { true")), "the condition is not a Cedar expression"},
		"condition that adds a clause":                   {nil, grant("g", "user:a", "user:b", condition("true } unless { false")), "the condition is not a Cedar expression"},
		"condition that ends in a comment that swallows": {nil, grant("g", "user:a", "user:b", condition("true }; //")), "the condition is not a Cedar expression"},
		"parent unknown":                                 {nil, grant("g", "user:a", "user:b", under("p")), `its parent "p" was never issued`},
		"parent to somebody else":                        {[]change{grant("p", "user:a", "user:b", depth(1))}, grant("g", "user:c", "user:d", under("p")), `its parent "p" is a grant to user::"b", not to user::"c"`},
		"parent revoked":                                 {[]change{grant("p", "user:a", "user:b", depth(1)), revoke("p")}, grant("g", "user:b", "user:c", under("p")), `"p", under which it would be, was revoked by event 1`},
		"grandparent revoked": {[]change{grant("p", "user:a", "user:b", depth(2)), grant("q", "user:b", "user:c", depth(1), under("p")), revoke("p")},
			grant("g", "user:c", "user:d", under("q")), `"p", under which it would be, was revoked by event 2`},
		"parent expired":                {[]change{grant("p", "user:a", "user:b", depth(1), expires(start+1000))}, grant("g", "user:b", "user:c", under("p"), expires(start+500000)), `its parent "p" expired 2026-01-02T03:04:06.000Z`},
		"parent not to be delegated on": {[]change{grant("p", "user:a", "user:b")}, grant("g", "user:b", "user:c", under("p")), `"p" may not be delegated on (its depth is 0)`},
		"parent outlived":               {[]change{grant("p", "user:a", "user:b", depth(1), expires(start+100000))}, grant("g", "user:b", "user:c", under("p")), "it reaches further than its parent: it outlives"},
		"action widened":                {[]change{grant("p", "user:a", "user:b", depth(1))}, grant("g", "user:b", "user:c", under("p"), func(g *aver.Grant) { g.Actions = []string{"rea*"} }), `action "rea*" is not in "p"`},
		"resource widened":              {[]change{grant("p", "user:a", "user:b", depth(1))}, grant("g", "user:b", "user:c", under("p"), func(g *aver.Grant) { g.Resources[0].ID = "" }), `is not in "p"`},
		"chain in a circle":             {[]change{grant("p", "user:a", "user:b", depth(1))}, grant("g", "user:b", "user:a", under("p")), `the chain would lead back to user::"a", from whom "p" comes`},
		"unknown grant revoked":         {nil, revoke("g"), `there is no grant "g"`},
		"grant revoked twice":           {[]change{grant("g", "user:a", "user:b"), revoke("g")}, revoke("g"), `grant "g" is already revoked, by event 1`},

		"credential without a name":     {nil, credential("", aver.RolePEP, digests[0]), "a credential's name has 1 to 128 letters"},
		"credential named as Aver":      {nil, credential("aver", aver.RolePEP, digests[0]), `the name "aver" is kept for what Aver does by itself`},
		"credential of no role":         {nil, credential("c", "root", digests[0]), `role "root" is not one of ["pep" "admin" "auditor" "approver"]`},
		"credential that holds a token": {nil, credential("c", aver.RolePEP, "aver_secret"), "the digest is not a SHA-256"},
		"credential expired at issue": {nil, change{aver.EventCredentialIssued, aver.Credential{Name: "c", Role: aver.RolePEP, Digest: digests[0], Expires: start}},
			"which is not after the time of issue"},
		"credential name used before":  {[]change{credential("c", aver.RolePEP, digests[0]), revokeCredential("c")}, credential("c", aver.RolePEP, digests[1]), `the name "c" was already used, by event 0`},
		"credential of the same token": {[]change{credential("c", aver.RolePEP, digests[0])}, credential("d", aver.RoleAdmin, digests[0]), `credential "c", of event 0, has the same digest`},
		"unknown credential revoked":   {nil, revokeCredential("c"), `there is no credential "c"`},
		"credential revoked twice":     {[]change{credential("c", aver.RolePEP, digests[0]), revokeCredential("c")}, revokeCredential("c"), `credential "c" is already revoked, by event 1`},

		"unknown type":            {nil, raw("policy.deleted", `{}`), "this version of Aver does not know events of this type"},
		"unknown member":          {nil, raw(aver.EventGrantRevoked, `{"id":"g","why":"x"}`), "the data cannot be read"},
		"member in another case":  {[]change{grant("g", "user:a", "user:b")}, raw(aver.EventGrantRevoked, `{"ID":"g"}`), "the data is not in its canonical form"},
		"member with its default": {nil, raw(aver.EventEntityPut, `{"id":"1","properties":{},"type":"doc"}`), "the data is not in its canonical form"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := after(t, test.before...)
			before := s.Digest()
			next, err := s.Apply(eventAt(s.Size(), test.change))
			var invalid *authority.InvalidEventError
			if !errors.As(err, &invalid) || next != nil {
				t.Fatalf("got state %v and error %v, want an InvalidEventError", next, err)
			}
			if invalid.Type != test.change.typ || !strings.Contains(invalid.Reason, test.want) {
				t.Errorf("got  %q\nwant %q", invalid.Reason, test.want)
			}
			if s.Digest() != before {
				t.Error("the refused event changed the state")
			}
		})
	}
}

func TestRefusedEnvelopes(t *testing.T) {
	tests := map[string]struct {
		edit func(*aver.Event)
		want string
	}{
		"kind":            {func(e *aver.Event) { e.Kind = "decision" }, `kind "decision" is not an event`},
		"id":              {func(e *aver.Event) { e.ID = "1" }, `id "1" is not a UUID of version 7`},
		"id of version 4": {func(e *aver.Event) { e.ID = "019b7cbb-0000-4000-8000-000000000000" }, "is not a UUID of version 7"},
		"salt":            {func(e *aver.Event) { e.Salt = "AAAA" }, "the salt is not 16 random bytes in base64url"},
		"salt not strict": {func(e *aver.Event) { e.Salt = "AAAAAAAAAAAAAAAAAAAAAB" }, "the salt is not 16 random bytes in base64url"},
		"time missing":    {func(e *aver.Event) { e.Time = 0 }, "the time is missing"},
		"time going back": {func(e *aver.Event) { e.Time = start - 1 }, "is before that of the event before it, 2026-01-02T03:04:05.000Z"},
		"by nobody":       {func(e *aver.Event) { e.By.Name = "" }, "the name of who did it has 1 to 256 bytes"},
		"by a long name":  {func(e *aver.Event) { e.By.Name = strings.Repeat("x", 257) }, "the name of who did it has 1 to 256 bytes"},
		"unknown method":  {func(e *aver.Event) { e.By.Method = "magic" }, `method "magic" is not one of`},
		"reason too long": {func(e *aver.Event) { e.Reason = strings.Repeat("x", 4097) }, "the reason is longer than 4096 bytes"},
	}
	s := after(t, put("doc:1"))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := eventAt(1, put("doc:2"))
			test.edit(e)
			if _, err := s.Apply(e); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	if _, err := s.Apply(eventAt(0, put("doc:2"))); err != nil {
		t.Errorf("an event at the same time as the one before it: %v", err)
	}
}

// An entity that is in very many groups would make every evaluation slow.
func TestMembershipsAreBounded(t *testing.T) {
	s := authority.New()
	wide := func(level string) []string {
		var out []string
		for i := range 150 {
			out = append(out, "g:"+level+string(rune('a'+i/26))+string(rune('a'+i%26)))
		}
		return out
	}
	for _, r := range wide("x") {
		next, err := s.Apply(eventAt(s.Size(), put(r, wide("y")...)))
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	_, err := s.Apply(eventAt(s.Size(), put("doc:1", wide("x")...)))
	if err == nil || !strings.Contains(err.Error(), "more than 10000 memberships") {
		t.Errorf("got %v", err)
	}
}
