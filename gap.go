package aver

import (
	"fmt"
	"slices"
)

// Gaps lists the control gaps that are looked for, by the ids of requirements
// I1 to I5: shared machine identities, excess, missing delegation, decisions
// apart from activities, and exceptions that are governed badly.
func Gaps() []string { return []string{"I1", "I2", "I3", "I4", "I5"} }

// GapAcceptance accepts the risk of a control gap until a time. It stands for
// all that is found of the same rule about the same subject until then.
type GapAcceptance struct {
	ID      string `json:"id"`               // of the finding
	Gap     string `json:"gap"`              // I1 to I5
	Rule    string `json:"rule"`             // that found it
	Subject Ref    `json:"subject,omitzero"` // whom it is about, if that is an identity
	Until   Time   `json:"until"`
}

// GapClosing says that a control gap is mended. Evidence that comes later opens
// it again.
type GapClosing struct {
	ID      string `json:"id"` // of the finding
	Gap     string `json:"gap"`
	Rule    string `json:"rule"`
	Subject Ref    `json:"subject,omitzero"`
}

// Validate checks what can be checked of the acceptance alone. The error is one
// plain sentence.
func (a *GapAcceptance) Validate() error {
	if a.Until <= 0 {
		return fmt.Errorf("until: it is missing: a gap is accepted for a time, not for ever")
	}
	closing := GapClosing{a.ID, a.Gap, a.Rule, a.Subject}
	return closing.Validate()
}

// Validate checks what can be checked of the closing alone. The error is one
// plain sentence.
func (c *GapClosing) Validate() error {
	switch {
	case !isGrantID(c.ID):
		return fmt.Errorf("id %q: a finding's id has 1 to %d visible ASCII characters, without slashes or quotes", brief(c.ID), maxGrantID)
	case !slices.Contains(Gaps(), c.Gap):
		return fmt.Errorf("gap %q is not one of %q", brief(c.Gap), Gaps())
	}
	if err := validateName("rule", c.Rule); err != nil {
		return err
	}
	if c.Subject.IsZero() {
		return nil
	}
	if err := c.Subject.validate(); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	return nil
}
