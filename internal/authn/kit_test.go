package authn

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func sign(t testing.TB, signer jose.Signer, claims dict) string {
	t.Helper()
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// metadataServer answers with OpenID metadata; with none, with a redirect.
func metadataServer(t testing.TB, metadata func(self string) string, redirect string) string {
	var self string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := metadata(self)
		if text == "" {
			http.Redirect(w, r, redirect, http.StatusFound)
			return
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	self = server.URL
	return self
}
