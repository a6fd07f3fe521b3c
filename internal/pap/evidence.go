package pap

import (
	"encoding/json"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// evidenceParty is the thing of an event about what becomes of evidence, with who asked for it, so that policies can tell
// them from who approves.
func evidenceParty(st *authority.State, e *aver.Event) (aver.Party, error) {
	var named struct {
		ID    string             `json:"id"`
		Class string             `json:"class"`
		Kind  aver.ErasureKind   `json:"kind"`
		Scope aver.EvidenceScope `json:"scope"`
	}
	if err := json.Unmarshal(e.Data, &named); err != nil {
		return aver.Party{}, err
	}
	requester := e.By
	switch e.Type {
	case aver.EventRetentionSet, aver.EventRetentionApproved:
		if e.Type == aver.EventRetentionApproved {
			if c, ok := st.RetentionClass(named.Class); ok && c.Proposed != nil {
				requester = c.Proposed.By
			}
		}
		return party("Retention", named.Class, map[string]any{"requester": entityValue(requester.Principal())}), nil
	case aver.EventHoldPlaced, aver.EventHoldReleased:
		if h, ok := st.Hold(named.ID); ok {
			requester, named.Scope = h.By, h.Scope
		}
		return party("Hold", named.ID, map[string]any{"requester": entityValue(requester.Principal()), "class": named.Scope.Class}), nil
	}
	if r, ok := st.Erasure(named.ID); ok {
		requester, named.Kind = r.By, r.Kind
	}
	return party("Erasure", named.ID, map[string]any{"requester": entityValue(requester.Principal()), "kind": string(named.Kind)}), nil
}
