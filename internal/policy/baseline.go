package policy

import (
	"embed"
	"fmt"
	"io/fs"
	"sync"
)

//go:embed baseline administration
var shipped embed.FS

// Baseline is the bundle that is active from the first start: guard rails for
// machine identities. It permits nothing, and can be extended or replaced.
func Baseline() *Bundle { return baseline() }

// AdministrationName names the bundle that decides who may change the authority:
// it decides about that and about nothing else, and no other bundle does.
const AdministrationName = "administration"

// Administration is the bundle of that name which is active from the first
// start: who may do what, by their role, and the separation of duties. It can be
// extended or replaced.
func Administration() *Bundle { return administration() }

var (
	baseline       = sync.OnceValue(func() *Bundle { return embedded("baseline") })
	administration = sync.OnceValue(func() *Bundle { return embedded(AdministrationName) })
)

func embedded(name string) *Bundle {
	dir, err := fs.Sub(shipped, name)
	if err != nil {
		panic(fmt.Sprintf("policy: the embedded bundle %s: %v", name, err))
	}
	files, err := readFiles(dir)
	if err != nil {
		panic(fmt.Sprintf("policy: the embedded bundle %s: %v", name, err))
	}
	b, err := Load(files, name)
	if err != nil {
		panic(fmt.Sprintf("policy: the embedded bundle %s: %v", name, err))
	}
	return b
}
