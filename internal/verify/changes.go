package verify

import (
	"fmt"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
)

// change is an event by which somebody changed the authority.
type change struct {
	index    uint64
	typ      aver.EventType
	by       aver.Ref
	decision string
}

// allowed is a decision about a change, or another act of administration.
type allowed struct {
	outcome aver.Outcome
	size    uint64 // of the authority log it was decided at
	action  string
	by      aver.Ref
}

// event takes in an event of the authority log.
func (v *verifier) event(index uint64, e *aver.Event) {
	v.gone.event(e)
	if e.By.Decided() {
		v.changes = append(v.changes, change{index, e.Type, e.By.Principal(), e.Decision})
	}
}

// administration takes in a decision that Aver asked itself for.
func (v *verifier) administration(r *aver.Record) error {
	if r.PEP.Credential != aver.Self {
		return nil
	}
	parsed, err := aver.ParseJSON(r.Request, aver.Limits{Bytes: len(r.Request)})
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	req, err := aver.ParseRequest(parsed)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.allowed[r.ID] = allowed{r.Decision.Outcome, r.Authority.Size, req.Action.Name, req.Subject.Ref}
	return nil
}

// checkChanges checks that every change names a decision that allowed it: that very change, to whoever made it, at the
// very state that it follows.
func (v *verifier) checkChanges(log *Log) {
	for _, c := range v.changes {
		d, ok := v.allowed[c.decision]
		what := ""
		switch {
		case c.decision == "":
			what = "it names no decision that allowed it"
		case !ok && v.gone.decisions[c.decision]:
			log.Notes = append(log.Notes, ledger.Finding{Offset: -1, Index: c.index,
				What: fmt.Sprintf("the decision %s that it names was erased; that it allowed this change can't be checked any more", c.decision)})
			continue
		case !ok:
			what = fmt.Sprintf("the decision %s that it names is not in the decision log, or is none about administration", c.decision)
		case !d.outcome.Allowed():
			what = fmt.Sprintf("the decision %s that it names is %s", c.decision, d.outcome)
		case d.size != c.index:
			what = fmt.Sprintf("the decision %s that it names was made at %d events, not at the %d that it follows", c.decision, d.size, c.index)
		case d.action != c.typ.Action() || d.by != c.by:
			what = fmt.Sprintf("the decision %s that it names allowed %s to %s, not %s to %s", c.decision, d.action, d.by, c.typ.Action(), c.by)
		default:
			continue
		}
		log.Findings = append(log.Findings, ledger.Finding{Offset: -1, Index: c.index, What: what})
	}
}
