package policy

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// load makes a bundle of one file, or fails the test.
func load(t testing.TB, cedarText string) *Bundle {
	t.Helper()
	b, err := Load(map[string][]byte{"rules.cedar": []byte(cedarText)}, "test")
	if err != nil {
		t.Fatalf("load:\n%v", err)
	}
	return b
}

// TestLoad reads each bundle in testdata/load and compares what comes out, the
// bundle or all of its errors, with the section "want" of the same file.
func TestLoad(t *testing.T) {
	names, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no bundles in testdata/load: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string][]byte{}
			var want string
			for _, f := range ar.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				files[f.Name] = f.Data
			}
			b, err := Load(files, "payments")
			got := describe(b, err)
			if *update {
				ar.Files = slices.DeleteFunc(ar.Files, func(f txtar.File) bool { return f.Name == "want" })
				ar.Files = append(ar.Files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func describe(b *Bundle, err error) string {
	if err != nil {
		var errs Errors
		if !errors.As(err, &errs) {
			return fmt.Sprintf("not of type Errors: %v\n", err)
		}
		return errs.Error() + "\n"
	}
	var out strings.Builder
	m := b.Meta()
	fmt.Fprintf(&out, "bundle %s, owner %q, review %q, controls %q, schema %t\n", b.Name(), m.Owner, m.Review, m.Controls, b.HasSchema())
	if m.Description != "" {
		fmt.Fprintf(&out, "description %q\n", m.Description)
	}
	fmt.Fprintf(&out, "retain %q, sensitive %q\n", m.Retain, m.Sensitive)
	for _, r := range b.Policies() {
		fmt.Fprintf(&out, "%s:%d:%d: %s %s", r.File, r.Line, r.Column, r.Effect, r.ID)
		if r.Reason != "" {
			fmt.Fprintf(&out, ", reason %q", r.Reason)
		}
		if r.Overridable != "" {
			fmt.Fprintf(&out, ", overridable %q", r.Overridable)
		}
		out.WriteByte('\n')
		if g := r.Gate; g != nil {
			fmt.Fprintf(&out, "  gate %s", g.Kind)
			switch g.Kind {
			case Challenge:
				fmt.Fprintf(&out, ", acr %q, amr %q, present %q", g.ACRValues, g.AMRValues, g.Present)
				if g.MaxAge != nil {
					fmt.Fprintf(&out, ", max age %d", *g.MaxAge)
				}
			case Escalate:
				fmt.Fprintf(&out, ", approvers %q, approvals %d, within %v", g.Approvers, g.Approvals, g.Within)
			case Restrict:
				fmt.Fprintf(&out, ", obligation %s %s", g.Obligation.Type, g.Obligation.Properties)
			}
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "  reads %q\n", r.Reads().Paths())
	}
	for _, tc := range b.Tests() {
		fmt.Fprintf(&out, "%s:%d:%d: test %q expects %s %q\n", tc.File, tc.Line, tc.Column, tc.Name, tc.Outcome, tc.Reasons)
		fmt.Fprintf(&out, "  request %s\n", tc.Request)
		if tc.Entities != nil {
			fmt.Fprintf(&out, "  entities %s\n", tc.Entities)
		}
		if tc.Identities != nil || tc.Grants != nil || !tc.Now.IsZero() {
			fmt.Fprintf(&out, "  identities %s, grants %s, now %v\n", tc.Identities, tc.Grants, tc.Now)
		}
	}
	return out.String()
}

func TestDigestCommitsToNamesAndContents(t *testing.T) {
	digest := func(files map[string][]byte) string {
		b, err := Load(files, "test")
		if err != nil {
			t.Fatal(err)
		}
		return b.Digest()
	}
	permit := []byte("permit(principal, action, resource);")
	base := map[string][]byte{"a.cedar": permit, "b.cedar": nil}
	seen := map[string]string{}
	for what, files := range map[string]map[string][]byte{
		"as it was":           base,
		"another name":        {"c.cedar": permit, "b.cedar": nil},
		"content moved":       {"a.cedar": nil, "b.cedar": permit},
		"a space more":        {"a.cedar": append(slices.Clone(permit), ' '), "b.cedar": nil},
		"an empty file less":  {"a.cedar": permit},
		"another file's name": {"a.cedar": permit, "bb.cedar": nil},
	} {
		d := digest(files)
		if other, ok := seen[d]; ok {
			t.Errorf("%q and %q have the same digest", what, other)
		}
		seen[d] = what
	}
	if seen[digest(maps.Clone(base))] != "as it was" {
		t.Error("the digest of the same files differs from one load to the next")
	}
	// Computed with Python's hashlib from the description of the format.
	const want = "ad9f93cc0d64c2f10e831498b39ca72922b33970bb80a0264a7775befcb9f2c0"
	if got := digest(base); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestLoadDirTakesTheFoldersName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "treasury")
	for name, content := range map[string]string{
		"limits.cedar":     `permit(principal, action, resource);`,
		"README.md":        "for people",
		".hidden":          "not for us",
		"tests/limits.yml": "",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Policies()[0].ID; got != "treasury/limits#1" {
		t.Errorf("id %q", got)
	}
	if got := slices.Sorted(maps.Keys(b.Files())); !slices.Equal(got, []string{"limits.cedar", "tests/limits.yml"}) {
		t.Errorf("files %q", got)
	}
	if _, err := LoadDir(filepath.Join(dir, "tests", "no-such-folder")); err == nil {
		t.Error("a folder that is not there was loaded")
	}
	if err := os.WriteFile(filepath.Join(dir, "limits.ceder"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadDir(dir); err == nil || !strings.Contains(err.Error(), "limits.ceder: not part of a bundle") {
		t.Errorf("a misspelt policy file was passed over: %v", err)
	}
}

// Links within the folder are followed, as Kubernetes lays out files; one that leads out of it could publish what its
// author can't read.
func TestLoadDirFollowsNoLinkOutOfTheFolder(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.cedar")
	dir := filepath.Join(t.TempDir(), "linked")
	if err := os.MkdirAll(filepath.Join(dir, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{outside, filepath.Join(dir, "..data", "main.cedar")} {
		if err := os.WriteFile(file, []byte("permit(principal, action, resource);"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("..data/main.cedar", filepath.Join(dir, "main.cedar")); err != nil {
		t.Fatal(err)
	}
	if b, err := LoadDir(dir); err != nil || len(b.Policies()) != 1 {
		t.Errorf("a link within the folder: %v", err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "other.cedar")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadDir(dir); err == nil || !strings.Contains(err.Error(), "other.cedar") {
		t.Errorf("a link out of the folder: %v", err)
	}
}

func TestLoadLimits(t *testing.T) {
	many := map[string][]byte{}
	for i := range MaxFiles + 1 {
		many[fmt.Sprintf("f%d.cedar", i)] = nil
	}
	policies := strings.Repeat("permit(principal,action,resource);\n", 7000)
	for name, tc := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"files":    {many, "1001 files, more than the 1000 allowed"},
		"bytes":    {map[string][]byte{"a.cedar": []byte(strings.Repeat(" ", MaxFileBytes+1))}, "a.cedar: the file has 1048577 bytes"},
		"policies": {map[string][]byte{"a.cedar": []byte(policies), "b.cedar": []byte(policies)}, "14000 policies, more than the 10000 allowed"},
		"brackets": {
			map[string][]byte{"a.cedar": []byte("permit(principal,action,resource) when {" + strings.Repeat("(", 100_000) + "true")},
			"a.cedar:1:140: cannot read the policy: more than 100 brackets are open here",
		},
		"depth": {
			map[string][]byte{"a.cedar": []byte("permit(principal,action,resource) when {" + strings.Repeat("!", 5000) + "true};")},
			"a.cedar:1:1: cannot read the policy: its expressions nest too deeply",
		},
		"attributes": {
			map[string][]byte{"a.cedar": []byte("permit(principal,action,resource) when {resource has " + strings.Repeat("a.", 100_000) + "a};")},
			"a.cedar:1:255: cannot read the policy: more than 100 attributes follow one another here",
		},
		"problems": {map[string][]byte{"a.cedar": []byte(strings.Repeat(";", 200_000))}, "there are more problems, which are not listed"},
		"schema": {
			map[string][]byte{"a.cedarschema": []byte("entity a {x: " + strings.Repeat("Set<{x:", 10_000))},
			"a.cedarschema:1:",
		},
		"UTF-8": {map[string][]byte{"a.cedar": []byte("// \xff")}, "a.cedar: the file is not valid UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(tc.files, "test")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %.300v, want %s", err, tc.want)
			}
		})
	}
}

func TestLongButHarmlessText(t *testing.T) {
	branches := strings.Repeat("if context.a.b then context.c . d // x.y\n else ", 120)
	b := load(t, "permit(principal,action,resource) when {"+branches+"true};\n"+
		"permit(principal,action,resource) when {context.n == 1"+strings.Repeat(" && context.x.y.z", 300)+"};")
	if len(b.rules) != 2 {
		t.Errorf("%d policies", len(b.rules))
	}
}

func TestBundleIsNotChangedFromOutside(t *testing.T) {
	b := load(t, `permit(principal, action, resource);`)
	b.Files()["x"] = nil
	b.Policies()[0] = nil
	if len(b.Files()) != 1 || b.Policies()[0] == nil {
		t.Error("a caller changed the bundle through what it got from it")
	}
}

func FuzzLoad(f *testing.F) {
	names, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		seed := map[string]string{}
		for _, file := range ar.Files {
			seed[filepath.Ext(file.Name)] = string(file.Data)
		}
		f.Add(seed[".cedar"], seed[".cedarschema"], seed[".yaml"], seed[".yaml"])
	}
	f.Fuzz(func(t *testing.T, cedarText, schemaText, metaText, testText string) {
		files := map[string][]byte{
			"a.cedar": []byte(cedarText), "bundle.yaml": []byte(metaText), "tests/a.yaml": []byte(testText),
		}
		if schemaText != "" {
			files["a.cedarschema"] = []byte(schemaText)
		}
		b, err := Load(files, "fuzz")
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("an error without a place: %v", err)
			}
			return
		}
		for _, r := range b.Policies() {
			again, err := Load(map[string][]byte{"a.cedar": []byte(r.Text)}, "fuzz")
			if err != nil || again.rules[0].Text != r.Text {
				t.Fatalf("the canonical text of %s does not load again: %v\n%s", r.ID, err, r.Text)
			}
		}
	})
}
