package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
)

// MaxValueDepth bounds how deeply values may nest.
const MaxValueDepth = 64

// RecordFromJSON makes a Cedar record of a parsed JSON object; see
// [ValueFromJSON]. The error says where in the value the problem is, from at
// on, as in "context.items[2]: …". A nil map is an empty record.
func RecordFromJSON(m map[string]any, at string) (types.Record, error) {
	// What is plain, as nearly all is, needs no words about where it stands.
	if r, ok := plainRecord(m, 0); ok {
		return r, nil
	}
	return recordFromJSON(m, at, 0)
}

// Plain tells whether an object, as [aver.ParseJSON] makes it, holds nothing out
// of the ordinary: no escapes, and nothing that Cedar can't hold.
func Plain(m map[string]any) bool { return plain(m, 0) }

func plain(v any, depth int) bool {
	if depth > MaxValueDepth {
		return false
	}
	switch v := v.(type) {
	case string, bool, int64:
		return true
	case []any:
		for _, e := range v {
			if e == nil || !plain(e, depth+1) {
				return false
			}
		}
		return true
	case map[string]any:
		for name, e := range v {
			if name == "__entity" || name == "__extn" || e != nil && !plain(e, depth+1) {
				return false
			}
		}
		return true
	}
	return false
}

// PlainValue converts a member of an object that is [Plain].
func PlainValue(v any) types.Value {
	value, ok := plainValue(v, 1)
	if !ok {
		panic("policy: a value that is not plain")
	}
	return value
}

// plainRecord converts an object that holds nothing out of the ordinary: no
// escapes, no problems.
func plainRecord(m map[string]any, depth int) (types.Record, bool) {
	if len(m) > maxScratch {
		return fillPlain(make(types.RecordMap, len(m)), m, depth)
	}
	out := scratch.Get().(types.RecordMap)
	r, ok := fillPlain(out, m, depth)
	clear(out)
	scratch.Put(out)
	return r, ok
}

// scratch holds maps of which records are made, since records copy them: empty,
// and no larger than a Go map is without tables, which would be copied whole.
var scratch = sync.Pool{New: func() any { return make(types.RecordMap, maxScratch) }}

const maxScratch = 8

func fillPlain(out types.RecordMap, m map[string]any, depth int) (types.Record, bool) {
	for name, v := range m {
		if v == nil {
			continue
		}
		if name == "__entity" || name == "__extn" {
			return types.Record{}, false
		}
		value, ok := plainValue(v, depth+1)
		if !ok {
			return types.Record{}, false
		}
		out[types.String(name)] = value
	}
	return types.NewRecord(out), true
}

func plainValue(v any, depth int) (types.Value, bool) {
	if depth > MaxValueDepth {
		return nil, false
	}
	switch v := v.(type) {
	case string:
		return types.String(v), true
	case bool:
		return types.Boolean(v), true
	case int64:
		return types.Long(v), true
	case []any:
		values := make([]types.Value, len(v))
		for i, e := range v {
			var ok bool
			if values[i], ok = plainValue(e, depth+1); !ok {
				return nil, false
			}
		}
		return types.NewSet(values...), true
	case map[string]any:
		r, ok := plainRecord(v, depth)
		return r, ok
	}
	return nil, false
}

// ValueFromJSON makes a Cedar value of a parsed JSON value: string, bool,
// []any, map[string]any, and numbers as json.Number, int, int64, or a whole
// float64. Cedar's escapes {"__entity": {"type": …, "id": …}} and {"__extn":
// {"fn": …, "arg": …}} become entity references and extension values.
//
// An object's members that are null are left out, since Cedar has no null. A
// null anywhere else is an error, and so are numbers that are not whole or do
// not fit into 64 bits.
func ValueFromJSON(v any, at string) (types.Value, error) {
	return valueFromJSON(v, at, 0)
}

func valueFromJSON(v any, at string, depth int) (types.Value, error) {
	if depth > MaxValueDepth {
		return nil, fmt.Errorf("%s: the value nests more than %d levels deep", at, MaxValueDepth)
	}
	switch v := v.(type) {
	case string:
		return types.String(v), nil
	case bool:
		return types.Boolean(v), nil
	case int:
		return types.Long(v), nil
	case int64:
		return types.Long(v), nil
	case float64:
		if v != math.Trunc(v) || v < -(1<<63) || v >= 1<<63 {
			return nil, notLong(at, strconv.FormatFloat(v, 'g', -1, 64))
		}
		return types.Long(v), nil
	case json.Number:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return nil, notLong(at, string(v))
		}
		return types.Long(n), nil
	case []any:
		values := make([]types.Value, len(v))
		for i, e := range v {
			here := at + "[" + strconv.Itoa(i) + "]"
			if e == nil {
				return nil, fmt.Errorf("%s: a list cannot hold null", here)
			}
			value, err := valueFromJSON(e, here, depth+1)
			if err != nil {
				return nil, err
			}
			values[i] = value
		}
		return types.NewSet(values...), nil
	case map[string]any:
		if esc, ok := v["__entity"]; ok && len(v) == 1 {
			return entityFromJSON(esc, at)
		}
		if esc, ok := v["__extn"]; ok && len(v) == 1 {
			return extensionFromJSON(esc, at)
		}
		return recordFromJSON(v, at, depth)
	case nil:
		return nil, fmt.Errorf("%s: null is not a value: leave it out", at)
	}
	return nil, fmt.Errorf("%s: values of the Go type %T are not supported", at, v)
}

func notLong(at, text string) error {
	return fmt.Errorf(`%s: %s is not a whole number of at most 64 bits: send a fraction as {"__extn": {"fn": "decimal", "arg": "12.50"}}`, at, text)
}

func recordFromJSON(m map[string]any, at string, depth int) (types.Record, error) {
	out := make(types.RecordMap, len(m))
	// In the order of the names, so that of several problems the same one is
	// reported each time.
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if m[name] == nil {
			continue
		}
		here := at + "." + name
		if !isIdentifier(name) {
			here = at + "[" + strconv.Quote(name) + "]"
		}
		if name == "__entity" || name == "__extn" {
			return types.Record{}, fmt.Errorf("%s: this name is Cedar's own and stands alone in its object", here)
		}
		value, err := valueFromJSON(m[name], here, depth+1)
		if err != nil {
			return types.Record{}, err
		}
		out[types.String(name)] = value
	}
	return types.NewRecord(out), nil
}

func entityFromJSON(v any, at string) (types.Value, error) {
	typ, id, err := twoStrings(v, "type", "id")
	if err != nil {
		return nil, fmt.Errorf(`%s.__entity: %w`, at, err)
	}
	entityType, err := types.NewEntityType(typ)
	if err != nil {
		return nil, fmt.Errorf("%s.__entity.type: %q is not an entity type of Cedar", at, typ)
	}
	return types.NewEntityUID(entityType, types.String(id)), nil
}

func extensionFromJSON(v any, at string) (types.Value, error) {
	fn, arg, err := twoStrings(v, "fn", "arg")
	if err != nil {
		return nil, fmt.Errorf("%s.__extn: %w", at, err)
	}
	var value types.Value
	switch fn {
	case "decimal":
		value, err = types.ParseDecimal(arg)
	case "ip":
		value, err = types.ParseIPAddr(arg)
	case "datetime":
		value, err = types.ParseDatetime(arg)
	case "duration":
		value, err = types.ParseDuration(arg)
	default:
		return nil, fmt.Errorf("%s.__extn.fn: %q is not one of decimal, ip, datetime, duration", at, fn)
	}
	if err != nil {
		return nil, fmt.Errorf("%s.__extn.arg: %w", at, err)
	}
	return value, nil
}

func twoStrings(v any, first, second string) (string, string, error) {
	m, _ := v.(map[string]any)
	a, ok1 := m[first].(string)
	b, ok2 := m[second].(string)
	if !ok1 || !ok2 || len(m) != 2 {
		return "", "", fmt.Errorf("expected an object of the two strings %q and %q", first, second)
	}
	return a, b, nil
}

// ToJSON is the inverse of [ValueFromJSON]: string, bool, int64, []any and
// map[string]any. The members of sets are in canonical order, so that equal
// values give equal JSON.
func ToJSON(v types.Value) any {
	switch v := v.(type) {
	case types.String:
		return string(v)
	case types.Boolean:
		return bool(v)
	case types.Long:
		return int64(v)
	case types.Set:
		out := make([]any, 0, v.Len())
		for _, m := range sortedValues(v) {
			out = append(out, ToJSON(m))
		}
		return out
	case types.Record:
		return RecordToJSON(v)
	case types.EntityUID:
		return map[string]any{"__entity": map[string]any{"type": string(v.Type), "id": string(v.ID)}}
	case types.Decimal:
		return extensionJSON("decimal", v)
	case types.IPAddr:
		return extensionJSON("ip", v)
	case types.Datetime:
		return extensionJSON("datetime", v)
	case types.Duration:
		return extensionJSON("duration", v)
	}
	panic(fmt.Sprintf("policy: a value of the unknown Cedar type %T", v))
}

// RecordToJSON is [ToJSON] of a record.
func RecordToJSON(r types.Record) map[string]any {
	out := make(map[string]any, r.Len())
	for name, value := range r.All() {
		out[string(name)] = ToJSON(value)
	}
	return out
}

func extensionJSON(fn string, v types.Value) any {
	return map[string]any{"__extn": map[string]any{"fn": fn, "arg": v.String()}}
}

// CedarText writes a value as a Cedar expression, the same for equal values.
// (cedar-go orders the members of a set by an internal hash.)
func CedarText(v types.Value) string {
	var b strings.Builder
	writeCedar(&b, v)
	return b.String()
}

func writeCedar(b *strings.Builder, v types.Value) {
	switch v := v.(type) {
	case types.Set:
		b.WriteByte('[')
		for i, m := range sortedValues(v) {
			if i > 0 {
				b.WriteString(", ")
			}
			writeCedar(b, m)
		}
		b.WriteByte(']')
	case types.Record:
		b.WriteByte('{')
		for i, name := range sortedKeys(v) {
			if i > 0 {
				b.WriteString(", ")
			}
			if isIdentifier(string(name)) {
				b.WriteString(string(name))
			} else {
				b.Write(name.MarshalCedar())
			}
			b.WriteString(": ")
			value, _ := v.Get(name)
			writeCedar(b, value)
		}
		b.WriteByte('}')
	default:
		b.Write(v.MarshalCedar())
	}
}

func sortedKeys(r types.Record) []types.String {
	return slices.Sorted(r.Keys())
}

// sortedValues are the members of a set in canonical order: by kind of value
// (booleans, numbers, strings, entities, extension values, sets, records),
// then by value; sets and records by their Cedar text.
func sortedValues(s types.Set) []types.Value {
	type keyed struct {
		value types.Value
		rank  int
		text  string
	}
	list := make([]keyed, 0, s.Len())
	for m := range s.All() {
		list = append(list, keyed{m, rankOf(m), CedarText(m)})
	}
	slices.SortFunc(list, func(a, b keyed) int {
		if c := cmp.Compare(a.rank, b.rank); c != 0 {
			return c
		}
		if x, ok := a.value.(types.Long); ok {
			return cmp.Compare(x, b.value.(types.Long))
		}
		return cmp.Compare(a.text, b.text)
	})
	out := make([]types.Value, len(list))
	for i, k := range list {
		out[i] = k.value
	}
	return out
}

func rankOf(v types.Value) int {
	switch v.(type) {
	case types.Boolean:
		return 0
	case types.Long:
		return 1
	case types.String:
		return 2
	case types.EntityUID:
		return 3
	case types.Set:
		return 8
	case types.Record:
		return 9
	}
	return 4 // extension values; their text begins with their type's name
}
