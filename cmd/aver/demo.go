package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/internal/demo"
	"github.com/aver-authz/aver/internal/server"
)

func (c *cli) demo() *cobra.Command {
	o := demo.Options{Out: c.out}
	var level, format string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See everything work, on a payment company in miniature",
		Long: `Starts a real server on a data directory of its own, publishes policies, registers identities of all kinds,
issues grants, sends several hundred requests over HTTP, and then explains a decision, verifies both logs
and decides everything again. It keeps serving until it is interrupted, unless --exit is given.

Exit status: 0 all went well; 1 an outcome, a log or the replay is wrong; 2 it could not run.`,
		Example: `  aver demo
  aver demo --exit
  aver demo --data ./demo --listen 127.0.0.1:8470`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := server.NewLogger(c.err, level, format)
			if err != nil {
				return err
			}
			o.Logger, o.Version = logger, programVersion()
			err = demo.Run(cmd.Context(), o)
			if errors.Is(err, demo.ErrWrong) {
				return &wrongError{err.Error()}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Data, "data", "", "the data directory `DIR`, new or empty; default: one among the temporary files")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:0", "`HOST:PORT` to listen on; port 0 takes a free one")
	f.BoolVar(&o.Exit, "exit", false, "end when all is done, instead of serving on")
	f.Int64Var(&o.Seed, "seed", 1, "the same seed `N` gives the same requests with the same outcomes")
	f.IntVar(&o.Requests, "requests", 0, "how many (`N`) random requests to send besides")
	f.StringVar(&level, "log-level", "warn", "`LEVEL`: debug, info, warn or error")
	f.StringVar(&format, "log-format", "text", "`FORMAT`: text or json")
	return cmd
}
