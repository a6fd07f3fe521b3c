package pap

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
)

// CheckEntry checks that an entry of the authority log is an event in canonical form and that its leaf commits to it.
// It is what [ledger.Verify] needs to know of this log; whether each event may follow the ones before it shows when they
// are folded.
func CheckEntry(e ledger.Indexed) error {
	_, err := parseEntry(e.Entry)
	return err
}

func parseEntry(e ledger.Entry) (*aver.Event, error) {
	if e.Erased {
		return nil, fmt.Errorf("it was erased, and events are kept for ever")
	}
	if e.Private != nil {
		return nil, fmt.Errorf("an event has no private part")
	}
	return authority.ParseEntry(e.Leaf, e.Payload)
}

// Events reads the events in entries of the authority log, for [authority.Fold].
func Events(entries iter.Seq2[ledger.Indexed, error]) iter.Seq2[*aver.Event, error] {
	return func(yield func(*aver.Event, error) bool) {
		for entry, err := range entries {
			if err != nil {
				yield(nil, err)
				return
			}
			e, err := parseEntry(entry.Entry)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// watch passes events on, reports progress about once a second, and stops when ctx ends.
func (p *Point) watch(ctx context.Context, events iter.Seq2[*aver.Event, error], from, to uint64) iter.Seq2[*aver.Event, error] {
	return func(yield func(*aver.Event, error) bool) {
		done, reported := from, time.Now()
		for e, err := range events {
			if err == nil {
				err = ctx.Err()
			}
			if !yield(e, err) || err != nil {
				return
			}
			if done++; done%256 == 0 && time.Since(reported) > time.Second {
				reported = time.Now()
				p.o.Logger.Info("reading the authority log", "events", done, "of", to)
			}
		}
	}
}
