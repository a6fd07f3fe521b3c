package pdp_test

import (
	"slices"
	"testing"

	"github.com/aver-authz/aver"
)

// What is left out is named whether or not the request has a context.
func TestOmittedWithoutContext(t *testing.T) {
	w := newWorld(t, `@id("read") permit(principal, action == Action::"read", resource) when { resource.open };`)
	r, _ := w.record(`{"subject":{"type":"user","id":"ann","properties":{"name":"Ann"}},"action":{"name":"read"},` +
		`"resource":{"type":"doc","id":"1","properties":{"open":true,"title":"x"}}}`)
	if want := []string{"principal.name", "resource.title"}; !slices.Equal(r.Omitted, want) {
		t.Errorf("omitted %q, want %q; kept %s", r.Omitted, want, r.Request)
	}
}

// A policy may read the context as a whole. The request itself, whose digest
// the record holds, stays as it was sent nevertheless.
func TestRequestStaysAsSentWhenItsContextIsReadWhole(t *testing.T) {
	w := newWorld(t, `@id("read") permit(principal, action == Action::"read", resource) when { context != {} };`)
	text := `{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"},` +
		`"context":{"parts":[{"id":"a"}]}}`
	r, _ := w.record(text)
	if want := request(t, text).Digest(); r.Full != want {
		t.Errorf("request digest %s, want %s", r.Full, want)
	}
	if want := string(aver.AppendCanonical(nil, request(t, text).JSON())); string(r.Request) != want {
		t.Errorf("kept %s, want %s", r.Request, want)
	}
}
