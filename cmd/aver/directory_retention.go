package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/authority"
)

func (d *directory) Retention(context.Context) (*client.Retention, error) {
	st, err := d.state()
	if err != nil {
		return nil, err
	}
	version := func(v *authority.RetentionVersion) *client.RetentionVersion {
		if v == nil {
			return nil
		}
		return &client.RetentionVersion{RetentionRule: v.RetentionRule, Mark: client.Mark(v.Mark), Approved: (*client.Mark)(v.Approved)}
	}
	out := &client.Retention{Classes: []client.RetentionClass{}}
	for _, class := range st.RetentionClasses() {
		out.Classes = append(out.Classes, client.RetentionClass{Class: class.Name, InForce: version(class.InForce), Proposed: version(class.Proposed)})
	}
	return out, nil
}

func (d *directory) Holds(context.Context) iter.Seq2[client.Hold, error] {
	return items(d, (*authority.State).Holds, func(h *authority.Hold) client.Hold {
		state := "placed"
		if h.Released != nil {
			state = "released"
		}
		return client.Hold{LegalHold: h.LegalHold, Mark: client.Mark(h.Mark), Released: (*client.Mark)(h.Released), State: state}
	})
}

func (d *directory) Erasures(context.Context) iter.Seq2[client.Erasure, error] {
	return items(d, (*authority.State).Erasures, func(e *authority.Erasure) client.Erasure {
		return client.Erasure{ErasureRequest: e.ErasureRequest, Mark: client.Mark(e.Mark), Approved: (*client.Mark)(e.Approved),
			Refused: (*client.Mark)(e.Refused), Completed: (*client.Mark)(e.Completed), State: e.State()}
	})
}

func (d *directory) Erased(context.Context) iter.Seq2[client.Erased, error] {
	return items(d, (*authority.State).ErasedEvidence, func(e *authority.Erased) client.Erased {
		return client.Erased{ErasedEvidence: e.ErasedEvidence, Kind: e.Kind, Mark: client.Mark(e.Mark), Completed: (*client.Mark)(e.Completed)}
	})
}

// erasedOf lists what was erased of an entry of the decision log.
func erasedOf(st *authority.State, index uint64) []client.ErasedMark {
	all := st.DisclosuresErased(index)
	if e, ok := st.PayloadErased(index); ok {
		all = append([]*authority.Erased{e}, all...)
	}
	var out []client.ErasedMark
	for _, e := range all {
		out = append(out, client.ErasedMark{Event: e.Event, Time: e.Time, Kind: e.Kind, Class: e.Class, Erasure: e.Erasure, Why: e.Why()})
	}
	return out
}

// withErased completes an entry that was read by why something of it is gone.
func (d *directory) withErased(name client.LogName, e client.Entry, gone bool) (client.Entry, error) {
	if name != client.Decisions || !gone {
		return e, nil
	}
	st, err := d.state()
	if err != nil {
		return e, err
	}
	e.Erased = erasedOf(st, e.Index)
	return e, nil
}

// erasedError says why a decision can't be explained any more.
func (d *directory) erasedError(evaluationID string, index uint64) error {
	st, err := d.state()
	if err != nil {
		return err
	}
	e, ok := st.PayloadErased(index)
	if !ok {
		return fmt.Errorf("the record of %s is gone, and no event says that it was erased: run aver verify", evaluationID)
	}
	return fmt.Errorf("the record of %s is gone, %s; aver log proof %s still proves that it was there", evaluationID, e.Why(), evaluationID)
}
