// Package demo is Northwind Pay, a payment company in miniature. It starts a real server on a data directory of its own
// and then acts over HTTP only, as an administrator and as an enforcement point: nothing in it is staged but the company.
//
// Every scripted request carries the outcome that it must have, so the demo is a test of the whole as well.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/server"
)

// Options configure [Run].
type Options struct {
	Data     string       // the data directory; it must not exist or be empty. "" makes one in the system's place for temporary files
	Listen   string       // host:port; "" takes a free port of this machine
	Exit     bool         // end when all is done, instead of serving until ctx ends
	Seed     int64        // the same seed gives the same requests with the same outcomes; 0 is 1
	Requests int          // random requests to send besides, see [Random]
	Out      io.Writer    // what people read; nil discards it
	Logger   *slog.Logger // of the server; nil discards
	Version  string       // of the program
}

// ErrWrong says that the demo ran and that something was not as it has to be: an outcome, the logs, or the replay.
var ErrWrong = errors.New("the demo found something wrong")

// Run runs the demo. The error wraps [ErrWrong] if something was found wrong; any other says why it could not run.
func Run(ctx context.Context, o Options) error {
	_, err := run(ctx, o)
	return err
}

// run is [Run], and says what was seen.
func run(ctx context.Context, o Options) (*tally, error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	made, err := prepareDir(&o)
	if err != nil {
		return nil, err
	}
	s, err := server.Open(ctx, server.Config{DataDir: o.Data, Listen: o.Listen, Logger: o.Logger, Version: o.Version})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	l, err := s.Listen()
	if err != nil {
		return nil, err
	}
	d := &demonstration{o: o, url: urlOf(l.Addr()), tokenFile: s.Dir().AdminToken(), start: time.Now()}
	d.say("Northwind Pay, a payment company in miniature, on %s\n", d.url)
	kept := ""
	if made {
		kept = " (kept; delete it when you are done)"
	}
	d.say("data directory %s%s\n\n", o.Data, kept)

	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.Serve(serving, l) }()
	seen, err := d.act(ctx)
	if err != nil {
		stop()
		return seen, errors.Join(err, <-served)
	}
	if o.Exit {
		d.tryNext(seen, false)
		stop()
		if err := <-served; err != nil {
			return seen, err
		}
		return seen, d.checkEvidence(ctx, seen)
	}
	if err := d.checkEvidence(ctx, seen); err != nil {
		stop()
		return seen, errors.Join(err, <-served)
	}
	d.say("\n")
	d.tryNext(seen, true)
	d.say("serving until interrupted (Ctrl-C)\n")
	return seen, <-served
}

// urlOf is where this machine reaches the server.
func urlOf(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", tcp.Port)
	}
	return "http://" + a.String()
}

// prepareDir sees to it that the data directory is the demo's own, and reports whether it made one.
func prepareDir(o *Options) (made bool, err error) {
	if o.Data == "" {
		o.Data, err = os.MkdirTemp("", "aver-demo-")
		return true, err
	}
	entries, err := os.ReadDir(o.Data)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case len(entries) > 0:
		return false, fmt.Errorf("%s is not empty, and the demo begins with a new company: choose another directory, or serve what is there with aver serve --data %s", o.Data, o.Data)
	}
	return false, nil
}

// demonstration is one run, while it is under way.
type demonstration struct {
	o         Options
	url       string
	tokenFile string
	start     time.Time
}

func (d *demonstration) say(format string, args ...any) { fmt.Fprintf(d.o.Out, format, args...) }

func (d *demonstration) connect(token string) (*client.Client, error) {
	return client.New(client.Options{URL: d.url, Token: token, Timeout: time.Minute})
}

// act sets the company up, plays the script and shows what came of it.
func (d *demonstration) act(ctx context.Context) (*tally, error) {
	token, err := os.ReadFile(d.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("the administrator's token: %w", err)
	}
	admin, err := d.connect(strings.TrimSpace(string(token)))
	if err != nil {
		return nil, err
	}
	pepToken, err := Setup(ctx, admin, d.say)
	if err != nil {
		return nil, err
	}
	pep, err := d.connect(pepToken)
	if err != nil {
		return nil, err
	}
	seen, err := d.play(ctx, newScript(d.o.Seed), &office{Client: admin}, pep)
	if err != nil {
		return seen, err
	}
	if err := d.sendRandom(ctx, pep, seen); err != nil {
		return seen, err
	}
	if err := d.playAfterwards(ctx, admin, pep, seen); err != nil {
		return seen, fmt.Errorf("what happened afterwards: %w", err)
	}
	if err := seen.wrong(); err != nil {
		return seen, err
	}
	d.say("\n")
	seen.writeTable(d.o.Out)
	d.say("\n%d decisions in %s, each durable before it was answered. Changes made meanwhile: %d; refused: %d. Each change was decided and recorded, too.\n",
		seen.decisions, time.Since(d.start).Round(100*time.Millisecond), seen.changes, seen.refused)

	why, err := admin.Why(ctx, seen.escalated)
	if err != nil {
		return seen, fmt.Errorf("why %s: %w", seen.escalated, err)
	}
	d.say("\n$ aver why %s\n%s\n", seen.escalated, why)
	// So that the checks see everything: a checkpoint covers the last decision once its inclusion can be proved.
	if _, err := admin.DecisionProof(ctx, seen.last); err != nil {
		return seen, fmt.Errorf("proof of %s: %w", seen.last, err)
	}
	return seen, nil
}

// tryNext says what to type, with ids that exist.
func (d *demonstration) tryNext(seen *tally, running bool) {
	data := "--data " + d.o.Data
	d.say("Try next:\n")
	if running {
		d.say("  export AVER_SERVER=%s AVER_TOKEN=\"$(cat %s)\"\n", d.url, d.tokenFile)
		d.say("  aver decide --subject user:alice --action payment.read --resource payment:invoice-7781\n")
		data = ""
	} else {
		d.say("  aver serve %s\n", data)
	}
	d.say("%s", strings.ReplaceAll(fmt.Sprintf(`  aver why %s DATA    # a denial to an agent that showed grants
  aver identity show ai_agent:payments-agent DATA
  aver grant list DATA
  aver search 'kind:ai_agent outcome:denied' DATA
  aver trail --grant g-late-run DATA    # a payment that went on after its authority had ended
  aver report agent ai_agent:payments-agent DATA
  aver gaps DATA
`, seen.denied), " DATA", spaced(data)))
	d.say("  aver pack --query 'approval:*' --with-engine -o approvals.html --data %s    # open it in a browser\n", d.o.Data)
	d.say("  aver verify --data %s\n", d.o.Data)
	d.say("  aver replay --data %s --policy internal/demo/bundle    # after changing a policy there: what would have been?\n\n", d.o.Data)
}

func spaced(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}
