package replay

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// FrameOptions configure [ExportFrames].
type FrameOptions struct {
	From, To uint64 // decision log indexes [From, To); To 0: to the end
}

// FrameSummary counts what [ExportFrames] wrote.
type FrameSummary struct {
	Decisions uint64 `json:"decisions"`
	Frames    uint64 `json:"frames"`
	Skipped   uint64 `json:"skipped"` // decisions and frames that no other engine can be asked about, each with its reason in the output
}

// ExportFrames writes every frame of recorded decisions for engines that are not
// ours (requirement G4), as newline-delimited JSON whose values are Cedar's JSON
// formats:
//
//	{"policies": {"id": …, "static": {policy id: Cedar text}}}
//	{"decision": evaluation id, "index": …, "frame": …, "part": …, "policies": id,
//	 "principal": {"type", "id"}, "action", "resource", "context": {…}, "entities": [{"uid", "attrs", "parents"}],
//	 "expect": {"decision": "allow" or "deny", "reasons": [policy ids], "errors": [policy ids]}}
//	{"skipped": evaluation id, "index": …, "frame": …, "reason": …}
//	{"end": {"decisions": …, "frames": …, "skipped": …}}
//
// A set of policies comes before the first frame that needs it. Ordinary
// policies, gates and each grant are sets of their own. The frame is "actor",
// "delegator" or "grant", or "gates:actor" and "gates:delegator" where
// everything else allowed. Entities are all those that the evaluation asked for,
// with everything they are in. What is expected is what our engine says when it
// evaluates the frame again now. Nothing but its name is told of an entity that
// the evaluation did not ask for.
//
// A frame that now turns out otherwise than its record says is an error: see
// [Run] for the difference.
func ExportFrames(ctx context.Context, authorityLog, decisionLog Log, w io.Writer, o FrameOptions) (FrameSummary, error) {
	if o.To == 0 {
		o.To, _ = decisionLog.Head()
	}
	return NewStates(authorityLog).ExportFrames(ctx, decisionLog.Entries(o.From, o.To), nil, w)
}

// ExportFrames is [ExportFrames] for chosen entries of the decision log. Withheld
// says why nothing is to be told of a decision, "" of one that is exported; nil
// exports all.
func (s *States) ExportFrames(ctx context.Context, entries iter.Seq2[ledger.Indexed, error], withheld func(index uint64) string, w io.Writer) (FrameSummary, error) {
	x := frameExport{states: s.states, w: bufio.NewWriterSize(w, 1<<20), known: map[string]bool{}}
	for e, err := range entries {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && !isActivity(e.Entry) {
			why := ""
			if withheld != nil {
				why = withheld(e.Index)
			}
			err = x.decision(e, why)
		}
		if err != nil {
			return x.out, fmt.Errorf("decision log, entry %d: %w", e.Index, err)
		}
	}
	return x.out, x.end()
}

type frameExport struct {
	states *states
	w      *bufio.Writer
	buffer []byte
	known  map[string]bool // the sets of policies written so far
	out    FrameSummary
}

// end writes the last line.
func (x *frameExport) end() error {
	err := x.line(map[string]any{"end": map[string]any{
		"decisions": x.out.Decisions, "frames": x.out.Frames, "skipped": x.out.Skipped,
	}})
	if err != nil {
		return err
	}
	return x.w.Flush()
}

func (x *frameExport) line(v map[string]any) error {
	x.buffer = append(aver.AppendCanonical(x.buffer[:0], v), '\n')
	_, err := x.w.Write(x.buffer)
	return err
}

func (x *frameExport) skip(e ledger.Indexed, id, frame, reason string) error {
	x.out.Skipped++
	line := map[string]any{"skipped": id, "index": e.Index, "reason": reason}
	if frame != "" {
		line["frame"] = frame
	}
	return x.line(line)
}

func (x *frameExport) decision(e ledger.Indexed, withheld string) error {
	x.out.Decisions++
	if e.Erased && withheld == "" {
		withheld = "the record was erased"
	}
	if withheld != "" {
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			return err
		}
		return x.skip(e, leaf.ID, "", withheld)
	}
	record, req, missing, err := reopen(e.Entry)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return x.skip(e, record.ID, "", missing[0]+" is missing")
	}
	version, err := x.states.at(record.Authority.Size)
	if err != nil {
		return err
	}
	q, digest := pdp.QueryOf(record, req), version.state.PoliciesDigest()
	if record.PEP.Credential == aver.Self {
		digest += "/administration"
	}
	set, views := q.Policies(version.state), pdp.Views(version.state, q, record.Time)
	for _, r := range rulings(record) {
		if len(views) < len(r.Frames) {
			return fmt.Errorf("%s has more frames than its request", record.ID)
		}
		for i, recorded := range r.Frames {
			v := views[i]
			in, policies, static := "/ordinary", digest, set.Ordinary()
			evaluate := set.Authorize
			if v.Permit != nil {
				in, policies, static = "", string(v.As)+"/"+v.Grant+v.Exception, []*policy.Rule{v.Permit.Rule()}
				evaluate = v.Permit.Authorize
			}
			result, err := x.frame(e, record.ID, string(v.As), v, policies+in, static, evaluate)
			if err != nil {
				return err
			}
			if !agrees(recorded, v, result) {
				return fmt.Errorf("%s: its %s frame as %s is not what its record says", record.ID, v.As, v.Entity)
			}
		}
		if Gated(r) {
			for _, v := range views[:len(r.Frames)] {
				if v.Permit != nil {
					continue
				}
				if _, err := x.frame(e, record.ID, "gates:"+string(v.As), v, digest+"/gates", set.GateRules(), set.Gates); err != nil {
					return err
				}
			}
		}
		views = views[len(r.Frames):]
	}
	return nil
}

// rulings are those of the parts, or the one on the whole.
func rulings(record *aver.Record) []aver.Ruling {
	if len(record.Decision.Parts) == 0 {
		return []aver.Ruling{record.Decision.Ruling}
	}
	out := make([]aver.Ruling, len(record.Decision.Parts))
	for i, p := range record.Decision.Parts {
		out[i] = p.Ruling
	}
	return out
}

// Gated tells whether the gates were asked for a ruling: everything else allowed.
func Gated(r aver.Ruling) bool {
	exempt := slices.ContainsFunc(r.Reasons, func(reason aver.Reason) bool { return reason.Code == aver.ReasonException })
	return len(r.Frames) > 0 &&
		(exempt || !slices.ContainsFunc(r.Frames, func(f aver.Frame) bool { return !f.Allowed })) &&
		!slices.ContainsFunc(r.Reasons, func(reason aver.Reason) bool {
			switch reason.Code {
			case aver.ReasonPermitted, aver.ReasonException, aver.ReasonChallenge, aver.ReasonEscalate, aver.ReasonRestrict,
				aver.ReasonApproved, aver.ReasonApprovalUnknown, aver.ReasonApprovalScope, aver.ReasonApprovalPending,
				aver.ReasonApprovalRefused, aver.ReasonApprovalExpired, aver.ReasonApprovalUsed,
				aver.ReasonUnsupported, aver.ReasonPolicyError:
				return false
			}
			return true
		})
}

// agrees compares a recorded frame with its evaluation now.
func agrees(recorded aver.Frame, v pdp.View, result policy.Result) bool {
	errors := make([]string, len(recorded.Errors))
	for i, e := range recorded.Errors {
		errors[i] = e.Policy
	}
	reasons := ruleIDs(result.Reasons)
	if v.Permit != nil {
		reasons = nil // the grant itself, which a record does not repeat
	}
	return recorded.As == v.As && (recorded.As != aver.FrameDelegator || recorded.Entity == v.Entity) && recorded.Grant == v.Grant && recorded.Exception == v.Exception &&
		recorded.Allowed == (bool(result.Decision) && len(result.Errors) == 0) &&
		slices.Equal(recorded.Policies, reasons) && slices.Equal(errors, errorIDs(result.Errors))
}

func ruleIDs(rules []*policy.Rule) []string {
	var ids []string
	for _, r := range rules {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	return ids
}

func errorIDs(errs []policy.RuleError) []string {
	var ids []string
	for _, e := range errs {
		ids = append(ids, e.Rule.ID)
	}
	slices.Sort(ids)
	return ids
}

// frame evaluates one frame and writes it.
func (x *frameExport) frame(e ledger.Indexed, id, name string, v pdp.View, policies string, static []*policy.Rule,
	evaluate func(types.EntityGetter, types.Request) policy.Result,
) (policy.Result, error) {
	entities := policy.NewRecorder(v.Entities)
	result := evaluate(entities, v.Request)
	asked := entities.Reads()
	for _, uid := range []types.EntityUID{v.Request.Principal, v.Request.Action, v.Request.Resource} {
		entities.Get(uid) // whether or not a policy asked
	}
	if bad := badType(v.Request, entities); bad != "" {
		return result, x.skip(e, id, name, fmt.Sprintf("%q is not the name of an entity type in Cedar", bad))
	}
	if !x.known[policies] {
		x.known[policies] = true
		texts := map[string]any{}
		for _, r := range static {
			texts[r.ID] = r.Text
		}
		if err := x.line(map[string]any{"policies": map[string]any{"id": policies, "static": texts}}); err != nil {
			return result, err
		}
	}
	x.out.Frames++
	decision := "deny"
	if result.Decision {
		decision = "allow"
	}
	line := map[string]any{
		"decision": id, "index": e.Index, "frame": name, "policies": policies,
		"principal": uidJSON(v.Request.Principal), "action": uidJSON(v.Request.Action), "resource": uidJSON(v.Request.Resource),
		"context": policy.RecordToJSON(v.Request.Context), "entities": entitiesJSON(entities, asked, v.Entities),
		"expect": map[string]any{
			"decision": decision, "reasons": anys(ruleIDs(result.Reasons)), "errors": anys(errorIDs(result.Errors)),
		},
	}
	if v.Part != "" {
		line["part"] = v.Part
	}
	return result, x.line(line)
}

// badType finds an entity whose type no engine that parses its input can read.
// Callers may use any type; a policy can't name such a one.
func badType(req types.Request, entities *policy.Recorder) string {
	uids := []types.EntityUID{req.Principal, req.Action, req.Resource}
	for _, read := range entities.Reads() {
		uids = append(uids, read.UID)
	}
	for _, uid := range uids {
		if _, err := types.NewEntityType(string(uid.Type)); err != nil {
			return string(uid.Type)
		}
	}
	return ""
}

func uidJSON(uid types.EntityUID) map[string]any {
	return map[string]any{"type": string(uid.Type), "id": string(uid.ID)}
}

// entitiesJSON writes the entities that were read. Of one that no policy asked
// for it tells the name alone: nothing else of it can matter.
func entitiesJSON(read *policy.Recorder, asked []policy.Read, entities types.EntityGetter) []any {
	out := []any{}
	for _, r := range read.Reads() {
		if !r.Present {
			continue
		}
		if !slices.Contains(asked, r) {
			out = append(out, map[string]any{"uid": uidJSON(r.UID), "attrs": map[string]any{}, "parents": []any{}})
			continue
		}
		e, _ := entities.Get(r.UID)
		parents := slices.SortedFunc(e.Parents.All(), func(a, b types.EntityUID) int {
			return slices.Compare([]string{string(a.Type), string(a.ID)}, []string{string(b.Type), string(b.ID)})
		})
		above := []any{}
		for _, p := range parents {
			above = append(above, uidJSON(p))
		}
		entity := map[string]any{"uid": uidJSON(e.UID), "attrs": policy.RecordToJSON(e.Attributes), "parents": above}
		if e.Tags.Len() > 0 {
			entity["tags"] = policy.RecordToJSON(e.Tags)
		}
		out = append(out, entity)
	}
	return out
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
