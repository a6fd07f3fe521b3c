package policy

import (
	"embed"
	"fmt"
	"io/fs"
	"sync"
)

//go:embed baseline
var baselineFiles embed.FS

// Baseline is the bundle that is active from the first start: guard rails for
// machine identities. It permits nothing, and can be extended or replaced.
func Baseline() *Bundle { return baseline() }

var baseline = sync.OnceValue(func() *Bundle {
	dir, err := fs.Sub(baselineFiles, "baseline")
	if err != nil {
		panic(fmt.Sprintf("policy: the embedded baseline: %v", err))
	}
	files, err := readFiles(dir)
	if err != nil {
		panic(fmt.Sprintf("policy: the embedded baseline: %v", err))
	}
	b, err := Load(files, "baseline")
	if err != nil {
		panic(fmt.Sprintf("policy: the embedded baseline: %v", err))
	}
	return b
})
