package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

func (c *cli) credential() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "credential",
		Short: "Issue and revoke bearer tokens",
		Long: `A credential is a bearer token of one of four roles: pep asks for decisions, auditor reads everything and
changes nothing, approver answers requests for approval as the person whom it belongs to, admin does
the rest. The server keeps a digest of it only; its name stands in the records of what was done with it,
so a name is used once.`,
		Example: `  aver credential issue checkout --role pep --expires 2160h
  aver credential revoke checkout --reason "leaked, INC-12"`,
	}, c.credentialIssue(), c.credentialRevoke(), c.credentialList())
}

func (c *cli) credentialIssue() *cobra.Command {
	var role, expires, subject string
	roles := oneOf(aver.Roles()...)
	cmd := &cobra.Command{
		Use:   "issue NAME --role ROLE",
		Short: "Make a bearer token and print it; it is shown this once",
		Example: `  aver credential issue checkout --role pep > checkout.token
  aver credential issue audit-2027 --role auditor --expires 720h
  aver credential issue lena --role approver --subject user:lena`,
		Args: exactly("a NAME"),
	}
	cmd.Flags().StringVar(&role, "role", "", "`ROLE`: "+strings.Join(roles, ", "))
	cmd.Flags().StringVar(&expires, "expires", "", "`TIME` when it ends, as RFC 3339 or from now on (2160h); default: never")
	cmd.Flags().StringVar(&subject, "subject", "", "the person whom it belongs to (`TYPE:ID`); only a person can approve")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp))
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		if !slices.Contains(roles, role) {
			return fmt.Errorf("a credential needs a --role: %s", strings.Join(roles, ", "))
		}
		until, err := parseWhen(expires)
		if err != nil {
			return fmt.Errorf("--expires: %w", err)
		}
		k := aver.Credential{Name: args[0], Role: aver.Role(role), Expires: until}
		if subject != "" {
			person, err := parseRef(subject)
			if err != nil {
				return fmt.Errorf("--subject: %w", err)
			}
			k.Subject = &person
		}
		token, made, err := server.IssueCredential(ctx, k, reason)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(struct {
				Token string `json:"token"`
				*client.Change
			}{token, made})
		}
		fmt.Fprintf(c.err, "%s: issued (event %d); this is the only time that the token is shown\n", args[0], made.Index)
		c.printf("%s\n", token)
		return nil
	})
}

func (c *cli) credentialRevoke() *cobra.Command {
	return c.changes(&cobra.Command{
		Use:     "revoke NAME",
		Short:   "End a bearer token",
		Example: `  aver credential revoke checkout --reason "leaked, INC-12"`,
		Args:    exactly("the NAME of a credential"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		made, err := server.RevokeCredential(ctx, args[0], reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: revoked", args[0])
	})
}

func (c *cli) credentialList() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "list",
		Short:   "List the credentials ever issued; never their tokens",
		Example: "  aver credential list",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		return printList(c, s.Credentials(ctx), "no credential was issued",
			[]string{"NAME", "ROLE", "ISSUED", "BY", "EXPIRES", "REVOKED"},
			func(k client.Credential) []string {
				revoked := "-"
				if k.Revoked != nil {
					revoked = timeText(k.Revoked.Time)
				}
				return []string{k.Name, string(k.Role), timeText(k.Time), k.By.Name, timeText(k.Expires), revoked}
			})
	})
}
