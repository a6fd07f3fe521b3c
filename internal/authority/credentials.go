package authority

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

// Credential is a bearer token as it is kept, and whether it was revoked.
type Credential struct {
	aver.Credential
	Mark          // of the event that issued it
	Revoked *Mark `json:"revoked,omitempty"`
}

var credentialName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}$`)

// credentialDigest is what [aver.Digest] gives, or a SHA-256 as sha256sum prints it.
var credentialDigest = regexp.MustCompile(`^([A-Za-z0-9_-]{43}|[0-9a-f]{64})$`)

// Credential returns the credential whose token has this digest, revoked or expired or not.
func (s *State) Credential(digest string) (*Credential, bool) { return s.credentials.get(digest) }

// CredentialNamed returns the credential of that name.
func (s *State) CredentialNamed(name string) (*Credential, bool) { return s.credentialNames.get(name) }

// Credentials lists all credentials ever issued, sorted by name.
func (s *State) Credentials() []*Credential {
	all := s.credentialNames.values()
	slices.SortFunc(all, func(a, b *Credential) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (s *State) credentialIssued(c *aver.Credential, m Mark) error {
	switch {
	case !credentialName.MatchString(c.Name):
		return fmt.Errorf("name %.128q: a credential's name has 1 to 128 letters, digits or any of . _ @ : + -, and begins with a letter or digit", c.Name)
	case c.Name == "aver":
		return fmt.Errorf(`the name "aver" is kept for what Aver does by itself`)
	case !slices.Contains(aver.Roles(), c.Role):
		return fmt.Errorf("role %q is not one of %q", c.Role, aver.Roles())
	case c.Role == aver.RoleApprover && c.Subject == nil:
		return fmt.Errorf("an approver's credential names the person whom it belongs to: its subject")
	case !credentialDigest.MatchString(c.Digest):
		return fmt.Errorf("the digest is not a SHA-256 in base64url or hexadecimal")
	case c.Expires != 0 && c.Expires <= m.Time:
		return fmt.Errorf("it expires %s, which is not after the time of issue, %s", c.Expires, m.Time)
	}
	if c.Subject != nil {
		if err := c.Subject.Validate(); err != nil {
			return fmt.Errorf("subject: %w", err)
		}
		if _, err := cedarUID(*c.Subject); err != nil {
			return fmt.Errorf("subject: %w", err)
		}
	}
	if old, ok := s.credentialNames.get(c.Name); ok {
		return fmt.Errorf("the name %q was already used, by event %d", c.Name, old.Event)
	}
	if old, ok := s.credentials.get(c.Digest); ok {
		return fmt.Errorf("credential %q, of event %d, has the same digest", old.Name, old.Event)
	}
	s.setCredential(&Credential{Credential: *c, Mark: m})
	return nil
}

func (s *State) credentialRevoked(ref *aver.CredentialRef, m Mark) error {
	c, ok := s.credentialNames.get(ref.Name)
	switch {
	case !ok:
		return fmt.Errorf("there is no credential %q", ref.Name)
	case c.Revoked != nil:
		return fmt.Errorf("credential %q is already revoked, by event %d", ref.Name, c.Revoked.Event)
	}
	next := *c
	next.Revoked = &m
	s.setCredential(&next)
	return nil
}

func (s *State) setCredential(c *Credential) {
	s.credentials.put(c.Digest, c)
	s.credentialNames.put(c.Name, c)
}
