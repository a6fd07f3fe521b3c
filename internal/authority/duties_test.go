package authority_test

import (
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

const gated = `@id("pay") permit (principal, action, resource);
@id("eyes") @gate("escalate") @approvers("leads") @approvals("2") @within("1h") forbid (principal, action, resource);`

func gatedBundle() aver.PolicyPublished { return bundle("gated", gated) }

// byNobody makes the next event, as of a server that authenticates nobody, so that anybody can be named.
func byNobody(s *authority.State, c change) *aver.Event {
	e := eventAt(s.Size(), c)
	e.By.Method = "none"
	return e
}

func afterwards(t *testing.T, changes ...change) *authority.State {
	t.Helper()
	s := authority.New()
	for _, c := range changes {
		next, err := s.Apply(byNobody(s, c))
		if err != nil {
			t.Fatalf("event %d: %v", s.Size(), err)
		}
		s = next
	}
	return s
}

func delegateDuty(id, from, to string, edit ...func(*aver.DutyDelegation)) change {
	d := aver.DutyDelegation{ID: id, From: ref(from), To: ref(to), Expires: start + 60_000}
	for _, f := range edit {
		f(&d)
	}
	return change{aver.EventDutyDelegated, d}
}

func revokeDuty(id string) change { return change{aver.EventDutyRevoked, aver.DutyRef{ID: id}} }

// asked is a payment by paul for rita that two leads have to approve: lena, luis or lars. kim and kai are no leads.
func asked() []change {
	b := gatedBundle()
	return []change{
		publish(b), activate(b),
		register(user("lena", "group:leads")), register(user("luis", "group:leads")), register(user("lars", "group:leads")), register(user("paul", "group:leads")),
		register(user("kim")), register(user("kai")),
		{aver.EventApprovalRequested, aver.ApprovalRequest{
			ID: "ap", Evaluation: "e", Binding: aver.Digest(nil), Request: []byte(`{}`), Parties: refs("user:paul", "user:rita"),
			Gates:    []aver.ApprovalGate{{Policy: "gated/eyes", Bundle: b.Digest, Approvers: []string{"leads"}, Approvals: 2, Within: 3600}},
			Deadline: start + 3_600_000,
		}},
	}
}

func vote(approver, duty string) change {
	return change{aver.EventApprovalGranted, aver.ApprovalVote{ID: "ap", Approver: ref(approver), Seen: aver.Digest(nil), Duty: duty}}
}

func until(t aver.Time) func(*aver.DutyDelegation) {
	return func(d *aver.DutyDelegation) { d.Expires = t }
}

func from(t aver.Time) func(*aver.DutyDelegation) {
	return func(d *aver.DutyDelegation) { d.NotBefore = t }
}

// E4: the duty of approving can be done by somebody else for a while, and each person counts once.
func TestDelegatedDutyCounts(t *testing.T) {
	s := afterwards(t, append(asked(), delegateDuty("d", "user:lena", "user:kim"), vote("user:kim", "d"))...)
	a, _ := s.Approval("ap")
	if v := a.Votes[0]; v.As() != ref("user:lena") || v.Who() != `user::"kim" on behalf of user::"lena"` || a.Status != authority.ApprovalPending {
		t.Errorf("%+v", a)
	}
	s = afterwards(t, append(asked(), delegateDuty("d", "user:lena", "user:kim"), vote("user:kim", "d"), revokeDuty("d"), vote("user:luis", ""))...)
	if a, _ := s.Approval("ap"); a.Status != authority.ApprovalApproved {
		t.Errorf("a vote that was cast in time does not count after the duty was revoked: %+v", a)
	}
}

func TestDutyThatIsRefused(t *testing.T) {
	delegated := delegateDuty("d", "user:lena", "user:kim")
	for name, test := range map[string]struct {
		before []change
		change change
		want   string
	}{
		"to nobody registered":       {nil, delegateDuty("d", "user:lena", "user:nobody"), "not an active, registered human user"},
		"to a machine":               {[]change{register(aver.Identity{Ref: ref("ai_agent:bot"), Kind: aver.AIAgent, Owner: "o", Purpose: "p"})}, delegateDuty("d", "user:lena", "ai_agent:bot"), "not an active, registered human user"},
		"to somebody suspended":      {[]change{suspend("user:kim")}, delegated, "not an active, registered human user"},
		"to oneself":                 {nil, delegateDuty("d", "user:kim", "user:kim"), "can't delegate duty to itself"},
		"without an end":             {nil, delegateDuty("d", "user:lena", "user:kim", until(0)), "expires: say until when"},
		"that is over":               {nil, delegateDuty("d", "user:lena", "user:kim", until(start)), "it expires"},
		"that ends before it begins": {nil, delegateDuty("d", "user:lena", "user:kim", from(start+90_000)), "not after not_before"},
		"for ever":                   {nil, delegateDuty("d", "user:lena", "user:kim", until(start+aver.MaxDuty+3_600_000)), "longer than 90 days"},
		"with an id used before":     {[]change{delegated, revokeDuty("d")}, delegated, `the id "d" was already used`},
		"unknown and revoked":        {nil, revokeDuty("d"), `no delegation of duty "d"`},
		"revoked twice":              {[]change{delegated, revokeDuty("d")}, revokeDuty("d"), "already revoked"},

		"a vote by no duty":              {nil, vote("user:kim", ""), "is none of the approvers"},
		"a vote by an unknown duty":      {nil, vote("user:kim", "d"), `no delegation of duty "d"`},
		"a vote by somebody else's duty": {[]change{delegated}, vote("user:kai", "d"), `was delegated to user::"kim", not to user::"kai"`},
		"a vote after the duty ended":    {[]change{delegateDuty("d", "user:lena", "user:kim", until(start+10_000))}, vote("user:kim", "d"), "is expired"},
		"a vote before it began":         {[]change{delegateDuty("d", "user:lena", "user:kim", from(start+50_000))}, vote("user:kim", "d"), "is pending"},
		"a vote after it was revoked":    {[]change{delegated, revokeDuty("d")}, vote("user:kim", "d"), "is revoked"},
		"a duty passed on":               {[]change{delegated, delegateDuty("d2", "user:kim", "user:kai")}, vote("user:kai", "d2"), `user::"kim" is none of the approvers`},
		"for somebody in the chain":      {[]change{delegateDuty("d", "user:paul", "user:kim")}, vote("user:kim", "d"), `user::"paul" is one of those that the request comes from`},
		"by somebody in the chain":       {[]change{delegateDuty("d", "user:lena", "user:paul")}, vote("user:paul", "d"), `user::"paul" is one of those that the request comes from`},
		"for somebody suspended":         {[]change{delegated, suspend("user:lena")}, vote("user:kim", "d"), `user::"lena" is suspended`},
		"the delegator again":            {[]change{delegated, vote("user:kim", "d")}, vote("user:lena", ""), `user::"kim" answered already on behalf of user::"lena"`},
		"after the delegator":            {[]change{delegated, vote("user:lena", "")}, vote("user:kim", "d"), `user::"lena" answered already`},
		"one person for two":             {[]change{delegated, delegateDuty("d2", "user:luis", "user:kim"), vote("user:kim", "d")}, vote("user:kim", "d2"), `user::"kim" answered already`},
		"for oneself and another":        {[]change{delegateDuty("d", "user:lena", "user:lars"), vote("user:lars", "d")}, vote("user:lars", ""), `user::"lars" answered already`},
	} {
		t.Run(name, func(t *testing.T) {
			s := afterwards(t, append(asked(), test.before...)...)
			_, err := s.Apply(byNobody(s, test.change))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestCapacity(t *testing.T) {
	s := afterwards(t, append(asked(), delegateDuty("d", "user:paul", "user:kim"), delegateDuty("e", "user:lena", "user:kim"), delegateDuty("f", "user:luis", "user:lars"))...)
	a, _ := s.Approval("ap")
	for who, want := range map[string]string{"user:lena": "", "user:kim": "e", "user:lars": ""} { // lars is a lead himself
		d, err := s.Capacity(a, ref(who), nil, s.Time())
		if err != nil || (d == nil) != (want == "") || d != nil && d.ID != want {
			t.Errorf("%s: %+v, %v", who, d, err)
		}
	}
	for _, who := range []string{"user:kai", "user:paul", "user:rita"} {
		if d, err := s.Capacity(a, ref(who), nil, s.Time()); err == nil {
			t.Errorf("%s may answer: %+v", who, d)
		}
	}
}

func TestBatchItemsComeInOrder(t *testing.T) {
	item := func(id string, batch aver.ApprovalBatch) change {
		a := asked()[8].data.(aver.ApprovalRequest)
		a.ID, a.Evaluation, a.Batch = id, id, &batch
		return change{aver.EventApprovalRequested, a}
	}
	first := item("a0", aver.ApprovalBatch{ID: "b", Item: 0, Of: 2})
	s := afterwards(t, append(asked()[:8], first, item("a1", aver.ApprovalBatch{ID: "b", Item: 1, Of: 2}))...)
	if got := s.ApprovalBatch("b"); len(got) != 2 || got[1].ID != "a1" {
		t.Errorf("%v", got)
	}
	for name, c := range map[string]change{
		"one left out":    item("a2", aver.ApprovalBatch{ID: "b", Item: 2, Of: 3}),
		"one again":       item("a2", aver.ApprovalBatch{ID: "b", Item: 0, Of: 2}),
		"of another size": item("a2", aver.ApprovalBatch{ID: "b", Item: 1, Of: 3}),
		"beyond the end":  item("a2", aver.ApprovalBatch{ID: "b", Item: 2, Of: 2}),
	} {
		s := afterwards(t, append(asked()[:8], first)...)
		if _, err := s.Apply(byNobody(s, c)); err == nil || !strings.Contains(err.Error(), "batch") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
