package pap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// DeniedError says that the administration bundle does not allow what somebody wanted to do. The decision is recorded;
// nothing else was written.
type DeniedError struct {
	Action string
	Answer *aver.Answer
}

func (e *DeniedError) Error() string {
	var texts []string
	for _, r := range e.Answer.Reasons {
		texts = append(texts, r.Text)
	}
	if len(texts) == 0 {
		texts = append(texts, "It is "+e.Answer.Outcome.String()+".")
	}
	return fmt.Sprintf("%s is not allowed: %s", e.Action, strings.Join(texts, " "))
}

// Govern lets a decision point decide about every further change before it is made, but for those of which
// [aver.By.Decided] is false. It is called once, before others use the point.
func (p *Point) Govern(d *pdp.Point) { p.decisions = d }

// Permit asks whether somebody may do something, and returns the evaluation id of the decision, which is durable. The
// error is a [*DeniedError] if they may not.
func (p *Point) Permit(ctx context.Context, who Administrator, action string, resource aver.Party) (evaluation string, err error) {
	st := p.Current().State
	answer, err := p.decisions.Administer(ctx, who.request(st, p.now(st), action, resource))
	if err != nil {
		return "", fmt.Errorf("decide %s: %w", action, err)
	}
	if !answer.Outcome.Allowed() {
		return "", &DeniedError{action, answer}
	}
	return answer.EvaluationID, nil
}

// Evidence is what somebody who wants evidence asks for, as policies see it: the path of their request, and the digest of
// its query; "" if there is none.
func Evidence(path, query string) aver.Party {
	var properties map[string]any
	if query != "" {
		properties = map[string]any{"query_digest": query}
	}
	return party("Evidence", path, properties)
}

// now is the clock's time, or that of the last event if the clock fell behind it.
func (p *Point) now(st *authority.State) aver.Time { return max(aver.TimeOf(p.o.Now()), st.Time()) }

// errLockOut is why a change is refused after which nobody could change policies any more.
var errLockOut = errors.New("after this nobody could change the policies of administration any more. " +
	"Keep a credential with the role admin that may; or, where the others are lost, use aver admin recover on the data directory")

// lockOuts are the types of events that can take the last administrator's power away.
var lockOuts = map[aver.EventType]bool{
	aver.EventPolicyActivated: true, aver.EventPolicyRetired: true, aver.EventCredentialRevoked: true,
	aver.EventIdentityRegistered: true, aver.EventIdentityUpdated: true, aver.EventIdentitySuspended: true, aver.EventIdentityRetired: true,
	aver.EventEntityPut: true, aver.EventEntityRemoved: true, aver.EventSignalReceived: true,
}

// checkOwner refuses an event after which no administrator could replace the administration bundle, at once or when an
// identity expires that it sets: what would be decided then is decided now, on the state as it would be.
func checkOwner(st, next *authority.State, e *aver.Event) error {
	if !lockOuts[e.Type] {
		return nil
	}
	times := []aver.Time{e.Time}
	if e.Type == aver.EventIdentityRegistered || e.Type == aver.EventIdentityUpdated {
		var i aver.Identity
		if err := json.Unmarshal(e.Data, &i); err != nil {
			return err
		}
		times = append(times, max(e.Time, i.Expires))
	}
	for _, at := range times {
		if !hasOwner(next, at) && hasOwner(st, at) {
			return errLockOut
		}
	}
	return nil
}

// hasOwner tells whether there are credentials by which a new version of the administration bundle can be published and
// activated.
func hasOwner(st *authority.State, now aver.Time) bool {
	allowed := func(who Administrator, action string, author aver.By) bool {
		resource := bundleParty(st, aver.PolicyRef{Name: policy.AdministrationName})
		if action != aver.EventPolicyPublished.Action() {
			resource.Properties["author"], resource.Properties["was_active"] = entityValue(author.Principal()), false
		}
		d, _ := pdp.Decide(st, pdp.NewAdministration(who.request(st, now, action, resource)), now, nil)
		return d.Outcome.Allowed()
	}
	all := administrators(st, now)
	for _, author := range all {
		if !allowed(author, aver.EventPolicyPublished.Action(), author.By) {
			continue
		}
		for _, other := range all {
			if allowed(other, aver.EventPolicyActivated.Action(), author.By) {
				return true
			}
		}
	}
	return false
}
