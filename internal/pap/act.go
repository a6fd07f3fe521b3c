package pap

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// Administrator is who makes a change, as they were authenticated.
type Administrator struct {
	aver.By
	Role aver.Role
	// Authentication is what else is known of how they were authenticated, by the
	// names that policies see in context.authentication; nil: nothing.
	Authentication map[string]any
	Purpose        string // for which they want evidence, in their words; "" if they did not say
}

// request is what Aver asks itself before it lets somebody do something:
// docs/policies.md describes each member.
func (a Administrator) request(st *authority.State, now aver.Time, action string, resource aver.Party) *aver.Request {
	authentication := map[string]any{"credential": a.Name, "method": a.Method}
	for name, value := range a.Authentication {
		authentication[name] = value
	}
	administration := map[string]any{"role": string(a.Role), "administrators": a.among(administrators(st, now))}
	if a.Purpose != "" {
		administration["purpose"] = a.Purpose
	}
	return &aver.Request{
		Subject:  aver.Party{Ref: a.Principal()},
		Action:   aver.Action{Name: action},
		Resource: resource,
		Context:  map[string]any{"authentication": authentication, "administration": administration},
	}
}

// among counts administrators, of whom this may be one more: those who come with a token of an issuer hold no credential.
func (a Administrator) among(known []Administrator) int64 {
	count := int64(len(known))
	if a.Role == aver.RoleAdmin && a.ByToken() && !slices.ContainsFunc(known, func(k Administrator) bool { return k.Principal() == a.Principal() }) {
		count++
	}
	return count
}

// administrators lists the credentials with the role admin that are good at a time, one for each person, or program,
// and without those whose person is suspended, retired or expired, or has a disabled account.
func administrators(st *authority.State, now aver.Time) []Administrator {
	var out []Administrator
	seen := map[aver.Ref]bool{}
	for _, c := range st.Credentials() {
		if c.Role != aver.RoleAdmin || c.Revoked != nil || c.Expires != 0 && c.Expires <= now {
			continue
		}
		by := byCredential(c)
		if i, ok := st.Identity(by.Principal()); ok && !i.Stands(now) || st.Disabled(by.Principal()) {
			continue
		}
		if !seen[by.Principal()] {
			seen[by.Principal()] = true
			out = append(out, Administrator{By: by, Role: c.Role})
		}
	}
	return out
}

func byCredential(c *authority.Credential) aver.By {
	by := aver.By{Name: c.Name, Method: "bearer"}
	if c.Subject != nil {
		by.Subject = *c.Subject
	}
	return by
}

// thing is the thing that an event changes, as policies see it: what is known of it at a state, and what the
// event says of it. The event may follow at that state.
func thing(st *authority.State, e *aver.Event) (aver.Party, error) {
	switch e.Type {
	case aver.EventPolicyPublished, aver.EventPolicyActivated, aver.EventPolicyRetired:
		var ref aver.PolicyRef
		if err := json.Unmarshal(e.Data, &ref); err != nil {
			return aver.Party{}, err
		}
		return bundleParty(st, ref), nil
	case aver.EventIdentityRegistered, aver.EventIdentityUpdated, aver.EventIdentitySuspended, aver.EventIdentityResumed,
		aver.EventIdentityRetired:
		var i aver.Identity
		if err := json.Unmarshal(e.Data, &i); err != nil {
			return aver.Party{}, err
		}
		return identityParty(st, i), nil
	case aver.EventEntityPut, aver.EventEntityRemoved:
		var ref aver.Ref
		if err := json.Unmarshal(e.Data, &ref); err != nil {
			return aver.Party{}, err
		}
		return party("Entity", ref.String(), map[string]any{"ref": entityValue(ref)}), nil
	case aver.EventGrantIssued, aver.EventGrantRevoked:
		var g aver.Grant
		if err := json.Unmarshal(e.Data, &g); err != nil {
			return aver.Party{}, err
		}
		if known, ok := st.Grant(g.ID); ok {
			g = known.Grant
		}
		return party("Grant", g.ID, map[string]any{
			"from": entityValue(g.From), "to": entityValue(g.To), "actions": texts(g.Actions), "revocable_by": entityValues(g.Revokers),
		}), nil
	case aver.EventCredentialIssued, aver.EventCredentialRevoked:
		var c aver.Credential
		if err := json.Unmarshal(e.Data, &c); err != nil {
			return aver.Party{}, err
		}
		if known, ok := st.CredentialNamed(c.Name); ok {
			c = known.Credential
		}
		properties := map[string]any{"role": string(c.Role)}
		if c.Subject != nil {
			properties["subject"] = entityValue(*c.Subject)
		}
		return party("Credential", c.Name, properties), nil
	case aver.EventApprovalRequested, aver.EventApprovalGranted, aver.EventApprovalRefused, aver.EventApprovalCancelled:
		var a aver.ApprovalRequest
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return aver.Party{}, err
		}
		by := e.By
		if known, ok := st.Approval(a.ID); ok {
			a, by = known.ApprovalRequest, known.By
		}
		return party("Approval", a.ID, map[string]any{
			"requester": entityValue(by.Principal()), "parties": entityValues(a.Parties), "evaluation": a.Evaluation,
		}), nil
	case aver.EventExceptionRequested, aver.EventExceptionApproved, aver.EventExceptionRejected, aver.EventExceptionActivated,
		aver.EventExceptionClosed, aver.EventExceptionReviewed:
		var x aver.ExceptionRequest
		if err := json.Unmarshal(e.Data, &x); err != nil {
			return aver.Party{}, err
		}
		by := e.By
		if known, ok := st.Exception(x.ID); ok {
			x, by = known.ExceptionRequest, known.By
		}
		return party("Exception", x.ID, map[string]any{
			"kind": string(x.Kind), "subject": entityValue(x.Subject), "requester": entityValue(by.Principal()),
			"approver": entityValue(x.Approver), "actions": texts(x.Actions),
		}), nil
	case aver.EventDutyDelegated, aver.EventDutyRevoked:
		var d aver.DutyDelegation
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return aver.Party{}, err
		}
		if known, ok := st.Duty(d.ID); ok {
			d = known.DutyDelegation
		}
		return party("Duty", d.ID, map[string]any{"from": entityValue(d.From), "to": entityValue(d.To)}), nil
	case aver.EventSignalReceived:
		var s aver.Signal
		if err := json.Unmarshal(e.Data, &s); err != nil {
			return aver.Party{}, err
		}
		return party("Signal", s.About.String(), map[string]any{
			"about": entityValue(s.About), "fact": string(s.Fact), "type": s.Type, "source": s.Source,
		}), nil
	case aver.EventReviewOpened, aver.EventReviewDecided, aver.EventReviewAcknowledged, aver.EventReviewClosed, aver.EventReviewRecorded:
		return reviewParty(st, e)
	}
	if e.Type.AboutEvidence() {
		return evidenceParty(st, e)
	}
	if e.Type == aver.EventGapAccepted || e.Type == aver.EventGapClosed {
		return gapParty(e)
	}
	if e.Type == aver.EventSampleDrawn { // it is about the population
		var d aver.SampleDrawn
		err := json.Unmarshal(e.Data, &d)
		return party("Population", d.Population, nil), err
	}
	return other(e)
}

// identityParty is an identity; of one without a kind what is known of it.
func identityParty(st *authority.State, i aver.Identity) aver.Party {
	properties := map[string]any{"ref": entityValue(i.Ref)}
	if i.Kind == "" {
		if known, ok := st.Identity(i.Ref); ok {
			i = known.Identity
		}
	}
	properties["kind"], properties["machine"] = string(i.Kind), i.Kind.Machine()
	if i.Owner != "" {
		properties["owner"] = i.Owner
	}
	return party("Identity", i.Ref.String(), properties)
}

func gapParty(e *aver.Event) (aver.Party, error) {
	var g aver.GapAcceptance
	if err := json.Unmarshal(e.Data, &g); err != nil {
		return aver.Party{}, err
	}
	properties := map[string]any{"gap": g.Gap, "rule": g.Rule}
	if !g.Subject.IsZero() {
		properties["subject"] = entityValue(g.Subject)
	}
	return party("Gap", g.ID, properties), nil
}

// other is the thing of an event that has no attributes for policies: its noun and id.
func other(e *aver.Event) (aver.Party, error) {
	var named struct {
		ID   any `json:"id"`
		Name any `json:"name"`
	}
	if err := json.Unmarshal(e.Data, &named); err != nil {
		return aver.Party{}, err
	}
	noun, _, _ := strings.Cut(string(e.Type), ".")
	id, _ := named.ID.(string)
	if id == "" {
		id, _ = named.Name.(string)
	}
	if id == "" {
		id = noun
	}
	title := []rune(noun)
	title[0] = unicode.ToUpper(title[0])
	return party(string(title), id, nil), nil
}

func bundleParty(st *authority.State, ref aver.PolicyRef) aver.Party {
	properties := map[string]any{"digest": ref.Digest, "administration": ref.Name == policy.AdministrationName}
	if v, ok := st.Bundle(ref.Name, ref.Digest); ok {
		properties["author"], properties["was_active"] = entityValue(v.By.Principal()), len(v.History) > 0
	}
	return party("Policy", ref.Name, properties)
}

// maxID bounds the id of a resource in bytes; a longer one is named by its digest.
const maxID = 1024

func party(typ, id string, properties map[string]any) aver.Party {
	if len(id) > maxID {
		id = "sha-256:" + aver.Digest([]byte(id))
	}
	return aver.Party{Ref: aver.Ref{Type: aver.ReservedPrefix + typ, ID: id}, Properties: properties}
}

// entityValue is an entity as the value of an attribute.
func entityValue(r aver.Ref) map[string]any {
	return map[string]any{"__entity": map[string]any{"type": r.Type, "id": r.ID}}
}

func entityValues(refs []aver.Ref) []any {
	out := make([]any, len(refs))
	for i, r := range refs {
		out[i] = entityValue(r)
	}
	return out
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
