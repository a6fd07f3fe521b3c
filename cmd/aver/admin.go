package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/internal/server"
)

func (c *cli) admin() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "admin",
		Short: "Recover the administration of a data directory",
		Long: `For the case that nobody can administer a server any more. It takes the data directory itself, and that no
server runs on it.`,
		Example: `  aver admin recover --data ./data --reason "the only administrator's token was lost, INC-9"`,
	}, c.adminRecover())
}

func (c *cli) adminRecover() *cobra.Command {
	var cfg server.Config
	var reason string
	var keepPolicies, noToken bool
	cmd := &cobra.Command{
		Use:   "recover --data DIR --reason TEXT",
		Short: "Break-glass: let the shipped administration policies decide again, and issue an administrator's token",
		Long: `Lets the administration bundle that is shipped with this program decide again about changes, if another one
does, and prints a new administrator's token. It asks for no decision: whoever can write in the data
directory can do this. That it was done stands in the authority log for good, with the user of this machine,
the method "local" and the reason. Review it.`,
		Example: `  aver admin recover --data ./data --reason "the only administrator's token was lost, INC-9" > admin.token
  aver admin recover --data ./data --reason "locked out by our own policies, INC-10" --no-token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.DataDir == "" {
				return errNoData
			}
			done, err := server.Recover(cmd.Context(), cfg, reason, keepPolicies, noToken)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(done)
			}
			if done.Activated {
				fmt.Fprintln(c.err, "administration: the shipped policies decide again")
			}
			if done.Token != "" {
				fmt.Fprintf(c.err, "%s: issued; this is the only time that the token is shown\n", done.Credential)
				c.printf("%s\n", done.Token)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.DataDir, "data", "", "the data directory `DIR`; no server may be running on it")
	f.StringVar(&reason, "reason", "", "why (`TEXT`); it stands in the authority log, and is needed")
	f.BoolVar(&keepPolicies, "keep-policies", false, "leave the administration policies as they are")
	f.BoolVar(&noToken, "no-token", false, "issue no token")
	return cmd
}
