package sample_test

import (
	"encoding/json"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/report/sample"
)

// Whatever a file holds, verifying it ends, and finds only what is unchanged in order.
func FuzzVerify(f *testing.F) {
	log := newLog(f, 30, nil)
	checkpoint, _ := log.checkpoint(f)
	whole := log.fix(f, "outcome:denied", 5, 25)
	text := must(json.Marshal(whole))
	f.Add(text)
	f.Add([]byte(`{"statement":{"first":18446744073709551615,"end":1},"proof":{"begin":18446744073709551615,"leaves":[""]}}`))
	f.Add([]byte(`{"statement":{},"checkpoint":` + string(must(json.Marshal(string(checkpoint)))) + `}`))
	drawn := must(sample.Draw(&whole.Statement, whole.Rows, nil, sample.Spec{Nonce: "n", Method: aver.SampleInterval, Size: 3}))
	handed := must(sample.NewSample(drawn, whole.Leaf))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d sample.Document
		if json.Unmarshal(text, &d) != nil {
			return
		}
		r := d.Verify(log.key.VKey)
		if r.Integrity && d.Digest != whole.Digest {
			t.Errorf("another statement verifies under the log's key: %s", text)
		}
		handed.Verify(&d, d.ValueOfLeaf("outcome"))
	})
}
