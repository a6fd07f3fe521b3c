// Command aver is the command line of Aver: it runs the service, asks it, administers it, and checks its evidence.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/policy"
)

// The exit statuses.
const (
	exitOK    = 0
	exitWrong = 1 // checked, and found wrong
	exitError = 2 // could not do it
)

func main() { os.Exit(run()) }

// run executes the program's arguments and returns the exit status.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv}
	return c.report(c.root().ExecuteContext(ctx))
}

// cli is what all commands share: the streams and the flags that stand on each of them.
type cli struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	json     bool
}

// wrongError says that a check was made and failed: exit status 1. With an empty message the command has said on its
// output what is wrong.
type wrongError struct{ message string }

func (e *wrongError) Error() string { return e.message }

// report prints an error for people and returns the exit status that belongs to it.
func (c *cli) report(err error) int {
	var wrong *wrongError
	var problems policy.Errors
	var problem *client.Problem
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		if wrong.message != "" {
			fmt.Fprintln(c.err, wrong.message)
		}
		return exitWrong
	case errors.As(err, &problems): // a bundle was read and is wrong; each line is file:line:column: message
		fmt.Fprintln(c.err, err)
		return exitWrong
	case errors.As(err, &problem) && len(problem.Errors) > 0: // the same, found by the server
		for _, e := range problem.Errors {
			fmt.Fprintln(c.err, e)
		}
		return exitWrong
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(c.err, "aver: interrupted")
		return exitError
	}
	fmt.Fprintln(c.err, "aver: "+explain(err))
	return exitError
}

// explain turns an error into one that can be acted on.
func explain(err error) string {
	text := strings.TrimSuffix(err.Error(), "\n")
	var problem *client.Problem
	var unavailable *client.UnavailableError
	switch {
	case errors.As(err, &problem) && problem.Status == http.StatusUnauthorized:
		return text + "; set AVER_TOKEN, or give --token-file FILE (the first start of a server writes DIR/admin.token)"
	case errors.As(err, &problem) && problem.EvaluationID != "":
		return fmt.Sprintf("%s (aver why %s says more)", text, problem.EvaluationID)
	case errors.As(err, &unavailable) && unavailable.RetryAfter > 0:
		return fmt.Sprintf("%s; try again in %s", text, unavailable.RetryAfter)
	case errors.As(err, &unavailable) && !errors.As(err, &problem):
		return text + "; is a server running there? aver serve starts one"
	}
	return text
}
