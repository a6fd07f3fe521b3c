package aver_test

import (
	"crypto/sha256"
	"fmt"
	"log"
	"os"

	"github.com/aver-authz/aver"
)

// A request is read in two steps: as JSON with one meaning, then as AuthZEN.
// Either says where it is wrong.
func Example_parseRequest() {
	text := []byte(`{
	  "subject":  {"type": "ai_agent", "id": "ap-agent"},
	  "action":   {"name": "payment.approve", "properties": {"tool": "erp"}},
	  "resource": {"type": "payment", "id": "p-20931", "properties": {"amount": 125000}},
	  "context":  {"on_behalf_of": {"type": "user", "id": "ann"}, "delegation": ["g-ap-ann"]}
	}`)
	v, err := aver.ParseJSON(text, aver.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	req, err := aver.ParseRequest(v)
	if err != nil {
		log.Fatal(err)
	}
	if err := req.Validate(); err != nil {
		log.Fatal(err)
	}
	origin, _ := req.OnBehalfOf()
	fmt.Println(req.Subject, "uses", req.Tool(), "on behalf of", origin, "by", req.Delegation())

	delete(v.(map[string]any), "subject")
	req, _ = aver.ParseRequest(v)
	fmt.Println(req.Validate())
	// Output:
	// ai_agent::"ap-agent" uses erp on behalf of user::"ann" by [g-ap-ann]
	// /subject/type: is required
}

// What could mean two things is refused, with its place.
func ExampleParseJSON() {
	for _, text := range []string{
		`{"resource": {"amount": 10, "amount": 1000000}}`,
		`{"resource": {"amount": 12.50}}`,
	} {
		_, err := aver.ParseJSON([]byte(text), aver.Limits{})
		fmt.Println(err)
	}
	// Output:
	// line 1, column 29 at /resource: the member "amount" stands twice in one object
	// line 1, column 25 at /resource/amount: 12.50 is not a whole number, and Cedar has no floating point; send {"__extn":{"fn":"decimal","arg":"…"}} (up to four decimals), smaller units, or a string
}

// However a request is spelt, its canonical bytes, and so its digest, are the
// same.
func ExampleAppendCanonical() {
	for _, text := range []string{
		`{"b": [1.0, "\u20ac"], "a": {}}`,
		`{"a":{},"b":[1,"€"]}`,
	} {
		v, err := aver.ParseJSON([]byte(text), aver.Limits{})
		if err != nil {
			log.Fatal(err)
		}
		canonical := aver.AppendCanonical(nil, v)
		fmt.Println(string(canonical), aver.Digest(canonical))
	}
	// Output:
	// {"a":{},"b":[1,"€"]} ZpLAWFQ6wmLqrK95tvznhpCkfBtjtUpZBpP1SvRHL_I
	// {"a":{},"b":[1,"€"]} ZpLAWFQ6wmLqrK95tvznhpCkfBtjtUpZBpP1SvRHL_I
}

// A leaf of the log commits to its payload by the SHA-256 that sha256sum
// prints, so that anybody can check that a record is the one that was logged.
func ExampleParseLeaf() {
	text, err := os.ReadFile("testdata/leaf/decision.json")
	if err != nil {
		log.Fatal(err)
	}
	payload, err := os.ReadFile("testdata/record/permitted.json")
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := aver.ParseLeaf(text)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("leaf:     ", leaf.Payload)
	fmt.Printf("sha256sum: %x\n", sha256.Sum256(payload))
	fmt.Println("matches:  ", leaf.Matches(payload))

	record, err := aver.ParseRecord(payload)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(record.Decision.Actor.Ref, "was", record.Decision.Outcome, "at", record.Time)
	// Output:
	// leaf:      c2fdec2ea0a016798283018581847f2428997d789740a1639776877b8c747fd6
	// sha256sum: c2fdec2ea0a016798283018581847f2428997d789740a1639776877b8c747fd6
	// matches:   true
	// ai_agent::"ap-agent" was permitted at 2026-11-24T07:33:49.123Z
}

// The zero Decision denies, so a caller that forgets to look at an error does
// not let a request through.
func ExampleDecision() {
	var d aver.Decision
	fmt.Println(d.Outcome, d.Outcome.Allowed())
	// Output: denied false
}
