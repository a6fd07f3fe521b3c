package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

func (c *cli) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the program, the semantics and the engine",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version   string `json:"version"`
				Semantics string `json:"semantics"`
				Engine    string `json:"engine"`
			}{programVersion(), aver.Semantics, policy.EngineVersion}
			if c.json {
				return c.printJSON(v)
			}
			c.printf("aver %s\nsemantics %s\nengine %s\n", v.Version, v.Semantics, v.Engine)
			return nil
		},
	}
}

// programVersion is what the go command stamped: a version, or a commit as a pseudo-version.
func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
