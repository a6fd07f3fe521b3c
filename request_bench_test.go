package aver

import "testing"

// anEvaluation is a request as PEPs send it: nine strings, a number, a flag.
const anEvaluation = `{"subject":{"type":"user","id":"u-4711","properties":{"role":"clerk"}},` +
	`"action":{"name":"approve"},` +
	`"resource":{"type":"payment_003","id":"p-0012345","properties":{"department":"d-3","country":"DE","currency":"EUR",` +
	`"created_by":"u-815","amount":125000,"frozen":false}},"context":{"mfa":true,"ip":"10.1.2.3"}}`

// The cost of reading a request.
func BenchmarkParseRequest(b *testing.B) {
	text := []byte(anEvaluation)
	b.Run("JSON", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseJSON(text, Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ReadRequest(text, Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The cost of writing the answer to a request that shared its commit with others.
func BenchmarkAnswerJSON(b *testing.B) {
	const hash = "l4dQ2ZlZ4Oq3hCSdjNNqkSTWGkqkvJrPiyW9xW8CSUw="
	a := Answer{
		Decision:     Decision{Ruling: Ruling{Outcome: Permitted, Reasons: []Reason{{Code: ReasonPermitted, Policy: "payments/approve#2"}}}},
		EvaluationID: "0193a1b2-c3d4-7e5f-8a6b-000000000004",
		Time:         1_764_000_000_123,
		Receipt: Receipt{Origin: "bench.example/decisions", Index: 123_456, LeafHash: hash, Commit: &CommitReceipt{
			Note: "bench.example/decisions/commit\n123400 100\n" + hash + "\n\n— bench.example/decisions " +
				"Kdo8FCx0qkuTuAWG1tJcVOXkYQmL8xC2eJZ8fB3cUqQeXvYGZ3p1n0WcVhVfJ0m8tQv0p6qg0Zl3cXy2b1N5QyqTAgo=\n",
			Path: []string{hash, hash, hash, hash, hash, hash, hash},
		}},
	}
	b.ReportAllocs()
	for b.Loop() {
		a.JSON()
	}
}
