package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/client"
)

// target is what a command works on: a server, or a data directory that it only reads.
type target struct {
	server, tokenFile, data string
	timeout                 time.Duration // of a call to the server; 0: the client's own
}

func (t *target) serverFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.server, "server", "", "`URL` of the server; default $AVER_SERVER")
	cmd.Flags().StringVar(&t.tokenFile, "token-file", "", "`FILE` with the bearer token; default $AVER_TOKEN, the token itself")
}

func (t *target) dataFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.data, "data", "", "read the data directory `DIR` instead, of a running or a stopped server")
}

// reads makes cmd a command that reads from a server or a data directory.
func (c *cli) reads(cmd *cobra.Command, do func(ctx context.Context, s source, args []string) error) *cobra.Command {
	var t target
	t.serverFlags(cmd)
	t.dataFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, done, err := c.source(&t)
		if err != nil {
			return err
		}
		defer done()
		return do(cmd.Context(), s, args)
	}
	return cmd
}

// changes makes cmd a command that changes what a server has, with a reason.
func (c *cli) changes(cmd *cobra.Command, do func(ctx context.Context, server *client.Client, reason string, args []string) error) *cobra.Command {
	var t target
	var reason string
	t.serverFlags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why (`TEXT`), in your words; it stands in the authority log")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		server, err := c.connect(&t)
		if err != nil {
			return err
		}
		return do(cmd.Context(), server, reason, args)
	}
	return cmd
}

// connect makes the client for commands that need a server.
func (c *cli) connect(t *target) (*client.Client, error) {
	url := t.server
	if url == "" {
		url = c.env("AVER_SERVER")
	}
	if url == "" {
		return nil, errors.New("no server was named: give --server URL, or set AVER_SERVER; aver serve starts one")
	}
	token, err := c.token(t)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{URL: url, Token: token, Timeout: t.timeout, Purpose: c.env("AVER_PURPOSE")})
}

func (c *cli) token(t *target) (string, error) {
	if t.tokenFile == "" {
		return strings.TrimSpace(c.env("AVER_TOKEN")), nil
	}
	text, err := os.ReadFile(t.tokenFile)
	if err != nil {
		return "", fmt.Errorf("the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("the token: %s is empty", t.tokenFile)
	}
	return token, nil
}
