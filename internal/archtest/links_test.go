package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdFence   = regexp.MustCompile("(?ms)^\\s*```.*?^\\s*```")
	mdHeading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Every relative link of a page leads to a file that is there, and to a heading in it.
func TestLinks(t *testing.T) {
	root := filepath.Join("..", "..")
	links := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".git") || d.Name() == "node_modules" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		for _, m := range mdLink.FindAllStringSubmatch(page(t, path), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", path, m[1])
			} else if anchor != "" && !headings(page(t, target))[anchor] {
				t.Errorf("%s: the link %s names a heading that is not there", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links < 50 {
		t.Errorf("%d links were found", links)
	}
}

// page reads a page without its blocks of code, where brackets mean other things.
func page(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return mdFence.ReplaceAllString(string(text), "")
}

// headings are the anchors of a page, as they are commonly made.
func headings(text string) map[string]bool {
	anchors := map[string]bool{}
	for _, m := range mdHeading.FindAllStringSubmatch(text, -1) {
		anchors[strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return anchors
}

var (
	testCited = regexp.MustCompile("`([a-z/]+)` (Test[A-Za-z0-9_]+(?:, Test[A-Za-z0-9_]+)*)")
	rowOf     = regexp.MustCompile(`(?m)^\| ([A-K]\d) \|`)
)

// docs/requirements.md has every row once, in order, and the tests that it and all other pages name are there.
func TestRequirementsCiteTestsThatExist(t *testing.T) {
	root := filepath.Join("..", "..")
	requirements := filepath.Join(root, "docs", "requirements.md")
	text := page(t, requirements)
	var rows []string
	for _, m := range rowOf.FindAllStringSubmatch(text, -1) {
		rows = append(rows, m[1])
	}
	want := "A1 A2 A3 A4 B1 B2 B3 B4 B5 B6 C1 C2 D1 D2 D3 E1 E2 E3 E4 E5 F1 F2 F3 G1 G2 G3 G4 G5 G6 G7 G8 H1 I1 I2 I3 I4 I5 J1 J2 J3 J4 K1"
	if got := strings.Join(rows, " "); got != want {
		t.Errorf("the rows are\n%s, want\n%s", got, want)
	}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		pages, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pages {
			if p != requirements {
				text += page(t, p)
			}
		}
	}
	cited := testCited.FindAllStringSubmatch(text, -1)
	if len(cited) < 60 {
		t.Errorf("%d citations of tests were found", len(cited))
	}
	for _, m := range cited {
		dir := filepath.Join(root, "internal", m[1])
		switch m[1] {
		case "aver":
			dir = root
		case "cmd/aver", "client", "evidence":
			dir = filepath.Join(root, m[1])
		}
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var code strings.Builder
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
		for name := range strings.SplitSeq(m[2], ", ") {
			if !strings.Contains(code.String(), "func "+name+"(") {
				t.Errorf("%s is cited, and %s has no such test", name, dir)
			}
		}
	}
}
