// Package workload is what the benchmark sends to every target: payments rules, written with the same answers in Cedar,
// Rego and Cerbos's YAML, and random checks against them. The rules stand here a fourth time, in Go, as the answer that
// every target must give.
package workload

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// RulesPerKind is how many policies each kind of payment has; a set of n policies has n/RulesPerKind kinds.
const RulesPerKind = 10

// The actions that are asked for.
const (
	Create  = "payment.create"
	Read    = "payment.read"
	Approve = "payment.approve"
	Cancel  = "payment.cancel"
	Export  = "payment.export"
)

// The roles of those who ask.
const (
	clerk   = "clerk"
	manager = "manager"
	auditor = "auditor"
)

// Limits that the rules name, in cents.
const (
	clerkLimit   = 10_000_00
	managerLimit = 1_000_000_00
	approveLimit = 5_000_000_00
)

var (
	sanctioned = []string{"KP", "IR", "SY"}
	currencies = []string{"EUR", "USD", "GBP"}
)

// People is how many different people ask if nothing else is said.
const People = 64

// Person is somebody who asks.
type Person struct {
	Login, Role, Department string
}

// Groups are the groups that somebody is in.
func (p Person) Groups() []string {
	switch p.Role {
	case clerk:
		return []string{"clerks", "staff"}
	case manager:
		return []string{"managers", "staff"}
	}
	return []string{"auditors"}
}

// Attributes are what is known of somebody beside the groups; the peers, who have no groups, go by the role.
func (p Person) Attributes() map[string]any {
	return map[string]any{"role": p.Role, "department": p.Department, "login": p.Login}
}

// PersonAt is the i-th person, always the same.
func PersonAt(i int) Person {
	return Person{
		Login:      fmt.Sprintf("u-%d", i),
		Role:       []string{clerk, manager, clerk, auditor}[i%4],
		Department: fmt.Sprintf("d-%d", i/4%8),
	}
}

// Check is one question: may this person do that to this payment?
type Check struct {
	Who     int // of [PersonAt]
	Action  string
	Kind    int // of payment
	Payment Payment
	// Delegated: it is asked by an agent, to whom an orchestrator has passed on what the person lets it do.
	Delegated bool
}

// Payment is what is asked about.
type Payment struct {
	ID, Department, Country, Currency, CreatedBy string
	Amount                                       int64 // cents
	Frozen                                       bool
}

// KindName is the resource type of the i-th kind of payment.
func KindName(i int) string { return fmt.Sprintf("payment_%03d", i) }

// Allowed is the answer by the rules.
func (c Check) Allowed() bool {
	who, p := PersonAt(c.Who), c.Payment
	own := who.Department == p.Department
	var permit bool
	switch c.Action {
	case Create:
		permit = own && (who.Role == clerk && p.Amount <= clerkLimit || who.Role == manager && p.Amount <= managerLimit)
	case Read:
		permit = own && (who.Role == clerk || who.Role == manager) || who.Role == auditor
	case Approve:
		permit = own && who.Role == manager && p.CreatedBy != who.Login
	case Cancel:
		permit = p.CreatedBy == who.Login
	case Export:
		permit = who.Role == auditor
	}
	forbid := (c.Action == Create || c.Action == Approve) && slices.Contains(sanctioned, p.Country) ||
		c.Action == Create && !slices.Contains(currencies, p.Currency) ||
		(c.Action == Create || c.Action == Approve || c.Action == Cancel) && p.Frozen ||
		c.Action == Approve && p.Amount > approveLimit
	return permit && !forbid
}

// Options say which checks to make.
type Options struct {
	Seed      uint64
	Policies  int // a multiple of RulesPerKind
	People    int // how many different people ask; 0 means [People]
	Delegated bool
	// Mixed: a different person asks each time, so that no consecutive checks belong together.
	Mixed bool
}

// Checks makes n checks, about two thirds of which are allowed. The same options give the same checks. In each run of
// group checks that belong together (see [Group]) the same person asks.
func Checks(n int, o Options) []Check {
	if o.People == 0 {
		o.People = People
	}
	r := rand.New(rand.NewPCG(o.Seed, 0x6176657262656e63))
	out := make([]Check, n)
	who := 0
	for i := range out {
		if i%Group == 0 || o.Mixed {
			who = r.IntN(o.People)
		}
		out[i] = o.check(r, who)
	}
	return out
}

// Group is how many consecutive checks of [Checks] one person asks, so that a batch of up to that many has one subject,
// as the peers' batches demand.
const Group = 20

func (o Options) check(r *rand.Rand, who int) Check {
	person := PersonAt(who)
	c := Check{Who: who, Kind: r.IntN(max(o.Policies/RulesPerKind, 1)), Delegated: o.Delegated}
	switch person.Role {
	case auditor:
		c.Action = pick(r, Read, Read, Export)
	case manager:
		c.Action = pick(r, Approve, Approve, Create, Read, Cancel)
	default:
		c.Action = pick(r, Create, Create, Read, Cancel)
	}
	c.Payment = Payment{
		ID:         fmt.Sprintf("p-%07d", r.IntN(10_000_000)),
		Department: person.Department,
		Country:    pick(r, "DE", "FR", "US", "SG", "DE", "FR", "US", "KP"),
		Currency:   pick(r, "EUR", "EUR", "USD", "GBP", "EUR", "EUR", "USD", "XAU"),
		CreatedBy:  PersonAt(r.IntN(o.People)).Login,
		Amount:     r.Int64N(clerkLimit),
		Frozen:     r.IntN(20) == 0,
	}
	if r.IntN(8) == 0 {
		c.Payment.Department = PersonAt(r.IntN(o.People)).Department
	}
	if r.IntN(6) == 0 {
		c.Payment.Amount = r.Int64N(2 * approveLimit)
	}
	if c.Action == Cancel && r.IntN(4) > 0 {
		c.Payment.CreatedBy = person.Login
	}
	return c
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }
