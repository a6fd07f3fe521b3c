package onepage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// ContentSecurityPolicy is what a page allows itself: its style, by its digest,
// and nothing else.
func ContentSecurityPolicy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

// HTML is the page as one file that needs nothing besides: no script, no font, no
// network.
func (p *Page) HTML() ([]byte, error) {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct {
		Page   *Page
		Style  template.CSS
		Policy string
	}{p, template.CSS(pageCSS), ContentSecurityPolicy()})
	if err != nil {
		return nil, fmt.Errorf("the page of %s: %w", p.Of, err)
	}
	return b.Bytes(), nil
}
