package pdp

import (
	"fmt"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// because makes a reason with its sentence.
func because(code aver.ReasonCode, rule *policy.Rule, grant, detail string) aver.Reason {
	r := aver.Reason{Code: code, Grant: grant, Detail: detail}
	words := ""
	if rule != nil {
		r.Policy, words = rule.ID, rule.Reason
	}
	r.Text = ReasonText(r, words)
	return r
}

// ReasonText says a reason in one plain sentence. The rule's own @reason, if it
// has one, is the sentence of a policy that determined the outcome.
func ReasonText(r aver.Reason, rule string) string {
	whom := ""
	if r.Detail != "" {
		whom = " to " + r.Detail + ", on whose behalf it is asked"
	}
	say := func(does string) string {
		if rule != "" {
			return rule
		}
		return "Policy " + r.Policy + " " + does + "."
	}
	switch r.Code {
	case aver.ReasonPermitted:
		return say("permits it")
	case aver.ReasonForbidden:
		if r.Detail != "" && rule != "" {
			return fmt.Sprintf("%s (This applies to %s, on whose behalf it is asked.)", rule, r.Detail)
		}
		return say("forbids it" + whom)
	case aver.ReasonNotPermitted:
		return fmt.Sprintf("No policy permits it%s.", whom)
	case aver.ReasonPolicyError:
		if r.Policy == "" {
			return fmt.Sprintf("The condition of grant %s could not be evaluated: %s.", r.Grant, r.Detail)
		}
		return fmt.Sprintf("Policy %s could not be evaluated: %s.", r.Policy, r.Detail)
	case aver.ReasonInvalid:
		return fmt.Sprintf("The request could not be read: %s.", r.Detail)
	case aver.ReasonChainBroken:
		return fmt.Sprintf("The chain of delegation is broken at grant %s: %s.", r.Grant, r.Detail)
	case aver.ReasonChainTooLong:
		if r.Grant == "" {
			return fmt.Sprintf("The chain of delegation is too long: %s.", r.Detail)
		}
		return fmt.Sprintf("Grant %s was delegated on too often: %s.", r.Grant, r.Detail)
	case aver.ReasonChainLoop:
		return fmt.Sprintf("The chain of delegation runs in a circle: %s stands in it twice.", r.Detail)
	case aver.ReasonGrantUnknown:
		return fmt.Sprintf("Grant %s was never issued.", r.Grant)
	case aver.ReasonGrantRevoked:
		return fmt.Sprintf("Grant %s was revoked at %s.", r.Grant, r.Detail)
	case aver.ReasonGrantExpired:
		return fmt.Sprintf("Grant %s expired at %s.", r.Grant, r.Detail)
	case aver.ReasonGrantPending:
		return fmt.Sprintf("Grant %s is not valid before %s.", r.Grant, r.Detail)
	case aver.ReasonGrantScope:
		return fmt.Sprintf("What is asked lies outside of grant %s.", r.Grant)
	case aver.ReasonTokenInvalid:
		return fmt.Sprintf("The token that came with the request is not believed: %s.", tokenFaults[aver.TokenFault(r.Detail)])
	case aver.ReasonTokenExpired:
		return strings.TrimSuffix("The token that came with the request has expired at "+r.Detail, " at ") + "."
	case aver.ReasonTokenPending:
		return fmt.Sprintf("The token that came with the request is not valid before %s.", r.Detail)
	case aver.ReasonTokenMismatch:
		return fmt.Sprintf("The token that came with the request disagrees with it: %s.", r.Detail)
	case aver.ReasonTokenScope:
		return "What is asked lies outside of the authorization_details of the token that came with the request."
	case aver.ReasonLimit:
		return fmt.Sprintf("Grant %s is used up: %s.", r.Grant, r.Detail)
	case aver.ReasonLimitUnread:
		return fmt.Sprintf("Grant %s limits the sum of %s, which is missing here or not a whole number of 0 or more.", r.Grant, r.Detail)
	case aver.ReasonUnsupported:
		return fmt.Sprintf("It would be allowed with the obligation %q, and the caller did not declare that it can carry that out.", r.Detail)
	case aver.ReasonChallenge:
		return say("wants more proof first")
	case aver.ReasonEscalate:
		return say("wants somebody's approval first")
	case aver.ReasonRestrict:
		return say("allows it with an obligation")
	case aver.ReasonException:
		if r.Policy != "" {
			return fmt.Sprintf("Exception %s sets policy %s aside.", r.Detail, r.Policy)
		}
		return fmt.Sprintf("Exception %s permits it.", r.Detail)
	case aver.ReasonApproved:
		return fmt.Sprintf("What policy %s asks for is there: approval %s.", r.Policy, r.Detail)
	case aver.ReasonApprovalUnknown:
		return fmt.Sprintf("Approval %s was never asked for.", r.Detail)
	case aver.ReasonApprovalScope:
		return fmt.Sprintf("Approval %s was for something else: another request, another rule, or another version of the rule.", r.Detail)
	case aver.ReasonApprovalPending:
		return fmt.Sprintf("Approval %s was not given yet.", r.Detail)
	case aver.ReasonApprovalRefused:
		id, how, _ := strings.Cut(r.Detail, " ")
		return fmt.Sprintf("Approval %s was %s.", id, how)
	case aver.ReasonApprovalExpired:
		id, when, _ := strings.Cut(r.Detail, " ")
		return fmt.Sprintf("Approval %s expired at %s.", id, when)
	case aver.ReasonApprovalUsed:
		return fmt.Sprintf("Approval %s was used already, and each lets one request through.", r.Detail)
	case aver.ReasonPartsDiffer:
		return fmt.Sprintf("%s parts are allowed.", r.Detail)
	case aver.ReasonPartsNone:
		return "None of the parts is allowed."
	}
	return string(r.Code)
}

// tokenFaults says in words why a token is not believed.
var tokenFaults = map[aver.TokenFault]string{
	aver.TokenUnchecked:   "no issuers are configured, so nobody could check it",
	aver.TokenMalformed:   "it is not a signed JWT of acceptable size",
	aver.TokenAlgorithm:   "it is not signed with an allowed algorithm",
	aver.TokenType:        "it is a JWT for another purpose",
	aver.TokenIssuer:      "its issuer is not one whose tokens are accepted",
	aver.TokenKey:         "its issuer has no such key",
	aver.TokenUnreachable: "its issuer's keys could not be had",
	aver.TokenSignature:   "its signature is wrong",
	aver.TokenAudience:    "it was issued for somebody else",
	aver.TokenClaims:      "a claim is missing or is not what it should be",
	aver.TokenActors:      "its act claim can't be read, or names somebody whom its issuer may not name",
	aver.TokenActorsDeep:  "its act claim names more actors than a chain may have",
	aver.TokenTwice:       "the header and the body bring different ones",
}
