package policy

import (
	"flag"
	"os"
	"testing"
)

// TestMain makes the random tests the same each time, unless they are given a
// seed, or AVER_LONG=1 in the environment, as in .ci/run, asks for more of them
// and other ones each time.
func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	set := func(name, value string) {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	set("rapid.nofailfile", "true")
	if os.Getenv("AVER_LONG") == "1" {
		set("rapid.checks", "3000")
	} else {
		set("rapid.seed", "20261124")
		set("rapid.checks", "400")
	}
	os.Exit(m.Run())
}
