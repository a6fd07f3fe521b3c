package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

// workflows are the nine that the company has, in the order of the table.
var workflows = []string{
	"payment processing", "customer data", "cloud administration", "privileged identity", "partner API",
	"third-party platform", "AI workflow", "security administration", "fraud operations",
}

// A step is one thing that happens: a request with the outcome that it must have, or a change.
type step struct {
	workflow string
	shows    string // what it is an example of
	request  *aver.Request
	want     aver.Outcome
	code     aver.ReasonCode // must be among the reasons, those of parts included; "" for any
	batch    int             // steps with the same number are asked in one request; 0: alone

	change func(context.Context, *office) error // instead of a request
	refuse bool                                 // the change must be refused
	wait   bool                                 // instead of either: wait until what was to expire shortly has
}

// An office makes the changes, as an administrator.
type office struct {
	*client.Client
	until time.Time // when all that was made to expire shortly has expired
}

// shortly is the time at which something expires that is to be used once more before. It has to outlast one request, on
// a busy machine.
func (o *office) shortly() aver.Time {
	o.until = time.Now().Add(3 * time.Second)
	return aver.TimeOf(o.until)
}

// wait waits until that has expired.
func (o *office) wait(ctx context.Context) error {
	t := time.NewTimer(time.Until(o.until) + time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// script is all that happens, in order.
type script struct {
	rng      *rand.Rand
	steps    []step
	workflow string
	batch    int // number of the batch that is being written, 0 for none
	batches  int
	count    int // for ids of payments, transactions and the like
}

// newScript writes the script for a seed. The same seed gives the same requests with the same outcomes.
func newScript(seed int64) *script {
	s := &script{rng: rand.New(rand.NewPCG(uint64(seed), 0x6e6f727468))}
	for i, write := range []func(*script){
		(*script).payments, (*script).customerData, (*script).cloud, (*script).privileged, (*script).partners,
		(*script).thirdParties, (*script).ai, (*script).security, (*script).fraud,
	} {
		s.workflow = workflows[i]
		write(s)
	}
	s.whatExpired()
	return s
}

// do adds a change that must succeed.
func (s *script) do(shows string, change func(context.Context, *office) error) {
	s.steps = append(s.steps, step{workflow: s.workflow, shows: shows, change: change})
}

// refused adds a change that must be refused.
func (s *script) refused(shows string, change func(context.Context, *office) error) {
	s.steps = append(s.steps, step{workflow: s.workflow, shows: shows, change: change, refuse: true})
}

// expect adds a request.
func (s *script) expect(want aver.Outcome, code aver.ReasonCode, shows string, by chain, action string, resource aver.Party, with ...option) {
	r := request(by, action, resource, with...)
	r.Context["workflow"] = s.workflow
	r.Context["session"] = fmt.Sprintf("s-%06x", s.rng.IntN(1<<24))
	s.steps = append(s.steps, step{workflow: s.workflow, shows: shows, request: r, want: want, code: code, batch: s.batch})
}

// permit adds a request that is simply permitted.
func (s *script) permit(shows string, by chain, action string, resource aver.Party, with ...option) {
	s.expect(aver.Permitted, aver.ReasonPermitted, shows, by, action, resource, with...)
}

// routine adds n requests of everyday work, in batches.
func (s *script) routine(n int, one func(pick int)) {
	const size = 10
	for i := range n {
		if i%size == 0 {
			s.batches++
			s.batch = s.batches
		}
		one(s.rng.IntN(100))
	}
	s.batch = 0
}

// id gives the next id of a kind of thing.
func (s *script) id(prefix string) string {
	s.count++
	return fmt.Sprintf("%s-%05d", prefix, s.count)
}

// between is a random number from low to high.
func (s *script) between(low, high int64) int64 { return low + s.rng.Int64N(high-low+1) }

func oneOf[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// direct is somebody who acts for nobody but themselves.
func direct(r aver.Ref) chain { return chain{actor: r} }

// An option says more in a request.
type option func(*aver.Request)

// request builds a request of an actor, with the chain by which it acts.
func request(by chain, action string, resource aver.Party, with ...option) *aver.Request {
	r := &aver.Request{
		Subject: aver.Party{Ref: by.actor}, Action: aver.Action{Name: action}, Resource: resource, Context: map[string]any{},
	}
	if !by.origin.IsZero() {
		r.Context["on_behalf_of"] = map[string]any{"type": by.origin.Type, "id": by.origin.ID}
	}
	if len(by.grants) > 0 {
		r.Context["delegation"] = texts(by.grants...)
	}
	for _, say := range with {
		say(r)
	}
	return r
}

func texts(list ...string) []any {
	out := make([]any, len(list))
	for i, t := range list {
		out[i] = t
	}
	return out
}

// saying adds a member to the context.
func saying(name string, value any) option {
	return func(r *aver.Request) { r.Context[name] = value }
}

// login says how the person was authenticated, and how many seconds ago.
func login(acr string, age int64, amr ...string) option {
	return saying("authentication", map[string]any{"acr": acr, "age": age, "amr": texts(amr...)})
}

// onManagedDevice says that the request comes from a device that the company manages.
func onManagedDevice() option { return saying("device", map[string]any{"managed": true}) }

// able declares the obligations that the enforcement point can carry out.
func able(obligations ...string) option {
	return saying("supported_obligations", texts(obligations...))
}

// tool names the tool that the action uses.
func tool(name string) option {
	return func(r *aver.Request) { r.Action.Properties = map[string]any{"tool": name} }
}

// part is one part of what is asked for.
func part(id string, properties map[string]any) map[string]any {
	if properties == nil {
		properties = map[string]any{}
	}
	return map[string]any{"id": id, "properties": properties}
}

func inParts(parts ...map[string]any) option {
	list := make([]any, len(parts))
	for i, p := range parts {
		list[i] = p
	}
	return saying("parts", list)
}

// registered is a resource of which everything is registered.
func registered(typ, id string) aver.Party { return aver.Party{Ref: aver.Ref{Type: typ, ID: id}} }

// thing is a resource that the caller describes.
func thing(typ, id string, properties map[string]any) aver.Party {
	return aver.Party{Ref: aver.Ref{Type: typ, ID: id}, Properties: properties}
}

// payment is one that nothing is unusual about: in euros, from the operating account, to a known beneficiary in Germany.
// The pairs of names and values say what is different.
func payment(id string, amount int64, different ...any) aver.Party {
	properties := map[string]any{
		"amount": amount, "currency": "EUR", "country": "DE", "known_beneficiary": true, "iban": "DE89370400440532013000",
		"from": entityValue(aver.Ref{Type: "account", ID: "eur-operating"}),
	}
	for i := 0; i+1 < len(different); i += 2 {
		properties[different[i].(string)] = different[i+1]
	}
	return thing("payment", id, properties)
}

// transaction is one of a customer.
func transaction(id string, amount int64, customer string) aver.Party {
	return thing("transaction", id, map[string]any{
		"amount": amount, "customer": entityValue(aver.Ref{Type: "customer", ID: customer}),
	})
}

// private tells whether a customer is a private client.
func private(customer string) bool { return slices.Index(customers, customer)%4 == 3 }

// consents tells whether a customer agreed to be contacted.
func consents(customer string) bool { return slices.Index(customers, customer)%3 != 2 }
