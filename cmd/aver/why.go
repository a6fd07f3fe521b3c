package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (c *cli) why() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:   "why EVALUATION_ID",
		Short: "Explain a decision as a person would",
		Long: `Explains one decision: who asked, on whose authority, which policies decided and in which version, which
values they saw and who vouches for each, and what would have changed the outcome. The explanation is made
from the record and the authority log, at the state of the time of the decision.`,
		Example: `  aver why 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f
  aver why 0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f --data ./data --json`,
		Args: exactly("an EVALUATION_ID"),
	}, func(ctx context.Context, s source, args []string) error {
		if c.json {
			text, err := s.WhyJSON(ctx, args[0])
			if err != nil {
				return err
			}
			return c.printJSON(text)
		}
		text, err := s.Why(ctx, args[0])
		if err != nil {
			return err
		}
		c.printf("%s", text)
		return nil
	})
}
