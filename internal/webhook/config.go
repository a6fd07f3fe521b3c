package webhook

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/aver-authz/aver"
)

// Config is who is told of what: the file webhooks.yaml. docs/operating.md describes each member.
type Config struct {
	Webhooks  []Endpoint `yaml:"webhooks"`
	Callbacks []Callback `yaml:"callbacks"`
}

// Endpoint is a receiver of webhooks.
type Endpoint struct {
	Name    string   `yaml:"name"` // of the endpoint, for operators; its cursor is kept under it
	URL     string   `yaml:"url"`
	Events  []string `yaml:"events"` // types, or "approval.*"; none: all of [Types]
	Signing `yaml:",inline"`
}

// Callback allows a PEP to be told of the end of its access requests at some URLs (ARAP Callback: pre-registered
// callback URIs).
type Callback struct {
	PEP     string   `yaml:"pep"` // name of its credential
	URLs    []string `yaml:"urls"`
	Signing `yaml:",inline"`
}

// Signing is what messages are signed with, and how far they may go.
type Signing struct {
	// Secrets are keys in the notation of Standard Webhooks: whsec_ for HMAC-SHA256, whsk_ for Ed25519. Each signs, so
	// that one can be replaced while receivers know either.
	Secrets []string `yaml:"secrets"`
	// SecretFile has them in a file of its own, one a line, relative to the configuration.
	SecretFile string `yaml:"secret_file"`
	// AllowPrivate lets the name resolve to an address that is not public.
	AllowPrivate bool `yaml:"allow_private"`

	signers []signer
}

const (
	maxConfig    = 1 << 20
	maxEndpoints = 100
	maxURLs      = 100
	maxSecrets   = 4
)

var endpointName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// LoadConfig reads a webhooks.yaml. Since it holds secrets, it must be readable by its owner alone.
func LoadConfig(file string) (*Config, error) {
	text, err := readPrivate(file)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(text, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
		return readPrivate(name)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// readPrivate reads a file that nobody but its owner can read.
func readPrivate(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others, and holds secrets: chmod 600 %s", file, file)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(text) > maxConfig {
		err = fmt.Errorf("%s is larger than %d bytes", file, maxConfig)
	}
	return text, err
}

// parseConfig reads the configuration. The errors name no secret.
func parseConfig(text []byte, read func(string) ([]byte, error)) (*Config, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var c Config
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(c.Webhooks)+len(c.Callbacks) > maxEndpoints {
		return nil, fmt.Errorf("more than %d webhooks and callbacks", maxEndpoints)
	}
	seen := map[string]bool{}
	for i := range c.Webhooks {
		e := &c.Webhooks[i]
		if !endpointName.MatchString(e.Name) || seen[e.Name] {
			return nil, fmt.Errorf("webhook %d: name %q: a name of its own, of 1 to 64 small letters, digits and . _ -", i+1, e.Name)
		}
		seen[e.Name] = true
		if err := errors.Join(checkURL(e.URL), checkEvents(e.Events), e.Signing.open(read)); err != nil {
			return nil, fmt.Errorf("webhook %q: %w", e.Name, err)
		}
	}
	peps := map[string]bool{}
	for i := range c.Callbacks {
		cb := &c.Callbacks[i]
		if cb.PEP == "" || peps[cb.PEP] || len(cb.URLs) == 0 || len(cb.URLs) > maxURLs {
			return nil, fmt.Errorf("callback %d: it names a pep that no other one names, and 1 to %d urls", i+1, maxURLs)
		}
		peps[cb.PEP] = true
		errs := []error{cb.Signing.open(read)}
		for _, u := range cb.URLs {
			errs = append(errs, checkURL(u))
		}
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("callbacks of %q: %w", cb.PEP, err)
		}
	}
	return &c, nil
}

func (s *Signing) open(read func(string) ([]byte, error)) error {
	secrets := s.Secrets
	if s.SecretFile != "" {
		if secrets != nil {
			return errors.New("give secrets or secret_file, not both")
		}
		text, err := read(s.SecretFile)
		if err != nil {
			return fmt.Errorf("secret_file: %v", err) // not wrapped: that it is missing must not read as if there were no configuration
		}
		secrets = strings.Fields(string(text))
	}
	if len(secrets) == 0 || len(secrets) > maxSecrets {
		return fmt.Errorf("secrets: from 1 to %d are needed", maxSecrets)
	}
	for i, text := range secrets {
		key, err := parseSecret(text)
		if err != nil {
			return fmt.Errorf("secret %d: %w", i+1, err)
		}
		s.signers = append(s.signers, key)
	}
	return nil
}

func checkEvents(patterns []string) error {
	for _, p := range patterns {
		if !slices.ContainsFunc(Types(), func(t aver.EventType) bool { return matches(p, t) }) {
			return fmt.Errorf("events: %q is no type that is told of; these are: %v", p, Types())
		}
	}
	return nil
}

func (e *Endpoint) wants(t aver.EventType) bool {
	return len(e.Events) == 0 || slices.ContainsFunc(e.Events, func(p string) bool { return matches(p, t) })
}

func matches(pattern string, t aver.EventType) bool {
	below, all := strings.CutSuffix(pattern, "*")
	return pattern == string(t) || all && strings.HasPrefix(string(t), below)
}

// checkURL refuses what could be read or changed on the way.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "":
		return fmt.Errorf("url %q is not a plain URL", redact(text))
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("url %q: https is needed, except on a loopback address", redact(text))
}

// redact is a URL without its query and credentials, which may hold secrets.
func redact(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(unreadable)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return cmp.Or(u.String(), "(empty)")
}
