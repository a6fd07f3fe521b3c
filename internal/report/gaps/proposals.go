package gaps

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/replay"
)

// revoke proposes that a grant that nobody uses be revoked.
func revoke(g *authority.Grant) *aver.GapProposal {
	return &aver.GapProposal{Text: fmt.Sprintf("Revoke %s.", g.ID), Revoke: g.ID}
}

// narrower proposes the grant that was used: its actions, without some, the types
// of its resources, and limits of twice what was counted.
func (r *reporter) narrower(g *authority.Grant, use *grantUse, without ...string) *aver.GapProposal {
	from := r.now - aver.Time(r.t.Window)
	narrow := g.Grant
	narrow.Actions = nil
	for _, a := range slices.Sorted(maps.Keys(use.actions)) {
		if use.actions[a] >= from && !strings.HasSuffix(a, "*") && !aver.Covers(without, a) {
			narrow.Actions = append(narrow.Actions, a)
		}
	}
	if len(narrow.Actions) == 0 && len(without) > 0 {
		return revoke(g)
	}
	if use.many || len(narrow.Actions) == 0 {
		narrow.Actions = g.Actions
	}
	if !use.many {
		narrow.Resources = usedScopes(g.Resources, use.resources, from)
	}
	narrow.Limits = narrowerLimits(g.Limits, use, r.t.Excess.LimitUsed)
	if narrow.Validate() != nil {
		return nil
	}
	return &aver.GapProposal{Text: fmt.Sprintf("Issue a grant like %s that gives what was used, and revoke %s.", g.ID, g.ID), Grant: &narrow}
}

// usedScopes are the resources of a grant that were used: those it names, and of
// every type together the types.
func usedScopes(granted []aver.ResourceScope, used map[aver.Ref]aver.Time, from aver.Time) []aver.ResourceScope {
	var out []aver.ResourceScope
	for _, scope := range granted {
		for _, resource := range slices.SortedFunc(maps.Keys(used), compareRefs) {
			if used[resource] < from || scope.Type != "*" && (scope.Type != resource.Type || scope.ID != "" && scope.ID != resource.ID) {
				continue
			}
			narrow := aver.ResourceScope{Type: resource.Type, ID: scope.ID}
			if !slices.Contains(out, narrow) {
				out = append(out, narrow)
			}
		}
	}
	if len(out) == 0 {
		return granted
	}
	return out
}

func compareRefs(a, b aver.Ref) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
}

func narrowerLimits(l *aver.GrantLimits, use *grantUse, percent int64) *aver.GrantLimits {
	if l == nil {
		return nil
	}
	narrow := func(name string, limit int64) int64 {
		if peak, counted := use.peaks[name]; counted && limit != 0 && peak*2 < limit {
			return max(1, peak*2)
		}
		return limit
	}
	out := &aver.GrantLimits{Uses: narrow("uses", l.Uses)}
	for _, sum := range l.Sums {
		out.Sums = append(out.Sums, aver.SumLimit{Attribute: sum.Attribute, Max: narrow(sum.Attribute, sum.Max)})
	}
	return out
}

// changedKept bounds the decisions that a proof names.
const changedKept = 5

// candidate is a proposal that is to be decided with the past.
type candidate struct {
	x     *sighting
	grant *authority.Grant
	key   string
	from  uint64
}

// prove decides the past with the proposals. What was decided with the same
// proposal before is not decided again.
func (r *reporter) prove(ctx context.Context) error {
	var all []candidate
	for _, x := range r.found {
		if x.proposal == nil {
			continue
		}
		x.proposal.Proof = aver.GapProof{Verdict: aver.ProofNotMade}
		c, err := r.candidate(x)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(b.x.severity.Compare(a.x.severity), cmp.Compare(a.x.rule.Name, b.x.rule.Name), cmp.Compare(a.x.subject.ID, b.x.subject.ID))
	})
	all = all[:min(len(all), r.t.Proofs)]
	proofs := map[string]aver.GapProof{}
	byStart := map[uint64][]candidate{} // those that go on from the same entry are decided in one run
	for _, c := range all {
		proof, known := r.proofs[c.key]
		if !known {
			proof = aver.GapProof{From: c.from, To: c.from}
		}
		proofs[c.key] = proof
		byStart[proof.To] = append(byStart[proof.To], c)
	}
	for _, start := range slices.Sorted(maps.Keys(byStart)) {
		if err := r.decideWith(ctx, start, byStart[start], proofs); err != nil {
			return err
		}
	}
	for _, c := range all {
		c.x.proposal.Proof = proofs[c.key]
	}
	r.Scanner.proofs = proofs
	return nil
}

// candidate compiles a proposal, and says from which entry on it has to hold.
func (r *reporter) candidate(x *sighting) (candidate, error) {
	c := candidate{x: x, from: r.indexAt(r.now - aver.Time(r.t.Window))}
	instead := x.proposal.Grant
	if instead == nil {
		old, _ := r.st.Grant(x.proposal.Revoke)
		instead = &old.Grant
		c.from = r.indexAt(x.first) // since when it is idle
		if n := len(x.evidence.Decisions); n > 0 {
			c.from = x.evidence.Decisions[n-1].Index + 1 // after its last use
		}
	}
	grant, err := authority.NewGrant(*instead)
	if err != nil {
		return c, fmt.Errorf("the proposal for grant %s: %w", instead.ID, err)
	}
	text, err := aver.CanonicalJSON(instead)
	if err != nil {
		return c, fmt.Errorf("the proposal for grant %s: %w", instead.ID, err)
	}
	if x.proposal.Grant == nil {
		grant.Revoked = &authority.Mark{Reason: "a proposal"}
		text = fmt.Appendf(text, "revoked from %d", c.from)
	}
	c.grant, c.key = grant, aver.Digest(text)
	return c, nil
}

// decideWith decides all from an entry on with some proposals, and adds what
// comes of it to their proofs.
func (r *reporter) decideWith(ctx context.Context, start uint64, list []candidate, proofs map[string]aver.GapProof) error {
	keys := map[string]string{} // by grant
	var grants []*authority.Grant
	for _, c := range list {
		if _, twice := keys[c.grant.ID]; twice {
			continue // one proposal for each grant: they rest on the same use
		}
		keys[c.grant.ID] = c.key
		grants = append(grants, c.grant)
	}
	if start < r.read {
		_, err := replay.Run(ctx, r.authority, r.decisions, replay.Options{
			From: start, To: r.read, Grants: grants, Workers: 1,
			Each: func(result replay.Result) error {
				for _, id := range result.Grants {
					p := proofs[keys[id]]
					p.Decided++
					switch result.Verdict {
					case replay.Match:
						p.Same++
					case replay.Undetermined:
						p.Undetermined++
					default:
						if len(p.Changed) < changedKept {
							p.Changed = append(p.Changed, result.ID)
						}
					}
					proofs[keys[id]] = p
				}
				return nil
			},
		})
		if err != nil {
			return fmt.Errorf("decide the past with what is proposed: %w", err)
		}
	}
	for _, key := range keys {
		p := proofs[key]
		p.To = r.read
		switch {
		case len(p.Changed) > 0:
			p.Verdict = aver.ProofChanges
		case p.Undetermined > 0:
			p.Verdict = aver.ProofUndetermined
		default:
			p.Verdict = aver.ProofHarmless
		}
		proofs[key] = p
	}
	for _, c := range list { // of a grant with several
		if p := proofs[c.key]; p.Verdict == "" {
			p.Verdict = aver.ProofNotMade
			proofs[c.key] = p
		}
	}
	return nil
}
