package report

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// WriteSection replaces what stands in a file between the markers of a section, <!-- bench:NAME --> and
// <!-- /bench:NAME -->, so that prose can stand around it.
func WriteSection(file, name, text string) error {
	doc, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, err := replaceSection(doc, name, text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, out, 0o644)
}

// CheckSection reports whether [WriteSection] could write there.
func CheckSection(file, name string) error {
	doc, err := os.ReadFile(file)
	if err == nil {
		_, err = replaceSection(doc, name, "")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func replaceSection(doc []byte, name, text string) ([]byte, error) {
	begin, end := []byte("<!-- bench:"+name+" -->\n"), []byte("<!-- /bench:"+name+" -->")
	before, rest, ok := bytes.Cut(doc, begin)
	_, after, closed := bytes.Cut(rest, end)
	if !ok || !closed {
		return nil, fmt.Errorf("it has no lines %s and %s to write between", bytes.TrimSpace(begin), end)
	}
	return bytes.Join([][]byte{before, begin, []byte(strings.TrimSpace(text) + "\n"), end, after}, nil), nil
}
