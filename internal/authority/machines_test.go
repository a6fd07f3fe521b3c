package authority_test

import (
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// E4, H1: only people answer for others, whatever group a machine is put into and whosever role its credential has.
func TestMachinesAnswerForNobody(t *testing.T) {
	agent := aver.Identity{Ref: ref("ai_agent:bot"), Kind: aver.AIAgent, Owner: "ann", Purpose: "pay", Parents: refs("group:leads")}
	disguised := agent // by its type it could be anybody
	disguised.Ref = ref("colleague:bot")
	rules := bundle("rules", `permit (principal, action, resource);`)
	rules.Files["bundle.yaml"] = "name: rules\nexceptions:\n  - {kind: override, max: 1h, approvers: [leads], reviewers: [leads], review_within: 1h}\n"
	loaded, err := policy.Load(map[string][]byte{"main.cedar": []byte(rules.Files["main.cedar"]), "bundle.yaml": []byte(rules.Files["bundle.yaml"])}, "rules")
	if err != nil {
		t.Fatal(err)
	}
	rules.Digest = loaded.Digest()
	request := func(approver string) change {
		return change{aver.EventExceptionRequested, aver.ExceptionRequest{
			ID: "x", Kind: aver.Override, Subject: ref("user:kim"), Actions: []string{"pay"}, Resources: []aver.ResourceScope{{Type: "payment"}},
			Justification: "why", IdentityConfirmed: "how", Approver: ref(approver), Duration: 60,
		}}
	}
	answered := []change{
		request("user:lena"), {aver.EventExceptionApproved, aver.ExceptionVote{ID: "x", Approver: ref("user:lena")}},
		{aver.EventExceptionActivated, aver.ExceptionRef{ID: "x"}}, {aver.EventExceptionClosed, aver.ExceptionRef{ID: "x"}},
	}
	begin := append(asked(), register(agent), register(disguised), publish(rules), activate(rules))
	for name, test := range map[string]struct {
		before []change
		change change
	}{
		"a vote of an agent":               {nil, vote("ai_agent:bot", "")},
		"a vote of one under another type": {nil, vote("colleague:bot", "")},
		"a refusal":                        {nil, change{aver.EventApprovalRefused, aver.ApprovalVote{ID: "ap", Approver: ref("ai_agent:bot"), Seen: aver.Digest(nil)}}},
		"a vote by the duty of an agent":   {[]change{delegateDuty("d", "ai_agent:bot", "user:kim")}, vote("user:kim", "d")},
		"an exception that names it":       {nil, request("ai_agent:bot")},
		"an answer to an exception":        {[]change{request("user:lena")}, change{aver.EventExceptionApproved, aver.ExceptionVote{ID: "x", Approver: ref("ai_agent:bot")}}},
		"a review of an exception":         {answered, change{aver.EventExceptionReviewed, aver.ExceptionReview{ID: "x", Reviewer: ref("ai_agent:bot"), Verdict: aver.Justified}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := afterwards(t, append(append([]change{}, begin...), test.before...)...)
			if _, err := s.Apply(byNobody(s, test.change)); err == nil || !strings.Contains(err.Error(), "is a machine, and only") {
				t.Errorf("error %v", err)
			}
		})
	}
}
