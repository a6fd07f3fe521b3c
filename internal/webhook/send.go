package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	attemptTime = 15 * time.Second // for a receiver to answer; Standard Webhooks has 15 to 30
	maxAnswer   = 64 << 10         // bytes of an answer that are read, so that the connection can be used again
)

// errNotPublic says that a name resolves to an address that messages must not go to.
var errNotPublic = errors.New("the address is not public; allow_private lets messages go there")

// newClient makes a client that goes where it is told to and nowhere else: no redirect, no proxy, and, unless that is
// allowed, no address inside, whatever a name resolves to at the moment of connecting.
func newClient(target string, allowPrivate bool) *http.Client {
	if u, err := url.Parse(target); err == nil && isLoopback(u.Hostname()) {
		allowPrivate = true // it was written down as such
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if !allowPrivate {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !public(at.Addr()) {
				return errNotPublic
			}
			return nil
		}
	}
	return &http.Client{
		Timeout:       attemptTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, MaxConnsPerHost: 2, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: 5 * time.Second, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxResponseHeaderBytes: 32 << 10,
		},
	}
}

// notPublic are networks that net/netip has no word for: of carriers, of tests, of translations, reserved.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("fec0::/10"),
}

// public tells whether an address can be anybody's on the internet.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost"
}

// answerError is an answer that is no success.
type answerError struct {
	status int
	after  time.Duration // Retry-After
}

func (e *answerError) Error() string {
	return fmt.Sprintf("the receiver answered %d %s", e.status, http.StatusText(e.status))
}

// final tells whether the receiver does not want this message, now or later. What may come from load or a wrong
// configuration is tried again.
func (e *answerError) final() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return false
	}
	return e.status >= 400 && e.status < 500
}

// attempt sends a message once. nil: it was taken (2xx).
func attempt(ctx context.Context, client *http.Client, target string, signers []signer, m *message, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(m.body))
	if err != nil {
		return errors.New("the URL is of no use")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "aver")
	sign(req.Header, signers, m.id, at, m.body)
	resp, err := client.Do(req)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) { // it holds the whole URL, which may hold a secret
			err = failed.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	out := &answerError{status: resp.StatusCode}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		out.after = min(time.Duration(s)*time.Second, maxBackoff)
	}
	return out
}
