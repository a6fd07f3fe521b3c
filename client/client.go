// Package client asks an Aver server: for decisions, as a policy enforcement point does, and for everything that its API
// offers to administrators and auditors.
//
// A [Client] is an [aver.Decider] and fails closed: whenever there is no whole and consistent answer there is an error,
// and with an error there is no answer. It believes what the server says; whoever wants proof keeps the answer's receipt
// and checks it against the log.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/aver-authz/aver"
)

// Options configure a [Client]. Only URL is required.
type Options struct {
	// URL is where the server is, such as "https://aver.example.com".
	URL string
	// Token is the bearer token; "" sends none. Over plain HTTP anybody on the way can read it.
	Token string
	// HTTPClient makes the requests; nil means one of its own. It is not changed. Redirects are never followed.
	HTTPClient *http.Client
	// Timeout bounds one call, its retries included; 0 means 10 s. A shorter deadline of the context counts.
	Timeout time.Duration
	// Retries is how often a call is made again after the server said that it can't at the moment (503) and when to come
	// back; 0 means 2, less than 0 none. Only what is safe to repeat is: reading, and asking for a decision (each answer
	// has a record of its own). A change is never repeated, since the first attempt may have made it.
	Retries int
	// Instance is the name of this process, new at each start, for a policy enforcement point that takes part in
	// reconciliation: its requests for decisions and its reports are numbered from 1 under it, so that what never arrived
	// is found. "" numbers nothing.
	Instance string
	// Purpose is what the evidence that is read or exported is wanted for, in plain words of at most 512 bytes: the server
	// records each access, with this.
	Purpose string
}

// Client is a client of one server. It is safe for concurrent use. The zero Client fails every call.
type Client struct {
	base    *url.URL
	token   string
	http    *http.Client
	timeout time.Duration
	retries int

	purpose  string
	instance string
	sequence atomic.Uint64 // the last number that was given
}

var _ aver.Decider = (*Client)(nil)

// New returns a client. It does not connect yet.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of a server: it looks like https://aver.example.com", o.URL)
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the URL of a server has no user, query or fragment")
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("the token has characters that no token has")
	}
	if o.Instance != "" {
		if err := aver.ValidateInstance(o.Instance); err != nil {
			return nil, err
		}
	}
	c := &Client{base: base, token: o.Token, purpose: o.Purpose, instance: o.Instance, timeout: o.Timeout, retries: max(o.Retries, 0), http: &http.Client{}}
	if c.timeout == 0 {
		c.timeout = 10 * time.Second
	}
	if o.Retries == 0 {
		c.retries = 2
	}
	if o.HTTPClient != nil {
		*c.http = *o.HTTPClient
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

type requestIDKey struct{}

// WithRequestID returns a context whose calls carry this X-Request-ID, which stands in the records of the decisions that
// they ask for. Without one, each call gets a random one.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// maxAnswer bounds an answer in bytes: the largest is a bundle, escaped.
const maxAnswer = 64 << 20

// call is one request to the server and where its answer goes.
type call struct {
	method   string
	path     string // escaped
	query    url.Values
	body     any // marshalled as JSON; nil sends none
	accept   string
	key      string // Idempotency-Key; "" sends none
	repeat   bool   // it is safe to make it again
	numbered bool   // it counts among what an instance of a policy enforcement point does
	sequence uint64
	token    string // Aver-Subject-Token; "" sends none
}

// get reads JSON into a value.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	return c.doJSON(ctx, call{method: http.MethodGet, path: path, query: query, repeat: true}, into)
}

func (c *Client) doJSON(ctx context.Context, in call, into any) error {
	in.accept = "application/json"
	body, err := c.do(ctx, in)
	if err != nil {
		return err
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the answer of %s to %s %s can't be read: %w", c.base.Host, in.method, in.path, err)
	}
	return nil
}

// do makes the call and returns the body of a 2xx answer.
func (c *Client) do(ctx context.Context, in call) ([]byte, error) {
	if c == nil || c.http == nil {
		return nil, errors.New("this client was not made with client.New, so it has no server")
	}
	var body []byte
	if in.body != nil {
		var err error
		if body, err = json.Marshal(in.body); err != nil {
			return nil, fmt.Errorf("%s %s: %w", in.method, in.path, err)
		}
	}
	id, _ := ctx.Value(requestIDKey{}).(string)
	if id == "" {
		id = uuid.NewString()
	}
	if in.numbered && c.instance != "" {
		in.sequence = c.sequence.Add(1)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		answer, err := c.once(ctx, in, body, id)
		var busy *UnavailableError
		if err == nil || !in.repeat || attempt >= c.retries || !errors.As(err, &busy) || busy.RetryAfter == 0 || !wait(ctx, busy.RetryAfter) {
			return answer, err
		}
	}
}

// wait waits, unless the context would end before.
func wait(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Client) once(ctx context.Context, in call, body []byte, id string) ([]byte, error) {
	u := strings.TrimSuffix(c.base.String(), "/") + in.path
	if len(in.query) > 0 {
		u += "?" + in.query.Encode()
	}
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, in.method, u, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if in.key != "" {
		req.Header.Set("Idempotency-Key", in.key)
	}
	if in.sequence > 0 {
		req.Header.Set("X-Aver-PEP-Instance", c.instance)
		req.Header.Set("X-Aver-PEP-Sequence", strconv.FormatUint(in.sequence, 10))
	}
	if c.purpose != "" {
		req.Header.Set("X-Aver-Purpose", c.purpose)
	}
	if in.token != "" {
		req.Header.Set("Aver-Subject-Token", in.token)
	}
	req.Header.Set("Accept", in.accept)
	req.Header.Set("X-Request-ID", id)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &UnavailableError{Err: c.noAnswer(ctx, err)}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, &UnavailableError{Err: c.noAnswer(ctx, err)}
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("the answer of %s is longer than %d bytes", c.base.Host, maxAnswer)
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return answer, nil
	}
	problem := readProblem(resp, answer)
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, &UnavailableError{RetryAfter: retryAfter(resp), Err: problem}
	}
	return nil, problem
}

func (c *Client) noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err() // says more plainly what happened
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the method and the whole URL
	}
	return fmt.Errorf("no answer from %s: %w", c.base.Host, err)
}

func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
