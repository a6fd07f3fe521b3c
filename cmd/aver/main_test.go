package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/policy"
)

// Errors are one plain sentence with the mend, and the exit status tells "it is wrong" from "it could not be done".
func TestReport(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"nothing":                {nil, 0, ""},
		"found wrong, said so":   {&wrongError{}, 1, ""},
		"found wrong":            {&wrongError{"it has no tests"}, 1, "it has no tests\n"},
		"could not":              {errors.New("open x: no such file"), 2, "aver: open x: no such file\n"},
		"interrupted":            {fmt.Errorf("replay: %w", context.Canceled), 2, "aver: interrupted\n"},
		"a bundle that is wrong": {policy.Errors{{File: "a.cedar", Line: 3, Column: 7, Message: "unexpected token"}}, 1, "a.cedar:3:7: unexpected token\n"},
		"a bundle that the server finds wrong": {
			&client.Problem{Status: 422, Detail: "a.cedar:3:7: unexpected token", Errors: []client.BundleError{
				{File: "a.cedar", Line: 3, Column: 7, Message: "unexpected token"}, {Message: "too large"},
			}}, 1, "a.cedar:3:7: unexpected token\ntoo large\n",
		},
		"a field": {
			fmt.Errorf("user:ann: %w", &client.Problem{Status: 400, Detail: "must be a string", Field: "/owner"}), 2,
			"aver: user:ann: /owner: must be a string\n",
		},
		"no token": {
			&client.Problem{Status: 401, Detail: "a bearer token is needed"}, 2,
			"aver: a bearer token is needed; set AVER_TOKEN, or give --token-file FILE (the first start of a server writes DIR/admin.token)\n",
		},
		"a server that can't at the moment": {
			&client.UnavailableError{RetryAfter: 5 * time.Second, Err: &client.Problem{Status: 503, Detail: "the log can't be written"}}, 2,
			"aver: the log can't be written; try again in 5s\n",
		},
		"no server": {
			&client.UnavailableError{Err: errors.New("no answer from localhost:1: connection refused")}, 2,
			"aver: no answer from localhost:1: connection refused; is a server running there? aver serve starts one\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			c := &cli{err: &text}
			if status := c.report(test.err); status != test.status || text.String() != test.text {
				t.Errorf("exit status %d, %q", status, text.String())
			}
		})
	}
}
