package pdp

import (
	"context"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// SearchAt finds what would be allowed at a state and a time, with so much of the
// limits used, where no point runs: in reports on a data directory. It is one
// page, from the beginning: s.From counts for nothing.
func SearchAt(ctx context.Context, st *authority.State, s Search, now aver.Time, used Usage) (*Found, error) {
	s.From = nil
	return search(ctx, st, s, now, used, time.Now)
}
