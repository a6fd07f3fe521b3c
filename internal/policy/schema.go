package policy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/aver-authz/aver"
)

// A schemaFile is a bundle's Cedar schema, to which the words are added that
// Aver itself puts into the context.
type schemaFile struct {
	name     string
	resolved *resolved.Schema // nil if it could not be read
}

var schemaError = regexp.MustCompile(`(\d+):(\d+): (.*)$`)

func parseSchema(file string, content []byte, errs *Errors) *schemaFile {
	sf := &schemaFile{name: file}
	st := statement{text: string(content), line: 1, column: 1}
	if e := st.checkNesting(); e != nil {
		errs.add(file, e.line, e.column, "%s", e.message)
		return sf
	}
	var s schema.Schema
	s.SetFilename(file)
	if err := s.UnmarshalCedar(content); err != nil {
		if m := schemaError.FindStringSubmatch(err.Error()); m != nil {
			line, _ := strconv.Atoi(m[1])
			column, _ := strconv.Atoi(m[2])
			errs.add(file, line, column, "cannot read the schema: %s", m[3])
		} else {
			errs.add(file, 0, 0, "cannot read the schema: %v", err)
		}
		return sf
	}
	res, err := s.Resolve()
	if err != nil {
		errs.add(file, 0, 0, "%v", err)
		return sf
	}
	sf.resolved = res
	return sf
}

// validate checks each policy against the schema, as strictly as Cedar does.
//
// A policy may speak of context.aver without the schema declaring it. Of which
// type context.aver.origin is depends on the request, while Cedar wants one
// type: so a policy is valid if it is with one of the schema's entity types.
func (sf *schemaFile) validate(rules []*Rule, errs *Errors) {
	if sf.resolved == nil {
		return
	}
	var origins []types.EntityType
	for et := range sf.resolved.Entities {
		origins = append(origins, et)
	}
	slices.Sort(origins)
	if len(origins) == 0 {
		origins = []types.EntityType{"user"}
	}
	validators := make([]*validate.Validator, len(origins))
	for i, et := range origins {
		validators[i] = validate.New(withAver(sf.resolved, et))
	}
	for _, r := range rules {
		var problems []string
		usesOrigin := r.reads.Contains("context.aver.origin") || r.reads.Contains("context.aver.chain")
		for i, v := range validators {
			found := flatten(v.Policy("", r.ast))
			if i == 0 || len(found) == 0 {
				problems = found
			}
			if len(found) == 0 || !usesOrigin {
				break
			}
		}
		for _, p := range problems {
			errs.add(r.File, r.Line, r.Column, "%s does not fit the schema: %s", strings.TrimPrefix(r.ID, r.Bundle+"/"), p)
		}
	}
}

func flatten(err error) []string {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []string
		for _, e := range joined.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []string{err.Error()}
}

// withAver adds context.aver to the context of every action. A schema may
// declare parts of it itself, such as the properties of its actions; Aver fills
// in the rest.
func withAver(s *resolved.Schema, origin types.EntityType) *resolved.Schema {
	out := *s
	out.Actions = make(map[types.EntityUID]resolved.Action, len(s.Actions))
	for uid, action := range s.Actions {
		if action.AppliesTo != nil {
			applies := *action.AppliesTo
			own := resolved.RecordType{"aver": {Type: averType(origin)}}
			applies.Context = mergeRecords(applies.Context, own)
			action.AppliesTo = &applies
		}
		out.Actions[uid] = action
	}
	return &out
}

// mergeRecords adds to a declared record what it does not declare.
func mergeRecords(declared, added resolved.RecordType) resolved.RecordType {
	out := make(resolved.RecordType, len(declared)+len(added))
	for name, attr := range declared {
		out[name] = attr
	}
	for name, attr := range added {
		old, ok := out[name]
		if !ok {
			out[name] = attr
			continue
		}
		oldRecord, ok1 := old.Type.(resolved.RecordType)
		newRecord, ok2 := attr.Type.(resolved.RecordType)
		if ok1 && ok2 {
			attr.Type = mergeRecords(oldRecord, newRecord)
			out[name] = attr
		}
	}
	return out
}

// averType is the type of context.aver; docs/policies.md explains its members.
func averType(origin types.EntityType) resolved.RecordType {
	var (
		text      = resolved.StringType{}
		boolean   = resolved.BoolType{}
		long      = resolved.LongType{}
		datetime  = resolved.ExtensionType("datetime")
		entity    = resolved.EntityType(origin)
		required  = func(t resolved.IsType) resolved.Attribute { return resolved.Attribute{Type: t} }
		sometimes = func(t resolved.IsType) resolved.Attribute { return resolved.Attribute{Type: t, Optional: true} }
	)
	return resolved.RecordType{
		"now":    required(datetime),
		"action": required(resolved.RecordType{"name": required(text)}),
		"origin": required(entity),
		"chain":  required(resolved.SetType{Element: entity}),
		"hops":   required(long),
		"actor": required(resolved.RecordType{
			"kind":       required(text),
			"machine":    required(boolean),
			"registered": required(boolean),
			"status":     required(text),
			"expired":    required(boolean),
			"purpose":    sometimes(text),
			"owner":      sometimes(text),
			"tools":      sometimes(resolved.SetType{Element: text}),
		}),
		"purpose":    sometimes(text),
		"acting_for": required(boolean),
		"delegated":  required(boolean),
		"tool":       sometimes(text),
		"token": sometimes(resolved.RecordType{
			"issuer":    required(text),
			"subject":   required(text),
			"scope":     required(resolved.SetType{Element: text}),
			"amr":       required(resolved.SetType{Element: text}),
			"expires":   required(datetime),
			"acr":       sometimes(text),
			"client":    sometimes(text),
			"txn":       sometimes(text),
			"purpose":   sometimes(text),
			"auth_time": sometimes(datetime),
		}),
		"part":    sometimes(resolved.RecordType{"id": required(text)}),
		"signals": sometimes(signalsType(text, datetime, sometimes, required)),
	}
}

// signalsType is the type of context.aver.signals: of each fact, what was last
// said of it, since when, and who says so.
func signalsType(text, datetime resolved.IsType, sometimes, required func(resolved.IsType) resolved.Attribute) resolved.RecordType {
	out := resolved.RecordType{}
	add := func(member string, fact aver.Fact) {
		said := resolved.RecordType{"at": required(datetime), "source": required(text)}
		for i, name := range aver.SignalValueNames(fact) {
			if said[types.String(name)] = sometimes(text); i == 0 {
				said[types.String(name)] = required(text)
			}
		}
		out[types.String(member)] = sometimes(said)
	}
	for _, about := range []string{"", aver.SessionType, aver.DeviceType} {
		for _, fact := range aver.SignalFacts() {
			s := aver.Signal{About: aver.Ref{Type: about}, Fact: fact}
			if s.Has() {
				add(s.Member(), fact)
			}
		}
	}
	return out
}
