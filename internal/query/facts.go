package query

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

// Facts are what can be searched of one decision: what its record says, and what
// was reported or asked for afterwards.
type Facts struct {
	Index   uint64 // in the decision log
	ID      string // evaluation id
	Time    aver.Time
	Terms   []Term   // sorted, each once
	Numbers []Number // by name, each once
}

// Term is a value of a field. Fields can have many, or none.
type Term struct {
	Field Field
	Type  string // of a party or resource its entity type, of an attribute its name; else ""
	Text  string
}

// Number is a number that can be compared.
type Number struct {
	Name  string // "authority", or an attribute's: "resource.amount"
	Value int64
}

func compareTerms(a, b Term) int {
	if a.Field != b.Field { // nearly always, so no more is compared
		return cmp.Compare(a.Field, b.Field)
	}
	return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Text, b.Text))
}

func compareNumbers(a, b Number) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
}

// FactsOf returns the facts of a decision at the time it was made.
func FactsOf(index uint64, r *aver.Record) *Facts {
	parsed, _ := aver.ParseJSON(r.Request, aver.Limits{Bytes: len(r.Request)}) // nil is no request
	return factsOf(index, r, parsed)
}

// ReadFacts returns the facts of a decision from the payload of its record. It fails as [aver.ParseRecord] does.
func ReadFacts(index uint64, payload []byte) (*Facts, error) {
	r, parsed, err := aver.ReadRecord(payload)
	if err != nil {
		return nil, err
	}
	return factsOf(index, r, parsed), nil
}

func factsOf(index uint64, r *aver.Record, parsed any) *Facts {
	f := &Facts{Index: index, ID: r.ID, Time: r.Time, Terms: make([]Term, 0, 32), Numbers: make([]Number, 0, 4)}
	f.Numbers = append(f.Numbers, Number{Authority.String(), int64(r.Authority.Size)})
	f.add(Version, r.Policies)
	f.add(PEP, r.PEP.Credential)
	f.add(Instance, r.PEP.Instance)
	f.add(Request, r.PEP.RequestID)

	d := &r.Decision
	f.outcome(d.Outcome)
	f.party(Actor, d.Actor.Ref)
	f.party(Hop, d.Actor.Ref)
	f.add(Kind, string(d.Actor.Kind))
	f.ruling(&d.Ruling)
	for i := range d.Parts {
		f.ruling(&d.Parts[i].Ruling)
	}
	if t := r.Token; t != nil {
		for _, p := range t.Parties() {
			f.party(Hop, p)
		}
		if t.Fault == "" && len(t.Actors) > 0 {
			f.party(Origin, t.Party)
		}
		f.add(Trace, t.Txn)
		f.add(Session, t.Session)
	}
	// Without disclosures what is withheld is not in the request. One that does not parse is not searched.
	if request, _, err := pdp.DiscloseIn(parsed, nil); err == nil {
		f.request(request)
	}
	f.settle()
	return f
}

// FactsOfLeaf returns what is left to search of a decision whose payload is gone.
func FactsOfLeaf(index uint64, leaf aver.Leaf) *Facts {
	f := &Facts{Index: index, ID: leaf.ID, Time: leaf.Time}
	if leaf.Outcome != nil {
		f.outcome(*leaf.Outcome)
	}
	f.settle()
	return f
}

// Learn adds what [Reported] or [Asked] tells.
func (f *Facts) Learn(terms []Term) {
	f.Terms = append(f.Terms, terms...)
	f.settle()
}

// Reported are the terms that an activity adds to its decision.
func Reported(a *aver.Activity) []Term {
	var f Facts
	f.add(Activity, string(a.Status))
	for _, x := range a.Findings {
		f.add(Finding, string(x.Code))
	}
	if a.Continuity != nil && a.Status.Ends() {
		f.add(Continuity, string(a.Continuity.State))
	}
	f.add(Trace, traceID(a.TraceParent))
	f.say(a.Result)
	f.settle()
	return f.Terms
}

// Asked are the terms that a request for approval adds to its decision.
func Asked(a *aver.ApprovalRequest) []Term { return []Term{{Field: Approval, Text: a.ID}} }

func (f *Facts) settle() {
	slices.SortFunc(f.Terms, compareTerms)
	f.Terms = slices.Compact(f.Terms)
	slices.SortFunc(f.Numbers, compareNumbers)
	f.Numbers = slices.Compact(f.Numbers)
}

func (f *Facts) add(field Field, text string) {
	if text != "" {
		f.Terms = append(f.Terms, Term{Field: field, Text: text})
	}
}

func (f *Facts) party(field Field, r aver.Ref) {
	if r.ID != "" { // it can be missing in what was not a valid request
		f.Terms = append(f.Terms, Term{field, r.Type, r.ID})
	}
}

func (f *Facts) say(text string) { f.add(Word, strings.ToLower(text)) }

func (f *Facts) outcome(o aver.Outcome) {
	f.add(Outcome, o.String())
	f.add(Allowed, strconv.FormatBool(o.Allowed()))
}

func (f *Facts) ruling(r *aver.Ruling) {
	for _, x := range r.Reasons {
		f.add(Reason, string(x.Code))
		f.add(Policy, x.Policy)
		f.add(Grant, x.Grant)
		if x.Code == aver.ReasonException {
			f.add(Exception, x.Detail)
		}
		x.Text = ""
		f.say(pdp.ReasonText(x, ""))
	}
	for _, frame := range r.Frames {
		if frame.As == aver.FrameDelegator {
			f.party(Hop, frame.Entity)
		}
		f.add(Grant, frame.Grant)
		if frame.Allowed {
			f.add(Exception, frame.Exception)
		}
		for _, p := range frame.Policies {
			f.add(Policy, p)
		}
		for _, e := range frame.Errors {
			f.add(Policy, e.Policy)
			f.say(e.Message)
		}
	}
	for _, x := range r.Requirements {
		f.add(Gate, string(x.Gate))
		f.add(Policy, x.Policy)
		f.say(x.Present)
	}
	for _, o := range r.Obligations {
		f.add(Obligation, o.Type)
		f.add(Policy, o.ID)
	}
}

// meant are the members of the context that Aver gives a meaning: they are no
// attributes.
var meant = []string{"on_behalf_of", "delegation", "parts", "supported_obligations", "approval", "challenge"}

func (f *Facts) request(r *aver.Request) {
	f.add(Action, r.Action.Name)
	f.add(Tool, r.Tool())
	f.party(Resource, r.Resource.Ref)
	if origin, ok := r.OnBehalfOf(); ok {
		f.party(Origin, origin)
		f.party(Hop, origin)
	}
	for _, id := range r.Delegation() {
		f.add(Grant, id)
	}
	f.add(Approval, r.Approval())
	for _, names := range []struct {
		field   Field
		members []string
	}{
		{Workflow, []string{"workflow", "workflow_id"}},
		{Session, []string{"session", "session_id"}},
		{Trace, []string{"trace", "trace_id"}},
	} {
		for _, m := range names.members {
			f.add(names.field, named(r.Context[m]))
		}
	}
	if parent, ok := r.Context["traceparent"].(string); ok {
		f.add(Trace, traceID(parent))
	}
	left := maxAttributes
	f.attributes("subject", r.Subject.Properties, nil, &left)
	f.attributes("action", r.Action.Properties, nil, &left)
	f.attributes("resource", r.Resource.Properties, nil, &left)
	f.attributes("context", r.Context, meant, &left)
}

// named is a text, or the id of an object.
func named(v any) string {
	if object, ok := v.(map[string]any); ok {
		v = object["id"]
	}
	s, _ := v.(string)
	return s
}

// traceID is the trace id of a W3C traceparent, "" if it is none.
func traceID(parent string) string {
	if parts := strings.Split(parent, "-"); len(parts) >= 4 && len(parts[1]) == 32 {
		return parts[1]
	}
	return ""
}

// Bounds of what is searched of one request's attributes.
const (
	maxAttributes    = 64  // values
	maxAttributeText = 256 // bytes; longer ones are cut there
)

// attributes adds the values below a member, in the order of their names.
func (f *Facts) attributes(path string, values map[string]any, without []string, left *int) {
	for _, name := range aver.MemberNames(values) {
		if !slices.Contains(without, name) {
			f.attribute(path+"."+name, values[name], left)
		}
	}
}

func (f *Facts) attribute(path string, v any, left *int) {
	if *left == 0 {
		return
	}
	add := func(text string) {
		*left--
		f.Terms = append(f.Terms, Term{Attribute, path, cut(text)})
	}
	switch v := v.(type) {
	case string:
		add(v)
	case bool:
		add(strconv.FormatBool(v))
	case int64:
		*left--
		f.Numbers = append(f.Numbers, Number{path, v})
	case []any:
		for _, e := range v {
			f.attribute(path, e, left)
		}
	case map[string]any:
		f.attributes(path, v, nil, left)
	}
}

func cut(s string) string {
	if len(s) <= maxAttributeText {
		return s
	}
	return strings.ToValidUTF8(s[:maxAttributeText], "")
}
