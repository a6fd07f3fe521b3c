package pdp

import (
	"errors"
	"strconv"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// Query is a request made ready for deciding: its values converted to Cedar's,
// once. It does not change afterwards.
type Query struct {
	Request *aver.Request

	subject, resource types.EntityUID
	action            types.EntityUID
	subjectClaims     types.Record // what the caller says; registered facts override it
	resourceClaims    types.Record
	actionClaims      types.Record // the action's properties
	context           []contextMember
	parts             []queryPart  // one without an id when the request names none
	chain             []string     // grant ids
	token             *aver.Token  // what was verified of the token that came with it
	tokenRecord       types.Record // context.aver.token
	administrative    bool         // about Aver itself, and asked by nobody else
	actingFor         bool         // the caller names somebody it acts for, or a delegation
	tool              string
	supported         []string
	err               *aver.RequestError
}

// contextMember is a member of the context as it was sent. Its value is made when
// an evaluation can read it.
type contextMember struct {
	name  types.String
	json  any         // what is plain, see [policy.Plain]
	value types.Value // nil: json is to be converted
}

func (m contextMember) made() types.Value {
	if m.value == nil {
		return policy.PlainValue(m.json)
	}
	return m.value
}

// contextRecord is the context as it was sent.
func (q *Query) contextRecord() types.Record {
	m := make(types.RecordMap, len(q.context))
	for _, member := range q.context {
		m[member.name] = member.made()
	}
	return types.NewRecord(m)
}

// actionRecord is context.aver.action: the action's properties and name.
func (q *Query) actionRecord() types.Record {
	return overlay(types.NewRecord(types.RecordMap{"name": types.String(q.Request.Action.Name)}), q.actionClaims)
}

type queryPart struct {
	id     string
	claims types.Record // they stand in for the resource's of the same name
}

// undivided is the parts of a request that names none.
var undivided = []queryPart{{}}

// NewQuery converts a request. What is wrong with it is kept in the query (see
// [Query.Err]), and [Decide] denies such a query.
func NewQuery(req *aver.Request) *Query {
	q := newQuery(req)
	for _, m := range []struct{ pointer, typ string }{{"/subject/type", req.Subject.Type}, {"/resource/type", req.Resource.Type}} {
		if q.err == nil && aver.Reserved(m.typ) {
			q.err = &aver.RequestError{Pointer: m.pointer, Reason: "is reserved: only Aver asks about what it administers"}
		}
	}
	return q
}

// NewAdministration converts a request of Aver itself, whether a change of the
// authority may be made. It is decided by the bundle for administration, and by
// no other.
func NewAdministration(req *aver.Request) *Query {
	q := newQuery(req)
	q.administrative = true
	return q
}

// QueryOf converts the request of a record as it was when it was decided.
func QueryOf(record *aver.Record, req *aver.Request) *Query {
	if record.PEP.Credential == aver.Self {
		return NewAdministration(req)
	}
	return NewQuery(req)
}

// Policies is the set that decides the query at a state.
func (q *Query) Policies(st *authority.State) *policy.Set {
	if q.administrative {
		return st.Administration()
	}
	return st.Policies()
}

func newQuery(req *aver.Request) *Query {
	q := &Query{
		Request:  req,
		subject:  uid(req.Subject.Ref),
		resource: uid(req.Resource.Ref),
		action:   types.NewEntityUID("Action", types.String(req.Action.Name)),
		tool:     req.Tool(),
		chain:    req.Delegation(),
	}
	_, claimed := req.OnBehalfOf()
	if q.token = req.Token; q.token == nil && req.SubjectToken != "" {
		q.token = aver.Unverified(req.SubjectToken, aver.TokenUnchecked, 0)
	}
	if q.token != nil && q.token.Fault == "" {
		q.tokenRecord = tokenRecord(q.token)
	}
	q.actingFor = claimed || len(q.chain) > 0 || len(q.tokenHops()) > 0
	q.supported = req.SupportedObligations()
	q.err = q.convert()
	return q
}

// Err returns what is wrong with the request: a member is missing, or a value
// is one that Cedar can't hold. The error is a [*aver.RequestError].
func (q *Query) Err() error {
	if q.err == nil {
		return nil
	}
	return q.err
}

func (q *Query) convert() *aver.RequestError {
	req := q.Request
	if err := req.Validate(); err != nil {
		var bad *aver.RequestError
		errors.As(err, &bad)
		return bad
	}
	var bad *aver.RequestError
	record := func(pointer, at string, values map[string]any) types.Record {
		if bad != nil || len(values) == 0 {
			return types.Record{}
		}
		r, err := policy.RecordFromJSON(values, at)
		if err != nil {
			bad = &aver.RequestError{Pointer: pointer, Reason: err.Error()}
		}
		return r
	}
	q.subjectClaims = record("/subject/properties", "subject", req.Subject.Properties)
	q.resourceClaims = record("/resource/properties", "resource", req.Resource.Properties)
	if policy.Plain(req.Context) {
		q.context = make([]contextMember, 0, len(req.Context))
		for name, v := range req.Context {
			if v != nil {
				q.context = append(q.context, contextMember{name: types.String(name), json: v})
			}
		}
	} else {
		for name, v := range record("/context", "context", req.Context).All() {
			q.context = append(q.context, contextMember{name: name, value: v})
		}
	}
	q.actionClaims = record("/action/properties", "action", req.Action.Properties)
	parts := req.Parts()
	if parts == nil {
		q.parts = undivided
	}
	for i, p := range parts {
		q.parts = append(q.parts, queryPart{p.ID, record("/context/parts/"+strconv.Itoa(i)+"/properties", "part", p.Properties)})
	}
	return bad
}

func uid(r aver.Ref) types.EntityUID {
	return types.NewEntityUID(types.EntityType(r.Type), types.String(r.ID))
}

func ref(u types.EntityUID) aver.Ref {
	return aver.Ref{Type: string(u.Type), ID: string(u.ID)}
}
