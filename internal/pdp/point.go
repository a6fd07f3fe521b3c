package pdp

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
)

// Options configure a [Point].
type Options struct {
	// State returns the current authority state and the head of the authority
	// log at its size. It must be cheap and safe for concurrent use.
	State func() (*authority.State, aver.TreeHead)
	// UsageFile is where the usage of limits is kept between starts, so that a
	// start need not read the whole log. It can be deleted at any time.
	UsageFile string
	// Recorded is told each decision once its record has a place in the log, before
	// it is durable, which the ticket tells. It must return at once; nil: nobody is told.
	// The record may be kept: nothing of it, the request's bytes included, is used again.
	Recorded func(*aver.Record, *Evidence, *ledger.Ticket)
	Now      func() time.Time // time.Now if nil
	Logger   *slog.Logger
}

// Point is the policy decision point. Safe for concurrent use.
type Point struct {
	log    *ledger.Log
	o      Options
	latest atomic.Int64 // the latest time that was decided at, in milliseconds
	behind atomic.Int64 // by how much the clock was behind that, when last seen

	counted sync.Mutex // held from reading the usage of limits until the record has its place in the log
	usage   *usage
	last    *ledger.Ticket // of the last decision that counted

	searched searchedStates
}

// Open makes a decision point over the decision log.
func Open(log *ledger.Log, o Options) (*Point, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Point{log: log, o: o}
	if size, _ := log.Head(); size > 0 {
		last, err := log.Leaf(size - 1)
		if err != nil {
			return nil, err
		}
		leaf, err := aver.ParseLeaf(last)
		if err != nil {
			return nil, fmt.Errorf("last entry of the decision log: %w", err)
		}
		p.latest.Store(int64(leaf.Time))
	}
	var err error
	st, _ := o.State()
	p.usage, err = loadUsage(log, o.UsageFile, st.ErasedCounters(), o.Logger)
	return p, err
}

// Pending is a decision whose record has its place in the log and is not known
// to be durable yet. It must not be released before [Pending.Wait] returns.
type Pending struct {
	answer aver.Answer
	ticket *ledger.Ticket
	origin string
}

// Allowed tells whether the decision is a permit, for a batch that stops at the
// first of a kind. It is no answer.
func (p *Pending) Allowed() bool { return p.answer.Outcome.Allowed() }

// Wait returns the answer once its record is durable (requirement G1). When it
// fails there is no answer, though the record may exist.
func (p *Pending) Wait(ctx context.Context) (*aver.Answer, error) {
	var err error
	if p.answer.Receipt, err = durable(ctx, p.ticket, p.origin); err != nil {
		return nil, err
	}
	return &p.answer, nil
}

// durable waits until an entry is durable and returns its receipt.
func durable(ctx context.Context, ticket *ledger.Ticket, origin string) (aver.Receipt, error) {
	receipt, err := ticket.Wait(ctx)
	if err != nil {
		return aver.Receipt{}, err
	}
	committed, err := receipt.Committed()
	if err != nil {
		return aver.Receipt{}, err
	}
	return aver.Receipt{
		Origin: origin, Index: receipt.Index, LeafHash: receipt.LeafHash.String(),
		Commit: &aver.CommitReceipt{Note: committed.Note, Path: hashTexts(committed.Path)},
	}, nil
}

// hashTexts writes each hash in standard base64, all as parts of one text.
func hashTexts(hashes []tlog.Hash) []string {
	const length = 44
	var room [16 * length]byte
	text := room[:0]
	for i := range hashes {
		text = base64.StdEncoding.AppendEncode(text, hashes[i][:])
	}
	all, texts := string(text), make([]string, len(hashes))
	for i := range texts {
		texts[i] = all[i*length : (i+1)*length]
	}
	return texts
}

// Administer decides whether a change of the authority may be made, and waits
// until the record is durable. Its PEP is Aver itself. What could not be read
// again from the record is refused, as the API does with what others ask: a
// record that nobody can decide again is no evidence.
func (p *Point) Administer(ctx context.Context, req *aver.Request) (*aver.Answer, error) {
	if err := readable(req); err != nil {
		return nil, fmt.Errorf("%s can't be recorded: %w", req.Action.Name, err)
	}
	st, head := p.o.State()
	pending, err := p.submit(st, head, NewAdministration(req), aver.PEP{Credential: aver.Self}, nil, p.log.Enqueue)
	if err != nil {
		return nil, err
	}
	return pending.Wait(ctx)
}

func readable(req *aver.Request) error {
	text, err := req.MarshalJSON()
	if err != nil {
		return err
	}
	var again aver.Request
	return again.UnmarshalJSON(text)
}

// Decide decides a query for a PEP and waits until the record is durable. The
// errors are those of the ledger (no answer without a record) and of ctx.
func (p *Point) Decide(ctx context.Context, q *Query, pep aver.PEP) (*aver.Answer, error) {
	pending, err := p.Submit(q, pep)
	if err != nil {
		return nil, err
	}
	return pending.Wait(ctx)
}

// Submit decides a query and gives its record a place in the log, without
// waiting for it to be durable.
func (p *Point) Submit(q *Query, pep aver.PEP) (*Pending, error) {
	if q.administrative || pep.Credential == aver.Self {
		return nil, errors.New("a PEP can't ask about Aver's administration")
	}
	st, head := p.o.State()
	if !hasLimits(st, q) {
		return p.submit(st, head, q, pep, nil, p.log.Enqueue)
	}
	p.counted.Lock()
	defer p.counted.Unlock()
	for {
		if err := p.renewUsage(st); err != nil {
			return nil, err
		}
		pending, err := p.submit(st, head, q, pep, p.usage.Usage, func(e ledger.Entry) (*ledger.Ticket, error) {
			return p.log.EnqueueIn(p.usage.generation, e)
		})
		if errors.Is(err, ledger.ErrDropped) {
			continue
		}
		if err == nil {
			p.usage.add(pending.answer.Counters)
			p.last = pending.ticket
		}
		return pending, err
	}
}

// submit is the one place where a decision is made and recorded.
func (p *Point) submit(st *authority.State, head aver.TreeHead, q *Query, pep aver.PEP, used Usage,
	enqueue func(ledger.Entry) (*ledger.Ticket, error),
) (*Pending, error) {
	now := p.now(st)
	decision, evidence := Decide(st, q, now, used)
	record, disclosures, err := NewRecord(st, q, decision, evidence, Circumstances{
		ID: evaluationID(now), Time: now, Head: head, PEP: pep, Random: rand.Reader,
	})
	if err != nil {
		return nil, err
	}
	w := encoders.Get().(*encoder)
	defer w.free()
	ticket, err := enqueue(w.entry(record, RetentionClass(st, q), disclosures))
	if err != nil {
		return nil, err
	}
	if p.o.Recorded != nil && !q.administrative {
		p.o.Recorded(record, evidence, ticket)
	}
	return &Pending{
		answer: aver.Answer{Decision: decision, EvaluationID: record.ID, Time: now},
		ticket: ticket, origin: p.log.Origin(),
	}, nil
}

// evaluationID returns a UUID of version 7 (RFC 9562, section 5.7) with the time
// of the record, so that a record can be found by its id.
func evaluationID(now aver.Time) string {
	var id uuid.UUID
	rand.Read(id[:]) // never fails
	ms := uint64(now)
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = id[6]&0x0f | 0x70 // version
	id[8] = id[8]&0x3f | 0x80 // variant
	return id.String()
}

// now is the clock's time, but never before a time that was decided at already
// or that of the last authority event: a clock that jumps back must not bring
// what has expired back to life.
func (p *Point) now(st *authority.State) aver.Time {
	clock := p.o.Now().UnixMilli()
	floor := int64(st.Time())
	for {
		latest := p.latest.Load()
		now := max(clock, latest, floor)
		if now > latest && !p.latest.CompareAndSwap(latest, now) {
			continue
		}
		behind := now - clock
		if was := p.behind.Swap(behind); behind > int64(clockTolerance/time.Millisecond) && was <= int64(clockTolerance/time.Millisecond) {
			p.o.Logger.Warn("the clock went back; deciding at the latest time seen until it has caught up",
				"behind", time.Duration(behind)*time.Millisecond)
		}
		return aver.Time(now)
	}
}

// clockTolerance is how far the clock may fall back without a word: time
// services correct by that much in ordinary life.
const clockTolerance = time.Second

// ClockBehind is by how much the clock was behind the latest time decided at,
// when it was last looked at; zero when it runs as it should.
func (p *Point) ClockBehind() time.Duration {
	return time.Duration(p.behind.Load()) * time.Millisecond
}

// Health is nil while decisions can be answered.
func (p *Point) Health() error { return p.log.Health() }

// Close keeps the usage of limits for the next start. The log is closed by who
// opened it, before or after.
func (p *Point) Close() error {
	p.counted.Lock()
	defer p.counted.Unlock()
	if p.o.UsageFile == "" || p.log.Health() != nil || p.log.Generation() != p.usage.generation {
		return nil
	}
	size, root := p.log.Head()
	return p.usage.save(size, root, p.o.UsageFile)
}

// hasLimits tells whether a decision uses up what can be used up.
func hasLimits(st *authority.State, q *Query) bool {
	if _, ok := st.Approval(q.Request.Approval()); ok {
		return true
	}
	for _, id := range q.chain {
		if g, ok := st.Grant(id); ok && g.Limits != nil {
			return true
		}
	}
	return false
}

// ErrNotFound says that no record has the evaluation id.
var ErrNotFound = errors.New("no decision has this evaluation id")
