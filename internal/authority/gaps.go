package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

// GapAnswer is what somebody last decided about a control gap that was found:
// that its risk is accepted for a time, or that it is mended.
type GapAnswer struct {
	aver.GapClosing
	Until aver.Time `json:"until,omitzero"` // of an acceptance; 0: closed
	Mark
}

// Accepted tells whether the risk is accepted at a time.
func (g *GapAnswer) Accepted(now aver.Time) bool { return g.Until != 0 && now < g.Until }

// Closed tells whether the gap was last said to be mended.
func (g *GapAnswer) Closed() bool { return g.Until == 0 }

// Gap returns what was last decided about a finding.
func (s *State) Gap(id string) (*GapAnswer, bool) { return s.gaps.get(id) }

// Gaps lists what was last decided about each finding, sorted by id.
func (s *State) Gaps() []*GapAnswer {
	all := s.gaps.values()
	slices.SortFunc(all, func(a, b *GapAnswer) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// A finding itself follows from both logs, so that the state can't tell whether
// there is one with this id; who asks for the event does.

func (s *State) gapAccepted(a *aver.GapAcceptance, m Mark) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if a.Until <= m.Time {
		return fmt.Errorf("until: %s is not after the time of the event, %s", a.Until, m.Time)
	}
	return s.answerGap(&GapAnswer{GapClosing: aver.GapClosing{ID: a.ID, Gap: a.Gap, Rule: a.Rule, Subject: a.Subject}, Until: a.Until, Mark: m})
}

func (s *State) gapClosed(c *aver.GapClosing, m Mark) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return s.answerGap(&GapAnswer{GapClosing: *c, Mark: m})
}

func (s *State) answerGap(g *GapAnswer) error {
	if strings.TrimSpace(g.Reason) == "" {
		return fmt.Errorf("a reason is needed: why is the gap accepted, or by what is it mended?")
	}
	s.gaps.put(g.ID, g)
	return nil
}
