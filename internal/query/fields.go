package query

import (
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

// Field is what can be searched of a decision. The numbers are written into
// indexes: they never change their meaning.
type Field int

// The fields.
const (
	Actor      Field = 1 + iota // the acting party
	Kind                        // of the acting party
	Origin                      // the originating user, when somebody acts for another (A2)
	Hop                         // anybody the authority passed through, the first and the last included
	Action                      // the name of the action
	Tool                        // the tool or downstream service (C2)
	Resource                    //
	Outcome                     //
	Allowed                     // AuthZEN's boolean
	Reason                      // the codes of the reasons
	Gate                        // gates that matched and were not met
	Obligation                  // types of the obligations that the answer set
	Grant                       // grants that were cited
	Policy                      // policies that determined something, failed, or wanted something
	Version                     // digest of the active policies
	Exception                   // exceptions that were applied
	Approval                    // approvals that were cited, or asked for afterwards
	Workflow                    // business process, as the caller names it
	Trace                       // trace id, or transaction of a transaction token
	Session                     //
	PEP                         // name of the credential that asked
	Instance                    // of the PEP
	Request                     // the PEP's name for the request
	ID                          // the evaluation id
	Activity                    // what was reported afterwards
	Finding                     // what was wrong about that
	Continuity                  // whether the authorization held until the end
	Attribute                   // of subject, action, resource or context; the name is the term's type
	Word                        // free text, in lower case
	Index                       // leaf index in the decision log
	Authority                   // size of the authority log
	After                       // time
	Before                      //
)

// sort of a field's values.
type valueSort int

const (
	text   valueSort = iota
	ref              // type and id
	choice           // one of a list
	number
	moment
)

// FieldInfo describes a field for those who write queries.
type FieldInfo struct {
	Field  Field
	Name   string
	About  string   // one line
	Values []string // if they are of a list
	sort   valueSort
}

func names[T ~string](list ...[]T) (out []string) {
	for _, l := range list {
		for _, v := range l {
			out = append(out, string(v))
		}
	}
	return out
}

func outcomes() (out []string) {
	for _, o := range aver.Outcomes() {
		out = append(out, o.String())
	}
	return out
}

// fields lists the fields in the order in which they are explained.
var fields = []FieldInfo{
	{Actor, "actor", "who acts: an id, or type/id", nil, ref},
	{Kind, "kind", "what kind of party acts", append(names(aver.Kinds()), string(aver.KindUnknown)), choice},
	{Origin, "origin", "the originating user, when somebody acts for another", nil, ref},
	{Hop, "hop", "anybody the authority passed through, from the originating user to the actor", nil, ref},
	{Action, "action", "the name of the action", nil, text},
	{Tool, "tool", "the tool or service that is called", nil, text},
	{Resource, "resource", "what is acted on: an id, or type/id", nil, ref},
	{Outcome, "outcome", "what was decided", outcomes(), choice},
	{Allowed, "allowed", "whether the caller may go forward", []string{"true", "false"}, choice},
	{Reason, "reason", "a reason's code, such as limit_exhausted", nil, text},
	{Gate, "gate", "a gate that was not met", names([]aver.Gate{aver.GateChallenge, aver.GateEscalate, aver.GateRestrict}), choice},
	{Obligation, "obligation", "type of an obligation that the answer sets", nil, text},
	{Grant, "grant", "a grant of the chain", nil, text},
	{Policy, "policy", "a policy that determined the outcome or wanted something: bundle/policy", nil, text},
	{Version, "version", "digest of the policies that were active", nil, text},
	{Exception, "exception", "an exception that was applied", nil, text},
	{Approval, "approval", "an approval that was cited, or asked for afterwards", nil, text},
	{Workflow, "workflow", "context.workflow or context.workflow_id", nil, text},
	{Trace, "trace", "trace id: of the context, of activities, or txn of a transaction token", nil, text},
	{Session, "session", "context.session, context.session_id, or sid of a verified token", nil, text},
	{PEP, "pep", "credential of the enforcement point that asked", nil, text},
	{Instance, "instance", "instance of the enforcement point", nil, text},
	{Request, "request", "the enforcement point's id of the request", nil, text},
	{ID, "id", "the evaluation id", nil, text},
	{Activity, "activity", "what was reported afterwards", names(aver.ActivityStatuses()), choice},
	{Finding, "finding", "what was wrong about what was reported", names(aver.FindingCodes()), choice},
	{Continuity, "continuity", "whether the authorization held until the activity ended",
		names([]aver.ContinuityState{aver.Held, aver.Lapsed, aver.ContinuityUnknown}), choice},
	{Index, "index", "leaf index in the decision log", nil, number},
	{Authority, "authority", "size of the authority log that it was decided at", nil, number},
	{After, "after", "decided at this time or later: 2026-11-01, or a time of RFC 3339", nil, moment},
	{Before, "before", "decided before this time", nil, moment},
}

// Fields lists the fields that a query can name, besides attributes.
func Fields() []FieldInfo { return slices.Clone(fields) }

var fieldsByName = func() map[string]*FieldInfo {
	m := map[string]*FieldInfo{}
	for i := range fields {
		m[fields[i].Name] = &fields[i]
	}
	return m
}()

var fieldsByNumber = func() map[Field]FieldInfo {
	m := map[Field]FieldInfo{}
	for _, f := range fields {
		m[f.Field] = f
	}
	return m
}()

func (f Field) String() string { return fieldsByNumber[f].Name }

// IsRef reports whether the field's values have a type and an id.
func (f Field) IsRef() bool { return fieldsByNumber[f].sort == ref }

// attributeRoots are what the name of an attribute begins with.
var attributeRoots = []string{"subject.", "action.", "resource.", "context."}

// isAttribute tells whether a name is that of an attribute, such as
// resource.amount.
func isAttribute(name string) bool {
	return slices.ContainsFunc(attributeRoots, func(root string) bool { return strings.HasPrefix(name, root) && len(name) > len(root) })
}
