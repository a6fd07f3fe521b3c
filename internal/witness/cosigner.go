package witness

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger"
)

// Log is a log whose checkpoints are to be cosigned.
type Log interface {
	Origin() string
	Checkpoint() []byte // the last signed one; nil if there is none
	ConsistencyProof(older, newer uint64) (tlog.TreeProof, error)
}

// Options configure a [Cosigner]. What has no default beside it is required.
type Options struct {
	Log      Log
	Verifier note.Verifier // of the log
	Config   *Config
	// Last is what Keep was told last by a former process; nil if that is not known.
	Last []byte
	// Keep is told each checkpoint that a quorum has cosigned, with all cosignatures.
	Keep    func(checkpoint []byte) error
	Every   time.Duration // how often new checkpoints are shown; 0 means 5 s
	Timeout time.Duration // for one request; 0 means 10 s
	Client  *http.Client  // nil: one that trusts the machine's roots and follows no redirects
	Logger  *slog.Logger  // nil discards
}

// Cosigner shows a log's checkpoints to its witnesses, one after the other, and keeps the latest that a quorum has
// cosigned. Safe for concurrent use.
type Cosigner struct {
	o       Options
	latest  atomic.Pointer[cosigned]
	stop    context.CancelFunc
	done    chan struct{}
	members []*member
	partial *cosigned // what fewer than a quorum have cosigned; of the loop only
}

// cosigned is a checkpoint with cosignatures.
type cosigned struct {
	size uint64
	root tlog.Hash
	note []byte
}

// member is one witness and how it fares.
type member struct {
	*Witness
	mu      sync.Mutex
	size    uint64 // that it knows, as far as we know
	next    time.Time
	wait    time.Duration
	last    time.Time // of its last cosignature
	covered uint64    // size of its last cosignature
	err     error     // of the last attempt
	alarm   bool      // it has seen another history
}

const maxWait = 5 * time.Minute

// Start begins to show checkpoints. Close it before the log.
func Start(o Options) (*Cosigner, error) {
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		o.Client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	c := &Cosigner{o: o, done: make(chan struct{})}
	for i := range o.Config.Witnesses {
		c.members = append(c.members, &member{Witness: &o.Config.Witnesses[i]})
	}
	if len(o.Last) > 0 {
		size, root, err := ledger.ParseCheckpoint(o.Last, o.Log.Origin(), o.Verifier)
		if err != nil {
			return nil, fmt.Errorf("the last cosigned checkpoint: %w", err)
		}
		c.latest.Store(&cosigned{size: size, root: root, note: o.Last})
		for _, m := range c.members {
			if at, err := m.verifier.Cosigned(o.Last); err == nil {
				m.size, m.covered, m.last = size, size, at
			}
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	go c.loop(ctx)
	return c, nil
}

// Close ends it.
func (c *Cosigner) Close() {
	c.stop()
	<-c.done
}

// Latest is the last checkpoint that a quorum has cosigned, with the cosignatures, and its size; nil if there is none.
func (c *Cosigner) Latest() (checkpoint []byte, size uint64) {
	if l := c.latest.Load(); l != nil {
		return l.note, l.size
	}
	return nil, 0
}

// With adds the cosignatures to a checkpoint if they are of the very same tree.
func (c *Cosigner) With(checkpoint []byte) []byte {
	l := c.latest.Load()
	if l == nil {
		return checkpoint
	}
	size, root, err := ledger.ParseCheckpoint(checkpoint, c.o.Log.Origin(), c.o.Verifier)
	if err != nil || size != l.size || root != l.root {
		return checkpoint
	}
	return l.note
}

func (c *Cosigner) loop(ctx context.Context) {
	defer close(c.done)
	tick := time.NewTicker(c.o.Every)
	defer tick.Stop()
	for {
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			c.o.Logger.Warn("a checkpoint could not be shown to witnesses; trying again", "log", c.o.Log.Origin(), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round shows the current checkpoint to every witness that has not cosigned it yet and is not to be left alone.
func (c *Cosigner) round(ctx context.Context) error {
	checkpoint := c.o.Log.Checkpoint()
	if checkpoint == nil {
		return nil
	}
	size, root, err := ledger.ParseCheckpoint(checkpoint, c.o.Log.Origin(), c.o.Verifier)
	if err != nil || size == 0 {
		return err
	}
	for _, known := range []*cosigned{c.partial, c.latest.Load()} {
		if known != nil && known.size == size && known.root == root {
			checkpoint = known.note
		}
	}
	lines := make([]string, len(c.members))
	var wg sync.WaitGroup
	asked, have := 0, 0
	for i, m := range c.members {
		if _, err := m.verifier.Cosigned(checkpoint); err == nil {
			have++
			continue
		}
		if !m.due() {
			continue
		}
		asked++
		wg.Go(func() { lines[i] = c.ask(ctx, m, size, bare(checkpoint)) })
	}
	if asked == 0 {
		return nil
	}
	wg.Wait()
	next := append([]byte{}, checkpoint...)
	for _, line := range lines {
		if line != "" {
			next = append(next, line...)
			have++
		}
	}
	if len(next) == len(checkpoint) {
		return nil
	}
	if have < c.o.Config.Quorum {
		c.partial = &cosigned{size: size, root: root, note: next}
		return nil
	}
	c.latest.Store(&cosigned{size: size, root: root, note: next})
	if c.o.Keep != nil {
		return c.o.Keep(next)
	}
	return nil
}

// bare is a checkpoint with its first signature only, the log's own, so that a request is small.
func bare(checkpoint []byte) []byte {
	i := bytes.LastIndex(checkpoint, []byte("\n\n")) + 2
	return checkpoint[:i+bytes.IndexByte(checkpoint[i:], '\n')+1]
}

func (m *member) due() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !time.Now().Before(m.next)
}

// ask shows a checkpoint to one witness and returns its signature line, "" if there is none.
func (c *Cosigner) ask(ctx context.Context, m *member, size uint64, checkpoint []byte) string {
	line, err := c.attempt(ctx, m, size, checkpoint)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		if m.err != nil {
			c.o.Logger.Info("a witness cosigns again", "log", c.o.Log.Origin(), "witness", m.verifier.name)
		}
		m.size, m.covered, m.last, m.err, m.alarm, m.wait, m.next = size, size, time.Now(), nil, false, 0, time.Time{}
		return line
	}
	if ctx.Err() != nil {
		return ""
	}
	m.wait = min(max(2*m.wait, c.o.Every), maxWait)
	m.next = time.Now().Add(m.wait)
	if alarm := errors.Is(err, errOtherHistory); alarm && !m.alarm {
		c.o.Logger.Error("A WITNESS HAS SEEN ANOTHER HISTORY OF THIS LOG UNDER ITS KEY: an older copy of it, or a split view",
			"log", c.o.Log.Origin(), "witness", m.verifier.name, "error", err)
		m.alarm = true
	} else if m.err == nil {
		c.o.Logger.Warn("a witness does not cosign; trying again", "log", c.o.Log.Origin(), "witness", m.verifier.name, "error", err)
	}
	m.err = err
	return ""
}

// attempt makes one request, and a second one if the witness knows the log at another size than we thought.
func (c *Cosigner) attempt(ctx context.Context, m *member, size uint64, checkpoint []byte) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.o.Timeout)
	defer cancel()
	m.mu.Lock()
	old := m.size
	m.mu.Unlock()
	for again := false; ; again = true {
		if old > size {
			return "", fmt.Errorf("%w: it knows %d entries, and here are %d", errOtherHistory, old, size)
		}
		var proof tlog.TreeProof
		if old > 0 && old < size {
			var err error
			if proof, err = c.o.Log.ConsistencyProof(old, size); err != nil {
				return "", err
			}
		}
		one, done := context.WithTimeout(ctx, c.o.Timeout)
		line, err := m.add(one, c.o.Client, old, proof, checkpoint)
		done()
		var conflict *conflictError
		if !errors.As(err, &conflict) {
			return line, err
		}
		m.mu.Lock()
		m.size = conflict.size
		m.mu.Unlock()
		if again {
			return "", err
		}
		old = conflict.size
	}
}

// Status is how a log is witnessed.
type Status struct {
	Origin    string         `json:"origin"`
	Quorum    int            `json:"quorum"`
	Size      uint64         `json:"size"` // of the last checkpoint that a quorum has cosigned
	Witnesses []MemberStatus `json:"witnesses"`
}

// MemberStatus is how one witness fares.
type MemberStatus struct {
	Name  string    `json:"name"`
	Key   string    `json:"key"`
	URL   string    `json:"url"`
	Size  uint64    `json:"size"`          // of the last checkpoint that it has cosigned
	Last  time.Time `json:"last,omitzero"` // when it did
	Error string    `json:"error,omitempty"`
	// OtherHistory: it has cosigned another history under the log's key.
	OtherHistory bool `json:"other_history,omitempty"`
}

// Status is how the log is witnessed at the moment.
func (c *Cosigner) Status() Status {
	_, size := c.Latest()
	s := Status{Origin: c.o.Log.Origin(), Quorum: c.o.Config.Quorum, Size: size}
	for _, m := range c.members {
		m.mu.Lock()
		one := MemberStatus{Name: m.verifier.name, Key: m.Key, URL: m.URL, Size: m.covered, Last: m.last.UTC(), OtherHistory: m.alarm}
		if m.err != nil {
			one.Error = m.err.Error()
		}
		m.mu.Unlock()
		s.Witnesses = append(s.Witnesses, one)
	}
	return s
}
