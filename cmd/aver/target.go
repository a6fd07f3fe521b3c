package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/client"
)

// target is what a command works on: a server, or a data directory that it only reads.
type target struct {
	server, tokenFile, data string
}

func (t *target) serverFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.server, "server", "", "`URL` of the server; default $AVER_SERVER")
	cmd.Flags().StringVar(&t.tokenFile, "token-file", "", "`FILE` with the bearer token; default $AVER_TOKEN, the token itself")
}

func (t *target) dataFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.data, "data", "", "read the data directory `DIR` instead, of a running or a stopped server")
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
	return client.New(client.Options{URL: url, Token: token})
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
