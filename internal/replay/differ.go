package replay

import (
	"fmt"
	"maps"
	"slices"

	"github.com/aver-authz/aver"
)

// mostDifferences bounds how many differences are told of one record.
const mostDifferences = 8

// differences names where two canonical JSON texts differ.
func differences(at string, recorded, again []byte) []string {
	a, errA := aver.ParseJSON(recorded, aver.Limits{})
	b, errB := aver.ParseJSON(again, aver.Limits{})
	if errA != nil || errB != nil {
		return []string{fmt.Sprintf("%s: recorded %s, again %s", at, recorded, again)}
	}
	var out []string
	differ(at, a, b, &out)
	return out
}

func differ(at string, a, b any, out *[]string) {
	if len(*out) >= mostDifferences {
		return
	}
	objectA, okA := a.(map[string]any)
	objectB, okB := b.(map[string]any)
	if okA && okB {
		names := maps.Clone(objectA)
		maps.Copy(names, objectB)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			inA, hasA := objectA[name]
			inB, hasB := objectB[name]
			switch {
			case !hasA:
				say(out, at+"."+name, "nothing", text(inB))
			case !hasB:
				say(out, at+"."+name, text(inA), "nothing")
			default:
				differ(at+"."+name, inA, inB, out)
			}
		}
		return
	}
	listA, okA := a.([]any)
	listB, okB := b.([]any)
	if okA && okB && len(listA) == len(listB) {
		for i := range listA {
			differ(fmt.Sprintf("%s[%d]", at, i), listA[i], listB[i], out)
		}
		return
	}
	if text(a) != text(b) {
		say(out, at, text(a), text(b))
	}
}

func text(v any) string { return string(aver.AppendCanonical(nil, v)) }

func say(out *[]string, at, recorded, again string) {
	*out = append(*out, fmt.Sprintf("%s: recorded %s, again %s", at, recorded, again))
}
