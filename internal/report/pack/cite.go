package pack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

// cite finds the events of the authority log that the decisions and activities
// rest on: policies, identities and entities, grants, approvals, exceptions, the
// caller's credential; and what ended an authorization.
func (m *maker) cite(context.Context) error {
	last := uint64(0)
	for _, d := range m.decisions {
		if d.record == nil {
			continue
		}
		last = max(last, d.record.Authority.Size)
		st, err := m.states.At(d.record.Authority.Size)
		if err != nil {
			return fmt.Errorf("the authority of decision %s: %w", d.leaf.ID, err)
		}
		if err := m.citeDecision(d, st); err != nil {
			return fmt.Errorf("decision %s: %w", d.leaf.ID, err)
		}
		for _, a := range d.activities {
			last = max(last, a.Authority.Size)
			if a.Continuity != nil && a.Continuity.Lapse != nil && a.Continuity.Lapse.Event != nil {
				m.add(d, *a.Continuity.Lapse.Event)
			}
		}
	}
	if m.r.Whole {
		for i := range last {
			m.events[i] = ""
		}
	}
	return m.registrations(last)
}

// registrations adds what identities are registered with, where the event that
// is cited only changed their status.
func (m *maker) registrations(last uint64) error {
	latest := map[aver.Ref]uint64{}
	instead := map[uint64]uint64{} // a change of status -> the registration before it
	for e, err := range m.Authority.Entries(0, last) {
		if err != nil {
			return fmt.Errorf("authority log, entry %d: %w", e.Index, err)
		}
		if e.Erased {
			continue
		}
		event, err := aver.ParseEvent(e.Payload)
		if err != nil {
			return fmt.Errorf("authority log, entry %d: %w", e.Index, err)
		}
		switch event.Type {
		case aver.EventIdentityRegistered, aver.EventIdentityUpdated, aver.EventIdentitySuspended, aver.EventIdentityResumed, aver.EventIdentityRetired:
		default:
			continue
		}
		var ref aver.Ref
		if err := json.Unmarshal(event.Data, &ref); err != nil {
			return fmt.Errorf("authority log, entry %d: %w", e.Index, err)
		}
		if event.Type == aver.EventIdentityRegistered || event.Type == aver.EventIdentityUpdated {
			latest[ref] = e.Index
		} else if at, ok := latest[ref]; ok {
			instead[e.Index] = at
		}
	}
	for _, d := range m.decisions {
		for _, i := range slices.Clone(d.cites) {
			if at, ok := instead[i]; ok {
				m.add(d, at)
			}
		}
	}
	return nil
}

func (m *maker) add(d *decision, event uint64) {
	if !slices.Contains(d.cites, event) {
		d.cites = append(d.cites, event)
	}
	m.events[event] = ""
}

func (m *maker) citeDecision(d *decision, st *authority.State) error {
	add := func(marks ...*authority.Mark) {
		for _, mark := range marks {
			if mark != nil {
				m.add(d, mark.Event)
			}
		}
	}
	r := d.record
	for _, event := range r.Facts.Events {
		m.add(d, event)
	}
	if r.Decision.Actor.Event != nil {
		m.add(d, *r.Decision.Actor.Event)
	}
	var active [][2]string
	for _, v := range st.ActiveBundles() {
		active = append(active, [2]string{v.Bundle.Name(), v.Bundle.Digest()})
		add(&v.Mark)
		for i := range slices.Backward(v.History) {
			if v.History[i].Active {
				add(&v.History[i].Mark)
				break
			}
		}
	}
	slices.SortFunc(active, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	m.policies[r.Policies] = active
	if c, ok := st.CredentialNamed(r.PEP.Credential); ok {
		add(&c.Mark)
	}
	request, _, err := pdp.Reopen(r.Request, r.Token, d.disclosures)
	if err != nil {
		return err
	}
	grants := request.Delegation()
	frames := slices.Clone(r.Decision.Frames)
	for _, p := range r.Decision.Parts {
		frames = append(frames, p.Frames...)
	}
	for _, f := range frames {
		grants = append(grants, f.Grant)
		if x, ok := st.Exception(f.Exception); ok {
			add(&x.Mark, x.Activated, x.Closed)
			for _, answer := range []*authority.ExceptionAnswer{x.Approved, x.Rejected} {
				if answer != nil {
					add(&answer.Mark)
				}
			}
		}
	}
	for _, id := range grants {
		for g, ok := st.Grant(id); ok; g, ok = st.Grant(g.Parent) {
			add(&g.Mark, g.Revoked)
		}
	}
	if a, ok := st.Approval(request.Approval()); ok {
		add(&a.Mark, a.Ended)
		for i := range a.Votes {
			add(&a.Votes[i].Mark)
		}
	}
	return nil
}

// readEvents reads the events that go in.
func (m *maker) readEvents(context.Context) error {
	m.loaded, m.gone = map[uint64]ledger.Entry{}, map[uint64]string{}
	for index := range m.events {
		e, err := m.Authority.Entry(index)
		if errors.Is(err, ledger.ErrErased) {
			m.gone[index] = "it was erased, or its retention is over"
			e.Leaf, err = m.Authority.Leaf(index)
		}
		if err != nil {
			return fmt.Errorf("authority log, entry %d: %w", index, err)
		}
		m.loaded[index] = e
	}
	return nil
}

// whole reports whether everything that a decision cites is packed, with nothing
// withheld.
func (m *maker) whole(d *decision) bool {
	return d.withheld == "" && d.record != nil && !slices.ContainsFunc(d.cites, func(i uint64) bool { return m.gone[i] != "" })
}
