package authn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.yaml.in/yaml/v3"

	"github.com/aver-authz/aver"
)

// Config is whose tokens are accepted, and what they say: the file issuers.yaml.
// docs/operating.md describes each member.
type Config struct {
	Issuers []Issuer      `yaml:"issuers"`
	SPIFFE  []TrustDomain `yaml:"spiffe"`
}

// Issuer is an OpenID provider or OAuth 2.0 authorization server.
type Issuer struct {
	Issuer     string   `yaml:"issuer"`     // the iss claim, an https URL
	JWKS       string   `yaml:"jwks"`       // where its keys are; "": as its OpenID configuration says, at the same host
	Algorithms []string `yaml:"algorithms"` // none: RS256, PS256, ES256, ES384, EdDSA
	// RevokedKeys are ids of keys that are not believed any more, though the issuer may still publish them.
	RevokedKeys []string  `yaml:"revoked_keys"`
	Untyped     bool      `yaml:"untyped"` // accept tokens whose typ is JWT or missing, against RFC 9068
	Subject     Naming    `yaml:"subject"` // whom the sub claim is
	Clients     *Naming   `yaml:"clients"` // whom it is where it is the client itself; nil: as any
	Actors      *Actors   `yaml:"actors"`  // whom the act claim names; nil: nobody, and tokens with one are refused
	API         *API      `yaml:"api"`     // nil: its tokens give no access to Aver
	Tokens      *Audience `yaml:"tokens"`  // nil: its tokens are not accepted beside requests
	Signals     *Signals  `yaml:"signals"` // nil: it is no transmitter of signals
}

// Signals is what a transmitter of security event tokens may say.
type Signals struct {
	Audience string   `yaml:"audience"` // the aud claim
	Events   []string `yaml:"events"`   // the types of events it may send, by name or URI; none: all that are understood
	Others   []string `yaml:"others"`   // issuers of this file of whose parties it may speak besides its own
	Email    *Naming  `yaml:"email"`    // whom a subject in the format email is; nil: nobody
	Opaque   *Naming  `yaml:"opaque"`   // whom one in the format opaque is; nil: nobody
}

// TrustDomain is a SPIFFE trust domain.
type TrustDomain struct {
	TrustDomain string    `yaml:"trust_domain"`
	Bundle      string    `yaml:"bundle"` // a file with its JWT keys (a JWKS), read again when it changes
	Type        string    `yaml:"type"`   // of the entities, whose ids are the SPIFFE ids
	API         *API      `yaml:"api"`
	Tokens      *Audience `yaml:"tokens"`
}

// Naming makes an entity of a claim.
type Naming struct {
	Type   string `yaml:"type"`   // of the entity
	Claim  string `yaml:"claim"`  // that is its id; "" is sub
	Prefix string `yaml:"prefix"` // before the claim
}

// Actors makes entities of the members of act claims.
type Actors struct {
	Type   string   `yaml:"type"`
	Prefix string   `yaml:"prefix"`
	Others []string `yaml:"others"` // issuers and trust domains (spiffe://…) whose parties this issuer may name as actors
}

// API is who may use Aver's own API with a token.
type API struct {
	Audience string `yaml:"audience"` // the aud claim
	Roles    Roles  `yaml:"roles"`
}

// Roles says which values of a claim give which role; of several that match, the first in the order here. Those that
// none matches have none, and may do nothing. Of a JWT-SVID the value is the SPIFFE id, and "…/*" stands for all below.
type Roles struct {
	Claim    string   `yaml:"claim"` // a string, a list, or "scope"
	Admin    []string `yaml:"admin"`
	Approver []string `yaml:"approver"`
	Auditor  []string `yaml:"auditor"`
	PEP      []string `yaml:"pep"`
}

// Audience is for whom the tokens beside requests are issued: the PEPs.
type Audience struct {
	Audiences []string `yaml:"audiences"`
}

// The algorithms that can be configured. HMAC is none of them: who verifies with a shared key can sign with it.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

var defaultAlgorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

const maxConfig = 1 << 20

// LoadConfig reads an issuers.yaml. Bundles are found from its directory.
func LoadConfig(file string) (*Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxConfig {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, maxConfig)
	}
	c, err := parseConfig(text, filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

func parseConfig(text []byte, dir string) (*Config, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var c Config
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for i := range c.SPIFFE {
		if b := &c.SPIFFE[i].Bundle; *b != "" && !filepath.IsAbs(*b) {
			*b = filepath.Join(dir, *b)
		}
	}
	for i := range c.Issuers {
		if c.Issuers[i].Algorithms == nil {
			c.Issuers[i].Algorithms = defaultAlgorithms
		}
	}
	return &c, c.validate()
}

func (c *Config) validate() error {
	if len(c.Issuers)+len(c.SPIFFE) == 0 {
		return errors.New("it names neither issuers nor spiffe trust domains")
	}
	seen := map[string]bool{}
	for i := range c.Issuers {
		is := &c.Issuers[i]
		if err := is.validate(); err != nil {
			return fmt.Errorf("issuer %q: %w", is.Issuer, err)
		}
		if seen[is.Issuer] {
			return fmt.Errorf("issuer %q stands twice", is.Issuer)
		}
		seen[is.Issuer] = true
	}
	for i := range c.SPIFFE {
		td := &c.SPIFFE[i]
		id, err := td.validate()
		if err != nil {
			return fmt.Errorf("trust domain %q: %w", td.TrustDomain, err)
		}
		if seen[id] {
			return fmt.Errorf("trust domain %q stands twice", td.TrustDomain)
		}
		seen[id] = true
	}
	for _, is := range c.Issuers {
		if is.Signals == nil {
			continue
		}
		for _, other := range is.Signals.Others {
			if !slices.ContainsFunc(c.Issuers, func(o Issuer) bool { return o.Issuer == other && other != is.Issuer }) {
				return fmt.Errorf("issuer %q: signals: others: %q is not another issuer of this file", is.Issuer, other)
			}
		}
	}
	for _, is := range c.Issuers {
		if is.Actors == nil {
			continue
		}
		for _, other := range is.Actors.Others {
			if !seen[other] || other == is.Issuer {
				return fmt.Errorf("issuer %q: actors: others: %q is not another issuer or trust domain of this file", is.Issuer, other)
			}
		}
	}
	return c.apart()
}

// apart refuses two issuers that could name the same entity: who it is would not say who vouched for it. And a
// transmitter that could name somebody of an issuer of whom it is not to speak.
func (c *Config) apart() error {
	var spaces []space
	for _, is := range c.Issuers {
		spaces = append(spaces, space{is.Issuer, is.Subject.Type, is.Subject.Prefix})
		if is.Clients != nil {
			spaces = append(spaces, space{is.Issuer, is.Clients.Type, is.Clients.Prefix})
		}
		if is.Actors != nil {
			spaces = append(spaces, space{is.Issuer, is.Actors.Type, is.Actors.Prefix})
		}
	}
	for _, td := range c.SPIFFE {
		spaces = append(spaces, space{td.TrustDomain, td.Type, "spiffe://" + td.TrustDomain + "/"})
	}
	for i, a := range spaces {
		for _, b := range spaces[i+1:] {
			if a.meets(b) {
				return fmt.Errorf("%s and %s could both name the same %s: give each another type, or a prefix of its own", a.issuer, b.issuer, a.typ)
			}
		}
	}
	for _, is := range c.Issuers {
		if is.Signals == nil {
			continue
		}
		for _, n := range []*Naming{is.Signals.Email, is.Signals.Opaque} {
			for _, b := range spaces {
				if n != nil && (space{is.Issuer, n.Type, n.Prefix}).meets(b) && !slices.Contains(is.Signals.Others, b.issuer) {
					return fmt.Errorf("%s could by email or opaque speak of a %s of %s: give it another type, or a prefix of its own, or name that issuer under signals: others", is.Issuer, n.Type, b.issuer)
				}
			}
		}
	}
	return nil
}

// space is a set of entities that an issuer can name: of a type, with ids that begin with a prefix.
type space struct{ issuer, typ, prefix string }

// meets tells whether two issuers can name the same entity.
func (a space) meets(b space) bool {
	return a.issuer != b.issuer && a.typ == b.typ && (strings.HasPrefix(a.prefix, b.prefix) || strings.HasPrefix(b.prefix, a.prefix))
}

func (is *Issuer) validate() error {
	if err := checkURL(is.Issuer); err != nil {
		return err
	}
	if is.JWKS != "" {
		if err := checkURL(is.JWKS); err != nil {
			return fmt.Errorf("jwks: %w", err)
		}
	}
	if len(is.Algorithms) == 0 {
		return fmt.Errorf("algorithms: leave it out, or name at least one")
	}
	for _, a := range is.Algorithms {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(a)) {
			return fmt.Errorf("algorithms: %q is not one of %v", a, algorithms)
		}
	}
	for _, n := range []struct {
		what, typ string
	}{{"subject", is.Subject.Type}, {"clients", naming(is.Clients).Type}, {"actors", actors(is.Actors).Type}} {
		if n.typ == "" {
			return fmt.Errorf("%s: type: name the type of the entities", n.what)
		}
		if own(n.typ) {
			return fmt.Errorf("%s: type: %q is one of Aver's own", n.what, n.typ)
		}
	}
	if err := is.Signals.validate(); err != nil {
		return fmt.Errorf("signals: %w", err)
	}
	if is.Signals != nil && is.API == nil && is.Tokens == nil {
		return nil
	}
	return checkUse(is.API, is.Tokens, true)
}

// own tells whether entities of a type are Aver's to name: what it administers, its credentials, and those who send it
// signals.
func own(typ string) bool { return aver.Reserved(typ) || typ == "credential" || typ == "issuer" }

func (s *Signals) validate() error {
	if s == nil {
		return nil
	}
	if s.Audience == "" {
		return errors.New("audience: name what the aud claim has to hold")
	}
	for _, name := range s.Events {
		if _, ok := aver.SignalTypeOf(name); !ok {
			return fmt.Errorf("events: %q is not one that Aver understands", name)
		}
	}
	for _, n := range []*Naming{s.Email, s.Opaque} {
		if n != nil && (n.Type == "" || n.Claim != "" || own(n.Type)) {
			return errors.New("email, opaque: name the type of the entities, none of Aver's own, and perhaps a prefix")
		}
	}
	return nil
}

// naming and actors stand in for what is left out.
func naming(n *Naming) Naming {
	if n == nil {
		return Naming{Type: "-"}
	}
	return *n
}

func actors(a *Actors) Actors {
	if a == nil {
		return Actors{Type: "-"}
	}
	return *a
}

func (td *TrustDomain) validate() (id string, err error) {
	parsed, err := spiffeid.TrustDomainFromString(td.TrustDomain)
	switch {
	case err != nil:
		return "", err
	case parsed.Name() != td.TrustDomain:
		return "", fmt.Errorf("write it as %q", parsed.Name())
	case td.Bundle == "":
		return "", errors.New("bundle: name the file with its JWT keys")
	case td.Type == "":
		return "", errors.New("type: name the type of the entities")
	case own(td.Type):
		return "", fmt.Errorf("type: %q is one of Aver's own", td.Type)
	}
	return parsed.IDString(), checkUse(td.API, td.Tokens, false)
}

func checkUse(api *API, tokens *Audience, claim bool) error {
	if api == nil && tokens == nil {
		return errors.New("say what its tokens are for: api, tokens, signals, or several")
	}
	if tokens != nil && (len(tokens.Audiences) == 0 || slices.Contains(tokens.Audiences, "")) {
		return errors.New("tokens: audiences: name at least one")
	}
	if api == nil {
		return nil
	}
	switch {
	case api.Audience == "":
		return errors.New("api: audience: name what the aud claim has to hold")
	case tokens != nil && slices.Contains(tokens.Audiences, api.Audience):
		return errors.New("api: audience: a token for a PEP must give no access to Aver, so the audiences must differ")
	case claim && api.Roles.Claim == "" && !api.Roles.none():
		return errors.New("api: roles: claim: name the claim that tells the role")
	case !claim && api.Roles.Claim != "":
		return errors.New("api: roles: claim: a JWT-SVID has none; the roles list SPIFFE ids")
	}
	return nil
}

func (r *Roles) none() bool {
	return len(r.Admin)+len(r.Approver)+len(r.Auditor)+len(r.PEP) == 0
}

// checkURL refuses what could be read or changed on the way.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not a plain URL", text)
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Host) {
		return nil
	}
	return fmt.Errorf("%q: https is needed, except on a loopback address", text)
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost"
}
