package aver

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// Ref names an entity: an identity, a resource, a group. Its text form is
// Cedar's, type::"id". Two Refs are the same entity when both parts are equal,
// byte by byte.
type Ref struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

func (r Ref) String() string { return r.Type + "::" + string(AppendString(nil, r.ID)) }

// IsZero reports whether r names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// Kind is what sort of party an identity is (requirement A1).
type Kind string

// The kinds of identities. KindUnknown is the kind of a subject that nobody
// registered and whose type is none of the others.
const (
	HumanUser      Kind = "human_user"
	ServiceAccount Kind = "service_account"
	Application    Kind = "application"
	Workload       Kind = "workload"
	APIClient      Kind = "api_client"
	AIAgent        Kind = "ai_agent"
	KindUnknown    Kind = "unknown"
)

// Kinds lists the kinds that an identity can be registered with.
func Kinds() []Kind {
	return []Kind{HumanUser, ServiceAccount, Application, Workload, APIClient, AIAgent}
}

// Machine reports whether identities of this kind are software. Those must be
// registered to be allowed anything by the baseline policies (A4).
func (k Kind) Machine() bool {
	switch k {
	case ServiceAccount, Application, Workload, APIClient, AIAgent:
		return true
	}
	return false
}

// KindOfType guesses the kind of an unregistered subject from its AuthZEN type:
// "user" is a human user, the names of the kinds are themselves, everything
// else is unknown.
func KindOfType(entityType string) Kind {
	switch k := Kind(entityType); k {
	case HumanUser, ServiceAccount, Application, Workload, APIClient, AIAgent:
		return k
	case "user":
		return HumanUser
	}
	return KindUnknown
}

// Status is where a registered identity stands in its life.
type Status string

// The statuses of an identity. Unregistered is that of a subject that no event
// ever named.
const (
	Active       Status = "active"
	Suspended    Status = "suspended"
	Retired      Status = "retired"
	Unregistered Status = "unregistered"
)

// Identity is what is registered about a party that can act: who answers for
// it, what it is for, until when, and with which tools (A4).
type Identity struct {
	Ref
	Kind       Kind       `json:"kind"`
	Name       string     `json:"name,omitempty"`       // for people
	Owner      string     `json:"owner,omitempty"`      // who answers for it; required for machines
	Purpose    string     `json:"purpose,omitempty"`    // what it is for, in plain words; required for machines
	Expires    Time       `json:"expires,omitzero"`     // when its purpose ends
	ReviewBy   Time       `json:"review_by,omitzero"`   // when it is next to be reviewed
	Tools      *[]string  `json:"tools,omitempty"`      // the tools it may use; nil: not restricted, empty: none
	Properties Properties `json:"properties,omitempty"` // Cedar attributes; they override what a request claims
	Parents    []Ref      `json:"parents,omitempty"`    // groups and roles it is in
}

// Validate checks what can be checked of an identity alone. The error is one
// plain sentence.
func (i *Identity) Validate() error {
	if err := i.Ref.validate(); err != nil {
		return err
	}
	switch {
	case !slices.Contains(Kinds(), i.Kind):
		return fmt.Errorf("kind %q is not one of %v", i.Kind, Kinds())
	case i.Kind.Machine() && i.Owner == "":
		return fmt.Errorf("a machine identity needs an owner: somebody who answers for it")
	case i.Kind.Machine() && i.Purpose == "":
		return fmt.Errorf("a machine identity needs a purpose: what it is for, in plain words")
	case i.Tools != nil && len(*i.Tools) > maxTools:
		return fmt.Errorf("more than %d tools", maxTools)
	}
	for _, text := range []struct{ what, value string }{
		{"name", i.Name}, {"owner", i.Owner}, {"purpose", i.Purpose},
	} {
		if err := validateText(text.what, text.value); err != nil {
			return err
		}
	}
	if i.Tools != nil {
		for _, tool := range *i.Tools {
			if err := validateName("name of the tool", tool); err != nil {
				return err
			}
		}
	}
	return validateParents(i.Ref, i.Parents)
}

func validateParents(of Ref, parents []Ref) error {
	if len(parents) > maxParents {
		return fmt.Errorf("more than %d parents", maxParents)
	}
	for _, p := range parents {
		if err := p.validate(); err != nil {
			return fmt.Errorf("parent: %w", err)
		}
		if p == of {
			return fmt.Errorf("%s can't be its own parent", p)
		}
	}
	return nil
}

// Entity is a registered fact about something that is not an identity: a
// resource, a group, a customer.
type Entity struct {
	Ref
	Properties Properties `json:"properties,omitempty"`
	Parents    []Ref      `json:"parents,omitempty"`
}

// Validate checks what can be checked of an entity alone.
func (e *Entity) Validate() error {
	if err := e.Ref.validate(); err != nil {
		return err
	}
	return validateParents(e.Ref, e.Parents)
}

const (
	maxParents  = 1000
	maxTools    = 1000
	maxNameSize = 1024 // bytes of a type, an id, an action name or a tool
	maxTextSize = 4096 // bytes of what is written for people
)

// Validate checks that type and id are there and of a reasonable length.
func (r Ref) Validate() error { return r.validate() }

func (r Ref) validate() error {
	if err := validateName("type", r.Type); err != nil {
		return err
	}
	return validateName("id", r.ID)
}

func validateName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is missing", what)
	case len(name) > maxNameSize:
		return fmt.Errorf("the %s is longer than %d bytes", what, maxNameSize)
	case !utf8.ValidString(name):
		return fmt.Errorf("the %s is not valid UTF-8", what)
	}
	return nil
}

func validateText(what, text string) error {
	switch {
	case len(text) > maxTextSize:
		return fmt.Errorf("the %s is longer than %d bytes", what, maxTextSize)
	case !utf8.ValidString(text):
		return fmt.Errorf("the %s is not valid UTF-8", what)
	}
	return nil
}
