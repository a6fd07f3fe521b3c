package aver

import "fmt"

// DutyDelegation lets somebody do an approver's duty of answering requests for
// approval, for a while. It gives the duty, not the approver's other authority,
// and can't be passed on.
type DutyDelegation struct {
	ID        string `json:"id"`
	From      Ref    `json:"from"` // whose duty it is
	To        Ref    `json:"to"`   // who does it for them
	NotBefore Time   `json:"not_before,omitzero"`
	Expires   Time   `json:"expires"`
}

// DutyRef names a delegation of duty.
type DutyRef struct {
	ID string `json:"id"`
}

// MaxDuty is the longest time for which duty can be delegated, in milliseconds:
// 90 days. Who is away for longer is no approver.
const MaxDuty Time = 90 * 24 * 60 * 60 * 1000

// Validate checks what can be checked of the delegation alone. The error is one
// plain sentence.
func (d *DutyDelegation) Validate() error {
	if !isGrantID(d.ID) {
		return fmt.Errorf("id %q: a delegation's id has 1 to %d visible ASCII characters, without slashes or quotes", brief(d.ID), maxGrantID)
	}
	for _, p := range []struct {
		name string
		Ref
	}{{"from", d.From}, {"to", d.To}} {
		if err := p.validate(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	switch {
	case d.From == d.To:
		return fmt.Errorf("%s can't delegate duty to itself", d.From)
	case d.Expires == 0:
		return fmt.Errorf("expires: say until when the duty is delegated")
	case d.Expires <= d.NotBefore:
		return fmt.Errorf("expires: it is not after not_before")
	}
	return nil
}
