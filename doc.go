// Package aver holds the words of Aver, a runtime authorization service whose
// every decision is evidence: the request that is asked, the decision that is
// answered, the identities and grants it rests on, the record it leaves and the
// events that change what may be done. It also holds their one canonical JSON
// form, which is what gets hashed, logged and compared.
//
// The request and the answer are those of the OpenID AuthZEN Authorization API
// 1.0; what Aver adds stands in their context. docs/formats.md describes every
// format well enough for a second implementation.
package aver

import "context"

// A Decider answers authorization requests. The engine in the process, and the
// HTTP client in package client, are both Deciders, so that a policy
// enforcement point works the same against either.
//
// Implementations are safe for concurrent use. When the error is not nil there
// is no decision, and the caller must not let the request through; the zero
// Decision denies.
type Decider interface {
	Decide(ctx context.Context, req *Request) (*Answer, error)
}
