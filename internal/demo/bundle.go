package demo

import (
	"embed"
	"io/fs"
	"strings"

	"github.com/aver-authz/aver/internal/policy"
)

//go:embed bundle
var bundleFiles embed.FS

// Bundle returns the policies of Northwind Pay, loaded and validated.
func Bundle() (*policy.Bundle, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(bundleFiles, "bundle", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := bundleFiles.ReadFile(name)
		files[strings.TrimPrefix(name, "bundle/")] = text
		return err
	})
	if err != nil {
		return nil, err
	}
	return policy.Load(files, "northwind")
}
