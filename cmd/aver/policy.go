package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/policytest"
)

func (c *cli) policy() *cobra.Command {
	return noun(&cobra.Command{
		Use:   "policy",
		Short: "Check, test, publish and compare policy bundles",
		Long: `A bundle is a folder: *.cedar, and if wanted bundle.yaml, a *.cedarschema and tests/*.yaml.
docs/policies.md teaches how to write one. Publishing makes a version known; it decides once it is
activated, and the version that was active before stays in the log and can be activated again.`,
		Example: `  aver policy check ./payments
  aver policy test ./payments
  aver replay --data ./data --policy ./payments      what would have been?
  aver policy publish ./payments --activate --reason "limit lowered, CHG-77"`,
	}, c.policyCheck(), c.policyTest(), c.policyPublish(), c.policyActivate(), c.policyRetire(),
		c.policyList(), c.policyShow(), c.policyDiff())
}

func (c *cli) policyCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check DIR",
		Short:   "Check a bundle: does it parse, does it fit its schema?",
		Long:    "Reads a bundle and names every problem as file:line:column: message. Needs no server.\n\nExit status: 0 it is right; 1 it is not.",
		Example: "  aver policy check ./payments",
		Args:    exactly("a DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := loadBundle(args[0])
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(struct {
					Name     string `json:"name"`
					Digest   string `json:"digest"`
					Policies int    `json:"policies"`
					Tests    int    `json:"tests"`
					Schema   bool   `json:"schema"`
				}{b.Name(), b.Digest(), len(b.Policies()), len(b.Tests()), b.HasSchema()})
			}
			c.printf("%s %s: ok, %s, %s", b.Name(), short(b.Digest()),
				plural(uint64(len(b.Policies())), "policy", "policies"), plural(uint64(len(b.Tests())), "test", "tests"))
			if !b.HasSchema() {
				c.printf(", no schema, so attribute names are not checked")
			}
			c.printf("\n")
			return nil
		},
	}
}

// loadBundle reads a bundle's folder and says plainly if there is none.
func loadBundle(dir string) (*policy.Bundle, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no folder %s", dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file; a bundle is a folder", dir)
	}
	return policy.LoadDir(dir)
}

func (c *cli) policyTest() *cobra.Command {
	var with []string
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Run a bundle's tests",
		Long: `Runs the cases of tests/*.yaml with the code that decides in production, in a world where the baseline,
the bundle and what the case names are known. Needs no server.

Exit status: 0 all pass; 1 one fails, or there are none.`,
		Example: "  aver policy test ./payments\n  aver policy test ./payments --with ./shared-rules",
		Args:    exactly("a DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := loadBundle(args[0])
			if err != nil {
				return err
			}
			var others []*policy.Bundle
			for _, dir := range with {
				other, err := loadBundle(dir)
				if err != nil {
					return err
				}
				others = append(others, other)
			}
			results := policytest.Run(b, others...)
			failed := policytest.Failed(results)
			if c.json {
				err = c.printJSON(struct {
					OK      bool                `json:"ok"`
					Tests   int                 `json:"tests"`
					Failed  int                 `json:"failed"`
					Results []policytest.Result `json:"results"`
				}{failed == 0 && len(results) > 0, len(results), failed, results})
			} else {
				for _, r := range results {
					c.printf("%s\n", r)
				}
				c.printf("%d passed, %d failed\n", len(results)-failed, failed)
			}
			switch {
			case err != nil:
				return err
			case len(results) == 0:
				return &wrongError{fmt.Sprintf("bundle %q has no tests: add cases to tests/*.yaml", b.Name())}
			case failed > 0:
				return &wrongError{}
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&with, "with", nil, "folder `DIR` of another bundle that is active too; repeat for more")
	return cmd
}

func (c *cli) policyPublish() *cobra.Command {
	var activate bool
	cmd := &cobra.Command{
		Use:   "publish DIR",
		Short: "Publish a bundle, and with --activate let it decide",
		Long: `Sends a bundle to a server. A bundle with errors is refused and changes nothing: what was active stays so.
Publishing the same bundle again changes nothing either, so a pipeline may.`,
		Example: `  aver policy publish ./payments
  aver policy publish ./payments --activate --reason "limit lowered, CHG-77"`,
		Args: exactly("a DIR"),
	}
	cmd.Flags().BoolVar(&activate, "activate", false, "let it decide at once")
	return c.changes(cmd, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		b, err := loadBundle(args[0])
		if err != nil {
			return err
		}
		made, err := server.Publish(ctx, b.Name(), textFiles(b.Files()), activate, reason)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(made)
		}
		c.printf("%s %s: ", made.Name, short(made.Digest))
		if made.Published != nil {
			c.printf("published (event %d)", made.Published.Index)
		} else {
			c.printf("published before")
		}
		switch {
		case made.Activated != nil:
			c.printf(", active (event %d)\n", made.Activated.Index)
		case made.Active:
			c.printf(", active before\n")
		default:
			c.printf(", not active; aver policy activate %s %s\n", made.Name, short(made.Digest))
		}
		return nil
	})
}

func (c *cli) policyActivate() *cobra.Command {
	return c.changes(&cobra.Command{
		Use:   "activate NAME [DIGEST]",
		Short: "Let a published version decide; without DIGEST the one published last",
		Long:  "Lets a published version decide, in place of the active one of its name. So it also goes back to an\nearlier version. A digest can be shortened to what is unique.",
		Example: `  aver policy activate payments
  aver policy activate payments 3f9a51c0 --reason "back to before CHG-77"`,
		Args: between(1, "a NAME", "a DIGEST"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		b, err := findBundle(ctx, server, args, false)
		if err != nil {
			return err
		}
		made, err := server.Activate(ctx, b.Name, b.Digest, reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s %s: active", b.Name, short(b.Digest))
	})
}

func (c *cli) policyRetire() *cobra.Command {
	return c.changes(&cobra.Command{
		Use:     "retire NAME",
		Short:   "Take a bundle out of force",
		Example: `  aver policy retire payments --reason "replaced by payments-eu"`,
		Args:    exactly("a NAME"),
	}, func(ctx context.Context, server *client.Client, reason string, args []string) error {
		made, err := server.Retire(ctx, args[0], reason)
		if err != nil {
			return err
		}
		return c.printChange(made, "%s: retired", args[0])
	})
}

func (c *cli) policyList() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "list",
		Short:   "List the published versions of all bundles",
		Example: "  aver policy list\n  aver policy list --data ./data --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, s source, _ []string) error {
		return printList(c, s.Bundles(ctx), "nothing is published",
			[]string{"NAME", "DIGEST", "ACTIVE", "POLICIES", "PUBLISHED", "BY", "REASON"},
			func(b client.Bundle) []string {
				active := ""
				if b.Active {
					active = "active"
				}
				return []string{b.Name, short(b.Digest), active, fmt.Sprint(b.Policies), timeText(b.Published.Time), b.Published.By.Name, b.Published.Reason}
			})
	})
}

func (c *cli) policyShow() *cobra.Command {
	return c.reads(&cobra.Command{
		Use:     "show NAME [DIGEST]",
		Short:   "Print a version's files; without DIGEST the active one",
		Example: "  aver policy show baseline\n  aver policy show payments 3f9a51c0 --data ./data",
		Args:    between(1, "a NAME", "a DIGEST"),
	}, func(ctx context.Context, s source, args []string) error {
		found, err := findBundle(ctx, s, args, true)
		if err != nil {
			return err
		}
		b, err := s.BundleVersion(ctx, found.Name, found.Digest)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(b)
		}
		state := "not active"
		if b.Active {
			state = "active"
		}
		c.printf("# %s %s, %s\n# published %s by %s\n", b.Name, b.Digest, state, timeText(b.Published.Time), b.Published.By.Name)
		for _, name := range slices.Sorted(maps.Keys(b.Files)) {
			c.printf("\n# -- %s --\n%s", name, b.Files[name])
		}
		return nil
	})
}

// findBundle finds a version by its name and, if args has a second, the beginning of its digest. Without it, the active
// version if active is set, else the one published last.
func findBundle(ctx context.Context, s source, args []string, active bool) (*client.Bundle, error) {
	name, digest := args[0], ""
	if len(args) > 1 {
		digest = args[1]
	}
	var found []client.Bundle
	known := false
	for b, err := range s.Bundles(ctx) {
		if err != nil {
			return nil, err
		}
		if b.Name != name {
			continue
		}
		known = true
		switch {
		case digest != "" && !strings.HasPrefix(b.Digest, digest):
		case digest == "" && active && !b.Active:
		default:
			found = append(found, b)
		}
	}
	switch {
	case !known:
		return nil, fmt.Errorf("no bundle %q is published; aver policy list names those that are", name)
	case len(found) == 0 && digest != "":
		return nil, fmt.Errorf("no version of bundle %q has a digest that begins with %s; aver policy list names them", name, digest)
	case len(found) == 0:
		return nil, fmt.Errorf("no version of bundle %q is active; name one by its digest", name)
	case len(found) > 1 && digest != "":
		return nil, fmt.Errorf("%d versions of bundle %q have a digest that begins with %s: give more of it", len(found), name, digest)
	}
	return &found[len(found)-1], nil
}

func (c *cli) policyDiff() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "diff OLD [NEW]",
		Short: "Show how two versions of a bundle differ",
		Long: `Shows the differences of two versions as a unified diff. Each of OLD and NEW is a folder, the NAME of a
bundle (its active version), or NAME@DIGEST; NAME@ is the bundle even where there is a folder of that name.
With one folder only, it is compared with the active version of its name.`,
		Example: `  aver policy diff ./payments
  aver policy diff payments@3f9a51c0 payments@
  aver policy diff ./payments-old ./payments`,
		Args: between(1, "a folder or the name of a bundle", "a second one"),
		RunE: func(cmd *cobra.Command, args []string) error {
			versions, err := c.diffed(cmd.Context(), &t, args)
			if err != nil {
				return err
			}
			return c.printDiff(versions[0], versions[1])
		},
	}
	t.serverFlags(cmd)
	t.dataFlag(cmd)
	return cmd
}

// version is one side of a comparison.
type version struct {
	label string
	files map[string]string
}

func (c *cli) diffed(ctx context.Context, t *target, args []string) (out [2]version, err error) {
	var s source
	defer func() {
		if d, ok := s.(*directory); ok {
			d.close()
		}
	}()
	published := func(name, digest string) (version, error) {
		if s == nil {
			if s, _, err = c.source(t); err != nil {
				return version{}, err
			}
		}
		query := []string{name}
		if digest != "" {
			query = append(query, digest)
		}
		found, err := findBundle(ctx, s, query, true)
		if err != nil {
			return version{}, err
		}
		b, err := s.BundleVersion(ctx, found.Name, found.Digest)
		if err != nil {
			return version{}, err
		}
		return version{b.Name + "@" + short(b.Digest), b.Files}, nil
	}
	if len(args) == 1 {
		b, err := loadBundle(args[0])
		if err != nil {
			return out, err
		}
		if out[0], err = published(b.Name(), ""); err != nil {
			return out, err
		}
		out[1] = version{args[0], textFiles(b.Files())}
		return out, nil
	}
	for i, arg := range args {
		if info, err := os.Stat(arg); err == nil && info.IsDir() {
			b, err := policy.LoadDir(arg)
			if err != nil {
				return out, err
			}
			out[i] = version{arg, textFiles(b.Files())}
			continue
		}
		name, digest, _ := strings.Cut(arg, "@")
		if out[i], err = published(name, digest); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (c *cli) printDiff(old, next version) error {
	names := maps.Clone(old.files)
	maps.Copy(names, next.files)
	type fileDiff struct {
		File string `json:"file"`
		Diff string `json:"diff"`
	}
	diffs := []fileDiff{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, after := old.files[name], next.files[name]
		if text := diff.Diff(old.label+"/"+name, []byte(before), next.label+"/"+name, []byte(after)); text != nil {
			diffs = append(diffs, fileDiff{name, string(text)})
		}
	}
	if c.json {
		return c.printJSON(struct {
			Old   string     `json:"old"`
			New   string     `json:"new"`
			Files []fileDiff `json:"files"`
		}{old.label, next.label, diffs})
	}
	if len(diffs) == 0 {
		c.printf("%s and %s are the same\n", old.label, next.label)
	}
	for _, d := range diffs {
		c.printf("%s", d.Diff)
	}
	return nil
}
