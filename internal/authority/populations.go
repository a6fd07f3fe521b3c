package authority

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aver-authz/aver"
)

// Population is a population that was fixed, and the samples that were drawn from it.
type Population struct {
	aver.Population
	Mark
	Digest string `json:"digest"` // [aver.Digest] of the statement
	Draws  []Draw `json:"draws,omitempty"`
}

// Draw is a sample, with who drew it and when.
type Draw struct {
	aver.SampleDrawn
	Mark
}

// maxDraws bounds the samples of one population: who needs more fixes another.
const maxDraws = 1000

// Population returns a population that was fixed.
func (s *State) Population(id string) (*Population, bool) { return s.populations.get(id) }

// Populations lists all populations, in the order in which they were fixed.
func (s *State) Populations() []*Population {
	all := s.populations.values()
	slices.SortFunc(all, func(a, b *Population) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

// That the counts are true does not follow from the authority log: whoever has the decision log finds them out again.

func (s *State) populationFixed(p *aver.Population, m Mark) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if old, ok := s.populations.get(p.ID); ok {
		return fmt.Errorf("the id %q was already used, by event %d", p.ID, old.Event)
	}
	if p.To > m.Time {
		return fmt.Errorf("to: %s is after the time of the event, so that the period has not ended", p.To)
	}
	text, err := p.Canonical()
	if err != nil {
		return err
	}
	s.populations.put(p.ID, &Population{Population: *p, Mark: m, Digest: aver.Digest(text)})
	return nil
}

func (s *State) sampleDrawn(d *aver.SampleDrawn, m Mark) error {
	if err := d.Validate(); err != nil {
		return err
	}
	p, ok := s.populations.get(d.Population)
	switch {
	case !ok:
		return fmt.Errorf("there is no population %q", d.Population)
	case d.Digest != p.Digest:
		return fmt.Errorf("population_digest: that of %q is %s", p.ID, p.Digest)
	case len(p.Draws) >= maxDraws:
		return fmt.Errorf("population %q has %d samples already: fix another one", p.ID, maxDraws)
	}
	for _, i := range d.Rows {
		if i < p.First || i >= p.End {
			return fmt.Errorf("rows: entry %d is none of the population's", i)
		}
	}
	next := *p
	next.Draws = append(slices.Clip(p.Draws), Draw{*d, m})
	s.populations.put(p.ID, &next)
	return nil
}
