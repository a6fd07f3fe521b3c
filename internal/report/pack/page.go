package pack

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/aver-authz/aver/evidence"
)

// The page's own sources, and those of others that third_party/vendor makes from npm.
//
//go:embed page/page.html page/page.css page/verify.js page/checks.js page/decide.js page/view.js page/third_party/cedar.js page/third_party/cedar.wasm.gz page/third_party/cedar.wasm.sha256 page/third_party/ed25519.js
var sources embed.FS

func source(name string) string {
	text, err := sources.ReadFile("page/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// verifierScript is the script by which a page verifies, as it stands in the page.
// Its SHA-256 is published in docs/packs.md.
func verifierScript() string {
	var b strings.Builder
	fmt.Fprintf(&b, "(() => {\n\"use strict\";\nconst engineDigest = \"%s\";\n", strings.TrimSpace(source("third_party/cedar.wasm.sha256")))
	for _, name := range []string{"verify.js", "checks.js", "decide.js", "view.js"} {
		b.WriteString(source(name))
	}
	b.WriteString("})();\n")
	return b.String()
}

// VerifierDigest is the SHA-256 of the script by which a page verifies, in hexadecimal.
func VerifierDigest() string {
	sum := sha256.Sum256([]byte(verifierScript()))
	return hex.EncodeToString(sum[:])
}

// shell is a page without its data, as what stands before and after it.
func shell(withEngine bool) (before, after string) {
	verifier, noble, css := verifierScript(), source("third_party/ed25519.js"), source("page.css")
	scripts := []string{noble, verifier}
	engine := ""
	extra := ""
	if withEngine {
		glue := source("third_party/cedar.js")
		scripts = append(scripts, glue)
		wasm, err := sources.ReadFile("page/third_party/cedar.wasm.gz")
		if err != nil {
			panic(err) // it is embedded
		}
		engine = `<script type="application/wasm" id="engine">` + base64.StdEncoding.EncodeToString(wasm) + "</script>\n<script id=\"cedar\">" + glue + "</script>\n"
		extra = " 'wasm-unsafe-eval'"
	}
	csp := "default-src 'none'; script-src"
	for _, s := range scripts {
		csp += " " + cspHash(s)
	}
	csp += extra + "; style-src " + cspHash(css) + "; base-uri 'none'; form-action 'none'"
	page := strings.NewReplacer("{{csp}}", csp, "{{css}}", css, "{{engine}}", engine, "{{ed25519}}", noble, "{{verifier}}", verifier).Replace(source("page.html"))
	before, after, _ = strings.Cut(page, "{{pack}}")
	return before, after
}

func cspHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// PageDigests are the SHA-256 of the pages that this version makes, without
// their data: see [evidence.Shell].
func PageDigests() (plain, withEngine string) {
	digest := func(engine bool) string {
		before, after := shell(engine)
		return evidence.Shell([]byte(before), []byte(after))
	}
	return digest(false), digest(true)
}

// writePage writes the files as a page.
func writePage(w io.Writer, files map[string][]byte, withEngine bool) error {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := writeZIP(z, files, false); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	before, after := shell(withEngine)
	if _, err := io.WriteString(w, before); err != nil {
		return err
	}
	encoder := base64.NewEncoder(base64.StdEncoding, w)
	if _, err := encoder.Write(packed.Bytes()); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	_, err = io.WriteString(w, after)
	return err
}
