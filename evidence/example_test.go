package evidence_test

import (
	"fmt"
	"os"

	"github.com/aver-authz/aver/evidence"
)

// Two verdicts: integrity, and trust in a key that the reader brought.
func ExamplePack_Verify() {
	p, err := evidence.OpenFile("escalations.html")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	report, err := p.Verify(evidence.Options{Keys: []string{"example.com/decisions+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println("integrity:", report.Integrity, "trust:", report.Trust)
	for _, c := range report.Checks {
		if c.State != evidence.Passed {
			fmt.Println(c.State, c.File, c.What, c.Detail)
		}
	}
}
