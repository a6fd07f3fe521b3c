package pap

import (
	"context"
	"encoding/json"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// OpenReview opens an access review of what is in its scope at the very state that the event follows. Size, rows and
// digest are filled in.
func (p *Point) OpenReview(ctx context.Context, who Administrator, reason string, r aver.ReviewOpened) (*Change, error) {
	return p.Do(ctx, who, reason, aver.EventReviewOpened, ofState(func(st *authority.State, now aver.Time) (any, error) {
		err := st.OpenReview(&r, now)
		return r, err
	}))
}

// Remediate makes a change, as [Point.Do], that carries out what an access review decided; the event names the review.
func (p *Point) Remediate(ctx context.Context, who Administrator, reason, review string, typ aver.EventType, data any) (*Change, error) {
	return p.Do(ctx, who, reason, typ, carryingOut{review, data})
}

// ofState are data that follow from the state that the event is to follow.
type ofState func(st *authority.State, now aver.Time) (any, error)

// carryingOut are the data of a change that a review asks for.
type carryingOut struct {
	review string
	data   any
}

// reviewParty is what an event about a review is about, as policies see it.
func reviewParty(st *authority.State, e *aver.Event) (aver.Party, error) {
	if e.Type == aver.EventReviewRecorded { // it is about what was reviewed
		var r aver.ReviewRecorded
		if err := json.Unmarshal(e.Data, &r); err != nil {
			return aver.Party{}, err
		}
		if r.Policy != nil {
			return bundleParty(st, *r.Policy), nil
		}
		return identityParty(st, aver.Identity{Ref: *r.Identity}), nil
	}
	var r struct {
		ID       string              `json:"id"`
		Row      int                 `json:"row"`
		Decision aver.ReviewDecision `json:"decision"`
	}
	if err := json.Unmarshal(e.Data, &r); err != nil {
		return aver.Party{}, err
	}
	properties := map[string]any{}
	if review, ok := st.Review(r.ID); ok {
		properties["reviewers"] = entityValues(review.Reviewers)
		properties["opened_by"] = entityValue(review.By.Principal())
		if i, ok := review.Item(r.Row); ok {
			properties["parties"], properties["decision"] = entityValues(st.Parties(i)), string(r.Decision)
		}
	}
	return party("Review", r.ID, properties), nil
}
