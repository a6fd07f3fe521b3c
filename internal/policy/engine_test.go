package policy

import (
	"os"
	"regexp"
	"runtime/debug"
	"testing"
)

// TestEngineVersion fails when cedar-go is upgraded without a thought for the
// records that name its version.
func TestEngineVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`github\.com/cedar-policy/cedar-go (v\S+)`).FindSubmatch(mod)
	if m == nil {
		t.Fatal("go.mod does not name cedar-go")
	}
	if got := "cedar-go/" + string(m[1]); got != EngineVersion {
		t.Errorf("EngineVersion is %s, go.mod requires %s", EngineVersion, got)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/cedar-policy/cedar-go" && "cedar-go/"+dep.Version != EngineVersion {
			t.Errorf("EngineVersion is %s, the build has %s", EngineVersion, dep.Version)
		}
	}
}
